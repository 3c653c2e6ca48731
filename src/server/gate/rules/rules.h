/* Access rules: which devices may come in. Pure functions, apart from counting holders. */
#ifndef PROVOSTD_GATE_RULES_H
#define PROVOSTD_GATE_RULES_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <provost/provision.h>

#define RULE_PATTERN_MAX 128 /* bytes, terminator included */
#define RULE_NOTE_MAX 256
#define RULE_BY_MAX 160
#define RULES_MAX 1000 /* so that an index fits beside a device, and a listing in an answer */

/* What a rule can look at, by the names that administrators use. */
#define RULE_FIELDS(X)                                                                \
    X(TYPE, "DeviceType")                                                             \
    X(MODEL, "Model") X(OS, "OS") X(AGENT, "UserAgent") X(VERSION, "ProtocolVersion") \
        X(DEVICE_ID, "DeviceId")
#define RULE_FIELD_ENUM(id, name) RULE_##id,
enum rule_field { RULE_FIELDS(RULE_FIELD_ENUM) RULE_FIELD_COUNT };
#undef RULE_FIELD_ENUM
/* "DeviceType"; static storage. */
const char *rule_field_name(enum rule_field field);

/* "allow", "block", "quarantine"; static storage. */
const char *access_text(enum pv_access access);
/* false: it is none of the three. */
bool access_parse(const char *text, enum pv_access *out);

struct rule {
    uint32_t id;         /* never given twice; 0: not yet given */
    uint8_t access;      /* enum pv_access: what it decides */
    uint8_t conditions;  /* bit per enum rule_field; all of them must hold */
    uint8_t least, most; /* enum pv_version, with a condition on it */
    int64_t at;
    char pattern[RULE_FIELD_COUNT][RULE_PATTERN_MAX];
    char note[RULE_NOTE_MAX], by[RULE_BY_MAX];
};

/* What is known of a device. */
struct rule_facts {
    const char *text[RULE_FIELD_COUNT]; /* that of RULE_VERSION is not looked at */
    enum pv_version version;
};

/* Is that what the pattern says? '*' stands for any number of characters, '?' for one; ASCII letters
 * of both cases are the same if fold. *steps_out: comparisons made, at most (length of the pattern + 1)
 * times (length of the text + 1); may be NULL. */
bool pattern_fits(const char *pattern, const char *text, bool fold, size_t *steps_out);

/* Add a condition to a zeroed or half-made rule: "DeviceType" and "iPhone*"; "ProtocolVersion" and
 * "14.1", "<=12.1" or ">=16.0". false: message says in one sentence what is wrong. */
bool rule_condition(struct rule *r, const char *name, const char *value, char *message,
                    size_t message_cap);
/* The value of a condition, as rule_condition takes it; NULL: the rule has none on that field. */
const char *rule_value(const struct rule *r, enum rule_field field);
bool rule_fits(const struct rule *r, const struct rule_facts *f);

/* {"id", "action", "conditions", "note", "by", "at"}; NULL: no memory. */
json_t *rule_json(const struct rule *r);
/* The same for people, with the time as RFC 3339. NULL: no memory. */
json_t *rule_told(const struct rule *r);
/* From such an object. false: it is damaged. */
bool rule_of_json(const json_t *json, struct rule *out);

/* The rules in force, in the order of decision: block, quarantine, allow, each by number.
 * Immutable: a change makes a new object, which takes the place of the old. */
struct rules {
    atomic_uint holders;
    uint8_t otherwise; /* enum pv_access: where no rule fits */
    uint32_t last_id;  /* given to a rule, perhaps one that is gone */
    bool by_id;        /* a rule looks at the DeviceId */
    size_t count;
    struct rule at[];
};
/* Like old (NULL: none, and everybody is let in), ... NULL: no memory. */
struct rules *rules_with(const struct rules *old,
                         const struct rule *r); /* takes the place of its id */
struct rules *rules_without(const struct rules *old, uint32_t id);
struct rules *rules_otherwise(const struct rules *old, enum pv_access otherwise, uint32_t last_id);
struct rules *rules_hold(struct rules *r);
void rules_release(struct rules *r);                               /* NULL is accepted */
const struct rule *rules_find(const struct rules *r, uint32_t id); /* NULL: none */
/* Index of the rule that decides; count where the default does. */
size_t rules_decide(const struct rules *r, const struct rule_facts *f);

#endif
