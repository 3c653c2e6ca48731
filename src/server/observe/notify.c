/* One thread, which waits in one place (curl_multi_poll) for the program's end, for the web server,
 * for the next attempt's time, and to be woken. Whoever is told goes through the events at a pace
 * of its own; what all have behind them is done with. */
#include "src/server/observe/notify.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/json_text.h"
#include "src/lib/policy/settings.h"
#include "src/server/observe/log.h"
#include "src/server/observe/notify_target.h"

#define AT_ONCE 64          /* events of one read */
#define SOURCE_AWAY_MS 1000 /* until it is asked again */
#define NO_PID_FD_MS 50     /* how often to look at a program that cannot be waited for */
#define SLEEP_MS (60 * 1000)
#define NAME_CAP 32

enum { PROGRAM, WEBHOOK, TARGET_COUNT };

struct target {
    const char *name; /* NULL: nobody is there */
    uint64_t taken;   /* every event up to it is behind this target */
    bool dry;         /* and there was none above it */
    /* The event that is told, or will be again. */
    uint64_t id;
    char *body; /* NULL: none */
    char event[NAME_CAP];
    bool running;
    unsigned failures; /* in a row */
    int64_t again_at;  /* not before */
};

struct notify {
    struct notify_options o;
    struct notify_source source;
    CURLM *multi;
    struct notify_program program;
    struct notify_post *post; /* NULL: none */
    struct target targets[TARGET_COUNT];
    uint64_t done;        /* every event up to it is done with */
    int64_t source_again; /* it is out of reach until then */
    pthread_t thread;
    atomic_bool woken, stopping;
    struct change *_Atomic change; /* to be taken over */
};

/* Other options, and what they need. */
struct change {
    struct notify_options o;
    struct notify_post *post;
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- events ---- */

struct event {
    char name[NAME_CAP];
    bool wanted;
    const char *unfit; /* why it can be told to nobody; NULL: it can */
    int64_t at;        /* seconds since 1970; 0: it does not say */
};

/* false: no memory. */
static bool read_event(const struct notify *n, const char *json, struct event *e)
{
    json_t *object;
    *e = (struct event){0};
    if (!json_of_text(json, strlen(json), 0, &object)) return false;
    const char *name = json_string_value(json_object_get(object, "event"));
    const char *at = json_string_value(json_object_get(object, "at"));
    if (!name || json_object_get(object, "id") || *json != '{')
        e->unfit = "it is no event";
    else
        snprintf(e->name, sizeof e->name, "%s", name);
    for (size_t i = 0; name && i < n->o.event_count; i++)
        e->wanted = e->wanted || strcmp(n->o.events[i], name) == 0;
    if (at && pv__date_parse(at, strlen(at), &e->at) == PV_OK &&
        time(NULL) - e->at > NOTIFY_AGE_MAX_S)
        e->unfit = "nobody took it for too long";
    json_decref(object);
    return true;
}

static void tell_dropped(const struct target *t, uint64_t id, const struct event *e)
{
    LOG(LOG_WARN, 0, "notify-dropped", KV_TEXT("target", t->name), KV_UINT("id", id),
        KV_TEXT("event", e->name), KV_TEXT("why", e->unfit));
}

/* ---- the next event of a target ---- */

struct search {
    const struct notify *n;
    struct target *t;
    unsigned seen;
    bool no_memory;
};

/* The first that is for it. Those before are behind it at once. */
static void consider(void *ctx, uint64_t id, const char *json)
{
    struct search *s = ctx;
    struct target *t = s->t;
    struct event e;
    s->seen++;
    if (t->body || s->no_memory) return;
    s->no_memory = !read_event(s->n, json, &e);
    if (s->no_memory) return;
    if (!e.unfit && e.wanted) {
        /* The id goes before the members: it is an object that has some. */
        s->no_memory = asprintf(&t->body, "{\"id\":%" PRIu64 ",%s", id, json + 1) < 0;
        if (s->no_memory) t->body = NULL;
        t->id = id;
        memcpy(t->event, e.name, sizeof t->event);
        return;
    }
    if (e.unfit && (e.wanted || !e.name[0])) tell_dropped(t, id, &e);
    t->taken = id;
}

/* There is an event to be told. */
static bool find_event(struct notify *n, struct target *t, int64_t now)
{
    if (t->body || t->dry || now < n->source_again) return t->body != NULL;
    struct search s = {n, t, 0, false};
    bool good = n->source.read(n->source.ctx, t->taken, AT_ONCE, consider, &s) && !s.no_memory;
    if (!good) n->source_again = now + SOURCE_AWAY_MS;
    t->dry = good && s.seen < AT_ONCE && !t->body;
    return t->body != NULL;
}

static bool too_old(const struct notify *n, const struct target *t)
{
    struct event e;
    if (!read_event(n, t->body, &e)) return false;
    return e.at && time(NULL) - e.at > NOTIFY_AGE_MAX_S;
}

static void put_behind(struct target *t)
{
    t->taken = t->id;
    t->failures = 0;
    t->again_at = 0;
    free(t->body);
    t->body = NULL;
}

/* ---- telling ---- */

static void failed(const struct notify *n, struct target *t, int64_t now,
                   const struct notify_why *why)
{
    uint64_t wait = (uint64_t)n->o.wait_ms << (t->failures < 16 ? t->failures : 16);
    if (wait > NOTIFY_WAIT_MAX_MS) wait = NOTIFY_WAIT_MAX_MS;
    t->failures++;
    t->again_at = now + (int64_t)wait;
    LOG(LOG_WARN, 0, "notify-failed", KV_TEXT("target", t->name), KV_UINT("id", t->id),
        KV_TEXT("event", t->event), KV_TEXT("why", why->text), KV_UINT("again_ms", wait));
}

static bool begin(struct notify *n, const struct target *t, int64_t now, struct notify_why *why)
{
    return t == &n->targets[PROGRAM] ? notify_program_start(&n->program, t->body, now, why)
                                     : notify_post_start(n->post, t->body, why);
}

static enum notify_state look(struct notify *n, const struct target *t, int64_t now,
                              struct notify_why *why)
{
    return t == &n->targets[PROGRAM] ? notify_program_look(&n->program, now, why)
                                     : notify_post_look(n->post, why);
}

static void finish(struct notify *n, struct target *t, int64_t now)
{
    struct notify_why why;
    enum notify_state state = look(n, t, now, &why);
    t->running = state == NOTIFY_RUNNING;
    if (state == NOTIFY_TAKEN) {
        LOG(LOG_INFO, 0, "notified", KV_TEXT("target", t->name), KV_UINT("id", t->id),
            KV_TEXT("event", t->event));
        put_behind(t);
    } else if (state == NOTIFY_REFUSED) {
        failed(n, t, now, &why);
    }
}

static void turn(struct notify *n, struct target *t, int64_t now)
{
    struct notify_why why;
    if (t->running) finish(n, t, now);
    if (t->running || !find_event(n, t, now) || now < t->again_at) return;
    if (t->failures && too_old(n, t)) {
        struct event e = {.unfit = "nobody took it for too long"};
        memcpy(e.name, t->event, sizeof e.name);
        tell_dropped(t, t->id, &e);
        put_behind(t);
        return;
    }
    t->running = begin(n, t, now, &why);
    if (!t->running) failed(n, t, now, &why);
}

/* ---- what is behind all ---- */

struct ids {
    uint64_t id[AT_ONCE];
    unsigned count;
};

static void note_id(void *ctx, uint64_t id, const char *json)
{
    (void)json;
    struct ids *ids = ctx;
    ids->id[ids->count++] = id;
}

static uint64_t behind_all(const struct notify *n)
{
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < TARGET_COUNT; i++)
        if (n->targets[i].name && n->targets[i].taken < least) least = n->targets[i].taken;
    return least;
}

/* false: the source is out of reach. *more_out: there may be more. */
static bool finish_some(struct notify *n, uint64_t up_to, bool *more_out)
{
    struct ids ids = {.count = 0};
    if (!n->source.read(n->source.ctx, n->done, AT_ONCE, note_id, &ids)) return false;
    for (unsigned i = 0; i < ids.count && ids.id[i] <= up_to; i++) {
        if (!n->source.done(n->source.ctx, ids.id[i])) return false;
        n->done = ids.id[i];
    }
    *more_out = ids.count == AT_ONCE && n->done == ids.id[ids.count - 1];
    return true;
}

/* look_anyway: there may be events although nobody is told of any. */
static void finish_events(struct notify *n, bool look_anyway, int64_t now)
{
    uint64_t up_to = behind_all(n);
    bool more = up_to > n->done && now >= n->source_again && (up_to < UINT64_MAX || look_anyway);
    while (more && !atomic_load(&n->stopping)) {
        if (finish_some(n, up_to, &more)) continue;
        n->source_again = now + SOURCE_AWAY_MS;
        more = false;
    }
}

/* ---- whom to tell ---- */

static void free_post(struct notify_post *p)
{
    if (p) notify_post_finish(p);
    free(p);
}

/* false: no memory. */
static bool make_post(const struct notify *n, const struct notify_options *o,
                      struct notify_post **out)
{
    *out = NULL;
    if (!o->url) return true;
    *out = calloc(1, sizeof **out);
    if (*out && notify_post_init(*out, n->multi, o->url, o->timeout_ms)) return true;
    free_post(*out);
    return false;
}

static void tell_others(struct notify *n, const struct notify_options *o, struct notify_post *post)
{
    const char *const names[] = {
        [PROGRAM] = o->program ? "program" : NULL, [WEBHOOK] = o->url ? "webhook" : NULL};
    n->o = *o;
    n->post = post;
    n->program =
        (struct notify_program){.path = o->program, .timeout_ms = o->timeout_ms, .pid_fd = -1};
    for (size_t i = 0; i < TARGET_COUNT; i++) {
        struct target *t = &n->targets[i];
        free(t->body);
        *t = (struct target){.name = names[i], .taken = t->name ? t->taken : n->done};
    }
}

static void take_change(struct notify *n)
{
    struct change *c = atomic_exchange(&n->change, NULL);
    if (!c) return;
    notify_program_abort(&n->program);
    free_post(n->post);
    tell_others(n, &c->o, c->post);
    free(c);
}

bool notify_change(struct notify *n, const struct notify_options *o)
{
    struct change *c = malloc(sizeof *c);
    if (!c) return false;
    c->o = *o;
    if (!make_post(n, o, &c->post)) {
        free(c);
        return false;
    }
    struct change *before = atomic_exchange(&n->change, c);
    if (before) free_post(before->post);
    free(before);
    notify_wake(n);
    return true;
}

/* ---- the thread ---- */

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Milliseconds until something is due that nothing else tells of. */
static int until_due(const struct notify *n, int64_t now)
{
    int64_t due = now + SLEEP_MS;
    for (size_t i = 0; i < TARGET_COUNT; i++) {
        const struct target *t = &n->targets[i];
        if (!t->name || t->running) continue;
        if (t->body)
            due = sooner(due, t->again_at);
        else if (!t->dry) /* more events, or nobody could say */
            due = sooner(due, n->source_again);
    }
    if (n->targets[PROGRAM].running && !n->program.late) due = sooner(due, n->program.deadline);
    if (n->targets[PROGRAM].running && n->program.pid_fd < 0) due = sooner(due, now + NO_PID_FD_MS);
    if (n->source_again > now) due = sooner(due, n->source_again);
    return due > now ? (int)(due - now) : 0;
}

static void wait_for_something(struct notify *n)
{
    struct curl_waitfd ended = {.fd = n->program.pid_fd, .events = CURL_WAIT_POLLIN};
    bool waits = n->targets[PROGRAM].running && ended.fd >= 0;
    int running, ms = until_due(n, now_ms());
    if (curl_multi_poll(n->multi, &ended, waits, ms, NULL) != CURLM_OK)
        nanosleep(&(struct timespec){.tv_nsec = NO_PID_FD_MS * 1000000L}, NULL); /* no memory */
    if (n->targets[WEBHOOK].name) curl_multi_perform(n->multi, &running);
}

static void *notify_main(void *arg)
{
    struct notify *n = arg;
    bool away = true; /* the source was, or was not asked yet */
    pthread_setname_np(pthread_self(), "notify");
    while (!atomic_load(&n->stopping)) {
        int64_t now = now_ms();
        bool woken = atomic_exchange(&n->woken, false);
        take_change(n);
        for (size_t i = 0; i < TARGET_COUNT; i++) {
            if (woken) n->targets[i].dry = false;
            if (n->targets[i].name) turn(n, &n->targets[i], now);
        }
        finish_events(n, woken || away, now);
        away = n->source_again > now;
        wait_for_something(n);
    }
    return NULL;
}

void notify_wake(struct notify *n)
{
    atomic_store(&n->woken, true);
    curl_multi_wakeup(n->multi);
}

/* ---- from the beginning to the end ---- */

void notify_destroy(struct notify *n)
{
    if (!n) return;
    struct change *c = atomic_exchange(&n->change, NULL);
    if (c) free_post(c->post);
    free(c);
    free_post(n->post);
    for (size_t i = 0; i < TARGET_COUNT; i++) free(n->targets[i].body);
    curl_multi_cleanup(n->multi);
    curl_global_cleanup();
    free(n);
}

struct notify *notify_start(const struct notify_options *o, const struct notify_source *source,
                            char *error, size_t error_cap)
{
    struct notify *n = calloc(1, sizeof *n);
    snprintf(error, error_cap, "notifications: out of memory");
    if (!n) return NULL;
    *n = (struct notify){.source = *source, .woken = true};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(n);
        return NULL;
    }
    n->multi = curl_multi_init();
    if (n->multi && make_post(n, o, &n->post)) {
        tell_others(n, o, n->post);
        int rc = pthread_create(&n->thread, NULL, notify_main, n);
        if (rc == 0) return n;
        snprintf(error, error_cap, "notifications: the thread cannot be started: %s", strerror(rc));
    }
    notify_destroy(n);
    return NULL;
}

void notify_stop(struct notify *n)
{
    if (!n) return;
    atomic_store(&n->stopping, true);
    curl_multi_wakeup(n->multi);
    pthread_join(n->thread, NULL);
    notify_program_abort(&n->program);
    if (n->post) notify_post_abort(n->post);
}
