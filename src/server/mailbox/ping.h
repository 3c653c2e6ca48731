/* Ping: what its two halves share. ping_start.c judges a request on the user's lane, ping.c waits
 * on the worker. */
#ifndef PROVOSTD_MAILBOX_PING_H
#define PROVOSTD_MAILBOX_PING_H

#include "src/server/mailbox/internal.h"
#include "src/server/mailbox/ping_request.h"

#define STORE_RETRY_AFTER 10 /* seconds */

/* A folder to be watched. */
struct ping_folder {
    uint32_t id;
    char *path;             /* NULL: nothing can happen in it */
    struct look known;      /* as the device was told last, or as it is before the wait */
};

/* A Ping before it waits. */
struct ping_start {
    struct job job;
    struct call *call;
    struct commands *commands;
    struct ping_params params;  /* asked for; completed on the lane */
    /* Found on the lane: */
    bool store_failed;          /* 503 */
    unsigned status;            /* 0: wait */
    uint64_t tree;              /* folder_list_hash that the device knows */
    struct ping_folder *folders;
    size_t folder_count;
};
/* Judge on the user's lane, then done on this worker. false: too much is waiting. */
bool ping_start(struct ping_start *s, void (*done)(struct job *));
void ping_start_free(struct ping_start *s);

#endif
