/* Connections that only read: made when all others are taken, each with its statements. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "src/server/store/sqlite.h"

#define AGAIN_MS 200 /* before another is tried, when one could not be opened */

static const char *const read_sql[] = {
#define SQLITE_READ_SQL(id, sql) [SQL_READ_##id] = sql,
    SQLITE_READS(SQLITE_READ_SQL)
#undef SQLITE_READ_SQL
};

void sqlite_reader_destroy(struct sqlite_reader *r)
{
    if (!r) return;
    for (size_t i = 0; i < SQL_READ_COUNT; i++) sqlite3_finalize(r->q[i]);
    sqlite3_close(r->db);
    free(r);
}

static bool prepare(struct sqlite_reader *r, const char *path, char *error, size_t error_cap)
{
    for (size_t i = 0; i < SQL_READ_COUNT; i++) {
        if (sqlite3_prepare_v3(r->db, read_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &r->q[i], NULL) ==
            SQLITE_OK)
            continue;
        snprintf(error, error_cap, "%s: %s", path, sqlite3_errmsg(r->db));
        return false;
    }
    return true;
}

struct sqlite_reader *sqlite_reader_create(const char *path, char *error, size_t error_cap)
{
    struct sqlite_reader *r = calloc(1, sizeof *r);
    if (!r) {
        snprintf(error, error_cap, "out of memory");
        return NULL;
    }
    if (sqlite_connect(path, SQLITE_OPEN_READONLY, &r->db, error, error_cap) &&
        prepare(r, path, error, error_cap))
        return r;
    sqlite_reader_destroy(r);
    return NULL;
}

static struct sqlite_reader *reader_create(struct sqlite_store *s, char *error, size_t error_cap)
{
    if (sqlite_file_stands(s)) return sqlite_reader_create(s->path, error, error_cap);
    snprintf(error, error_cap, "%.200s has been moved or removed", s->path);
    return NULL;
}

/* One that is free, or room for one: NULL. */
static struct sqlite_reader *wait_for_one(struct sqlite_store *s, bool *wait_out)
{
    pthread_mutex_lock(&s->read_mutex);
    while (s->readers_closed || (!s->free_readers && s->readers == SQLITE_STORE_READERS))
        pthread_cond_wait(&s->read_wake, &s->read_mutex);
    struct sqlite_reader *r = s->free_readers;
    *wait_out = !r && heart_now_ms() < s->read_again_ms;
    if (r)
        s->free_readers = r->next;
    else if (!*wait_out)
        s->readers++;
    pthread_mutex_unlock(&s->read_mutex);
    return r;
}

static void gone(struct sqlite_store *s, uint64_t again_ms)
{
    pthread_mutex_lock(&s->read_mutex);
    s->readers--;
    s->read_again_ms = again_ms;
    pthread_cond_broadcast(&s->read_wake);
    pthread_mutex_unlock(&s->read_mutex);
}

struct sqlite_reader *sqlite_reader_take(struct sqlite_store *s)
{
    char error[256];
    bool wait;
    struct sqlite_reader *r = wait_for_one(s, &wait);
    if (r || wait) return r;
    r = reader_create(s, error, sizeof error);
    if (r) return r;
    gone(s, heart_now_ms() + AGAIN_MS);
    sqlite_failed(&s->reading, TROUBLE_READ, SQLITE_CANTOPEN, error);
    return NULL;
}

void sqlite_reader_give(struct sqlite_store *s, struct sqlite_reader *r, int rc, const char *why)
{
    char error[256] = "";
    if (rc && !why) sqlite_say(s, r->db, rc, error, sizeof error);
    if (rc)
        sqlite_failed(&s->reading, TROUBLE_READ, rc, why ? why : error);
    else
        trouble_over(&s->reading, TROUBLE_READ);
    /* Whoever is left in a transaction sees the store of that instant for ever. */
    if (sqlite_sticks(rc) || !sqlite3_get_autocommit(r->db)) {
        sqlite_reader_destroy(r);
        gone(s, 0);
        return;
    }
    pthread_mutex_lock(&s->read_mutex);
    r->next = s->free_readers;
    s->free_readers = r;
    pthread_cond_broadcast(&s->read_wake);
    pthread_mutex_unlock(&s->read_mutex);
}

/* Locked. */
static void destroy_free(struct sqlite_store *s)
{
    for (struct sqlite_reader *r; (r = s->free_readers) != NULL; s->readers--) {
        s->free_readers = r->next;
        sqlite_reader_destroy(r);
    }
}

bool sqlite_readers_close(struct sqlite_store *s, unsigned most_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += most_ms / 1000;
    pthread_mutex_lock(&s->read_mutex);
    s->readers_closed = true;
    int late = 0;
    for (destroy_free(s); s->readers && !late; destroy_free(s))
        late = pthread_cond_timedwait(&s->read_wake, &s->read_mutex, &until);
    bool closed = !s->readers;
    if (!closed) s->readers_closed = false;
    pthread_cond_broadcast(&s->read_wake);
    pthread_mutex_unlock(&s->read_mutex);
    return closed;
}

void sqlite_readers_open(struct sqlite_store *s)
{
    pthread_mutex_lock(&s->read_mutex);
    s->readers_closed = false;
    s->read_again_ms = 0;
    pthread_cond_broadcast(&s->read_wake);
    pthread_mutex_unlock(&s->read_mutex);
}

void sqlite_readers_init(struct sqlite_store *s)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->read_mutex, NULL);
    pthread_cond_init(&s->read_wake, &attr);
    pthread_condattr_destroy(&attr);
}

bool sqlite_readers_start(struct sqlite_store *s, char *error, size_t error_cap)
{
    s->free_readers = reader_create(s, error, error_cap);
    s->readers = s->free_readers != NULL;
    return s->free_readers;
}

void sqlite_readers_finish(struct sqlite_store *s)
{
    destroy_free(s);
}
