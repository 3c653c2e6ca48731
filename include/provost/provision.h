/** @file provision.h  Provisioning (MS-ASPROV): the messages and both machines.
 *
 *  Both machines are tables [state][event] -> {next, action, needs}; an empty cell refuses. Facts
 *  come in as arguments (time and random words too), out comes a decision. Nothing here does I/O
 *  or keeps hidden state. */
#ifndef PROVOST_PROVISION_H
#define PROVOST_PROVISION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <provost/arena.h>
#include <provost/eas.h>
#include <provost/error.h>
#include <provost/policy.h>
#include <provost/wbxml.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- messages ---------------------------------------------------------------------------- */

enum pv_wipe_kind { PV_WIPE_NONE, PV_WIPE_ACCOUNT, PV_WIPE_DEVICE };

/** DeviceInformation: a NULL text was not sent, "" deletes. Terminated, in the arena. Fields are
 *  the rows of PV_DEVICE_FIELDS. */
#define PV_DEVICE_FIELDS(X) X(Model, model) X(IMEI, imei) X(FriendlyName, friendly_name) X(OS, os) \
    X(OSLanguage, os_language) X(PhoneNumber, phone_number) X(UserAgent, user_agent) \
    X(EnableOutboundSMS, enable_outbound_sms) X(MobileOperator, mobile_operator)
struct pv_device_info {
#define PV_DEVICE_FIELD(Name, name) const char *name;
    PV_DEVICE_FIELDS(PV_DEVICE_FIELD)
#undef PV_DEVICE_FIELD
};
/** Read DeviceInformation (its Set). Unknown children are skipped.
 *  @return PV_OK, E_MALFORMED (no Set, children in a leaf), E_TOOBIG (more than 1024 characters),
 *    E_NOMEM. */
PV_API PV_MUST_CHECK enum pv_err
pv_device_info_read(const struct pv_node *device_information, struct pv_arena *arena,
                    struct pv_device_info *out);
/** Write DeviceInformation{Set{...}} with the fields that are not NULL and that the
 *  version knows. */
PV_API void pv_device_info_write(const struct pv_device_info *info, enum pv_version version,
                                 struct pv_wbxml_writer *w);

/** What a Provision request is. */
enum pv_ask_kind {
    PV_ASK_POLL,     /**< empty, or DeviceInformation only */
    PV_ASK_POLICY,   /**< initial request */
    PV_ASK_ACK,      /**< acknowledgement */
    PV_ASK_WIPE_ACK,
    PV_ASK_BAD       /**< Status 2 */
};
struct pv_ask {
    enum pv_ask_kind kind;
    const char *policy_type;        /**< as sent, "" if absent; in the arena */
    bool type_fits;                 /**< it is the type of the version */
    struct pv_sent_key key;         /**< ACK: from the body */
    unsigned status;                /**< ACK 1..4, WIPE_ACK 1..2 */
    enum pv_wipe_kind wipe;         /**< WIPE_ACK: which */
    bool has_device_info;
    struct pv_device_info device_info;
    const char *why;                /**< BAD: one sentence */
};
/** Classify a decoded Provision request. Any order of children is accepted, extra Status beside a
 *  wipe acknowledgement too.
 *  @return PV_OK (also for PV_ASK_BAD), E_NOMEM. */
PV_API PV_MUST_CHECK enum pv_err
pv_ask_read(const struct pv_node *root, enum pv_version version, struct pv_arena *arena,
            struct pv_ask *out);

/** A Provision answer, for writing and for reading. 0 / NULL / "" = not there. */
struct pv_provision_answer {
    unsigned device_info_status;
    unsigned status;              /**< 0: missing (tolerated when reading) */
    bool has_policy;
    const char *policy_type;
    unsigned policy_status;
    char key[65];                 /**< PolicyKey as text, "" if absent */
    const struct pv_policy *policy; /**< writing: content of Data; NULL for none */
    const struct pv_node *data;   /**< reading: Data */
    enum pv_wipe_kind wipe;       /**< directive */
};
/** Write in schema order: DeviceInformation, Status, Policies{Policy{PolicyType, Status,
 *  PolicyKey, Data}}, directive. */
PV_API PV_MUST_CHECK enum pv_err
pv_provision_answer_write(const struct pv_provision_answer *answer, enum pv_version version,
                          uint8_t *buf, size_t cap, size_t *len_out);
/** Read leniently: any order, missing top Status, known local names on a wrong page.
 *  @return PV_OK, E_MALFORMED (root is not Provision, key of more than 64 characters), E_NOMEM. */
PV_API PV_MUST_CHECK enum pv_err
pv_provision_answer_read(const struct pv_node *root, struct pv_arena *arena,
                         struct pv_provision_answer *out);

/* ---- the server's machine ---------------------------------------------------------------- */

#define PV_STATES(X) \
    X(NEW, "new") X(OFFERED, "offered") X(PROVISIONED, "provisioned") \
    X(REFRESH_DUE, "refresh-due") X(REFUSED, "refused") X(QUARANTINED, "quarantined") \
    X(BLOCKED, "blocked") X(WIPE_PENDING, "wipe-pending") X(WIPED, "wiped")
#define PV_STATE_ENUM(id, text) PV_STATE_##id,
enum pv_state { PV_STATES(PV_STATE_ENUM) PV_STATE_COUNT };
#undef PV_STATE_ENUM
/** "refresh-due"; static storage. */
PV_API const char *pv_state_text(enum pv_state state);

#define PV_EVENTS(X) \
    X(COMMAND, "command") X(PING, "ping") X(POLL, "poll") X(ASK, "ask") X(ACK, "ack") \
    X(WIPE_ACK, "wipe-ack") X(BAD, "bad")
#define PV_EVENT_ENUM(id, text) PV_EV_##id,
enum pv_event { PV_EVENTS(PV_EVENT_ENUM) PV_EVENT_COUNT };
#undef PV_EVENT_ENUM

#define PV_OFFER_MAX 4
#define PV_OFFER_LIFE 86400 /* seconds: a person must first think of a PIN */

/** A temporary key with the revision that it was handed out with. */
struct pv_offer {
    uint32_t key; /**< 0: free slot */
    int64_t at;   /**< seconds since 1970 */
    uint64_t revision;
    uint8_t hash[PV_HASH_LEN]; /**< of the document as that device's version saw it */
};

/** What the access rules and the administrator's own word amount to. */
enum pv_access { PV_ACCESS_OK, PV_ACCESS_QUARANTINED, PV_ACCESS_BLOCKED };
/** The administrator's own word for one device: it outranks every rule. */
#define PV_PERSONALS(X) \
    X(NONE, "none") X(ALLOW, "allow") X(BLOCK, "block") X(QUARANTINE, "quarantine")
#define PV_PERSONAL_ENUM(id, text) PV_PERSONAL_##id,
enum pv_personal { PV_PERSONALS(PV_PERSONAL_ENUM) PV_PERSONAL_COUNT };
#undef PV_PERSONAL_ENUM
/** "quarantine"; static storage. */
PV_API const char *pv_personal_text(enum pv_personal personal);

/** What became of the wipe that was ordered last. It is pending while REQUESTED, SENT or FAILED. */
#define PV_WIPE_STATES(X) \
    X(NONE, "none") X(REQUESTED, "requested") X(SENT, "sent") X(ACKNOWLEDGED, "acknowledged") \
    X(FAILED, "failed") X(EXPIRED, "expired") X(CANCELLED, "cancelled")
#define PV_WIPE_STATE_ENUM(id, text) PV_WIPE_STATE_##id,
enum pv_wipe_state { PV_WIPE_STATES(PV_WIPE_STATE_ENUM) PV_WIPE_STATE_COUNT };
#undef PV_WIPE_STATE_ENUM
/** "acknowledged"; static storage. */
PV_API const char *pv_wipe_state_text(enum pv_wipe_state state);
/** What keeps a device out after its wipe, until an administrator allows it. */
enum pv_shut { PV_SHUT_NOT, PV_SHUT_WIPED, PV_SHUT_EXPIRED };

/** How a device stands to the last policy that it answered. */
#define PV_OUTCOMES(X) \
    X(NONE, "none") X(COMPLIANT, "compliant") X(PARTIAL, "partial") \
    X(NOT_APPLIED, "not-applied") X(EXTERNAL, "external") \
    X(REFUSED, "refused") /* its acknowledgement was not accepted; `said` has its Status */ \
    X(NON_PROVISIONABLE, "non-provisionable")
#define PV_OUTCOME_ENUM(id, text) PV_OUTCOME_##id,
enum pv_outcome { PV_OUTCOMES(PV_OUTCOME_ENUM) PV_OUTCOME_COUNT };
#undef PV_OUTCOME_ENUM
/** "not-applied"; static storage. */
PV_API const char *pv_outcome_text(enum pv_outcome outcome);

/** Everything of provisioning that is kept of a device. No pointers: copy it, store it.
 *  Zeroed = NEW. */
struct pv_partnership {
    uint32_t key;                 /**< active final key, 0: none */
    int64_t key_at;               /**< when it was confirmed */
    uint64_t key_revision;        /**< of its offer */
    uint8_t key_hash[PV_HASH_LEN];
    struct pv_offer offers[PV_OFFER_MAX]; /**< oldest first, no gaps */
    /* The last acknowledged offer, while its answer may have got lost: until the key was used. */
    uint32_t acked_offer;         /**< 0: none */
    uint8_t acked_status;
    uint8_t outcome;              /**< enum pv_outcome of the last acknowledgement */
    uint8_t said;                 /**< its Status, 1 to 4; 0: none ever came */
    uint64_t outcome_revision;    /**< of the offer that it answered */
    bool provisioned_once;        /**< ever held a final key */
    bool asked; /**< ever sent a Provision: AllowNonProvisionable no longer applies */
    uint8_t personal;             /**< enum pv_personal */
    /** enum pv_access: a fact, worked out by the caller before each call, not stored */
    uint8_t access;
    uint8_t wipe;                 /**< enum pv_wipe_kind of the last wipe ordered */
    uint8_t wipe_state;           /**< enum pv_wipe_state: its history too, once it has ended */
    /** enum pv_shut. Apart from wipe_state, so that neither a later wipe nor its cancelling lets a
     *  device in: only PV_ORDER_ALLOW resets it. */
    uint8_t shut;
    uint64_t wipe_id;             /**< of the request; 0: never */
    int64_t wipe_at, wipe_sent_at, wipe_ended_at; /**< 0: not yet */
    int64_t wipe_expires_at;      /**< 0: never */
};

/** What the machine must know of the policy in force for that device, at that version. */
struct pv_policy_facts {
    uint64_t revision;
    uint8_t hash[PV_HASH_LEN];
    bool allow_non_provisionable, allow_partial, allow_external;
    int64_t non_provisionable_until; /**< from then on the first of them is off; 0: no end */
    int64_t refresh_interval;     /**< seconds, 0 never */
    bool uncarried;               /**< the version cannot carry what the policy demands */
};

#define PV_RANDOM_WORDS 8
struct pv_server_in {
    enum pv_event event;
    enum pv_version version;
    int64_t now;                          /**< seconds since 1970 */
    struct pv_sent_key key;               /**< COMMAND: header or query field; ACK: from the body */
    unsigned status;                      /**< ACK, WIPE_ACK */
    enum pv_wipe_kind wipe;               /**< WIPE_ACK */
    bool type_fits;                       /**< ASK, ACK */
    bool has_device_info;                 /**< ASK */
    bool require_device_info;             /**< configuration: 165 */
    uint32_t random[PV_RANDOM_WORDS];     /**< ASK, ACK: fresh words */
    struct pv_policy_facts policy;
};

#define PV_ACTIONS(X) \
    X(REFUSE, "refuse")       /* command: answer with out.status by version (pv_refuse) */ \
    X(ALLOW, "allow")         /* command goes on */ \
    X(INBOX_ONLY, "inbox-only") /* command goes on, restricted */ \
    X(PING_7, "ping-7")       /* Ping: answer Status 7 */ \
    X(OFFER, "offer")     /* Status 1, Policy Status 1, out.key, Data of the policy in force */ \
    X(CONFIRM, "confirm")     /* Status 1, Policy Status 1, out.key */ \
    X(POLICY_STATUS, "policy-status")       /* Status 1, Policy Status out.status (3, 5) */ \
    X(PROVISION_STATUS, "provision-status") /* Status out.status (2, 139, 145, 165, 129) */ \
    X(PLAIN, "plain")         /* Status 1 alone */ \
    X(DIRECTIVE, "directive") /* out.status (2 after a failure) with the directive out.wipe */ \
    X(DONE, "done")             /* order: carried out */ \
    X(UNCHANGED, "unchanged")   /* order: it was so already */ \
    X(IMPOSSIBLE, "impossible") /* order: not in this state, out.reason says why */
#define PV_ACTION_ENUM(id, text) PV_ACT_##id,
enum pv_action { PV_ACTIONS(PV_ACTION_ENUM) PV_ACTION_COUNT };
#undef PV_ACTION_ENUM

/** Why, for the log, `device why` and tests. */
#define PV_REASONS(X) \
    X(OK, "in order") \
    X(NO_KEY, "the device sent no policy key") \
    X(KEY_ZERO, "the device has no policy key yet") \
    X(OFFER_KEY, "the device used the temporary key, which opens nothing but its acknowledgement") \
    X(WRONG_KEY, "the device sent a policy key that is not its own") \
    X(POLICY_CHANGED, "the policy has changed since the device confirmed it") \
    X(REFRESH_INTERVAL, "the refresh interval of the policy is over") \
    X(NOT_PROVISIONED, "the device has not confirmed a policy") \
    X(NON_PROVISIONABLE, \
      "let in without a key: the policy allows devices that cannot be provisioned") \
    X(UNCARRIED, "the protocol version of the device cannot carry what the policy demands") \
    X(PARTIAL_REFUSED, \
      "the device keeps the policy only in part and the policy does not allow that") \
    X(NOT_APPLIED_REFUSED, "the device does not keep the policy at all") \
    X(EXTERNAL_REFUSED, \
      "the device is managed by a third party and the policy does not allow that") \
    X(UNKNOWN_OFFER, "the acknowledged key belongs to no open offer") \
    X(OFFER_EXPIRED, "the acknowledged offer is too old") \
    X(REPEATED_ACK, "the acknowledgement was repeated, its answer may have got lost") \
    X(UNKNOWN_TYPE, "the policy type does not fit the protocol version") \
    X(NO_DEVICE_INFO, "the device did not send its DeviceInformation") \
    X(BAD_REQUEST, "the Provision request is malformed") \
    X(BLOCKED, "the device is blocked") \
    /* of the caller, who counts: the machine never says it */ \
    X(LOOP, "the device loops: it is slowed down, or shut out for a time") \
    X(QUARANTINED, "the device is in quarantine") \
    X(WIPE, "a remote wipe is pending") \
    X(WIPED, "the device was wiped and has not been allowed again") \
    X(WIPE_EXPIRED, \
      "the device did not confirm its wipe in time and has not been allowed again") \
    X(NO_WIPE, "no remote wipe is pending")
#define PV_REASON_ENUM(id, text) PV_WHY_##id,
enum pv_reason { PV_REASONS(PV_REASON_ENUM) PV_REASON_COUNT };
#undef PV_REASON_ENUM
/** "POLICY_CHANGED"; static storage. */
PV_API const char *pv_reason_name(enum pv_reason reason);
/** One sentence for a person; static storage. */
PV_API const char *pv_reason_text(enum pv_reason reason);

/** How a change must reach the disk. */
enum pv_store { PV_STORE_NOTHING, PV_STORE_BEHIND /**< in memory now, written when convenient */,
                PV_STORE_FIRST /**< durable before the answer */ };
struct pv_server_out {
    enum pv_action action;
    enum pv_reason reason;
    unsigned status;
    uint32_t key;            /**< OFFER, CONFIRM */
    enum pv_wipe_kind wipe;  /**< DIRECTIVE */
    enum pv_store store;
    enum pv_state before, after;
    bool wipe_changed;       /**< wipe_state or wipe_id is another */
};

/** What an administrator can order. */
#define PV_ORDERS(X) \
    X(WIPE_ACCOUNT, "wipe-account") X(WIPE_DEVICE, "wipe-device") X(CANCEL_WIPE, "cancel-wipe") \
    X(ALLOW, "allow") X(BLOCK, "block") X(QUARANTINE, "quarantine") \
    X(CLEAR, "clear") /* the personal word is taken back: the rules decide again */
#define PV_ORDER_ENUM(id, text) PV_ORDER_##id,
enum pv_order_kind { PV_ORDERS(PV_ORDER_ENUM) PV_ORDER_COUNT };
#undef PV_ORDER_ENUM
/** "cancel-wipe"; static storage. */
PV_API const char *pv_order_text(enum pv_order_kind order);
struct pv_order {
    enum pv_order_kind kind;
    int64_t now;                  /**< seconds since 1970 */
    uint64_t wipe_id;             /**< WIPE_*: of the request, never 0 */
    int64_t wipe_expires_at;      /**< WIPE_*: 0 never, else after now */
    enum pv_access access;        /**< CLEAR: what the rules alone say of the device */
    struct pv_policy_facts policy; /**< for out.before and out.after */
};

/** State that the facts amount to (what `device list` shows). */
PV_API enum pv_state pv_server_state(const struct pv_partnership *p,
                                     const struct pv_policy_facts *policy, int64_t now);

/** When a device that holds a key must confirm its policy anew, by time alone: its refresh interval
 *  ends up to a tenth early, by an amount that follows from its key, so that a fleet does not come
 *  back at once. @return seconds since 1970; 0: never. */
PV_API int64_t pv_refresh_at(const struct pv_partnership *p, const struct pv_policy_facts *policy);

/** One step: facts in, decision out, *p changed as out->store says (work on a copy and keep it
 *  once stored).
 *  @return PV_OK, or PV_E_USAGE (a number that is no event or version, random words that all
 *    collide). */
PV_API PV_MUST_CHECK enum pv_err
pv_server_step(struct pv_partnership *p, const struct pv_server_in *in, struct pv_server_out *out);

/** What an administrator orders: *p changed as out->store says, which is durable before the
 *  administrator is told. out->action is DONE, UNCHANGED or IMPOSSIBLE (out->reason says why); a
 *  wipe that time has ended in the meantime is ended first, whatever the order.
 *  @return PV_OK, or PV_E_USAGE (a number that is no order, a wipe without an id or that is over
 *    before it begins). */
PV_API PV_MUST_CHECK enum pv_err
pv_server_order(struct pv_partnership *p, const struct pv_order *order, struct pv_server_out *out);

/** End a pending wipe whose time is over, as every step and order does by itself: for listings, and
 *  for a server that wants to notice although the device never comes back.
 *  @return whether *p has changed, which must be stored. */
PV_API bool pv_wipe_expire(struct pv_partnership *p, int64_t now);

/** Print what orders do as Markdown, for the documentation. @return PV_OK, E_NOMEM. */
PV_API PV_MUST_CHECK enum pv_err pv_order_table(char *buf, size_t cap, size_t *len_out);
/** Print what requests lead to, the same way. @return PV_OK, E_NOMEM. */
PV_API PV_MUST_CHECK enum pv_err pv_server_table(char *buf, size_t cap, size_t *len_out);

/* ---- the client's machine ---------------------------------------------------------------- */

/** What a device can do: which settings it can enforce, and how far. */
struct pv_profile {
    /** bit per enum pv_setting: cannot be enforced at all when it demands something */
    uint64_t unsupported;
    int64_t most[PV_SETTING_COUNT]; /**< strictest value that can be kept, where bit in `limited` */
    uint64_t limited;
    bool externally_managed;         /**< acknowledge 4 */
    bool nothing;                    /**< can apply nothing: acknowledge 3 */
};
/** Read a profile: lines `Name = yes | no | VALUE`, `ExternallyManaged = yes`, `Nothing = yes`,
 *  # comments; missing settings can be kept.
 *  @param message as in pv_policy_set, with the line number.
 *  @return PV_OK, E_MALFORMED, E_UNKNOWN, E_RANGE. */
PV_API PV_MUST_CHECK enum pv_err
pv_profile_read(const char *text, size_t len, struct pv_profile *out, char *message,
                size_t message_cap);

/** How a device stands to one setting. */
enum pv_kept { PV_NOT_DEMANDED, PV_KEPT, PV_NOT_KEPT };
/** Judge a policy: which demanded settings can be kept. A setting that demands no more than unset
 *  always can.
 *  @param kept_out per setting: demanded and kept / demanded and not kept / not demanded. May be
 *    NULL.
 *  @return the honest acknowledgement: 1 all applied, 2 in part (the password settings are kept),
 *    3 nothing (or not even the password), 4 externally managed. */
PV_API unsigned
pv_profile_judge(const struct pv_profile *profile, const struct pv_policy *policy,
                 enum pv_kept kept_out[PV_SETTING_COUNT]);

#define PV_CLIENT_STATES(X) \
    X(IDLE, "idle") X(COMMAND, "command") X(ASKED, "asked") X(ACKED, "acked") \
    X(INFORMING, "informing") X(WIPE_POLL, "wipe-poll") X(FORBIDDEN, "forbidden") \
    X(WIPING, "wiping") X(WIPE_ACKED, "wipe-acked") X(DONE, "done") X(FAILED, "failed")
#define PV_CLIENT_STATE_ENUM(id, text) PV_CLIENT_##id,
enum pv_client_state { PV_CLIENT_STATES(PV_CLIENT_STATE_ENUM) PV_CLIENT_STATE_COUNT };
#undef PV_CLIENT_STATE_ENUM
/** "wipe-poll"; static storage. */
PV_API const char *pv_client_state_text(enum pv_client_state state);

/** What to do next. */
#define PV_CLIENT_ACTIONS(X) \
    X(COMMAND, "send the command")              /* with header key out.key (0: "0") */ \
    X(ASK, "send Provision")   /* initial; DeviceInformation with out.device_info; header key 0 */ \
    X(ACK, "acknowledge")      /* body: out.temp_key, out.ack_status; header: out.temp_key */ \
    X(INFORM, "send Settings DeviceInformation")/* 12.0 to 14.0, with the final key */ \
    X(POLL, "send an empty Provision")          /* asks for the wipe directive */ \
    X(WIPE, "ask the hook")                     /* then tell with pv_client_wiped */ \
    X(WIPE_ACK, "acknowledge the wipe")         /* out.wipe, out.ack_status 1 or 2 */ \
    X(DONE, "done")                             /* the command's answer is the caller's */ \
    X(FAIL, "give up")                          /* out.failure */
#define PV_CLIENT_ACTION_ENUM(id, text) PV_DO_##id,
enum pv_client_action { PV_CLIENT_ACTIONS(PV_CLIENT_ACTION_ENUM) PV_CLIENT_ACTION_COUNT };
#undef PV_CLIENT_ACTION_ENUM

#define PV_FAILURES(X) \
    X(NONE, "nothing failed") X(CREDENTIALS, "bad credentials") X(REFUSED, "refused by policy") \
    X(BLOCKED, "blocked or quarantined") X(CANNOT_KEEP, "the device cannot keep the policy") \
    X(WIPED, "a wipe was ordered") X(PROTOCOL, "protocol error") \
    X(LOOP, "the server asks again and again") \
    X(BUSY, "the server asks to come back later") X(REDIRECT, "the server names another address")
#define PV_FAILURE_ENUM(id, text) PV_FAIL_##id,
enum pv_failure { PV_FAILURES(PV_FAILURE_ENUM) PV_FAILURE_COUNT };
#undef PV_FAILURE_ENUM
/** What to tell a person; static storage. */
PV_API const char *pv_failure_text(enum pv_failure failure);

#define PV_CLIENT_HANDSHAKES 2 /**< handshakes for one command before giving up */

/** The client's side. Keep `key` over runs; everything else may be zeroed for a new run.
 *  Temporary and final key are apart. */
struct pv_client {
    enum pv_client_state state;
    enum pv_version version;
    bool proactive;         /**< provision before the first command, for servers that never ask */
    uint32_t key;           /**< final key, 0: none; changed only by an accepted acknowledgement */
    char temp_key[65];      /**< of the open offer, as text; "" none */
    unsigned ack_status;    /**< our judgement of the open offer */
    bool device_info;       /**< 165 or 14.1+: send it */
    unsigned handshakes;    /**< for the present command */
    enum pv_wipe_kind wipe;
};

/** The answer that came to what was sent last. */
struct pv_client_in {
    unsigned http;                                /**< 0: no answer at all is the caller's affair */
    unsigned status; /**< Status at the root of the body, 0 if there is none or no body */
    /** decoded body of a Provision answer, else NULL */
    const struct pv_provision_answer *provision;
    /** ack Status for the policy in it: pv_profile_judge; 0 if there is no policy */
    unsigned judgement;
};
struct pv_client_out {
    enum pv_client_action action;
    uint32_t key;
    const char *temp_key;      /**< points into the client */
    unsigned ack_status;
    bool device_info;
    enum pv_wipe_kind wipe;
    enum pv_failure failure;
    unsigned status;           /**< FAIL: the HTTP code or Status that decided */
    const char *why;           /**< one sentence, static storage */
};

/** A command is to be sent (also again, later, in the same session: the server may ask at any
 *  time). */
PV_API void pv_client_command(struct pv_client *c, struct pv_client_out *out);
/** An answer has come to what the last out told to send. One that does not belong there, or a
 *  state that is none, is a protocol error. */
PV_API void pv_client_answer(struct pv_client *c, const struct pv_client_in *in,
                             struct pv_client_out *out);
/** The hook has spoken: 1 wiped, 2 failed; 0: it says that nothing was done and nothing shall be
 *  acknowledged. Called after PV_DO_WIPE only; else it is a protocol error. */
PV_API void pv_client_wiped(struct pv_client *c, unsigned result, struct pv_client_out *out);
/** Body of the Provision request that out tells to send: ASK, ACK, POLL, WIPE_ACK.
 *  @param info goes into ASK with out->device_info; NULL: there is none.
 *  @return PV_OK, E_NOMEM (cap is too small), E_USAGE (another action). */
PV_API PV_MUST_CHECK enum pv_err
pv_client_body(const struct pv_client_out *out, enum pv_version version,
               const struct pv_device_info *info, uint8_t *buf, size_t cap, size_t *len_out);
/** Print the table as Markdown, for the documentation. @return PV_OK, E_NOMEM. */
PV_API PV_MUST_CHECK enum pv_err pv_client_table(char *buf, size_t cap, size_t *len_out);

#ifdef __cplusplus
}
#endif
#endif
