/* The writer: gathers what is queued into one transaction, so that one fsync serves many. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/server/store/sqlite.h"

#define FAIL_SOON_MS 200 /* how long somebody waits for a file that cannot be used */
#define BEHIND_MOST_MS \
    30000           /* how long writes behind do; it may be one of them that finds no room */
#define PAUSE_MS 20 /* between attempts */

/* ---- one transaction ---- */
struct batch {
    struct submission *first;
    bool lost; /* it may be on the disk all the same */
    int rc;    /* of what failed last, and why */
    char why[256];
};

static int failed(struct sqlite_store *s, struct batch *b, int rc)
{
    b->rc = rc;
    sqlite_say(s, s->writer, rc, b->why, sizeof b->why);
    return rc;
}

static int useless(const struct sqlite_store *s, struct batch *b)
{
    b->rc = s->broken_rc;
    snprintf(b->why, sizeof b->why, "%s", s->broken_why);
    return b->rc;
}

/* Is it for want of something that may be there again soon? */
static bool passes(int rc)
{
    int kind = rc & 0xff;
    return rc > 0 && (kind == SQLITE_NOMEM || kind == SQLITE_FULL || kind == SQLITE_IOERR ||
                      kind == SQLITE_BUSY);
}

/* One submission, or nothing of it; its neighbours stay. What is not its own fault ends the transaction
 * here. */
static int apply_one(struct sqlite_store *s, struct batch *b, struct submission *sub)
{
    int rc = sqlite_run(s, SQL_EACH);
    for (size_t i = 0; i < sub->count && !rc; i++) rc = sqlite_apply(s, &sub->changes[i]);
    if (!rc) return sqlite_run(s, SQL_EACH_KEEP);
    sub->rc = rc;
    if (rc != SQLITE_STORE_CONFLICT) failed(s, b, rc);
    /* SQLite has taken all back, or what comes behind may be made of this. */
    if (sqlite3_get_autocommit(s->writer) || (!sub->write && passes(rc))) return rc;
    rc = sqlite_run(s, SQL_EACH_BACK);
    return rc ? rc : sqlite_run(s, SQL_EACH_KEEP);
}

/* A commit that failed has perhaps written all that makes it one; whoever opens the file again, and that
 * may be this writer, finds it then. */
static int commit(struct sqlite_store *s, struct batch *b)
{
    int rc = sqlite_run(s, SQL_COMMIT);
    b->lost = sqlite_sticks(rc) || (!rc && !sqlite_files_stand(s));
    if (rc) return failed(s, b, rc);
    if (b->lost) return useless(s, b);
    s->commits++;
    return SQLITE_OK;
}

/* SQLITE_OK: all are on the disk, but those whose rc says why not. */
static int attempt(struct sqlite_store *s, struct batch *b)
{
    int rc = sqlite_run(s, SQL_BEGIN);
    for (struct submission *sub = b->first; sub && !rc; sub = sub->next) rc = apply_one(s, b, sub);
    rc = rc ? failed(s, b, rc) : commit(s, b);
    if (!sqlite3_get_autocommit(s->writer)) sqlite_run(s, SQL_ROLLBACK);
    return rc;
}

/* The same, if the file can be used at all. */
static int attempt_if_ready(struct sqlite_store *s, struct batch *b)
{
    if (!sqlite_writer_ready(s)) return useless(s, b);
    int rc = attempt(s, b);
    if (sqlite_sticks(rc))
        sqlite_writer_broken(s, rc, b->why);
    else if (sqlite_sticks(b->rc))
        sqlite_writer_hurt(s, b->rc, b->why);
    return rc;
}

static enum outcome outcome_of(int rc, bool lost)
{
    return rc == SQLITE_OK               ? OUTCOME_DURABLE
           : rc == SQLITE_STORE_CONFLICT ? OUTCOME_CONFLICT
           : lost                        ? OUTCOME_LOST
                                         : OUTCOME_FAILED;
}

static void tell(struct sqlite_store *s, const struct batch *b, int rc)
{
    bool logged = false;
    for (struct submission *sub = b->first, *next; sub; sub = next) {
        int own = rc ? rc : sub->rc;
        next = sub->next;
        logged = logged || (!own && submission_adds_to_log(sub));
        submission_finish(sub, outcome_of(own, rc && b->lost));
    }
    if (logged) store_tell_listeners(&s->base);
}

/* ---- when nothing can be written ---- */
/* Nobody waits for it, and nobody would learn that it is lost. What may have been stored all the same is
 * a conflict then, unless it is a line of a log alone. */
static bool may_wait(const struct sqlite_store *s, const struct batch *b, struct submission *sub,
                     uint64_t now)
{
    bool may = !s->ending && !sub->write && !(b->lost && submission_adds_to_log(sub)) &&
               now - sub->at_ms < BEHIND_MOST_MS;
    if (may) sub->rc = SQLITE_OK; /* of the next attempt */
    return may;
}

static void keep_what_may_wait(struct sqlite_store *s, struct batch *b)
{
    struct submission *kept = NULL, **kept_end = &kept, **at = &b->first;
    uint64_t now = queue_now_ms();
    while (*at) {
        struct submission *sub = *at;
        if (!may_wait(s, b, sub, now)) {
            at = &sub->next;
            continue;
        }
        *at = sub->next;
        sub->next = NULL;
        *kept_end = sub;
        kept_end = &sub->next;
    }
    queue_give_back(&s->queue, kept);
}

/* Devices are told soon to come again, also those behind more than one batch of what may wait. */
static void be_unable(struct sqlite_store *s, struct batch *b, int rc)
{
    uint64_t now = queue_now_ms();
    struct batch late = {.lost = false};
    if (!s->unable_ms) s->unable_ms = now;
    keep_what_may_wait(s, b);
    late.first = queue_take_late(&s->queue, FAIL_SOON_MS);
    queue_batch_done(&s->queue);
    tell(s, b, rc);
    tell(s, &late, rc);
    if (now - s->unable_ms >= FAIL_SOON_MS) queue_give_up(&s->queue, true);
}

static void write_batch(struct sqlite_store *s, struct batch *b)
{
    int rc = attempt_if_ready(s, b);
    if (b->rc)
        sqlite_failed(&s->writing, TROUBLE_WRITE, b->rc, b->why);
    else
        trouble_over(&s->writing, TROUBLE_WRITE);
    if (rc) {
        be_unable(s, b, rc);
        return;
    }
    if (s->unable_ms) queue_give_up(&s->queue, false);
    s->unable_ms = 0;
    queue_batch_done(&s->queue);
    tell(s, b, rc);
}

static void *writer_main(void *arg)
{
    struct sqlite_store *s = arg;
    pthread_setname_np(pthread_self(), "store");
    for (struct submission *first; (first = queue_take(&s->queue)) != NULL;) {
        struct batch b = {.first = first};
        pthread_mutex_lock(&s->hold);
        heart_beat(&s->base.heart);
        write_batch(s, &b);
        heart_rest(&s->base.heart);
        pthread_mutex_unlock(&s->hold);
        /* At the end everything is tried once more. */
        if (s->unable_ms && !queue_pause(&s->queue, PAUSE_MS)) s->ending = true;
    }
    return NULL;
}

bool sqlite_writer_submit(struct store *s, const struct store_change *changes, size_t count,
                          struct store_write *w)
{
    return queue_submit(&((struct sqlite_store *)s)->queue, changes, count, w);
}

uint64_t sqlite_writer_submitted(struct store *s)
{
    return queue_submitted(&((struct sqlite_store *)s)->queue);
}

bool sqlite_writer_settled(struct store *s, uint64_t position)
{
    return queue_settled(&((struct sqlite_store *)s)->queue, position);
}

/* What was given up is perhaps about to be written: by the next attempt. */
bool sqlite_writer_settle(struct store *s, uint64_t position)
{
    struct queue *q = &((struct sqlite_store *)s)->queue;
    bool settled = queue_settle(q, position);
    for (unsigned i = 0; i < 3 && !settled; i++) {
        usleep(PAUSE_MS * 1000);
        settled = queue_settled(q, position);
    }
    return settled;
}

bool sqlite_writer_start(struct sqlite_store *s, char *error, size_t error_cap)
{
    queue_init(&s->queue);
    int rc = pthread_create(&s->thread, NULL, writer_main, s);
    s->running = rc == 0;
    if (s->running) return true;
    queue_finish(&s->queue);
    snprintf(error, error_cap, "the store's writer cannot be started: %s", strerror(rc));
    return false;
}

void sqlite_writer_stop(struct sqlite_store *s)
{
    if (!s->running) return;
    queue_close(&s->queue);
    pthread_join(s->thread, NULL);
    queue_finish(&s->queue);
    s->running = false;
}
