/* Inside of the hub: who waits for what, over which connection. Everything on the hub's thread. */
#ifndef PROVOSTD_IMAP_INNER_H
#define PROVOSTD_IMAP_INNER_H

#include <pthread.h>

#include "src/server/imap/hub.h"

/* ---- what is watched: account.c ---- */

/* A folder, or the tree of folders, that somebody waits for news of. */
struct place {
    struct place *next;
    struct imap_watch *watches;   /* NULL: it lingers, a Ping comes again soon */
    uint64_t sum, seen_ms;        /* as it looked last, and when that was */
    uint64_t left_ms;             /* since when nobody waits */
    uint32_t validity;
    bool looked;                  /* sum is of this connection */
    bool stirred;                 /* to be looked at (again) */
    char name[];                  /* "": the tree */
};

enum queue { QUEUE_NONE, QUEUE_ASKED, QUEUE_WAITING };

struct errands { struct imap_errand *first, **end; };

/* A user with one credential. */
struct account {
    struct map_node by_user;
    struct imap_hub *hub;
    struct imap_login login;      /* own copies, wiped when the last who waits has gone */
    struct talk *talk;            /* the connection; NULL: none */
    struct errands errands;       /* not begun */
    struct place *tree, *places;  /* tree NULL: nobody has waited for it yet */
    size_t watch_count;
    enum queue queue;
    struct account *prev, *after; /* in that queue */
    uint64_t asked_ms;            /* since when it is in QUEUE_ASKED */
    uint64_t due_ms;              /* in QUEUE_WAITING: when it is its turn; past: now */
    bool polled;                  /* due because of an interval: may come earlier */
    uint64_t turn_ms;             /* when it had its turn last; 0: it has had none */
    unsigned broken;              /* connections that were lost, one after the other */
    uint64_t refused_until_ms;
    struct timer forget;
};

/* What the login means, made if need be. NULL: no memory. */
struct account *account_of(struct imap_hub *h, const struct imap_login *login);
/* Frees it unless somebody needs it. */
void account_settle(struct account *a);
void account_free(struct account *a);
/* Another account of the same user, by turns from after; NULL: no more. */
struct account *account_twin(struct account *a, struct account *after);
struct place *account_place(struct account *a, const char *name);
/* Those that nobody has waited for since long. */
void account_purge_places(struct account *a);
/* It looks like that now. */
void place_seen(struct place *p, uint64_t sum, uint64_t now);
/* It cannot be read. */
void place_unreadable(struct place *p);
/* Whoever waits for a name that is not there (any more) must read the folders again. */
void account_stir_tree(struct account *a);
/* The connection is gone: what was seen over it is old. */
void account_forget_looks(struct account *a);
/* The login is not taken: everybody is told. */
void account_refuse(struct account *a);
void errand_end(struct imap_errand *e, enum imap_answer answer, unsigned retry_after);
/* All that have not begun. */
void account_end_errands(struct account *a, enum imap_answer answer, unsigned retry_after);

/* ---- a connection: talk.c ---- */

enum way { WAY_POLL, WAY_IDLE, WAY_NOTIFY };
enum step { STEP_NONE, STEP_NOTIFY, STEP_EXAMINE, STEP_LIST, STEP_SUBSCRIBED, STEP_IDENTIFY, STEP_LOOK,
            STEP_WATCH_LOOK, STEP_IDLE, STEP_NOOP };

struct talk {
    struct imap_session session;
    struct account *account;
    bool ready;                   /* logged in */
    bool held;                    /* kept for who waits, counted by the hub */
    bool polls;                   /* begun for a turn of who has no connection, counted too */
    bool rests;                   /* nobody needs it: the hub's list */
    struct talk *prev_resting, *next_resting;
    enum step step;
    bool failed;                  /* a command of the step */
    bool plain_list;              /* the server does not understand the better one */
    enum way way;
    bool notifies;                /* of the places as they are now */
    unsigned overflows;
    char *examined;               /* selected for IDLE; NULL: none */
    struct errands listing_for;
    struct imap_errand *looking_for;
    struct imap_listing *listing;
    struct imap_folder *unidentified;
    struct place *looking_at[IMAP_PIPELINE_MAX];
    unsigned looking_count;
    struct timer timer;
    uint64_t begun_ms, settle_ms, renew_ms, poll_ms, tree_ms, rest_ms; /* when; 0: not */
};
/* NULL: no memory. */
struct talk *talk_open(struct account *a);
/* There may be something new to do. */
void talk_poke(struct talk *t);
/* The same a moment later: more comes. */
void talk_poke_soon(struct talk *t);
/* At once; frees it. What was begun over it gets that answer. */
void talk_close(struct talk *t, bool polite, enum imap_answer answer, unsigned retry_after);
/* What was seen of the place is what there is, as far as this connection can tell: nothing need be
 * asked for one more who waits. */
bool talk_knows(const struct talk *t, const struct place *p);
/* The server has closed a connection that had rested, perhaps: its questions are asked once more. */
void talk_ask_again(struct talk *t);
/* Places have come or gone. */
void talk_places_changed(struct talk *t);
void talk_forget_place(struct talk *t, const struct place *p);
/* It answers a question just now. */
bool talk_is_asked(const struct talk *t);

/* ---- who is next: hub.c ---- */

#define HUB_RETRY_AFTER 10        /* seconds, for a phone */

struct queue_ends { struct account *first, *last; };

struct imap_hub {
    struct imap_settings settings;
    struct worker *worker;
    struct imap_net *net;
    struct map accounts;
    struct queue_ends queues[3];
    struct { struct talk *first, *last; } resting; /* the longest first */
    unsigned open, held, polling, connecting; /* connections */
    struct timer wake;
    struct task begin, dispatch, stop, quit;
    bool posted, stopping, closing;
    struct { bool is; struct talk *probe; unsigned tries; uint64_t since_ms, retry_ms; } down;
    uint64_t complained_ms;
    unsigned complaints;
    unsigned waiting;             /* accounts in QUEUE_WAITING */
    unsigned turn_ms;
    pthread_mutex_t lock;         /* of figures */
    struct imap_figures figures;
};
uint64_t hub_now(const struct imap_hub *h);
/* The account needs a connection, or to be in another queue. */
void hub_want(struct account *a);
void hub_unqueue(struct account *a);
/* May the connection be kept for who waits? Counts it then. */
bool hub_hold(struct talk *t);
void hub_unhold(struct talk *t);
/* Nobody needs the connection: it is closed as soon as others wait for one. */
void hub_rest(struct talk *t);
void hub_unrest(struct talk *t);
void hub_ready(struct talk *t);   /* logged in */
void hub_lost(struct talk *t, enum imap_end how, const char *why); /* closes and frees it */
void hub_closed(struct talk *t);  /* before it is freed */
void hub_complain(struct imap_hub *h, const char *user, const char *why);
/* Something has changed for who waits for his turn. */
void hub_dispatch(struct imap_hub *h);

#endif
