/* Access rules for administrators (admin/). */
#ifndef PROVOSTD_GATE_RULES_ADMIN_H
#define PROVOSTD_GATE_RULES_ADMIN_H

#include "src/server/gate/gate.h"
#include "src/server/gate/rules/rules.h"

/* The access rules in force, held. Any thread. */
struct rules *gate_rules(struct gate *g);

enum rules_change { RULES_ADD, RULES_REMOVE, RULES_DEFAULT };
enum rules_result {
    RULES_DONE,
    RULES_UNCHANGED,
    RULES_UNKNOWN, /* REMOVE: no rule has that number */
    RULES_FULL,    /* ADD: RULES_MAX are there */
    RULES_ASK,     /* devices that are in would be kept out, and nobody has confirmed that */
    RULES_CONFLICT, /* another server has changed lists meanwhile; as of RULES_STORE */
    RULES_STORE    /* out of reach, or no memory; nothing has changed, but that some devices may
                              have got the word that keep_known gives */
};
/* A change of the rules or of the default access. On a worker; done comes on that worker when it is
 * durable and devices are judged by it, their waiting Pings woken. */
struct rules_set {
    enum rules_change change;
    struct rule rule; /* ADD: decision, conditions, note; the rest is filled in. REMOVE: id */
    enum pv_access otherwise; /* DEFAULT */
    bool confirm;             /* also if it keeps out devices that are in */
    bool keep_known;          /* DEFAULT: those devices get the personal word `allow` first */
    bool dry_run;             /* only count; then DONE stands for "it would be" */
    const char *actor;
    enum rules_result result;
    unsigned devices; /* that are in, and that it keeps out (or would) */
    void (*done)(struct rules_set *);
    void *of;                 /* the caller's own */
    struct store_write write; /* private */
    void *priv;               /* private */
};
void gate_set_rules(struct gate *g, struct rules_set *s);
/* The rules are as before, but limits that stand beside them are others. */
void rules_judge_again(struct gate *g);

/* A device that a rule fits. Strings live for the callback. */
struct rule_hit {
    const char *user, *device_id, *device_type;
    enum pv_version version;
    bool in;                  /* it has confirmed a policy, or was let in without */
    enum pv_access now, then; /* without and with the rule */
    const char *now_by, *then_by;
};
/* What the rule would do if it were added now, by user and device id. Blocks; each is called with a
 * shard locked, so it must be quick. false: the store is out of reach, or no memory. */
bool gate_test_rule(struct gate *g, const struct rule *r,
                    void (*each)(void *ctx, const struct rule_hit *h), void *ctx);

#endif
