/* Connections to one IMAP server, in the loop of a worker. libcurl finds the server, connects and speaks
 * TLS (STARTTLS as well); what is said then is the owner's. Everything on the worker's own thread. */
#ifndef PROVOSTD_IMAP_LINK_H
#define PROVOSTD_IMAP_LINK_H

#include <stdbool.h>
#include <stddef.h>

#include "src/server/http/worker.h"

struct imap_peer {
    const char *url;              /* imap:// or imaps://, borrowed as all here */
    const char *ca_file;          /* who vouches for its certificate; NULL: the system's */
    bool starttls;                /* with imap://: nothing is said before TLS */
    unsigned connect_ms;          /* until the server has greeted */
};

struct imap_net;
/* NULL: no memory. The worker must not run yet, or be this one. */
struct imap_net *imap_net_create(struct worker *w, const struct imap_peer *p);
/* When every link is closed; NULL is accepted. */
void imap_net_destroy(struct imap_net *n);
struct worker *imap_net_worker(const struct imap_net *n);

#define IMAP_LINK_ERROR_MAX 256

/* Embed, zeroed but for the callbacks. */
struct imap_link {
    /* A line of what libcurl has read on the way: the greeting, capabilities. Must not close it. */
    void (*heard)(struct imap_link *l, const char *line, size_t len);
    /* It is open. error: one sentence for the log; the link is closed then. NULL: none. */
    void (*opened)(struct imap_link *l, const char *error);
    /* There may be something to read: take it all. */
    void (*readable)(struct imap_link *l);
    /* private: */
    struct imap_net *net;
    void *easy;                   /* libcurl's; NULL: closed */
    struct watch watch;
    bool watched, waits_for_room;
    char *out;
    size_t out_len, out_cap;
    char error[IMAP_LINK_ERROR_MAX];
};

/* false: no memory; nothing is called then, and nothing before it returns. */
bool imap_link_open(struct imap_net *n, struct imap_link *l);
enum imap_io { IMAP_IO_SOME, IMAP_IO_NONE, IMAP_IO_END };
enum imap_io imap_link_read(struct imap_link *l, char *buf, size_t cap, size_t *len_out);
/* Copied, and wiped once it is sent. false: the link is broken, or no memory. */
bool imap_link_write(struct imap_link *l, const char *text, size_t len);
/* At once; nothing is called any more. Without effect on a closed one. */
void imap_link_close(struct imap_link *l);

#endif
