/* provost connect: the parts of one session. */
#ifndef PROVOST_CLI_CONNECT_H
#define PROVOST_CLI_CONNECT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <provost/provision.h>

#include "src/cli/cli.h"
#include "src/cli/connect_eas.h"
#include "src/cli/connect_folders.h"
#include "src/cli/connect_keys.h"

struct connect_options {
    const char *url, *user, *password_file, *version, *device_id, *device_type, *profile, *hook,
        *ca_file, *state_dir;
    bool base64, watch, trace, json, insecure, proactive;
};

/* One request and its answer, for people. */
struct exchange {
    unsigned phase;         /* 1 to 4; 0: none of the four */
    const char *name;       /* "options", "command", "policy", "acknowledge", ... */
    const char *command;    /* "FolderSync", "OPTIONS" */
    const char *does;       /* "asks for the policy"; "" */
    struct pv_sent_key key; /* of the request; ABSENT: carries none */
    unsigned ack_status;    /* 0: no acknowledgement */
    unsigned heartbeat;     /* Ping, else 0 */
    /* The answer. */
    unsigned http, status;                       /* status 0: none */
    const char *status_name;                     /* "" unknown */
    const struct pv_provision_answer *provision; /* NULL: none */
    const char *problem;                         /* what is wrong with its body; NULL */
    bool final;                                  /* its key is the final one */
};

/* Where everything is told: text on standard output, or one JSON document at the end. */
struct report {
    bool json, trace;
    json_t *doc, *phases, *events;
    unsigned phase;   /* heading last printed + 1 */
    char *trace_text; /* of the present exchange: what the stream below wrote */
    size_t trace_len;
    FILE *stream; /* NULL without --trace */
    bool no_memory;
};

/* false: no memory; nothing is to be ended then. */
bool report_begin(struct report *r, bool json, bool trace);
void report_session(struct report *r, const struct eas *e);
void report_request(struct report *r, const struct exchange *x);
void report_answer(struct report *r, const struct exchange *x);
/* WBXML of a request or an answer into the trace, policy keys masked. */
void report_wbxml(struct report *r, char sign, const struct pv_node *root);
void report_versions(struct report *r, const struct eas_answer *a);
/* The version spoken from here on. */
void report_version(struct report *r, enum pv_version version);
/* A sentence between the lines. */
void report_note(struct report *r, const char *sentence);
/* Something that happened while watching. extra is taken over; may be NULL. */
void report_event(struct report *r, const char *kind, const char *sentence, json_t *extra);
/* old may be NULL. oddities: sentences of the reader. */
struct report_policy {
    const struct pv_policy *policy, *old;
    const enum pv_kept *kept;
    enum pv_version version;
    unsigned judgement;
    const struct pv_policy_oddity *oddities;
    size_t oddity_count;
};
void report_policy(struct report *r, const struct report_policy *p);
void report_folders(struct report *r, const struct folders *f);
void report_folder_change(struct report *r, char sign, const struct folder *f);
/* The last word. With JSON the document is printed here. @return exit code (no memory spoils it) */
enum cli_exit report_end(struct report *r, enum cli_exit code, const char *sentence);
/* "(all applied)" and so on. */
const char *report_ack_text(unsigned status);

/* ---- the session ---- */

enum { POLICY_ARENA_SIZE = 512 * 1024, EXCHANGE_ARENA_SIZE = 16 * 1024 * 1024, ODDITIES_MAX = 32 };

struct sending;

struct session {
    const struct connect_options *options;
    struct eas eas;
    struct keys keys;
    struct report report;
    struct pv_client client;
    struct pv_profile profile;
    struct folders folders;
    struct pv_arena arena;       /* of the present exchange */
    struct pv_arena offer_arena; /* of the offered policy */
    struct pv_policy offer;
    bool has_offer;
    bool at_kept_address;          /* a 451 of an earlier run named it; nothing came from it yet */
    struct server_url given;       /* what to go back to */
    const struct sending *sending; /* the request under way, for the trace */
    bool stopped;                  /* by a signal, while watching */
    char why[CURL_ERROR_SIZE + 256]; /* the last word when something failed */
};

/* An answer to a command that the server let through; root lives until the next request. */
struct command_answer {
    unsigned status;            /* 0: none */
    const struct pv_node *root; /* NULL: empty body */
};
/* Send a command, and provision whenever the server asks for it, until the answer is the command's.
 * Keys are kept as soon as they are given. @return CLI_DONE, or the exit code; why is set then */
enum cli_exit session_command(struct session *s, enum pv_cmd cmd, const uint8_t *body, size_t len,
                              unsigned heartbeat, struct command_answer *out);
/* Read the folder tree from the present SyncKey on. told as in folders_apply. */
enum cli_exit session_folders(struct session *s, bool tell_changes, struct folder_changes *changes);
/* Choose the version by OPTIONS. */
enum cli_exit session_options(struct session *s);
/* Stay in Ping until a signal comes. */
enum cli_exit session_watch(struct session *s);
enum cli_exit session_fail(struct session *s, enum cli_exit code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Transport trouble as exit code; sets why (and stopped). */
enum cli_exit session_transport(struct session *s, enum eas_result result);
/* An address kept from an earlier run that leads nowhere is forgotten: true, try again. */
bool session_leave_kept_address(struct session *s, enum eas_result result,
                                const struct eas_answer *a);
/* Name of a Status in a command's answer; "" unknown. */
const char *status_text(enum pv_cmd cmd, unsigned status);

/* Bodies, into cap bytes. @return what pv_wbxml_finish says */
PV_MUST_CHECK enum pv_err body_folder_sync(const char *sync_key, uint8_t *buf, size_t cap,
                                           size_t *len_out);
PV_MUST_CHECK enum pv_err body_settings(enum pv_version version, const struct pv_device_info *info,
                                        uint8_t *buf, size_t cap, size_t *len_out);
/* At most `most` folders. */
PV_MUST_CHECK enum pv_err body_ping(const struct folders *f, unsigned heartbeat, unsigned most,
                                    uint8_t *buf, size_t cap, size_t *len_out,
                                    unsigned *folders_out);

#endif
