/* A hub with a clock, links and a server of the test's own: everything happens when the test says so. */
#ifndef TEST_IMAP_BENCH_H
#define TEST_IMAP_BENCH_H

#include "src/server/imap/hub.h"

#define BENCH_LINKS_MAX 64
#define BENCH_USERS_MAX 256

/* How the server is, and what it has seen. */
extern struct bench {
    struct imap_hub *hub;
    const char *caps;            /* without "IMAP4rev1" */
    const char *password;        /* of everybody */
    bool down;                   /* nothing can be connected */
    bool busy;                   /* NO [UNAVAILABLE] to every login */
    bool mute;                   /* commands after the login get no answer */
    unsigned messages[BENCH_USERS_MAX]; /* in the Inbox of "user0", "user1", ... */
    bool has_more;               /* a folder beside the Inbox */
    unsigned open, most_open;    /* connections */
    unsigned tries, logins, refusals, lists, looks, idles, notifies, noops;
    unsigned errors, warnings, infos; /* lines of the log */
    char last_list[256];
} bench;

void bench_open(unsigned connections, unsigned poll_ms, const char *caps);
/* Everything is freed; what is still open fails the test. */
void bench_close(void);
/* Whatever can happen now does. */
void bench_run(void);
void bench_advance(uint64_t ms);
uint64_t bench_now(void);
/* Another message, and who listens is told. */
void bench_deliver(unsigned user);
/* The server closes what the user has open. */
void bench_drop(unsigned user);

struct bench_ask { struct imap_errand errand; struct imap_look look; char user[16], secret[16]; bool done; };
/* look: the Inbox; else a list. */
void bench_ask(struct bench_ask *a, unsigned user, const char *secret, bool look);
/* Frees what was answered. */
void bench_asked(struct bench_ask *a);

struct bench_watch { struct imap_watch watch; char user[16], secret[16]; unsigned seen; bool stopped; };
/* name NULL: the folders. */
void bench_watch(struct bench_watch *w, unsigned user, const char *secret, const char *name);
void bench_unwatch(struct bench_watch *w);

#endif
