/* Every allocation failing once: importers, policies as files, and the steps between what is and
 * what is wanted. jansson fails, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/cli/import.h"
#include "src/cli/policy_files.h"
#include "src/cli/policy_plan.h"
#include "tests/unit/failing_malloc.h"

enum cli_exit cli_fail(enum cli_exit code, const char *format, ...)
{
    (void)format;
    return code;
}

/* Reading fails as a whole here: jansson 2.14 itself reads beyond a text in quotes when the closing
 * one found no room. */
void *__real_malloc(size_t size);
json_t *__real_json_loadb(const char *data, size_t len, size_t flags, json_error_t *at);
json_t *__wrap_json_loadb(const char *data, size_t len, size_t flags, json_error_t *at);

json_t *__wrap_json_loadb(const char *data, size_t len, size_t flags, json_error_t *at)
{
    if (failing_malloc_refuses()) return NULL;
    json_set_alloc_funcs(__real_malloc, free);
    json_t *json = __real_json_loadb(data, len, flags, at);
    json_set_alloc_funcs(malloc, free);
    return json;
}

/* ---- importers ---- */
static struct import made;

static bool imported(bool (*import)(struct import *, const char *, size_t, const char *),
                     const char *text)
{
    bool read = import(&made, text, strlen(text), "p-");
    assert_int_equal(made.error[0], '\0'); /* no fault of the file's */
    if (read && !made.no_memory) return true;
    assert_true(made.no_memory);
    import_finish(&made);
    return false;
}

static bool run_zpush(void)
{
    return imported(import_zpush, "[sales]\nallowcam = 0\nunapprovedinromapplist[] = a\n"
                                  "unapprovedinromapplist[] = b\nwrong = 1\n[default]\n"
                                  "devpwenabled = 1\ndevpwenabled = 0\n[x]\nmindevpwlenngth =\n");
}

static bool run_exchange(void)
{
    return imported(import_exchange,
                    "[{\"Name\":\"sales\",\"AllowCamera\":false,\"Wrong\":1,\"IsDefault\":true,"
                    "\"UnapprovedInROMApplicationList\":[\"a\",\"b\"]},"
                    "{\"Name\":\"x\",\"ApprovedApplicationList\":[\"A:b\",{\"AppHash\":\"C\"}]}]");
}

static void zpush_whole(void)
{
    assert_int_equal(json_array_size(made.policies), 3);
    assert_int_equal(made.skipped, 1);
    assert_int_equal(json_array_size(made.notes), 7);
}

static void exchange_whole(void)
{
    const json_t *second = json_object_get(json_array_get(made.policies, 1), "settings");
    assert_int_equal(json_array_size(made.policies), 2);
    assert_int_equal(made.skipped, 1);
    assert_int_equal(json_array_size(json_object_get(second, "ApprovedApplicationList")), 2);
}

static void import_end(void)
{
    import_finish(&made);
}

static void importers(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"import_zpush", NULL, run_zpush, NULL, zpush_whole, import_end});
    failing_malloc_sweep(
        &(struct sweep){"import_exchange", NULL, run_exchange, NULL, exchange_whole, import_end});
}

/* ---- files ---- */
static json_t *policy, *assignments, *read_back;
static char *text;

static bool run_text(void)
{
    text = policy_file_text(policy);
    return text != NULL;
}

static bool run_assignments(void)
{
    text = assignments_text(assignments);
    return text != NULL;
}

static void text_whole(void)
{
    assert_non_null(strstr(text, "\"sales\""));
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void text_end(void)
{
    free(text);
    text = NULL;
}

static bool run_read(void)
{
    char message[FILE_MESSAGE_MAX];
    read_back = policy_file_read("sales.json", text, strlen(text), message);
    return read_back != NULL;
}

static void read_whole(void)
{
    assert_int_equal(json_object_size(json_object_get(read_back, "settings")), 2);
}

static void read_end(void)
{
    json_decref(read_back);
}

static void files(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"policy_file_text", NULL, run_text, NULL, text_whole, text_end});
    failing_malloc_sweep(
        &(struct sweep){"assignments_text", NULL, run_assignments, NULL, text_whole, text_end});
    assert_true(run_text());
    failing_malloc_sweep(
        &(struct sweep){"policy_file_read", NULL, run_read, NULL, read_whole, read_end});
    text_end();
}

/* ---- plan ---- */
static json_t *policies;
static struct plan plan;

static bool run_plan(void)
{
    const struct policy_wish wish = {policies, assignments, true, NULL};
    if (plan_make(&plan, &wish, policies, NULL)) return true;
    assert_true(plan.no_memory);
    plan_finish(&plan);
    return false;
}

static bool run_first_plan(void)
{
    const struct policy_wish wish = {policies, assignments, false, NULL};
    if (plan_make(&plan, &wish, NULL, NULL)) return true;
    assert_true(plan.no_memory);
    plan_finish(&plan);
    return false;
}

static void nothing_to_make(void)
{
    assert_int_equal(json_array_size(plan.steps), 0);
    assert_int_equal(json_array_size(plan.moves), 1);
}

static void all_to_make(void)
{
    const json_t *step = json_array_get(plan.steps, 0);
    assert_int_equal(json_array_size(plan.steps), 1);
    assert_int_equal(json_array_size(json_object_get(step, "settings")), 2);
    assert_int_equal(json_array_size(plan.moves), 1);
}

static void plan_end(void)
{
    plan_finish(&plan);
}

static void plans(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"plan_make, same", NULL, run_plan, NULL, nothing_to_make, plan_end});
    failing_malloc_sweep(
        &(struct sweep){"plan_make, new", NULL, run_first_plan, NULL, all_to_make, plan_end});
}

static int make(void **unused)
{
    (void)unused;
    policy = json_loads("{\"name\":\"sales\",\"settings\":{\"AllowCamera\":0,"
                        "\"ApprovedApplicationList\":[\"a\",\"b\"]}}",
                        0, NULL);
    policies = json_pack("[O]", policy);
    assignments = json_pack("[{s:s,s:s}]", "scope", "default", "policy", "sales");
    return 0;
}

static int unmake(void **unused)
{
    (void)unused;
    json_decref(policy);
    json_decref(policies);
    json_decref(assignments);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(importers),
        cmocka_unit_test(files),
        cmocka_unit_test(plans),
    };
    json_set_alloc_funcs(malloc, free);
    return cmocka_run_group_tests(tests, make, unmake);
}
