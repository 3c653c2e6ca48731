/* Long work on the store: one piece at a time, on a thread of its own. Whoever has begun it asks from
 * time to time how far it has come. */
#ifndef PROVOSTD_ADMIN_STORE_JOBS_H
#define PROVOSTD_ADMIN_STORE_JOBS_H

#include <jansson.h>

#include "src/server/store/upkeep.h"

#define STORE_JOB_ERROR_MAX 512

/* What is to be done; the texts are copied. */
struct store_job {
    const char *act;   /* "backup" */
    const char *actor; /* for the audit log */
    const char *file;  /* NULL: none */
    bool flag;         /* what it means depends on the act */
    void *ctx;         /* of whoever has begun it */
    /* On the thread; j is the copy. *result_out: what has come of it, taken over; NULL counts as failed
     * for want of memory. */
    enum store_outcome (*run)(struct store *s, const struct store_job *j, const struct store_work *w,
                              json_t **result_out);
};

struct store_jobs;
/* NULL: no memory or threads. */
struct store_jobs *store_jobs_create(struct store *s);
/* Ends what is under way first. NULL is accepted. */
void store_jobs_destroy(struct store_jobs *j);

enum store_begin { STORE_BEGUN, STORE_BUSY, STORE_NO_MEMORY };
/* Any thread. */
enum store_begin store_jobs_begin(struct store_jobs *jobs, const struct store_job *j, uint64_t *id_out);
/* The piece of work under way, or the last one; its state is "none" if there was none. NULL: no memory. */
json_t *store_jobs_show(struct store_jobs *j);

#endif
