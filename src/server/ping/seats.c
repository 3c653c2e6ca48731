#include "src/server/ping/seats.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/mailbox/map.h"

/* Devices come from the gate, which lets in partnerships only; those that stay away are forgotten
 * when the table has doubled. */
#define FORGET_SECONDS 86400
#define SWEEP_FIRST 1024

struct seat_device {
    struct map_node by_key;
    struct seat *seat; /* who waits; NULL: nobody */
    int64_t used;
    void *memory;
    char *device_id; /* behind user */
    char user[];
};

struct seats {
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
    struct seat_device *d = CONTAINER_OF(n, struct seat_device, by_key);
    (void)ctx;
    free(d->memory);
    free(d);
}

static void sweep_each(void *ctx, struct map_node *n)
{
    struct seats *s = ctx;
    struct seat_device *d = CONTAINER_OF(n, struct seat_device, by_key);
    if (d->seat || d->used > now_seconds() - FORGET_SECONDS) return;
    map_remove(&s->devices, n);
    device_free(NULL, n);
}

static struct seat_device *find(struct seats *s, const char *user, const char *device_id)
{
    struct map_node *n = map_first(&s->devices, key_of(user, device_id));
    for (; n; n = map_next(n)) {
        struct seat_device *d = CONTAINER_OF(n, struct seat_device, by_key);
        if (!strcmp(d->user, user) && !strcmp(d->device_id, device_id)) return d;
    }
    return NULL;
}

static struct seat_device *make(struct seats *s, const char *user, const char *device_id)
{
    size_t user_size = strlen(user) + 1, device_size = strlen(device_id) + 1;
    if (s->devices.count >= s->sweep_at) {
        map_each(&s->devices, sweep_each, s);
        s->sweep_at = s->devices.count < SWEEP_FIRST ? SWEEP_FIRST : 2 * s->devices.count;
    }
    struct seat_device *d = calloc(1, sizeof *d + user_size + device_size);
    if (!d) return NULL;
    memcpy(d->user, user, user_size);
    d->device_id = d->user + user_size;
    memcpy(d->device_id, device_id, device_size);
    if (map_put(&s->devices, &d->by_key, key_of(user, device_id))) return d;
    free(d);
    return NULL;
}

/* On the worker of the one who is ousted. */
static void oust(struct task *t)
{
    struct seat *seat = CONTAINER_OF(t, struct seat, task);
    seat->posted = false; /* the device has another one by now: no second task comes */
    seat->ousted(seat);
}

bool seats_sit(struct seats *s, struct seat *seat, const char *user, const char *device_id)
{
    pthread_mutex_lock(&s->lock);
    struct seat_device *d = find(s, user, device_id);
    if (!d) d = make(s, user, device_id);
    struct seat *before = d ? d->seat : NULL;
    if (before) {
        before->posted = true;
        before->task.fn = oust;
        worker_post(before->home, &before->task);
    }
    if (d) {
        seat->device = d;
        seat->home = worker_self();
        d->seat = seat;
        d->used = now_seconds();
    }
    pthread_mutex_unlock(&s->lock);
    return d != NULL;
}

bool seats_rise(struct seats *s, struct seat *seat)
{
    if (seat->device) {
        pthread_mutex_lock(&s->lock);
        seat->device->used = now_seconds();
        if (seat->device->seat == seat) seat->device->seat = NULL;
        seat->device = NULL;
        pthread_mutex_unlock(&s->lock);
    }
    return !seat->posted; /* nobody but oust changes it any more */
}

bool seats_visit(struct seats *s, const char *user, const char *device_id,
                 void (*visit)(void *ctx, void **memory), void *ctx)
{
    pthread_mutex_lock(&s->lock);
    struct seat_device *d = find(s, user, device_id);
    if (d) visit(ctx, &d->memory);
    pthread_mutex_unlock(&s->lock);
    return d != NULL;
}

void seats_visit_own(struct seats *s, const struct seat *seat,
                     void (*visit)(void *ctx, void **memory), void *ctx)
{
    pthread_mutex_lock(&s->lock);
    visit(ctx, &seat->device->memory);
    pthread_mutex_unlock(&s->lock);
}

struct seats *seats_create(void)
{
    struct seats *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    pthread_mutex_init(&s->lock, NULL);
    s->sweep_at = SWEEP_FIRST;
    return s;
}

void seats_destroy(struct seats *s)
{
    if (!s) return;
    map_each(&s->devices, device_free, NULL);
    map_finish(&s->devices);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
