/* Connections that only read: made when all others are taken, each with its statements. */
#include <stdio.h>
#include <stdlib.h>

#include "src/server/observe/log.h"
#include "src/server/store/sqlite.h"

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

struct sqlite_reader *sqlite_reader_take(struct sqlite_store *s)
{
    char error[256];
    pthread_mutex_lock(&s->read_mutex);
    while (!s->free_readers && s->readers == SQLITE_STORE_READERS)
        pthread_cond_wait(&s->read_wake, &s->read_mutex);
    struct sqlite_reader *r = s->free_readers;
    if (r)
        s->free_readers = r->next;
    else
        s->readers++;
    pthread_mutex_unlock(&s->read_mutex);
    if (r || (r = sqlite_reader_create(s->path, error, sizeof error)) != NULL) return r;

    LOG(LOG_ERROR, 0, "store-failed", KV_TEXT("error", error));
    pthread_mutex_lock(&s->read_mutex);
    s->readers--;
    pthread_cond_signal(&s->read_wake);
    pthread_mutex_unlock(&s->read_mutex);
    return NULL;
}

void sqlite_reader_give(struct sqlite_store *s, struct sqlite_reader *r)
{
    pthread_mutex_lock(&s->read_mutex);
    r->next = s->free_readers;
    s->free_readers = r;
    pthread_cond_signal(&s->read_wake);
    pthread_mutex_unlock(&s->read_mutex);
}

bool sqlite_readers_start(struct sqlite_store *s, char *error, size_t error_cap)
{
    s->free_readers = sqlite_reader_create(s->path, error, error_cap);
    s->readers = s->free_readers != NULL;
    return s->free_readers;
}

void sqlite_readers_finish(struct sqlite_store *s)
{
    for (struct sqlite_reader *r = s->free_readers, *next; r; r = next) {
        next = r->next;
        sqlite_reader_destroy(r);
    }
}
