/* Settings and their ranges, comparison, hash, and what a version cannot carry. */
#include "policy_help.h"

/* ---- single settings ----------------------------------------------------------------------- */

static void the_table_is_complete(void **state)
{
    (void)state;
    assert_int_equal(PV_WIRE_SETTING_COUNT, 42);
    assert_int_equal(PV_SETTING_COUNT, 47);
    for (unsigned i = 0; i < PV_SETTING_COUNT; i++) {
        const struct pv_setting_info *info = pv_setting_info((enum pv_setting)i);
        enum pv_setting found;

        assert_true(pv_setting_find(info->name, &found));
        assert_int_equal(found, i);
        assert_int_equal(info->treatment, i >= PV_WIRE_SETTING_COUNT);
        assert_int_equal(info->tag != 0, !info->treatment);
        assert_int_equal(info->item_tag != 0, info->kind == PV_SETTING_LIST);
        assert_true(strlen(info->meaning) > 20);
        if (info->tag) assert_string_equal(pv_tag_name(info->tag), info->name);
        /* Only tags up to 0x1A, and not 0x10, belong to 12.0. */
        if (info->tag)
            assert_int_equal(info->first == PV_V12_0,
                             (info->tag & 0xFF) <= 0x1A && (info->tag & 0xFF) != 0x10);
    }
    assert_null(pv_setting_info(PV_SETTING_COUNT));
    assert_false(pv_setting_find("minDevicePasswordLength", &(enum pv_setting){0}));
}

/* A value that is refused leaves everything as it was and says what is allowed. */
static void refused(const struct pv_setting_info *info, const char *value, enum pv_err want)
{
    struct pv_policy p = {0}, before = p;
    char message[200];

    assert_int_equal(set(&p, info->name, value, message), want);
    assert_memory_equal(&p, &before, sizeof p);
    assert_non_null(strstr(message, info->name));
    assert_non_null(strstr(message, info->allowed));
    assert_null(strpbrk(message, "\n\x01\x7f"));
    if (strlen(value) < 30 && value[strspn(value, "0123456789-.,abx")] == '\0')
        assert_non_null(strstr(message, value));
}

static void accepted(const struct pv_setting_info *info, enum pv_setting s, int64_t value)
{
    struct pv_policy p = {0};
    char text[32], message[200], back[32];

    snprintf(text, sizeof text, "%lld", (long long)value);
    assert_int_equal(set(&p, info->name, text, message), PV_OK);
    assert_string_equal(message, "");
    assert_int_equal(p.set, UINT64_C(1) << s);
    assert_int_equal(p.value[s], value);
    assert_int_equal(pv_policy_text(&p, s, back, sizeof back), PV_OK);
    if (info->kind != PV_SETTING_DURATION) assert_string_equal(back, text);
    for (size_t cap = 0; cap <= strlen(back); cap++)
        assert_int_equal(pv_policy_text(&p, s, text, cap), PV_E_NOMEM);
    assert_int_equal(set(&p, info->name, "", message), PV_OK);
    assert_int_equal(p.set, 0);
    assert_int_equal(pv_policy_value(&p, s), info->unset);
}

static void every_setting_keeps_its_range(void **state)
{
    static const char *const garbage[] = {
        " ", "x", "1x", "+1", "1.0", "--1", "-", "0x1", "true", "1 ", "\x01\n", "\xff\xfe"};
    char text[32];

    (void)state;
    for (unsigned i = 0; i < PV_SETTING_COUNT; i++) {
        const struct pv_setting_info *info = pv_setting_info((enum pv_setting)i);

        if (info->kind == PV_SETTING_LIST || info->kind == PV_SETTING_DATE) continue;
        print_message("# %s\n", info->name);
        accepted(info, (enum pv_setting)i, info->min);
        accepted(info, (enum pv_setting)i, info->max);
        snprintf(text, sizeof text, "%lld", (long long)info->max + 1);
        refused(info, text, PV_E_RANGE);
        snprintf(text, sizeof text, "%lld", (long long)info->min - 1);
        refused(info, text, info->kind == PV_SETTING_DURATION ? PV_E_MALFORMED : PV_E_RANGE);
        refused(info, "99999999999999999999999999", PV_E_RANGE);
        for (size_t g = 0; g < COUNT(garbage); g++) refused(info, garbage[g], PV_E_MALFORMED);
        for (int64_t n = info->min; info->kind == PV_SETTING_ENUM && n <= info->max; n++) {
            snprintf(text, sizeof text, "%lld", (long long)n);
            if (info->enum_mask >> n & 1) accepted(info, (enum pv_setting)i, n);
            else refused(info, text, PV_E_RANGE);
        }
    }
}

static void messages_are_sentences(void **state)
{
    struct pv_policy p = {0};
    char message[200], small[10];

    (void)state;
    assert_int_equal(set(&p, "MinDevicePasswordLength", "17", message), PV_E_RANGE);
    assert_string_equal(message, "MinDevicePasswordLength: \"17\" is out of range; "
                                 "allowed: 1..16 characters, or empty");
    assert_int_equal(set(&p, "AllowBluetooth", "on\n", message), PV_E_MALFORMED);
    assert_string_equal(message, "AllowBluetooth: \"on\\x0a\" is no number; "
                                 "allowed: 0,1,2, or empty");
    assert_int_equal(set(&p, "NoSuch\x1b", "1", message), PV_E_UNKNOWN);
    assert_string_equal(message, "no setting is named \"NoSuch\\x1b\"");
    assert_int_equal(pv_policy_set(&p, &arena, "NoSuch", "1", small, sizeof small), PV_E_UNKNOWN);
    assert_true(strlen(small) < sizeof small);
    assert_int_equal(pv_policy_set(&p, &arena, "NoSuch", "1", NULL, 0), PV_E_UNKNOWN);
    assert_int_equal(pv_policy_set(&p, NULL, "ApprovedApplicationList", "a", NULL, 0), PV_E_USAGE);
    assert_int_equal(pv_policy_set(&p, NULL, "ApprovedApplicationList", "", NULL, 0), PV_OK);
}

static void durations(void **state)
{
    static const struct { const char *text; int64_t seconds; const char *back; } cases[] = {
        {"0", 0, "never"}, {"never", 0, "never"}, {"0d", 0, "never"}, {"90", 90, "90s"},
        {"90s", 90, "90s"}, {"120", 120, "2m"}, {"15m", 900, "15m"}, {"12h", 43200, "12h"},
        {"24h", 86400, "1d"}, {"30d", 2592000, "30d"}, {"3650d", 315360000, "3650d"}};
    static const char *const bad[] = {"d", "1w", "1dd", "-1", "1 d", "Never", "s1"};
    struct pv_policy p = {0};
    char text[32], message[200];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(set(&p, "RefreshInterval", cases[i].text, message), PV_OK);
        assert_int_equal(pv_policy_value(&p, PV_SET_RefreshInterval), cases[i].seconds);
        assert_int_equal(pv_policy_text(&p, PV_SET_RefreshInterval, text, sizeof text), PV_OK);
        assert_string_equal(text, cases[i].back);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        refused(pv_setting_info(PV_SET_RefreshInterval), bad[i], PV_E_MALFORMED);
    refused(pv_setting_info(PV_SET_RefreshInterval), "3651d", PV_E_RANGE);
    refused(pv_setting_info(PV_SET_RefreshInterval), "99999999999999999999d", PV_E_RANGE);
}

static void dates(void **state)
{
    static const struct { const char *text; int64_t seconds; const char *back; } cases[] = {
        {"1970-01-02", 86400, "1970-01-02"}, {"2000-02-29", 951782400, "2000-02-29"},
        {"2024-12-31", 1735603200, "2024-12-31"}, {"2025-01-01", 1735689600, "2025-01-01"},
        {"2027-01-31", 1801353600, "2027-01-31"},
        {"2027-01-31T00:00:00Z", 1801353600, "2027-01-31"},
        {"2027-01-31T12:34:56Z", 1801398896, "2027-01-31T12:34:56Z"},
        {"2100-03-01", 4107542400, "2100-03-01"},
        {"2399-12-31T23:59:59Z", 13569465599, "2399-12-31T23:59:59Z"},
        {"2400-02-29", 13574563200, "2400-02-29"},
        {"9999-12-31T23:59:59Z", 253402300799, "9999-12-31T23:59:59Z"}};
    static const char *const bad[] = {
        "0", "1801353600", "x", "2027-1-31", "2027-01-31 ", " 2027-01-31", "2027/01/31",
        "2027-00-01", "2027-13-01", "2027-01-00", "2027-01-32", "2027-04-31", "2027-02-29",
        "2100-02-29", "2027-01-31T24:00:00Z", "2027-01-31T00:60:00Z", "2027-01-31T00:00:60Z",
        "2027-01-31T00:00:00", "2027-01-31T00:00:00z", "2027-01-31 00:00:00Z",
        "2027-01-31T00:00:00+00:00", "12027-01-31", "-027-01-31", "2O27-01-31"};
    const struct pv_setting_info *info = pv_setting_info(PV_SET_AllowNonProvisionableUntil);
    struct pv_policy p = {0};
    char text[32], message[200];

    (void)state;
    assert_int_equal(pv_policy_value(&p, PV_SET_AllowNonProvisionableUntil), 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("# %s\n", cases[i].text);
        assert_int_equal(set(&p, info->name, cases[i].text, message), PV_OK);
        assert_int_equal(pv_policy_value(&p, PV_SET_AllowNonProvisionableUntil),
                         cases[i].seconds);
        assert_int_equal(pv_policy_text(&p, PV_SET_AllowNonProvisionableUntil, text, sizeof text),
                         PV_OK);
        assert_string_equal(text, cases[i].back);
        for (size_t cap = 0; cap <= strlen(text); cap++)
            assert_int_equal(pv_policy_text(&p, PV_SET_AllowNonProvisionableUntil, message, cap),
                             PV_E_NOMEM);
    }
    for (size_t i = 0; i < COUNT(bad); i++) refused(info, bad[i], PV_E_MALFORMED);
    refused(info, "1970-01-01", PV_E_RANGE);
    refused(info, "1969-12-31T23:59:59Z", PV_E_RANGE);
    assert_int_equal(set(&p, info->name, "soon", message), PV_E_MALFORMED);
    assert_non_null(strstr(message, "\"soon\" is no date; allowed: a day such as 2027-01-31"));
}

/* Every day from 1970 to 9999 is the one after the day before. */
static void every_day_has_its_name(void **state)
{
    struct pv_policy p = {.set = UINT64_C(1) << PV_SET_AllowNonProvisionableUntil}, back = {0};
    char text[32], before[32] = "", message[200];

    (void)state;
    for (int64_t day = 1; day <= 253402300799 / 86400; day++) {
        p.value[PV_SET_AllowNonProvisionableUntil] = day * 86400;
        assert_int_equal(pv_policy_text(&p, PV_SET_AllowNonProvisionableUntil, text, sizeof text),
                         PV_OK);
        assert_true(strcmp(before, text) < 0);
        assert_int_equal(set(&back, "AllowNonProvisionableUntil", text, message), PV_OK);
        assert_int_equal(pv_policy_value(&back, PV_SET_AllowNonProvisionableUntil), day * 86400);
        strcpy(before, text);
    }
}

static void lists(void **state)
{
    const struct pv_setting_info *info = pv_setting_info(PV_SET_ApprovedApplicationList);
    static const char *const bad[] = {",", "a,", ",a", "a,,b", "a, ,b", "a\tb", "\xff", "a,\x01"};
    struct pv_policy p = {0}, copy, empty = {0};
    char message[200], text[64], long_item[400], many[1024];

    (void)state;
    assert_int_equal(set(&p, info->name, " b , a,b,c", message), PV_OK);
    assert_int_equal(pv_policy_text(&p, PV_SET_ApprovedApplicationList, text, sizeof text), PV_OK);
    assert_string_equal(text, "a,b,c");
    assert_int_equal(pv_policy_value(&p, PV_SET_ApprovedApplicationList), 3);
    for (size_t i = 0; i < COUNT(bad); i++) refused(info, bad[i], PV_E_MALFORMED);

    memset(long_item, 'x', sizeof long_item);
    long_item[PV_LIST_ITEM_MAX] = '\0';
    assert_int_equal(set(&p, info->name, long_item, message), PV_OK);
    long_item[PV_LIST_ITEM_MAX] = 'x';
    long_item[PV_LIST_ITEM_MAX + 1] = '\0';
    refused(info, long_item, PV_E_TOOBIG);
    for (size_t i = 0; i < PV_LIST_MAX; i++) memcpy(many + 2 * i, "a,", 2);
    many[2 * PV_LIST_MAX - 1] = '\0';
    assert_int_equal(set(&p, info->name, many, message), PV_OK);
    memcpy(many + 2 * PV_LIST_MAX - 1, ",a", 3);
    refused(info, many, PV_E_TOOBIG);

    p = policy_of("ApprovedApplicationList=x,y UnapprovedInROMApplicationList=z");
    assert_int_equal(pv_policy_copy(&p, &scratch, &copy), PV_OK);
    assert_int_equal(pv_policy_compare(&p, &copy, PV_V14_1, NULL), PV_SAME);
    assert_ptr_not_equal(copy.approved.items[0], p.approved.items[0]);
    assert_int_equal(pv_policy_copy(&empty, &(struct pv_arena){0}, &copy), PV_OK);
}

static void rules_between_settings(void **state)
{
    struct pv_policy p = {0};
    static char big[PV_LIST_MAX * (PV_LIST_ITEM_MAX + 1)];
    char message[200];
    size_t at = 0;

    (void)state;
    assert_int_equal(pv_policy_check(&p, message, sizeof message), PV_OK);
    assert_string_equal(message, "");
    p.set = UINT64_C(1) << PV_SET_ApprovedApplicationList;
    assert_int_equal(pv_policy_check(&p, message, sizeof message), PV_E_RANGE);
    assert_non_null(strstr(message, "no program may run"));

    p = policy_of("UnapprovedInROMApplicationList=a");
    assert_int_equal(pv_policy_check(&p, message, sizeof message), PV_OK);
    for (int i = 0; i < 129; i++)
        at += (size_t)snprintf(big + at, sizeof big - at, "%s%03d%0253d", i ? "," : "", i, 0);
    assert_int_equal(set(&p, "ApprovedApplicationList", big, message), PV_OK);
    assert_int_equal(pv_policy_check(&p, message, sizeof message), PV_E_RANGE);
    assert_non_null(strstr(message, "32768"));
}

static void hints(void **state)
{
    struct pv_policy p = {0};

    (void)state;
    assert_null(pv_policy_hint(&p));
    p = policy_of("MinDevicePasswordLength=6");
    assert_non_null(strstr(pv_policy_hint(&p), "DevicePasswordEnabled"));
    p = policy_of("MinDevicePasswordLength=6 DevicePasswordEnabled=1");
    assert_null(pv_policy_hint(&p));
    p = policy_of("MaxInactivityTimeDeviceLock=0");
    assert_non_null(strstr(pv_policy_hint(&p), "MaxInactivityTimeDeviceLock"));
    p = policy_of("AllowNonProvisionableUntil=2027-01-31");
    assert_non_null(strstr(pv_policy_hint(&p), "AllowNonProvisionable is not 1"));
    p = policy_of("AllowNonProvisionableUntil=2027-01-31 AllowNonProvisionable=1");
    assert_null(pv_policy_hint(&p));
}

/* Whether an edit is seen is one question with four answers that must agree. */
static void edits_are_seen_or_not(void **state)
{
    static const struct { const char *a, *b; const char *seen; } cases[] = {
        /* seen at 2.5, 12.0, 12.1 and later */
        {"", "MinDevicePasswordLength=1", "---"},
        {"", "MaxInactivityTimeDeviceLock=9999", "---"},
        {"MaxInactivityTimeDeviceLock=9999", "MaxInactivityTimeDeviceLock=4294967295", "---"},
        {"MaxInactivityTimeDeviceLock=9998", "MaxInactivityTimeDeviceLock=9999", "-xx"},
        {"", "MaxInactivityTimeDeviceLock=0", "-xx"},
        {"", "DevicePasswordExpiration=0", "---"},
        {"", "DevicePasswordExpiration=1", "-xx"},
        {"", "MaxEmailAgeFilter=0", "---"},
        {"", "MaxEmailBodyTruncationSize=-1", "---"},
        {"", "MaxEmailBodyTruncationSize=0", "--x"},
        {"", "AllowCamera=1", "---"},
        {"", "AllowCamera=0", "--x"},
        {"", "RequireStorageCardEncryption=1", "--x"},
        {"", "AttachmentsEnabled=0", "-xx"},
        {"", "MinDevicePasswordLength=6", "-xx"}, /* 2.5: no password, no length */
        {"DevicePasswordEnabled=1", "DevicePasswordEnabled=1 MinDevicePasswordLength=6", "xxx"},
        {"", "DevicePasswordEnabled=1", "xxx"},
        {"DevicePasswordEnabled=1 MaxInactivityTimeDeviceLock=301",
         "DevicePasswordEnabled=1 MaxInactivityTimeDeviceLock=360", "-xx"},
        {"DevicePasswordEnabled=1 MaxInactivityTimeDeviceLock=300",
         "DevicePasswordEnabled=1 MaxInactivityTimeDeviceLock=301", "xxx"},
        {"", "ApprovedApplicationList=a", "--x"},
        {"ApprovedApplicationList=a,b", "ApprovedApplicationList=b,a,b", "---"},
        {"", "AllowPartial=1 RefreshInterval=1h AllowNonProvisionable=1", "---"},
        {"", "AllowNonProvisionableUntil=2027-01-31", "---"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pv_policy a = policy_of(cases[i].a), b = policy_of(cases[i].b);

        print_message("# \"%s\" -> \"%s\"\n", cases[i].a, cases[i].b);
        for (enum pv_version v = PV_V2_5; v < PV_VERSION_COUNT; v++) {
            bool seen = cases[i].seen[v < PV_V12_1 ? v : PV_V12_1] == 'x';
            assert_int_equal(hash_differs(&a, &b, v), seen);
            assert_int_equal(pv_policy_compare(&a, &b, v, NULL) != PV_SAME, seen);
            assert_int_equal(pv_policy_compare(&b, &a, v, NULL) != PV_SAME, seen);
        }
    }
}

static void directions(void **state)
{
    static const struct { const char *a, *b; enum pv_change want; } cases[] = {
        {"MinDevicePasswordLength=4", "MinDevicePasswordLength=6", PV_STRICTER},
        {"MaxDevicePasswordFailedAttempts=4", "MaxDevicePasswordFailedAttempts=6", PV_LOOSER},
        {"", "MaxEmailAgeFilter=5", PV_STRICTER},
        {"MaxEmailAgeFilter=5", "MaxEmailAgeFilter=1", PV_STRICTER},
        {"AllowBluetooth=1", "", PV_LOOSER},
        {"", "RequireSignedSMIMEAlgorithm=1", PV_DIFFERENT},
        {"", "MaxEmailHTMLBodyTruncationSize=500", PV_STRICTER},
        {"", "UnapprovedInROMApplicationList=a", PV_STRICTER},
        {"UnapprovedInROMApplicationList=a", "UnapprovedInROMApplicationList=a,b", PV_STRICTER},
        {"UnapprovedInROMApplicationList=a,b", "UnapprovedInROMApplicationList=b", PV_LOOSER},
        {"UnapprovedInROMApplicationList=a", "UnapprovedInROMApplicationList=b", PV_DIFFERENT},
        {"", "ApprovedApplicationList=a", PV_STRICTER},
        {"ApprovedApplicationList=a", "ApprovedApplicationList=a,b", PV_LOOSER},
        {"ApprovedApplicationList=a,b", "ApprovedApplicationList=a", PV_STRICTER},
        {"ApprovedApplicationList=a", "ApprovedApplicationList=b", PV_DIFFERENT},
        {"ApprovedApplicationList=a", "", PV_LOOSER},
        {"AllowCamera=0", "AllowWiFi=0", PV_DIFFERENT},
        {"AllowCamera=0", "AllowCamera=0 AllowWiFi=0", PV_STRICTER},
        {"AllowCamera=0", "AllowCamera=0 AllowWiFi=1", PV_SAME},
    };
    static const enum pv_change mirror[] = {PV_SAME, PV_LOOSER, PV_STRICTER, PV_DIFFERENT};
    enum pv_change each[PV_SETTING_COUNT];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pv_policy a = policy_of(cases[i].a), b = policy_of(cases[i].b);
        print_message("# \"%s\" -> \"%s\"\n", cases[i].a, cases[i].b);
        assert_int_equal(pv_policy_compare(&a, &b, PV_V16_1, each), cases[i].want);
        assert_int_equal(pv_policy_compare(&b, &a, PV_V16_1, NULL), mirror[cases[i].want]);
        assert_int_equal(each[PV_SET_AllowDesktopSync], PV_SAME);
        assert_int_equal(each[PV_SET_RefreshInterval], PV_SAME);
    }
}

static void what_a_version_cannot_carry(void **state)
{
    static const struct { const char *settings; size_t v2_5, v12_0, v12_1; } cases[] = {
        {"", 0, 0, 0},
        {"MinDevicePasswordLength=6", 0, 0, 0}, /* no password is asked for */
        {"DevicePasswordEnabled=1 MinDevicePasswordLength=6", 0, 0, 0},
        {"DevicePasswordEnabled=1 AllowSimpleDevicePassword=0", 1, 0, 0},
        {"AllowSimpleDevicePassword=0", 0, 0, 0},
        {"AllowCamera=0", 1, 1, 0},
        {"AllowCamera=1 AllowWiFi=1 MaxEmailAgeFilter=0", 0, 0, 0},
        {"RequireStorageCardEncryption=1 AttachmentsEnabled=0", 2, 1, 0},
        {"MaxInactivityTimeDeviceLock=300", 1, 0, 0}, /* the WAP document ends before it */
        {"DevicePasswordEnabled=1 MaxInactivityTimeDeviceLock=300", 0, 0, 0},
        {"ApprovedApplicationList=a", 1, 1, 0},
        {"AllowPartial=1 RefreshInterval=1d", 0, 0, 0},
    };
    enum pv_setting out[2];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pv_policy p = policy_of(cases[i].settings);
        print_message("# %s\n", cases[i].settings);
        assert_int_equal(pv_policy_uncarried(&p, PV_V2_5, NULL, 0), cases[i].v2_5);
        assert_int_equal(pv_policy_uncarried(&p, PV_V12_0, NULL, 0), cases[i].v12_0);
        for (enum pv_version v = PV_V12_1; v < PV_VERSION_COUNT; v++)
            assert_int_equal(pv_policy_uncarried(&p, v, NULL, 0), cases[i].v12_1);
    }
    struct pv_policy p = policy_of("AllowCamera=0 AllowWiFi=0 AllowBrowser=0");
    assert_int_equal(pv_policy_uncarried(&p, PV_V12_0, out, COUNT(out)), 3);
    assert_int_equal(out[0], PV_SET_AllowCamera);
    assert_int_equal(out[1], PV_SET_AllowWiFi);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_table_is_complete, fresh),
        cmocka_unit_test_setup(every_setting_keeps_its_range, fresh),
        cmocka_unit_test_setup(messages_are_sentences, fresh),
        cmocka_unit_test_setup(durations, fresh),
        cmocka_unit_test_setup(dates, fresh),
        cmocka_unit_test_setup(every_day_has_its_name, fresh),
        cmocka_unit_test_setup(lists, fresh),
        cmocka_unit_test_setup(rules_between_settings, fresh),
        cmocka_unit_test_setup(hints, fresh),
        cmocka_unit_test_setup(edits_are_seen_or_not, fresh),
        cmocka_unit_test_setup(directions, fresh),
        cmocka_unit_test_setup(what_a_version_cannot_carry, fresh),
    };

    return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
