/* Lists in memory and in the store that others share: whether they are what was heard of, reading them
 * again, and changes that must not be made of old ones. */
#include "src/server/gate/lists.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/gate/inner.h"
#include "src/server/gate/lists_read.h"
#include "src/server/gate/rules/rules_admin.h"
#include "src/server/http/pool.h"
#include "src/server/observe/log.h"

#define ERROR_MAX 512
#define BEHIND_MS 10000 /* between two readings of what may wait */
#define READINGS_MAX 16 /* that changes of our own may spoil, one after the other */

struct lists {
    struct gate *gate;
    pthread_mutex_t
        reading; /* whoever reads the lists; before the other one, which guards the rest: */
    pthread_mutex_t mutex;
    char generation[LISTS_TEXT]; /* "": there was none */
    uint64_t epoch;              /* how often memory has got other ones */
    _Atomic uint64_t asked;      /* how often they were to be compared with the store */
    _Atomic uint64_t told;       /* the last time since another server has changed them */
    _Atomic uint64_t answered;   /* the last time that was done */
    struct lists_waiter *waiters;
    struct job job;
    bool queued;
    bool failing; /* it was told of */
    struct pool *pool;
    const struct lists_part *parts[LISTS_PARTS_MAX];
    size_t part_count;
    bool behind_due;    /* another server has changed something, perhaps of parts that may wait */
    uint64_t behind_ms; /* when those were read last */
};

/* ---- reading them again ---- */
size_t lists_parts(const struct gate *g, const struct lists_part *const **out)
{
    *out = g->lists->parts;
    return g->lists->part_count;
}

void lists_take(struct gate *g, struct lists_reading *r)
{
    struct lists *l = g->lists;
    memcpy(l->generation, r->generation, sizeof l->generation);
    l->epoch++;
    lists_reading_take(r);
}

/* Locks what it says with the mutex. */
static bool take_unless_changed(struct gate *g, struct lists_reading *r, uint64_t epoch)
{
    struct lists *l = g->lists;
    pthread_mutex_lock(&l->mutex);
    bool same = l->epoch == epoch;
    if (same) lists_take(g, r);
    pthread_mutex_unlock(&l->mutex);
    return same;
}

static uint64_t epoch_of(struct lists *l)
{
    pthread_mutex_lock(&l->mutex);
    uint64_t epoch = l->epoch;
    pthread_mutex_unlock(&l->mutex);
    return epoch;
}

/* What was read while a change of our own came into memory may be from before that change: once more. */
static bool read_all(struct gate *g, char *error, size_t error_cap)
{
    struct lists *l = g->lists;
    bool taken = false, read = true;
    pthread_mutex_lock(&l->reading);
    for (unsigned n = 0; !taken && read && n < READINGS_MAX; n++) {
        uint64_t epoch = epoch_of(l);
        struct lists_reading *r = lists_read(g, error, error_cap);
        read = r != NULL;
        taken = r && take_unless_changed(g, r, epoch);
        lists_reading_free(r);
    }
    pthread_mutex_unlock(&l->reading);
    if (read && !taken) snprintf(error, error_cap, "they change all the time");
    claims_prune(g->claims);
    return taken;
}

/* ---- parts that may wait ---- */
static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Is it time? Then it is done, as far as the next one knows. */
static bool take_behind(struct lists *l)
{
    uint64_t now = now_ms();
    pthread_mutex_lock(&l->mutex);
    bool due = l->behind_due && (!l->behind_ms || now - l->behind_ms >= BEHIND_MS);
    if (due) {
        l->behind_due = false;
        l->behind_ms = now;
    }
    pthread_mutex_unlock(&l->mutex);
    return due;
}

static bool read_part(struct gate *g, const struct lists_part *p, char *error, size_t error_cap)
{
    const struct store_visitor visitor = {.item = p->item};
    void *reading = p->begin(p->ctx);
    bool ok = reading && store_load(g->store, &visitor, reading, error, error_cap);
    if (!reading) snprintf(error, error_cap, "out of memory");
    if (reading) p->end(p->ctx, reading, ok);
    return ok;
}

static void read_behind(struct gate *g)
{
    char error[ERROR_MAX];
    struct lists *l = g->lists;
    if (!take_behind(l)) return;
    pthread_mutex_lock(&l->reading);
    for (size_t i = 0; i < l->part_count; i++)
        if (l->parts[i]->behind) (void)read_part(g, l->parts[i], error, sizeof error);
    pthread_mutex_unlock(&l->reading);
}

/* ---- comparing them ---- */
static bool is_same(struct lists *l, const char *generation)
{
    pthread_mutex_lock(&l->mutex);
    bool same = strcmp(l->generation, generation) == 0;
    pthread_mutex_unlock(&l->mutex);
    return same;
}

static bool compare(struct gate *g, char *error, size_t error_cap)
{
    struct item_record item;
    void *block = NULL;
    int found = store_read_item(g->store, LISTS_KIND, LISTS_NAME, &item, &block);
    bool same = found >= 0 && is_same(g->lists, found ? item.json : "");
    free(block);
    if (found < 0) snprintf(error, error_cap, "the store is out of reach");
    if (found < 0 || same) return same;
    if (!read_all(g, error, error_cap)) return false;
    LOG(LOG_INFO, 0, "lists-read");
    return true;
}

static void tell(struct task *task)
{
    struct lists_waiter *w = (struct lists_waiter *)task;
    w->ready(w, w->ok);
}

/* Those who wait for the nth comparison, or an earlier one. Mutex locked. */
static void answer(struct lists *l, uint64_t n, bool ok)
{
    struct lists_waiter **at = &l->waiters;
    while (*at) {
        struct lists_waiter *w = *at;
        if (w->until > n) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->ok = ok;
        w->task.fn = tell;
        worker_post(w->home, &w->task);
    }
}

static void look(struct job *j)
{
    struct lists *l = CONTAINER_OF(j, struct lists, job);
    char error[ERROR_MAX] = "";
    pthread_mutex_lock(&l->mutex);
    l->queued = false;
    uint64_t n = l->asked;
    pthread_mutex_unlock(&l->mutex);
    bool ok = compare(l->gate, error, sizeof error);
    pthread_mutex_lock(&l->mutex);
    if (!ok && !l->failing) LOG(LOG_ERROR, 0, "lists-not-read", KV_TEXT("why", error));
    if (ok && l->failing) LOG(LOG_WARN, 0, "lists-read-again");
    l->failing = !ok;
    if (ok) l->answered = n;
    answer(l, n, ok);
    pthread_mutex_unlock(&l->mutex);
    if (ok) read_behind(l->gate);
}

/* Mutex locked. */
static void start_look(struct lists *l)
{
    if (l->queued) return;
    l->job.run = look;
    l->queued = pool_submit_for(l->pool, &l->job, NULL);
    if (!l->queued) answer(l, l->asked, false);
}

bool lists_are_known(const struct gate *g)
{
    return g->lists->answered >= g->lists->told;
}

bool lists_want(struct gate *g, struct lists_waiter *w, enum lists_need need)
{
    struct lists *l = g->lists;
    /* What is not shared is changed by nobody else, but for a backup that is restored. */
    bool known_do = need == LISTS_KNOWN || !store_is_shared(g->store);
    if (known_do && lists_are_known(g)) return true;
    pthread_mutex_lock(&l->mutex);
    w->until = known_do ? l->told : ++l->asked;
    w->home = worker_self();
    w->next = l->waiters;
    l->waiters = w;
    start_look(l);
    pthread_mutex_unlock(&l->mutex);
    return false;
}

void lists_stale(struct gate *g)
{
    struct lists *l = g->lists;
    pthread_mutex_lock(&l->mutex);
    l->told = ++l->asked;
    l->behind_due = true;
    start_look(l);
    pthread_mutex_unlock(&l->mutex);
}

void lists_look_after(struct gate *g)
{
    struct lists *l = g->lists;
    pthread_mutex_lock(&l->mutex);
    if (!lists_are_known(g) || l->behind_due) start_look(l);
    pthread_mutex_unlock(&l->mutex);
}

/* ---- changes ---- */
void lists_made_of(struct gate *g, struct lists_guard *guard, struct book **book_out,
                   struct rules **rules_out)
{
    struct lists *l = g->lists;
    pthread_mutex_lock(&l->mutex);
    memcpy(guard->was, l->generation, sizeof guard->was);
    if (book_out) *book_out = gate_book(g);
    if (rules_out) *rules_out = gate_rules(g);
    pthread_mutex_unlock(&l->mutex);
    lists_name(guard->next);
}

void lists_name(char out[LISTS_TEXT])
{
    snprintf(out, LISTS_TEXT, "\"%016" PRIx64 "\"", store_tag());
}

static struct store_change change_to(const char *json, const char *was)
{
    return (struct store_change){
        .kind = STORE_PUT_ITEM,
        .u.item = {.kind = LISTS_KIND, .name = LISTS_NAME, .json = json, .was_json = was}};
}

struct store_change lists_change(const struct lists_guard *guard)
{
    return change_to(guard->next, guard->was);
}

struct store_change lists_check(const struct lists_guard *guard)
{
    return change_to(guard->was, guard->was);
}

bool lists_enter(struct gate *g, const struct lists_guard *guard)
{
    struct lists *l = g->lists;
    pthread_mutex_lock(&l->mutex);
    bool as_made = strcmp(l->generation, guard->was) == 0;
    if (as_made) memcpy(l->generation, guard->next, sizeof l->generation);
    l->epoch++;
    return as_made;
}

void lists_leave(struct gate *g)
{
    pthread_mutex_unlock(&g->lists->mutex);
}

bool lists_failed(struct gate *g, const struct store_write *w)
{
    if (w->conflict || w->lost) lists_stale(g);
    return w->conflict;
}

/* ---- from outside of the gate ---- */
struct turn_of_lists {
    struct ticket ticket; /* first: see run_turn */
    struct lists_submit *submit;
};

static void tell_submitter(struct task *task)
{
    struct lists_submit *s = CONTAINER_OF(task, struct lists_submit, write.task);
    s->done(s, s->result);
}

/* Results that are there at once come by the same way as the others: later, on the worker. */
static void end(struct lists_submit *s, enum gate_result result)
{
    free(s->turn);
    s->turn = NULL;
    s->result = result;
    s->write.task.fn = tell_submitter;
    worker_post(worker_self(), &s->write.task);
}

static void submit_stored(struct store_write *w)
{
    struct lists_submit *s = CONTAINER_OF(w, struct lists_submit, write);
    enum gate_result result = GATE_OK;
    if (w->durable) {
        (void)lists_enter(s->gate, &s->guard);
        s->keep(s);
        lists_leave(s->gate);
    } else {
        result = lists_failed(s->gate, w) ? GATE_CONFLICT : GATE_STORE;
    }
    admin_turn_end(s->gate);
    end(s, result);
}

static void run_turn(struct ticket *t)
{
    struct lists_submit *s = ((struct turn_of_lists *)t)->submit;
    struct store_change changes[LISTS_SUBMIT_MOST + 1];
    lists_made_of(s->gate, &s->guard, NULL, NULL);
    memcpy(changes, s->changes, s->count * sizeof *changes);
    changes[s->count] = lists_change(&s->guard);
    s->write.done = submit_stored;
    if (store_submit(s->gate->store, changes, s->count + 1, &s->write)) return;
    admin_turn_end(s->gate);
    end(s, GATE_STORE);
}

static void submit_fresh(struct lists_waiter *w, bool ok)
{
    struct lists_submit *s = CONTAINER_OF(w, struct lists_submit, waiter);
    struct turn_of_lists *t = ok ? malloc(sizeof *t) : NULL;
    bool now = false;
    s->turn = t;
    if (t) t->submit = s;
    if (!t || !admin_turn_take(s->gate, &t->ticket, run_turn, &now))
        end(s, GATE_STORE);
    else if (now)
        run_turn(&t->ticket);
}

void gate_submit_lists(struct gate *g, struct lists_submit *s)
{
    s->gate = g;
    s->turn = NULL;
    s->waiter.ready = submit_fresh;
    if (lists_want(g, &s->waiter, LISTS_FRESH)) submit_fresh(&s->waiter, true);
}

/* ---- what others keep ---- */
bool gate_add_lists(struct gate *g, const struct lists_part *p, char *error, size_t error_cap)
{
    struct lists *l = g->lists;
    pthread_mutex_lock(&l->reading);
    bool ok = read_part(g, p, error, error_cap);
    if (ok) l->parts[l->part_count++] = p;
    pthread_mutex_unlock(&l->reading);
    return ok;
}

void gate_drop_lists(struct gate *g, const struct lists_part *p)
{
    struct lists *l = g->lists;
    pthread_mutex_lock(&l->reading);
    for (size_t i = 0; i < l->part_count; i++)
        if (l->parts[i] == p) l->parts[i] = l->parts[--l->part_count];
    pthread_mutex_unlock(&l->reading);
}

/* ---- the lists themselves ---- */
static void hear_lists(void *ctx)
{
    lists_stale(ctx);
}

static void hear_user(void *ctx, const char *user)
{
    resident_stale(ctx, user);
}

static void hear_all(void *ctx)
{
    lists_stale(ctx);
    resident_stale(ctx, NULL);
}

/* Before anything is read: what is changed from then on is heard of. */
bool lists_create(struct gate *g, char *error, size_t error_cap)
{
    const struct store_follower f = {
        .user = hear_user, .lists = hear_lists, .all = hear_all, .ctx = g};
    struct lists *l = calloc(1, sizeof *l);
    snprintf(error, error_cap, "out of memory");
    if (!l) return false;
    l->gate = g;
    pthread_mutex_init(&l->reading, NULL);
    pthread_mutex_init(&l->mutex, NULL);
    g->lists = l;
    l->pool = pool_create("lists", 1, 2);
    if (!l->pool) return false;
    snprintf(error, error_cap, "the store cannot be followed");
    return store_follow(g->store, &f);
}

void lists_destroy(struct gate *g)
{
    struct lists *l = g->lists;
    if (!l) return;
    if (l->pool) {
        (void)store_follow(g->store, NULL);
        pool_destroy(l->pool);
    }
    pthread_mutex_destroy(&l->reading);
    pthread_mutex_destroy(&l->mutex);
    free(l);
}
