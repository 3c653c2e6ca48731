/* The gate without HTTP, disk or clock: exchanges, a worker, a login and a store that obey. */
#ifndef TEST_GATE_FAKE_H
#define TEST_GATE_FAKE_H

#include "src/server/gate/inner.h"

/* ---- the world around the gate ---- */
enum store_mode { STORE_WRITES, STORE_HOLDS, STORE_FAILS, STORE_REFUSES, STORE_AT_ONCE };
struct world {
    int64_t now;
    enum store_mode store;             /* WRITES: durable when the tasks run */
    size_t held;                       /* writes that STORE_HOLDS keeps back */
    unsigned put_devices, removed_devices, put_policies, audited;
    struct pv_partnership last_put;
    int64_t last_loop_until;
    char last_info[512];               /* DeviceInformation, merged */
    char last_trail[16384];            /* as the store holds it */
    unsigned put_trails;
    char last_audit[1024], last_event[1024];
    struct store_change loaded[1024];  /* what the store holds at the start */
    size_t loaded_count;
    void (*load)(const struct store_visitor *v, void *ctx); /* more of what a start reads; or NULL */
    unsigned users_read, counted;
    unsigned pages_read;
    bool unreadable;                   /* users are */
    void (*while_read)(const char *user); /* between what is read and what comes of it; may be NULL */
    bool absent;                       /* who asks is not in memory before */
    void (*see)(const struct store_change *c); /* each that was taken; may be NULL */
    unsigned logged;                   /* lines of the log */
    struct auth_check *auth_waiting;   /* of the user "slow" */
    struct timer *timer;               /* set last */
    bool follows;                      /* another server leads */
    bool pool_full;                    /* no thread has time */
    struct store *shared;              /* of fake_store.h, for gates that are made; NULL: none of all this */
};
extern struct world world;

/* Run what was posted to the worker; says how many. */
unsigned run_tasks(void);
/* End the oldest write that is held. */
void release(bool durable);
/* It forgets all but world.loaded. */
void store_clear(void);
/* The store holds a revision of `default` at the start. */
void load_default(uint64_t revision, const char *json);

/* ---- exchanges ---- */
struct http_exchange {
    /* The request. Login: user is the value of Authorization; "bad", "later" and "broken" fail. */
    const char *method, *target, *user, *version, *key, *type, *agent;
    const char *peer;                  /* NULL: 192.0.2.1 */
    const char *original_method, *original_target; /* what a proxy says of a request */
    uint8_t body[1024];
    size_t body_len;
    void *data;
    void (*free_data)(void *);
    bool waits, is_gone;
    /* The answer. */
    bool done;
    struct http_reply reply;
    uint8_t answer[32768];
    char fields[8][600];
};

/* ---- the gate of a test ---- */
extern struct gate *gate;
extern struct config config;
extern char error[512];
extern struct call *ping_call;         /* waits */
extern unsigned served;
extern const struct pv_device_info *settings_info; /* what the command Settings keeps */

bool try_gate(void);                   /* false: it could not be made, error says why */
void start_gate(void);
void register_commands(void);          /* of a gate that the test has made itself */
int set_up(void **unused);
int tear_down(void **unused);

/* The user is in memory now, if that can be. */
void be_there(const char *user);
bool user_enabled(const char *user);
bool user_device_wipe(const char *user);

/* ---- requests; defaults: user ann, version 14.1, device DEV1 ---- */
#define QUERY "/Microsoft-Server-ActiveSync?Cmd="
#define DEVICE "&User=u&DeviceId=DEV1&DeviceType=Phone"
extern const uint8_t foldersync[13], ping[14], settings[7];
struct http_exchange *send_body(struct http_exchange *x, const char *cmd, const void *body,
                                size_t len);
/* HTTP code, or the Status when that is 200. */
unsigned outcome(const struct http_exchange *x);
unsigned folder_sync(const char *user, const char *version, const char *key);
/* Asks, or acknowledges key with status; with DeviceInformation if there is a model. */
struct http_exchange *provision(struct http_exchange *x, const char *key, unsigned status,
                                const char *model);
struct told {
    unsigned status, policy_status, info_status;
    bool has_data;
    char key[65];
};
struct told told_by(const struct http_exchange *x);
/* The whole handshake; the final key as text. */
void handshake(const char *user, const char *version, char key[65]);
/* Switch a user on or off, or forget him. */
enum gate_result set_user(const char *user, bool enabled, bool remove);

#endif
