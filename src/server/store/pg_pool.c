/* Connections for reading, each for one thread at a time. They are made when they are needed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "src/server/store/pg_rows.h"

#define TAKE_S 5 /* how long one that is free is waited for */

bool pg_pool_start(struct pg_store *s, unsigned connections)
{
    if (!connections) connections = 1;
    if (!(s->readers = calloc(connections, sizeof *s->readers))) return false;
    s->reader_count = connections;
    for (unsigned i = 0; i < connections; i++) {
        struct pg_link *l = &s->readers[i];
        *l = (struct pg_link){.store = s,
                              .role = PG_READER,
                              .next = s->free_readers,
                              .patience_ms = PG_READ_ANSWER_MS};
        s->free_readers = l;
    }
    return true;
}

void pg_pool_stop(struct pg_store *s)
{
    for (unsigned i = 0; i < s->reader_count; i++) pg_disconnect(&s->readers[i]);
    free(s->readers);
}

void pg_reader_give(struct pg_store *s, struct pg_link *l)
{
    pthread_mutex_lock(&s->read_mutex);
    l->next = s->free_readers;
    s->free_readers = l;
    pthread_cond_signal(&s->read_wake);
    pthread_mutex_unlock(&s->read_mutex);
}

/* Nobody tries while another has just failed: all would wait for the same. */
static bool dial(struct pg_store *s, struct pg_link *l)
{
    if (l->conn && PQstatus(l->conn) == CONNECTION_OK) return true;
    pthread_mutex_lock(&s->read_mutex);
    l->not_before_ms = s->reader_not_before_ms;
    l->pause_ms = s->reader_pause_ms;
    pthread_mutex_unlock(&s->read_mutex);
    if (queue_now_ms() < l->not_before_ms) return false;
    bool ok = pg_connect(l);
    pthread_mutex_lock(&s->read_mutex);
    s->reader_not_before_ms = ok ? 0 : l->not_before_ms;
    s->reader_pause_ms = l->pause_ms;
    pthread_mutex_unlock(&s->read_mutex);
    if (!ok) pg_failed(s, TROUBLE_READ, l);
    return ok;
}

struct pg_link *pg_reader_take(struct pg_store *s)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += TAKE_S;
    pthread_mutex_lock(&s->read_mutex);
    while (!s->free_readers && queue_now_ms() >= s->reader_not_before_ms)
        if (pthread_cond_timedwait(&s->read_wake, &s->read_mutex, &at) == ETIMEDOUT) break;
    struct pg_link *l = s->free_readers;
    if (l) s->free_readers = l->next;
    pthread_mutex_unlock(&s->read_mutex);
    if (l && !dial(s, l)) {
        pg_reader_give(s, l);
        return NULL;
    }
    return l;
}

/* ---- asking ---- */
struct question {
    bool (*ask)(struct pg_link *l, const struct question *q, PGresult *results[]);
    const struct pg_question *each;
    size_t count;
    const char *sql;
    char *error; /* NULL: nobody wants to know */
    size_t error_cap;
};

/* A connection that was idle may be dead without anybody's knowledge: once more with a new one. */
static bool ask(struct pg_store *s, const struct question *q, PGresult *results[])
{
    struct pg_link *l = pg_reader_take(s);
    if (!l) {
        if (q->error) snprintf(q->error, q->error_cap, "%s is out of reach", s->name);
        return false;
    }
    bool ok = q->ask(l, q, results);
    if (!ok && !l->conn) ok = dial(s, l) && q->ask(l, q, results);
    if (ok)
        trouble_over(&s->trouble, TROUBLE_READ);
    else
        pg_failed(s, TROUBLE_READ, l);
    if (!ok && q->error) snprintf(q->error, q->error_cap, "%s: %s", s->name, l->why);
    pg_reader_give(s, l);
    return ok;
}

static bool ask_one(struct pg_link *l, const struct question *q, PGresult *results[])
{
    return pg_run(l, q->each->which, &q->each->args, results);
}

bool pg_read(struct pg_store *s, enum pg_statement which, const struct pg_args *a, PGresult **out)
{
    struct pg_question each = {.which = which};
    if (a) each.args = *a;
    return ask(s, &(struct question){.ask = ask_one, .each = &each}, out);
}

/* One statement after the other, up to the first that fails. */
static bool take_all(struct pg_link *l, size_t count, PGresult *results[])
{
    bool good = true;
    for (size_t i = 0; i < count; i++) {
        if (!pg_take(l, &results[i])) return false;
        if (good && !pg_good(results[i])) {
            pg_note(l, results[i]);
            good = false;
        }
    }
    return good;
}

/* BEGIN and COMMIT are the first and the last of the results, which are nobody's. */
static bool ask_together(struct pg_link *l, const struct question *q, PGresult *results[])
{
    PGresult *all[PG_QUESTIONS_MAX + 2] = {0};
    bool ok = pg_send(l, Q_SNAPSHOT, NULL);
    for (size_t i = 0; i < q->count && ok; i++) ok = pg_send(l, q->each[i].which, &q->each[i].args);
    ok = ok && pg_send(l, Q_END, NULL) && pg_sync(l) && take_all(l, q->count + 2, all) &&
         pg_take_sync(l);
    for (size_t i = 0; i < q->count + 2; i++) {
        if (ok && i > 0 && i <= q->count)
            results[i - 1] = all[i];
        else
            PQclear(all[i]);
    }
    if (!ok) pg_disconnect(l); /* perhaps in the middle of a transaction */
    return ok;
}

bool pg_read_together(struct pg_store *s, const struct pg_question *questions, size_t count,
                      PGresult *results[], char *error, size_t error_cap)
{
    return ask(s,
               &(struct question){.ask = ask_together,
                                  .each = questions,
                                  .count = count,
                                  .error = error,
                                  .error_cap = error_cap},
               results);
}

static bool ask_planned(struct pg_link *l, const struct question *q, PGresult *results[])
{
    return pg_run_planned(l, q->sql, &q->each->args, results);
}

bool pg_read_planned(struct pg_store *s, const char *sql, const struct pg_args *a, PGresult **out)
{
    const struct pg_question each = {.args = *a};
    return ask(s, &(struct question){.ask = ask_planned, .each = &each, .sql = sql}, out);
}
