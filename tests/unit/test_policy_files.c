/* Policies as files, and the steps from what a server has to what is wanted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/cli/policy_files.h"
#include "src/cli/policy_json.h"
#include "src/cli/policy_plan.h"
#include "src/json_text.h"

enum cli_exit cli_fail(enum cli_exit code, const char *format, ...)
{
    (void)format;
    return code;
}

/* With ' for ". To be freed with json_decref. */
static json_t *json_of(const char *text)
{
    char *copy = strdup(text);
    json_error_t at;
    for (char *p = copy; *p; p++)
        if (*p == '\'') *p = '"';
    json_t *json = json_loads(copy, JSON_DECODE_ANY, &at);
    if (json == NULL) print_message("%s: %s\n", copy, at.text);
    assert_non_null(json);
    free(copy);
    return json;
}

static void names(void **state)
{
    static const char *const cases[][2] = {
        {"sales", "sales.json"},
        {"Sales 2", "Sales 2.json"},
        {"a.b", "a.b.json"},
        {".", "%2E.json"},
        {"..", "%2E..json"},
        {"a/b", "a%2Fb.json"},
        {"../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd.json"},
        {"a%2Fb", "a%252Fb.json"},
        {"a\\b:c*d?e\"f<g>h|i", "a%5Cb%3Ac%2Ad%3Fe%22f%3Cg%3Eh%7Ci.json"},
        {"a\nb", "a%0Ab.json"},
        {"\xC3\xA4", "\xC3\xA4.json"},
        {"assignments", "%61ssignments.json"},
        {"assignments2", "assignments2.json"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *name = policy_file_name(cases[i][0]);
        assert_string_equal(name, cases[i][1]);
        free(name);
    }
}

/* What is read is what was written, and is written so again. */
static void texts(void **state)
{
    static const char *const cases[] = {
        "{'name':'a','settings':{}}",
        "{'name':'a','parent':'b','settings':{'AllowCamera':0,'DevicePasswordEnabled':1}}",
        "{'name':'a','settings':{'ApprovedApplicationList':['x','y']},'revision':7,'effective':{}}",
        "{'name':'a','settings':{'RefreshInterval':'12h'}}",
        "{'name':'a','settings':{'AllowNonProvisionableUntil':'2030-01-01'}}",
    };
    char message[FILE_MESSAGE_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *policy = json_of(cases[i]);
        char *text = policy_file_text(policy);
        json_t *again = policy_file_read("a.json", text, strlen(text), message);
        assert_non_null(again);
        assert_true(
            json_equal(json_object_get(again, "settings"), json_object_get(policy, "settings")));
        char *same = policy_file_text(again);
        assert_string_equal(same, text);
        assert_int_equal(text[strlen(text) - 1], '\n');
        free(same);
        free(text);
        json_decref(again);
        json_decref(policy);
    }
}

static void every_prefix_is_refused(void **state)
{
    static const char text[] = "{\"name\":\"a\",\"parent\":null,\"settings\":{\"AllowCamera\":0}}";
    char message[FILE_MESSAGE_MAX];
    (void)state;
    for (size_t len = 0; len < sizeof text - 1; len++) {
        char *cut = strndup(text, len);
        assert_null(policy_file_read("a.json", cut, len, message));
        assert_int_equal(strncmp(message, "a.json:", 7), 0);
        free(cut);
    }
    json_t *policy = policy_file_read("a.json", text, sizeof text - 1, message);
    assert_non_null(policy);
    json_decref(policy);
}

static void assignments_are_sorted(void **state)
{
    json_t *given = json_of("[{'scope':'user','user':'b','policy':'p','since':1},"
                            "{'scope':'user','user':'a','policy':'p'},"
                            "{'scope':'device','user':'a','device_id':'2','policy':'p'},"
                            "{'scope':'device','user':'a','device_id':'1','policy':'p'},"
                            "{'scope':'default','policy':'p'},"
                            "{'scope':'group','group':'g','policy':'p'}]");
    json_t *want = json_of("[{'scope':'default','policy':'p'},"
                           "{'scope':'group','group':'g','policy':'p'},"
                           "{'scope':'user','user':'a','policy':'p'},"
                           "{'scope':'user','user':'b','policy':'p'},"
                           "{'scope':'device','user':'a','device_id':'1','policy':'p'},"
                           "{'scope':'device','user':'a','device_id':'2','policy':'p'}]");
    char message[FILE_MESSAGE_MAX], *text = assignments_text(given);
    (void)state;
    json_t *got = assignments_read(ASSIGNMENTS_FILE, text, strlen(text), message);
    assert_true(json_equal(got, want));
    free(text);
    json_decref(got);
    json_decref(want);
    json_decref(given);
}

/* Steps and moves as "new a, changed b, removed c; new user". */
static char *steps_text(const struct plan *p)
{
    char *text = NULL;
    size_t size = 0, i;
    const json_t *one;
    FILE *to = open_memstream(&text, &size);
    json_array_foreach(p->steps, i, one)
        fprintf(to, "%s%s %s", i ? ", " : "", json_string_value(json_object_get(one, "change")),
                json_string_value(json_object_get(one, "policy")));
    fputc(';', to);
    json_array_foreach(p->moves, i, one)
        fprintf(to, " %s %s", json_string_value(json_object_get(one, "change")),
                json_string_value(json_object_get(json_object_get(one, "assignment"), "scope")));
    fclose(to);
    return text;
}

static void plans(void **state)
{
    static const struct {
        const char *want, *wanted_assignments, *have, *assignments;
        bool prune;
        const char *steps; /* or the error */
    } cases[] = {
        {"[]", NULL, "[]", "[]", false, ";"},
        {"[{'name':'a','settings':{}}]", NULL, "[]", "[]", false, "new a;"},
        {"[{'name':'a','settings':{'AllowCamera':true}}]", NULL,
         "[{'name':'a','settings':{'AllowCamera':1}}]", "[]", false, ";"},
        {"[{'name':'a','settings':{'RefreshInterval':'1d'}}]", NULL,
         "[{'name':'a','settings':{'RefreshInterval':86400}}]", "[]", false, ";"},
        {"[{'name':'a','settings':{}}]", NULL, "[{'name':'a','settings':{'AllowCamera':1}}]", "[]",
         false, "changed a;"},
        {"[{'name':'a','parent':null,'settings':{}}]", NULL,
         "[{'name':'a','parent':'b','settings':{}},{'name':'b','settings':{}}]", "[]", false,
         "changed a;"},
        {"[{'name':'a','parent':'b','settings':{}},{'name':'b','parent':'c','settings':{}},"
         "{'name':'c','settings':{}}]",
         NULL, "[]", "[]", false, "new c, new b, new a;"},
        {"[{'name':'a','settings':{}}]", NULL,
         "[{'name':'default','settings':{}},{'name':'x','settings':{}},"
         "{'name':'y','parent':'x','settings':{}},{'name':'a','settings':{}}]",
         "[]", true, "removed y, removed x;"},
        {"[{'name':'a','parent':'x','settings':{}}]", NULL, "[{'name':'x','settings':{}}]", "[]",
         true, "a: there will be no policy \"x\" to inherit from"},
        {"[{'name':'a','parent':'default','settings':{}}]", NULL,
         "[{'name':'default','settings':{}}]", "[]", true, "new a;"},
        {"[{'name':'a','parent':'b','settings':{}},{'name':'b','parent':'a','settings':{}}]", NULL,
         "[]", "[]", false, "a: it would inherit from itself"},
        {"[{'name':'a','settings':{}},{'name':'a','settings':{}}]", NULL, "[]", "[]", false,
         "two policies have the same name"},
        {"[]", "[{'scope':'default','policy':'a'}]", "[{'name':'a','settings':{}}]", "[]", false,
         "; new default"},
        {"[]", "[{'scope':'default','policy':'a'}]", "[{'name':'a','settings':{}}]",
         "[{'scope':'default','policy':'a'}]", false, ";"},
        {"[{'name':'a','settings':{}}]", "[{'scope':'user','user':'u','policy':'a'}]",
         "[{'name':'a','settings':{}}]",
         "[{'scope':'user','user':'u','policy':'b'},{'scope':'default','policy':'a'}]", true,
         "; changed user removed default"},
        {"[]", "[{'scope':'default','policy':'z'}]", "[]", "[]", false,
         "assignments: there will be no policy \"z\""},
        {"[{'name':'a','settings':{}}]", NULL, "[{'name':'b','settings':{}}]",
         "[{'scope':'default','policy':'b'}]", true,
         "policy \"b\" would be removed, but is assigned"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *have = json_of(cases[i].have), *assignments = json_of(cases[i].assignments);
        struct policy_wish wish = {.policies = json_of(cases[i].want), .prune = cases[i].prune};
        struct plan p;
        if (cases[i].wanted_assignments) wish.assignments = json_of(cases[i].wanted_assignments);
        bool good = plan_make(&p, &wish, have, assignments);
        char *text = good ? steps_text(&p) : strdup(p.error);
        print_message("# %s\n", text);
        assert_string_equal(text, cases[i].steps);
        assert_int_equal(good, p.error[0] == '\0');
        free(text);
        plan_finish(&p);
        json_decref(wish.policies);
        json_decref(wish.assignments);
        json_decref(have);
        json_decref(assignments);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(texts),
        cmocka_unit_test(every_prefix_is_refused),
        cmocka_unit_test(assignments_are_sorted),
        cmocka_unit_test(plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
