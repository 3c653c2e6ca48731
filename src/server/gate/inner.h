/* What the files of the gate share. */
#ifndef PROVOSTD_GATE_INNER_H
#define PROVOSTD_GATE_INNER_H

#include <jansson.h>

#include "src/server/gate/policies/book.h"
#include "src/server/gate/gate.h"
#include "src/server/gate/lists.h"
#include "src/server/gate/note.h"
#include "src/server/gate/table/resident.h"
#include "src/server/gate/table/table.h"

#define RETRY_AFTER_S 10         /* told when the store is out of reach or a device is busy */
#define STEPS_WAITING_MAX 8      /* Provisions of one device that wait for the one under way */
#define CHANGES_WAITING_MAX 1024 /* of administrators */
#define GATEWAY_BODY_WHOLE ((size_t)64 * 1024) /* a longer one is passed on as it comes */
#define WORKERS_MAX 256
#define WALKS_AT_ONCE 2          /* over the whole fleet */
#define WALKS_WAITING_MAX 2048   /* more than administrators can ask for at a time */
#define HEAD_ARENA 320        /* for the usual request line; a waiting Ping keeps it */
#define HEAD_ARENA_MOST 20480 /* for the longest */

/* Waiters of one worker that are to be woken there. */
struct bell {
    struct task task; /* first, so that the task is the bell */
    pthread_mutex_t mutex;
    struct gate_waiter *head, **tail;
    bool rung; /* the task is under way */
};

struct keeper;    /* keeper.h */
struct residents; /* resident.h */

struct gate {
    const struct config *config;
    struct auth *auth;
    struct store *store;
    struct table *table;
    struct command commands_served[PV_CMD_COUNT];
    void (*options)(struct call *c); /* call_options, or a backend's */
    void (*wiped)(void *ctx, struct call *c, const char *upstream, enum pv_wipe_kind kind,
                  unsigned status); /* NULL: nobody wants to know */
    void *wiped_ctx;
    char commands[512];
    struct spoken *_Atomic spoken; /* those before stay behind it: texts are borrowed */
    pthread_mutex_t admin_mutex;                 /* guards the desk */
    struct desk admin_desk;                      /* changes of policies and users, one at a time */
    _Atomic uint64_t last_revision;              /* of policies, the newest that was given or seen */
    struct lists *lists;
    _Atomic bool unheard;                        /* as it was told in the log */
    struct bell bells[WORKERS_MAX];
    struct keeper *keeper; /* of trails */
    struct claims *claims; /* of upstreams */
    pthread_mutex_t count_mutex;              /* guards what follows: gate_count_stored */
    uint64_t stored_count;
    int64_t counted_at; /* by the monotonic clock; 0: never */
    struct pool *walks;    /* threads that look at the whole fleet */
    atomic_bool ending;    /* walks end early */
    struct residents *residents;
    bool (*bond_stays)(void *ctx, const char *user, const char *upstream); /* NULL: all do */
    void *bond_stays_ctx;
    atomic_bool notify;    /* somebody is told of events */
    atomic_bool regrouping; /* one is under way */
    struct expiry *expiry; /* of what is due by time alone */
    _Atomic uint64_t requests, refusals, handshakes;
};

/* The call is of forward-auth: a proxy only asks whether a request may go on. */
enum forward {
    FORWARD_NOT,
    FORWARD_AGAIN, /* what is refused comes again in full, and is answered and written down then */
    FORWARD_HTTP   /* the proxy relays the answer */
};

/* The protocol versions that are spoken. */
struct spoken {
    enum pv_version least, most;
    char text[64]; /* "2.5,12.0" */
    struct spoken *before;
};

/* A call and what the gate keeps of it. */
struct gate_call {
    struct call call; /* first: what commands see */
    struct auth_check check;
    void (*verified)(struct call *c); /* what goes on once the user is known and may come in */
    struct resident resident;     /* its user, until the call ends */
    struct lists_waiter lists;
    void (*believed)(struct gate_call *gc); /* of call_believe, call_check */
    void (*judged)(struct gate_call *gc);   /* of judge_command */
    bool checked;                 /* the store was asked since it would have been refused */
    struct step *step;            /* its change of the device; freed with the call */
    void (*gone)(struct call *c); /* the command's, while it waits */
    void (*info_done)(struct call *c, bool durable);
    bool answered;
    bool waited; /* for news: gate_wait_add */
    enum forward forward;
    bool passed; /* forward: it may go on */
    bool quiet;              /* its device has filled the log enough */
    bool big_head, big_body; /* the arena was allocated */
    struct pv_arena head;    /* of the request line, while call.arena holds the body */
    _Alignas(16) unsigned char block[HEAD_ARENA];
};

/* Whatever takes long is given up. Any thread. */
static inline bool gate_is_ending(const struct gate *g)
{
    return atomic_load_explicit(&g->ending, memory_order_relaxed);
}

static inline struct gate_call *gate_call_of(struct call *c)
{
    return (struct gate_call *)c;
}

/* Why a device changes, for the audit log. */
struct cause {
    const char *actor;  /* who did it; NULL: the device itself */
    const char *act;    /* "device.block"; NULL: its state follows from something else */
    const char *reason; /* name or sentence; may be NULL */
    const char *event;  /* what the notifier calls it; NULL: it follows from the change */
};

/* ---- gate.c: the steps before the machine ---- */
/* Counted, freed with the exchange; verified goes on after call_authenticate. NULL: there is no
 * memory, which was told. */
struct gate_call *call_begin(struct gate *g, struct http_exchange *x,
                             void (*verified)(struct call *c));
/* Of that target and the exchange's fields, into call->req. */
enum pv_err call_parse(struct gate_call *gc, const char *target, struct pv_request_fault *fault);
void call_parse_refused(struct gate_call *gc, enum pv_err err,
                        const struct pv_request_fault *fault);
void call_authenticate(struct gate_call *gc);

/* ---- forward.c ---- */
/* What the proxy is told where the gate answers r: it sees neither a 2xx nor a body unless the
 * request may go on. */
struct http_reply forward_reply(const struct gate_call *gc, const struct http_reply *r);

/* ---- decode.c ---- */
/* The body into call->body. false: it was answered (400, 413, 101, 102). */
bool call_decode(struct call *c);
/* There is a body, or the command needs none. false: it was answered (400). */
bool call_has_body(struct call *c);

/* ---- judge.c ---- */
/* What a command may do, once the gate has judged its device; refusals are answered there. */
void judge_command(struct gate_call *gc, void (*go)(struct gate_call *gc));
/* The device of the call, made if it is new, held in call->device. Shard locked. false: memory,
 * or full. */
bool judge_device(struct gate_call *gc, struct shard *s, int64_t now, bool *full_out);
void judge_no_device(struct gate_call *gc, bool full);
/* Facts for the machine, with the policy in force. Shard locked. */
struct pv_server_in judge_facts(const struct gate_call *gc, const struct revision *policy,
                                enum pv_event event, int64_t now);
/* Queue a write of the device as it is, or leave that to the step that is under way. before: what
 * the partnership was, NULL if it is the same. Shard locked. */
void device_save_behind(struct gate *g, struct shard *s, struct device *d,
                        const struct pv_partnership *before, int64_t now,
                        const struct cause *cause);

/* ---- access.c ---- */
/* Who has decided whether a device may come in. */
enum access_by {
    ACCESS_BY_DEFAULT,
    ACCESS_BY_RULE,
    ACCESS_BY_PERSONAL,      /* the administrator's word for this device */
    ACCESS_BY_LIMIT_DEVICES, /* devices_per_user */
    ACCESS_BY_LIMIT_VERSION, /* protocol_version_min, protocol_version_max */
    ACCESS_BY_LOOP           /* shut out for a time */
};
struct verdict {
    enum pv_access access;
    enum access_by by;
    uint32_t rule; /* ACCESS_BY_RULE: its id */
};
/* Shut out for looping until then, 0: not now. A block that would last longer than any does is from
 * before the clock was set back, and counts as none. */
int64_t access_loop_until(const struct device *d, int64_t now);
/* By the rules in force; what they say is remembered beside the device. Shard locked. */
struct verdict access_now(const struct gate *g, const struct shard *s, struct device *d);
/* For looking at every device: a fleet has few kinds, so that most need no pattern. Zeroed but for
 * `then`: other rules, which must live as long. */
#define ACCESS_SCAN_PLACES 256
struct access_scan {
    const struct rules *then;
    struct rules *now; /* private: what is remembered is of these, held; NULL: nothing is */
    struct access_memo {
        struct kind *kind; /* a copy; NULL: nothing is remembered */
        uint8_t version;
        uint16_t now, then; /* index of the rule that decides */
    } memo[ACCESS_SCAN_PLACES];
};
/* By the rules in force and by the other ones. Shard locked. */
void access_compare(const struct gate *g, const struct shard *s, struct device *d,
                    struct access_scan *scan, struct verdict *now_out, struct verdict *then_out);
void access_scan_finish(struct access_scan *scan);
/* What access rules look at of a device; texts live as long as its kind. Shard locked. */
struct rule_facts access_facts(const struct device *d);
/* "rule 3", "personal", "default", "limit devices_per_user", "limit version", "loop". */
#define ACCESS_BY_TEXT 32
void access_by_text(const struct verdict *v, char out[ACCESS_BY_TEXT]);
/* Work out device->access anew. Shard locked. */
void device_judge_access(const struct gate *g, const struct shard *s, struct device *d);
/* Status 129 of a device that is kept out because its user has too many becomes 177. Shard
 * locked. */
void access_refine(const struct gate *g, const struct shard *s, struct device *d,
                   struct pv_server_out *out);

/* ---- note.c ---- */
#define NOTE_CHANGES 6
#define NOTE_TEXTS 3
struct note {
    struct store_change changes[NOTE_CHANGES];
    size_t count;
    enum pv_state state;     /* what the device's record says; keep it once it is stored */
    char *texts[NOTE_TEXTS]; /* private */
    size_t text_count;
};
void note_add(struct note *n, const struct store_change *c);
/* Into a zeroed note: the device as it will be, and a line for the audit log (and the notifier)
 * where its state, its outcome or its wipe has changed, or cause names an act. before: NULL if only
 * the state that was noted last is known. The lines that a user's devices cause are bounded: a state
 * that must wait for its line stays unnoted. Shard locked. false: no memory. */
bool note_device(struct note *n, const struct gate *g, const struct device *d,
                 const struct pv_partnership *before, const struct pv_partnership *after,
                 const struct pv_policy_facts *policy, int64_t now, const struct cause *cause);
/* The same for a device that is forgotten; it leaves the table once that is stored. */
bool note_removal(struct note *n, const struct device *d, const struct pv_partnership *p,
                  const struct pv_policy_facts *policy, int64_t now, const struct cause *cause);
void note_end(struct note *n);

/* ---- step.c: a change of a partnership, one at a time for each device, durable before it
 * counts ---- */
#define TRIES_MAX 4 /* of a change that another server was faster with, each time */
enum step_result { STEP_DONE, STEP_STORE /* not durable; nothing has changed */, STEP_BUSY };
struct step {
    struct gate_call *call;
    struct ticket ticket;
    struct store_write write;
    bool fresh;             /* made of what the store says when its turn has come */
    unsigned tries;
    bool machine;           /* step the machine; else only keep info */
    struct pv_server_in in; /* event and what the request says; facts are filled in */
    struct pv_server_out out;
    const struct pv_device_info *info; /* to be merged; NULL: none. Lives in the call's arena */
    char *info_patch;                  /* NULL: nothing new */
    uint32_t info_mark;
    struct pv_partnership before, next; /* next until it is kept */
    enum pv_state noted;                /* until it is kept */
    uint64_t tag;                       /* of the state that is written */
    uint32_t expected;                  /* active key before the step, for the log */
    struct revision *policy;            /* in force when it was stepped; held */
    const char *bad; /* what is wrong with the request, for the log; NULL: nothing */
    void (*done)(struct step *s, enum step_result result); /* on the call's worker */
    void (*go)(struct gate_call *gc);                      /* of judge_command */
    /* Of gate_demand: */
    struct claim *claim; /* that is to bind the device, held; NULL: no change */
    bool impossible;
    struct bond *bond; /* until it is kept; NULL: it is as it was */
    char *claim_json, *bond_json, *bond_name;
    void (*demand_done)(void *ctx, enum gate_demand_result result, unsigned said);
    void *demand_ctx;
};
/* Zeroed but for call; freed with the call. NULL: out of memory. */
struct step *step_make(struct gate_call *gc);
/* The same; out of memory is answered. */
struct step *step_create(struct gate_call *gc);
/* Wait for the turn, step, store, done. The call waits meanwhile if it must. */
void step_start(struct step *s);
void step_free(struct step *s);
/* ---- info.c ---- */
/* What the store merges into the DeviceInformation that it has; freed by the caller, NULL: no
 * memory. mark: tells it from another patch, never 0. */
char *info_patch(const struct pv_device_info *info, uint32_t *mark_out);

/* ---- demand.c ---- */
#define BOND_KIND "bond" /* of the store's items, named USER/DEVICE */
/* The policy that applies to a device: the book's, with what its upstream demands. NULL: no memory.
 * Lives as long as the shard is locked, unless it is held. */
struct revision *policy_of(const struct shard *s, const struct device *d);
/* With another book. */
struct revision *policy_in(const struct book *b, const struct shard *s, const struct device *d);
/* Of a call; d NULL: its device is not known yet. */
struct revision *call_policy(const struct call *c, const struct shard *s, const struct device *d);
/* Parts of a step with a claim; shard locked. What it changes, if anything, is then in s->bond. false:
 * no memory. */
bool demand_take(struct step *s, struct shard *shard);
void demand_note(struct step *s, struct note *n);
void demand_keep(struct step *s, struct shard *shard);
void demand_undo(struct step *s); /* what demand_take has made, if it is not kept */
/* The bond of a device into the store, behind. Shard locked. */
void demand_write(struct gate *g, struct device *d, const struct bond *b);

/* ---- demand_wipe.c ---- */
/* A Provision was stepped: if the device has said what came of an upstream's wipe, that is told. */
void demand_wiped(struct step *s);

/* ---- demand_load.c ---- */
/* A bond as the store has it. */
struct bond_row {
    struct bond_row *next;
    struct bond *bond;
    char device_id[];
};
/* An item of a user, in front of rows if it is a bond that stays (gate_demand_sift). Reads its claim, too:
 * blocks; no shard locked. false: no memory, out of reach, or damaged, which was told. */
bool bond_read(struct gate *g, const struct item_record *r, struct bond_row **rows);
void bond_rows_free(struct bond_row *rows);
/* The bond of the device is that from now on, which is taken over; row NULL: it has none. Shard locked.
 * false: no memory. */
bool bond_merge(struct gate *g, struct shard *s, struct device *d, struct bond_row *row);

/* ---- expiry.c ---- */
struct expiry *expiry_create(struct gate *g); /* NULL: no memory */
void expiry_destroy(struct expiry *x);        /* NULL is accepted */
/* Once the gate ends: until no worker is needed for it any more. Blocks. */
void expiry_wait(struct expiry *x);

/* ---- provision.c ---- */
void provision_serve(struct call *c);
/* Is it told by an HTTP code alone? */
bool provision_by_http(const struct pv_server_in *in, const struct pv_server_out *out);

/* ---- wait.c ---- */
void bells_init(struct gate *g);
void bells_destroy(struct gate *g);
/* Wake those who wait on the device. Shard locked. */
void device_wake(struct gate *g, struct device *d);

/* ---- answer.c ---- */
/* Refused by the machine: told, counted and logged with the keys masked. */
void call_refused(struct gate_call *gc, const struct pv_server_out *out, uint32_t expected);
/* OPTIONS, with the gate's own lists. */
void call_options(struct call *c);

/* ---- heard.c: what memory says, and what the store says ---- */
/* go, once memory may be believed: the store is heard of, the lists are known, the user of the call is
 * there, in call->resident. Or the call is answered with 503. */
void call_believe(struct gate_call *gc, void (*go)(struct gate_call *gc));
/* Refused, as memory has it: might the store say something else? key: the one sent, 0 none. d NULL: the
 * device is not known. Not twice for a call, nor within a second after the same answer for the device and
 * the key. Shard locked. */
bool call_may_doubt(const struct gate_call *gc, const struct device *d);
/* again, once lists and user were compared with the store, or the call is answered with 503. No shard
 * locked. */
void call_check(struct gate_call *gc, void (*again)(struct gate_call *gc));
/* It was refused again, after call_check. Shard locked. */
void call_denied(const struct gate_call *gc, struct device *d);

/* ---- lists.c ---- */
bool lists_create(struct gate *g, char *error, size_t error_cap); /* false: error is set */
void lists_destroy(struct gate *g);
struct lists_guard;
/* What is in memory now, held, and the guard of a change that is made of it; what is not wanted is
 * NULL. No shard locked. */
void lists_made_of(struct gate *g, struct lists_guard *guard, struct book **book_out,
                   struct rules **rules_out);

/* ---- manage.c ---- */
/* Changes of administrators take turns. true: *now_out, or run comes later on this worker. false:
 * too many wait. */
bool admin_turn_take(struct gate *g, struct ticket *t, void (*run)(struct ticket *), bool *now_out);
void admin_turn_end(struct gate *g);

/* ---- gate.c ---- */
/* No policy gets this revision, or an earlier one. */
void gate_revision_given(struct gate *g, uint64_t revision);

/* ---- rules_admin.c ---- */
/* Devices are judged by them from now on, and who waits is woken. No shard locked. */
void rules_put_in_force(struct gate *g, struct rules *next);

/* ---- policy_effect.c: whom a change of the book concerns ---- */
struct effect {
    struct gate *g;
    struct book *was, *is; /* in force, and to be in force; held by the caller */
    const char *user;      /* only this one's devices can be concerned; NULL: all */
    bool list;             /* the first of them are wanted */
    unsigned to_ask, cannot_keep;
    struct asked_device *first; /* by user and id, at most ASKED_DEVICES_MAX; NULL: none */
    size_t first_count;
    int64_t since; /* private: when it came into force; 0: not yet */
    bool failed;   /* private */
};
/* The book is in force from now on, for all at once, and who waits is woken. */
void effect_apply(struct effect *e);
/* Counts, before effect_apply or behind it. Blocks: on a thread that walks. false: the store is out of
 * reach, or no memory. */
bool effect_count(struct effect *e);
void effect_finish(struct effect *e);

/* ---- policy_note.c: what is written down of a change of policies ---- */
/* Own settings that differ, each side with its value, and the parents if they differ. false: no
 * memory. */
bool note_difference(const struct saved *old, const struct saved *new_, json_t **before_out,
                     json_t **after_out);
/* Line of a policy as an item of the store: what is in force when it is not the newest revision;
 * freed by the caller. NULL: no memory. */
char *line_item(const struct line *l);
char *removed_item(uint64_t revision);
char *assignment_item(const struct assignment *a);

/* ---- policy_load.c ---- */
struct policy_loading; /* zeroed by policy_loading_create */
struct policy_loading *policy_loading_create(void);
void policy_loading_free(struct policy_loading *l);
/* false: no memory. Items of other kinds are passed over. */
bool policy_load_item(struct policy_loading *l, const struct item_record *r);
bool policy_load_revision(struct policy_loading *l, const struct policy_record *r);
/* The book of all that was loaded, a draft; the newest revision of all in *last_out. NULL: error
 * is set. */
struct book *policy_load_end(struct policy_loading *l, const struct config_groups *groups,
                             uint64_t *last_out, char *error, size_t error_cap);

/* ---- load.c ---- */
/* Table and policies from the store; the first start makes the policy `default`. */
bool gate_load(struct gate *g, char *error, size_t error_cap);
/* What was only in memory (when devices were last seen) is queued for writing. */
void gate_save_all(struct gate *g);
/* The policies in force, held. */
struct book *gate_book(struct gate *g);

#endif
