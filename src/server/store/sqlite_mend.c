/* The writer's connection: opened, and when the file cannot be used opened again, until it can. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "src/server/store/sqlite.h"
#include "src/server/store/sqlite_moved.h"

#define WAIT_MS 100 /* before the first attempt that follows a failed one; then twice that, ... */
#define WAIT_MOST_MS 1000
#define READERS_MS 2000    /* how long readers are waited for */
#define MEND_EVERY_MS 1000 /* where most works: a page that stays damaged is met again and again */

static const char *const suffixes[SQLITE_FILES] = {"", "-wal", "-shm"};

static const char *const write_sql[] = {
#define SQLITE_WRITE_SQL(id, sql) [SQL_##id] = sql,
    SQLITE_WRITES(SQLITE_WRITE_SQL)
#undef SQLITE_WRITE_SQL
};

bool sqlite_sticks(int rc)
{
    if (rc == SQLITE_IOERR_WRITE)
        return false; /* what was not written is as if it had not been begun */
    switch (rc & 0xff) {
    case SQLITE_ERROR: /* no such table: it is not our file any more */
    case SQLITE_SCHEMA:
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_IOERR:
    case SQLITE_CORRUPT:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
    case SQLITE_NOTADB: return rc > 0;
    default: return false;
    }
}

/* ---- is it the same file ---- */
static bool identify(const struct sqlite_store *s, unsigned which, struct sqlite_file_id *out)
{
    char path[SQLITE_PATH_CAP + 8];
    struct stat st;
    snprintf(path, sizeof path, "%s%s", s->path, suffixes[which]);
    if (stat(path, &st) != 0) return false;
    *out = (struct sqlite_file_id){st.st_dev, st.st_ino};
    return true;
}

/* SQLite goes on in files that have no name any more, or another's. @return the first that is not where
 * it was; SQLITE_FILES: all are. */
static unsigned moved(const struct sqlite_store *s, unsigned count)
{
    struct sqlite_file_id id;
    for (unsigned i = 0; i < count; i++)
        if (!identify(s, i, &id) || id.dev != s->files[i].dev || id.ino != s->files[i].ino)
            return i;
    return SQLITE_FILES;
}

bool sqlite_file_stands(const struct sqlite_store *s)
{
    return moved(s, 1) == SQLITE_FILES;
}

bool sqlite_files_stand(struct sqlite_store *s)
{
    unsigned which = moved(s, SQLITE_FILES);
    if (which == SQLITE_FILES) return true;
    s->broken_rc = SQLITE_READONLY_DBMOVED;
    snprintf(s->broken_why, sizeof s->broken_why,
             "%.180s%s has been moved or removed, or another file stands there", s->path,
             suffixes[which]);
    return false;
}

/* ---- the connection ---- */
void sqlite_say(const struct sqlite_store *s, sqlite3 *db, int rc, char *out, size_t cap)
{
    int why = db ? sqlite3_system_errno(db) : 0;
    bool system = why && ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN ||
                          (rc & 0xff) == SQLITE_FULL);
    snprintf(out, cap, "%.180s: %s%s%s", s->path, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc),
             system ? ": " : "", system ? strerror(why) : "");
}

void sqlite_failed(struct trouble *t, enum trouble_doing doing, int rc, const char *why)
{
    char code[12];
    snprintf(code, sizeof code, "%d", rc);
    trouble_failed(t, doing, code, why);
}

static bool prepare(struct sqlite_store *s, char *error, size_t error_cap)
{
    for (size_t i = 0; i < SQL_COUNT; i++) {
        int rc = sqlite3_prepare_v3(s->writer, write_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                                    &s->writes[i], NULL);
        if (rc == SQLITE_OK) continue;
        sqlite_say(s, s->writer, rc, error, error_cap);
        return false;
    }
    return true;
}

static bool connect_writer(struct sqlite_store *s, char *error, size_t error_cap)
{
    if (!sqlite_connect(s->path, SQLITE_OPEN_READWRITE, &s->writer, error, error_cap)) return false;
    if (sqlite_pragma(s->writer, "PRAGMA journal_mode = WAL", "wal") &&
        sqlite_pragma(s->writer, "PRAGMA synchronous = FULL", NULL) &&
        sqlite_pragma(s->writer, "PRAGMA journal_size_limit = 67108864",
                      NULL)) /* once it was long */
        return true;
    snprintf(error, error_cap, "%s: write-ahead log cannot be used: %s", s->path,
             sqlite3_errmsg(s->writer));
    return false;
}

/* Once the log is there, that is after something was read. */
static bool remember_files(struct sqlite_store *s, char *error, size_t error_cap)
{
    for (unsigned i = 0; i < SQLITE_FILES; i++) {
        if (identify(s, i, &s->files[i])) continue;
        snprintf(error, error_cap, "%s%s: %s", s->path, suffixes[i], strerror(errno));
        return false;
    }
    return true;
}

bool sqlite_writer_open(struct sqlite_store *s, char *error, size_t error_cap)
{
    return connect_writer(s, error, error_cap) &&
           sqlite_store_migrate(s->writer, error, error_cap) &&
           sqlite_moved_stays(s->writer, error, error_cap) && prepare(s, error, error_cap) &&
           remember_files(s, error, error_cap);
}

void sqlite_writer_close(struct sqlite_store *s)
{
    for (size_t i = 0; i < SQL_COUNT; i++) {
        sqlite3_finalize(s->writes[i]);
        s->writes[i] = NULL;
    }
    sqlite3_close(s->writer); /* the last one: brings the log into the file */
    s->writer = NULL;
}

/* Everything of the log into the file, which is then without it. What could not be forced to the disk
 * is not believed to be there: it is written anew. */
static bool empty_log(struct sqlite_store *s, char *error, size_t error_cap)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(s->writer, "PRAGMA wal_checkpoint(TRUNCATE)", -1, &q, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(q);
    bool ok = rc == SQLITE_ROW && sqlite3_column_int(q, 0) == 0;
    if (!ok) sqlite_say(s, s->writer, rc == SQLITE_ROW ? SQLITE_BUSY : rc, error, error_cap);
    sqlite3_finalize(q);
    return ok;
}

/* The file must be the one that was left: of another, memory would be wrong. A file that was emptied
 * has no schema, and is not given one. */
static bool open_again(struct sqlite_store *s, char *error, size_t error_cap)
{
    if (!sqlite_file_stands(s)) return sqlite_files_stand(s);
    return connect_writer(s, error, error_cap) &&
           sqlite_store_is_present(s->writer, error, error_cap) && empty_log(s, error, error_cap) &&
           prepare(s, error, error_cap) && remember_files(s, error, error_cap);
}

/* ---- mending ---- */
/* Connections share what they know of the log: none may be left from before. */
static bool mend(struct sqlite_store *s)
{
    char *error = s->broken_why;
    size_t cap = sizeof s->broken_why;
    if (s->writer && !sqlite_file_stands(s)) return sqlite_files_stand(s);
    if (!sqlite_readers_close(s, READERS_MS)) {
        snprintf(error, cap, "%.180s: reading goes on", s->path);
        return false;
    }
    bool ok = true;
    /* A log without a name would be lost with its last connection. */
    if (s->writer && moved(s, SQLITE_FILES) != SQLITE_FILES) ok = empty_log(s, error, cap);
    if (ok) {
        sqlite_writer_close(s);
        ok = open_again(s, error, cap);
        if (!ok) sqlite_writer_close(s);
    }
    sqlite_readers_open(s);
    return ok;
}

void sqlite_writer_broken(struct sqlite_store *s, int rc, const char *why)
{
    if (!s->broken) s->mend_wait_ms = 0;
    s->broken = true;
    s->mend_at_ms = heart_now_ms() + s->mend_wait_ms;
    s->broken_rc = rc;
    if (why != s->broken_why) snprintf(s->broken_why, sizeof s->broken_why, "%s", why);
}

bool sqlite_writer_ready(struct sqlite_store *s)
{
    if (!s->broken) return true;
    if (heart_now_ms() < s->mend_at_ms) return false;
    if (mend(s)) {
        s->broken = false;
        s->mended_ms = heart_now_ms();
        return true;
    }
    s->mend_wait_ms = s->mend_wait_ms ? s->mend_wait_ms * 2 : WAIT_MS;
    if (s->mend_wait_ms > WAIT_MOST_MS) s->mend_wait_ms = WAIT_MOST_MS;
    s->mend_at_ms = heart_now_ms() + s->mend_wait_ms;
    return false;
}

void sqlite_writer_hurt(struct sqlite_store *s, int rc, const char *why)
{
    if (heart_now_ms() - s->mended_ms >= MEND_EVERY_MS) sqlite_writer_broken(s, rc, why);
}
