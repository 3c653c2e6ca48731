/* Everything that is asked of an IMAP server on behalf of users, and what it says by itself: on a thread
 * of its own and over a bounded number of connections. A user has one for each credential, whatever the
 * number of his devices. */
#ifndef PROVOSTD_IMAP_HUB_H
#define PROVOSTD_IMAP_HUB_H

#include "src/server/imap/listing.h"
#include "src/server/imap/session.h"

struct imap_settings {
    struct imap_peer peer;
    unsigned connections;         /* at a time */
    unsigned quiet_ms;            /* how long the server may say nothing while it is asked */
    unsigned poll_ms;             /* between two looks where the server does not tell by itself */
    bool subscribed;              /* only folders that are subscribed */
};

struct imap_hub;
/* Starts the thread. NULL with error: one sentence. */
struct imap_hub *imap_hub_open(const struct imap_settings *s, char *error, size_t error_cap);
/* Other settings from now on; the peer's url and ca_file stay as they are. Any thread. false: no
 * memory. */
bool imap_hub_change(struct imap_hub *h, const struct imap_settings *s);
/* From now on every question is answered at once, with IMAP_ANSWER_LATER. Any thread. */
void imap_hub_stop(struct imap_hub *h);
/* When nobody asks or watches any more. NULL is accepted. */
void imap_hub_close(struct imap_hub *h);


struct imap_figures {
    unsigned connections;         /* open now */
    unsigned held;                /* of these, for users who wait for news */
    unsigned in_turn;             /* users who wait for news without one */
    unsigned turn_ms;             /* between two looks at one of those, as it was last */
    bool down;                    /* the server cannot be reached */
};
/* Any thread. */
void imap_hub_figures(struct imap_hub *h, struct imap_figures *out);

struct account;
struct place;

/* ---- questions ---- */
enum imap_answer {
    IMAP_ANSWER_OK,
    IMAP_ANSWER_NO,               /* the server has no list for the user */
    IMAP_ANSWER_LATER,            /* it cannot be asked now */
    IMAP_ANSWER_REFUSED           /* it does not take the login */
};
struct imap_look {
    const char *name;             /* as the server says it */
    bool good;                    /* there is a sum */
    uint64_t sum;                 /* another one when messages or their flags have changed */
};
/* Embed, zeroed but for what is asked; it lives until done. */
struct imap_errand {
    struct imap_login login;
    struct imap_look *looks;      /* look at these; NULL: list the folders */
    size_t look_count;
    void (*done)(struct imap_errand *e); /* on the hub's thread */
    enum imap_answer answer;
    unsigned retry_after;         /* seconds, with LATER */
    struct imap_listing *listing; /* held, to be released */
    /* private: */
    struct imap_hub *hub;
    struct account *account;
    struct imap_errand *next;
    struct task task;
    size_t looked;                /* so many of looks have been asked for */
    bool again;                   /* asked for the second time */
};
/* Any thread. Lists of a login are answered in the order in which they were read. */
void imap_ask(struct imap_hub *h, struct imap_errand *e);

/* ---- waiting for news ---- */
/* Embed, zeroed but for what is asked; it lives until stopped. */
struct imap_watch {
    struct imap_login login;
    const char *name;             /* of a folder; NULL: the folders themselves */
    uint64_t base;                /* what is known; said again where nothing can be read */
    void (*seen)(struct imap_watch *w);    /* sum, or refused: on the hub's thread */
    void (*stopped)(struct imap_watch *w); /* on the hub's thread */
    uint64_t sum;                 /* as in imap_look, or imap_listing_sum; once more when it is another */
    bool refused;                 /* the login is not taken (any more); nothing more comes */
    /* private: */
    bool told;
    struct imap_hub *hub;
    struct account *account;
    struct place *place;
    struct imap_watch *next, **link;
    struct task start, stop;
};
/* Both from the same thread. */
void imap_watch_start(struct imap_hub *h, struct imap_watch *w);
void imap_watch_stop(struct imap_watch *w);

#endif
