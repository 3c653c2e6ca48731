/* Versions, commands, keys, request lines in both forms, refusals by version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <provost/eas.h>

#include "src/lib/base/base64.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define P "/Microsoft-Server-ActiveSync"
#define IDS "&User=ann&DeviceId=TESTDEV0001&DeviceType=TestPhone"
#define ID32 "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"

static _Alignas(16) unsigned char block[65536];

static struct pv_arena arena_of(size_t cap)
{
    struct pv_arena arena;

    pv_arena_init(&arena, block, cap);
    return arena;
}

/* ---- versions, commands, keys ------------------------------------------------------------ */

static void versions(void **state)
{
    static const struct { const char *text; int want; } cases[] = {
        {"2.5", PV_V2_5}, {"12.0", PV_V12_0}, {"12.1", PV_V12_1}, {"14.0", PV_V14_0},
        {"14.1", PV_V14_1}, {"16.0", PV_V16_0}, {"16.1", PV_V16_1}, {" 14.1\t", PV_V14_1},
        {"", -1}, {" ", -1}, {"14", -1}, {"14.10", -1}, {"14.1 x", -1}, {"1.0", -1}, {"16.2", -1},
    };
    static const struct { const char *list; enum pv_version most; int want; } lists[] = {
        {"2.5,12.0,12.1,14.0,14.1,16.0,16.1", PV_V16_1, PV_V16_1},
        {"2.5,12.0,12.1,14.0,14.1,16.0,16.1", PV_V14_0, PV_V14_0},
        {"16.1, 14.1, 12.1", PV_V14_1, PV_V14_1},
        {"2.0,2.1,2.5,17.9", PV_V16_1, PV_V2_5},
        {"14.0,14.1", PV_V12_1, -1}, {"", PV_V16_1, -1}, {",,", PV_V16_1, -1},
    };
    enum pv_version version;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool found = pv_version_parse(cases[i].text, strlen(cases[i].text), &version);
        assert_int_equal(found ? (int)version : -1, cases[i].want);
    }
    for (size_t i = 0; i < COUNT(lists); i++) {
        bool found = pv_version_highest(lists[i].list, lists[i].most, &version);
        assert_int_equal(found ? (int)version : -1, lists[i].want);
    }
    assert_int_equal(pv_version_byte(PV_V14_1), 141);
    assert_int_equal(pv_version_byte(PV_V2_5), 25);
    assert_string_equal(pv_version_text(PV_V12_0), "12.0");
    assert_string_equal(pv_version_text(PV_VERSION_COUNT), "?");
    assert_string_equal(pv_version_text((enum pv_version)-1), "?");
}

static void commands(void **state)
{
    static const struct { const char *name; int code; } codes[] = {
        {"Sync", 0}, {"SendMail", 1}, {"SmartForward", 2}, {"SmartReply", 3},
        {"GetAttachment", 4}, {"FolderSync", 9}, {"FolderCreate", 10}, {"FolderDelete", 11},
        {"FolderUpdate", 12}, {"MoveItems", 13}, {"GetItemEstimate", 14},
        {"MeetingResponse", 15}, {"Search", 16}, {"Settings", 17}, {"Ping", 18},
        {"ItemOperations", 19}, {"Provision", 20}, {"ResolveRecipients", 21},
        {"ValidateCert", 22}, {"Find", 23}, {"GetHierarchy", -1}, {"CreateCollection", -1},
        {"DeleteCollection", -1}, {"MoveCollection", -1},
    };
    enum pv_cmd cmd;

    (void)state;
    assert_int_equal(PV_CMD_COUNT, COUNT(codes));
    for (size_t i = 0; i < COUNT(codes); i++) {
        assert_true(pv_cmd_find(codes[i].name, strlen(codes[i].name), &cmd));
        const struct pv_cmd_info *info = pv_cmd_info(cmd);
        assert_string_equal(info->name, codes[i].name);
        assert_int_equal(info->code, codes[i].code);
        /* The root element of a refusal has the command's name (MS-ASCMD). */
        if (info->root) assert_string_equal(pv_tag_name(info->root), info->name);
        if (info->root) assert_string_equal(pv_tag_name(info->status), "Status");
        assert_int_equal(info->root >> 8, info->status >> 8);
        assert_int_equal(info->key_rule, cmd == PV_CMD_Ping        ? PV_KEY_PARTNERSHIP
                                         : cmd == PV_CMD_Provision ? PV_KEY_EXEMPT
                                                                   : PV_KEY_NEEDED);
        if (codes[i].code >= 0) {
            enum pv_cmd again;
            assert_true(pv_cmd_from_code((unsigned)codes[i].code, &again));
            assert_int_equal(again, cmd);
        }
    }
    for (unsigned code = 5; code <= 8; code++) assert_false(pv_cmd_from_code(code, &cmd));
    assert_false(pv_cmd_from_code(24, &cmd));
    assert_true(pv_cmd_find("foldersync", 10, &cmd));
    assert_int_equal(cmd, PV_CMD_FolderSync);
    assert_false(pv_cmd_find("FolderSyn", 9, &cmd));
    assert_null(pv_cmd_info(PV_CMD_COUNT));
    assert_true(pv_cmd_info(PV_CMD_Ping)->empty_body && pv_cmd_info(PV_CMD_Sync)->empty_body);
    assert_false(pv_cmd_info(PV_CMD_FolderSync)->empty_body);
}

static void keys(void **state)
{
    static const struct {
        const char *text;
        enum pv_key_kind kind;
        uint32_t value;
        const char *mask;
    } cases[] = {
        {"", PV_KEY_ABSENT, 0, "none"},
        {"0", PV_KEY_ZERO, 0, "0"},
        {"1307199584", PV_KEY_NUMBER, 1307199584, "13xxxxxxxx"},
        {"3942919513", PV_KEY_NUMBER, 3942919513u, "39xxxxxxxx"},
        {"4294967295", PV_KEY_NUMBER, UINT32_MAX, "42xxxxxxxx"},
        {"1", PV_KEY_NUMBER, 1, "1"},
        {"123", PV_KEY_NUMBER, 123, "12x"},
        {"4294967296", PV_KEY_BAD, 0, "bad"},
        {"00", PV_KEY_BAD, 0, "bad"},
        {"01307199584", PV_KEY_BAD, 0, "bad"},
        {"+1", PV_KEY_BAD, 0, "bad"},
        {"-1", PV_KEY_BAD, 0, "bad"},
        {" 1", PV_KEY_BAD, 0, "bad"},
        {"1 ", PV_KEY_BAD, 0, "bad"},
        {"1.0", PV_KEY_BAD, 0, "bad"},
        {"0x10", PV_KEY_BAD, 0, "bad"},
        {"1111111111111111111111111111111111111111111111111111111111111111", PV_KEY_BAD, 0, "bad"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char mask[12];
        struct pv_sent_key key = pv_key_parse(cases[i].text, strlen(cases[i].text));

        assert_int_equal(key.kind, cases[i].kind);
        if (key.kind == PV_KEY_NUMBER) assert_int_equal(key.value, cases[i].value);
        pv_key_mask(key, mask);
        assert_string_equal(mask, cases[i].mask);
        assert_int_equal(pv_key_is(key, cases[i].value), cases[i].kind == PV_KEY_NUMBER);
        assert_false(pv_key_is(key, 0));
        assert_false(pv_key_is(key, cases[i].value + 1));
    }
    assert_int_equal(pv_key_parse(NULL, 0).kind, PV_KEY_ABSENT);
    /* A key of another kind never equals one, whatever its value says. */
    assert_false(pv_key_is((struct pv_sent_key){PV_KEY_BAD, 7}, 7));
    assert_false(pv_key_is((struct pv_sent_key){PV_KEY_NUMBER, 0}, 0));
}

/* ---- request lines ----------------------------------------------------------------------- */

struct want {
    enum pv_version version;
    enum pv_cmd cmd;
    const char *id, *type, *user;
    const char *key; /* as pv_key_mask tells it */
};

static const struct {
    const char *name, *target, *version, *key;
    struct want want;
} accepted[] = {
    {"plain", P "?Cmd=Provision" IDS, "14.1", "0",
     {PV_V14_1, PV_CMD_Provision, "TESTDEV0001", "TestPhone", "ann", "0"}},
    {"2.5", P "?Cmd=FolderSync" IDS, "2.5", "3942919513",
     {PV_V2_5, PV_CMD_FolderSync, "TESTDEV0001", "TestPhone", "ann", "39xxxxxxxx"}},
    {"command last, as on iOS", P "?User=ann&DeviceId=A1&DeviceType=iPhone&Cmd=Settings", "16.1",
     NULL, {PV_V16_1, PV_CMD_Settings, "A1", "iPhone", "ann", "none"}},
    {"names in any case", P "?cMD=sync&user=ann&deviceid=a&DEVICETYPE=b", "12.1", "",
     {PV_V12_1, PV_CMD_Sync, "a", "b", "ann", "none"}},
    {"path in any case", "/microsoft-server-activesync?Cmd=Sync" IDS, "12.0", NULL,
     {PV_V12_0, PV_CMD_Sync, "TESTDEV0001", "TestPhone", "ann", "none"}},
    {"slash behind", P "/?Cmd=Sync" IDS, "14.0", NULL,
     {PV_V14_0, PV_CMD_Sync, "TESTDEV0001", "TestPhone", "ann", "none"}},
    {"absolute form", "https://mail.example.org" P "?Cmd=Sync" IDS, "14.0", NULL,
     {PV_V14_0, PV_CMD_Sync, "TESTDEV0001", "TestPhone", "ann", "none"}},
    {"percent-encoded, plus stays",
     P "?Cmd=Sync&User=EX%5Cann%2bb+c%40d&DeviceId=%41&DeviceType=x",
     "14.1", NULL, {PV_V14_1, PV_CMD_Sync, "A", "x", "EX\\ann+b+c@d", "none"}},
    {"first of a duplicate", P "?Cmd=Ping&Cmd=Sync&DeviceId=A&DeviceId=B&DeviceType=x", "14.1",
     NULL, {PV_V14_1, PV_CMD_Ping, "A", "x", "", "none"}},
    {"key in the query says nothing", P "?Cmd=Provision&PolicyKey=1307199584" IDS, "16.1", NULL,
     {PV_V16_1, PV_CMD_Provision, "TESTDEV0001", "TestPhone", "ann", "none"}},
    {"odd parameters", P "?&&=&x&Cmd=Sync&y=&=z" IDS "&", "14.1", NULL,
     {PV_V14_1, PV_CMD_Sync, "TESTDEV0001", "TestPhone", "ann", "none"}},
    {"only in the plain query", P "?Cmd=GetHierarchy" IDS, "2.5", NULL,
     {PV_V2_5, PV_CMD_GetHierarchy, "TESTDEV0001", "TestPhone", "ann", "none"}},
    {"longest", P "?Cmd=Sync&DeviceId=" ID32 "&DeviceType=" ID32, "14.1", "17",
     {PV_V14_1, PV_CMD_Sync, ID32, ID32, "", "17"}},
    {"not a key", P "?Cmd=Sync" IDS, "14.1", "0007",
     {PV_V14_1, PV_CMD_Sync, "TESTDEV0001", "TestPhone", "ann", "bad"}},

    {"base64, 14.1", P "?jRQJBAtURVNUREVWMDAwMQRgSOpNCVRlc3RQaG9uZQ==", NULL, NULL,
     {PV_V14_1, PV_CMD_Provision, "TESTDEV0001", "TestPhone", "", "13xxxxxxxx"}},
    {"base64, 16.1", P "?oQkJBAtURVNUREVWMDAwMQAJVGVzdFBob25lCANhbm4=", NULL, NULL,
     {PV_V16_1, PV_CMD_FolderSync, "TESTDEV0001", "TestPhone", "ann", "none"}},
    {"base64, Nine", P "?jQAJBBBOaW5lNDM4M0FGMzQ2ODYwBAAAAAAHQW5kcm9pZAcBAA==", NULL, NULL,
     {PV_V14_1, PV_CMD_Sync, "Nine4383AF346860", "Android", "", "0"}},
    {"base64, MS-ASHTTP", P "?jAAJBAp2MTQwRGV2aWNlAApTbWFydFBob25l", NULL, NULL,
     {PV_V14_0, PV_CMD_Sync, "v140Device", "SmartPhone", "", "none"}},
    {"no padding", P "?jRQJBAtURVNUREVWMDAwMQRgSOpNCVRlc3RQaG9uZQ", NULL, NULL,
     {PV_V14_1, PV_CMD_Provision, "TESTDEV0001", "TestPhone", "", "13xxxxxxxx"}},
    {"percent-encoded", P "?jRQJBAtURVNUREVWMDAwMQRgSOpNCVRlc3RQaG9uZQ%3D%3d", NULL, NULL,
     {PV_V14_1, PV_CMD_Provision, "TESTDEV0001", "TestPhone", "", "13xxxxxxxx"}},
    {"slash behind, base64", P "/?jAAJBAp2MTQwRGV2aWNlAApTbWFydFBob25l", "", NULL,
     {PV_V14_0, PV_CMD_Sync, "v140Device", "SmartPhone", "", "none"}},
    /* 8d 00 00 00 01 41 04 ff ff ff ff 01 78 */
    {"standard alphabet", P "?jQAAAAFBBP////8BeA==", NULL, NULL,
     {PV_V14_1, PV_CMD_Sync, "A", "x", "", "42xxxxxxxx"}},
    {"url alphabet", P "?jQAAAAFBBP____8BeA", NULL, NULL,
     {PV_V14_1, PV_CMD_Sync, "A", "x", "", "42xxxxxxxx"}},
    {"percent-encoded slashes", P "?jQAAAAFBBP%2F%2f//8BeA==", NULL, NULL,
     {PV_V14_1, PV_CMD_Sync, "A", "x", "", "42xxxxxxxx"}},
    {"header wins over version byte 145", P "?kQAAAAFBAAF4", "14.1", NULL,
     {PV_V14_1, PV_CMD_Sync, "A", "x", "", "none"}},
    {"header wins over a good byte", P "?jQAAAAFBAAF4", "12.1", NULL,
     {PV_V12_1, PV_CMD_Sync, "A", "x", "", "none"}},
    {"no key in the query, one in the header", P "?jQAAAAFBAAF4", NULL, "1307199584",
     {PV_V14_1, PV_CMD_Sync, "A", "x", "", "13xxxxxxxx"}},
    {"the key of the query wins", P "?jQAAAAFBBP////8BeA==", NULL, "1307199584",
     {PV_V14_1, PV_CMD_Sync, "A", "x", "", "42xxxxxxxx"}},
    /* 8d 00 00 00 01 41 03 6b 65 79 01 78 */
    {"key of three bytes: the header", P "?jQAAAAFBA2tleQF4", NULL, "17",
     {PV_V14_1, PV_CMD_Sync, "A", "x", "", "17"}},
    /* 8d 00 00 00 01 41 0a SmartPhone 00 00: type and key swapped, an extra byte */
    {"type before an empty key", P "?jQAAAAFBClNtYXJ0UGhvbmUAAA", NULL, "0",
     {PV_V14_1, PV_CMD_Sync, "A", "SmartPhone", "", "0"}},
    /* ... 0a SmartPhone 0a 1307199584 00 */
    {"type before a key in digits", P "?jQAAAAFBClNtYXJ0UGhvbmUKMTMwNzE5OTU4NAA", NULL,
     "1307199584", {PV_V14_1, PV_CMD_Sync, "A", "SmartPhone", "", "13xxxxxxxx"}},
    /* id 01 ab */
    {"binary device id", P "?jQAAAAIBqwABeA==", NULL, NULL,
     {PV_V14_1, PV_CMD_Sync, "01AB", "x", "", "none"}},
};

static enum pv_err parse(size_t cap, const char *target, const char *version, const char *key,
                         struct pv_request *out, struct pv_request_fault *fault)
{
    struct pv_arena arena = arena_of(cap);
    struct pv_request_head head = {.target = target, .protocol_version = version,
                                   .policy_key = key};

    return pv_request_parse(&arena, &head, out, fault);
}

static void check_request(const struct pv_request *req, const struct want *want)
{
    char mask[12];

    assert_int_equal(req->version, want->version);
    assert_int_equal(req->cmd, want->cmd);
    assert_string_equal(req->device_id, want->id);
    assert_string_equal(req->device_type, want->type);
    assert_string_equal(req->user, want->user);
    pv_key_mask(req->key, mask);
    assert_string_equal(mask, want->key);
}

static void accepted_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(accepted); i++) {
        struct pv_request req;
        struct pv_request_fault fault;

        print_message("# %s\n", accepted[i].name);
        assert_int_equal(parse(sizeof block, accepted[i].target, accepted[i].version,
                               accepted[i].key, &req, &fault), PV_OK);
        check_request(&req, &accepted[i].want);
        for (size_t cap = 0;; cap += 8) {
            enum pv_err err = parse(cap, accepted[i].target, accepted[i].version,
                                    accepted[i].key, &req, &fault);
            if (err == PV_OK) break;
            assert_int_equal(err, PV_E_NOMEM);
            assert_non_null(req.device_id);
            assert_non_null(req.occurrence);
        }
    }
}

static void refused_requests(void **state)
{
    static const struct {
        const char *name, *target, *version;
        enum pv_err err;
        unsigned http, status;
    } cases[] = {
        {"wrong path", "/NotSupport?Cmd=Sync" IDS, "14.1", PV_E_MALFORMED, 404, 0},
        {"longer path", P "X?Cmd=Sync" IDS, "14.1", PV_E_MALFORMED, 404, 0},
        {"path below", P "/default?Cmd=Sync" IDS, "14.1", PV_E_MALFORMED, 404, 0},
        {"empty target", "", "14.1", PV_E_MALFORMED, 404, 0},
        {"only a query", "?Cmd=Sync" IDS, "14.1", PV_E_MALFORMED, 404, 0},
        {"only an authority", "http://example.org", "14.1", PV_E_MALFORMED, 404, 0},
        {"no query", P, "14.1", PV_E_MALFORMED, 400, 0},
        {"empty query", P "?", "14.1", PV_E_MALFORMED, 400, 0},
        {"no command", P "?User=ann&DeviceId=A&DeviceType=x", "14.1", PV_E_MALFORMED, 400, 0},
        {"unknown command", P "?Cmd=NotExist" IDS, "14.1", PV_E_UNKNOWN, 501, 0},
        {"empty command", P "?Cmd=" IDS, "14.1", PV_E_UNKNOWN, 501, 0},
        {"no version", P "?Cmd=Sync" IDS, NULL, PV_E_UNSUPPORTED, 400, 0},
        {"empty version", P "?Cmd=Sync" IDS, "", PV_E_UNSUPPORTED, 400, 0},
        {"unknown version", P "?Cmd=Sync" IDS, "19.1", PV_E_UNSUPPORTED, 400, 0},
        {"broken escape", P "?Cmd=Sync&User=%4" IDS, "14.1", PV_E_MALFORMED, 400, 0},
        {"escape of no hex", P "?Cmd=Sync&User=%4g" IDS, "14.1", PV_E_MALFORMED, 400, 0},
        {"escaped NUL", P "?Cmd=Sync&User=a%00b" IDS, "14.1", PV_E_MALFORMED, 400, 0},
        {"no device id", P "?Cmd=Sync&DeviceType=x", "14.0", PV_E_RANGE, 200, 108},
        {"no device id", P "?Cmd=Sync&DeviceType=x", "12.1", PV_E_RANGE, 400, 0},
        {"33 letters", P "?Cmd=Sync&DeviceType=x&DeviceId=" ID32 "X", "16.1", PV_E_RANGE, 200, 108},
        {"33 letters", P "?Cmd=Sync&DeviceType=x&DeviceId=" ID32 "X", "2.5", PV_E_RANGE, 400, 0},
        {"comma", P "?Cmd=Sync&DeviceType=x&DeviceId=a,b", "14.1", PV_E_RANGE, 200, 108},
        {"no device type", P "?Cmd=Sync&DeviceId=x", "14.1", PV_E_RANGE, 200, 109},
        {"33 type", P "?Cmd=Sync&DeviceId=x&DeviceType=" ID32 "X", "14.1", PV_E_RANGE, 200, 109},
        {"33 type", P "?Cmd=Sync&DeviceId=x&DeviceType=" ID32 "X", "12.1", PV_E_RANGE, 400, 0},
        {"blank in type", P "?Cmd=Sync&DeviceId=x&DeviceType=a%20b", "14.1", PV_E_RANGE, 200, 109},
        {"bytes in type", P "?Cmd=Sync&DeviceId=x&DeviceType=%C3%A4", "14.1", PV_E_RANGE, 200, 109},

        {"version byte 191", P "?vwAAAAFBAAF4", NULL, PV_E_UNSUPPORTED, 400, 0},
        {"header wins, a bad one too", P "?jQAAAAFBAAF4", "9.9", PV_E_UNSUPPORTED, 400, 0},
        {"command 5", P "?jQUAAAFBAAF4", NULL, PV_E_UNKNOWN, 501, 0},
        {"command 24", P "?jRgAAAFBAAF4", NULL, PV_E_UNKNOWN, 501, 0},
        {"no base64", P "?j*", NULL, PV_E_MALFORMED, 400, 0},
        {"one letter", P "?j", NULL, PV_E_MALFORMED, 400, 0},
        {"empty device id", P "?jQAAAAAAAXg", NULL, PV_E_RANGE, 200, 108},
        {"empty device type", P "?jQAAAAFBAAA", NULL, PV_E_RANGE, 200, 109},
        /* 17 binary bytes become 34 letters */
        {"long binary id", P "?jQAAABEBAQEBAQEBAQEBAQEBAQEBAQABeA==", NULL, PV_E_RANGE, 200, 108},
        /* user with a NUL: 08 02 61 00 */
        {"NUL in a parameter", P "?jQAAAAFBAAF4CAJhAA==", NULL, PV_E_MALFORMED, 400, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pv_request req;
        struct pv_request_fault fault;

        print_message("# %s\n", cases[i].name);
        assert_int_equal(parse(sizeof block, cases[i].target, cases[i].version, NULL, &req,
                               &fault), cases[i].err);
        assert_int_equal(fault.http, cases[i].http);
        assert_int_equal(fault.status, cases[i].status);
        assert_true(strlen(fault.text) > 10);
    }
}

/* What can be read is there for the log and the refusal. */
static void refused_requests_are_still_read(void **state)
{
    struct pv_request req;
    struct pv_request_fault fault;

    (void)state;
    assert_int_equal(parse(sizeof block, P "?Cmd=NotExist" IDS, "14.1", "5", &req, &fault),
                     PV_E_UNKNOWN);
    check_request(&req, &(struct want){PV_V14_1, PV_CMD_COUNT, "TESTDEV0001", "TestPhone", "ann",
                                       "5"});
    assert_int_equal(parse(sizeof block, P "?Cmd=Sync&User=%zz" IDS, "x", NULL, &req, &fault),
                     PV_E_MALFORMED);
    check_request(&req, &(struct want){PV_VERSION_COUNT, PV_CMD_Sync, "TESTDEV0001", "TestPhone",
                                       "ann", "none"});
}

static void long_targets_are_refused(void **state)
{
    struct pv_request req;
    struct pv_request_fault fault;
    char target[8194] = P "?Cmd=Sync" IDS "&x=";
    size_t at = strlen(target);

    (void)state;
    memset(target + at, 'y', sizeof target - at - 1);
    assert_int_equal(parse(sizeof block, target, "14.1", NULL, &req, &fault), PV_E_MALFORMED);
    assert_int_equal(fault.http, 400);
    target[8192] = '\0';
    assert_int_equal(parse(sizeof block, target, "14.1", NULL, &req, &fault), PV_OK);
}

/* All parameter tags, unknown ones too; cut at every byte: whole only behind a parameter. */
static const uint8_t all_tags[] = {
    0xA1, 19, 0x07, 0x04, 2, 'i', 'd', 4, 0x59, 0x2D, 0x04, 0xEB, 1, 't',
    0, 2, 'a', '1', 1, 2, 'c', '2', 2, 1, 'n', 3, 2, 'i', '3', 4, 2, 'l', '4', 5, 1, 'p',
    6, 2, 'o', '6', 7, 1, 3, 8, 2, 'u', '8', 99, 0, 7, 1, 0, 8, 1, 'x',
};
static const size_t whole_at[] = {14, 18, 22, 25, 29, 33, 36, 40, 43, 47, 49, 52, 55};

static void base64_cut_at_every_byte(void **state)
{
    struct pv_request req;
    struct pv_request_fault fault;
    size_t next = 0;

    (void)state;
    for (size_t cut = 1; cut <= sizeof all_tags; cut++) {
        char target[256] = P "?";
        size_t at = strlen(target);
        bool whole = next < COUNT(whole_at) && whole_at[next] == cut;

        assert_int_equal(pv__base64_encode(all_tags, cut, target + at, sizeof target - at), PV_OK);
        enum pv_err err = parse(sizeof block, target, NULL, NULL, &req, &fault);
        assert_int_equal(err, whole ? PV_OK : PV_E_MALFORMED);
        assert_int_equal(req.version, PV_V16_1);
        if (cut >= 2) assert_int_equal(req.cmd, PV_CMD_ItemOperations);
        next += whole;
    }
    assert_int_equal(next, COUNT(whole_at));
    assert_int_equal(req.locale, 0x0407);
    assert_int_equal(req.key.value, 3942919513u);
    assert_string_equal(req.attachment_name, "a1");
    assert_string_equal(req.collection_id, "c2");
    assert_string_equal(req.item_id, "i3");
    assert_string_equal(req.long_id, "l4");
    assert_string_equal(req.occurrence, "o6");
    assert_string_equal(req.user, "u8");
    assert_true(req.save_in_sent && req.accept_multipart);
}

static void plain_parameters(void **state)
{
    struct pv_arena arena = arena_of(sizeof block);
    struct pv_request req;
    struct pv_request_fault fault;
    struct pv_request_head head = {
        .target = P "?Cmd=SmartReply" IDS "&AttachmentName=a%2F1&CollectionId=c2&ItemId=i3"
                    "&LongId=l4&Occurrence=2026-01-01T00:00:00.000Z&SaveInSent=T&SaveInSent=F",
        .protocol_version = "14.0", .accept_multipart = "T"};

    (void)state;
    assert_int_equal(pv_request_parse(&arena, &head, &req, &fault), PV_OK);
    assert_string_equal(req.attachment_name, "a/1");
    assert_string_equal(req.collection_id, "c2");
    assert_string_equal(req.item_id, "i3");
    assert_string_equal(req.long_id, "l4");
    assert_string_equal(req.occurrence, "2026-01-01T00:00:00.000Z");
    assert_true(req.save_in_sent && req.accept_multipart);
    head.target = P "?Cmd=SmartReply" IDS "&SaveInSent=F";
    head.accept_multipart = "F";
    assert_int_equal(pv_request_parse(&arena, &head, &req, &fault), PV_OK);
    assert_false(req.save_in_sent || req.accept_multipart);
}

/* ---- the client's side ------------------------------------------------------------------- */

static void targets(void **state)
{
    struct pv_request req = {.form = PV_QUERY_BASE64, .version = PV_V14_1,
                             .cmd = PV_CMD_Provision, .locale = 0x0409,
                             .device_id = "TESTDEV0001", .device_type = "TestPhone",
                             .key = {PV_KEY_NUMBER, 1307199584}};
    char buf[512];

    (void)state;
    assert_int_equal(pv_request_target(&req, NULL, buf, sizeof buf), PV_OK);
    assert_string_equal(buf, P "?jRQJBAtURVNUREVWMDAwMQRgSOpNCVRlc3RQaG9uZQ==");
    for (size_t cap = 0; cap <= strlen(P "?jRQJBAtURVNUREVWMDAwMQRgSOpNCVRlc3RQaG9uZQ=="); cap++)
        assert_int_equal(pv_request_target(&req, NULL, buf, cap), PV_E_NOMEM);

    req.version = PV_V16_1;
    req.cmd = PV_CMD_FolderSync;
    req.user = "ann";
    req.key = (struct pv_sent_key){PV_KEY_ABSENT, 0};
    assert_int_equal(pv_request_target(&req, "/x" P, buf, sizeof buf), PV_OK);
    assert_string_equal(buf, "/x" P "?oQkJBAtURVNUREVWMDAwMQAJVGVzdFBob25lCANhbm4=");

    req.form = PV_QUERY_PLAIN;
    req.user = "EX\\ann b";
    req.save_in_sent = true;
    assert_int_equal(pv_request_target(&req, NULL, buf, sizeof buf), PV_OK);
    assert_string_equal(buf, P "?Cmd=FolderSync&User=EX%5Cann%20b&DeviceId=TESTDEV0001"
                               "&DeviceType=TestPhone&SaveInSent=T");

    req.form = PV_QUERY_BASE64;
    req.key.kind = PV_KEY_BAD;
    assert_int_equal(pv_request_target(&req, NULL, buf, sizeof buf), PV_E_USAGE);
    req.key.kind = PV_KEY_ZERO;
    req.version = PV_V12_0;
    assert_int_equal(pv_request_target(&req, NULL, buf, sizeof buf), PV_E_UNSUPPORTED);
    req.version = PV_V14_1;
    req.cmd = PV_CMD_GetHierarchy;
    assert_int_equal(pv_request_target(&req, NULL, buf, sizeof buf), PV_E_UNSUPPORTED);
    req.cmd = PV_CMD_COUNT;
    assert_int_equal(pv_request_target(&req, NULL, buf, sizeof buf), PV_E_USAGE);
    req.cmd = PV_CMD_Sync;
    req.device_id = ID32 "X";
    assert_int_equal(pv_request_target(&req, NULL, buf, sizeof buf), PV_E_RANGE);
    req.device_id = NULL;
    assert_int_equal(pv_request_target(&req, NULL, buf, sizeof buf), PV_E_USAGE);
}

static void a_long_parameter_does_not_fit(void **state)
{
    char user[257], buf[1024];
    struct pv_request req = {.form = PV_QUERY_BASE64, .version = PV_V14_1, .cmd = PV_CMD_Sync,
                             .device_id = "A", .device_type = "x", .user = user};

    (void)state;
    memset(user, 'u', 256);
    user[256] = '\0';
    assert_int_equal(pv_request_target(&req, NULL, buf, sizeof buf), PV_E_RANGE);
    user[255] = '\0';
    assert_int_equal(pv_request_target(&req, NULL, buf, sizeof buf), PV_OK);
}

/* ---- refusals ---------------------------------------------------------------------------- */

static void statuses(void **state)
{
    static const struct { unsigned status; bool key; unsigned http; } cases[] = {
        {126, true, 403}, {129, true, 403}, {129, false, 403}, {139, true, 403}, {139, false, 403},
        {140, true, 449}, {140, false, 403}, {141, false, 449}, {142, true, 449}, {143, true, 449},
        {144, true, 449}, {101, true, 400}, {102, true, 400}, {108, true, 400}, {109, true, 400},
        {110, true, 500}, {111, true, 503}, {113, true, 507}, {137, true, 501}, {138, true, 400},
        {157, true, 400}, {0, true, 400}, {999, false, 400},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(pv_status_http(cases[i].status, cases[i].key), cases[i].http);
    assert_string_equal(pv_status_name(142), "DeviceNotProvisioned");
    assert_string_equal(pv_status_name(101), "InvalidContent");
    assert_string_equal(pv_status_name(184), "OneOrMoreExceptionsFailed");
    assert_string_equal(pv_status_name(100), "?");
    assert_string_equal(pv_status_text(143),
                        "the policy has changed or its refresh interval is over");
    assert_true(strlen(pv_status_text(5)) > 10);
}

static void refusals(void **state)
{
    static const struct {
        enum pv_cmd cmd;
        uint8_t page, root, status;
    } roots[] = {
        {PV_CMD_FolderSync, 7, 0x16, 0x0C}, {PV_CMD_Settings, 18, 0x05, 0x06},
        {PV_CMD_SendMail, 21, 0x05, 0x12}, {PV_CMD_SmartForward, 21, 0x06, 0x12},
        {PV_CMD_SmartReply, 21, 0x07, 0x12}, {PV_CMD_MoveItems, 5, 0x05, 0x0B},
        {PV_CMD_Provision, 14, 0x05, 0x0B}, {PV_CMD_Ping, 13, 0x05, 0x07},
        {PV_CMD_Find, 25, 0x05, 0x0A}, {PV_CMD_MeetingResponse, 8, 0x07, 0x0B},
    };
    struct pv_refusal out;

    (void)state;
    for (size_t i = 0; i < COUNT(roots); i++) {
        const uint8_t want[] = {3, 1, 0x6A, 0, 0, roots[i].page, roots[i].root | 0x40,
                                roots[i].status | 0x40, 3, '1', '4', '2', 0, 1, 1};

        for (enum pv_version v = PV_V2_5; v < PV_VERSION_COUNT; v++) {
            pv_refuse(v, roots[i].cmd, 142, true, &out);
            assert_int_equal(out.http, v < PV_V14_0 ? 449 : 200);
            assert_int_equal(out.len, v < PV_V14_0 ? 0 : sizeof want);
            if (out.len) assert_memory_equal(out.body, want, sizeof want);
        }
    }
    /* Sync stands on page 0, where the document begins. */
    pv_refuse(PV_V14_1, PV_CMD_Sync, 144, true, &out);
    assert_memory_equal(out.body, "\x03\x01\x6A\x00\x45\x4E\x03" "144\0\x01\x01", 13);
    /* No WBXML answer: the HTTP code in every version. */
    pv_refuse(PV_V16_1, PV_CMD_GetAttachment, 142, true, &out);
    assert_int_equal(out.http, 449);
    assert_int_equal(out.len, 0);
    pv_refuse(PV_V16_1, PV_CMD_COUNT, 108, true, &out);
    assert_int_equal(out.http, 400);
    pv_refuse(PV_V12_1, PV_CMD_Sync, 140, false, &out);
    assert_int_equal(out.http, 403);
    pv_refuse(PV_V12_1, PV_CMD_Sync, 140, true, &out);
    assert_int_equal(out.http, 449);
    pv_refuse(PV_V14_0, PV_CMD_Sync, 140, false, &out);
    assert_int_equal(out.http, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions),
        cmocka_unit_test(commands),
        cmocka_unit_test(keys),
        cmocka_unit_test(accepted_requests),
        cmocka_unit_test(refused_requests),
        cmocka_unit_test(refused_requests_are_still_read),
        cmocka_unit_test(long_targets_are_refused),
        cmocka_unit_test(base64_cut_at_every_byte),
        cmocka_unit_test(plain_parameters),
        cmocka_unit_test(targets),
        cmocka_unit_test(a_long_parameter_does_not_fit),
        cmocka_unit_test(statuses),
        cmocka_unit_test(refusals),
    };

    return cmocka_run_group_tests_name("eas", tests, NULL, NULL);
}
