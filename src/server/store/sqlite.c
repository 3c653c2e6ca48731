/* Opening, closing and the blocking reads. */
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
    if (!open_connection(path, SQLITE_OPEN_READONLY, &s->reader, error, error_cap)) return false;
    if (sqlite3_prepare_v2(s->reader,
                           "SELECT key, previous_key, tree, previous_tree, ping FROM folder_state"
                           " WHERE user = ? AND device_id = ?",
                           -1, &s->read_state, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(s->reader, "SELECT ids FROM folder_ids WHERE user = ?", -1, &s->read_ids,
                           NULL) == SQLITE_OK)
        return true;
    snprintf(error, error_cap, "%s: %s", path, sqlite3_errmsg(s->reader));
    return false;
}

/* Also takes back a store that was opened in part. */
static void store_close_sqlite(struct store *base)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    sqlite_writer_stop(s);
    sqlite3_finalize(s->read_state);
    sqlite3_finalize(s->read_ids);
    sqlite3_close(s->reader);
    sqlite3_close(s->writer); /* the last one: brings the log into the file */
    if (s->lock_fd >= 0) close(s->lock_fd);
    pthread_mutex_destroy(&s->read_mutex);
    free(s);
}

/* One block: the texts of the columns from..to of the row, one after the other. */
static char *copy_columns(sqlite3_stmt *q, int from, int to, const char *out[])
{
    size_t size = 0;
    for (int i = from; i <= to; i++) {
        if (!sqlite3_column_text(q, i)) return NULL;
        size += (size_t)sqlite3_column_bytes(q, i) + 1;
    }
    char *block = malloc(size), *at = block;
    if (!block) return NULL;
    for (int i = from; i <= to; i++) {
        size_t len = (size_t)sqlite3_column_bytes(q, i) + 1;
        memcpy(at, sqlite3_column_text(q, i), len);
        out[i - from] = at;
        at += len;
    }
    return block;
}

/* Bind user and perhaps device, step once. */
static int read_row(sqlite3_stmt *q, const char *user, const char *device_id)
{
    int rc = sqlite3_bind_text(q, 1, user, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK && device_id) rc = sqlite3_bind_text(q, 2, device_id, -1, SQLITE_STATIC);
    return rc == SQLITE_OK ? sqlite3_step(q) : rc;
}

static int read_folder_state(struct store *base, const char *user, const char *device_id,
                             struct folder_state_record *out, void **block_out)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    const char *text[3];
    pthread_mutex_lock(&s->read_mutex);
    int rc = read_row(s->read_state, user, device_id);
    int found = rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : -1;
    if (found == 1) {
        *block_out = copy_columns(s->read_state, 2, 4, text);
        if (!*block_out)
            found = -1;
        else
            *out = (struct folder_state_record){
                .user = user,
                .device_id = device_id,
                .key = (uint32_t)sqlite3_column_int64(s->read_state, 0),
                .previous_key = (uint32_t)sqlite3_column_int64(s->read_state, 1),
                .tree_json = text[0],
                .previous_tree_json = text[1],
                .ping_json = text[2],
            };
    }
    sqlite3_reset(s->read_state);
    pthread_mutex_unlock(&s->read_mutex);
    return found;
}

static int read_folder_ids(struct store *base, const char *user, struct folder_ids_record *out,
                           void **block_out)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    const char *text[1];
    pthread_mutex_lock(&s->read_mutex);
    int rc = read_row(s->read_ids, user, NULL);
    int found = rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : -1;
    if (found == 1) {
        *block_out = copy_columns(s->read_ids, 0, 0, text);
        if (!*block_out)
            found = -1;
        else
            *out = (struct folder_ids_record){.user = user, .ids_json = text[0]};
    }
    sqlite3_reset(s->read_ids);
    pthread_mutex_unlock(&s->read_mutex);
    return found;
}

static const struct store_ops sqlite_ops = {
    .name = "sqlite",
    .load = sqlite_load,
    .submit = sqlite_writer_submit,
    .read_folder_state = read_folder_state,
    .read_folder_ids = read_folder_ids,
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
