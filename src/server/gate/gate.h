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
#include "src/server/store/store.h"

struct gate;
struct device;      /* table.h: an entry of the table of partnerships */
struct call;

/* A command that can be dispatched. */
struct command {
    enum pv_cmd cmd;
    void (*serve)(struct call *c);       /* on the worker; must answer now or later */
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
void gate_destroy(struct gate *g);
/* Commands of the own mailbox; what is not registered is not advertised and gets 501. Call
 * before serving. */
void gate_register(struct gate *g, const struct command *commands, size_t count);
/* The handler for the EAS listeners. */
struct http_handler gate_handler(struct gate *g);
const struct config *gate_config(const struct gate *g);
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
/* The answer comes later; gone may be NULL. Afterwards end it with one of the above as ever. */
void call_wait(struct call *c, void (*gone)(struct call *c));
uint64_t call_session(const struct call *c);
/* What waits long must be small: the request's body, c->body and what was cut from c->arena go;
 * req and user stay. */
void call_drop_body(struct call *c);
/* Value of MS-ASProtocolVersions and MS-ASProtocolCommands. Live as long as the gate. */
const char *gate_versions(const struct gate *g);
const char *gate_commands(const struct gate *g);

/* ---- devices ---- */
/* Keep DeviceInformation of a device (Provision, Settings): merged, stored; done(c, durable) on
 * the worker, perhaps at once. The call waits meanwhile; without memory it is answered 503. */
void gate_keep_device_info(struct call *c, const struct pv_device_info *info,
                           void (*done)(struct call *c, bool durable));

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
    enum pv_wipe_state wipe_state;
    uint64_t wipe_id;
    int64_t first_seen, last_seen, key_at;
};
/* Sorted by user and device id. false: some were left out, for want of memory. */
bool gate_each_device(struct gate *g, void (*each)(void *ctx, const struct device_view *d),
                      void *ctx);

struct policy_view {
    const char *name;
    uint64_t revision;
    int64_t at;
    const struct pv_policy *policy;
};
/* The current revision of a policy; false if there is none of that name. view lives for the
 * callback. */
bool gate_show_policy(struct gate *g, const char *name,
                      void (*show)(void *ctx, const struct policy_view *v), void *ctx);
void gate_each_policy(struct gate *g, void (*each)(void *ctx, const struct policy_view *v),
                      void *ctx);

enum gate_result { GATE_OK, GATE_UNCHANGED, GATE_UNKNOWN, GATE_INVALID, GATE_STORE };
struct gate_setting { const char *name, *value; }; /* value "": unset */
/* Set settings of a policy. On a worker; done comes on that worker when it is durable (and
 * devices have been judged anew, Pings woken). affected: devices that will be asked again.
 * message: one sentence for GATE_INVALID. */
struct policy_set {
    const char *name;
    const struct gate_setting *settings;
    size_t count;
    enum gate_result result;
    char message[256];
    uint64_t revision;
    unsigned affected;
    void (*done)(struct policy_set *);
    struct store_write write;            /* private */
    void *priv;                          /* private */
};
void gate_set_policy(struct gate *g, struct policy_set *s);

/* A user may use the server (kept in the store; unknown users are enabled). On a worker; done as
 * above. */
bool gate_user_enabled(struct gate *g, const char *user);
struct user_set {
    char user[AUTH_USER_MAX];
    bool enabled;
    bool remove;                         /* forget the user: flag, devices, keys */
    const char *actor;                   /* who does it, for the audit log */
    enum gate_result result;
    void (*done)(struct user_set *);
    struct store_write write;            /* private */
    void *priv;
};
void gate_set_user(struct gate *g, struct user_set *s);

/* A line of the audit log for an act that the gate has no part in. object is taken over: members
 * that name what was acted on. false: not taken, w->done does not come. */
bool gate_audit(struct gate *g, const char *actor, const char *act, json_t *object,
                struct store_write *w);

struct gate_counts { unsigned devices, waiting_pings; uint64_t requests, refusals, handshakes; };
void gate_count(struct gate *g, struct gate_counts *out);

#endif
