#include "src/server/auth/blocking.h"

#include <stdio.h>

#define QUEUE_MAX 1024
#define RETRY_S 5

static void run(struct job *j)
{
    struct auth_try *t = CONTAINER_OF(j, struct auth_try, job);
    struct blocking *b = t->state;
    /* Failures of a whole burst may have come in while this one was queued. */
    if (auth_try_hopeless(t)) return;
    /* A server that answers slowly must not leave a queue behind of those who have gone long since. */
    if (b->patience_ms && auth_now_ms() - t->since_ms > b->patience_ms) {
        t->verdict = AUTH_LATER;
        t->retry_after = RETRY_S;
        snprintf(t->why, sizeof t->why, "too many logins wait for the %s method",
                 b->method.ops->name);
        return;
    }
    b->ask(b, t);
}

static void done(struct job *j)
{
    struct auth_try *t = CONTAINER_OF(j, struct auth_try, job);
    t->done(t);
}

bool blocking_verify(struct auth_method *m, struct auth_try *t)
{
    struct blocking *b = CONTAINER_OF(m, struct blocking, method);
    t->job = (struct job){.run = run, .done = done};
    t->state = b;
    if (pool_submit(b->pool, &t->job)) return false;
    t->verdict = AUTH_LATER;
    t->retry_after = 1;
    return true;
}

bool blocking_start(struct blocking *b, unsigned threads)
{
    b->pool = pool_create("auth", threads, QUEUE_MAX);
    return b->pool;
}

void blocking_stop(struct blocking *b)
{
    pool_destroy(b->pool);
}
