/* An IMAP server beside the upstream tells of news in Inboxes (IDLE, NOTIFY), so that nobody need ask the
 * upstream for them. What it tells is only a hint: what a device is told comes from the upstream. */
#ifndef PROVOSTD_UPSTREAM_INBOX_H
#define PROVOSTD_UPSTREAM_INBOX_H

#include "src/server/config.h"
#include "src/server/http/worker.h"

struct inboxes;
struct inbox;

/* NULL with an empty error: none is configured. NULL with one sentence: it failed. */
struct inboxes *inboxes_open(const struct config *c, char *error, size_t error_cap);
/* When nobody watches any more; NULL is accepted. */
void inboxes_close(struct inboxes *b);
/* Watch the user's Inbox with the credentials of a device: news runs on this worker when it has changed.
 * NULL: no memory, or no credentials; the device is looked at in its turn all the same. */
struct inbox *inbox_watch(struct inboxes *b, const char *user, const char *authorization,
                          void (*news)(void *ctx), void *ctx);
/* On the same worker: no news any more. false: it is on its way, ask again from news. NULL is accepted. */
bool inbox_leave(struct inbox *i);

#endif
