/* Opening and closing. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/server/store/sqlite.h"

static bool open_writer(struct sqlite_store *s, const char *path, char *error, size_t error_cap)
{
    if (!sqlite_connect(path, SQLITE_OPEN_READWRITE, &s->writer, error, error_cap)) return false;
    if (!sqlite_pragma(s->writer, "PRAGMA journal_mode = WAL", "wal") ||
        !sqlite_pragma(s->writer, "PRAGMA synchronous = FULL", NULL)) {
        snprintf(error, error_cap, "%s: write-ahead log cannot be used: %s", path,
                 sqlite3_errmsg(s->writer));
        return false;
    }
    return sqlite_store_migrate(s->writer, error, error_cap);
}

static bool open_reader(struct sqlite_store *s, const char *path, char *error, size_t error_cap)
{
    return sqlite_connect(path, SQLITE_OPEN_READONLY, &s->reader, error, error_cap) &&
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
    .upkeep = &sqlite_upkeep,
};

struct store *sqlite_store_open(const char *state, char *error, size_t error_cap)
{
    char path[SQLITE_PATH_CAP];
    if (!sqlite_file_path(state, path, error, error_cap)) return NULL;
    struct sqlite_store *s = calloc(1, sizeof *s);
    if (!s || pthread_mutex_init(&s->read_mutex, NULL) != 0) {
        snprintf(error, error_cap, "out of memory");
        free(s);
        return NULL;
    }
    s->base.ops = &sqlite_ops;
    s->lock_fd = -1;
    if (sqlite_make_directory(state, error, error_cap) &&
        (s->lock_fd = sqlite_take_lock(state, error, error_cap)) >= 0 &&
        sqlite_make_file(path, error, error_cap) && open_writer(s, path, error, error_cap) &&
        open_reader(s, path, error, error_cap) && sqlite_writer_start(s, error, error_cap))
        return &s->base;
    store_close_sqlite(&s->base);
    return NULL;
}
