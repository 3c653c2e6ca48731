/* The writer's side of the files. What is known of them is kept here and held to: a write that came
 * through in part is cut off again before the next. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "src/server/observe/audit_dir.h"
#include "src/server/observe/log.h"

struct audit_files {
    char *dir;
    int dir_fd, fd; /* of the current file; -1: there is none */
    size_t rotate_size;
    unsigned keep;
    struct audit_head head, synced_head; /* the last line; the last that is on the disk */
    off_t size, synced_size;             /* the current file, and what of it is on the disk */
    uint64_t first_seq;                  /* in the current file; good while size > 0 */
    bool cut_due;                        /* the file may be longer than size */
    bool names_due;                      /* a name in the directory may not be on the disk */
};

/* ---- errors ---- */

struct trouble {
    char *text;
    size_t cap;
};

static bool fail_with(const struct audit_files *f, const char *what, const char *why,
                      const struct trouble *t)
{
    snprintf(t->text, t->cap, "%s/%s: %s", f->dir, what, why);
    return false;
}

/* For the file what; errno says why. */
static bool fail(const struct audit_files *f, const char *what, const struct trouble *t)
{
    return fail_with(f, what, strerror(errno), t);
}

/* ---- what is there already ---- */

/* The last bytes of a file, as many as the longest line and both its ends have. */
struct tail {
    char *bytes;
    size_t len;
    off_t size;
};

static bool read_tail(int fd, struct tail *t)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return false;
    off_t most = (off_t)AUDIT_LINE_MAX + 2, from = st.st_size > most ? st.st_size - most : 0;
    t->size = st.st_size;
    t->len = 0;
    if (!t->bytes && !(t->bytes = malloc((size_t)most))) return false;
    while (from + (off_t)t->len < st.st_size) {
        ssize_t n = pread(fd, t->bytes + t->len, (size_t)(st.st_size - from) - t->len,
                          from + (off_t)t->len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        if (n == 0) break;
        t->len += (size_t)n;
    }
    return true;
}

/* The last line in it that is sealed; what was changed by hand is for audit_verify to tell. */
static void find_head(const struct tail *t, size_t len, struct audit_head *head)
{
    struct audit_head found;
    while (len > 0) {
        size_t end = len - 1; /* of the line, whose end stands there */
        const char *before = end ? memrchr(t->bytes, '\n', end) : NULL;
        size_t begin = before ? (size_t)(before - t->bytes) + 1 : 0;
        if (audit_line_head(t->bytes + begin, end - begin, &found) == AUDIT_FAULT_NONE) {
            *head = found;
            return;
        }
        len = begin;
    }
}

/* Where a last line without its end begins in the tail; its length if there is none. */
static bool find_end(const struct tail *t, size_t *end_out)
{
    const char *last = t->len ? memrchr(t->bytes, '\n', t->len) : NULL;
    *end_out = last ? (size_t)(last - t->bytes) + 1 : 0;
    return last || (off_t)t->len == t->size; /* else it is longer than any that we write */
}

static bool cut(struct audit_files *f, const struct trouble *t)
{
    if (ftruncate(f->fd, f->size) != 0) return fail(f, AUDIT_CURRENT, t);
    f->cut_due = false;
    return true;
}

static bool adopt_current(struct audit_files *f, struct tail *tail, const struct trouble *t)
{
    char begin[64];
    size_t end;
    if (!read_tail(f->fd, tail)) return fail(f, AUDIT_CURRENT, t);
    if (!find_end(tail, &end))
        return fail_with(f, AUDIT_CURRENT, "it ends with a line that the server has not written",
                         t);
    f->size = tail->size - (off_t)(tail->len - end);
    find_head(tail, end, &f->head);
    ssize_t n = pread(f->fd, begin, sizeof begin, 0);
    f->first_seq = n > 0 ? audit_line_seq(begin, (size_t)n) : 0;
    if (f->size == tail->size) return true;
    LOG(LOG_WARN, 0, "audit-torn-line", KV_TEXT("file", AUDIT_CURRENT),
        KV_UINT("bytes", tail->len - end));
    return cut(f, t);
}

/* The newest full file, if there is one: the current one goes on behind it. Its head is the log's
 * while the current one was begun only. */
static bool adopt_full(struct audit_files *f, struct tail *tail, const struct trouble *t)
{
    struct audit_spans spans;
    char name[NAME_MAX + 1] = ".";
    bool good = audit_list(f->dir_fd, &spans);
    uint64_t last = good && spans.count ? spans.span[spans.count - 1].last : 0;
    if (f->first_seq == 0) f->first_seq = last + 1;
    if (f->size == 0 && last) {
        audit_span_name(&spans.span[spans.count - 1], name);
        int fd = openat(f->dir_fd, name, O_RDONLY | AUDIT_OPEN);
        good = fd >= 0 && read_tail(fd, tail);
        if (good) find_head(tail, tail->len, &f->head);
        int why = errno;
        if (fd >= 0) close(fd);
        errno = why;
    }
    free(spans.span);
    return good || fail(f, name, t);
}

/* The current file, made if it is missing. */
static bool open_current(struct audit_files *f, const struct trouble *t)
{
    f->fd = openat(f->dir_fd, AUDIT_CURRENT, O_RDWR | O_APPEND | O_CREAT | AUDIT_OPEN, 0600);
    if (f->fd < 0) return fail(f, AUDIT_CURRENT, t);
    f->names_due = true; /* it may be new */
    return true;
}

static bool open_all(struct audit_files *f, const struct trouble *t)
{
    struct tail tail = {0};
    if (mkdir(f->dir, 0700) != 0 && errno != EEXIST) return fail(f, "", t);
    f->dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->dir_fd < 0) return fail(f, "", t);
    bool good = open_current(f, t) && adopt_current(f, &tail, t) && adopt_full(f, &tail, t);
    free(tail.bytes);
    f->synced_head = f->head;
    f->synced_size = f->size;
    return good;
}

void audit_files_limit(struct audit_files *f, size_t rotate_size, unsigned keep)
{
    f->rotate_size = rotate_size;
    f->keep = keep;
}

struct audit_files *audit_files_open(const char *dir, size_t rotate_size, unsigned keep,
                                     char *error, size_t error_cap)
{
    const struct trouble t = {error, error_cap};
    struct audit_files *f = calloc(1, sizeof *f);
    if (f)
        *f = (struct audit_files){.dir_fd = -1, .fd = -1, .rotate_size = rotate_size, .keep = keep};
    if (f && (f->dir = strdup(dir))) {
        if (open_all(f, &t)) return f;
    } else {
        snprintf(error, error_cap, "out of memory");
    }
    audit_files_close(f);
    return NULL;
}

const struct audit_head *audit_files_head(const struct audit_files *f)
{
    return &f->head;
}

void audit_files_close(struct audit_files *f)
{
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    if (f->dir_fd >= 0) close(f->dir_fd);
    free(f->dir);
    free(f);
}

/* ---- to the disk ---- */

static bool sync_all(struct audit_files *f, const struct trouble *t)
{
    bool dirty = f->fd >= 0 && (f->size != f->synced_size || f->names_due);
    if (dirty && fdatasync(f->fd) != 0) return fail(f, AUDIT_CURRENT, t);
    if (f->names_due && fsync(f->dir_fd) != 0) return fail(f, "", t);
    f->names_due = false;
    f->synced_size = f->size;
    f->synced_head = f->head;
    return true;
}

/* synced_size is of the current file: what is behind it was added since. */
static bool sync_or_take_back(struct audit_files *f, const struct trouble *t)
{
    if (sync_all(f, t)) return true;
    f->cut_due = f->cut_due || f->size != f->synced_size;
    f->size = f->synced_size;
    f->head = f->synced_head;
    return false;
}

bool audit_files_sync(struct audit_files *f, char *error, size_t error_cap)
{
    const struct trouble t = {error, error_cap};
    return sync_or_take_back(f, &t);
}

/* ---- rotation ---- */

/* Those that are too many. That they stay is no reason not to write on. */
static void drop_old(const struct audit_files *f)
{
    struct audit_spans spans;
    char name[NAME_MAX + 1] = ".";
    if (f->keep == 0) return;
    bool good = audit_list(f->dir_fd, &spans);
    for (size_t i = 0; good && i + f->keep < spans.count; i++) {
        audit_span_name(&spans.span[i], name);
        good = unlinkat(f->dir_fd, name, 0) == 0;
        if (good) LOG(LOG_INFO, 0, "audit-dropped", KV_TEXT("file", name));
    }
    if (!good)
        LOG(LOG_WARN, 0, "audit-not-dropped", KV_TEXT("file", name),
            KV_TEXT("why", strerror(errno)));
    free(spans.span);
}

static bool rotate(struct audit_files *f, const struct trouble *t)
{
    const struct audit_span span = {f->first_seq, f->head.seq};
    char name[NAME_MAX + 1];
    audit_span_name(&span, name);
    /* Nothing is ever overwritten. We are the only writer, so it stays missing. */
    if (faccessat(f->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return fail_with(f, name, "there is a file of that name already", t);
    if (!sync_or_take_back(f, t)) return false;
    if (renameat(f->dir_fd, AUDIT_CURRENT, f->dir_fd, name) != 0) return fail(f, AUDIT_CURRENT, t);
    f->names_due = true;
    close(f->fd);
    f->fd = -1;
    f->size = f->synced_size = 0;
    drop_old(f);
    return true;
}

/* ---- adding ---- */

/* false: errno says why, and the file may have a part of it. */
static bool write_line(int fd, const char *line, size_t len)
{
    struct iovec v[2] = {{(char *)line, len}, {(char *)"\n", 1}};
    for (int at = 0; at < 2;) {
        ssize_t n = writev(fd, v + at, 2 - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        for (; at < 2 && (size_t)n >= v[at].iov_len; at++) n -= (ssize_t)v[at].iov_len;
        if (at < 2) {
            v[at].iov_base = (char *)v[at].iov_base + n;
            v[at].iov_len -= (size_t)n;
        }
    }
    return true;
}

bool audit_files_append(struct audit_files *f, const struct audit_head *head, const char *line,
                        char *error, size_t error_cap)
{
    const struct trouble t = {error, error_cap};
    size_t len = strlen(line);
    if (head->seq <= f->head.seq || len > AUDIT_LINE_MAX || memchr(line, '\n', len))
        return fail_with(f, AUDIT_CURRENT, "not a line to be added", &t);
    if (f->fd >= 0 && f->cut_due && !cut(f, &t)) return false;
    if (f->size > 0 && (size_t)f->size + len >= f->rotate_size && !rotate(f, &t)) return false;
    if (f->fd < 0 && !open_current(f, &t)) return false;
    if (!write_line(f->fd, line, len)) {
        fail(f, AUDIT_CURRENT, &t);
        f->cut_due = true;
        struct trouble ignored = {NULL, 0}; /* it is due still, if it fails */
        cut(f, &ignored);
        return false;
    }
    if (f->size == 0) f->first_seq = head->seq;
    f->size += (off_t)len + 1;
    f->head = *head;
    return true;
}
