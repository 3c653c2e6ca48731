/* Opening and closing. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/server/store/sqlite.h"

/* Also takes back a store that was opened in part. */
static void store_close_sqlite(struct store *base)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    sqlite_writer_stop(s);
    sqlite_readers_finish(s);
    sqlite_writer_close(s);
    if (s->lock_fd >= 0) close(s->lock_fd);
    pthread_cond_destroy(&s->read_wake);
    pthread_mutex_destroy(&s->hold);
    pthread_mutex_destroy(&s->read_mutex);
    trouble_finish(&s->reading);
    trouble_finish(&s->writing);
    free(s);
}

static const struct store_upkeep upkeep = {
    .backup = sqlite_backup,
    .restore = sqlite_restore,
    .check = sqlite_check,
};

static const struct store_ops sqlite_ops = {
    .name = "sqlite",
    .load = sqlite_load,
    .submit = sqlite_writer_submit,
    .read_row = sqlite_read_row,
    .read_user = sqlite_read_user,
    .read_devices = sqlite_read_devices,
    .read_users_of = sqlite_read_users_of,
    .read_users = sqlite_read_users,
    .count_devices = sqlite_count_devices,
    .submitted = sqlite_writer_submitted,
    .settle = sqlite_writer_settle,
    .settled = sqlite_writer_settled,
    .read_revisions = sqlite_read_revisions,
    .read_log = sqlite_read_log,
    .follow = sqlite_follow,
    .close = store_close_sqlite,
    .upkeep = &upkeep,
};

static struct sqlite_store *create(char *error, size_t error_cap)
{
    struct sqlite_store *s = calloc(1, sizeof *s);
    if (!s) {
        snprintf(error, error_cap, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&s->hold, NULL);
    sqlite_readers_init(s);
    trouble_init(&s->writing, "sqlite");
    trouble_init(&s->reading, "sqlite");
    s->base.ops = &sqlite_ops;
    s->lock_fd = -1;
    return s;
}

struct store *sqlite_store_open(const char *state, char *error, size_t error_cap)
{
    struct sqlite_store *s = create(error, error_cap);
    if (!s) return NULL;
    if (sqlite_file_path(state, s->path, error, error_cap) &&
        sqlite_make_directory(state, error, error_cap) &&
        (s->lock_fd = sqlite_take_lock(state, error, error_cap)) >= 0 &&
        sqlite_make_file(s->path, error, error_cap) && sqlite_writer_open(s, error, error_cap) &&
        sqlite_readers_start(s, error, error_cap) && sqlite_writer_start(s, error, error_cap))
        return &s->base;
    store_close_sqlite(&s->base);
    return NULL;
}

struct store *sqlite_store_look(const char *path, char *error, size_t error_cap)
{
    struct sqlite_store *s = create(error, error_cap);
    if (!s) return NULL;
    struct stat st;
    snprintf(s->path, sizeof s->path, "%s", path);
    if (stat(path, &st) == 0) s->files[0] = (struct sqlite_file_id){st.st_dev, st.st_ino};
    if (sqlite_readers_start(s, error, error_cap)) return &s->base;
    store_close_sqlite(&s->base);
    return NULL;
}
