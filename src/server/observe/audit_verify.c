/* Walks through all lines, oldest first, beside a server that writes, rotates and drops files. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/server/observe/audit_check.h"

#define LOOKS_MAX 100 /* at the directory, while files are rotated under our eyes */

/* ---- the walk ---- */

struct walk {
    int dir_fd, current_fd; /* -1: there is none */
    struct audit_spans spans;
    struct audit_lines lines;
    struct audit_place at;
    /* One line, a part of one, or the end of the file (AUDIT_GOT_END). false: enough. */
    bool (*step)(void *ctx, const struct audit_place *at, enum audit_got what, const char *line,
                 size_t len);
    /* Everything up to here was dropped by rotation while it was looked at. */
    void (*begin_anew)(void *ctx);
    void *ctx;
};

static bool same_file(int a, int b)
{
    struct stat x, y;
    return a >= 0 && b >= 0 && fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino &&
           x.st_dev == y.st_dev;
}

/* -1: there is none, or errno says why it cannot be opened. */
static int open_current(const struct walk *w)
{
    return openat(w->dir_fd, AUDIT_CURRENT, O_RDONLY | AUDIT_OPEN);
}

/* The full files and the current one, of the same moment: with the same one current before and
 * behind, none was rotated in between. *again_out: not so. */
static bool look_around(struct walk *w, bool *again_out)
{
    w->current_fd = open_current(w);
    if ((w->current_fd < 0 && errno != ENOENT) || !audit_list(w->dir_fd, &w->spans)) return false;
    int behind = open_current(w);
    if (behind < 0 && errno != ENOENT) return false;
    *again_out =
        (behind >= 0) != (w->current_fd >= 0) || (behind >= 0 && !same_file(behind, w->current_fd));
    if (behind >= 0) close(behind);
    if (!*again_out) return true;
    if (w->current_fd >= 0) close(w->current_fd);
    free(w->spans.span);
    w->spans = (struct audit_spans){0};
    w->current_fd = -1;
    errno = EAGAIN;
    return false;
}

static bool walk_open(struct walk *w, const char *dir, char *error, size_t error_cap)
{
    bool again = true, good = false;
    w->current_fd = -1;
    w->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->dir_fd < 0 && errno == ENOENT) return true; /* nothing was written yet */
    for (unsigned i = 0; w->dir_fd >= 0 && again && i < LOOKS_MAX; i++) {
        again = false;
        good = look_around(w, &again);
    }
    if (good && audit_lines_init(&w->lines, -1)) return true;
    snprintf(error, error_cap, "%s: %s", dir, strerror(errno));
    return false;
}

static void walk_close(struct walk *w)
{
    audit_lines_finish(&w->lines);
    free(w->spans.span);
    if (w->current_fd >= 0) close(w->current_fd);
    if (w->dir_fd >= 0) close(w->dir_fd);
}

/* false: enough, or it cannot be read (then *failed). */
static bool walk_file(struct walk *w, int fd, bool *failed)
{
    const char *line;
    size_t len;
    enum audit_got got;
    audit_lines_restart(&w->lines, fd);
    w->at.line = 0;
    do {
        got = audit_lines_next(&w->lines, &line, &len);
        w->at.line++;
        *failed = got == AUDIT_GOT_ERROR;
        if (*failed || !w->step(w->ctx, &w->at, got, line, len)) return false;
    } while (got == AUDIT_GOT_LINE || got == AUDIT_GOT_PART);
    return true;
}

/* A full file that has gone since they were listed: by rotation, if none is left before it. */
static bool is_dropped(const struct walk *w, const struct audit_span *span)
{
    struct audit_spans now;
    bool dropped =
        audit_list(w->dir_fd, &now) && (now.count == 0 || now.span[0].first > span->first);
    free(now.span);
    return dropped;
}

static bool walk_full(struct walk *w, const struct audit_span *span, bool *failed)
{
    audit_span_name(span, w->at.file);
    w->at.span = *span;
    int fd = openat(w->dir_fd, w->at.file, O_RDONLY | AUDIT_OPEN);
    bool gone = fd < 0 && errno == ENOENT;
    *failed = fd < 0 && !gone;
    bool more = !*failed && (gone || walk_file(w, fd, failed));
    if (gone && is_dropped(w, span)) w->begin_anew(w->ctx);
    int why = errno;
    if (fd >= 0) close(fd);
    errno = why;
    w->at.after_others = true;
    return more;
}

/* Lines above after, and some before them. */
static bool walk(struct walk *w, uint64_t after, const char *dir, char *error, size_t error_cap)
{
    bool more = true, failed = false;
    if (!walk_open(w, dir, error, error_cap)) return false;
    for (size_t i = 0; i < w->spans.count && more; i++) {
        if (w->spans.span[i].last > after) more = walk_full(w, &w->spans.span[i], &failed);
    }
    if (more && w->current_fd >= 0) {
        snprintf(w->at.file, sizeof w->at.file, "%s", AUDIT_CURRENT);
        w->at.span = (struct audit_span){0};
        walk_file(w, w->current_fd, &failed);
    }
    if (failed) snprintf(error, error_cap, "%s/%s: %s", dir, w->at.file, strerror(errno));
    return !failed;
}

/* ---- verifying ---- */

/* A full file ends with the line that its name tells; only the current one may be written now. */
static bool check_end(struct audit_check *v, const struct audit_place *at)
{
    struct audit_report *r = v->report;
    if (at->span.first && r->head.seq < at->span.last) {
        audit_blame_missing(r, AUDIT_FAULT_FILE_CUT, at, r->head.seq + 1, r->head.seq + 1,
                            at->span.last);
        return false;
    }
    r->files++;
    return true;
}

static bool verify_step(void *ctx, const struct audit_place *at, enum audit_got what,
                        const char *line, size_t len)
{
    struct audit_check *v = ctx;
    if (!v->part) v->at = *at; /* nothing comes behind a part */
    switch (what) {
    case AUDIT_GOT_LINE: return audit_check_line(v, at, line, len);
    case AUDIT_GOT_PART:
        v->part = true;
        if (at->span.first) audit_blame(v->report, AUDIT_FAULT_PART, at, v->report->head.seq + 1);
        return !at->span.first;
    case AUDIT_GOT_END: return check_end(v, at);
    default: audit_blame(v->report, AUDIT_FAULT_LONG, at, v->report->head.seq + 1); return false;
    }
}

/* The log begins behind what was dropped: that is no fault. */
static void verify_anew(void *ctx)
{
    struct audit_check *v = ctx;
    *v->report = (struct audit_report){0};
}

bool audit_verify(const char *dir, const struct audit_head *known, struct audit_report *report_out,
                  char *error, size_t error_cap)
{
    *report_out = (struct audit_report){0};
    struct audit_check v = {.report = report_out, .known = known && known->seq ? known : NULL};
    snprintf(v.at.file, sizeof v.at.file, "%s", AUDIT_CURRENT);
    struct walk w = {.step = verify_step, .begin_anew = verify_anew, .ctx = &v};
    bool good = walk(&w, 0, dir, error, error_cap);
    walk_close(&w);
    if (good) audit_check_end(&v);
    return good;
}

/* ---- reading ---- */

struct reading {
    uint64_t after;
    size_t left;
    void (*each)(void *ctx, uint64_t seq, const char *line, size_t len);
    void *ctx;
};

static bool read_step(void *ctx, const struct audit_place *at, enum audit_got what,
                      const char *line, size_t len)
{
    (void)at;
    struct reading *r = ctx;
    uint64_t seq = what == AUDIT_GOT_LINE ? audit_line_seq(line, len) : 0;
    if (seq > r->after && r->left > 0) {
        r->each(r->ctx, seq, line, len);
        r->left--;
    }
    return r->left > 0 && what != AUDIT_GOT_LONG;
}

/* What was read stays read. */
static void read_on(void *ctx)
{
    (void)ctx;
}

bool audit_read(const char *dir, uint64_t after, size_t most,
                void (*each)(void *ctx, uint64_t seq, const char *line, size_t len), void *ctx,
                char *error, size_t error_cap)
{
    struct reading r = {after, most, each, ctx};
    struct walk w = {.step = read_step, .begin_anew = read_on, .ctx = &r};
    bool good = most == 0 || walk(&w, after, dir, error, error_cap);
    if (most > 0) walk_close(&w);
    return good;
}
