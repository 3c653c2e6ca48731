/* Ping: what its two halves share. ping_start.c judges a request on the user's lane and looks at what
 * nobody has looked at yet, ping.c waits on the worker. */
#ifndef PROVOSTD_MAILBOX_PING_H
#define PROVOSTD_MAILBOX_PING_H

#include "src/server/mailbox/internal.h"
#include "src/server/mailbox/ping_request.h"

#define STORE_RETRY_AFTER 10 /* seconds */

/* A folder to be watched. */
struct ping_folder {
    uint32_t id;
    char *path;             /* NULL: nothing can happen in it */
    bool told;              /* the device knows it; else it is looked at before the wait */
    struct look known;
};

/* A Ping before it waits. */
struct ping_start {
    struct visit visit;
    void (*done)(struct ping_start *s);
    struct call *call;
    struct commands *commands;
    struct ping_params params;  /* asked for; completed on the lane */
    /* Found on the lane: */
    bool turned_away;           /* by the mailbox: visit says how */
    bool store_failed;          /* 503 */
    unsigned status;            /* 0: wait */
    uint64_t tree;              /* sum of the folders that the device knows */
    struct ping_folder *folders;
    size_t folder_count;
};
/* List and judge, look, then done on this worker. false: too much is waiting. */
bool ping_start(struct ping_start *s, void (*done)(struct ping_start *s));
void ping_start_free(struct ping_start *s);

#endif
