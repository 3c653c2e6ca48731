/* Access rules: patterns, conditions, the order among rules, their form in the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/gate/rules/rules.h"

/* ---- patterns ---- */
static void patterns_fit(void **unused)
{
    static const struct {
        const char *pattern, *text;
        bool folded, exact; /* fits without and with regard to case */
    } rows[] = {
        {"", "", true, true},
        {"", "a", false, false},
        {"a", "", false, false},
        {"*", "", true, true},
        {"**", "", true, true},
        {"*", "anything at all", true, true},
        {"?", "", false, false},
        {"?", "a", true, true},
        {"?", "ab", false, false},
        {"??", "ab", true, true},
        {"*?", "", false, false},
        {"?*", "a", true, true},
        {"iPhone", "iPhone", true, true},
        {"iPhone", "IPHONE", true, false},
        {"iphone*", "iPhone14C1", true, false},
        {"iPhone*", "iPhone", true, true},
        {"iPhone", "iPhone1", false, false},
        {"iPhone1", "iPhone", false, false},
        {"*phone", "Windows Phone", true, false},
        {"*Phone", "PhonePhone", true, true},
        {"*Phone", "Phone Phon", false, false},
        {"a*b*c", "abc", true, true},
        {"a*b*c", "a-b-b-c", true, true},
        {"a*b*c", "a-b-b-c-", false, false},
        {"a*b*c", "acb", false, false},
        {"*a?c*", "xxabcxx", true, true},
        {"*a?c*", "xxacxx", false, false},
        {"*aab", "aaaab", true, true},
        {"*ab*ab", "abab", true, true},
        {"*ab*ab", "aba", false, false},
        {"Samsung-*/1.?", "SAMSUNG-SM-G900/1.3", true, false},
        {"[a-z]+", "abc", false, false},
        {"[a-z]+", "[A-Z]+", true, false},
        {"\\*", "*", false, false},
        {"\\xe4*", "\\xe4hnlich", true, true},
        {"@", "`", false, false}, /* only letters are folded */
        {"[", "{", false, false},
    };
    (void)unused;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        print_message("# %s on %s\n", rows[i].pattern, rows[i].text);
        assert_int_equal(pattern_fits(rows[i].pattern, rows[i].text, true, NULL), rows[i].folded);
        assert_int_equal(pattern_fits(rows[i].pattern, rows[i].text, false, NULL), rows[i].exact);
    }
}

static void a_pattern_costs_little(void **unused)
{
    char pattern[RULE_PATTERN_MAX], text[257];
    size_t steps;
    (void)unused;
    for (size_t i = 0; i < sizeof pattern; i++) pattern[i] = i % 2 ? 'a' : '*';
    pattern[sizeof pattern - 2] = 'b';
    pattern[sizeof pattern - 1] = '\0';
    memset(text, 'a', sizeof text);
    text[256] = '\0';
    assert_false(pattern_fits(pattern, text, true, &steps));
    assert_true(steps <= (strlen(pattern) + 1) * (strlen(text) + 1));
    memset(pattern + 1, 'a', sizeof pattern - 3); /* *aaaa...b */
    assert_false(pattern_fits(pattern, text, true, &steps));
    assert_true(steps <= (strlen(pattern) + 1) * (strlen(text) + 1));
}

/* ---- conditions ---- */
static char message[256];

static bool add(struct rule *r, const char *name, const char *value)
{
    message[0] = '\0';
    return rule_condition(r, name, value, message, sizeof message);
}

static void conditions_are_checked(void **unused)
{
    static const struct {
        const char *name, *value, *wrong; /* NULL: it is right */
    } rows[] = {
        {"DeviceType", "iPhone*", NULL},
        {"devicetype", "", NULL},
        {"Model", "*", NULL},
        {"OS", "iOS 1?.*", NULL},
        {"UserAgent", "Apple-iPhone*/1701.*", NULL},
        {"DeviceId", "ApplDLXGJ0", NULL},
        {"ProtocolVersion", "14.1", NULL},
        {"ProtocolVersion", "<=12.1", NULL},
        {"ProtocolVersion", ">=2.5", NULL},
        {"ProtocolVersion", "13.0", "is no version"},
        {"ProtocolVersion", "<12.1", "is no version"},
        {"ProtocolVersion", "<=", "is no version"},
        {"ProtocolVersion", "14.*", "is no version"},
        {"ProtocolVersion", " 14.1", "is no version"},
        {"ProtocolVersion", "14.1 ", "is no version"},
        {"ProtocolVersion", ">= 14.1", "is no version"},
        {"ProtocolVersion", "", "is no version"},
        {"Colour", "red", "Colour is no condition; there are DeviceType,"},
        {"", "red", "is no condition"},
        {"Mod\nel", "x", "Mod\\x0ael is no condition"},
        {"Model", "Ger\xc3\xa4t", "no printable ASCII"},
        {"Model", "a\tb", "no printable ASCII"},
    };
    char longest[RULE_PATTERN_MAX + 1];
    struct rule r;
    (void)unused;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        print_message("# %s=%s\n", rows[i].name, rows[i].value);
        r = (struct rule){0};
        assert_int_equal(add(&r, rows[i].name, rows[i].value), !rows[i].wrong);
        assert_int_equal(r.conditions != 0, !rows[i].wrong);
        if (rows[i].wrong) assert_non_null(strstr(message, rows[i].wrong));
    }
    r = (struct rule){0};
    assert_true(add(&r, "Model", "a"));
    assert_false(add(&r, "MODEL", "b"));
    assert_string_equal(message, "Model stands there twice.");
    memset(longest, 'x', sizeof longest);
    longest[RULE_PATTERN_MAX] = '\0';
    assert_false(add(&r, "OS", longest));
    longest[RULE_PATTERN_MAX - 1] = '\0';
    assert_true(add(&r, "OS", longest));
    assert_string_equal(rule_value(&r, RULE_OS), longest);
    assert_null(rule_value(&r, RULE_TYPE));
}

static const struct rule_facts phone = {
    .text = {[RULE_TYPE] = "iPhone",
             [RULE_MODEL] = "iPhone14,2",
             [RULE_OS] = "iOS 17.1",
             [RULE_AGENT] = "Apple-iPhone14C2/2101.1",
             [RULE_DEVICE_ID] = "ApplXYZ"},
    .version = PV_V14_1,
};

static void all_conditions_must_hold(void **unused)
{
    static const struct {
        const char *name, *fits, *fits_not;
    } rows[] = {
        {"DeviceType", "IPHONE", "iPad"},
        {"Model", "iphone14,?", "iphone14,"},
        {"OS", "ios *", "*16*"},
        {"UserAgent", "apple-*", "android-*"},
        {"ProtocolVersion", "14.1", "16.0"},
        {"DeviceId", "Appl*", "appl*"},
    };
    static const struct {
        const char *condition;
        enum pv_version first, last;
    } versions[] = {
        {"2.5", PV_V2_5, PV_V2_5},      {"14.1", PV_V14_1, PV_V14_1},
        {"<=2.5", PV_V2_5, PV_V2_5},    {"<=14.0", PV_V2_5, PV_V14_0},
        {">=14.0", PV_V14_0, PV_V16_1}, {">=16.1", PV_V16_1, PV_V16_1},
        {"<=16.1", PV_V2_5, PV_V16_1},
    };
    enum { ROWS = sizeof rows / sizeof *rows };
    (void)unused;
    for (unsigned bits = 1; bits < 1u << ROWS; bits++)
        for (unsigned wrong = 0; wrong <= ROWS; wrong++) {
            struct rule r = {0};
            for (unsigned i = 0; i < ROWS; i++)
                if (bits >> i & 1)
                    assert_true(
                        add(&r, rows[i].name, i == wrong ? rows[i].fits_not : rows[i].fits));
            assert_int_equal(rule_fits(&r, &phone), wrong == ROWS || !(bits >> wrong & 1));
        }
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        struct rule r = {0};
        assert_true(add(&r, "ProtocolVersion", versions[i].condition));
        for (enum pv_version v = 0; v < PV_VERSION_COUNT; v++) {
            struct rule_facts f = phone;
            f.version = v;
            assert_int_equal(rule_fits(&r, &f), v >= versions[i].first && v <= versions[i].last);
        }
    }
}

/* ---- all of them ---- */
static struct rule rule_of(uint32_t id, enum pv_access access, const char *type)
{
    struct rule r = {.id = id, .access = (uint8_t)access, .at = 17};
    assert_true(add(&r, "DeviceType", type));
    return r;
}

static struct rules *put(struct rules *old, struct rule r)
{
    struct rules *with = rules_with(old, &r);
    assert_non_null(with);
    rules_release(old);
    return with;
}

/* Every set of three rules of each kind, fitting or not, made in either order: who decides is the
 * first in the order that fits. */
static void the_order_is_exchanges(void **unused)
{
    static const enum pv_access order[] = {PV_ACCESS_BLOCKED, PV_ACCESS_QUARANTINED, PV_ACCESS_OK};
    enum { RULES = 6 };
    (void)unused;
    for (unsigned there = 0; there < 1u << RULES; there++)
        for (unsigned fit = 0; fit < 1u << RULES; fit++)
            for (int backwards = 0; backwards < 2; backwards++) {
                struct rules *rules = rules_otherwise(NULL, PV_ACCESS_QUARANTINED, 0);
                uint32_t decides = 0;
                for (unsigned n = 0; n < RULES; n++) {
                    unsigned i = backwards ? RULES - 1 - n : n; /* two of each kind, ids ascend */
                    if (there >> i & 1)
                        rules = put(rules, rule_of(i + 1, order[i / 2], fit >> i & 1 ? "i*" : "x"));
                }
                for (unsigned i = RULES; i-- > 0;)
                    if (there >> i & fit >> i & 1) decides = i + 1;
                size_t at = rules_decide(rules, &phone);
                assert_int_equal(at < rules->count ? rules->at[at].id : 0, decides);
                rules_release(rules);
            }
}

static void rules_come_and_go(void **unused)
{
    struct rules *a =
        put(rules_otherwise(NULL, PV_ACCESS_BLOCKED, 0), rule_of(3, PV_ACCESS_OK, "*"));
    (void)unused;
    assert_int_equal(a->last_id, 3);
    assert_non_null(rules_find(a, 3));
    assert_null(rules_find(a, 4));
    struct rules *held = rules_hold(a);
    struct rules *b = rules_without(a, 3);
    rules_release(a);
    assert_int_equal(held->count, 1); /* nothing of it has changed */
    assert_int_equal(b->count, 0);
    assert_int_equal(b->last_id, 3); /* no number is given twice */
    assert_int_equal(b->otherwise, PV_ACCESS_BLOCKED);
    rules_release(held);
    struct rules *c = rules_otherwise(b, PV_ACCESS_OK, 9);
    assert_int_equal(c->last_id, 9);
    c = put(put(c, rule_of(2, PV_ACCESS_OK, "a")), rule_of(2, PV_ACCESS_BLOCKED, "b"));
    assert_int_equal(c->count, 1);
    assert_string_equal(c->at[0].pattern[RULE_TYPE], "b");
    rules_release(b);
    rules_release(c);
    rules_release(NULL);
}

static void rules_are_kept_as_json(void **unused)
{
    static const char *const damaged[] = {
        "{}",
        "{\"id\":1,\"action\":\"block\",\"conditions\":{},\"note\":\"\",\"by\":\"\",\"at\":1}",
        "{\"id\":0,\"action\":\"block\",\"conditions\":{\"OS\":\"x\"},\"note\":\"\",\"by\":\"\","
        "\"at\":1}",
        "{\"id\":1,\"action\":\"deny\",\"conditions\":{\"OS\":\"x\"},\"note\":\"\",\"by\":\"\","
        "\"at\":1}",
        "{\"id\":1,\"action\":\"block\",\"conditions\":{\"OS\":1},\"note\":\"\",\"by\":\"\",\"at\":"
        "1}",
        "{\"id\":1,\"action\":\"block\",\"conditions\":{\"Os2\":\"1\"},\"note\":\"\",\"by\":\"\","
        "\"at\":1}",
        "{\"id\":1,\"action\":\"block\",\"conditions\":[\"OS\"],\"note\":\"\",\"by\":\"\",\"at\":"
        "1}",
    };
    struct rule r = rule_of(UINT32_MAX, PV_ACCESS_QUARANTINED, "a\"\\*"), back;
    (void)unused;
    assert_true(add(&r, "ProtocolVersion", "<=12.1"));
    snprintf(r.note, sizeof r.note, "Gerät \"7\"");
    snprintf(r.by, sizeof r.by, "uid 0 (root)");
    json_t *json = rule_json(&r);
    assert_true(rule_of_json(json, &back));
    assert_memory_equal(&r, &back, sizeof r);
    json_decref(json);
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        json = json_loads(damaged[i], 0, NULL);
        assert_non_null(json);
        assert_false(rule_of_json(json, &back));
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_fit),           cmocka_unit_test(a_pattern_costs_little),
        cmocka_unit_test(conditions_are_checked), cmocka_unit_test(all_conditions_must_hold),
        cmocka_unit_test(the_order_is_exchanges), cmocka_unit_test(rules_come_and_go),
        cmocka_unit_test(rules_are_kept_as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
