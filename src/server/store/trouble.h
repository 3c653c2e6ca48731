/* A store that fails: a line of the log when it begins, one a minute as long as it lasts (sooner for
 * another reason), and one when it is over, however many notice it. Any thread. */
#ifndef PROVOSTD_STORE_TROUBLE_H
#define PROVOSTD_STORE_TROUBLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TROUBLE_USER_CAP 128
#define TROUBLE_QUIET_MS 5000             /* without a failure, before it is over */

enum trouble_doing { TROUBLE_WRITE, TROUBLE_READ, TROUBLE_HEAR };
struct trouble {
    const char *store;                    /* its name */
    unsigned quiet_ms;
    pthread_mutex_t mutex;                /* guards what follows */
    _Atomic unsigned failing;             /* a bit for each doing; may be looked at without the mutex */
    uint64_t told_ms, failed_ms;          /* when last */
    uint64_t failed;                      /* how often since then */
    char why[256];                        /* as it was told last */
    char damaged[TROUBLE_USER_CAP];       /* whose row was told last */
    uint64_t damaged_again_ms;
};

void trouble_init(struct trouble *t, const char *store); /* borrowed */
void trouble_finish(struct trouble *t);
void trouble_failed(struct trouble *t, enum trouble_doing doing, const char *code, const char *why);
/* It went well. Over is the trouble when everything that has failed does, for a while. */
void trouble_over(struct trouble *t, enum trouble_doing doing);
/* A row of that user cannot be understood. Of one user a line a minute. */
void trouble_damaged(struct trouble *t, const char *user, const char *why);

#endif
