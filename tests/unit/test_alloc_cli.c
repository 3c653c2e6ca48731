/* Every allocation failing once: what the command line keeps, reads and tells. jansson fails, too.
 */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/cli/api.h"
#include "src/cli/cli.h"
#include "src/cli/connect.h"
#include "src/cli/connect_folders.h"
#include "src/cli/connect_keys.h"
#include "src/cli/text.h"
#include "tests/unit/failing_malloc.h"

/* ---- what goes wrong is told; here only that it was ---- */
static bool told;

enum cli_exit cli_fail(enum cli_exit code, const char *format, ...)
{
    (void)format;
    told = true;
    return code;
}

const char *cli_exit_name(enum cli_exit code)
{
    return code == CLI_DONE ? "done" : "failed";
}

static void told_why(void)
{
    assert_true(told);
    told = false;
}

/* ---- the key file ---- */
#define SERVER "http://h/Microsoft-Server-ActiveSync"
static char dir[64];
static struct keys keys;

static int make_dir(void **unused)
{
    (void)unused;
    strcpy(dir, "/tmp/provost-alloc-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **unused)
{
    char command[96];
    (void)unused;
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

static bool keys_run_open(void)
{
    enum cli_exit code = keys_open(&keys, dir, SERVER, "ann", NULL);
    if (code != CLI_DONE)
        keys_close(&keys);
    return code == CLI_DONE;
}

static void keys_end(void)
{
    keys_close(&keys);
}

static char device[PV_DEVICE_ID_MAX + 1];

static void device_chosen(void)
{
    memcpy(device, keys.device_id, sizeof device);
    assert_int_equal(strlen(device), PV_DEVICE_ID_MAX);
}

static bool keys_run_save(void)
{
    return keys_save(&keys) == CLI_DONE;
}

static void set(const char *name, const char *value)
{
    char message[256];
    assert_int_equal(
        pv_policy_set(&keys.policy, &keys.arena, name, value, message, sizeof message), PV_OK);
}

static void keys_begin(void)
{
    assert_true(keys_run_open());
    keys.key = 4711;
    keys.has_policy = true;
    set("MinDevicePasswordLength", "8");
    set("UnapprovedInROMApplicationList", "a.exe,b.exe");
}

/* What is on the disk. */
static void keys_are_kept(void)
{
    keys_close(&keys);
    told = false;
    assert_true(keys_run_open());
    assert_false(told); /* that it is damaged */
    assert_string_equal(keys.device_id, device);
    assert_int_equal(keys.key, 4711);
    assert_true(keys.has_policy);
    assert_int_equal(keys.policy.value[PV_SET_MinDevicePasswordLength], 8);
    assert_int_equal(keys.policy.unapproved.count, 2);
}

static void keys_saved_begin(void)
{
    told = false;
}

static void key_files(void **unused)
{
    (void)unused;
    failing_malloc_sweep(&(struct sweep){"keys_open, first", NULL, keys_run_open, told_why,
                                         device_chosen, keys_end});
    assert_true(keys_run_open());
    device_chosen();
    keys_end();
    failing_malloc_sweep(&(struct sweep){"keys_save", keys_begin, keys_run_save, told_why,
                                         keys_are_kept, keys_end});
    failing_malloc_sweep(&(struct sweep){"keys_open", keys_saved_begin, keys_run_open, told_why,
                                         keys_are_kept, keys_end});
}

/* ---- folders ---- */
static struct pv_arena arena;
static const struct pv_node *answer;
static struct folders folders;

static int read_answer(void **unused)
{
    static const char xml[] =
        "<FolderSync xmlns=\"FolderHierarchy:\"><Status>1</Status><SyncKey>7</SyncKey><Changes>"
        "<Add><ServerId>1</ServerId><ParentId>0</ParentId><DisplayName>a</DisplayName>"
        "<Type>2</Type></Add>"
        "<Add><ServerId>2</ServerId><ParentId>1</ParentId><DisplayName>b</DisplayName>"
        "<Type>12</Type></Add><Update><ServerId>1</ServerId><ParentId>0</ParentId>"
        "<DisplayName>A</DisplayName><Type>2</Type></Update></Changes></FolderSync>";
    (void)unused;
    return pv_arena_create(&arena, 1 << 16) != PV_OK ||
           pv_xml_read(&arena, xml, sizeof xml - 1, NULL, &answer, NULL) != PV_OK;
}

static int forget_answer(void **unused)
{
    (void)unused;
    pv_arena_destroy(&arena);
    return 0;
}

static bool folders_run_apply(void)
{
    struct folder_changes changes;
    folders_reset(&folders); /* as who was told FOLDERS_NO_MEMORY must */
    enum folders_result r = folders_apply(&folders, answer, &changes, NULL, NULL);
    assert_true(r == FOLDERS_OK || r == FOLDERS_NO_MEMORY);
    return r == FOLDERS_OK;
}

static void folders_at_start(void)
{
    assert_string_equal(folders.sync_key, "0");
}

static void folders_whole(void)
{
    assert_string_equal(folders.sync_key, "7");
    assert_int_equal(folders.count, 2);
    assert_string_equal(folders.at[0].name, "A");
}

static void folders_end(void)
{
    folders_reset(&folders);
}

static void folders_begin(void)
{
    assert_true(folders_run_apply());
}

static void draw(void *ctx, const struct folder *f, unsigned depth)
{
    (void)f;
    *(unsigned *)ctx += 1 + depth;
}

static bool folders_run_walk(void)
{
    unsigned drawn = 0;
    bool said = folders_walk(&folders, draw, &drawn);
    assert_int_equal(drawn, said ? 3 : 0);
    return said;
}

static json_t *list;

static bool folders_run_json(void)
{
    list = folders_json(&folders);
    return list;
}

static void list_whole(void)
{
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "name")), "b");
    json_decref(list);
}

static void folder_tree(void **unused)
{
    (void)unused;
    failing_malloc_sweep(&(struct sweep){"folders_apply", NULL, folders_run_apply,
                                         folders_at_start, folders_whole, folders_end});
    failing_malloc_sweep(&(struct sweep){"folders_walk", folders_begin, folders_run_walk, NULL,
                                         folders_whole, folders_end});
    failing_malloc_sweep(&(struct sweep){"folders_json", folders_begin, folders_run_json, NULL,
                                         list_whole, folders_end});
}

/* ---- what is told ---- */
static FILE *screen;
static char *shown;
static size_t shown_len;
static bool as_json;

static void screen_begin(void)
{
    screen = stdout;
    stdout = open_memstream(&shown, &shown_len);
    assert_non_null(stdout);
}

static void screen_end(void)
{
    fclose(stdout);
    stdout = screen;
}

static bool table_run(void)
{
    static const char *const titles[] = {"A", "B"};
    struct table t;
    rewind(stdout);
    table_begin(&t, 2, titles);
    table_cell(&t, "x");
    table_cell_int(&t, 7);
    return table_end(&t, stdout, 0) == 0;
}

static void table_whole(void)
{
    screen_end();
    assert_string_equal(shown, "A  B\nx  7\n");
    free(shown);
}

/* Two policies, an answer and the folders, from beginning to end. */
static bool report_run(void)
{
    static struct pv_policy old, policy;
    static enum pv_kept kept[PV_SETTING_COUNT];
    static const struct pv_provision_answer given = {.policy_status = 1, .key = "12345"};
    const struct exchange x = {.phase = 2, .name = "policy", .command = "Provision", .does = "",
                               .http = 200, .status = 1, .status_name = "ok",
                               .provision = &given, .problem = "odd"};
    struct report r;
    old = policy = (struct pv_policy){.set = 1ull << PV_SET_MinDevicePasswordLength};
    old.value[PV_SET_MinDevicePasswordLength] = 4;
    policy.value[PV_SET_MinDevicePasswordLength] = 8;
    kept[PV_SET_MinDevicePasswordLength] = PV_KEPT;
    rewind(stdout);
    if (!report_begin(&r, as_json, true)) {
        told = true;
        return false;
    }
    report_request(&r, &x);
    report_answer(&r, &x);
    report_policy(&r, &(struct report_policy){.policy = &policy, .old = &old, .kept = kept,
                                              .version = PV_V14_1, .judgement = 1});
    report_event(&r, "key", "a sentence", NULL);
    report_folders(&r, &folders);
    return report_end(&r, CLI_DONE, "Done.") == CLI_DONE;
}

static void report_begins(void)
{
    folders_begin();
    screen_begin();
}

static void report_told(void)
{
    static const char *const document[] = {
        "\"settings\": {", "\"MinDevicePasswordLength\": 8",
        "\"MinDevicePasswordLength\": \"kept\"", "\"whole\": \"stricter\"", "\"old\": 4",
        "\"policy_status\": 1", "\"key\": \"12", "\"problem\": \"odd\"", "\"trace\": \"\"",
        "a sentence", "\"name\": \"b\"", "\"outcome\": \"done\"", "\"exit_code\": 0",
        "\"message\": \"Done.\""};
    static const char *const text[] = {"Phase 2", "HTTP 200", "(odd)", "MinDevicePasswordLength  8",
                                       "keeps it", "stricter", "4 -> 8", "Folders: 2", "b  (mail)",
                                       "Done."};
    const char *const *want = as_json ? document : text;
    size_t count = as_json ? sizeof document / sizeof *document : sizeof text / sizeof *text;
    fputc('\0', stdout); /* behind it the longer text of an earlier try may stand */
    screen_end();
    for (size_t i = 0; i < count; i++)
        if (!strstr(shown, want[i]))
            fail_msg("%s is not in %s", want[i], shown);
    free(shown);
    folders_end();
}

static void what_is_told(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"table", screen_begin, table_run, NULL, table_whole, NULL});
    as_json = true;
    failing_malloc_sweep(&(struct sweep){"connect --json", report_begins, report_run, told_why,
                                         report_told, NULL});
    as_json = false;
    failing_malloc_sweep(&(struct sweep){"connect --trace", report_begins, report_run, told_why,
                                         report_told, NULL});
}

/* ---- paths of the administration ---- */

static char *path;

static bool path_run(void)
{
    path = api_query(api_path("/v1/devices/%s", "a b"), "state", "new");
    return path != NULL;
}

static void path_whole(void)
{
    assert_string_equal(path, "/v1/devices/a%20b?state=new");
    free(path);
}

static void paths(void **unused)
{
    (void)unused;
    failing_malloc_sweep(&(struct sweep){"path", NULL, path_run, NULL, path_whole, NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(key_files, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(folder_tree, read_answer, forget_answer),
        cmocka_unit_test_setup_teardown(what_is_told, read_answer, forget_answer),
        cmocka_unit_test(paths),
    };
    json_set_alloc_funcs(malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
