/* What the files of the policy model share. */
#ifndef PV_POLICY_SETTINGS_H
#define PV_POLICY_SETTINGS_H

#include <provost/policy.h>

struct pv__out;

/* Made from data/policy.tsv. */
extern const struct pv_setting_info pv__settings[PV_SETTING_COUNT];

static inline bool pv__is_set(const struct pv_policy *policy, enum pv_setting setting)
{
    return policy->set >> setting & 1;
}

/* The list that a setting of kind LIST holds. */
static inline const struct pv_list *pv__list(const struct pv_policy *policy, enum pv_setting s)
{
    return s == PV_SET_ApprovedApplicationList ? &policy->approved : &policy->unapproved;
}
static inline void pv__list_put(struct pv_policy *policy, enum pv_setting s, struct pv_list list)
{
    *(s == PV_SET_ApprovedApplicationList ? &policy->approved : &policy->unapproved) = list;
}

/* Text as number of that setting: PV_OK, E_MALFORMED (no number), E_RANGE. Not for lists. */
PV_MUST_CHECK enum pv_err
pv__setting_parse(const struct pv_setting_info *info, const char *text, size_t len, int64_t *out);
/* A set number as what it means: itself, or PV_NO_LIMIT. */
int64_t pv__setting_meaning(const struct pv_setting_info *info, int64_t value);
void pv__trim(const char **text, size_t *len);
/* A date as seconds since 1970: PV_OK, E_MALFORMED (no such date), E_RANGE (before 1970). */
PV_MUST_CHECK enum pv_err pv__date_parse(const char *text, size_t len, int64_t *out);
/* The shortest text of it; seconds is from 0 to the end of the year 9999. */
void pv__date_text(struct pv__out *o, int64_t seconds);

/* Collects the entries of one list; the limits of the model hold. */
struct pv__list_maker { struct pv_arena *arena; const char **items; size_t count, cap; };
PV_MUST_CHECK enum pv_err pv__list_begin(struct pv__list_maker *m, struct pv_arena *arena,
                                         size_t entries);
/* PV_OK, E_MALFORMED (empty, control characters, no UTF-8), E_TOOBIG, E_NOMEM. */
PV_MUST_CHECK enum pv_err pv__list_add(struct pv__list_maker *m, const char *text, size_t len);
/* Sorted and each entry once, so that lists of one meaning look the same on the wire. */
struct pv_list pv__list_end(struct pv__list_maker *m);

/* What a device of that version is told: the effective value, or what unset means where the
 * version cannot say it. Not for lists. */
int64_t pv__policy_seen(const struct pv_policy *policy, enum pv_setting s, enum pv_version v);
/* Does it ask more of the device than an unset setting does? */
bool pv__policy_demands(const struct pv_policy *policy, enum pv_setting s);

/* 2.5 counts whole minutes. Both never leave the range in which the time is a limit. */
int64_t pv__wap_minutes(int64_t seconds);
int64_t pv__wap_seconds(int64_t minutes);

/* A policy being read from the wire. */
struct pv__reading {
    struct pv_policy *policy;
    struct pv_arena *arena;
    struct pv_policy_oddity *oddities;
    size_t cap, count;
};
/* Tell "what: "value" why". value may be NULL. */
void pv__odd(struct pv__reading *r, const char *what, const char *value, size_t len,
             const char *why);
/* Set a number, or tell why not. */
void pv__read_number(struct pv__reading *r, enum pv_setting s, const char *text, size_t len);
PV_MUST_CHECK enum pv_err pv__wap_read(struct pv__reading *r, const char *text, size_t len);

#endif
