#include "src/server/observe/audit_mover.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/observe/audit_carrier.h"
#include "src/server/observe/log.h"

#define GATHER_MS 100 /* so long lines wait for others: in the store they are safe */
#define AGAIN_S 2     /* after a failure, and for who may become the leader */

struct audit_mover {
    struct store *store;
    struct audit_carrier *to;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t wake, done;
    struct audit_head known; /* the last line that is on the disk */
    bool more;               /* the store may have lines */
    bool hurry;              /* somebody waits for them */
    bool stopping, failing;
    bool limited; /* other limits are to be taken over: */
    size_t rotate_size;
    unsigned keep;
    uint64_t turns; /* that have ended with nothing left, or with a failure */
};

static void take_limits(struct audit_mover *m)
{
    pthread_mutex_lock(&m->mutex);
    if (m->limited) m->to->ops->limit(m->to, m->rotate_size, m->keep);
    m->limited = false;
    pthread_mutex_unlock(&m->mutex);
}

static void turn(struct audit_mover *m)
{
    char why[200] = "";
    bool left = true, ok = true;
    take_limits(m);
    while (ok && left) ok = m->to->ops->move(m->to, &left, why, sizeof why);
    pthread_mutex_lock(&m->mutex);
    m->known = *m->to->ops->head(m->to);
    if (!ok && !m->failing) LOG(LOG_ERROR, 0, "audit-failed", KV_TEXT("why", why));
    if (ok && m->failing) LOG(LOG_WARN, 0, "audit-back");
    m->failing = !ok;
    m->turns++;
    pthread_cond_broadcast(&m->done);
    pthread_mutex_unlock(&m->mutex);
}

static struct timespec ms_from_now(unsigned ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += ms % 1000 * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000L;
    }
    return at;
}

/* Something to do, or the time to try it again. Lines of a shared store are the leader's work, unless
 * somebody waits for them here. false: the end. */
static bool wait_for_work(struct audit_mover *m)
{
    pthread_mutex_lock(&m->mutex);
    struct timespec again = ms_from_now(AGAIN_S * 1000);
    while (!m->more && !m->stopping) {
        if (!m->failing && !store_is_shared(m->store)) {
            pthread_cond_wait(&m->wake, &m->mutex);
        } else if (pthread_cond_timedwait(&m->wake, &m->mutex, &again) == ETIMEDOUT) {
            if (store_is_leader(m->store)) break;
            again = ms_from_now(AGAIN_S * 1000);
        }
    }
    const struct timespec gathered = ms_from_now(GATHER_MS);
    while (m->more && !m->hurry && !m->stopping &&
           pthread_cond_timedwait(&m->wake, &m->mutex, &gathered) != ETIMEDOUT)
        continue;
    bool go_on = m->more || !m->stopping;
    m->more = m->hurry = false;
    pthread_mutex_unlock(&m->mutex);
    return go_on;
}

static void *mover_main(void *arg)
{
    struct audit_mover *m = arg;
    while (wait_for_work(m)) turn(m);
    return NULL;
}

static void lines_came(void *ctx)
{
    struct audit_mover *m = ctx;
    if (!store_is_leader(m->store)) return;
    pthread_mutex_lock(&m->mutex);
    m->more = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->mutex);
}

/* ---- outside ---- */
bool audit_mover_read(struct audit_mover *m, uint64_t after, size_t most,
                      void (*each)(void *ctx, uint64_t seq, const char *line, size_t len),
                      void *ctx, char *error, size_t error_cap)
{
    return m->to->ops->read(m->to, after, most, each, ctx, error, error_cap);
}

bool audit_mover_verify(struct audit_mover *m, struct audit_report *report_out, char *error,
                        size_t error_cap)
{
    struct audit_head known;
    audit_mover_known(m, &known);
    return m->to->ops->verify(m->to, &known, report_out, error, error_cap);
}

void audit_mover_limit(struct audit_mover *m, size_t rotate_size, unsigned keep)
{
    pthread_mutex_lock(&m->mutex);
    m->limited = true;
    m->rotate_size = rotate_size;
    m->keep = keep;
    pthread_mutex_unlock(&m->mutex);
}

void audit_mover_known(struct audit_mover *m, struct audit_head *head_out)
{
    pthread_mutex_lock(&m->mutex);
    *head_out = m->known;
    pthread_mutex_unlock(&m->mutex);
}

bool audit_mover_flush(struct audit_mover *m)
{
    pthread_mutex_lock(&m->mutex);
    /* A turn that is under way may have read the store already. */
    uint64_t until = m->turns + 2;
    while (m->turns < until) {
        m->more = m->hurry = true;
        pthread_cond_signal(&m->wake);
        pthread_cond_wait(&m->done, &m->mutex);
    }
    bool ok = !m->failing;
    pthread_mutex_unlock(&m->mutex);
    return ok;
}

void audit_mover_destroy(struct audit_mover *m)
{
    if (!m) return;
    if (m->to) m->to->ops->close(m->to);
    pthread_cond_destroy(&m->done);
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->mutex);
    free(m);
}

struct audit_mover *audit_mover_start(struct store *s, const char *dir, size_t rotate_size,
                                      unsigned keep, char *error, size_t error_cap)
{
    struct audit_mover *m = calloc(1, sizeof *m);
    if (!m) {
        snprintf(error, error_cap, "out of memory");
        return NULL;
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&m->mutex, NULL);
    pthread_cond_init(&m->wake, &attr);
    pthread_cond_init(&m->done, NULL);
    pthread_condattr_destroy(&attr);
    m->store = s;
    m->more = store_is_leader(s); /* what the last process left */
    snprintf(error, error_cap, "out of memory");
    m->to = store_is_shared(s) ? audit_to_store(s, rotate_size, keep)
                               : audit_to_files(s, dir, rotate_size, keep, error, error_cap);
    if (!m->to) {
        audit_mover_destroy(m);
        return NULL;
    }
    m->known = *m->to->ops->head(m->to);
    int rc = pthread_create(&m->thread, NULL, mover_main, m);
    if (rc) {
        snprintf(error, error_cap, "the audit log's thread cannot be started: %s", strerror(rc));
        audit_mover_destroy(m);
        return NULL;
    }
    if (store_listen(s, lines_came, m)) return m;
    snprintf(error, error_cap, "too many listen to the store");
    audit_mover_stop(m);
    audit_mover_destroy(m);
    return NULL;
}

void audit_mover_stop(struct audit_mover *m)
{
    if (!m) return;
    (void)audit_mover_flush(m);
    pthread_mutex_lock(&m->mutex);
    m->stopping = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->mutex);
    pthread_join(m->thread, NULL);
}
