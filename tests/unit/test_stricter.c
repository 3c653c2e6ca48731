/* The stricter of two policies: the laws of a merge, and that nothing gets weaker by it. */
#include <provost/provision.h>

#include "policy_help.h"

/* ---- laws ---------------------------------------------------------------------------------- */

static struct pv_policy merge(const struct pv_policy *a, const struct pv_policy *b)
{
    struct pv_policy out;

    assert_int_equal(pv_policy_stricter(a, b, &arena, &out), PV_OK);
    assert_int_equal(pv_policy_check(&out, NULL, 0), PV_OK);
    return out;
}

static bool same_lists(const struct pv_list *a, const struct pv_list *b)
{
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i])) return false;
    return true;
}

/* Not only in meaning. */
static void assert_identical(const struct pv_policy *a, const struct pv_policy *b)
{
    assert_int_equal(a->set, b->set);
    for (unsigned i = 0; i < PV_SETTING_COUNT; i++) assert_int_equal(a->value[i], b->value[i]);
    assert_true(same_lists(&a->approved, &b->approved));
    assert_true(same_lists(&a->unapproved, &b->unapproved));
}

static void assert_same_meaning(const struct pv_policy *a, const struct pv_policy *b)
{
    for (enum pv_version v = PV_V2_5; v < PV_VERSION_COUNT; v++)
        assert_int_equal(pv_policy_compare(a, b, v, NULL), PV_SAME);
    assert_int_equal(a->set & ((UINT64_C(1) << PV_WIRE_SETTING_COUNT) - 1), b->set);
}

static bool has_direction(enum pv_setting s)
{
    return pv_setting_info(s)->stricter != PV_STRICTER_NONE;
}

/* The judge of devices says it, who knows nothing of merging: a device that can do what the merged
 * policy asks and not a bit more can do what either asks. Lists by the comparison. */
static void assert_not_weaker(const struct pv_policy *merged, const struct pv_policy *than)
{
    enum pv_change changes[PV_SETTING_COUNT];
    enum pv_kept kept[PV_SETTING_COUNT];
    struct pv_profile able = {0};

    for (unsigned i = 0; i < PV_WIRE_SETTING_COUNT; i++) {
        enum pv_setting s = (enum pv_setting)i;
        if (pv_setting_info(s)->kind == PV_SETTING_LIST || !has_direction(s)) continue;
        if (s == PV_SET_MaxInactivityTimeDeviceLock && !pv_policy_value(than, s)) continue;
        able.limited |= UINT64_C(1) << s;
        able.most[s] = pv_policy_value(merged, s);
    }
    assert_int_equal(pv_profile_judge(&able, than, kept), 1);
    pv_policy_compare(than, merged, PV_V16_1, changes);
    for (unsigned i = 0; i < PV_WIRE_SETTING_COUNT; i++)
        if (pv_setting_info((enum pv_setting)i)->kind == PV_SETTING_LIST)
            assert_true(changes[i] == PV_SAME || changes[i] == PV_STRICTER);
}

/* Nothing that neither asks for. */
static void assert_not_more(const struct pv_policy *merged, const struct pv_policy *a,
                            const struct pv_policy *b)
{
    struct pv_profile all = {0};
    enum pv_kept of_a[PV_SETTING_COUNT], of_b[PV_SETTING_COUNT], of_both[PV_SETTING_COUNT];

    assert_int_equal(merged->set & ~(a->set | b->set), 0);
    pv_profile_judge(&all, a, of_a);
    pv_profile_judge(&all, b, of_b);
    pv_profile_judge(&all, merged, of_both);
    for (unsigned i = 0; i < PV_SETTING_COUNT; i++) {
        enum pv_setting s = (enum pv_setting)i;
        int64_t value = pv_policy_value(merged, s);

        if (of_both[i] == PV_NOT_DEMANDED) continue;
        assert_true(of_a[i] == PV_KEPT || of_b[i] == PV_KEPT);
        if (pv_setting_info(s)->kind == PV_SETTING_LIST) continue;
        assert_true((of_a[i] == PV_KEPT && value == pv_policy_value(a, s)) ||
                    (of_b[i] == PV_KEPT && value == pv_policy_value(b, s)));
    }
}

static void check_laws(const struct pv_policy *a, const struct pv_policy *b,
                       const struct pv_policy *c)
{
    static const struct pv_policy nothing;
    struct pv_policy ab = merge(a, b), ba = merge(b, a), bc = merge(b, c), aa = merge(a, a);
    struct pv_policy left = merge(&ab, c), right = merge(a, &bc), alone = merge(a, &nothing);

    assert_identical(&ab, &ba);
    assert_identical(&left, &right);
    assert_same_meaning(a, &aa);
    assert_not_weaker(&ab, a);
    assert_not_weaker(&ab, b);
    assert_not_more(&ab, a, b);
    assert_not_more(&alone, a, &nothing);
    aa = merge(&ab, a);
    assert_identical(&aa, &ab);
}

/* ---- every setting, over its whole domain or the ends of it --------------------------------- */

struct domain {
    struct pv_policy of[16];
    size_t count;
};

static void add(struct domain *d, enum pv_setting s, bool enabled, bool set, int64_t value)
{
    struct pv_policy p = {0};

    if (enabled) {
        p.set = UINT64_C(1) << PV_SET_DevicePasswordEnabled;
        p.value[PV_SET_DevicePasswordEnabled] = 1;
    }
    if (set) {
        p.set |= UINT64_C(1) << s;
        p.value[s] = value;
    }
    assert_true(d->count < COUNT(d->of));
    d->of[d->count++] = p;
}

static void domain_of(enum pv_setting s, struct domain *d)
{
    const struct pv_setting_info *info = pv_setting_info(s);

    d->count = 0;
    for (int enabled = 0; enabled <= info->password; enabled++) {
        add(d, s, enabled, false, 0);
        if (info->max - info->min <= 7) {
            for (int64_t n = info->min; n <= info->max; n++)
                if (info->kind != PV_SETTING_ENUM || info->enum_mask >> n & 1)
                    add(d, s, enabled, true, n);
            continue;
        }
        add(d, s, enabled, true, info->min);
        add(d, s, enabled, true, info->min + 1);
        add(d, s, enabled, true, info->max - 3);
        add(d, s, enabled, true, info->max);
        if (info->no_limit > info->min && info->no_limit < info->max) {
            add(d, s, enabled, true, info->no_limit - 1);
            add(d, s, enabled, true, info->no_limit);
        }
    }
}

static void every_setting_obeys_the_laws(void **state)
{
    struct domain d;

    for (unsigned s = 0; s < PV_WIRE_SETTING_COUNT; s++) {
        if (pv_setting_info((enum pv_setting)s)->kind == PV_SETTING_LIST) continue;
        print_message("# %s\n", pv_setting_info((enum pv_setting)s)->name);
        domain_of((enum pv_setting)s, &d);
        for (size_t a = 0; a < d.count; a++)
            for (size_t b = 0; b < d.count; b++)
                for (size_t c = 0; c < d.count; c++) check_laws(&d.of[a], &d.of[b], &d.of[c]);
    }
    (void)state;
}

/* ---- whole policies ------------------------------------------------------------------------- */

static uint32_t pick(uint32_t below)
{
    static uint64_t seed = 0x9E3779B97F4A7C15;

    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16) % below;
}

/* "a" is in every list of approved programs, so that something is left. */
static struct pv_list some_programs(bool with_a)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    const char **items = PV_NEW(&arena, const char *, COUNT(names));
    size_t count = 0;

    assert_non_null(items);
    for (size_t i = 0; i < COUNT(names); i++)
        if (pick(2) || (with_a && i == 0)) items[count++] = names[i];
    return (struct pv_list){items, count};
}

static struct pv_policy any_policy(void)
{
    struct pv_policy p = {0};
    struct domain d;

    for (unsigned i = 0; i < PV_WIRE_SETTING_COUNT; i++) {
        enum pv_setting s = (enum pv_setting)i;
        if (pick(3) == 0) continue;
        if (pv_setting_info(s)->kind == PV_SETTING_LIST) {
            bool approved = s == PV_SET_ApprovedApplicationList;
            struct pv_list list = some_programs(approved);
            *(approved ? &p.approved : &p.unapproved) = list;
            p.set |= (uint64_t)(list.count > 0) << s;
            continue;
        }
        domain_of(s, &d);
        const struct pv_policy *one = &d.of[pick((uint32_t)d.count)];
        if (!(one->set >> s & 1)) continue;
        p.value[s] = one->value[s];
        p.set |= UINT64_C(1) << s;
    }
    return p;
}

static void whole_policies_obey_the_laws(void **state)
{
    for (int round = 0; round < 5000; round++) {
        fresh(state);
        struct pv_policy a = any_policy(), b = any_policy(), c = any_policy();
        check_laws(&a, &b, &c);
    }
}

/* ---- what the laws leave open --------------------------------------------------------------- */

#define PASSWORD "DevicePasswordEnabled=1 "

static const struct { const char *name, *a, *b, *both; } cases[] = {
    {"nothing", "", "", ""},
    {"one side", PASSWORD "MinDevicePasswordLength=6 AllowCamera=0", "",
     PASSWORD "MinDevicePasswordLength=6 AllowCamera=0"},
    {"least length", PASSWORD "MinDevicePasswordLength=6", PASSWORD "MinDevicePasswordLength=8",
     PASSWORD "MinDevicePasswordLength=8"},
    {"attempts", PASSWORD "MaxDevicePasswordFailedAttempts=4",
     PASSWORD "MaxDevicePasswordFailedAttempts=16", PASSWORD "MaxDevicePasswordFailedAttempts=4"},
    {"no limit and a limit", PASSWORD "DevicePasswordExpiration=0",
     PASSWORD "DevicePasswordExpiration=90", PASSWORD "DevicePasswordExpiration=90"},
    {"no limit twice", "MaxInactivityTimeDeviceLock=9999", "MaxInactivityTimeDeviceLock=12000",
     "MaxInactivityTimeDeviceLock=9999"},
    {"a lock of 0 is none for many", "MaxInactivityTimeDeviceLock=0",
     "MaxInactivityTimeDeviceLock=900", "MaxInactivityTimeDeviceLock=900"},
    {"a lock of 0 and none", "MaxInactivityTimeDeviceLock=0", "MaxInactivityTimeDeviceLock=9999",
     "MaxInactivityTimeDeviceLock=0"},
    {"attachments of 0 bytes", "MaxAttachmentSize=0", "MaxAttachmentSize=1000",
     "MaxAttachmentSize=0"},
    {"Bluetooth", "AllowBluetooth=1", "AllowBluetooth=2", "AllowBluetooth=1"},
    {"age of mail", "MaxEmailAgeFilter=0", "MaxEmailAgeFilter=5", "MaxEmailAgeFilter=5"},
    {"age of mail again", "MaxEmailAgeFilter=1", "MaxEmailAgeFilter=5", "MaxEmailAgeFilter=1"},
    {"bodies", "MaxEmailBodyTruncationSize=-1", "MaxEmailBodyTruncationSize=0",
     "MaxEmailBodyTruncationSize=0"},
    {"a cipher that both name", "RequireEncryptionSMIMEAlgorithm=2",
     "RequireEncryptionSMIMEAlgorithm=2", "RequireEncryptionSMIMEAlgorithm=2"},
    {"ciphers that differ", "RequireEncryptionSMIMEAlgorithm=2",
     "RequireEncryptionSMIMEAlgorithm=4", "RequireEncryptionSMIMEAlgorithm=0"},
    {"MD5 beside nothing", "RequireSignedSMIMEAlgorithm=1", "", "RequireSignedSMIMEAlgorithm=0"},
    {"other ciphers", "AllowSMIMEEncryptionAlgorithmNegotiation=1",
     "AllowSMIMEEncryptionAlgorithmNegotiation=0", "AllowSMIMEEncryptionAlgorithmNegotiation=0"},
    {"recovery needs both", PASSWORD "PasswordRecoveryEnabled=1", PASSWORD,
     PASSWORD "PasswordRecoveryEnabled=0"},
    /* Z-Push sends 4, 8 and 3 with its password switched off. */
    {"what has no effect stays without",
     "DevicePasswordEnabled=0 MinDevicePasswordLength=8 MaxDevicePasswordFailedAttempts=8 "
     "MinDevicePasswordComplexCharacters=3",
     PASSWORD "MinDevicePasswordLength=4", PASSWORD "MinDevicePasswordLength=4"},
    {"without effect on both sides", "MinDevicePasswordLength=8",
     "DevicePasswordEnabled=0 MinDevicePasswordLength=4",
     "DevicePasswordEnabled=0 MinDevicePasswordLength=8"},
    {"unapproved of either", "UnapprovedInROMApplicationList=a,c",
     "UnapprovedInROMApplicationList=b,c", "UnapprovedInROMApplicationList=a,b,c"},
    {"approved of both", "ApprovedApplicationList=a,b,c", "ApprovedApplicationList=b,c,d",
     "ApprovedApplicationList=b,c"},
    {"approved of one", "ApprovedApplicationList=a", "", "ApprovedApplicationList=a"},
    {"treatments are left out", "AllowPartial=1 RefreshInterval=1h AllowCamera=0", "AllowPartial=1",
     "AllowCamera=0"},
};

static void rows_are_merged_as_they_mean(void **state)
{
    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("# %s\n", cases[i].name);
        fresh(state);
        struct pv_policy a = policy_of(cases[i].a), b = policy_of(cases[i].b),
                         want = policy_of(cases[i].both), ab = merge(&a, &b), ba = merge(&b, &a);
        assert_identical(&ab, &want);
        assert_identical(&ba, &want);
    }
}

/* A new row whose direction nobody knows must be thought of: unset has to be its safest value. */
static void rows_without_a_direction_are_these(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PV_WIRE_SETTING_COUNT; i++) {
        enum pv_setting s = (enum pv_setting)i;
        if (has_direction(s)) continue;
        assert_true(s == PV_SET_PasswordRecoveryEnabled || s == PV_SET_RequireSignedSMIMEAlgorithm ||
                    s == PV_SET_RequireEncryptionSMIMEAlgorithm);
        assert_int_equal(pv_setting_info(s)->unset, 0);
    }
}

/* ---- what cannot be said -------------------------------------------------------------------- */

static const char *many(char *text, size_t cap, char first, int count, int length)
{
    size_t at = 0;

    for (int i = 0; i < count; i++)
        at += (size_t)snprintf(text + at, cap - at, "%s%c%0*d", i ? "," : "", first, length - 1, i);
    return text;
}

static void what_cannot_be_said_is_refused(void **state)
{
    static char text[1 << 16];
    char message[200];
    struct pv_policy a = policy_of("ApprovedApplicationList=a,b"),
                     b = policy_of("ApprovedApplicationList=c AllowCamera=0"),
                     c = policy_of("ApprovedApplicationList=a,c"), out = {.set = 1};

    (void)state;
    assert_int_equal(pv_policy_stricter(&a, &b, &arena, &out), PV_E_RANGE);
    assert_int_equal(out.set, 1);
    out = merge(&b, &c);
    assert_int_equal(pv_policy_stricter(&a, &out, &arena, &out), PV_E_RANGE);

    a = b = (struct pv_policy){0};
    assert_int_equal(set(&a, "UnapprovedInROMApplicationList", many(text, sizeof text, 'a', 200, 8),
                         message), PV_OK);
    assert_int_equal(set(&b, "UnapprovedInROMApplicationList", many(text, sizeof text, 'b', 57, 8),
                         message), PV_OK);
    assert_int_equal(pv_policy_stricter(&a, &b, &arena, &out), PV_E_TOOBIG);
    b = (struct pv_policy){0};
    assert_int_equal(set(&b, "UnapprovedInROMApplicationList", many(text, sizeof text, 'b', 56, 8),
                         message), PV_OK);
    out = merge(&a, &b);
    assert_int_equal(out.unapproved.count, PV_LIST_MAX);

    /* Together they may not be longer than what a client takes. */
    a = b = (struct pv_policy){0};
    assert_int_equal(set(&a, "UnapprovedInROMApplicationList",
                         many(text, sizeof text, 'a', 100, 200), message), PV_OK);
    assert_int_equal(set(&b, "UnapprovedInROMApplicationList",
                         many(text, sizeof text, 'b', 100, 200), message), PV_OK);
    assert_int_equal(pv_policy_stricter(&a, &b, &arena, &out), PV_E_TOOBIG);
}

static void every_smaller_arena_is_refused(void **state)
{
    struct pv_policy a = policy_of("UnapprovedInROMApplicationList=x,y ApprovedApplicationList=p,q"),
                     b = policy_of("UnapprovedInROMApplicationList=z ApprovedApplicationList=q,r"),
                     out;
    struct pv_arena small;
    size_t cap = 0;

    (void)state;
    for (;; cap++) {
        pv_arena_init(&small, scratch_block, cap);
        if (pv_policy_stricter(&a, &b, &small, &out) == PV_OK) break;
        assert_int_equal(pv_policy_stricter(&a, &b, &small, &out), PV_E_NOMEM);
    }
    assert_true(cap > 0);
    assert_string_equal(out.approved.items[0], "q");
    assert_true(out.approved.items[0] != a.approved.items[1]);
    assert_true(out.unapproved.items[0] != a.unapproved.items[0]);
    a = policy_of("AllowCamera=0");
    assert_int_equal(pv_policy_stricter(&a, &a, &(struct pv_arena){0}, &a), PV_OK);
    assert_int_equal(pv_policy_value(&a, PV_SET_AllowCamera), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_setting_obeys_the_laws, fresh),
        cmocka_unit_test_setup(whole_policies_obey_the_laws, fresh),
        cmocka_unit_test_setup(rows_are_merged_as_they_mean, fresh),
        cmocka_unit_test_setup(rows_without_a_direction_are_these, fresh),
        cmocka_unit_test_setup(what_cannot_be_said_is_refused, fresh),
        cmocka_unit_test_setup(every_smaller_arena_is_refused, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
