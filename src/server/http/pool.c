#include "src/server/http/pool.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#define THREADS_MAX 64

struct pool {
    char name[16];
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct job *head, **end; /* under lock, as all below */
    unsigned queued, queue_max;
    bool closing;
    unsigned count;
    pthread_t threads[THREADS_MAX];
};

static void finish_on_home(struct task *t)
{
    struct job *j = CONTAINER_OF(t, struct job, task);
    j->done(j);
}

static void finish(struct job *j)
{
    if (!j->done) return;
    if (!j->home) {
        j->done(j);
        return;
    }
    j->task.fn = finish_on_home;
    worker_post(j->home, &j->task);
}

static struct job *take(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    while (!p->head && !p->closing) pthread_cond_wait(&p->filled, &p->lock);
    struct job *j = p->head;
    if (j) {
        p->head = j->next;
        if (!p->head) p->end = &p->head;
        p->queued--;
    }
    pthread_mutex_unlock(&p->lock);
    return j;
}

static void *work(void *arg)
{
    struct pool *p = arg;
    pthread_setname_np(pthread_self(), p->name);
    for (struct job *j; (j = take(p)) != NULL;) {
        j->run(j);
        finish(j);
    }
    return NULL;
}

struct pool *pool_create(const char *name, unsigned threads, unsigned queue_max)
{
    if (threads == 0 || threads > THREADS_MAX) return NULL;
    struct pool *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    for (size_t i = 0; i + 1 < sizeof p->name && name[i]; i++) p->name[i] = name[i];
    p->end = &p->head;
    p->queue_max = queue_max;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->filled, NULL);
    for (; p->count < threads; p->count++)
        if (pthread_create(&p->threads[p->count], NULL, work, p) != 0) break;
    if (p->count < threads) {
        pool_destroy(p);
        return NULL;
    }
    return p;
}

bool pool_submit(struct pool *p, struct job *j)
{
    return pool_submit_for(p, j, worker_self());
}

bool pool_submit_for(struct pool *p, struct job *j, struct worker *home)
{
    j->home = home;
    j->next = NULL;
    pthread_mutex_lock(&p->lock);
    bool room = p->queued < p->queue_max;
    if (room) {
        *p->end = j;
        p->end = &j->next;
        p->queued++;
        pthread_cond_signal(&p->filled);
    }
    pthread_mutex_unlock(&p->lock);
    return room;
}

void pool_destroy(struct pool *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_broadcast(&p->filled);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->count; i++) pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->filled);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
