/* What a device in quarantine sees: an Inbox with one message that says what happened. Nothing of it is
 * kept: the message follows from the configuration and the device, the SyncKeys from the message. The
 * user's own mailbox is never opened. */
#ifndef PROVOSTD_MAILBOX_QUARANTINE_H
#define PROVOSTD_MAILBOX_QUARANTINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <provost/eas.h>
#include <provost/wbxml.h>

#include "src/server/mailbox/tree.h"

/* ---- folders: quarantine_folders.c ---- */
/* The Inbox alone, without a directory. false: no memory; the list can only be freed then. */
bool quarantine_list(struct folder_list *out);
/* The ServerId that the user's Inbox has, or will have when it is first told. false: no memory, or
 * no number is left. */
bool quarantine_inbox_id(struct folder_ids *known, uint32_t *id_out, bool *changed_out);

/* ---- the message: quarantine_mail.c ---- */
#define QUARANTINE_SUBJECT_MAX 512 /* bytes, terminator included, placeholders filled in */
#define QUARANTINE_TEXT_MAX 8192
#define QUARANTINE_ADDRESS_MAX 400

struct quarantine_mail {
    uint32_t inbox;                /* ServerId of the Inbox */
    uint32_t primed, told;         /* SyncKeys: before and after the message was told; never 0 */
    char server_id[16];            /* of the message */
    char from[QUARANTINE_ADDRESS_MAX], to[QUARANTINE_ADDRESS_MAX];
    char date[32];                 /* as DateReceived */
    char subject[QUARANTINE_SUBJECT_MAX], text[QUARANTINE_TEXT_MAX];
};
struct quarantine_facts {
    const char *subject, *text;    /* of the configuration */
    const char *user, *device_id, *device_type;
    const char *domain;            /* "": none */
    int64_t since;
    uint32_t inbox;
};
void quarantine_mail_make(const struct quarantine_facts *f, struct quarantine_mail *out);
/* Children of ApplicationData or Properties. most: bytes of the body that the device wants. */
void quarantine_mail_write(const struct quarantine_mail *m, enum pv_version version, size_t most,
                           struct pv_wbxml_writer *w);
/* BodyPreference of an Options element (NULL is accepted): bytes of plain text that are wanted. */
size_t quarantine_mail_most(const struct pv_node *options);
/* Is that the message? */
bool quarantine_mail_is(const struct quarantine_mail *m, const struct pv_node *server_id);

/* ---- the commands apart from I/O ---- */
struct quarantine_limits { unsigned heartbeat_min, heartbeat_max; }; /* seconds */
struct quarantine_answer {
    uint8_t *body;                 /* malloc'ed; NULL: see status */
    size_t len;
    unsigned status;               /* of the root, 0: no memory */
    unsigned limit;                /* with Status 14: the nearest time that may be asked for */
    unsigned wait;                 /* seconds: nothing to tell; the answer may come so much later */
};
/* root NULL: an empty body. */
void quarantine_sync_answer(const struct pv_node *root, enum pv_version version,
                            const struct quarantine_mail *m, const struct quarantine_limits *l,
                            struct quarantine_answer *out);
void quarantine_estimate_answer(const struct pv_node *root, enum pv_version version,
                                const struct quarantine_mail *m, struct quarantine_answer *out);
void quarantine_items_answer(const struct pv_node *root, enum pv_version version,
                             const struct quarantine_mail *m, struct quarantine_answer *out);
/* Bytes of an answer at most: for an element of the request, and for the message. */
#define QUARANTINE_ELEMENT_MAX 192
#define QUARANTINE_MAIL_SIZE (sizeof(struct quarantine_mail) + 1536)

#endif
