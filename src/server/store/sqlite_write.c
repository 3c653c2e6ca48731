/* The writer: gathers what is queued into one transaction, so that one fsync serves many. */
#include <stdio.h>
#include <string.h>

#include "src/server/store/sqlite.h"

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

/* One submission, or nothing of it; its neighbours stay. What is not its own fault ends the transaction
 * here. */
static int apply_one(struct sqlite_store *s, struct batch *b, struct submission *sub)
{
    int rc = sqlite_run(s, SQL_EACH);
    for (size_t i = 0; i < sub->count && !rc; i++) rc = sqlite_apply(s, &sub->changes[i]);
    if (!rc) return sqlite_run(s, SQL_EACH_KEEP);
    sub->rc = rc;
    if (rc != SQLITE_STORE_CONFLICT) failed(s, b, rc);
    if (sqlite3_get_autocommit(s->writer)) return rc; /* SQLite has taken all back */
    rc = sqlite_run(s, SQL_EACH_BACK);
    return rc ? rc : sqlite_run(s, SQL_EACH_KEEP);
}

/* A commit that failed has perhaps written all that makes it one, as who opens the file again finds. */
static int commit(struct sqlite_store *s, struct batch *b)
{
    int rc = sqlite_run(s, SQL_COMMIT);
    b->lost = (rc && (rc & 0xff) != SQLITE_BUSY) || (!rc && !sqlite_files_stand(s));
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

static void write_batch(struct sqlite_store *s, struct batch *b)
{
    bool logged = false;
    int rc = attempt_if_ready(s, b);
    if (b->rc)
        sqlite_failed(&s->writing, TROUBLE_WRITE, b->rc, b->why);
    else
        trouble_over(&s->writing, TROUBLE_WRITE);
    queue_batch_done(&s->queue);
    for (struct submission *sub = b->first, *next; sub; sub = next) {
        int own = rc ? rc : sub->rc;
        next = sub->next;
        logged = logged || (!own && submission_adds_to_log(sub));
        submission_finish(sub, outcome_of(own, rc && b->lost));
    }
    if (logged) store_tell_listeners(&s->base);
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

bool sqlite_writer_settle(struct store *s, uint64_t position)
{
    return queue_settle(&((struct sqlite_store *)s)->queue, position);
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
