#include "src/server/mailbox/pings.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/mailbox/map.h"

/* Devices come from the gate, which lets in partnerships only; those that stay away are forgotten
 * when the table has doubled. */
#define FORGET_SECONDS 86400
#define SWEEP_FIRST 1024

struct ping_device {
    struct map_node by_key;
    struct seat *seat; /* who waits; NULL: nobody */
    int64_t used;
    struct memo *memos;
    size_t memo_count;
    char *device_id; /* behind user */
    char user[];
};

struct pings {
    pthread_mutex_t lock;
    struct map devices;
    size_t sweep_at;
};

static int64_t now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static uint64_t key_of(const char *user, const char *device_id)
{
    return map_hash(device_id, strlen(device_id), map_hash(user, strlen(user), 0));
}

static void device_free(void *ctx, struct map_node *n)
{
    struct ping_device *d = CONTAINER_OF(n, struct ping_device, by_key);
    (void)ctx;
    free(d->memos);
    free(d);
}

static void sweep_each(void *ctx, struct map_node *n)
{
    struct pings *p = ctx;
    struct ping_device *d = CONTAINER_OF(n, struct ping_device, by_key);
    if (d->seat || d->used > now_seconds() - FORGET_SECONDS) return;
    map_remove(&p->devices, n);
    device_free(NULL, n);
}

static struct ping_device *find(struct pings *p, const char *user, const char *device_id)
{
    struct map_node *n = map_first(&p->devices, key_of(user, device_id));
    for (; n; n = map_next(n)) {
        struct ping_device *d = CONTAINER_OF(n, struct ping_device, by_key);
        if (!strcmp(d->user, user) && !strcmp(d->device_id, device_id)) return d;
    }
    return NULL;
}

static struct ping_device *make(struct pings *p, const char *user, const char *device_id)
{
    size_t user_size = strlen(user) + 1, device_size = strlen(device_id) + 1;
    if (p->devices.count >= p->sweep_at) {
        map_each(&p->devices, sweep_each, p);
        p->sweep_at = p->devices.count < SWEEP_FIRST ? SWEEP_FIRST : 2 * p->devices.count;
    }
    struct ping_device *d = calloc(1, sizeof *d + user_size + device_size);
    if (!d) return NULL;
    memcpy(d->user, user, user_size);
    d->device_id = d->user + user_size;
    memcpy(d->device_id, device_id, device_size);
    if (map_put(&p->devices, &d->by_key, key_of(user, device_id))) return d;
    free(d);
    return NULL;
}

/* On the worker of the one who is ousted. */
static void oust(struct task *t)
{
    struct seat *s = CONTAINER_OF(t, struct seat, task);
    s->posted = false; /* the device has another one by now: no second task comes */
    s->ousted(s);
}

bool pings_sit(struct pings *p, struct seat *s, const char *user, const char *device_id)
{
    pthread_mutex_lock(&p->lock);
    struct ping_device *d = find(p, user, device_id);
    if (!d) d = make(p, user, device_id);
    struct seat *before = d ? d->seat : NULL;
    if (before) {
        before->posted = true;
        before->task.fn = oust;
        worker_post(before->home, &before->task);
    }
    if (d) {
        s->device = d;
        s->home = worker_self();
        d->seat = s;
        d->used = now_seconds();
    }
    pthread_mutex_unlock(&p->lock);
    return d != NULL;
}

bool pings_rise(struct pings *p, struct seat *s)
{
    if (s->device) {
        pthread_mutex_lock(&p->lock);
        s->device->used = now_seconds();
        if (s->device->seat == s) s->device->seat = NULL;
        s->device = NULL;
        pthread_mutex_unlock(&p->lock);
    }
    return !s->posted; /* nobody but oust changes it any more */
}

bool pings_recall(struct pings *p, const char *user, const char *device_id, uint32_t folder,
                  struct look *out)
{
    bool found = false;
    pthread_mutex_lock(&p->lock);
    const struct ping_device *d = find(p, user, device_id);
    for (size_t i = 0; d && i < d->memo_count && !found; i++) {
        found = d->memos[i].folder == folder;
        if (found) *out = d->memos[i].look;
    }
    pthread_mutex_unlock(&p->lock);
    return found;
}

static bool holds(const struct memo *memos, size_t count, uint32_t folder)
{
    for (size_t i = 0; i < count; i++) {
        if (memos[i].folder == folder) return true;
    }
    return false;
}

void pings_remember(struct pings *p, struct seat *s, const struct memo *memos, size_t count,
                    size_t most)
{
    pthread_mutex_lock(&p->lock);
    struct ping_device *d = s->device;
    size_t n = count;
    struct memo *all = calloc(count + d->memo_count + 1, sizeof *all);
    if (all && count) memcpy(all, memos, count * sizeof *all);
    for (size_t i = 0; all && i < d->memo_count && n < most; i++) {
        if (!holds(memos, count, d->memos[i].folder)) all[n++] = d->memos[i];
    }
    if (all) {
        struct memo *exact = realloc(all, (n + 1) * sizeof *all);
        free(d->memos);
        d->memos = exact ? exact : all;
        d->memo_count = n;
    }
    pthread_mutex_unlock(&p->lock);
}

struct pings *pings_create(void)
{
    struct pings *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    pthread_mutex_init(&p->lock, NULL);
    p->sweep_at = SWEEP_FIRST;
    return p;
}

void pings_destroy(struct pings *p)
{
    if (!p) return;
    map_each(&p->devices, device_free, NULL);
    map_finish(&p->devices);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
