#include "src/server/admin/store_jobs.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/http/pool.h"
#include "src/server/observe/log.h"

#define ID_BITS 53 /* a whole number in every program that reads JSON */

struct task_copy {
    struct job job;
    struct store_jobs *all;
    struct store_job what;
    char text[]; /* what its texts stand in */
};

struct store_jobs {
    struct store *store;
    struct pool *pool;
    _Atomic bool stop;
    pthread_mutex_t mutex; /* guards what follows */
    uint64_t id;           /* 0: there was none yet */
    bool running;
    const char *act, *step;
    uint64_t done, of;
    enum store_outcome outcome;
    char error[STORE_JOB_ERROR_MAX];
    json_t *result; /* never changed once it is here */
};

static const char *const words[] = {
    [STORE_NOT_HERE] = "not_here", [STORE_IN_THE_WAY] = "exists", [STORE_UNFIT] = "unfit",
    [STORE_STOPPED] = "stopped",   [STORE_FAILED] = "failed",
};

static void note_step(void *ctx, const char *what, uint64_t done, uint64_t of)
{
    struct store_jobs *all = ctx;
    pthread_mutex_lock(&all->mutex);
    all->step = what;
    all->done = done;
    all->of = of;
    pthread_mutex_unlock(&all->mutex);
}

static void run(struct job *j)
{
    struct task_copy *t = CONTAINER_OF(j, struct task_copy, job);
    struct store_jobs *all = t->all;
    char error[STORE_JOB_ERROR_MAX] = "";
    json_t *result = NULL;
    const struct store_work w = {.step = note_step,
                                 .ctx = all,
                                 .stop = &all->stop,
                                 .error = error,
                                 .error_cap = sizeof error};
    enum store_outcome out = t->what.run(all->store, &t->what, &w, &result);
    if (out == STORE_DONE && !result) {
        out = STORE_FAILED;
        snprintf(error, sizeof error, "there is no memory to tell what came of it");
    }
    if (out == STORE_DONE)
        LOG(LOG_INFO, 0, "store-job", KV_TEXT("act", t->what.act), KV_TEXT("by", t->what.actor));
    else
        LOG(LOG_ERROR, 0, "store-job-failed", KV_TEXT("act", t->what.act), KV_TEXT("why", error));
    pthread_mutex_lock(&all->mutex);
    all->running = false;
    all->outcome = out;
    memcpy(all->error, error, sizeof error);
    all->result = result;
    pthread_mutex_unlock(&all->mutex);
}

static void done(struct job *j)
{
    free(CONTAINER_OF(j, struct task_copy, job));
}

/* A copy of from in *at, which goes on behind it. */
static const char *keep(char **at, const char *from)
{
    size_t size = from ? strlen(from) + 1 : 0;
    const char *kept = from ? memcpy(*at, from, size) : NULL;
    *at += size;
    return kept;
}

enum store_begin store_jobs_begin(struct store_jobs *all, const struct store_job *what,
                                  uint64_t *id_out)
{
    size_t bytes = strlen(what->actor) + 1 + (what->file ? strlen(what->file) + 1 : 0);
    struct task_copy *t = malloc(sizeof *t + bytes);
    if (!t) return STORE_NO_MEMORY;
    char *at = t->text;
    *t = (struct task_copy){.job = {.run = run, .done = done}, .all = all, .what = *what};
    t->what.actor = keep(&at, what->actor);
    t->what.file = keep(&at, what->file);

    pthread_mutex_lock(&all->mutex);
    enum store_begin begun = all->running                                 ? STORE_BUSY
                             : !pool_submit_for(all->pool, &t->job, NULL) ? STORE_NO_MEMORY
                                                                          : STORE_BEGUN;
    if (begun == STORE_BEGUN) {
        json_decref(all->result);
        all->result = NULL;
        all->error[0] = '\0';
        all->running = true;
        all->act = what->act;
        all->step = "beginning";
        all->done = all->of = 0;
        *id_out = all->id = (store_tag() & (((uint64_t)1 << ID_BITS) - 1)) | 1;
    }
    pthread_mutex_unlock(&all->mutex);
    if (begun != STORE_BEGUN) free(t);
    return begun;
}

json_t *store_jobs_show(struct store_jobs *all)
{
    pthread_mutex_lock(&all->mutex);
    bool failed = !all->running && all->outcome != STORE_DONE;
    json_t *shown =
        all->id == 0
            ? json_pack("{s:s}", "state", "none")
            : json_pack("{s:I,s:s,s:s,s:s,s:I,s:I,s:s?,s:o,s:O?}", "id", (json_int_t)all->id, "act",
                        all->act, "state",
                        all->running ? "running"
                        : failed     ? "failed"
                                     : "done",
                        "step", all->step, "done", (json_int_t)all->done, "of", (json_int_t)all->of,
                        "code", failed ? words[all->outcome] : NULL, "error",
                        failed ? json_string(all->error) : json_null(), "result", all->result);
    pthread_mutex_unlock(&all->mutex);
    return shown;
}

struct store_jobs *store_jobs_create(struct store *s)
{
    struct store_jobs *all = calloc(1, sizeof *all);
    if (!all) return NULL;
    all->store = s;
    pthread_mutex_init(&all->mutex, NULL);
    all->pool = pool_create("store-job", 1, 1);
    if (all->pool) return all;
    store_jobs_destroy(all);
    return NULL;
}

void store_jobs_destroy(struct store_jobs *all)
{
    if (!all) return;
    atomic_store(&all->stop, true);
    pool_destroy(all->pool);
    json_decref(all->result);
    pthread_mutex_destroy(&all->mutex);
    free(all);
}
