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
    if (run->easy) curl_easy_cleanup(run->easy);
    answer_head_free(&run->head);
    free(run->answer);
    free(run->text);
    free(run);
}

static struct fetch_run *run_make(struct station *s)
{
    struct fetch_run *run = calloc(1, sizeof *run);
    if (!run) return NULL;
    run->station = s;
    if (run_make_easy(run)) return run;
    run_free(run);
    return NULL;
}

/* One that was used for the same peer knows it already. */
static struct fetch_run *run_take(struct station *s, const struct fetch_peer *peer)
{
    struct fetch_run *run = s->pool.last;
    if (!run) return run_make(s);
    for (struct fetch_run *r = run; r; r = r->prev)
        if (r->told.peer == peer) {
            run = r;
            break;
        }
    list_drop(&s->pool, run);
    s->pooled--;
    return run;
}

static void begin_next(struct peer_use *use)
{
    struct fetch_run *run = use->queued.first;
    if (run) move(run, RUN_NEW); /* the turn takes it up */
}

static void drop_use(struct station *s, struct peer_use *use)
{
    if (use->runs > 0) return;
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

/* It is over, and its handle is not in libcurl's loop any more. */
static void run_rest(struct fetch_run *run)
{
    struct station *s = run->station;
    struct peer_use *use = run->use;
    timer_stop(s->worker, &run->timer);
    stop_waking(run);
    station_let_rest(run);
    if (run->state == RUN_ACTIVE) {
        use->active--;
        begin_next(use);
    }
    list_drop(list_of(run), run);
    run->use = NULL;
    run->fetch = NULL;
    use->runs--;
    drop_use(s, use);
    if (s->pooled >= POOL_MAX) {
        run_free(run);
        return;
    }
    if (run->text_cap > KEPT_MAX) {
        free(run->text);
        run->text = NULL;
        run->text_cap = 0;
    }
    if (run->answer_cap > KEPT_MAX) {
        free(run->answer);
        run->answer = NULL;
        run->answer_cap = 0;
    }
    if (run->head.cap > KEPT_MAX) answer_head_free(&run->head);
    run->state = RUN_IDLE;
    list_add(&s->pool, run);
    s->pooled++;
}

/* ---- the end ---- */

/* Tell it, then the run rests. The handle is not in libcurl's loop any more. */
static void end(struct fetch_run *run, enum fetch_result result, const char *why)
{
    struct fetch *f = run->fetch;
    snprintf(f->error, sizeof f->error, "%s", result == FETCH_OK ? "" : why);
    f->body = run->answer;
    f->len = run->answer_len;
    f->run = NULL;
    ending = run;
    run->station->told = true;
    f->done(f, result);
    ending = NULL;
    run_rest(run);
}

/* What libcurl says, as the rest of the server sees it. */
static enum fetch_result result_of(const struct fetch_run *run, CURLcode code)
{
    long sent = 0;
    (void)curl_easy_getinfo(run->easy, CURLINFO_REQUEST_SIZE, &sent);
    switch (code) {
    case CURLE_OK: return FETCH_OK;
    case CURLE_OUT_OF_MEMORY: /* it says so of an endless line of the head, too */
        return sent && !run->head.done ? FETCH_CUT : FETCH_NO_MEMORY;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT: /* of the connection: we have given it no other limit */
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION: return FETCH_UNREACHABLE;
    default: return sent ? FETCH_CUT : FETCH_UNREACHABLE;
    }
}

/* Its connection was used before and was of no use. libcurl takes a new one by itself, but a handle
 * does so five times in its life only. */
static bool goes_again(const struct fetch_run *run, CURLcode code)
{
    if (run->stale) return true; /* nothing was sent */
    return run->reused && !run->once && run->head.bytes == 0 && !run->why &&
           (code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING);
}

static void go_again(struct fetch_run *run)
{
    run->stale = false;
    run->once = true;
    station_let_rest(run);
    run->use->active--;
    move(run, RUN_NEW);
}

static void ended(struct fetch_run *run, CURLcode code)
{
    curl_multi_remove_handle(run->station->multi, run->easy);
    if (goes_again(run, code)) {
        go_again(run);
        return;
    }
    enum fetch_result result = run->why ? run->result : result_of(run, code);
    const char *why = run->why ? run->why : *run->error ? run->error : curl_easy_strerror(code);
    if (result == FETCH_OK && !run->head.done) {
        result = FETCH_CUT;
        why = "it ended within its head";
    }
    end(run, result, why);
}

void runs_end(struct station *s)
{
    int left;
    for (const CURLMsg *m; (m = curl_multi_info_read(s->multi, &left)) != NULL;) {
        struct fetch_run *run = NULL;
        CURLcode code = m->data.result;
        if (m->msg == CURLMSG_DONE &&
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&run) == CURLE_OK && run)
            ended(run, code);
    }
}

/* Whatever state it is in. */
static void leave_loop(struct fetch_run *run)
{
    if (run->state == RUN_ACTIVE) curl_multi_remove_handle(run->station->multi, run->easy);
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
    leave_loop(run);
    if (queued)
        end(run, FETCH_BUSY, "all connections to it are taken");
    else
        end(run, FETCH_TIMEOUT,
            run->head.done ? "its answer stopped coming" : "its answer did not come in time");
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
    struct fetch_run *run = use ? run_take(s, ask->peer) : NULL;
    if (!run) {
        if (use) drop_use(s, use);
        return false;
    }
    run->state = RUN_NEW;
    run->use = use;
    use->runs++;
    list_add(&s->fresh, run);
    if (!run_keep_ask(run, ask)) {
        run_rest(run);
        return false;
    }
    f->run = run;
    f->answer_max = ask->answer_max;
    f->status = 0;
    f->length = UINT64_MAX;
    f->body = NULL;
    f->len = 0;
    f->error[0] = '\0';
    run->fetch = f;
    run->asked = run->answered = 0;
    run->answer_len = 0;
    run->why = NULL;
    run->starved = run->body_ended = run->paused = run->reused = run->stale = false;
    answer_head_reset(&run->head);
    run->limit_ms = run->head_ms;
    run->since_ms = worker_now_ms(s->worker);
    return true;
}

static bool begin(struct fetch_run *run)
{
    struct station *s = run->station;
    if (!run_tell(run)) return false;
    station_keep(s, run->peer->connections_max);
    if (curl_multi_add_handle(s->multi, run->easy) != CURLM_OK) return false;
    run->use->active++;
    move(run, RUN_ACTIVE);
    if (run->limit_ms) run_watch_clock(run);
    return true;
}

void runs_begin(struct station *s)
{
    unsigned count = 0;
    for (struct fetch_run *run = s->fresh.first; run; run = run->next) count++;
    /* Whoever is told of an end may begin and cancel others. */
    for (struct fetch_run *run; count > 0 && (run = s->fresh.first) != NULL; count--) {
        if (run->use->active >= run->peer->connections_max) {
            move(run, RUN_QUEUED);
            if (!run->timer.set) timer_set(s->worker, &run->timer, run->peer->connect_ms, on_clock);
        } else if (!begin(run)) {
            end(run, FETCH_NO_MEMORY, "out of memory");
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
        run->since_ms = worker_now_ms(s->worker);
        int held = (run->paused ? CURLPAUSE_RECV : 0) | (run->starved ? CURLPAUSE_SEND : 0);
        CURLcode code = curl_easy_pause(run->easy, held);
        if (code != CURLE_OK) ended(run, code);
    }
}

void fetch_cancel(struct fetch *f)
{
    struct fetch_run *run = f->run;
    if (!run) return;
    f->run = NULL;
    leave_loop(run);
    run_rest(run);
}
