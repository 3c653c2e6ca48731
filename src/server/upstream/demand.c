/* Upstreams that demand provisioning: who waits for what, and for how long nothing is asked that was
 * asked in vain. */
#include "src/server/upstream/demand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/observe/log.h"
#include "src/server/upstream/demand_inner.h"

#define TALKS_MAX 65536
#define WAITING_MAX 8        /* calls of one device behind the one under way */
#define FREE_STRIKES 6       /* a changed policy needs two: the device is asked in between */
#define QUIET_MS 600000      /* without any they are forgotten */
#define FIRST_WAIT_MS 15000  /* doubled with each strike, */
#define WAIT_MOST_MS 3600000 /* as far as this */
#define RETRY_AFTER_S 10
#define REFUSAL_MAX 512 /* bytes of a body that holds but a Status */

/* ---- is it a refusal? ---- */
static bool is_refusal(unsigned status)
{
    return status >= 140 && status <= 144;
}

/* Status at the root: by its local name, since each code page has one. */
static bool read_status(enum pv_cmd cmd, const void *body, size_t len, unsigned *status_out)
{
    unsigned char block[4096] __attribute__((aligned(16)));
    struct pv_arena arena;
    const struct pv_node *root, *n;
    uint32_t status;
    if (len == 0 || len > REFUSAL_MAX) return false;
    pv_arena_init(&arena, block, sizeof block);
    if (pv_wbxml_decode(&arena, body, len, &pv_wbxml_limits_small, &root, NULL) != PV_OK ||
        root->tag != pv_cmd_info(cmd)->root)
        return false;
    for (n = root->child; n; n = n->next) {
        const char *name = n->kind == PV_NODE_ELEMENT ? pv_tag_name(n->tag) : NULL;
        if (!name || strcmp(name, "Status") != 0 || !pv_node_u32(n, &status)) continue;
        *status_out = status;
        return true;
    }
    return false;
}

bool demand_refuses(enum pv_cmd cmd, unsigned http, const void *body, size_t len,
                    unsigned *status_out)
{
    unsigned status = 0;
    if (http != 200 && http != 449) return false;
    bool refused = read_status(cmd, body, len, &status) && is_refusal(status);
    *status_out = refused ? status : 0;
    return refused || http == 449;
}

/* ---- devices that are talked of ---- */
/* A DeviceId has no slash. */
#define TALK_NAME (AUTH_USER_MAX + PV_DEVICE_ID_MAX + 2)

static void name_of(const struct call *c, char out[TALK_NAME])
{
    snprintf(out, TALK_NAME, "%s/%s", c->user, c->req.device_id);
}

/* Nothing was asked for long, though it might have been. */
static bool is_quiet(const struct talk *t, uint64_t now)
{
    uint64_t since = t->until_ms > t->last_ms ? t->until_ms : t->last_ms;
    return now >= since + QUIET_MS;
}

static bool is_over(const struct talk *t, uint64_t now)
{
    return !t->now && is_quiet(t, now);
}

static struct talk **bucket_of(struct demands *d, const char *name)
{
    unsigned hash = 2166136261u; /* FNV-1a */
    for (const char *p = name; *p; p++) hash = (hash ^ (unsigned char)*p) * 16777619u;
    return &d->buckets[hash % TALK_BUCKETS];
}

/* What is over goes from the bucket on the way. Mutex locked. */
static struct talk *find(struct demands *d, const char *name, uint64_t now)
{
    struct talk **at = bucket_of(d, name), *found = NULL;
    while (*at) {
        struct talk *t = *at;
        bool same = strcmp(t->name, name) == 0;
        if (same) found = t;
        if (same || !is_over(t, now)) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        d->count--;
        free(t);
    }
    return found;
}

/* NULL: no memory, or too many. Mutex locked. */
static struct talk *find_or_add(struct demands *d, const char *name, uint64_t now)
{
    struct talk *t = find(d, name, now);
    size_t size = strlen(name) + 1;
    if (t || d->count >= TALKS_MAX) return t;
    t = calloc(1, sizeof *t + size);
    if (!t) return NULL;
    memcpy(t->name, name, size);
    t->last_ms = now;
    struct talk **bucket = bucket_of(d, name);
    t->next = *bucket;
    *bucket = t;
    d->count++;
    return t;
}

static struct talk *talk_of(struct settle *s)
{
    char name[TALK_NAME];
    name_of(s->call, name);
    return find(s->demands, name, worker_now_ms(worker_self()));
}

/* Once more, and how long that stands if it was in vain. Mutex locked. */
static void strike(struct talk *t, uint64_t now)
{
    uint64_t wait = FIRST_WAIT_MS;
    if (is_quiet(t, now)) t->strikes = 0;
    t->last_ms = now;
    t->strikes++;
    if (t->strikes <= FREE_STRIKES) return;
    for (unsigned n = FREE_STRIKES + 1; n < t->strikes && wait < WAIT_MOST_MS; n++) wait *= 2;
    t->until_ms = now + (wait < WAIT_MOST_MS ? wait : WAIT_MOST_MS);
}

/* Mutex locked. */
static bool stands(const struct talk *t, uint64_t now, enum demand_result *result_out,
                   unsigned *status_out)
{
    if (!t || t->now || now >= t->until_ms) return false;
    bool refused = t->last == DEMAND_REFUSED;
    *result_out = refused ? DEMAND_REFUSED : DEMAND_FAILED;
    *status_out = refused ? t->last_status : (unsigned)((t->until_ms - now) / 1000) + 1;
    return true;
}

bool demand_stands(struct demands *d, const struct call *c, enum demand_result *result_out,
                   unsigned *status_out)
{
    char name[TALK_NAME];
    uint64_t now = worker_now_ms(worker_self());
    name_of(c, name);
    pthread_mutex_lock(&d->mutex);
    bool so = stands(find(d, name, now), now, result_out, status_out);
    pthread_mutex_unlock(&d->mutex);
    return so;
}

/* ---- beginning and telling ---- */
static void begin(struct task *task)
{
    settle_run(CONTAINER_OF(task, struct settle, task));
}

static void begin_later(struct settle *s)
{
    s->task.fn = begin;
    worker_post(s->home, &s->task);
}

static void tell(struct task *task)
{
    struct settle *s = CONTAINER_OF(task, struct settle, task);
    struct call *c = s->call;
    void (*done)(struct call *, enum demand_result, unsigned) = s->done;
    enum demand_result result = s->result;
    unsigned status = s->result_status;
    settle_free(s);
    done(c, result, status);
}

static void tell_later(struct settle *s, enum demand_result result, unsigned status)
{
    s->result = result;
    s->result_status = status;
    s->task.fn = tell;
    worker_post(s->home, &s->task);
}

static void log_end(const struct settle *s, enum demand_result result, unsigned status)
{
    static const char *const words[] = {[DEMAND_AGAIN] = "satisfied",
                                        [DEMAND_ASK] = "the device is asked",
                                        [DEMAND_REFUSED] = "refused",
                                        [DEMAND_FAILED] = "failed"};
    const struct call *c = s->call;
    if (!call_may_log(c)) return;
    LOG(result == DEMAND_FAILED ? LOG_WARN : LOG_INFO, call_session(c), "upstream-demand",
        KV_TEXT("user", c->user), KV_TEXT("device", c->req.device_id),
        KV_TEXT("upstream", s->upstream), KV_TEXT("result", words[result]),
        KV_UINT("status", status), KV_TEXT("why", s->out.why ? s->out.why : ""));
}

/* The one under way is given up; the next begins anew. Mutex locked. */
static struct settle *promote(struct talk *t)
{
    struct settle *next = t->waiting;
    t->now = next;
    if (!next) return NULL;
    t->waiting = next->next;
    t->waiting_count--;
    next->next = NULL;
    return next;
}

void settle_end(struct settle *s, enum demand_result result, unsigned status)
{
    struct demands *d = s->demands;
    struct settle *waiting = NULL, *next_one = NULL;
    pthread_mutex_lock(&d->mutex);
    struct talk *t = talk_of(s);
    if (s->left) {
        next_one = promote(t);
    } else {
        waiting = t->waiting;
        t->now = NULL;
        t->waiting = NULL;
        t->waiting_count = 0;
        t->last = result;
        t->last_status = status;
    }
    strike(t, worker_now_ms(worker_self()));
    pthread_mutex_unlock(&d->mutex);
    if (next_one) begin_later(next_one);
    if (!s->left) log_end(s, result, status);
    while (waiting) {
        struct settle *next = waiting->next;
        tell_later(waiting, result, status);
        waiting = next;
    }
    tell_later(s, result, status);
}

/* ---- one call ---- */
static char *copy(const char *text, bool *ok)
{
    char *out = text ? strdup(text) : NULL;
    if (text && !out) *ok = false;
    return out;
}

/* NULL: no memory. */
static struct settle *make(struct demands *d, struct call *c)
{
    struct settle *s = calloc(1, sizeof *s);
    bool ok = s != NULL;
    if (!s) return NULL;
    s->demands = d;
    s->call = c;
    s->home = worker_self();
    s->authorization = copy(call_authorization(c), &ok);
    s->agent = copy(http_field(c->http, "User-Agent"), &ok);
    if (ok) return s;
    settle_free(s);
    return NULL;
}

/* Behind the one under way; false: too many wait. Mutex locked. */
static bool queue(struct talk *t, struct settle *s)
{
    struct settle **at = &t->waiting;
    if (t->waiting_count >= WAITING_MAX) return false;
    while (*at) at = &(*at)->next;
    *at = s;
    t->waiting_count++;
    return true;
}

static void settle(struct demands *d, struct settle *s)
{
    char name[TALK_NAME];
    uint64_t now = worker_now_ms(worker_self());
    uint32_t key = gate_demand_key(s->call, s->upstream);
    enum demand_result result = DEMAND_FAILED;
    unsigned status = RETRY_AFTER_S;
    bool over = true, starts = false;
    name_of(s->call, name);
    pthread_mutex_lock(&d->mutex);
    struct talk *t = find_or_add(d, name, now);
    if (t && t->now) {
        over = !queue(t, s);
    } else if (key && key != s->key) {
        result = DEMAND_AGAIN; /* another call has come to terms meanwhile */
    } else if (t && !stands(t, now, &result, &status)) {
        t->now = s;
        over = false;
        starts = true;
    }
    pthread_mutex_unlock(&d->mutex);
    if (over)
        tell_later(s, result, status);
    else if (starts)
        begin_later(s);
}

void demand_settle(struct demands *d, struct call *c, uint32_t key, unsigned http, unsigned status,
                   void (*gone)(struct call *c),
                   void (*done)(struct call *c, enum demand_result result, unsigned status))
{
    const struct upstream *u = upstream_of(d->upstreams, c->user);
    struct settle *s = u ? make(d, c) : NULL;
    if (!s) {
        done(c, DEMAND_FAILED, RETRY_AFTER_S);
        return;
    }
    s->gone = gone;
    s->done = done;
    s->key = key;
    s->http = http;
    s->status = status;
    s->upstream = upstream_url(u);
    call_wait(c, gone);
    settle(d, s);
}

/* ---- leaving ---- */
/* Out of those that wait; NULL: it is not among them. Mutex locked. */
static struct settle *unqueue(struct talk *t, const struct call *c)
{
    struct settle **at = &t->waiting;
    while (*at && (*at)->call != c) at = &(*at)->next;
    struct settle *s = *at;
    if (!s) return NULL;
    *at = s->next;
    t->waiting_count--;
    return s;
}

bool demand_leave(struct demands *d, struct call *c)
{
    char name[TALK_NAME];
    struct settle *mine = NULL, *next = NULL;
    name_of(c, name);
    pthread_mutex_lock(&d->mutex);
    struct talk *t = find(d, name, worker_now_ms(worker_self()));
    if (t && t->now && t->now->call == c) {
        t->now->left = true;
        if (settle_cancel(t->now)) {
            mine = t->now;
            next = promote(t);
        }
    } else if (t) {
        mine = unqueue(t, c);
    }
    pthread_mutex_unlock(&d->mutex);
    if (next) begin_later(next);
    settle_free(mine);
    return mine != NULL;
}

/* ---- all of them ---- */
uint32_t demand_key(struct demands *d, const struct call *c)
{
    const struct upstream *u = upstream_of(d->upstreams, c->user);
    return u ? gate_demand_key(c, upstream_url(u)) : 0;
}

static bool stays(void *ctx, const char *user, const char *upstream)
{
    const struct upstream *u = upstream_of(ctx, user);
    return u && strcmp(upstream_url(u), upstream) == 0;
}

struct demands *demands_create(struct gate *g, struct upstreams *u)
{
    struct demands *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    d->gate = g;
    d->upstreams = u;
    d->pool = pool_create("demand", 1, 1024);
    if (!d->pool) {
        free(d);
        return NULL;
    }
    pthread_mutex_init(&d->mutex, NULL);
    gate_demand_sift(g, stays, u);
    gate_on_wiped(g, demand_farewell, d);
    return d;
}

void demands_destroy(struct demands *d)
{
    if (!d) return;
    pool_destroy(d->pool);
    farewells_free(d);
    for (size_t i = 0; i < TALK_BUCKETS; i++)
        for (struct talk *t = d->buckets[i], *next; t; t = next) {
            next = t->next;
            free(t);
        }
    pthread_mutex_destroy(&d->mutex);
    free(d);
}
