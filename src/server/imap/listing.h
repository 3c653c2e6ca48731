/* The folders of a user as the server lists them. */
#ifndef PROVOSTD_IMAP_LISTING_H
#define PROVOSTD_IMAP_LISTING_H

#include <stdatomic.h>

#include "src/server/imap/facts.h"
#include "src/server/mailbox/map.h"

#define IMAP_FOLDERS_MAX 10000
#define IMAP_NAMES_MAX ((size_t)4 * 1024 * 1024) /* bytes of all names together */

struct imap_folder {
    struct map_node by_name;       /* private */
    struct imap_folder *next;
    uint64_t identity[2];          /* UIDVALIDITY, hash of the MAILBOXID; 0: unknown */
    char delimiter;                /* 0: the name has no levels */
    enum imap_use use;
    bool subscribed;
    size_t name_len;
    char name[];                   /* as the server says it */
};

struct imap_listing {
    atomic_uint holders;           /* private */
    struct imap_folder *first, **end; /* folders that messages can lie in, as they came */
    size_t count;
    bool utf8;                     /* names are UTF-8, else modified UTF-7 */
    char prefix[IMAP_PREFIX_MAX + 1]; /* that all names of the user have but the Inbox */
    bool failed;                   /* too many, or no memory: it is no list */
    size_t bytes;                  /* private */
    struct map by_name;            /* private */
};

/* Empty, held by the caller. NULL: no memory. */
struct imap_listing *imap_listing_create(void);
struct imap_listing *imap_listing_hold(struct imap_listing *l);
/* Any thread. Frees it with the last; NULL is accepted. */
void imap_listing_release(struct imap_listing *l);

/* An answer to LIST: what cannot hold messages, or belongs to others by its namespace, is left out. */
void imap_listing_add(struct imap_listing *l, const struct imap_listed *f,
                      const struct imap_namespaces *spaces);
/* It is said to have gone in the middle of the listing. */
void imap_listing_remove(struct imap_listing *l, const char *name);
/* An answer to LSUB: it is subscribed, if it is there. */
void imap_listing_subscribe(struct imap_listing *l, const char *name);
/* Only what is subscribed, and the Inbox. */
void imap_listing_keep_subscribed(struct imap_listing *l);
/* An answer to STATUS. */
void imap_listing_identify(struct imap_listing *l, const struct imap_counts *c);
/* Nothing more comes: an Inbox is there in any case. */
void imap_listing_end(struct imap_listing *l, const struct imap_namespaces *spaces);
/* A number for the names and what they are for, in whatever order they came. */
uint64_t imap_listing_sum(const struct imap_listing *l);

/* "INBOX" in any case (RFC 3501 5.1). */
bool imap_is_inbox(const char *name);

#endif
