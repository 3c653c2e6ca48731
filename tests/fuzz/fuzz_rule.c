/* An access rule: a condition NAME=PATTERN on each line, then a line with what a device says. */
#include <string.h>

#include "src/server/gate/rules/rules.h"
#include "tests/fuzz/fuzz.h"

#define TEXT_MAX 300 /* a device's texts are shorter */

static bool same(char a, char b, bool fold)
{
    if (fold && a >= 'A' && a <= 'Z') a += 'a' - 'A';
    if (fold && b >= 'A' && b <= 'Z') b += 'a' - 'A';
    return a == b;
}

/* The definition, row by row: does the pattern up to p fit the text up to t? */
static bool fits_by_definition(const char *pattern, const char *text, bool fold)
{
    bool row[TEXT_MAX + 1] = {true}, next[TEXT_MAX + 1];
    size_t len = strlen(text);
    for (const char *p = pattern; *p; p++) {
        next[0] = *p == '*' && row[0];
        for (size_t t = 1; t <= len; t++)
            next[t] = *p == '*' ? next[t - 1] || row[t]
                                : row[t - 1] && (*p == '?' || same(*p, text[t - 1], fold));
        memcpy(row, next, sizeof row);
    }
    return row[len];
}

static void laws_of_matching(const char *pattern, const char *text)
{
    size_t steps, bound = (strlen(pattern) + 1) * (strlen(text) + 1);
    for (int fold = 0; fold < 2; fold++) {
        LAW(pattern_fits(pattern, text, fold, &steps) == fits_by_definition(pattern, text, fold));
        LAW(steps <= bound);
    }
    LAW(!pattern_fits(pattern, text, false, NULL) || pattern_fits(pattern, text, true, NULL));
}

/* What was taken can be said, and means the same. */
static void laws_of_rules(const struct rule *r)
{
    struct rule again = {.id = r->id}, kept;
    char message[256];
    for (enum rule_field f = 0; f < RULE_FIELD_COUNT; f++) {
        const char *value = rule_value(r, f);
        if (value) LAW(rule_condition(&again, rule_field_name(f), value, message, sizeof message));
    }
    LAW(memcmp(&again, r, sizeof again) == 0);
    json_t *json = rule_json(r);
    LAW(json);
    LAW(rule_of_json(json, &kept) == (r->conditions != 0));
    if (r->conditions) LAW(memcmp(&kept, r, sizeof kept) == 0);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char buf[2048], message[256], *line = buf, *end;
    struct rule r = {.id = 1};
    if (size >= sizeof buf || memchr(data, '\0', size)) return 0;
    memcpy(buf, data, size);
    buf[size] = '\0';
    const char *text = strrchr(buf, '\n') ? strrchr(buf, '\n') + 1 : "";
    for (; (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        char *equals = strchr(line, '=');
        struct rule before = r;
        if (!equals) continue;
        *equals = '\0';
        message[0] = '\0';
        if (!rule_condition(&r, line, equals + 1, message, sizeof message)) {
            LAW(message[0] && message[strlen(message) - 1] == '.');
            /* what was wrong leaves nothing behind that counts */
            LAW(r.conditions == before.conditions);
            r = before;
        }
        if (strlen(text) < TEXT_MAX && strlen(equals + 1) < TEXT_MAX)
            laws_of_matching(equals + 1, text);
    }
    laws_of_rules(&r);
    return 0;
}
