/* Policies on the wire: our own, and those of others. */
#include "policy_help.h"

static size_t encode(const struct pv_policy *p, enum pv_version v, uint8_t *buf, size_t cap)
{
    struct pv_wbxml_writer w;
    size_t len = 0;

    pv_wbxml_begin(&w, buf, cap);
    pv_wbxml_start(&w, PV_Provision_Data);
    pv_policy_write(p, v, &w);
    pv_wbxml_end(&w);
    assert_int_equal(pv_wbxml_finish(&w, &len), PV_OK);
    return len;
}

static const struct pv_node *decode(const uint8_t *buf, size_t len)
{
    const struct pv_node *root = NULL;

    assert_int_equal(pv_wbxml_decode(&scratch, buf, len, NULL, &root, NULL), PV_OK);
    return root;
}

static const struct pv_node *doc_of(const struct pv_policy *p, enum pv_version v)
{
    static uint8_t buf[1 << 17];

    return pv_node_child(decode(buf, encode(p, v, buf, sizeof buf)), PV_Provision_EASProvisionDoc);
}

/* ---- on the wire --------------------------------------------------------------------------- */

static size_t load(const char *name, uint8_t *buf, size_t cap)
{
    char path[512];
    FILE *f;
    size_t len;

    snprintf(path, sizeof path, "%s/%s", EXAMPLES_DIR, name);
    f = fopen(path, "rb");
    assert_non_null(f);
    len = fread(buf, 1, cap, f);
    fclose(f);
    assert_in_range(len, 1, cap - 1);
    return len;
}

static void worked_examples_to_the_byte(void **state)
{
    static const struct { const char *file; enum pv_version v; const char *settings; } cases[] = {
        {"07-provision-response-14.1.wbxml", PV_V14_1,
         "DevicePasswordEnabled=1 MinDevicePasswordLength=6 MaxInactivityTimeDeviceLock=300 "
         "MaxDevicePasswordFailedAttempts=8 AllowSimpleDevicePassword=0 "
         "DevicePasswordExpiration=90 DevicePasswordHistory=3 RequireDeviceEncryption=1"},
        {"23-provision-response-2.5.wbxml", PV_V2_5,
         "DevicePasswordEnabled=1 MinDevicePasswordLength=6 MaxInactivityTimeDeviceLock=300 "
         "MaxDevicePasswordFailedAttempts=8"},
    };
    uint8_t want[2048], got[2048];
    size_t want_len, got_len;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pv_policy p = policy_of(cases[i].settings);
        struct pv_wbxml_writer w;

        print_message("# %s\n", cases[i].file);
        want_len = load(cases[i].file, want, sizeof want);
        pv_wbxml_begin(&w, got, sizeof got);
        pv_wbxml_start(&w, PV_Provision_Provision);
        if (cases[i].v >= PV_V14_1) {
            pv_wbxml_start(&w, PV_Settings_DeviceInformation);
            pv_wbxml_leaf_u32(&w, PV_Settings_Status, 1);
            pv_wbxml_end(&w);
        }
        pv_wbxml_leaf_u32(&w, PV_Provision_Status, 1);
        pv_wbxml_start(&w, PV_Provision_Policies);
        pv_wbxml_start(&w, PV_Provision_Policy);
        pv_wbxml_leaf(&w, PV_Provision_PolicyType, pv_policy_type(cases[i].v));
        pv_wbxml_leaf_u32(&w, PV_Provision_Status, 1);
        pv_wbxml_leaf(&w, PV_Provision_PolicyKey, "1307199584");
        pv_wbxml_start(&w, PV_Provision_Data);
        pv_policy_write(&p, cases[i].v, &w);
        for (int open = 0; open < 4; open++) pv_wbxml_end(&w);
        assert_int_equal(pv_wbxml_finish(&w, &got_len), PV_OK);
        assert_int_equal(got_len, want_len);
        assert_memory_equal(got, want, want_len);
    }
}

static const struct pv_node *data_of(const struct pv_node *root)
{
    const struct pv_node *policies = pv_node_child(root, PV_Provision_Policies);

    return pv_node_child(pv_node_child(policies, PV_Provision_Policy), PV_Provision_Data);
}

static void worked_examples_are_read(void **state)
{
    static const struct { const char *file; enum pv_version v; const char *settings; } cases[] = {
        {"06-provision-response-12.1.wbxml", PV_V12_1,
         "DevicePasswordEnabled=1 AlphanumericDevicePasswordRequired=0 AttachmentsEnabled=1 "
         "MinDevicePasswordLength=4 MaxInactivityTimeDeviceLock=900 "
         "MaxDevicePasswordFailedAttempts=8"},
        {"07-provision-response-14.1.wbxml", PV_V14_1,
         "DevicePasswordEnabled=1 MinDevicePasswordLength=6 MaxInactivityTimeDeviceLock=300 "
         "MaxDevicePasswordFailedAttempts=8 AllowSimpleDevicePassword=0 "
         "DevicePasswordExpiration=90 DevicePasswordHistory=3 RequireDeviceEncryption=1"},
        {"23-provision-response-2.5.wbxml", PV_V2_5,
         "DevicePasswordEnabled=1 MinDevicePasswordLength=6 MaxInactivityTimeDeviceLock=300 "
         "MaxDevicePasswordFailedAttempts=8"},
    };
    uint8_t buf[2048];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pv_policy want = policy_of(cases[i].settings), got;
        size_t odd = 9, len = load(cases[i].file, buf, sizeof buf);

        print_message("# %s\n", cases[i].file);
        assert_int_equal(pv_policy_read(data_of(decode(buf, len)), &arena, &got, NULL, 0, &odd),
                         PV_OK);
        assert_int_equal(odd, 0);
        assert_int_equal(pv_policy_compare(&want, &got, PV_V14_1, NULL), PV_SAME);
    }
}

static void unset_elements_of_every_version(void **state)
{
    /* MS-ASPROV S01_TC03: AttachmentsEnabled 1, MinDevicePasswordLength empty, History 0. */
    static const struct { uint16_t tag; const char *text; } want[] = {
        {PV_Provision_DevicePasswordEnabled, "0"}, {PV_Provision_AttachmentsEnabled, "1"},
        {PV_Provision_MinDevicePasswordLength, ""}, {PV_Provision_MaxInactivityTimeDeviceLock, ""},
        {PV_Provision_MaxDevicePasswordFailedAttempts, ""}, {PV_Provision_MaxAttachmentSize, ""},
        {PV_Provision_DevicePasswordExpiration, ""}, {PV_Provision_DevicePasswordHistory, "0"}};
    struct pv_policy p = {0};

    (void)state;
    for (enum pv_version v = PV_V12_0; v < PV_VERSION_COUNT; v++) {
        const struct pv_node *doc = doc_of(&p, v), *n = doc->child;

        print_message("# %s\n", pv_version_text(v));
        for (size_t i = 0; i < COUNT(want); i++)
            assert_true(pv_node_text_is(pv_node_child(doc, want[i].tag), want[i].text));
        for (unsigned i = 0; i < PV_WIRE_SETTING_COUNT; i++) { /* complete and in order */
            const struct pv_setting_info *info = pv_setting_info((enum pv_setting)i);
            if (info->first > v) continue;
            assert_non_null(n);
            assert_int_equal(n->tag, info->tag);
            n = n->next;
        }
        assert_null(n);
        assert_int_equal(pv_node_count(doc, 0), v == PV_V12_0 ? 11 : 42);
        pv_arena_reset(&scratch);
    }
}

/* Values worth trying for each setting: both ends and what lies beside the odd places. */
static size_t samples(const struct pv_setting_info *info, int64_t out[8])
{
    const int64_t tries[] = {info->min, info->max, info->min + 1, 59, 61, 9961, 9998, 9999};
    size_t n = 0;

    for (size_t i = 0; i < COUNT(tries); i++) {
        if (tries[i] < info->min || tries[i] > info->max) continue;
        if (info->kind == PV_SETTING_ENUM && !(info->enum_mask >> tries[i] & 1)) continue;
        out[n++] = tries[i];
    }
    return n;
}

static void round_trip(const struct pv_policy *p, enum pv_version v)
{
    static uint8_t buf[1 << 17];
    struct pv_policy back;
    size_t odd = 9, len = encode(p, v, buf, sizeof buf);

    assert_int_equal(pv_policy_read(decode(buf, len), &scratch, &back, NULL, 0, &odd), PV_OK);
    assert_int_equal(odd, 0);
    assert_int_equal(pv_policy_compare(p, &back, v, NULL), PV_SAME);
    assert_false(hash_differs(p, &back, v));
    pv_arena_reset(&scratch);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    for (enum pv_version v = PV_V2_5; v < PV_VERSION_COUNT; v++)
        for (int password = 0; password < 2; password++) {
            struct pv_policy all = {0};
            for (unsigned i = 0; i < PV_WIRE_SETTING_COUNT; i++) {
                const struct pv_setting_info *info = pv_setting_info((enum pv_setting)i);
                int64_t tries[8];
                char text[32], message[200];
                size_t n = info->kind == PV_SETTING_LIST ? 0 : samples(info, tries);

                for (size_t t = 0; t < n; t++) {
                    struct pv_policy p = {0};
                    snprintf(text, sizeof text, "%lld", (long long)tries[t]);
                    assert_int_equal(set(&p, "DevicePasswordEnabled", password ? "1" : "0",
                                         message), PV_OK);
                    assert_int_equal(set(&p, info->name, text, message), PV_OK);
                    assert_int_equal(set(&all, info->name, text, message), PV_OK);
                    round_trip(&p, v);
                }
                if (n == 0) assert_int_equal(set(&all, info->name, "b,a,c.exe", message), PV_OK);
            }
            round_trip(&all, v);
        }
}

/* ---- reading what others write -------------------------------------------------------------- */

static enum pv_err read_xml(const char *xml, struct pv_policy *out, size_t *odd,
                            struct pv_policy_oddity oddities[4])
{
    const struct pv_node *root;

    pv_arena_reset(&scratch);
    assert_int_equal(pv_xml_read(&scratch, xml, strlen(xml), NULL, &root, NULL), PV_OK);
    return pv_policy_read(root, &arena, out, oddities, 4, odd);
}

#define DOC(inside) \
    "<Data xmlns=\"Provision:\"><EASProvisionDoc>" inside "</EASProvisionDoc></Data>"

static void reading_is_tolerant(void **state)
{
    static const struct { const char *xml, *settings; size_t odd; const char *told; } cases[] = {
        {DOC(""), "", 0, NULL},
        {DOC("<MinDevicePasswordLength/><MaxAttachmentSize></MaxAttachmentSize>"), "", 0, NULL},
        {DOC("<AllowCamera> 0 </AllowCamera>"), "AllowCamera=0", 0, NULL},
        {DOC("<AllowCamera opaque=\"MA==\"/>"), "AllowCamera=0", 0, NULL},
        {DOC("<AllowWiFi>0</AllowWiFi><AllowCamera>0</AllowCamera>"), "AllowWiFi=0 AllowCamera=0",
         0, NULL}, /* any order */
        {DOC("<AllowCamera>0</AllowCamera><AllowCamera>1</AllowCamera>"), "", 0, NULL},
        {DOC("<AllowCamera>0</AllowCamera><AllowCamera/>"), "", 0, NULL},
        {DOC("<AllowCamera>2</AllowCamera>"), "", 1,
         "AllowCamera: \"2\" is out of range, not read"},
        {DOC("<AllowCamera>no</AllowCamera>"), "", 1, "AllowCamera: \"no\" is no number, not read"},
        {DOC("<AllowCamera><Status>1</Status></AllowCamera>"), "", 1,
         "AllowCamera holds elements, not read"},
        {DOC("<PolicyKey>1</PolicyKey><AllowCamera>0</AllowCamera>"), "AllowCamera=0", 1,
         "PolicyKey is no setting, not read"},
        {DOC("<_0E3F>1</_0E3F>"), "", 1, "an unknown element is no setting, not read"},
        {DOC("<ApprovedApplicationList><Hash>b</Hash><Hash>a</Hash></ApprovedApplicationList>"),
         "ApprovedApplicationList=a,b", 0, NULL},
        {DOC("<ApprovedApplicationList><Hash>b</Hash><Hash/></ApprovedApplicationList>"),
         "ApprovedApplicationList=b", 1, "ApprovedApplicationList: an entry could not be read"},
        {DOC("<ApprovedApplicationList><ApplicationName>b</ApplicationName>"
             "</ApprovedApplicationList>"), "", 1, NULL},
        {DOC("<ApprovedApplicationList/>"), "", 0, NULL},
        {"<Data xmlns=\"Provision:\"><Status>1</Status><EASProvisionDoc><AllowCamera>0"
         "</AllowCamera></EASProvisionDoc></Data>", "AllowCamera=0", 0, NULL},
    };
    struct pv_policy_oddity oddities[4];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pv_policy want = policy_of(cases[i].settings), got;
        size_t odd = 9;

        print_message("# %s\n", cases[i].xml);
        assert_int_equal(read_xml(cases[i].xml, &got, &odd, oddities), PV_OK);
        assert_int_equal(odd, cases[i].odd);
        if (cases[i].told) assert_string_equal(oddities[0].text, cases[i].told);
        assert_int_equal(pv_policy_compare(&want, &got, PV_V16_1, NULL), PV_SAME);
    }
}

static void reading_is_bounded(void **state)
{
    static const char *const malformed[] = {
        "<Data xmlns=\"Provision:\"/>", "<Data xmlns=\"Provision:\">no policy</Data>",
        "<Data xmlns=\"Provision:\"><Status>1</Status></Data>"};
    static char xml[1 << 16];
    struct pv_policy_oddity oddities[4];
    struct pv_policy p;
    size_t odd = 0, at;

    (void)state;
    for (size_t i = 0; i < COUNT(malformed); i++)
        assert_int_equal(read_xml(malformed[i], &p, &odd, oddities), PV_E_MALFORMED);
    assert_int_equal(pv_policy_read(NULL, &arena, &p, NULL, 0, NULL), PV_E_MALFORMED);
    for (int entries = PV_LIST_MAX; entries <= PV_LIST_MAX + 1; entries++) {
        at = (size_t)snprintf(xml, sizeof xml, "%s", "<Data xmlns=\"Provision:\">"
                              "<EASProvisionDoc><ApprovedApplicationList>");
        for (int i = 0; i < entries; i++)
            at += (size_t)snprintf(xml + at, sizeof xml - at, "<Hash>%d</Hash>", i);
        snprintf(xml + at, sizeof xml - at,
                 "</ApprovedApplicationList></EASProvisionDoc></Data>");
        assert_int_equal(read_xml(xml, &p, &odd, oddities),
                         entries == PV_LIST_MAX ? PV_OK : PV_E_TOOBIG);
    }
    at = (size_t)snprintf(xml, sizeof xml, "%s", "<Data xmlns=\"Provision:\"><EASProvisionDoc>");
    for (int i = 0; i < 100; i++)
        at += (size_t)snprintf(xml + at, sizeof xml - at, "<AllowCamera>x</AllowCamera>");
    snprintf(xml + at, sizeof xml - at, "</EASProvisionDoc></Data>");
    assert_int_equal(read_xml(xml, &p, &odd, oddities), PV_OK);
    assert_int_equal(odd, 100); /* all counted, the first four told */
    assert_int_equal(pv_policy_read(decode((const uint8_t *)"\x03\x01\x6a\x00\x00\x0e\x4a\x4d\x5c"
                                           "\x03\x30\x00\x01\x01\x01", 15),
                                    &(struct pv_arena){0}, &p, NULL, 0, NULL), PV_OK);
}

static enum pv_err read_wap(const char *text, size_t len, struct pv_policy *out, size_t *odd)
{
    struct pv_node leaf = {.kind = PV_NODE_TEXT, .data = (const uint8_t *)text, .len = len};
    struct pv_node data = {.kind = PV_NODE_ELEMENT, .tag = PV_Provision_Data, .child = &leaf};

    leaf.parent = &data;
    return pv_policy_read(&data, &arena, out, NULL, 0, odd);
}

#define WAP(inside) "<wap-provisioningdoc>" inside "</wap-provisioningdoc>"
#define PARM(name, value) "<parm name=\"" name "\" value=\"" value "\"/>"

static void wap_documents_of_others(void **state)
{
    static const struct { const char *xml; enum pv_err want; const char *settings; size_t odd; }
    cases[] = {
        {WAP(""), PV_OK, "", 0},
        {"<wap-provisioningdoc/>", PV_OK, "", 0},
        {"<?xml version=\"1.0\"?>\n<!-- a -->\r\n" WAP(PARM("4131", "0")), PV_OK,
         "DevicePasswordEnabled=1", 0},
        {WAP(PARM("4131", "1") PARM("MinimumPasswordLength", "6")), PV_OK, "", 0},
        {WAP(PARM("4131", "7")), PV_OK, "", 0},
        {WAP(PARM("MinimumPasswordLength", "6")), PV_OK, "", 0},
        {WAP("<parm value='0' name = '4131' />" PARM("minimumpasswordlength", " 6 ")), PV_OK,
         "DevicePasswordEnabled=1 MinDevicePasswordLength=6", 0},
        {WAP(PARM("4131", "0") PARM("AEFrequencyValue", "5") PARM("AEFrequencyType", "1")), PV_OK,
         "DevicePasswordEnabled=1 MaxInactivityTimeDeviceLock=300", 0},
        {WAP(PARM("4131", "0") PARM("AEFrequencyValue", "5") PARM("AEFrequencyType", "0")), PV_OK,
         "DevicePasswordEnabled=1", 0},
        {WAP(PARM("4131", "0") PARM("AEFrequencyType", "1") PARM("AEFrequencyValue", "0")), PV_OK,
         "DevicePasswordEnabled=1", 1},
        {WAP(PARM("4131", "0") PARM("DeviceWipeThreshold", "-1")), PV_OK,
         "DevicePasswordEnabled=1", 0},
        {WAP(PARM("4131", "0") PARM("DeviceWipeThreshold", "20")), PV_OK,
         "DevicePasswordEnabled=1", 1},
        {WAP(PARM("4131", "0") PARM("PasswordComplexity", "0")), PV_OK,
         "DevicePasswordEnabled=1 AlphanumericDevicePasswordRequired=1", 0},
        {WAP(PARM("4131", "0") PARM("PasswordComplexity", "1") PARM("CodewordFrequency", "4")
             PARM("4133", "1")), PV_OK, "DevicePasswordEnabled=1", 0},
        {WAP(PARM("4131", "0") PARM("Other", "1") "<unknown a='b'><c/></unknown>"), PV_OK,
         "DevicePasswordEnabled=1", 1},
        {WAP("<parm/>" PARM("4131", "x")), PV_OK, "", 2},
        {"", PV_E_MALFORMED, "", 0},
        {"<", PV_E_MALFORMED, "", 0},
        {"</wap-provisioningdoc>", PV_E_MALFORMED, "", 0},
        {"<other/>", PV_E_MALFORMED, "", 0},
        {"<!DOCTYPE wap-provisioningdoc>" WAP(""), PV_E_MALFORMED, "", 0},
        {"<wap-provisioningdoc><!-- ", PV_E_MALFORMED, "", 0},
        {"<wap-provisioningdoc><? ", PV_E_MALFORMED, "", 0},
        {"<wap-provisioningdoc><parm name>", PV_E_MALFORMED, "", 0},
        {"<wap-provisioningdoc><parm name=4131 value=0/>", PV_E_MALFORMED, "", 0},
        {"<wap-provisioningdoc><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a>",
         PV_E_TOOBIG, "", 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pv_policy want = policy_of(cases[i].settings), got;
        size_t odd = 0;

        print_message("# %s\n", cases[i].xml);
        assert_int_equal(read_wap(cases[i].xml, strlen(cases[i].xml), &got, &odd), cases[i].want);
        if (cases[i].want) continue;
        assert_int_equal(odd, cases[i].odd);
        assert_int_equal(pv_policy_compare(&want, &got, PV_V16_1, NULL), PV_SAME);
    }
}

static void wap_every_prefix_and_buffer(void **state)
{
    struct pv_policy p = policy_of("DevicePasswordEnabled=1 MaxInactivityTimeDeviceLock=300 "
        "MaxDevicePasswordFailedAttempts=8 MinDevicePasswordLength=6"), got;
    static char big[16385];
    char text[2048], *copy;
    size_t len, odd;

    (void)state;
    assert_int_equal(pv_policy_wap(&p, text, sizeof text, &len), PV_OK);
    assert_int_equal(strlen(text), len);
    for (size_t cut = 0; cut < len; cut++) {
        copy = malloc(cut ? cut : 1); /* so that a sanitizer sees the first byte too many */
        assert_non_null(copy);
        memcpy(copy, text, cut);
        assert_int_equal(read_wap(copy, cut, &got, &odd), PV_E_MALFORMED);
        free(copy);
        assert_int_equal(pv_policy_wap(&p, text, cut, NULL), PV_E_NOMEM);
        assert_int_equal(pv_policy_wap(&p, text, sizeof text, NULL), PV_OK);
    }
    memset(big, ' ', sizeof big);
    assert_int_equal(read_wap(big, sizeof big, &got, &odd), PV_E_TOOBIG);
}

static void every_smaller_arena_is_refused(void **state)
{
    struct pv_policy p = policy_of("ApprovedApplicationList=b,a UnapprovedInROMApplicationList=c"),
                     got;
    static unsigned char few[8192] __attribute__((aligned(16)));
    static uint8_t buf[4096];
    uint8_t hash[PV_HASH_LEN];
    char message[200];
    const struct pv_node *root = decode(buf, encode(&p, PV_V12_1, buf, sizeof buf));
    struct pv_arena small;
    enum pv_err err;
    size_t cap;

    (void)state;
    for (cap = 0, err = PV_E_NOMEM; err; cap++) {
        pv_arena_init(&small, few, cap);
        err = pv_policy_read(root, &small, &got, NULL, 0, NULL);
        assert_true(err == PV_OK || err == PV_E_NOMEM);
    }
    assert_int_equal(pv_policy_compare(&p, &got, PV_V12_1, NULL), PV_SAME);
    for (cap = 0, err = PV_E_NOMEM; err; cap++) {
        pv_arena_init(&small, few, cap);
        err = pv_policy_copy(&p, &small, &got);
        assert_true(err == PV_OK || err == PV_E_NOMEM);
    }
    for (cap = 0, err = PV_E_NOMEM; err; cap++) {
        struct pv_policy fresh_one = {0}, none = {0};
        pv_arena_init(&small, few, cap);
        err = pv_policy_set(&fresh_one, &small, "ApprovedApplicationList", "b,a", message, 200);
        assert_true(err == PV_OK || err == PV_E_NOMEM);
        if (err) assert_memory_equal(&fresh_one, &none, sizeof none);
        if (err) assert_non_null(strstr(message, "memory"));
    }
    for (cap = 0, err = PV_E_NOMEM; err; cap++) {
        pv_arena_init(&small, few, cap);
        err = pv_policy_hash(&p, PV_V12_1, &small, hash);
        assert_true(err == PV_OK || err == PV_E_NOMEM);
    }
    assert_int_equal(small.used, 0); /* the scratch is given back */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(worked_examples_to_the_byte, fresh),
        cmocka_unit_test_setup(worked_examples_are_read, fresh),
        cmocka_unit_test_setup(unset_elements_of_every_version, fresh),
        cmocka_unit_test_setup(what_is_written_is_read, fresh),
        cmocka_unit_test_setup(reading_is_tolerant, fresh),
        cmocka_unit_test_setup(reading_is_bounded, fresh),
        cmocka_unit_test_setup(wap_documents_of_others, fresh),
        cmocka_unit_test_setup(wap_every_prefix_and_buffer, fresh),
        cmocka_unit_test_setup(every_smaller_arena_is_refused, fresh),
    };

    return cmocka_run_group_tests_name("policy-wire", tests, NULL, NULL);
}
