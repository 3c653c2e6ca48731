/* Opening and closing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/server/store/sqlite.h"

#define PATH_CAP 4096
#define BUSY_MS 5000 /* a backup tool may hold the file for a moment */

static bool make_directory(const char *state, char *error, size_t error_cap)
{
    if (mkdir(state, 0700) == 0 || errno == EEXIST) return true;
    snprintf(error, error_cap, "state directory %s cannot be made: %s", state, strerror(errno));
    return false;
}

/* Two servers on one state directory would each believe their own memory. */
static bool take_lock(struct sqlite_store *s, const char *state, char *error, size_t error_cap)
{
    char path[PATH_CAP];
    snprintf(path, sizeof path, "%s/lock", state);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) {
        snprintf(error, error_cap, "%s: %s", path, strerror(errno));
        return false;
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno == EWOULDBLOCK)
        snprintf(error, error_cap, "another provostd uses the state directory %s", state);
    else
        snprintf(error, error_cap, "%s: %s", path, strerror(errno));
    return false;
}

/* SQLite would make the file as the umask says; its companions take the file's permissions. */
static bool make_file(const char *path, char *error, size_t error_cap)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        snprintf(error, error_cap, "%s: %s", path, strerror(errno));
        return false;
    }
    close(fd);
    return true;
}

static bool run_pragma(sqlite3 *db, const char *sql, const char *expected)
{
    sqlite3_stmt *q = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) != SQLITE_OK) return false;
    int rc = sqlite3_step(q);
    bool ok = rc == SQLITE_DONE || rc == SQLITE_ROW;
    if (ok && expected) {
        const char *got = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(q, 0) : NULL;
        ok = got && strcmp(got, expected) == 0;
    }
    sqlite3_finalize(q);
    return ok;
}

static bool open_connection(const char *path, int flags, sqlite3 **db_out, char *error,
                            size_t error_cap)
{
    int rc =
        sqlite3_open_v2(path, db_out, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc == SQLITE_OK && sqlite3_busy_timeout(*db_out, BUSY_MS) == SQLITE_OK &&
        run_pragma(*db_out, "PRAGMA trusted_schema = OFF", NULL) &&
        run_pragma(*db_out, "PRAGMA temp_store = MEMORY", NULL))
        return true;
    snprintf(error, error_cap, "%s: %s", path,
             *db_out ? sqlite3_errmsg(*db_out) : sqlite3_errstr(rc));
    return false;
}

static bool open_writer(struct sqlite_store *s, const char *path, char *error, size_t error_cap)
{
    if (!open_connection(path, SQLITE_OPEN_READWRITE, &s->writer, error, error_cap)) return false;
    if (!run_pragma(s->writer, "PRAGMA journal_mode = WAL", "wal") ||
        !run_pragma(s->writer, "PRAGMA synchronous = FULL", NULL)) {
        snprintf(error, error_cap, "%s: write-ahead log cannot be used: %s", path,
                 sqlite3_errmsg(s->writer));
        return false;
    }
    return sqlite_store_migrate(s->writer, error, error_cap);
}

static bool open_reader(struct sqlite_store *s, const char *path, char *error, size_t error_cap)
{
    return open_connection(path, SQLITE_OPEN_READONLY, &s->reader, error, error_cap) &&
           sqlite_reads_prepare(s, error, error_cap);
}

/* Also takes back a store that was opened in part. */
static void store_close_sqlite(struct store *base)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    sqlite_writer_stop(s);
    sqlite_reads_finish(s);
    sqlite3_close(s->reader);
    sqlite3_close(s->writer); /* the last one: brings the log into the file */
    if (s->lock_fd >= 0) close(s->lock_fd);
    pthread_mutex_destroy(&s->read_mutex);
    free(s);
}

static const struct store_ops sqlite_ops = {
    .name = "sqlite",
    .load = sqlite_load,
    .submit = sqlite_writer_submit,
    .read_folder_state = sqlite_read_folder_state,
    .read_folder_ids = sqlite_read_folder_ids,
    .read_info = sqlite_read_info,
    .read_trail = sqlite_read_trail,
    .read_item = sqlite_read_item,
    .read_revisions = sqlite_read_revisions,
    .read_log = sqlite_read_log,
    .close = store_close_sqlite,
};

struct store *sqlite_store_open(const char *state, char *error, size_t error_cap)
{
    char path[PATH_CAP];
    if ((size_t)snprintf(path, sizeof path, "%s/provost.db", state) >= sizeof path) {
        snprintf(error, error_cap, "the name of the state directory is too long");
        return NULL;
    }
    struct sqlite_store *s = calloc(1, sizeof *s);
    if (!s || pthread_mutex_init(&s->read_mutex, NULL) != 0) {
        snprintf(error, error_cap, "out of memory");
        free(s);
        return NULL;
    }
    s->base.ops = &sqlite_ops;
    s->lock_fd = -1;
    if (make_directory(state, error, error_cap) && take_lock(s, state, error, error_cap) &&
        make_file(path, error, error_cap) && open_writer(s, path, error, error_cap) &&
        open_reader(s, path, error, error_cap) && sqlite_writer_start(s, error, error_cap))
        return &s->base;
    store_close_sqlite(&s->base);
    return NULL;
}
