#include "src/server/upstream/fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/upstream/fetch_inner.h"

#define POOL_MAX 256                 /* of each worker */
#define KEPT_MAX ((size_t)16 * 1024) /* larger blocks of a pooled run go */

/* The run whose fetch has just ended, while done is called: the fetch may be gone afterwards. */
static _Thread_local struct fetch_run *ending;

/* ---- lists ---- */

static void list_add(struct run_list *l, struct fetch_run *run)
{
    run->next = NULL;
    run->prev = l->last;
    if (l->last)
        l->last->next = run;
    else
        l->first = run;
    l->last = run;
}

static void list_drop(struct run_list *l, struct fetch_run *run)
{
    if (run->prev)
        run->prev->next = run->next;
    else
        l->first = run->next;
    if (run->next)
        run->next->prev = run->prev;
    else
        l->last = run->prev;
    run->prev = run->next = NULL;
}

static struct run_list *list_of(struct fetch_run *run)
{
    switch (run->state) {
    case RUN_NEW: return &run->station->fresh;
    case RUN_QUEUED: return &run->use->queued;
    case RUN_ACTIVE: return &run->station->active;
    default: return &run->station->pool;
    }
}

static void move(struct fetch_run *run, enum run_state to)
{
    list_drop(list_of(run), run);
    run->state = to;
    list_add(list_of(run), run);
}

/* ---- runs ---- */

void run_free(struct fetch_run *run)
{
    if (run->text) explicit_bzero(run->text, run->head_len);
    answer_head_free(&run->head);
    free(run->answer);
    free(run->line);
    free(run->piece);
    free(run->text);
    free(run);
}

static struct fetch_run *run_take(struct station *s)
{
    struct fetch_run *run = s->pool.last;
    if (run) {
        list_drop(&s->pool, run);
        s->pooled--;
    } else if ((run = calloc(1, sizeof *run))) {
        run->station = s;
    }
    return run;
}

/* Kept while others are asked, unless nobody asks the peer any more and no connection to it rests. */
static void drop_use(struct station *s, struct peer_use *use)
{
    if (use->runs > 0 || use->conns > 0) return;
    struct peer_use **at = &s->uses;
    while (*at != use) at = &(*at)->next;
    *at = use->next;
    free(use);
}

static void stop_waking(struct fetch_run *run)
{
    struct fetch_run **at = &run->station->waking;
    if (!run->waking) return;
    while (*at != run) at = &(*at)->next_waking;
    *at = run->next_waking;
    run->waking = false;
}

static void begin_next(struct peer_use *use)
{
    struct fetch_run *run = use->queued.first;
    if (run) move(run, RUN_NEW); /* the turn takes it up */
}

static void release(void *block, void *kept_out, size_t *cap)
{
    if (*cap <= KEPT_MAX) return;
    free(block);
    *(void **)kept_out = NULL;
    *cap = 0;
}

/* It is over: it rests, and its connection too. */
static void run_rest(struct fetch_run *run)
{
    struct station *s = run->station;
    struct peer_use *use = run->use;
    timer_stop(s->worker, &run->timer);
    stop_waking(run);
    if (run->conn) conn_rest(run->conn);
    run->conn = NULL;
    list_drop(list_of(run), run);
    run->use = NULL;
    run->fetch = NULL;
    use->runs--;
    begin_next(use);
    drop_use(s, use);
    explicit_bzero(run->text, run->head_len); /* there is a password in it */
    free(run->piece);
    run->piece = NULL;
    run->state = RUN_IDLE;
    if (s->pooled >= POOL_MAX) {
        run_free(run);
        return;
    }
    release(run->text, &run->text, &run->text_cap);
    release(run->answer, &run->answer, &run->answer_cap);
    release(run->line, &run->line, &run->line_cap);
    if (run->head.cap > KEPT_MAX) answer_head_free(&run->head);
    list_add(&s->pool, run);
    s->pooled++;
}

/* ---- the end ---- */

void run_end(struct fetch_run *run, enum fetch_result result, const char *why)
{
    struct fetch *f = run->fetch;
    snprintf(f->error, sizeof f->error, "%s", result == FETCH_OK ? "" : why);
    f->body = run->answer_len ? run->answer : NULL;
    f->len = run->answer_len;
    f->run = NULL;
    ending = run;
    run->station->told = true;
    f->done(f, result);
    ending = NULL;
    run_rest(run);
}

static void reset(struct fetch_run *run)
{
    run->asked = run->answered = run->sent = 0;
    run->answer_len = run->line_len = run->piece_len = run->piece_sent = 0;
    run->starved = run->body_ended = run->paused = run->mute = false;
    run->kind = BODY_NONE;
    run->chunks = (struct chunks){0};
    answer_head_reset(&run->head);
}

void run_go_again(struct fetch_run *run)
{
    conn_close(run->conn);
    run->conn = NULL;
    run->once = true;
    reset(run);
    move(run, RUN_NEW);
}

/* ---- clocks ---- */

static void on_clock(struct timer *t)
{
    struct fetch_run *run = CONTAINER_OF(t, struct fetch_run, timer);
    uint64_t now = worker_now_ms(run->station->worker), limit = run->limit_ms;
    bool queued = run->state == RUN_QUEUED || run->state == RUN_NEW;
    if (run->starved || run->paused) run->since_ms = now; /* others are waited for */
    if (queued && run->peer->connect_ms) limit = run->peer->connect_ms;
    if (limit == 0) return;
    if (now - run->since_ms < limit) {
        timer_set(run->station->worker, t, run->since_ms + limit - now, on_clock);
        return;
    }
    if (run->conn) run->conn->failed = true;
    if (queued)
        run_end(run, FETCH_BUSY, "all connections to it are taken");
    else
        run_end(run, FETCH_TIMEOUT,
                run->head.done ? "its answer stopped coming" : "its answer did not come in time");
}

void run_progress(struct fetch_run *run)
{
    run->since_ms = worker_now_ms(run->station->worker);
    run->station->told = true;
}

void run_watch_clock(struct fetch_run *run)
{
    run->since_ms = worker_now_ms(run->station->worker);
    timer_set(run->station->worker, &run->timer, run->limit_ms, on_clock);
}

/* ---- the start ---- */

static struct peer_use *use_of(struct station *s, const struct fetch_peer *peer)
{
    for (struct peer_use *u = s->uses; u; u = u->next)
        if (u->peer == peer) return u;
    struct peer_use *u = calloc(1, sizeof *u);
    if (!u) return NULL;
    u->peer = peer;
    u->next = s->uses;
    return s->uses = u;
}

bool fetch_start(struct fetcher *r, struct fetch *f, const struct fetch_ask *ask)
{
    struct station *s = station_here(r);
    struct peer_use *use = s ? use_of(s, ask->peer) : NULL;
    struct fetch_run *run = use ? run_take(s) : NULL;
    if (!run) {
        if (use) drop_use(s, use);
        return false;
    }
    if (!run_keep_ask(run, ask)) {
        run_free(run);
        drop_use(s, use);
        return false;
    }
    run->state = RUN_NEW;
    run->use = use;
    use->runs++;
    list_add(&s->fresh, run);
    run->fetch = f;
    reset(run);
    f->run = run;
    f->answer_max = ask->answer_max;
    f->status = 0;
    f->length = UINT64_MAX;
    f->body = NULL;
    f->len = 0;
    f->error[0] = '\0';
    run->limit_ms = run->head_ms;
    run->since_ms = worker_now_ms(s->worker);
    return true;
}

static void begin(struct fetch_run *run)
{
    move(run, RUN_ACTIVE);
    if (!conn_take(run)) {
        run_end(run, FETCH_NO_MEMORY, "out of memory");
        return;
    }
    if (run->limit_ms) run_watch_clock(run);
    if (run->conn->sock) talk_begin(run); /* else once it is made */
}

void runs_begin(struct station *s)
{
    unsigned count = 0;
    for (struct fetch_run *run = s->fresh.first; run; run = run->next) count++;
    /* Whoever is told of an end may begin and cancel others. */
    for (struct fetch_run *run; count > 0 && (run = s->fresh.first) != NULL; count--) {
        if (conn_is_free(run)) {
            begin(run);
        } else {
            move(run, RUN_QUEUED);
            if (!run->timer.set) timer_set(s->worker, &run->timer, run->peer->connect_ms, on_clock);
        }
    }
}

/* ---- on the way ---- */

static struct fetch_run *run_of(const struct fetch *f)
{
    return f->run ? f->run : ending && ending->fetch == f ? ending : NULL;
}

const char *fetch_field(const struct fetch *f, const char *name)
{
    const struct fetch_run *run = run_of(f);
    return run && run->head.done ? answer_head_field(&run->head, name) : NULL;
}

void fetch_each_field(const struct fetch *f,
                      void (*each)(void *ctx, const char *name, const char *value), void *ctx)
{
    const struct fetch_run *run = run_of(f);
    if (run && run->head.done) answer_head_each(&run->head, each, ctx);
}

static void wake_later(struct fetch_run *run)
{
    struct fetch_run **at = &run->station->waking;
    if (run->waking) return;
    while (*at) at = &(*at)->next_waking; /* of one turn: few */
    *at = run;
    run->next_waking = NULL;
    run->waking = true;
}

void fetch_body_more(struct fetch *f)
{
    if (!f->run || !f->run->starved) return;
    f->run->starved = false;
    wake_later(f->run);
}

void fetch_go_on(struct fetch *f)
{
    if (!f->run || !f->run->paused) return;
    f->run->paused = false;
    wake_later(f->run);
}

void runs_wake(struct station *s)
{
    unsigned count = 0;
    for (struct fetch_run *run = s->waking; run; run = run->next_waking) count++;
    for (struct fetch_run *run; count > 0 && (run = s->waking) != NULL; count--) {
        s->waking = run->next_waking;
        run->waking = false;
        run_progress(run);
        if (run->conn && run->conn->sock) talk_go_on(run);
    }
}

void fetch_cancel(struct fetch *f)
{
    struct fetch_run *run = f->run;
    if (!run) return;
    f->run = NULL;
    if (run->conn) run->conn->failed = true;
    run_rest(run);
}
