/* Provision requests and answers, DeviceInformation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <provost/provision.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define EAS_TYPE "MS-EAS-Provisioning-WBXML"
#define WAP_TYPE "MS-WAP-Provisioning-XML"
#define PROVISION(inside) "<Provision xmlns=\"Provision:\">" inside "</Provision>"
#define POLICY(inside) PROVISION("<Policies><Policy>" inside "</Policy></Policies>")
#define TYPE "<PolicyType>" EAS_TYPE "</PolicyType>"
#define KEY "<PolicyKey>1307199584</PolicyKey>"
#define ONE "<Status>1</Status>"
#define INFO(inside) "<DeviceInformation xmlns=\"Settings:\">" inside "</DeviceInformation>"
#define MODEL INFO("<Set><Model>M</Model></Set>")
#define ACCOUNT_WIPE(inside) "<AccountOnlyRemoteWipe>" inside "</AccountOnlyRemoteWipe>"

static _Alignas(16) unsigned char tree_block[1 << 18], block[1 << 16];

static const struct pv_node *tree(const char *xml)
{
    static struct pv_arena arena;
    const struct pv_node *root;

    pv_arena_init(&arena, tree_block, sizeof tree_block);
    assert_int_equal(pv_xml_read(&arena, xml, strlen(xml), NULL, &root, NULL), PV_OK);
    return root;
}

static size_t example(const char *name, uint8_t *buf, size_t cap)
{
    char path[4096];
    FILE *f;
    size_t len;

    snprintf(path, sizeof path, "%s/%s.wbxml", EXAMPLES_DIR, name);
    f = fopen(path, "rb");
    assert_non_null(f);
    len = fread(buf, 1, cap, f);
    fclose(f);
    return len;
}

/* ---- requests ---------------------------------------------------------------------------- */

static const struct {
    const char *name, *xml;
    enum pv_version version;
    enum pv_ask_kind kind;
    bool fits;
    const char *key; /* as pv_key_mask tells it */
    unsigned status;
    enum pv_wipe_kind wipe;
    bool info;
} asks[] = {
    {"empty", PROVISION(""), PV_V16_1, PV_ASK_POLL, false, "none", 0, PV_WIPE_NONE, false},
    {"information only", PROVISION(MODEL), PV_V16_1, PV_ASK_POLL, false, "none", 0, PV_WIPE_NONE,
     true},
    {"initial", POLICY(TYPE), PV_V12_1, PV_ASK_POLICY, true, "none", 0, PV_WIPE_NONE, false},
    {"initial with information", PROVISION(MODEL "<Policies><Policy>" TYPE "</Policy></Policies>"),
     PV_V14_1, PV_ASK_POLICY, true, "none", 0, PV_WIPE_NONE, true},
    {"information behind", PROVISION("<Policies><Policy>" TYPE "</Policy></Policies>" MODEL),
     PV_V14_1, PV_ASK_POLICY, true, "none", 0, PV_WIPE_NONE, true},
    {"type of another version", POLICY(TYPE), PV_V2_5, PV_ASK_POLICY, false, "none", 0,
     PV_WIPE_NONE, false},
    {"WAP at 12.1", POLICY("<PolicyType>" WAP_TYPE "</PolicyType>"), PV_V12_1, PV_ASK_POLICY, false,
     "none", 0, PV_WIPE_NONE, false},
    {"WAP at 2.5", POLICY("<PolicyType>" WAP_TYPE "</PolicyType>"), PV_V2_5, PV_ASK_POLICY, true,
     "none", 0, PV_WIPE_NONE, false},
    {"unknown type", POLICY("<PolicyType>InvalidMS-EAS-Provisioning-WBXML</PolicyType>"), PV_V14_1,
     PV_ASK_POLICY, false, "none", 0, PV_WIPE_NONE, false},
    {"acknowledgement", POLICY(TYPE KEY ONE), PV_V14_1, PV_ASK_ACK, true, "13xxxxxxxx", 1,
     PV_WIPE_NONE, false},
    {"any order", POLICY(ONE KEY TYPE), PV_V14_1, PV_ASK_ACK, true, "13xxxxxxxx", 1, PV_WIPE_NONE,
     false},
    {"with information", PROVISION(MODEL "<Policies><Policy>" TYPE KEY "<Status>4</Status>"
                                   "</Policy></Policies>"),
     PV_V12_1, PV_ASK_ACK, true, "13xxxxxxxx", 4, PV_WIPE_NONE, true},
    {"a Status outside too", PROVISION(ONE "<Policies><Policy>" TYPE KEY "<Status>2</Status>"
                                       "</Policy></Policies>"),
     PV_V12_1, PV_ASK_ACK, true, "13xxxxxxxx", 2, PV_WIPE_NONE, false},
    {"empty key", POLICY(TYPE "<PolicyKey/>" ONE), PV_V14_1, PV_ASK_ACK, true, "none", 1,
     PV_WIPE_NONE, false},
    {"key 0", POLICY(TYPE "<PolicyKey>0</PolicyKey>" ONE), PV_V14_1, PV_ASK_ACK, true, "0", 1,
     PV_WIPE_NONE, false},
    {"leading zero", POLICY(TYPE "<PolicyKey>01307199584</PolicyKey>" ONE), PV_V14_1, PV_ASK_ACK,
     true, "bad", 1, PV_WIPE_NONE, false},
    {"more than 32 bits", POLICY(TYPE "<PolicyKey>4294967296</PolicyKey>" ONE), PV_V14_1,
     PV_ASK_ACK, true, "bad", 1, PV_WIPE_NONE, false},
    {"wipe done", PROVISION("<RemoteWipe>" ONE "</RemoteWipe>"), PV_V2_5, PV_ASK_WIPE_ACK, false,
     "none", 1, PV_WIPE_DEVICE, false},
    {"wipe failed", PROVISION("<RemoteWipe><Status>2</Status></RemoteWipe>"), PV_V14_1,
     PV_ASK_WIPE_ACK, false, "none", 2, PV_WIPE_DEVICE, false},
    {"account wipe", PROVISION(ACCOUNT_WIPE(ONE)), PV_V16_1, PV_ASK_WIPE_ACK, false, "none", 1,
     PV_WIPE_ACCOUNT, false},
    {"Status before the wipe", PROVISION("<Status>2</Status><RemoteWipe>" ONE "</RemoteWipe>"),
     PV_V12_1, PV_ASK_WIPE_ACK, false, "none", 1, PV_WIPE_DEVICE, false},
    {"wipe behind a policy", PROVISION("<Policies><Policy>" TYPE KEY ONE "</Policy></Policies>"
                                       "<RemoteWipe>" ONE "</RemoteWipe>"),
     PV_V12_1, PV_ASK_WIPE_ACK, false, "none", 1, PV_WIPE_DEVICE, false},
};

static const struct { const char *name, *xml; } bad_asks[] = {
    {"another root", "<FolderSync xmlns=\"FolderHierarchy:\"/>"},
    {"Policy outside Policies", PROVISION("<Policy>" TYPE "</Policy>")},
    {"no type", POLICY("")},
    {"empty type", POLICY("<PolicyType/>")},
    {"type with children", POLICY("<PolicyType>" ONE "</PolicyType>")},
    {"acknowledgement without type", POLICY(KEY ONE)},
    {"no Policy", PROVISION("<Policies/>")},
    {"two of Policy", PROVISION("<Policies><Policy>" TYPE "</Policy><Policy>" TYPE
                                "</Policy></Policies>")},
    {"two of Policies", PROVISION("<Policies><Policy>" TYPE "</Policy></Policies>"
                                  "<Policies><Policy>" TYPE "</Policy></Policies>")},
    {"key without Status", POLICY(TYPE KEY)},
    {"Status without key", POLICY(TYPE ONE)},
    {"Status 0", POLICY(TYPE KEY "<Status>0</Status>")},
    {"Status 5", POLICY(TYPE KEY "<Status>5</Status>")},
    {"empty Status", POLICY(TYPE KEY "<Status/>")},
    {"Status in words", POLICY(TYPE KEY "<Status>ok</Status>")},
    {"Status alone", PROVISION(ONE)},
    {"wipe without Status", PROVISION("<RemoteWipe/>")},
    {"Status only before the wipe", PROVISION(ONE "<RemoteWipe/>")},
    {"wipe Status 3", PROVISION("<RemoteWipe><Status>3</Status></RemoteWipe>")},
    {"two wipes", PROVISION("<RemoteWipe>" ONE "</RemoteWipe>" ACCOUNT_WIPE(ONE))},
    {"an answer", PROVISION("<Data/>")},
    {"information without Set", PROVISION(INFO(""))},
    {"information with a Get", PROVISION(INFO("<Get/>"))},
    {"children in Model", PROVISION(INFO("<Set><Model><OS>x</OS></Model></Set>"))},
};

static void requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(asks); i++) {
        const struct pv_node *root = tree(asks[i].xml);
        struct pv_arena arena;
        struct pv_ask ask;
        char mask[12];

        print_message("# %s\n", asks[i].name);
        for (size_t cap = 0;; cap++) {
            pv_arena_init(&arena, block, cap);
            enum pv_err err = pv_ask_read(root, asks[i].version, &arena, &ask);
            if (err == PV_OK) break;
            assert_int_equal(err, PV_E_NOMEM);
        }
        assert_int_equal(ask.kind, asks[i].kind);
        assert_int_equal(ask.type_fits, asks[i].fits);
        pv_key_mask(ask.key, mask);
        assert_string_equal(mask, asks[i].key);
        assert_int_equal(ask.status, asks[i].status);
        assert_int_equal(ask.wipe, asks[i].wipe);
        assert_int_equal(ask.has_device_info, asks[i].info);
        if (ask.has_device_info) assert_string_equal(ask.device_info.model, "M");
    }
}

static void bad_requests(void **state)
{
    struct pv_arena arena;
    struct pv_ask ask;

    (void)state;
    for (size_t i = 0; i < COUNT(bad_asks); i++) {
        print_message("# %s\n", bad_asks[i].name);
        pv_arena_init(&arena, block, sizeof block);
        assert_int_equal(pv_ask_read(tree(bad_asks[i].xml), PV_V14_1, &arena, &ask), PV_OK);
        assert_int_equal(ask.kind, PV_ASK_BAD);
        assert_true(strlen(ask.why) > 10);
    }
    assert_int_equal(pv_ask_read(NULL, PV_V14_1, &arena, &ask), PV_OK);
    assert_int_equal(ask.kind, PV_ASK_BAD);
}

static void the_type_is_kept_as_sent(void **state)
{
    struct pv_arena arena;
    struct pv_ask ask;

    (void)state;
    pv_arena_init(&arena, block, sizeof block);
    assert_int_equal(pv_ask_read(tree(POLICY("<PolicyType>x y</PolicyType>")), PV_V14_1, &arena,
                                 &ask), PV_OK);
    assert_string_equal(ask.policy_type, "x y");
}

/* ---- DeviceInformation ------------------------------------------------------------------- */

#define ALL_FIELDS \
    "<Model>m</Model><IMEI>i</IMEI><FriendlyName>f</FriendlyName><OS>o</OS>" \
    "<OSLanguage>l</OSLanguage><PhoneNumber>p</PhoneNumber><UserAgent>u</UserAgent>" \
    "<EnableOutboundSMS>1</EnableOutboundSMS><MobileOperator>c</MobileOperator>"

static enum pv_err read_info(const char *xml, size_t cap, struct pv_device_info *out)
{
    struct pv_arena arena;

    pv_arena_init(&arena, block, cap);
    return pv_device_info_read(tree(xml), &arena, out);
}

static void device_information(void **state)
{
    struct pv_device_info info;

    (void)state;
    assert_int_equal(read_info(INFO("<Set>" ALL_FIELDS "</Set>"), sizeof block, &info), PV_OK);
    assert_string_equal(info.model, "m");
    assert_string_equal(info.imei, "i");
    assert_string_equal(info.friendly_name, "f");
    assert_string_equal(info.os, "o");
    assert_string_equal(info.os_language, "l");
    assert_string_equal(info.phone_number, "p");
    assert_string_equal(info.user_agent, "u");
    assert_string_equal(info.enable_outbound_sms, "1");
    assert_string_equal(info.mobile_operator, "c");

    /* Not sent is NULL, empty is "", and an empty Set empties all. Others are skipped. */
    assert_int_equal(read_info(INFO("<Set><Model/><Password>x</Password></Set>"), sizeof block,
                               &info), PV_OK);
    assert_string_equal(info.model, "");
    assert_null(info.imei);
    assert_int_equal(read_info(INFO("<Set/>"), sizeof block, &info), PV_OK);
    assert_string_equal(info.model, "");
    assert_string_equal(info.mobile_operator, "");

    assert_int_equal(read_info(INFO("<Get/>"), sizeof block, &info), PV_E_MALFORMED);
    for (size_t cap = 0; cap < 9 * 16 - 14; cap++)
        assert_int_equal(read_info(INFO("<Set>" ALL_FIELDS "</Set>"), cap, &info), PV_E_NOMEM);
}

static void device_information_is_bounded_by_characters(void **state)
{
    static char text[2 * 1025 + 1], xml[4096];
    struct pv_device_info info;

    (void)state;
    for (size_t i = 0; i < 1025; i++) memcpy(text + 2 * i, "\xC3\xA4", 2);
    for (size_t n = 1024; n <= 1025; n++) {
        snprintf(xml, sizeof xml, INFO("<Set><Model>%.*s</Model></Set>"), (int)(2 * n), text);
        assert_int_equal(read_info(xml, sizeof block, &info), n == 1024 ? PV_OK : PV_E_TOOBIG);
    }
}

/* What is no UTF-8, and NUL in an opaque value, never reaches a reader of the value. */
static void device_information_is_always_text(void **state)
{
    static const uint8_t bytes[] = {'a', 0xFF, 'b', 0, 0xC3};
    uint8_t buf[64];
    struct pv_wbxml_writer w;
    struct pv_arena arena;
    const struct pv_node *root;
    struct pv_device_info info;
    size_t len;

    (void)state;
    pv_wbxml_begin(&w, buf, sizeof buf);
    pv_wbxml_start(&w, PV_Settings_DeviceInformation);
    pv_wbxml_start(&w, PV_Settings_Set);
    pv_wbxml_start(&w, PV_Settings_Model);
    pv_wbxml_opaque(&w, bytes, sizeof bytes);
    for (int i = 0; i < 3; i++) pv_wbxml_end(&w);
    assert_int_equal(pv_wbxml_finish(&w, &len), PV_OK);
    pv_arena_init(&arena, block, sizeof block);
    assert_int_equal(pv_wbxml_decode(&arena, buf, len, NULL, &root, NULL), PV_OK);
    assert_int_equal(pv_device_info_read(root, &arena, &info), PV_OK);
    assert_string_equal(info.model, "a?b??");
}

static void device_information_by_version(void **state)
{
    static const struct { enum pv_version version; const char *xml; } cases[] = {
        {PV_V12_0, INFO("<Set><Model>m</Model></Set>")},
        {PV_V12_1, INFO("<Set><Model>m</Model><UserAgent>u</UserAgent></Set>")},
        {PV_V14_0, INFO("<Set><Model>m</Model><UserAgent>u</UserAgent>"
                        "<EnableOutboundSMS>0</EnableOutboundSMS>"
                        "<MobileOperator>c</MobileOperator></Set>")},
    };
    const struct pv_device_info info = {.model = "m", .user_agent = "u",
                                        .enable_outbound_sms = "0", .mobile_operator = "c"};

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pv_wbxml_writer w, want;
        uint8_t buf[256], want_buf[256];
        size_t len, want_len;

        pv_wbxml_begin(&w, buf, sizeof buf);
        pv_device_info_write(&info, cases[i].version, &w);
        assert_int_equal(pv_wbxml_finish(&w, &len), PV_OK);
        pv_wbxml_begin(&want, want_buf, sizeof want_buf);
        pv_wbxml_node(&want, tree(cases[i].xml));
        assert_int_equal(pv_wbxml_finish(&want, &want_len), PV_OK);
        assert_int_equal(len, want_len);
        assert_memory_equal(buf, want_buf, len);
    }
}

/* ---- answers ----------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum pv_version version;
    struct pv_provision_answer answer;
} answers[] = {
    {"09-provision-ack-response", PV_V14_1,
     {.status = 1, .has_policy = true, .policy_type = EAS_TYPE, .policy_status = 1,
      .key = "3942919513"}},
    {"10-provision-ack-wrong-key", PV_V14_1,
     {.status = 1, .has_policy = true, .policy_type = EAS_TYPE, .policy_status = 5}},
    {"11-provision-no-policy", PV_V14_1,
     {.status = 1, .has_policy = true, .policy_type = EAS_TYPE, .policy_status = 2}},
    {"13-remotewipe-directive", PV_V12_1, {.status = 1, .wipe = PV_WIPE_DEVICE}},
    {"15-remotewipe-ack-response", PV_V12_1, {.status = 1}},
    {"16-accountonly-directive", PV_V16_1, {.status = 1, .wipe = PV_WIPE_ACCOUNT}},
    {"18-provision-165", PV_V14_1, {.status = 165}},
    {"19-provision-139", PV_V14_1, {.status = 139}},
};

static void answers_to_the_byte(void **state)
{
    uint8_t buf[256], want[256];
    size_t len;

    (void)state;
    for (size_t i = 0; i < COUNT(answers); i++) {
        const struct pv_provision_answer *a = &answers[i].answer;
        size_t want_len = example(answers[i].name, want, sizeof want);

        print_message("# %s\n", answers[i].name);
        assert_int_equal(pv_provision_answer_write(a, answers[i].version, buf, sizeof buf, &len),
                         PV_OK);
        assert_int_equal(len, want_len);
        assert_memory_equal(buf, want, len);
        for (size_t cap = 0; cap < want_len; cap++)
            assert_int_equal(pv_provision_answer_write(a, answers[i].version, buf, cap, &len),
                             PV_E_NOMEM);
    }
}

static void answers_are_read_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(answers); i++) {
        const struct pv_provision_answer *want = &answers[i].answer;
        struct pv_provision_answer got;
        struct pv_arena arena;
        const struct pv_node *root;
        uint8_t buf[256];
        size_t len = example(answers[i].name, buf, sizeof buf);

        pv_arena_init(&arena, block, sizeof block);
        assert_int_equal(pv_wbxml_decode(&arena, buf, len, NULL, &root, NULL), PV_OK);
        assert_int_equal(pv_provision_answer_read(root, &arena, &got), PV_OK);
        assert_int_equal(got.status, want->status);
        assert_int_equal(got.has_policy, want->has_policy);
        assert_int_equal(got.policy_status, want->policy_status);
        assert_string_equal(got.key, want->key);
        assert_string_equal(got.policy_type, want->policy_type ? want->policy_type : "");
        assert_int_equal(got.wipe, want->wipe);
        assert_null(got.data);
    }
}

/* The answers that hold a policy: read it back, write the same bytes. */
static void answers_with_a_policy(void **state)
{
    static const struct { const char *name; enum pv_version version; } cases[] = {
        {"07-provision-response-14.1", PV_V14_1},
        {"23-provision-response-2.5", PV_V2_5},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pv_provision_answer answer;
        struct pv_policy policy;
        struct pv_arena arena;
        const struct pv_node *root;
        uint8_t want[4096], buf[4096];
        size_t want_len = example(cases[i].name, want, sizeof want), len;

        print_message("# %s\n", cases[i].name);
        pv_arena_init(&arena, tree_block, sizeof tree_block);
        assert_int_equal(pv_wbxml_decode(&arena, want, want_len, NULL, &root, NULL), PV_OK);
        assert_int_equal(pv_provision_answer_read(root, &arena, &answer), PV_OK);
        assert_non_null(answer.data);
        assert_string_equal(answer.policy_type, pv_policy_type(cases[i].version));
        assert_int_equal(pv_policy_read(answer.data, &arena, &policy, NULL, 0, &len), PV_OK);
        answer.policy = &policy;
        assert_int_equal(pv_provision_answer_write(&answer, cases[i].version, buf, sizeof buf,
                                                   &len), PV_OK);
        assert_int_equal(len, want_len);
        assert_memory_equal(buf, want, len);
    }
}

static void answers_are_read_leniently(void **state)
{
    static const struct {
        const char *name, *xml;
        unsigned status, policy_status;
        const char *key;
        bool data;
        enum pv_wipe_kind wipe;
        unsigned info;
    } cases[] = {
        {"no Status at the top", POLICY(TYPE ONE KEY), 0, 1, "1307199584", false, PV_WIPE_NONE, 0},
        {"any order", PROVISION("<Policies><Policy><Data/>" KEY ONE TYPE "</Policy></Policies>"
                                ONE INFO("<Status>2</Status>")),
         1, 1, "1307199584", true, PV_WIPE_NONE, 2},
        {"names on another page",
         PROVISION("<Status xmlns=\"FolderHierarchy:\">1</Status><Policies><Policy>" TYPE
                   "<Status xmlns=\"Settings:\">3</Status></Policy></Policies>"),
         1, 3, "", false, PV_WIPE_NONE, 0},
        {"Status in words", PROVISION("<Status>ok</Status>"), 0, 0, "", false, PV_WIPE_NONE, 0},
        {"longest key", POLICY("<PolicyKey>1234567890123456789012345678901234567890"
                               "123456789012345678901234</PolicyKey>"),
         0, 0, "1234567890123456789012345678901234567890123456789012345678901234", false,
         PV_WIPE_NONE, 0},
        {"both directives", PROVISION("<RemoteWipe/><AccountOnlyRemoteWipe/>"), 0, 0, "", false,
         PV_WIPE_ACCOUNT, 0},
        {"directive beside a policy", PROVISION(ONE "<Policies><Policy>" TYPE ONE KEY
                                                "</Policy></Policies><RemoteWipe/>"),
         1, 1, "1307199584", false, PV_WIPE_DEVICE, 0},
        {"nothing", PROVISION(""), 0, 0, "", false, PV_WIPE_NONE, 0},
    };
    struct pv_provision_answer answer;
    struct pv_arena arena;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct pv_node *root = tree(cases[i].xml);

        print_message("# %s\n", cases[i].name);
        for (size_t cap = 0;; cap++) {
            pv_arena_init(&arena, block, cap);
            enum pv_err err = pv_provision_answer_read(root, &arena, &answer);
            if (err == PV_OK) break;
            assert_int_equal(err, PV_E_NOMEM);
        }
        assert_int_equal(answer.status, cases[i].status);
        assert_int_equal(answer.policy_status, cases[i].policy_status);
        assert_string_equal(answer.key, cases[i].key);
        assert_int_equal(answer.data != NULL, cases[i].data);
        assert_int_equal(answer.wipe, cases[i].wipe);
        assert_int_equal(answer.device_info_status, cases[i].info);
    }
    assert_int_equal(pv_provision_answer_read(tree("<Sync xmlns=\"AirSync:\"/>"), &arena, &answer),
                     PV_E_MALFORMED);
    assert_int_equal(pv_provision_answer_read(NULL, &arena, &answer), PV_E_MALFORMED);
    assert_int_equal(pv_provision_answer_read(
                         tree(POLICY("<PolicyKey>1234567890123456789012345678901234567890"
                                     "1234567890123456789012345</PolicyKey>")), &arena, &answer),
                     PV_E_MALFORMED);
}

/* ---- what a client sends ------------------------------------------------------------------- */

static void what_a_client_sends_is_read(void **state)
{
    static const struct pv_device_info info = {.model = "M"};
    static const struct { const char *example; enum pv_version version; enum pv_ask_kind kind;
                          struct pv_client_out out; } sent[] = {
        {"04-provision-initial-12.1", PV_V12_1, PV_ASK_POLICY, {.action = PV_DO_ASK}},
        {"22-provision-initial-2.5", PV_V2_5, PV_ASK_POLICY, {.action = PV_DO_ASK}},
        {NULL, PV_V14_1, PV_ASK_POLICY, {.action = PV_DO_ASK, .device_info = true}},
        {"08-provision-ack-request", PV_V14_1, PV_ASK_ACK,
         {.action = PV_DO_ACK, .temp_key = "1307199584", .ack_status = 1}},
        {"12-provision-empty-request", PV_V14_1, PV_ASK_POLL, {.action = PV_DO_POLL}},
        {"14-remotewipe-ack", PV_V14_1, PV_ASK_WIPE_ACK,
         {.action = PV_DO_WIPE_ACK, .wipe = PV_WIPE_DEVICE, .ack_status = 1}},
        {"17-accountonly-ack", PV_V16_1, PV_ASK_WIPE_ACK,
         {.action = PV_DO_WIPE_ACK, .wipe = PV_WIPE_ACCOUNT, .ack_status = 1}},
    };
    uint8_t body[256], want[256];
    struct pv_arena arena;
    const struct pv_node *root;
    struct pv_ask ask;
    size_t len;

    (void)state;
    for (size_t i = 0; i < COUNT(sent); i++) {
        const struct pv_client_out *out = &sent[i].out;
        print_message("# %s\n", sent[i].example ? sent[i].example : "with information");
        assert_int_equal(pv_client_body(out, sent[i].version, &info, body, sizeof body, &len),
                         PV_OK);
        if (sent[i].example) {
            assert_int_equal(len, example(sent[i].example, want, sizeof want));
            assert_memory_equal(body, want, len);
        }
        pv_arena_init(&arena, block, sizeof block);
        assert_int_equal(pv_wbxml_decode(&arena, body, len, NULL, &root, NULL), PV_OK);
        assert_int_equal(pv_ask_read(root, sent[i].version, &arena, &ask), PV_OK);
        assert_int_equal(ask.kind, sent[i].kind);
        assert_int_equal(ask.status, out->ack_status);
        assert_int_equal(ask.wipe, out->wipe);
        assert_int_equal(ask.has_device_info, out->device_info);
        for (size_t cap = 0; cap < len; cap++)
            assert_int_equal(pv_client_body(out, sent[i].version, &info, want, cap, &len),
                             PV_E_NOMEM);
    }
    for (unsigned action = 0; action <= PV_DO_FAIL; action++) {
        const struct pv_client_out out = {.action = action, .temp_key = "1"};
        bool provision = action == PV_DO_ASK || action == PV_DO_ACK || action == PV_DO_POLL ||
                         action == PV_DO_WIPE_ACK;
        assert_int_equal(pv_client_body(&out, PV_V14_1, NULL, body, sizeof body, &len),
                         provision ? PV_OK : PV_E_USAGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(bad_requests),
        cmocka_unit_test(the_type_is_kept_as_sent),
        cmocka_unit_test(device_information),
        cmocka_unit_test(device_information_is_bounded_by_characters),
        cmocka_unit_test(device_information_is_always_text),
        cmocka_unit_test(device_information_by_version),
        cmocka_unit_test(answers_to_the_byte),
        cmocka_unit_test(answers_are_read_back),
        cmocka_unit_test(answers_with_a_policy),
        cmocka_unit_test(answers_are_read_leniently),
        cmocka_unit_test(what_a_client_sends_is_read),
    };

    return cmocka_run_group_tests_name("provision_message", tests, NULL, NULL);
}
