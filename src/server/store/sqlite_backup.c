/* The file into another one, beside everything else. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "src/server/store/sqlite.h"
#include "src/server/store/sqlite_copy.h"

#define SPARE_BYTES (1 << 20) /* that must stay free beside the copy */

struct backup {
    const struct store_work *w;
    struct store_backup *b;
    const char *file;                    /* of the store */
    char dir[SQLITE_PATH_CAP];           /* where the copy goes */
    char temporary[SQLITE_PATH_CAP + 8]; /* "": not made */
    int fd;                              /* of it */
    sqlite3 *from, *to;
};

static enum store_outcome failed(const struct backup *b, const char *what)
{
    snprintf(b->w->error, b->w->error_cap, "%s: %s", what, strerror(errno));
    return STORE_FAILED;
}

/* ---- may it be there ---- */
/* Renaming something over a file that the server has open, or will look for, would be its end. */
static bool is_ours(const struct backup *b)
{
    char path[SQLITE_PATH_CAP], of_audit[SQLITE_PATH_CAP + 8];
    struct stat there, ours;
    snprintf(path, sizeof path, "%s", b->file);
    const char *state = dirname(path);
    snprintf(of_audit, sizeof of_audit, "%s/audit", state);
    if (stat(b->dir, &there) != 0) return false;
    const char *const dirs[] = {state, of_audit};
    for (size_t i = 0; i < 2; i++)
        if (stat(dirs[i], &ours) == 0 && ours.st_dev == there.st_dev && ours.st_ino == there.st_ino)
            return true;
    return false;
}

static enum store_outcome look_at_target(struct backup *b)
{
    struct stat st;
    const char *path = b->b->path, *slash = strrchr(path, '/');
    if (path[0] != '/' || !slash[1] || strlen(path) >= sizeof b->dir) {
        snprintf(b->w->error, b->w->error_cap,
                 "the path of a backup begins with / and ends with the name of a file");
        return STORE_UNFIT;
    }
    snprintf(b->dir, sizeof b->dir, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    if (is_ours(b)) {
        snprintf(b->w->error, b->w->error_cap,
                 "%s is the server's own directory; a backup goes elsewhere", b->dir);
        return STORE_IN_THE_WAY;
    }
    if (lstat(path, &st) != 0) return errno == ENOENT ? STORE_DONE : failed(b, path);
    if (b->b->replace && S_ISREG(st.st_mode)) return STORE_DONE;
    snprintf(b->w->error, b->w->error_cap,
             S_ISREG(st.st_mode) ? "%s is there already" : "%s is there, and is no file", path);
    return STORE_IN_THE_WAY;
}

static int64_t number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *q = NULL;
    int64_t n = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
        n = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return n;
}

/* Before the disk is filled, and whoever else writes to it is stopped. */
static enum store_outcome look_at_room(struct backup *b)
{
    struct statvfs fs;
    int64_t pages = number(b->from, "PRAGMA page_count"),
            size = number(b->from, "PRAGMA page_size");
    if (pages < 0 || size < 0) return work_failed(b->w, b->file, b->from, 0);
    if (statvfs(b->dir, &fs) != 0) return failed(b, b->dir);
    uint64_t want = (uint64_t)pages * (uint64_t)size + SPARE_BYTES;
    uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (room >= want) return STORE_DONE;
    snprintf(b->w->error, b->w->error_cap, "%s has %llu bytes free, the backup needs %llu", b->dir,
             (unsigned long long)room, (unsigned long long)want);
    return STORE_FAILED;
}

/* ---- the copy ---- */
static enum store_outcome make_temporary(struct backup *b)
{
    snprintf(b->temporary, sizeof b->temporary, "%s.XXXXXX", b->b->path);
    b->fd = mkostemp(b->temporary, O_CLOEXEC); /* 0600 */
    if (b->fd >= 0) return STORE_DONE;
    b->temporary[0] = '\0';
    return failed(b, b->dir);
}

static enum store_outcome copy(struct backup *b)
{
    const struct store_work *w = b->w;
    if (!sqlite_connect(b->temporary, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW, &b->to,
                        w->error, w->error_cap))
        return STORE_FAILED;
    enum store_outcome out = sqlite_copy(b->from, b->to, w);
    if (out == STORE_DONE) out = sqlite_sound(b->to, b->file, w);
    if (out == STORE_UNFIT) out = STORE_FAILED; /* the store is, and its copy with it */
    if (out != STORE_DONE) return out;
    int64_t devices = number(b->to, "SELECT count(*) FROM device");
    if (devices < 0) return work_failed(w, b->temporary, b->to, 0);
    b->b->devices = (uint64_t)devices;
    int rc = sqlite3_close(b->to);
    b->to = NULL;
    return rc == SQLITE_OK ? STORE_DONE : work_failed(w, b->temporary, NULL, rc);
}

static enum store_outcome force_dir(struct backup *b)
{
    int fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    enum store_outcome out = ok ? STORE_DONE : failed(b, b->dir);
    if (fd >= 0) close(fd);
    return out;
}

/* On the disk first, so that the name never stands for half a copy. */
static enum store_outcome put_in_place(struct backup *b)
{
    struct stat st;
    const char *path = b->b->path;
    if (b->w->step) b->w->step(b->w->ctx, "writing", 0, 0);
    if (fsync(b->fd) != 0 || fstat(b->fd, &st) != 0) return failed(b, b->temporary);
    b->b->bytes = (uint64_t)st.st_size;
    int rc = b->b->replace ? rename(b->temporary, path)
                           : renameat2(AT_FDCWD, b->temporary, AT_FDCWD, path, RENAME_NOREPLACE);
    if (rc != 0 && !b->b->replace && errno == EINVAL) /* a file system without that */
        rc = link(b->temporary, path) == 0 ? unlink(b->temporary) : -1;
    if (rc != 0) {
        int why = errno;
        failed(b, path);
        return why == EEXIST ? STORE_IN_THE_WAY : STORE_FAILED;
    }
    b->temporary[0] = '\0';
    return force_dir(b);
}

static void clean_up(struct backup *b)
{
    sqlite3_close(b->to);
    sqlite3_close(b->from);
    if (b->fd >= 0) close(b->fd);
    if (b->temporary[0]) unlink(b->temporary);
}

enum store_outcome sqlite_backup(struct store *base, struct store_backup *wanted,
                                 const struct store_work *w)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct backup b = {.w = w, .b = wanted, .fd = -1, .file = s->path};
    enum store_outcome out = look_at_target(&b);
    if (out == STORE_DONE &&
        !sqlite_connect(b.file, SQLITE_OPEN_READONLY, &b.from, w->error, w->error_cap))
        out = STORE_FAILED;
    if (out == STORE_DONE) out = look_at_room(&b);
    if (out == STORE_DONE) out = make_temporary(&b);
    if (out == STORE_DONE) out = copy(&b);
    if (out == STORE_DONE) out = put_in_place(&b);
    clean_up(&b);
    return out;
}
