/* Inside of src/server/admin: one call, what came with it, the answers. */
#ifndef PROVOSTD_ADMIN_INTERNAL_H
#define PROVOSTD_ADMIN_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/server/admin/admin.h"
#include "src/server/admin/limiter.h"
#include "src/server/admin/route.h"
#include "src/server/admin/tokens.h"
#include "src/server/gate/lists.h"
#include "src/server/gate/order.h"
#include "src/server/http/pool.h"

#define ADMIN_BODY_MAX (64 * 1024)
#define ADMIN_PASSWORD_MAX 256 /* bytes, terminator included; crypt(3) takes 511 */
#define ADMIN_ACTOR_MAX 160
#define ADMIN_PAGE_USUAL 1000 /* rows of one listing, if nothing else is said */
#define ADMIN_PAGE_MOST 10000
#define ADMIN_DEVICES_LOOKS 50000 /* devices that one listing looks at: others wait for theirs */
#define ADMIN_OTHERS_MAX 1000 /* other users of a device that are named */

/* Over HTTPS, calls a second that a token may make for long, and how many at once before that. */
#define ADMIN_CALLS_BURST 200
#define ADMIN_CALLS_EVERY_MS 50
/* Of calls without a valid token, from one address: beyond them 429 is told instead of 401. */
#define ADMIN_FAILURES_BURST 20
#define ADMIN_FAILURES_EVERY_MS 5000

/* Where calls come in. */
struct admin_door {
    struct admin *admin;
    bool wants_token; /* else its permissions protect it, and everything is allowed */
};
struct rules_set;
struct store_jobs;

struct admin {
    struct admin_door doors[2];
    struct tokens *tokens;
    struct lists_part token_list;
    struct limiter *calls, *failures;
    uint8_t secret[32]; /* of the keys in both */
    struct gate *gate;
    struct audit_mover *audit;
    struct pool *pool;
    struct store_jobs *store_jobs;
    int64_t started;
    bool (*add_status)(void *ctx, json_t *status); /* NULL: there is nothing else to show */
    void *add_status_ctx;
};

/* One request on its way; hangs on the exchange and is freed with it. */
struct admin_call {
    struct admin *admin;
    struct http_exchange *http;
    const struct admin_route *route;
    struct admin_target target;
    json_t *body; /* object, as the route's rows have it */
    struct token token; /* that it came with, or all scopes and no name */
    char actor[ADMIN_ACTOR_MAX];

    struct job job;
    enum auth_edit edit;
    char name[ADMIN_NAME_MAX];
    char password[ADMIN_PASSWORD_MAX];
    json_t *list; /* being made */
    json_t *others;
    bool out_of_memory;
    bool unreachable; /* the store, from the pool */
    char *next;       /* value of Link: where the listing goes on; NULL: it does not */
    struct device_order order;
    struct user_set user;
    struct store_write noted; /* of an act that is done already */
    bool created;             /* by it */
    struct policy_change policy;
    struct rules_set *rules;
    struct gate_setting *settings; /* of policy: names borrowed, values owned */
    const char **groups;           /* of policy, borrowed from body */
    struct admin_revisions {       /* read on the pool */
        uint64_t want[2];          /* 0: none */
        json_t *row[2];            /* {revision, at, by, parent, settings}; NULL: not there */
        bool failed;
    } revisions;
    struct admin_audit {
        struct audit_head known;
        struct audit_report report;
        char error[256];
        bool failed;
    } audit;
    struct lists_submit lists;     /* with the next three: a token that is made or removed */
    struct store_change changes[2];
    char *kept, *line;
    struct token made; /* or to be removed */
    char made_text[TOKEN_TEXT_LEN + 1];
};

/* ---- what came with the call; it lives as long as the call. A name that the route's rows do not
 * have is a fault of ours and ends the process. ---- */

/* What stands for {name} in the path. */
const char *admin_arg(const struct admin_call *c, const char *name);
/* A query parameter; NULL: not given. */
const char *admin_query(const struct admin_call *c, const char *name);
/* false: not given, and *out stays. */
bool admin_query_number(const struct admin_call *c, const char *name, uint64_t *out);
bool admin_query_flag(const struct admin_call *c, const char *name, bool *out);
/* A member of the body, borrowed; NULL: not given. May be JSON null where the row has "?". */
json_t *admin_body(const struct admin_call *c, const char *name);
/* NULL: not given, or null. */
const char *admin_body_text(const struct admin_call *c, const char *name);
/* false: not given, or null, and *out stays. */
bool admin_body_number(const struct admin_call *c, const char *name, uint64_t *out);
/* Not given counts as false. */
bool admin_body_flag(const struct admin_call *c, const char *name);

/* Who calls, for the audit: "uid 0 (root)", "token NAME". */
const char *admin_actor(struct admin_call *c);

/* Answers. json is taken over; NULL (no memory to make it) is answered with 503. */
void admin_reply(struct admin_call *c, unsigned http, json_t *json);
/* text: JSON, borrowed. */
void admin_reply_text(struct admin_call *c, unsigned http, const char *text);
/* {"error": sentence, "code": code} */
void admin_error(struct admin_call *c, unsigned http, const char *code, const char *sentence);
void admin_no_memory(struct admin_call *c);

struct admin_refusal {
    unsigned http;
    const char *code, *sentence; /* ours: nothing in them needs escaping in JSON */
    struct http_field field;     /* name NULL: none */
    unsigned retry_after;        /* seconds, 0: not told */
};
/* An answer that needs no memory. */
void admin_refuse(struct http_exchange *x, const struct admin_refusal *r);

/* door.c: who calls, and may they? false: answered. The first comes before anything of the request
 * is looked at, the second when its route is known, the third when its body is there: that may have
 * taken long enough for the token to be removed. */
bool admin_let_in(struct admin_call *c, const struct admin_door *door);
bool admin_may(struct admin_call *c);
bool admin_still_in(struct admin_call *c, const struct admin_door *door);

/* store_status.c: {"kind": ...} and, of one that is shared, whether it is heard of. NULL: no memory. */
json_t *admin_store_json(const struct gate *g);
/* A change that w belongs to was not stored, or nobody knows (503). */
void admin_not_stored(struct admin_call *c, const struct store_write *w);

/* tokens_route.c: from the store, at start. */
bool admin_load_tokens(struct admin *a, char *error, size_t error_cap);

/* When something is to end: "90d", "12h", or a date as policies have it. false: it is neither, or
 * in the past. */
bool admin_until(const char *text, int64_t now, int64_t *at_out);
/* Since when: "30d" ago, or a date. false: it is neither. */
bool admin_since(const char *text, int64_t now, int64_t *at_out);

/* Text that came from a peer at some time: bytes that are no UTF-8 are escaped, so that one odd
 * device does not spoil a whole listing. NULL counts as "". */
json_t *admin_text(const char *text);
/* Time as RFC 3339 in UTC; JSON null for 0. */
json_t *admin_time(int64_t at);

/* Run on the pool, then done on this worker; the call waits. */
void admin_on_pool(struct admin_call *c, void (*run)(struct job *), void (*done)(struct job *));
static inline struct admin_call *admin_call_of_job(struct job *j)
{
    return CONTAINER_OF(j, struct admin_call, job);
}

/* ---- pages of a listing: page.c ---- */
/* As admin_on_pool, for what looks at the whole fleet: a job of its length holds up no other. */
void admin_on_walks(struct admin_call *c, void (*run)(struct job *), void (*done)(struct job *));
/* There is more, behind that: the next page is this call with another parameter `after`. Any thread.
 * false: no memory. */
bool admin_next(struct admin_call *c, const char *after);
/* 200 with a page; json as of admin_reply. */
void admin_reply_page(struct admin_call *c, json_t *json);
void admin_unreachable(struct admin_call *c);
bool admin_is_device_id(const char *id);

/* ---- devices: devices.c, device_show.c ---- */
/* As it is listed. NULL: no memory. */
json_t *admin_device_json(const struct device_view *d);
/* Of gate_show_device, ctx the call: into c->list, with more than a listing has. */
void admin_device_show(void *ctx, const struct device_view *d);
/* On the pool: other users of the device that the path names, into c->others. */
void admin_device_others(struct admin_call *c);

/* ---- policies: settings.c ---- */
/* Of an object into c->policy, which borrows its names. false: answered. */
bool admin_take_settings(struct admin_call *c, const json_t *settings);
void admin_free_settings(struct admin_call *c);
#define ADMIN_POLICY_ARENA (4 * PV_LIST_MAX * (PV_LIST_ITEM_MAX + 32) + 65536) /* enough for one */
/* Settings out of such an object over those that are in policy. What this version does not know is
 * passed over. false: no memory. */
bool admin_overlay_settings(const json_t *settings, struct pv_arena *arena,
                            struct pv_policy *policy);

/* policies.c: the policy of the path as a view. false: answered. */
bool admin_find_policy(struct admin_call *c, const char *name,
                       void (*show)(void *ctx, const struct policy_view *v), void *ctx);
/* Reads c->revisions.want of the policy into row, or all of it into c->list. */
void admin_read_revisions(struct admin_call *c, void (*done)(struct job *));
bool admin_revisions_failed(struct admin_call *c); /* true: answered */
void admin_unknown_policy(struct admin_call *c);
void admin_unknown_revision(struct admin_call *c);

/* policy_change.c: answers for what went wrong. false: nothing did. */
bool admin_policy_failed(struct admin_call *c);
/* {devices_to_ask, cannot_keep, devices of a dry run}, into o. false: no memory. */
bool admin_put_affected(json_t *o, const struct policy_change *p);
/* Starts c->policy, as whoever calls. */
void admin_policy_start(struct admin_call *c, enum policy_act act,
                        void (*done)(struct policy_change *));
/* The same, with dry_run of the body, and answers what came of it. */
void admin_policy_change(struct admin_call *c, enum policy_act act);
static inline struct admin_call *admin_call_of_policy(struct policy_change *p)
{
    return CONTAINER_OF(p, struct admin_call, policy);
}

/* Handlers: one for each route. */
#define ADMIN_HANDLER(name) void name(struct admin_call *c);
ADMIN_HANDLERS(ADMIN_HANDLER)
#undef ADMIN_HANDLER

#endif
