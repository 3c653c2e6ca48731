/* What is pure in the command line: addresses, the key file, the folder tree, text. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/cli/api.h"
#include "src/cli/cli.h"
#include "src/cli/connect_folders.h"
#include "src/cli/connect_keys.h"
#include "src/cli/connect_url.h"
#include "src/cli/settings.h"
#include "src/cli/text.h"

enum cli_exit cli_fail(enum cli_exit code, const char *format, ...)
{
    (void)format;
    return code;
}

/* ---- addresses ---- */

static void urls(void **state)
{
    static const struct {
        const char *text, *origin, *path; /* origin NULL: refused */
    } cases[] = {
        {"http://h", "http://h", "/Microsoft-Server-ActiveSync"},
        {"http://h/", "http://h", "/Microsoft-Server-ActiveSync"},
        {"https://h:8443/", "https://h:8443", "/Microsoft-Server-ActiveSync"},
        {"https://h:443", "https://h", "/Microsoft-Server-ActiveSync"},
        {"http://h/SOGo", "http://h", "/SOGo/Microsoft-Server-ActiveSync"},
        {"http://h/SOGo//", "http://h", "/SOGo/Microsoft-Server-ActiveSync"},
        {"http://h/SOGo/Microsoft-Server-ActiveSync", "http://h",
         "/SOGo/Microsoft-Server-ActiveSync"},
        {"http://h/microsoft-server-activesync/", "http://h", "/microsoft-server-activesync"},
        {"http://h/?Cmd=Sync#top", "http://h", "/Microsoft-Server-ActiveSync"},
        {"http://[::1]:80/x", "http://[::1]", "/x/Microsoft-Server-ActiveSync"},
        {"ftp://h/", NULL, NULL},
        {"file:///etc/passwd", NULL, NULL},
        {"h.example.org", NULL, NULL},
        {"nowhere at all", NULL, NULL},
        {"http://", NULL, NULL},
        {"http://ann:secret@h/", NULL, NULL},
        {"http://ann@h/", NULL, NULL},
        {"http://h/\r\nX: y", NULL, NULL},
        {"", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct server_url url;
        print_message("# %s\n", cases[i].text);
        const char *why = url_parse(cases[i].text, &url);
        assert_int_equal(why == NULL, cases[i].origin != NULL);
        if (why) continue;
        assert_string_equal(url.origin, cases[i].origin);
        assert_string_equal(url.path, cases[i].path);
        assert_int_equal(url.https, strncmp(cases[i].origin, "https:", 6) == 0);
    }
}

static void long_urls_are_refused(void **state)
{
    char text[4 * URL_MAX];
    struct server_url url;
    (void)state;
    for (size_t len = URL_MAX - 64; len < sizeof text; len += 7) {
        memset(text, 'a', len);
        memcpy(text, "http://h/", 9);
        text[len] = '\0';
        if (url_parse(text, &url) == NULL)
            assert_true(strlen(url.path) < sizeof url.path && len < URL_MAX);
        else
            assert_true(len + sizeof PV_EAS_PATH > URL_MAX);
    }
}

/* ---- the key file ---- */

static struct keys empty_keys(void)
{
    struct keys k = {
        .server = "http://h/Microsoft-Server-ActiveSync", .user = "ann", .device_id = "DEV1"};
    assert_int_equal(pv_arena_create(&k.arena, 1 << 16), PV_OK);
    return k;
}

static struct keys full_keys(void)
{
    struct keys k = empty_keys();
    char message[256];
    k.key = 3942919513;
    strcpy(k.version, "16.1");
    strcpy(k.location, "https://other.example.org/Microsoft-Server-ActiveSync");
    k.wipe = PV_WIPE_ACCOUNT;
    k.wipe_result = 2;
    k.has_policy = true;
    assert_int_equal(
        pv_policy_set(&k.policy, &k.arena, "MinDevicePasswordLength", "8", message, sizeof message),
        PV_OK);
    assert_int_equal(pv_policy_set(&k.policy, &k.arena, "UnapprovedInROMApplicationList",
                                   "a.exe,b.exe", message, sizeof message),
                     PV_OK);
    return k;
}

static void assert_nothing_kept(const struct keys *k)
{
    assert_int_equal(k->key, 0);
    assert_int_equal(k->wipe, PV_WIPE_NONE);
    assert_string_equal(k->location, "");
    assert_false(k->has_policy);
    assert_string_equal(k->device_id, "DEV1");
}

static void key_file_comes_back(void **state)
{
    struct keys k = full_keys(), back = empty_keys();
    char *text = keys_text(&k);
    (void)state;
    assert_non_null(text);
    assert_true(keys_parse(&back, text, strlen(text)));
    assert_int_equal(back.key, k.key);
    assert_string_equal(back.version, k.version);
    assert_string_equal(back.location, k.location);
    assert_int_equal(back.wipe, k.wipe);
    assert_int_equal(back.wipe_result, k.wipe_result);
    assert_true(back.has_policy);
    assert_int_equal(pv_policy_compare(&k.policy, &back.policy, PV_V16_1, NULL), PV_SAME);
    assert_int_equal(pv_policy_value(&back.policy, PV_SET_MinDevicePasswordLength), 8);
    assert_int_equal(back.policy.unapproved.count, 2);
    free(text);
    keys_close(&k);
    keys_close(&back);
}

static void every_prefix_of_the_key_file_is_damage(void **state)
{
    struct keys k = full_keys(), back = empty_keys();
    char *text = keys_text(&k);
    (void)state;
    for (size_t cut = 0; cut < strlen(text); cut++) {
        assert_false(keys_parse(&back, text, cut));
        assert_nothing_kept(&back);
    }
    free(text);
    keys_close(&k);
    keys_close(&back);
}

static void damaged_key_files(void **state)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"\"format\": 1", "\"format\": 2"},
        {"\"user\": \"ann\"", "\"user\": \"bob\""},
        {"DEV1", "DEV2"},
        {"http://h/", "http://g/"},
        {"\"3942919513\"", "\"39429195130\""},
        {"\"3942919513\"", "\"-1\""},
        {"\"3942919513\"", "\"007\""},
        {"\"3942919513\"", "3942919513"},
        {"\"wipe_result\": 2", "\"wipe_result\": -1"},
        {"\"wipe_result\": 2", "\"wipe_result\": 1e0"},
        {"\"account\"", "\"everything\""},
        {"\"wipe_result\": 2", "\"wipe_result\": 3"},
        {"\"version\": \"16.1\"", "\"version\": \"sixteen point one\""},
        {"\"version\"", "\"location\""}, /* twice */
    };
    struct keys k = full_keys(), back = empty_keys();
    char *text = keys_text(&k), other[4096];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %s -> %s\n", cases[i].from, cases[i].to);
        const char *at = strstr(text, cases[i].from);
        assert_non_null(at);
        snprintf(other, sizeof other, "%.*s%s%s", (int)(at - text), text, cases[i].to,
                 at + strlen(cases[i].from));
        assert_false(keys_parse(&back, other, strlen(other)));
        assert_nothing_kept(&back);
    }
    free(text);
    keys_close(&k);
    keys_close(&back);
}

static void key_files_on_the_disk(void **state)
{
    static const char server[] = "http://h/Microsoft-Server-ActiveSync";
    char dir[] = "/tmp/provost-cli-XXXXXX", deep[64], device[PV_DEVICE_ID_MAX + 1], command[96];
    struct keys k;
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(deep, sizeof deep, "%s/a/b", dir);

    assert_int_equal(keys_open(&k, deep, server, "ann", NULL), CLI_DONE);
    assert_int_equal(strlen(k.device_id), PV_DEVICE_ID_MAX);
    strcpy(device, k.device_id);
    k.key = 4711;
    assert_int_equal(keys_save(&k), CLI_DONE);
    assert_int_equal(stat(k.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    keys_close(&k);

    assert_int_equal(keys_open(&k, deep, server, "ann", NULL), CLI_DONE);
    assert_string_equal(k.device_id, device); /* made once */
    assert_int_equal(k.key, 4711);
    assert_int_equal(keys_forget(&k), CLI_DONE);
    keys_close(&k);

    assert_int_equal(keys_open(&k, deep, server, "ann", device), CLI_DONE);
    assert_int_equal(k.key, 0);
    keys_close(&k);
    assert_int_equal(keys_open(&k, deep, server, "bob", NULL), CLI_DONE);
    assert_string_not_equal(k.device_id, device);
    keys_close(&k);

    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

/* ---- folders ---- */

struct answer {
    struct pv_arena arena;
    const struct pv_node *root;
};

static struct answer folder_sync(const char *key, const char *changes)
{
    struct answer a;
    char xml[4096];
    snprintf(xml, sizeof xml,
             "<FolderSync xmlns=\"FolderHierarchy:\"><Status>1</Status><SyncKey>%s</SyncKey>"
             "<Changes>%s</Changes></FolderSync>",
             key, changes);
    assert_int_equal(pv_arena_create(&a.arena, 1 << 18), PV_OK);
    assert_int_equal(pv_xml_read(&a.arena, xml, strlen(xml), NULL, &a.root, NULL), PV_OK);
    return a;
}

#define ADD(verb, id, parent, name, type)                                                    \
    "<" verb "><ServerId>" id "</ServerId><ParentId>" parent "</ParentId><DisplayName>" name \
    "</DisplayName><Type>" type "</Type></" verb ">"

static enum folders_result apply(struct folders *f, const char *key, const char *changes,
                                 struct folder_changes *c)
{
    struct answer a = folder_sync(key, changes);
    enum folders_result r = folders_apply(f, a.root, c, NULL, NULL);
    pv_arena_destroy(&a.arena);
    return r;
}

static void draw(void *ctx, const struct folder *f, unsigned depth)
{
    char *text = ctx;
    size_t len = strlen(text);
    snprintf(text + len, 512 - len, "%u%s ", depth, f->name);
}

static const char *drawn(const struct folders *f)
{
    static char text[512];
    text[0] = '\0';
    assert_true(folders_walk(f, draw, text));
    return text;
}

static void folder_tree(void **state)
{
    struct folders f = {0};
    struct folder_changes c;
    (void)state;
    folders_reset(&f);
    assert_string_equal(f.sync_key, "0");
    assert_int_equal(apply(&f, "1",
                           "<Count>4</Count>" ADD("Add", "3", "2", "c", "12")
                               ADD("Add", "1", "0", "a", "2") ADD("Add", "2", "1", "b", "12")
                                   ADD("Add", "4", "0", "d", "5"),
                           &c),
                     FOLDERS_OK);
    assert_int_equal(c.added, 4);
    assert_string_equal(f.sync_key, "1");
    assert_string_equal(drawn(&f), "0a 1b 2c 0d ");
    /* moved, renamed, gone, and what is not known */
    assert_int_equal(apply(&f, "2",
                           ADD("Update", "3", "0", "C", "12") ADD(
                               "Add", "4", "1", "D", "5") "<Delete><ServerId>2</ServerId></Delete>"
                                                          "<Delete><ServerId>9</ServerId></Delete>",
                           &c),
                     FOLDERS_OK);
    assert_int_equal(c.added, 0);
    assert_int_equal(c.updated, 2);
    assert_int_equal(c.deleted, 1);
    assert_string_equal(drawn(&f), "0C 0a 1D ");
    /* a parent that is gone, circles */
    assert_int_equal(apply(&f, "3",
                           ADD("Add", "5", "77", "e", "1") ADD("Add", "6", "7", "f", "1")
                               ADD("Add", "7", "6", "g", "1") ADD("Add", "8", "8", "h", "1"),
                           &c),
                     FOLDERS_OK);
    assert_string_equal(drawn(&f), "0C 0a 1D 0e 0f 1g 0h ");
    folders_reset(&f);
    assert_int_equal(f.count, 0);
}

static void folder_lists_that_make_no_sense(void **state)
{
    static const char *const cases[] = {
        ADD("Add", "", "0", "a", "2"),
        ADD("Add", "1", "0", "a", "two"),
        "<Add><ServerId>1</ServerId></Add>",
        "<Add/>",
        "<Delete/>",
        "<Update><ServerId>1</ServerId><ParentId>0</ParentId><Type>1</Type></Update>",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct folders f = {0};
        struct folder_changes c;
        print_message("# %s\n", cases[i]);
        folders_reset(&f);
        assert_int_equal(apply(&f, "1", cases[i], &c), FOLDERS_MALFORMED);
        folders_reset(&f);
    }
    struct folders f = {0};
    struct folder_changes c;
    folders_reset(&f);
    assert_int_equal(apply(&f, "", "", &c), FOLDERS_MALFORMED); /* no SyncKey */
    assert_string_equal(f.sync_key, "0");
    folders_reset(&f);
}

static void folder_types(void **state)
{
    (void)state;
    assert_string_equal(folder_type_name(2), "inbox");
    assert_string_equal(folder_type_name(UINT32_MAX), "unknown");
    assert_string_equal(folder_class(8), "Calendar");
    assert_null(folder_class(19));
    assert_null(folder_class(200));
}

/* ---- text ---- */

static void text_that_moves_no_cursor(void **state)
{
    static const struct {
        const char *text, *clean;
    } cases[] = {
        {"Händi 日本", "Händi 日本"},
        {"a\x1b[31mb", "a\xef\xbf\xbd[31mb"},
        {"a\nb\tc\x7f", "a\xef\xbf\xbd"
                        "b\xef\xbf\xbd"
                        "c\xef\xbf\xbd"},
        {"\xc2\x9b", "\xef\xbf\xbd"}, /* C1: CSI */
        {"\xe2\x80\xae"
         "txt",
         "\xef\xbf\xbdtxt"}, /* right-to-left override */
        {"\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc3", "\xef\xbf\xbd"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *clean = text_clean(cases[i].text, strlen(cases[i].text));
        assert_string_equal(clean, cases[i].clean);
        free(clean);
    }
}

static void tables_line_up(void **state)
{
    static const char *const titles[] = {"A", "LONG"};
    char *text = NULL;
    size_t len;
    struct table t;
    FILE *to = open_memstream(&text, &len);
    (void)state;
    table_begin(&t, 2, titles);
    table_cell(&t, "äö");
    table_cell(&t, NULL);
    table_cell(&t, "xyz");
    table_cell_int(&t, -7);
    assert_int_equal(table_end(&t, to, 1), 0);
    fclose(to);
    assert_string_equal(text, " A    LONG\n äö   -\n xyz  -7\n");
    free(text);
}

static void what_unset_means(void **state)
{
    static const struct {
        enum pv_setting setting;
        const char *text;
    } cases[] = {
        {PV_SET_MaxInactivityTimeDeviceLock, "no limit"},
        {PV_SET_ApprovedApplicationList, "no list"},
        {PV_SET_RefreshInterval, "never"},
        {PV_SET_AllowNonProvisionableUntil, "no end"},
        {PV_SET_AllowCamera, "1"},
        {PV_SET_MinDevicePasswordLength, "1 character"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[SETTING_TEXT_MAX];
        setting_unset_text(cases[i].setting, text);
        assert_string_equal(text, cases[i].text);
    }
}

/* ---- paths of the administration ---- */

static void paths(void **state)
{
    const struct {
        char *path;
        const char *want;
    } cases[] = {
        {api_path("/v1/users"), "/v1/users"},
        {api_path("/v1/users/%s", "ann@example.org"), "/v1/users/ann%40example.org"},
        {api_path("/v1/devices/%s/%s/block", "a b/c", "D-1_~.x"),
         "/v1/devices/a%20b%2Fc/D-1_~.x/block"},
        {api_path("/v1/users/%s", ".."), "/v1/users/%2E%2E"},
        {api_path("/v1/users/%s/%s", "%s", ""), "/v1/users/%25s/"},
        {api_path("/v1/users/%s", "\xc3\xa4\x01\xff?#&"), "/v1/users/%C3%A4%01%FF%3F%23%26"},
        {api_query(api_path("/v1/devices"), "user", NULL), "/v1/devices"},
        {api_query(api_query(api_path("/v1/devices"), "user", "a&b=c+d e"), "state", "new"),
         "/v1/devices?user=a%26b%3Dc%2Bd%20e&state=new"},
        {api_query(api_path("/v1/devices"), "user", ""), "/v1/devices?user="},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(cases[i].path, cases[i].want);
        free(cases[i].path);
    }
    assert_null(api_query(NULL, "user", "ann"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),
        cmocka_unit_test(long_urls_are_refused),
        cmocka_unit_test(key_file_comes_back),
        cmocka_unit_test(every_prefix_of_the_key_file_is_damage),
        cmocka_unit_test(damaged_key_files),
        cmocka_unit_test(key_files_on_the_disk),
        cmocka_unit_test(folder_tree),
        cmocka_unit_test(folder_lists_that_make_no_sense),
        cmocka_unit_test(folder_types),
        cmocka_unit_test(text_that_moves_no_cursor),
        cmocka_unit_test(tables_line_up),
        cmocka_unit_test(what_unset_means),
        cmocka_unit_test(paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
