/* The gate: the one place where a command is let through or refused (design: one gate). Order:
 * parse, authenticate, user enabled, wipe pending, blocked, policy key, quarantined, dispatch.
 * Only what comes out of here acts on a mailbox. */
#ifndef PROVOSTD_GATE_H
#define PROVOSTD_GATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <provost/provision.h>

#include "src/server/auth/auth.h"
#include "src/server/config.h"
#include "src/server/http/http.h"
#include "src/server/http/pool.h"
#include "src/server/store/store.h"

struct gate;
struct device;      /* table.h: an entry of the table of partnerships */
struct call;

/* A command that can be dispatched. On the worker; must answer now or later. */
struct command {
    enum pv_cmd cmd;
    void (*serve)(struct call *c);       /* NULL: not advertised, and 501 */
    void (*quarantined)(struct call *c); /* for a device in quarantine; NULL: 501 */
    bool raw;                            /* serve takes the body as it came: it is passed on */
};

/* One request on its way. Freed when the exchange ends. */
struct call {
    struct http_exchange *http;
    struct gate *gate;
    struct pv_arena arena;               /* request, body; small while nothing is decoded */
    struct pv_request req;
    char user[AUTH_USER_MAX];
    struct device *device;               /* held for the call */
    const struct pv_node *body;          /* decoded; NULL for an empty body (Ping) */
    bool inbox_only;
    void *data;                          /* the command's own; freed with free_data */
    void (*free_data)(void *);
};

struct gate *gate_create(const struct config *c, struct auth *a, struct store *s, char *error,
                         size_t error_cap);
/* After everything is made: the gate's thread runs. false: with error, one sentence. */
bool gate_start(struct gate *g, char *error, size_t error_cap);
void gate_destroy(struct gate *g);
/* What is due by time alone is looked after on this worker from now on, until it ends. */
void gate_begin(struct gate *g, struct worker *w);
/* First of all when the server is to end: from now on nothing is begun for which nobody has asked, and what
 * was is over. Blocks. NULL is accepted. */
void gate_rest(struct gate *g);
/* Before the workers end: what looks at the whole fleet ends early, and begins no more. NULL is
 * accepted. */
void gate_stop(struct gate *g);
/* On a worker: what is due by time alone is looked for now, and once. */
void gate_sweep(struct gate *g);
/* Commands of a backend; what nobody registers is not advertised and gets 501. A row that leaves serve
 * or quarantined open lets stand what another backend has registered there. Call before serving. */
void gate_register(struct gate *g, const struct command *commands, size_t count);
/* Who answers OPTIONS of a verified user, instead of the gate with its own lists. Call before
 * serving. */
void gate_on_options(struct gate *g, void (*options)(struct call *c));
/* How long a request's body may be, by a configuration. */
size_t gate_body_max(const struct config *c);
/* The handler for the EAS listeners. */
struct http_handler gate_handler(struct gate *g);
/* Forward-auth, for a proxy that carries requests itself: one that header fields describe is judged
 * as if it had come here, and answered with 204 or a refusal. From elsewhere than a proxy it is what
 * the gate's own handler makes of it. */
struct http_handler gate_forward_handler(struct gate *g);
/* For what is no command, such as Autodiscover: who asks is verified, and may use the server, as for
 * one. Then verified runs, with c->user and an empty c->req; it answers now or later. Who does not
 * get so far is answered here (401, 403, 503). On x's worker; x has no other data. */
void gate_verify_user(struct gate *g, struct http_exchange *x, void (*verified)(struct call *c));
/* The one that is in force now. */
const struct config *gate_config(const struct gate *g);
/* It has taken the place of before: what the gate makes of it, but for groups, is made anew, and who
 * waits hears of it. false: no memory for all of it. */
bool gate_reconfigure(struct gate *g, const struct config *before);
/* Are the groups in force those of the configuration? */
bool gate_has_groups(struct gate *g);
/* They shall be, in turn with the changes of administrators: who gets another policy by that is asked
 * for it. Begun on that worker, without a word at the end; nothing happens while one is under way. */
void gate_regroup(struct gate *g, struct worker *w);
/* Was the store heard of within its lease? Else nobody is let in, and what waits is not answered but with
 * 503 and Retry-After. Cheap; any thread. */
bool gate_is_heard(struct gate *g);
/* Of the gate's thread. */
const struct heart *gate_heart(const struct gate *g);
struct store *gate_store(const struct gate *g);
struct auth *gate_auth(const struct gate *g);

/* ---- answers (also end the call's part in the log) ---- */
void call_answer(struct call *c, const uint8_t *wbxml, size_t len);
/* With further header fields (FolderSync 0: versions and commands). */
void call_answer_with(struct call *c, const uint8_t *wbxml, size_t len,
                      const struct http_field *fields);
/* The command's root with a Status below 100, any version. */
void call_status(struct call *c, unsigned status);
/* A common Status by version (pv_refuse). */
void call_refuse(struct call *c, unsigned status);
void call_http(struct call *c, unsigned http, unsigned retry_after);
/* Anything else. */
void call_reply(struct call *c, const struct http_reply *r);
/* As http_reply_begin: what follows goes to c->http. */
void call_reply_begin(struct call *c, const struct http_reply *head, uint64_t length);
/* With an HTTP status, header fields and no body. */
void call_http_with(struct call *c, unsigned http, const struct http_field *fields);
/* The connection is closed instead of an answer. */
void call_hang_up(struct call *c);
/* Authorization for a server behind. NULL: there is none, or it may be somebody else's: a certificate has
 * told who asks, and nobody has verified it. */
const char *call_authorization(const struct call *c);
/* 401, with the logins that are taken. */
void call_unauthorized(struct call *c);
/* The device's standing has changed while the call waited: judge it again and answer with the
 * refusal that is due; 503 with Retry-After when there is none. */
void call_judge_again(struct call *c);
/* The answer comes later; gone may be NULL. Afterwards end it with one of the above as ever. */
void call_wait(struct call *c, void (*gone)(struct call *c));
uint64_t call_session(const struct call *c);
/* A line of the log that a device causes at will: may it be written now? Counts it, or those that were
 * left out, which are told of later. Any thread, no shard locked. */
bool call_may_log(const struct call *c);
/* What waits long must be small: the request's body, c->body and what was cut from c->arena go;
 * req and user stay. */
void call_drop_body(struct call *c);
/* Value of MS-ASProtocolVersions and MS-ASProtocolCommands. Live as long as the gate. */
const char *gate_versions(const struct gate *g);
const char *gate_commands(const struct gate *g);
/* When the device of the call was first seen; seconds since 1970. */
int64_t call_first_seen(const struct call *c);

/* ---- devices ---- */
/* Keep DeviceInformation of a device (Provision, Settings): merged, stored; done(c, durable) on
 * the worker, perhaps at once. The call waits meanwhile; without memory it is answered 503. */
void gate_keep_device_info(struct call *c, const struct pv_device_info *info,
                           void (*done)(struct call *c, bool durable));

/* What an upstream demands of a device beside us. On the worker of a call whose device the gate has let
 * in; one at a time for a device. */
struct gate_demand {
    const char *upstream;                /* who: UTF-8 */
    const struct pv_policy *policy;      /* NULL: it has none for the device (any more) */
};
enum gate_demand_result {
    GATE_DEMAND_MET,                     /* the device has confirmed just what both demand, and said so */
    GATE_DEMAND_ASK,                     /* it must: call_judge_again */
    GATE_DEMAND_IMPOSSIBLE,              /* no policy can be both; nothing has changed */
    GATE_DEMAND_FAILED                   /* not durable, no memory, busy; nothing has changed */
};
/* From now on the stricter of each setting applies to the device; durable, then done(ctx, result, Status
 * of its acknowledgement), perhaps at once. The call waits meanwhile, without `gone`. */
void gate_demand(struct call *c, const struct gate_demand *demand,
                 void (*done)(void *ctx, enum gate_demand_result result, unsigned said),
                 void *ctx);
/* Policy key that the upstream has given for the device of the call; 0: none. Kept over a restart,
 * written behind; only for an upstream that has demanded something. */
uint32_t gate_demand_key(const struct call *c, const char *upstream);
void gate_demand_keep_key(struct call *c, const char *upstream, uint32_t key);

/* What upstreams demand is forgotten where stays says no, as users come into memory: that one is not the
 * user's any more. stays is called on any thread until the gate ends. Before serving. */
void gate_demand_sift(struct gate *g,
                      bool (*stays)(void *ctx, const char *user, const char *upstream), void *ctx);

/* The upstream orders a wipe of the device, which gets it as any. */
enum gate_wipe_result {
    GATE_WIPE_ORDERED,                   /* it is under way: call_judge_again */
    GATE_WIPE_ENDED,                     /* it was carried out, which the upstream does not know yet */
    GATE_WIPE_FORBIDDEN,                 /* whole devices of this user are never wiped */
    GATE_WIPE_FAILED                     /* not durable, no memory, busy */
};
/* done perhaps at once; the call waits meanwhile, without `gone`. */
void gate_upstream_wipe(struct call *c, const char *upstream, enum pv_wipe_kind kind,
                        void (*done)(void *ctx, enum gate_wipe_result result), void *ctx);
/* Who is told of it when the device of a call has said what came of a wipe that an upstream has
 * ordered (status 1 done, 2 failed); it is durable then, and the call is answered afterwards. Call
 * before serving. */
void gate_on_wiped(struct gate *g,
                   void (*wiped)(void *ctx, struct call *c, const char *upstream,
                                 enum pv_wipe_kind kind, unsigned status), void *ctx);
/* The upstream knows that it was carried out: another order of it is a new one. Written behind. In a call
 * of that user, or on a thread that may block. */
void gate_upstream_wipe_told(struct gate *g, const char *user, const char *device_id,
                             const char *upstream);

/* A waiting Ping. Its worker gets wake when the device's standing may have changed (policy,
 * wipe, block); then gate_ping_due tells. */
struct gate_waiter {
    struct gate_waiter *next, **at;      /* private: of the device */
    struct gate_waiter *bell_next, **bell_at; /* private: to be woken */
    struct worker *home;                 /* private */
    struct device *device;               /* private */
    void (*wake)(struct gate_waiter *);  /* on home */
};
/* Add first, then ask gate_ping_due: what changes in between wakes. Does call_drop_body. */
void gate_wait_add(struct call *c, struct gate_waiter *w);
/* On home; no wake comes afterwards. */
void gate_wait_remove(struct gate *g, struct gate_waiter *w);
/* Judge the device again as the gate judges a Ping: true when Status 7 is due. */
bool gate_ping_due(struct call *c);
/* Seconds until time alone makes it due, by the policy's refresh interval; UINT32_MAX: never. */
uint32_t gate_ping_due_in(struct call *c);

/* ---- administration (admin/): any thread unless said ---- */
#define GATE_OTHERS_MAX 8
struct device_view {                     /* a copy for listing; strings live for the callback */
    const char *user, *device_id, *device_type, *user_agent, *model, *os, *policy;
    enum pv_version version;
    enum pv_state state;
    enum pv_access access;
    const char *access_by;               /* who has decided so: "rule 3", "personal", "default" */
    enum pv_outcome outcome;
    uint64_t revision;                   /* that the device confirmed, 0 none */
    unsigned said;                       /* Status of its last acknowledgement, 0 none */
    uint64_t outcome_revision;           /* that it acknowledged so */
    enum pv_personal personal;
    enum pv_wipe_kind wipe;              /* of the last wipe that was ordered */
    enum pv_wipe_state wipe_state;
    uint64_t wipe_id;
    int64_t wipe_at, wipe_sent_at, wipe_ended_at, wipe_expires_at;
    const char *wipe_by, *wipe_reason;
    bool user_disabled;
    bool user_device_wipe;               /* whole devices of the user may be wiped */
    bool shut;                           /* after a wipe has ended, until it is allowed */
    const struct pv_policy *settings;    /* of the policy that applies */
    const char *upstream;                /* that has demanded provisioning of it; NULL: none has */
    bool upstream_policy;                /* it has a policy for the device, which is part of settings */
    bool upstream_key;                   /* it has given a key */
    bool upstream_conflict;              /* its policy and ours cannot be one: the device is kept out */
    const char *slowed_by;               /* what it does in vain, again and again; NULL: it is not slowed */
    int64_t loop_until;                  /* shut out for looping until then; 0: it is not */
    /* What it was, and how often it became that again, if it changes its type or User-Agent back and
     * forth. As far as memory goes. */
    const char *clone_type, *clone_agent;
    unsigned clone_returns;
    /* Others with a device of this id, at most GATE_OTHERS_MAX; of listings only. */
    const char *const *other_users;
    size_t other_user_count;
    int64_t first_seen, last_seen, key_at; /* last_seen 0: an administrator has made the entry */
};
/* What looks at the whole fleet, or blocks, runs on few threads that are there for it; done comes on
 * this worker. false: too many wait. */
bool gate_on_walks(struct gate *g, struct job *j);

/* Devices by user and id, page by page. From a thread that may block. */
struct device_listing {
    const char *user;                    /* only this one's; NULL: everybody's */
    const char *after_user, *after_device_id; /* behind this one, there or not; NULL: from the start */
    int64_t not_seen_since;              /* only those last seen before; 0: all */
    uint64_t most, looks;                /* at most so many are shown, and looked at; 0: no end */
    bool others;                         /* other_users are wanted */
    bool (*fits)(void *ctx, const struct device_view *d); /* is it to be shown? A mutex is held: quick.
                                            NULL: all are */
    void (*each)(void *ctx, const struct device_view *d);
    void *ctx;
    /* Set: there is more behind this one. */
    bool more;
    char last_user[AUTH_USER_MAX], last_device_id[PV_DEVICE_ID_MAX + 1];
};
/* false: the store is out of reach, or there is no memory; then some are left out. */
bool gate_list_devices(struct gate *g, struct device_listing *l);
/* All of them. */
bool gate_each_device(struct gate *g, void (*each)(void *ctx, const struct device_view *d),
                      void *ctx);

/* How a device stands, for counting. Strings live for the callback. */
struct device_standing {
    const char *policy;
    uint64_t outcome_revision;
    enum pv_outcome outcome;
    bool refresh_due;
};
/* Of every device, by user. each is called with a mutex held: quick. Blocks; false as above. */
bool gate_each_standing(struct gate *g, void (*each)(void *ctx, const struct device_standing *d),
                        void *ctx);

/* One of them. Blocks. @return 1 shown, 0 there is none, -1 out of memory, or the store is out of reach. */
int gate_show_device(struct gate *g, const char *user, const char *device_id,
                     void (*show)(void *ctx, const struct device_view *d), void *ctx);
/* Whoever has a device of exactly that id, but for one user, by name and at most so many; a device that was
 * made in this moment may be missing. Blocks. false: the store is out of reach. */
bool gate_each_user_of(struct gate *g, const char *device_id, const char *but, unsigned most,
                       void (*each)(void *ctx, const char *user), void *ctx);

/* ---- policies ---- */
struct gate_setting { const char *name, *value; }; /* value "": unset */

#define GATE_SCOPES(X) X(DEFAULT, "default") X(GROUP, "group") X(USER, "user") X(DEVICE, "device")
#define GATE_SCOPE_ENUM(id, text) GATE_SCOPE_##id,
enum gate_scope { GATE_SCOPES(GATE_SCOPE_ENUM) GATE_SCOPE_COUNT };
#undef GATE_SCOPE_ENUM
const char *gate_scope_text(enum gate_scope scope);
/* false: there is no such scope. */
bool gate_scope_parse(const char *text, enum gate_scope *out);
/* Whom a policy is assigned to; what the scope does not need is NULL or "". */
struct gate_assignee {
    enum gate_scope scope;
    const char *group, *user, *device_id;
};

/* How far a candidate revision has come. */
struct roll_view {
    uint64_t revision;                   /* the candidate, as it was saved */
    unsigned percent;
    size_t group_count;
    char *const *groups;
    /* Devices that are to have it and hold a key: they have confirmed its document, will be asked
     * for it, have refused it. Of gate_count_rolls, else 0. */
    unsigned confirmed, to_ask, refused;
};
struct policy_view {
    const char *name, *parent, *by;      /* parent "": none; by: who saved the revision */
    uint64_t revision;                   /* the newest in its line: its own or of an ancestor */
    int64_t at;
    uint64_t own_revision;               /* its own, as it was saved */
    const struct pv_policy *policy;      /* with what it inherits */
    const struct pv_policy *own;
    const struct roll_view *roll;        /* NULL: none */
};
/* A policy as it is in force; false if there is none of that name. view lives for the callback. */
bool gate_show_policy(struct gate *g, const char *name,
                      void (*show)(void *ctx, const struct policy_view *v), void *ctx);
void gate_each_policy(struct gate *g, void (*each)(void *ctx, const struct policy_view *v),
                      void *ctx);
/* The same of one policy, or (NULL) all, with the counts of roll-outs; each is not called for a name that
 * there is not. Blocks. false: the store is out of reach, or no memory. */
bool gate_count_rolls(struct gate *g, const char *name,
                      void (*each)(void *ctx, const struct policy_view *v), void *ctx);
/* In the order of the scopes. The strings live for the callback. */
void gate_each_assignment(struct gate *g,
                          void (*each)(void *ctx, const struct gate_assignee *to,
                                       const char *policy), void *ctx);

/* What applies to a device. Everything lives for the callback. */
struct effective_view {
    const char *policy;
    struct gate_assignee by;             /* what decided */
    uint64_t revision;
    const struct roll_view *roll;        /* of that policy, or of one that it inherits from; counts
                                            are 0. NULL: none */
    const char *roller;                  /* that policy */
    bool in_roll;                        /* it has the candidate */
    const struct pv_policy *settings;
    const char *from[PV_SETTING_COUNT];  /* policy that sets it; NULL: not set */
    const char *upstream;                /* that demands something of the device; NULL: none does */
    bool demanded[PV_SETTING_COUNT];     /* by the upstream: from is NULL */
    bool barred[PV_VERSION_COUNT];       /* a device of that version is not let in */
    size_t candidate_count;              /* every assignment that fits, nearest first */
    const struct effective_candidate { struct gate_assignee by; const char *policy; } *candidates;
};
/* device_id NULL: of a user, for devices that nothing is assigned to. Blocks. false: no memory, or the
 * store is out of reach. */
bool gate_show_effective(struct gate *g, const char *user, const char *device_id,
                         void (*show)(void *ctx, const struct effective_view *v), void *ctx);

enum gate_result {
    GATE_OK, GATE_UNCHANGED, GATE_UNKNOWN /* nothing of that name */, GATE_EXISTS,
    GATE_INVALID, GATE_CONFLICT /* not now: message says why */, GATE_STORE
};

/* What an administrator does to policies. */
#define POLICY_ACTS(X) \
    X(NEW, "policy.new") X(SET, "policy.set") \
    X(REPLACE, "policy.replace")   /* exactly these settings; made if it is missing */ \
    X(RESTORE, "policy.restore")   /* the same with what an old revision had; not made */ \
    X(REMOVE, "policy.remove") X(ASSIGN, "policy.assign") X(UNASSIGN, "policy.unassign") \
    X(ROLL, "policy.roll")         /* who gets the candidate: percent or groups; 100 ends it */ \
    X(ROLL_BACK, "policy.roll-back")
#define POLICY_ACT_ENUM(id, text) POLICY_##id,
enum policy_act { POLICY_ACTS(POLICY_ACT_ENUM) POLICY_ACT_COUNT };
#undef POLICY_ACT_ENUM

/* A device that is asked again. */
struct asked_device {
    char user[AUTH_USER_MAX], device_id[PV_DEVICE_ID_MAX + 1];
    enum pv_version version;
    enum pv_state state;                 /* before the change */
    unsigned said;                       /* Status of its last acknowledgement, 0 none */
    uint64_t said_revision;              /* that it acknowledged so */
};
#define ASKED_DEVICES_MAX 1000
#define GATE_MESSAGE_MAX 384

/* One change. What comes in lives until done, the names of settings and groups as well. */
struct policy_change {
    enum policy_act act;
    const char *actor;
    const char *name;                    /* of the policy; UNASSIGN: only if it is that, NULL any */
    bool dry_run;                        /* only tell what it would do */
    const char *parent;                  /* NEW, SET, REPLACE, RESTORE: "" none, NULL as it is */
    const struct gate_setting *settings; /* the same acts */
    size_t count;
    bool staged;                         /* SET: a candidate that nobody has until ROLL */
    bool set_if_revision;                /* SET, REPLACE: if_revision is given */
    uint64_t if_revision;                /* only if the policy is at that one; 0: there is none */
    uint64_t restored;                   /* RESTORE: the old revision, for the audit log */
    bool set_percent, set_groups;        /* ROLL: what is given, the other stays as it is */
    unsigned percent;
    const char *const *groups;
    size_t group_count;
    struct gate_assignee to;             /* ASSIGN, UNASSIGN */

    enum gate_result result;
    char message[GATE_MESSAGE_MAX];      /* INVALID, CONFLICT: one sentence */
    uint64_t revision;                   /* of the policy, or of its new candidate */
    bool counted;                        /* OK: what follows is known. A dry run is OK only so */
    unsigned affected;                   /* devices that hold a key and will be asked again */
    unsigned cannot_keep;                /* those of them that said 2 or 3 when last asked */
    struct asked_device *devices;        /* dry_run: the first of them by user and device id */
    size_t device_count;
    void (*done)(struct policy_change *);
    struct store_write write;            /* private */
    void *priv;                          /* private */
};
/* On a worker; done comes on that worker, later, when the change is durable and in force (waiting
 * Pings of who is asked again have been woken) and counted, which takes its time with many devices; when
 * it was found out for a dry run; or when it has failed. */
void gate_change_policies(struct gate *g, struct policy_change *c);
/* What the audit log calls it: "policy.set". */
const char *policy_act_text(const struct policy_change *c);
/* Frees what a change has answered with. */
void policy_change_finish(struct policy_change *c);

/* ---- users ---- */
/* A user may use the server, as unknown users may; whole devices of him may be wiped, which is so until
 * it is forbidden. */
struct user_flags { bool enabled, device_wipe; };
/* Blocks. false: the store is out of reach, or no memory. */
bool gate_user_flags(struct gate *g, const char *user, struct user_flags *out);
enum user_act {
    USER_DISABLE, USER_ENABLE, USER_FORBID_WIPE, USER_PERMIT_WIPE,
    USER_REMOVE                          /* forget the user: flags, devices, keys */
};
struct user_set {
    char user[AUTH_USER_MAX];
    enum user_act act;
    const char *actor;                   /* who does it, for the audit log */
    enum gate_result result;
    struct user_flags flags;             /* afterwards, with GATE_OK */
    unsigned wipes_pending;              /* FORBID_WIPE: of whole devices, which go on; REMOVE: of
                                          * any kind, which are forgotten */
    void (*done)(struct user_set *);
    struct store_write write;            /* private */
    void *priv;
};
/* On a worker; done as above. */
void gate_set_user(struct gate *g, struct user_set *s);

/* A line of the audit log for an act that the gate has no part in. object is taken over, members
 * that name what was acted on, and so is after, or NULL. false: not taken, w->done does not come. */
bool gate_audit(struct gate *g, const char *actor, const char *act, json_t *object,
                json_t *after, struct store_write *w);

/* devices: those in memory. */
struct gate_counts { unsigned devices, waiting_pings; uint64_t requests, refusals, handshakes; };
void gate_count(struct gate *g, struct gate_counts *out);
/* Devices that the store has, some seconds ago. Blocks. false: it is out of reach. */
bool gate_count_stored(struct gate *g, uint64_t *out);

#endif
