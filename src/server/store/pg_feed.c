/* A connection that listens. Each look asks for the changes whose transactions were not over when we
 * looked last, at a notification, a few times within the lease without one, and after a reconnect. What
 * may be believed is counted from the start of the last look whose news have all been told. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "src/server/store/pg_batch.h"
#include "src/server/store/pg_feed.h"

#define NEWS_MOST 5000              /* with more than that anything is different */
#define FORGET_MS (30u * 60 * 1000) /* changes are kept for twice as long */
#define PRUNE_EACH_MS 60000
#define PRUNE_ROWS 5000

/* Goes on while the machine sleeps. */
static uint64_t boot_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- looking ---- */
static bool replace(struct pg_link *l, char **at, const char *text)
{
    char *copy = strdup(text);
    if (!copy) {
        snprintf(l->why, sizeof l->why, "out of memory");
        l->state[0] = '\0';
        return false;
    }
    free(*at);
    *at = copy;
    return true;
}

static void tell(struct pg_store *s, const PGresult *r, bool all)
{
    const struct store_follower *f = &s->feed.follower;
    bool lists = false, logs = all;
    if (all) f->all(f->ctx);
    for (int i = 0; i < PQntuples(r); i++) {
        if (PQgetisnull(r, i, 2)) continue;
        int64_t kind = pg_number(r, i, 2);
        if (kind == PG_OF_USER && !all) f->user(f->ctx, PQgetvalue(r, i, 3));
        lists = lists || kind == PG_OF_LISTS;
        logs = logs || kind == PG_OF_LOGS;
    }
    if (lists && !all) f->lists(f->ctx);
    if (logs) store_tell_listeners(&s->base);
}

/* missed: what has changed cannot be known. */
static bool look(struct pg_store *s, bool missed)
{
    struct pg_feed *feed = &s->feed;
    struct pg_args args = {0};
    PGresult *r;
    uint64_t start = boot_ms(), heard = atomic_load(&feed->heard_ms);
    missed = missed || (heard && start - heard > FORGET_MS);
    pg_text(&args, feed->snapshot);
    pg_int(&args, (int64_t)atomic_load(&s->node));
    if (!pg_run(&feed->link, Q_NEWS, &args, &r)) return false;
    int rows = PQntuples(r);
    bool ok = rows > 0;
    if (ok) {
        tell(s, r, missed || rows > NEWS_MOST || pg_number(r, 0, 1));
        ok = replace(&feed->link, &feed->snapshot, PQgetvalue(r, 0, 0));
    }
    PQclear(r);
    if (ok) atomic_store(&feed->heard_ms, start);
    return ok;
}

/* A new connection: it listens before it looks. */
static bool resume(struct pg_store *s)
{
    struct pg_feed *feed = &s->feed;
    char sql[96];
    PGresult *r;
    const struct pg_args none = {0};
    snprintf(sql, sizeof sql, "LISTEN \"%s\"", s->channel);
    if (!pg_run_planned(&feed->link, sql, &none, &r)) return false;
    PQclear(r);
    if (!pg_run(&feed->link, Q_HISTORY, NULL, &r)) return false;
    bool other = strcmp(PQgetvalue(r, 0, 0), feed->history) != 0;
    bool ok = replace(&feed->link, &feed->history, PQgetvalue(r, 0, 0));
    PQclear(r);
    return ok && look(s, other);
}

/* ---- leading ---- */
static bool lead(struct pg_store *s)
{
    struct pg_feed *feed = &s->feed;
    struct pg_args args = {0};
    PGresult *r;
    if (!atomic_load(&feed->leads)) {
        if (!pg_run(&feed->link, Q_LEAD, NULL, &r)) return false;
        atomic_store(&feed->leads, pg_number(r, 0, 0) == 1);
        PQclear(r);
    }
    if (!atomic_load(&feed->leads) || queue_now_ms() < feed->prune_ms) return true;
    pg_int(&args, PRUNE_ROWS);
    if (!pg_run(&feed->link, Q_PRUNE, &args, &r)) return false;
    bool more = PQntuples(r) > 0 && pg_number(r, 0, 0) == PRUNE_ROWS;
    if (!more) feed->prune_ms = queue_now_ms() + PRUNE_EACH_MS;
    PQclear(r);
    return true;
}

/* ---- the thread ---- */
/* Until a notification, the time, or the end. false: the connection went. */
static bool wait_for_news(struct pg_store *s, unsigned ms)
{
    struct pg_feed *feed = &s->feed;
    PGconn *conn = feed->link.conn;
    uint64_t end = queue_now_ms() + ms;
    for (bool rung = false; !rung && !atomic_load(&feed->closing);) {
        struct pollfd p[] = {{feed->wake_fd, POLLIN, 0}, {conn ? PQsocket(conn) : -1, POLLIN, 0}};
        uint64_t now = queue_now_ms();
        if (now >= end || (poll(p, 2, (int)(end - now)) < 0 && errno != EINTR)) return true;
        if (!p[1].revents) continue;
        if (!PQconsumeInput(conn) || PQstatus(conn) != CONNECTION_OK) return false;
        for (PGnotify *n; (n = PQnotifies(conn)) != NULL; PQfreemem(n))
            rung = rung || n->be_pid != atomic_load(&s->writer_pid); /* we know our own changes */
    }
    return true;
}

static void drop_link(struct pg_feed *feed)
{
    atomic_store(&feed->leads, false);
    pg_disconnect(&feed->link);
}

/* false: there is no connection then. */
static bool take_turn(struct pg_store *s)
{
    struct pg_link *l = &s->feed.link;
    bool had = l->conn != NULL;
    bool ok = pg_connect(l) && (had ? look(s, false) : resume(s)) && lead(s);
    if (ok) {
        trouble_over(&s->trouble, TROUBLE_HEAR);
        trouble_over(&s->trouble, TROUBLE_READ); /* perhaps nobody reads for long */
    } else {
        pg_failed(s, TROUBLE_HEAR, l);
        drop_link(&s->feed);
    }
    return ok;
}

static void *feed_main(void *arg)
{
    struct pg_store *s = arg;
    struct pg_feed *feed = &s->feed;
    pthread_setname_np(pthread_self(), "store-feed");
    while (!atomic_load(&feed->closing)) {
        if (!take_turn(s))
            wait_for_news(s, PG_PAUSE_MS);
        else if (!wait_for_news(s, s->lease_ms / 4))
            drop_link(feed);
    }
    drop_link(feed);
    return NULL;
}

/* ---- as store.h says ---- */
bool pg_feed_prepare(struct pg_store *s, struct pg_link *l)
{
    PGresult *r;
    if (!pg_exec(
            l,
            "SELECT 'provost_' || md5(current_schema()), pg_current_snapshot()::text, " PG_HISTORY,
            &r))
        return false;
    snprintf(s->channel, sizeof s->channel, "%s", PQgetvalue(r, 0, 0));
    bool ok = replace(l, &s->feed.snapshot, PQgetvalue(r, 0, 1)) &&
              replace(l, &s->feed.history, PQgetvalue(r, 0, 2));
    PQclear(r);
    return ok;
}

static void stop_thread(struct pg_feed *feed)
{
    const uint64_t one = 1;
    if (!feed->running) return;
    atomic_store(&feed->closing, true);
    if (write(feed->wake_fd, &one, sizeof one) < 0) abort(); /* an eventfd takes it */
    pthread_join(feed->thread, NULL);
    close(feed->wake_fd);
    feed->running = false;
}

bool pg_follow(struct store *base, const struct store_follower *f)
{
    struct pg_store *s = (struct pg_store *)base;
    struct pg_feed *feed = &s->feed;
    if (!f) {
        stop_thread(feed);
        return true;
    }
    feed->follower = *f;
    atomic_store(&feed->closing, false);
    feed->link =
        (struct pg_link){.store = s,
                         .role = PG_FEED,
                         .patience_ms = s->lease_ms < PG_ANSWER_MS ? s->lease_ms : PG_ANSWER_MS};
    if ((feed->wake_fd = eventfd(0, EFD_CLOEXEC)) < 0) return false;
    (void)take_turn(s); /* whoever says that he is ready has heard of the store */
    feed->running = pthread_create(&feed->thread, NULL, feed_main, s) == 0;
    if (!feed->running) close(feed->wake_fd);
    return feed->running;
}

void pg_feed_finish(struct pg_store *s)
{
    stop_thread(&s->feed);
    free(s->feed.snapshot);
    free(s->feed.history);
}

bool pg_is_heard(const struct store *base)
{
    const struct pg_store *s = (const struct pg_store *)base;
    uint64_t heard = atomic_load(&s->feed.heard_ms);
    return heard && boot_ms() - heard < s->lease_ms;
}

int64_t pg_heard_ms(const struct store *base)
{
    uint64_t heard = atomic_load(&((const struct pg_store *)base)->feed.heard_ms);
    return heard ? (int64_t)(boot_ms() - heard) : -1;
}

bool pg_is_leader(const struct store *base)
{
    const struct pg_store *s = (const struct pg_store *)base;
    return atomic_load(&s->feed.leads) && pg_is_heard(base);
}
