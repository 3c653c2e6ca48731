#include "src/server/gate/rules/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/lib/base/text.h"

const char *rule_field_name(enum rule_field field)
{
    static const char *const names[] = {
#define FIELD_NAME(id, name) [RULE_##id] = name,
        RULE_FIELDS(FIELD_NAME)
#undef FIELD_NAME
    };
    return names[field];
}

static const char *const access_texts[] = {
    [PV_ACCESS_OK] = "allow",
    [PV_ACCESS_QUARANTINED] = "quarantine",
    [PV_ACCESS_BLOCKED] = "block",
};

const char *access_text(enum pv_access access)
{
    return access_texts[access];
}

bool access_parse(const char *text, enum pv_access *out)
{
    for (size_t i = 0; i < sizeof access_texts / sizeof *access_texts; i++)
        if (strcmp(text, access_texts[i]) == 0) {
            *out = (enum pv_access)i;
            return true;
        }
    return false;
}

/* ---- patterns ---- */
static bool same(char a, char b, bool fold)
{
    return fold ? pv__lower((unsigned char)a) == pv__lower((unsigned char)b) : a == b;
}

/* Only the last '*' is ever tried again: what stands between two of them fits best where it fits
 * first. So the text is gone through at most once for each of its characters. */
bool pattern_fits(const char *pattern, const char *text, bool fold, size_t *steps_out)
{
    const char *p = pattern, *t = text, *star = NULL, *from = NULL;
    size_t steps = 0;
    bool fits = true;
    while (*t && fits) {
        steps++;
        if (*p == '*') {
            star = ++p;
            from = t;
        } else if (*p && (*p == '?' || same(*p, *t, fold))) {
            p++;
            t++;
        } else if (star) {
            p = star;
            t = ++from;
        } else {
            fits = false;
        }
    }
    while (fits && *p == '*') p++;
    if (steps_out) *steps_out = steps;
    return fits && *p == '\0';
}

/* ---- conditions ---- */
static bool find_field(const char *name, enum rule_field *out)
{
    for (enum rule_field f = 0; f < RULE_FIELD_COUNT; f++)
        if (strcasecmp(name, rule_field_name(f)) == 0) {
            *out = f;
            return true;
        }
    return false;
}

/* What a device says is kept as printable ASCII, the rest as \xNN: see kinds.c. */
static bool is_printable(const char *text)
{
    for (; *text; text++)
        if (*text < ' ' || *text > '~') return false;
    return true;
}

static bool take_version(struct rule *r, const char *value)
{
    bool most = strncmp(value, "<=", 2) == 0, least = strncmp(value, ">=", 2) == 0;
    const char *text = value + (most || least ? 2 : 0);
    enum pv_version version;
    if (*text == ' ' || !pv_version_parse(text, strlen(text), &version)) return false;
    r->least = most ? 0 : (uint8_t)version;
    r->most = least ? PV_VERSION_COUNT - 1 : (uint8_t)version;
    return strcmp(text, pv_version_text(version)) == 0; /* without blanks */
}

bool rule_condition(struct rule *r, const char *name, const char *value, char *message,
                    size_t message_cap)
{
    enum rule_field f;
    const char *why = NULL;
    char shown[64];
    pv__escape(name, strnlen(name, sizeof shown), shown, sizeof shown);
    if (!find_field(name, &f)) {
        snprintf(message, message_cap,
                 "%s is no condition; there are DeviceType, Model, OS, UserAgent, ProtocolVersion "
                 "and DeviceId.",
                 shown);
        return false;
    }
    if (r->conditions >> f & 1)
        why = "stands there twice";
    else if (strlen(value) >= RULE_PATTERN_MAX)
        why = "is longer than 127 characters";
    else if (!is_printable(value))
        why =
            "has characters that are no printable ASCII; devices are compared with \\xNN for them";
    else if (f == RULE_VERSION && !take_version(r, value))
        why = "is no version: 2.5, 12.0, 12.1, 14.0, 14.1, 16.0 or 16.1, with <= or >= before it";
    if (why) {
        snprintf(message, message_cap, "%s %s.", rule_field_name(f), why);
        return false;
    }
    r->conditions |= (uint8_t)(1u << f);
    memcpy(r->pattern[f], value, strlen(value) + 1);
    return true;
}

const char *rule_value(const struct rule *r, enum rule_field field)
{
    return r->conditions >> field & 1 ? r->pattern[field] : NULL;
}

static bool holds(const struct rule *r, enum rule_field f, const struct rule_facts *facts)
{
    if (f == RULE_VERSION) return facts->version >= r->least && facts->version <= r->most;
    return pattern_fits(r->pattern[f], facts->text[f], f != RULE_DEVICE_ID, NULL);
}

bool rule_fits(const struct rule *r, const struct rule_facts *facts)
{
    for (enum rule_field f = 0; f < RULE_FIELD_COUNT; f++)
        if (r->conditions >> f & 1 && !holds(r, f, facts)) return false;
    return true;
}

/* ---- all of them ---- */
/* Exchange's order: block, quarantine, allow. */
static bool before(const struct rule *a, const struct rule *b)
{
    static const uint8_t turn[] = {
        [PV_ACCESS_BLOCKED] = 0, [PV_ACCESS_QUARANTINED] = 1, [PV_ACCESS_OK] = 2};
    if (a->access != b->access) return turn[a->access] < turn[b->access];
    return a->id < b->id;
}

/* Room for one more than old has; without any rule yet. */
static struct rules *make(const struct rules *old)
{
    size_t most = old ? old->count + 1 : 1;
    struct rules *r = malloc(sizeof *r + most * sizeof(struct rule));
    if (!r) return NULL;
    atomic_init(&r->holders, 1);
    r->otherwise = old ? old->otherwise : PV_ACCESS_OK;
    r->last_id = old ? old->last_id : 0;
    r->by_id = false;
    r->count = 0;
    return r;
}

static void put(struct rules *r, const struct rule *rule)
{
    r->at[r->count++] = *rule;
    r->by_id |= rule->conditions >> RULE_DEVICE_ID & 1;
}

struct rules *rules_with(const struct rules *old, const struct rule *rule)
{
    struct rules *r = make(old);
    bool placed = false;
    if (!r) return NULL;
    for (size_t i = 0; old && i < old->count; i++) {
        if (old->at[i].id == rule->id) continue;
        if (!placed && before(rule, &old->at[i])) {
            put(r, rule);
            placed = true;
        }
        put(r, &old->at[i]);
    }
    if (!placed) put(r, rule);
    if (rule->id > r->last_id) r->last_id = rule->id;
    return r;
}

struct rules *rules_without(const struct rules *old, uint32_t id)
{
    struct rules *r = make(old);
    for (size_t i = 0; r && i < old->count; i++)
        if (old->at[i].id != id) put(r, &old->at[i]);
    return r;
}

struct rules *rules_otherwise(const struct rules *old, enum pv_access otherwise, uint32_t last_id)
{
    struct rules *r = make(old);
    if (!r) return NULL;
    for (size_t i = 0; old && i < old->count; i++) put(r, &old->at[i]);
    r->otherwise = (uint8_t)otherwise;
    if (last_id > r->last_id) r->last_id = last_id;
    return r;
}

struct rules *rules_hold(struct rules *r)
{
    atomic_fetch_add_explicit(&r->holders, 1, memory_order_relaxed);
    return r;
}

void rules_release(struct rules *r)
{
    if (r && atomic_fetch_sub_explicit(&r->holders, 1, memory_order_acq_rel) == 1) free(r);
}

const struct rule *rules_find(const struct rules *r, uint32_t id)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->at[i].id == id) return &r->at[i];
    return NULL;
}

size_t rules_decide(const struct rules *r, const struct rule_facts *f)
{
    size_t i = 0;
    while (i < r->count && !rule_fits(&r->at[i], f)) i++;
    return i;
}
