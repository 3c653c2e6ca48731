/* Policies of Z-Push and Exchange, read into ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/cli/import.h"
#include "src/cli/import_values.h"
#include "src/cli/policy_json.h"
#include "src/json_text.h"

typedef bool importer(struct import *m, const char *text, size_t len, const char *prefix);

/* Policies as one line of JSON; the notes as lines "12 policy! text", ! for what is lost. */
struct told {
    char *policies, *notes;
    bool read;
    char error[IMPORT_TEXT_MAX];
};

static struct told run(importer *import, const char *text, size_t len, const char *prefix)
{
    struct import m;
    struct told t = {.read = import(&m, text, len, prefix)};
    size_t size = 0, i, skipped = 0;
    const json_t *note;
    FILE *to = open_memstream(&t.notes, &size);
    assert_false(m.no_memory);
    json_array_foreach(m.notes, i, note)
    {
        const char *policy = json_string_value(json_object_get(note, "policy"));
        bool lost = json_is_true(json_object_get(note, "skipped"));
        skipped += lost;
        fprintf(to, "%lld %s%s %s\n", (long long)json_integer_value(json_object_get(note, "line")),
                policy ? policy : "", lost ? "!" : ":",
                json_string_value(json_object_get(note, "says")));
    }
    fclose(to);
    if (m.notes_lost == 0) assert_int_equal(skipped, m.skipped);
    t.policies = text_of_json(m.policies, JSON_COMPACT);
    memcpy(t.error, m.error, sizeof t.error);
    import_finish(&m);
    return t;
}

static void forget(struct told *t)
{
    free(t->policies);
    free(t->notes);
}

static char *read_file(const char *name, size_t *len_out)
{
    char path[512], *data = malloc(IMPORT_FILE_MAX);
    snprintf(path, sizeof path, "%s/%s", IMPORT_DIR, name);
    FILE *from = fopen(path, "r");
    assert_non_null(from);
    size_t n = fread(data, 1, IMPORT_FILE_MAX, from);
    fclose(from);
    char *text = import_utf8(data, n, len_out);
    free(data);
    assert_non_null(text);
    return text;
}

/* ---- Z-Push ---- */

/* Sent by Z-Push when [default] does not name them. */
#define OWN                                                                      \
    "\"MaxInactivityTimeDeviceLock\":900,\"MaxDevicePasswordFailedAttempts\":8," \
    "\"MinDevicePasswordComplexCharacters\":3"

static void zpush_lines(void **state)
{
    /* Behind "[default]\nmindevpwlenngth=4\n..." so that nothing is built in. */
    static const struct {
        const char *lines, *settings, *notes;
    } cases[] = {
        {"devpwenabled = 1", "\"DevicePasswordEnabled\":1", ""},
        {"devpwenabled=1\r", "\"DevicePasswordEnabled\":1", ""},
        {"\t devpwenabled\t=\t1 \t", "\"DevicePasswordEnabled\":1", ""},
        {"devpwenabled = \"1\"", "\"DevicePasswordEnabled\":1", ""},
        {"devpwenabled = '1' ; why not", "\"DevicePasswordEnabled\":1", ""},
        {"devpwenabled = 1; why not", "\"DevicePasswordEnabled\":1", ""},
        {"devpwenabled = On", "\"DevicePasswordEnabled\":1", ""},
        {"attenabled = no", "\"AttachmentsEnabled\":0", ""},
        {"devpwhistory = null", "", ""},
        {"devpwenabled =", "", ""},
        {"devpwenabled = ''", "", ""},
        {"devpwenabled = ;1", "", ""},
        {"; devpwenabled = 1\n# devpwenabled = 1\n\n", "", ""},
        {"devpwenabled = '1", "",
         "6 default! devpwenabled: the quotes do not end with the value\n"},
        {"devpwenabled = '1'2", "",
         "6 default! devpwenabled: the quotes do not end with the value\n"},
        {"devpwenabled", "", "6 default! neither key = value, nor [section], nor comment\n"},
        {"DevPwEnabled = 1", "", "6 default! \"DevPwEnabled\" is no setting of Z-Push\n"},
        {" = 1", "", "6 default! \"\" is no setting of Z-Push\n"},
        {"devpwenabled = 2", "",
         "6 default! devpwenabled: DevicePasswordEnabled: \"2\" is out of range; allowed: 0,1, or "
         "empty\n"},
        {"allowcam = 0\nallowcam = 1", "\"AllowCamera\":1",
         "7 default: allowcam: given in line 6 already; this one counts\n"},
        {"maxdevpwfailedattempts[] = 5", "", "6 default! maxdevpwfailedattempts: is no list\n"},
        {"docbrowseenabled =", "", ""},
        {"docbrowseenabled = 1", "", "6 default: docbrowseenabled: no device knows it\n"},
        {"devencenabled = 1", "\"RequireStorageCardEncryption\":1", ""},
        {"approvedapplist = b,a", "\"ApprovedApplicationList\":[\"a\",\"b\"]", ""},
        {"approvedapplist[] = b\napprovedapplist[7] = a",
         "\"ApprovedApplicationList\":[\"a\",\"b\"]", ""},
        {"approvedapplist[] = b,a", "",
         "6 default! approvedapplist: an entry cannot have a comma\n"},
        {"approvedapplist[] = on", "\"ApprovedApplicationList\":[\"on\"]", ""},
        {"approvedapplist =", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512], want[512];
        print_message("# %s\n", cases[i].lines);
        snprintf(text, sizeof text,
                 "[default]\nmindevpwlenngth =\nmaxinacttimedevlock =\nmaxdevpwfailedattempts=\n"
                 "mindevcomplexchars=\n%s",
                 cases[i].lines);
        snprintf(want, sizeof want,
                 "[{\"name\":\"default\",\"settings\":{%s},\"is_default\":true}]",
                 cases[i].settings);
        struct told t = run(import_zpush, text, strlen(text), "");
        assert_true(t.read);
        assert_string_equal(t.policies, want);
        assert_string_equal(t.notes, cases[i].notes);
        forget(&t);
    }
}

static void zpush_sections(void **state)
{
    static const struct {
        const char *text, *prefix, *policies, *notes;
    } cases[] = {
        {"[default]\nmindevpwlenngth=4", "",
         "[{\"name\":\"default\",\"settings\":{\"MinDevicePasswordLength\":4," OWN
         "},\"is_default\":true}]",
         "0 default: maxinacttimedevlock: not in the file, Z-Push's own value is 900\n"
         "0 default: maxdevpwfailedattempts: not in the file, Z-Push's own value is 8\n"
         "0 default: mindevcomplexchars: not in the file, Z-Push's own value is 3\n"},
        {"[a]\nallowcam=0", "", "[{\"name\":\"a\",\"settings\":{\"AllowCamera\":0}}]",
         "0 : no section [default]: Z-Push itself would not start with it\n"},
        {"allowcam=0\n[a]\n[a]\nallowcam=0\n[b\nallowcam=0\n[]\nallowcam=0\n[c\x01]\n[d/e]\n[f ]\n",
         "x-", "[{\"name\":\"x-a\",\"settings\":{}}]",
         "1 ! stands in no section\n3 ! policy \"a\": a second policy of that name\n"
         "5 ! [ without ]: what follows is left out\n"
         "7 ! policy \"\": that is no name for a policy\n"
         "9 ! policy \"c\\x01\": that is no name for a policy\n"
         "10 ! policy \"d/e\": that is no name for a policy\n"
         "11 ! policy \"f \": that is no name for a policy\n"
         "0 : no section [default]: Z-Push itself would not start with it\n"},
        {"[1234567890123456789012345678901234567890123456789012345678901]\n[a]", "abc",
         "[{\"name\":\"abca\",\"settings\":{}}]",
         "1 ! policy \"1234567890123456789012345678901234567890123456789012345678901\": a "
         "policy's name has at most 63 bytes\n"
         "0 : no section [default]: Z-Push itself would not start with it\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct told t = run(import_zpush, cases[i].text, strlen(cases[i].text), cases[i].prefix);
        print_message("# %s\n%s%s\n", cases[i].text, t.policies, t.notes);
        assert_true(t.read);
        assert_string_equal(t.policies, cases[i].policies);
        assert_string_equal(t.notes, cases[i].notes);
        forget(&t);
    }
}

static void nothing_to_read(void **state)
{
    static const struct {
        importer *import;
        const char *text, *error;
    } cases[] = {
        {import_zpush, "", "no section that could be a policy"},
        {import_zpush, "allowcam = 1\n", "no section that could be a policy"},
        {import_zpush, "[]\n", "no section that could be a policy"},
        {import_exchange, "", "line 1, column 0: '[' or '{' expected near end of file"},
        {import_exchange, "[]", "no policy in it"},
        {import_exchange, "{}", "no policy in it"},
        {import_exchange, "[{\"Name\":1},7]", "no policy in it"},
        {import_exchange, "{\n \"Name\": \"a\",,",
         "line 2, column 14: string or '}' expected near ','"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct told t = run(cases[i].import, cases[i].text, strlen(cases[i].text), "");
        print_message("# %s: %s\n", cases[i].text, t.error);
        assert_false(t.read);
        assert_string_equal(t.error, cases[i].error);
        forget(&t);
    }
}

static void a_file_of_zpush(void **state)
{
    size_t len;
    char *text = read_file("policies.ini", &len);
    (void)state;
    struct told t = run(import_zpush, text, len, "");
    assert_true(t.read);
    assert_string_equal(
        t.policies,
        "[{\"name\":\"default\",\"settings\":{\"DevicePasswordEnabled\":1,"
        "\"AlphanumericDevicePasswordRequired\":1,\"RequireStorageCardEncryption\":0,"
        "\"MinDevicePasswordLength\":6,\"MaxInactivityTimeDeviceLock\":600,"
        "\"MaxDevicePasswordFailedAttempts\":8,\"DevicePasswordExpiration\":90,"
        "\"MinDevicePasswordComplexCharacters\":2,\"AllowBluetooth\":1,"
        "\"MaxEmailBodyTruncationSize\":-1},\"is_default\":true},"
        "{\"name\":\"sales\",\"parent\":\"default\",\"settings\":{\"DevicePasswordHistory\":5,"
        "\"AllowCamera\":0,\"UnapprovedInROMApplicationList\":[\"chat.exe\",\"game.exe\"]}},"
        "{\"name\":\"board\",\"settings\":{\"DevicePasswordEnabled\":1,"
        "\"AlphanumericDevicePasswordRequired\":1,\"RequireStorageCardEncryption\":0,"
        "\"MaxInactivityTimeDeviceLock\":600,\"DevicePasswordExpiration\":90,"
        "\"RequireDeviceEncryption\":1,\"MinDevicePasswordComplexCharacters\":2,"
        "\"AllowBluetooth\":1,\"MaxEmailBodyTruncationSize\":-1}}]");
    assert_string_equal(
        t.notes, "26 board! \"hokuspokus\" is no setting of Z-Push\n"
                 "0 board: empties what [default] sets: made without parent, with all values\n"
                 "25 board! mindevpwlenngth: MinDevicePasswordLength: \"17\" is out of range; "
                 "allowed: 1..16 characters, or empty\n");
    forget(&t);
    free(text);
}

/* ---- Exchange ---- */

static void values(void **state)
{
    static const struct {
        char kind;
        const char *json;
        long long want; /* -1: refused, -2: unlimited */
    } cases[] = {
        {'b', "true", 1},
        {'b', "false", 0},
        {'b', "\"True\"", 1},
        {'b', "\"$false\"", 0},
        {'b', "1", -1},
        {'b', "null", -1},
        {'b', "\"\"", -1},
        {'n', "8", 8},
        {'n', "\"8\"", 8},
        {'n', "\"Unlimited\"", -2},
        {'n', "\"unlimited\"", -2},
        {'n', "{\"IsUnlimited\":true}", -2},
        {'n', "{\"IsUnlimited\":false,\"Value\":8}", 8},
        {'n', "{\"Value\":\"Unlimited\"}", -2},
        {'n', "\"8 \"", -1},
        {'n', "8.5", -1},
        {'n', "\"\"", -1},
        {'n', "\"99999999999999999999\"", -1},
        {'n', "[8]", -1},
        {'s', "4096", 4096},
        {'s', "\"4KB\"", 4096},
        {'s', "\"4 kb\"", 4096},
        {'s', "\"10 MB (10,485,760 bytes)\"", 10485760},
        {'s', "\"1GB\"", 1073741824},
        {'s', "\"Unlimited\"", -2},
        {'s', "\"10 MB (10,485,760 bytes\"", -1},
        {'s', "\"10 MB (10 bytes) \"", -1},
        {'s', "\"10 PB\"", -1},
        {'s', "\"9000000000000TB\"", -1},
        {'s', "{\"IsUnlimited\":false,\"Value\":\"2 KB (2,048 bytes)\"}", 2048},
        {'t', "\"00:15:00\"", 900},
        {'t', "\"15:00\"", 54000},
        {'t', "\"90.00:00:00\"", 7776000},
        {'t', "\"1.12:30:01.5000000\"", 131401},
        {'t', "\"2\"", 172800},
        {'t', "\"Unlimited\"", -2},
        {'t', "{\"Ticks\":9000000000}", 900},
        {'t', "{\"TotalSeconds\":900.0}", 900},
        {'t', "{\"IsUnlimited\":false,\"Value\":{\"Ticks\":9000000000}}", 900},
        {'t', "{\"Ticks\":-9000000000}", -1},
        {'t', "{\"TotalSeconds\":1e300}", -1},
        {'t', "\"24:00:00\"", -1},
        {'t', "\"00:60:00\"", -1},
        {'t', "\"00:15:\"", -1},
        {'t', "\"1.5\"", -1},
        {'t', "\"00:15:00x\"", -1},
        {'t', "\"-00:15:00\"", -1},
        {'t', "\"1.00:00:00:00\"", -1},
        {'t', "\"999999999.00:00:00\"", -1},
        {'t', "900", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *value = json_loads(cases[i].json, JSON_DECODE_ANY, NULL);
        int64_t n = 0;
        bool unlimited = false, good = false;
        print_message("# %c %s\n", cases[i].kind, cases[i].json);
        assert_non_null(value);
        switch (cases[i].kind) {
        case 'b': good = value_yes_no(value, &n); break;
        case 'n': good = value_number(value, &n, &unlimited); break;
        case 's': good = value_size(value, &n, &unlimited); break;
        default: good = value_seconds(value, &n, &unlimited); break;
        }
        assert_int_equal(good ? unlimited ? -2 : n : -1, cases[i].want);
        json_decref(value);
    }
}

#define OF_BOTH                                                                                    \
    "{\"name\":\"ex-Default\",\"settings\":{\"DevicePasswordEnabled\":1,"                          \
    "\"AlphanumericDevicePasswordRequired\":0,\"PasswordRecoveryEnabled\":0,"                      \
    "\"RequireStorageCardEncryption\":0,\"AttachmentsEnabled\":1,\"MinDevicePasswordLength\":6,"   \
    "\"MaxInactivityTimeDeviceLock\":900,\"MaxDevicePasswordFailedAttempts\":8,"                   \
    "\"MaxAttachmentSize\":10485760,\"AllowSimpleDevicePassword\":0,"                              \
    "\"DevicePasswordExpiration\":90,\"DevicePasswordHistory\":3,\"AllowCamera\":1,"               \
    "\"RequireDeviceEncryption\":1,\"MinDevicePasswordComplexCharacters\":1,\"AllowBluetooth\":1," \
    "\"MaxCalendarAgeFilter\":4,\"MaxEmailAgeFilter\":0,\"MaxEmailHTMLBodyTruncationSize\":4096,"  \
    "\"RequireSignedSMIMEAlgorithm\":0,\"RequireEncryptionSMIMEAlgorithm\":2,"                     \
    "\"AllowSMIMEEncryptionAlgorithmNegotiation\":0,"                                              \
    "\"UnapprovedInROMApplicationList\":[\"chat.exe\",\"game.exe\"],"                              \
    "\"ApprovedApplicationList\":[\"0A1B2C\"],\"AllowNonProvisionable\":0,\"AllowPartial\":0,"     \
    "\"AllowExternalManagement\":0,\"RefreshInterval\":86400},\"is_default\":true}"
#define NOTES_OF_BOTH                                                 \
    "0 ex-Default: AllowApplePushNotifications: has no counterpart\n" \
    "0 ex-Default: IrmEnabled: has no counterpart\n"                  \
    "0 ex-Default: UNCAccessEnabled: has no counterpart\n"

/* What a remote session tells and what a local one tells is the same. */
static void files_of_exchange(void **state)
{
    size_t len;
    char *text = read_file("exchange-remote.json", &len);
    (void)state;
    struct told t = run(import_exchange, text, len, "ex-");
    assert_true(t.read);
    assert_string_equal(t.policies, "[" OF_BOTH "]");
    assert_string_equal(t.notes, NOTES_OF_BOTH);
    forget(&t);
    free(text);
    text = read_file("exchange-local.json", &len);
    t = run(import_exchange, text, len, "ex-");
    assert_true(t.read);
    assert_string_equal(t.policies,
                        "[" OF_BOTH ",{\"name\":\"ex-Warehouse\",\"settings\":{"
                        "\"DevicePasswordEnabled\":1,\"RequireStorageCardEncryption\":1,"
                        "\"MinDevicePasswordLength\":4,\"AllowNonProvisionable\":1,"
                        "\"AllowPartial\":1}}]");
    assert_string_equal(
        t.notes, NOTES_OF_BOTH
        "0 ex-Warehouse! AllowCamera: a value of another kind is wanted\n"
        "0 ex-Warehouse! MaxDevicePasswordFailedAttempts: MaxDevicePasswordFailedAttempts: \"3\" "
        "is out of range; allowed: 4..16 attempts, or empty\n"
        "0 ex-Warehouse! DevicePasswordExpiration: no whole number of days\n"
        "0 ex-Warehouse! Sparkle: no property that is known\n");
    forget(&t);
    free(text);
}

static void two_names_of_one_setting(void **state)
{
    static const char text[] = "{\"Name\":\"a\",\"MinDevicePasswordLength\":8,"
                               "\"MinPasswordLength\":6,\"PasswordHistory\":1,"
                               "\"DevicePasswordHistory\":1}";
    (void)state;
    struct told t = run(import_exchange, text, sizeof text - 1, "");
    assert_string_equal(t.policies, "[{\"name\":\"a\",\"settings\":{\"MinDevicePasswordLength\":6,"
                                    "\"DevicePasswordHistory\":1}}]");
    assert_string_equal(t.notes, "0 a: MinDevicePasswordLength: says otherwise than the newer name "
                                 "of that setting, which counts\n");
    forget(&t);
}

static void lists_that_are_too_long_together(void **state)
{
    json_t *apps = json_array(), *policy;
    (void)state;
    for (int i = 0; i < 200; i++) {
        char name[201];
        snprintf(name, sizeof name, "%0200d", i);
        json_array_append_new(apps, json_string(name));
    }
    policy = json_pack("{s:s,s:b,s:O,s:o}", "Name", "a", "PasswordEnabled", 1,
                       "UnapprovedInROMApplicationList", apps, "ApprovedApplicationList", apps);
    char *text = text_of_json(policy, 0);
    struct told t = run(import_exchange, text, strlen(text), "");
    assert_string_equal(t.policies,
                        "[{\"name\":\"a\",\"settings\":{\"DevicePasswordEnabled\":1}}]");
    assert_non_null(strstr(t.notes, "0 a! UnapprovedInROMApplicationList, ApprovedApplication"));
    forget(&t);
    free(text);
    json_decref(policy);
}

/* ---- text ---- */

static void encodings(void **state)
{
    static const struct {
        const char *in;
        size_t len;
        const char *out;
    } cases[] = {
        {"", 0, ""},
        {"abc", 3, "abc"},
        {"\xEF\xBB\xBF"
         "abc",
         6, "abc"},
        {"\xFF\xFE"
         "a\0b\0",
         6, "ab"},
        {"\xFE\xFF"
         "\0a\0b",
         6, "ab"},
        {"\xFF\xFE\xE4\0\xAC\x20", 6, "\xC3\xA4\xE2\x82\xAC"},
        {"\xFF\xFE\x3D\xD8\x00\xDE", 6, "\xF0\x9F\x98\x80"},
        {"\xFF\xFE\x3D\xD8"
         "a\0",
         6,
         "\xEF\xBF\xBD"
         "a"},
        {"\xFF\xFE\x00\xDE"
         "a\0",
         6,
         "\xEF\xBF\xBD"
         "a"},
        {"\xFF\xFE\x3D\xD8", 4, "\xEF\xBF\xBD"},
        {"\xFF\xFE"
         "a\0b",
         5, "a"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len;
        char *text = import_utf8(cases[i].in, cases[i].len, &len);
        assert_non_null(text);
        assert_int_equal(len, strlen(cases[i].out));
        assert_string_equal(text, cases[i].out);
        free(text);
    }
}

static void notes_are_bounded(void **state)
{
    enum { LINES = 10 * IMPORT_NOTES_MAX };
    char *text = malloc(LINES * 2 + 16), *p = text;
    struct import m;
    (void)state;
    p += sprintf(p, "[a]\n");
    for (int i = 0; i < LINES; i++) p += sprintf(p, "x\n");
    assert_true(import_zpush(&m, text, (size_t)(p - text), ""));
    assert_int_equal(json_array_size(m.notes), IMPORT_NOTES_MAX);
    assert_int_equal(m.skipped, LINES);
    assert_int_equal(m.notes_lost, LINES + 1 - IMPORT_NOTES_MAX);
    import_finish(&m);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zpush_lines),
        cmocka_unit_test(zpush_sections),
        cmocka_unit_test(nothing_to_read),
        cmocka_unit_test(a_file_of_zpush),
        cmocka_unit_test(values),
        cmocka_unit_test(files_of_exchange),
        cmocka_unit_test(two_names_of_one_setting),
        cmocka_unit_test(lists_that_are_too_long_together),
        cmocka_unit_test(encodings),
        cmocka_unit_test(notes_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
