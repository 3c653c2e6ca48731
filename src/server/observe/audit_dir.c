#include "src/server/observe/audit_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/lib/base/text.h"

#define BUFFER_SIZE (AUDIT_LINE_MAX + 1)

/* Zeros before the numbers, so that the shell sorts the files as they follow each other. */
#define NAME_FORMAT "audit-%012" PRIu64 "-%012" PRIu64 ".jsonl"

void audit_span_name(const struct audit_span *s, char out[NAME_MAX + 1])
{
    snprintf(out, NAME_MAX + 1, NAME_FORMAT, s->first, s->last);
}

/* Only a name that we would give it ourselves: what else lies there is not the log's. */
static bool is_span(const char *name, struct audit_span *s)
{
    char again[NAME_MAX + 1];
    const char *first = name + strlen("audit-"), *dash;
    if (strncmp(name, "audit-", strlen("audit-")) != 0 || !(dash = strchr(first, '-')))
        return false;
    if (!pv__parse_u64(first, (size_t)(dash - first), UINT64_MAX, true, &s->first) ||
        !pv__parse_u64(dash + 1, strspn(dash + 1, "0123456789"), UINT64_MAX, true, &s->last))
        return false;
    audit_span_name(s, again);
    return strcmp(name, again) == 0;
}

static int compare(const void *a, const void *b)
{
    const struct audit_span *x = a, *y = b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return (x->last > y->last) - (x->last < y->last);
}

static bool add(struct audit_spans *spans, const struct audit_span *s)
{
    if ((spans->count & (spans->count - 1)) == 0) { /* at 0, 1, 2, 4, ... there is no room left */
        size_t cap = spans->count ? 2 * spans->count : 1;
        struct audit_span *grown = reallocarray(spans->span, cap, sizeof *grown);
        if (!grown) return false;
        spans->span = grown;
    }
    spans->span[spans->count++] = *s;
    return true;
}

static bool list(DIR *dir, struct audit_spans *spans)
{
    struct audit_span s;
    errno = 0;
    for (const struct dirent *e; (e = readdir(dir)) != NULL; errno = 0)
        if (is_span(e->d_name, &s) && !add(spans, &s)) return false;
    return errno == 0;
}

bool audit_list(int dir_fd, struct audit_spans *spans_out)
{
    *spans_out = (struct audit_spans){0};
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    bool good = dir && list(dir, spans_out);
    int why = errno;
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    if (good) {
        if (spans_out->count)
            qsort(spans_out->span, spans_out->count, sizeof *spans_out->span, compare);
        return true;
    }
    free(spans_out->span);
    *spans_out = (struct audit_spans){0};
    errno = why;
    return false;
}

/* ---- lines ---- */

bool audit_lines_init(struct audit_lines *l, int fd)
{
    *l = (struct audit_lines){.fd = fd, .buf = malloc(BUFFER_SIZE)};
    return l->buf != NULL;
}

void audit_lines_finish(struct audit_lines *l)
{
    free(l->buf);
    l->buf = NULL;
}

void audit_lines_restart(struct audit_lines *l, int fd)
{
    *l = (struct audit_lines){.fd = fd, .buf = l->buf};
}

/* More bytes behind those that are there. false: errno says why. */
static bool fill(struct audit_lines *l)
{
    if (l->at > 0) memmove(l->buf, l->buf + l->at, l->filled - l->at);
    l->filled -= l->at;
    l->at = 0;
    ssize_t n;
    do {
        n = read(l->fd, l->buf + l->filled, BUFFER_SIZE - l->filled);
    } while (n < 0 && errno == EINTR);
    if (n < 0) return false;
    l->filled += (size_t)n;
    l->ended = n == 0;
    return true;
}

enum audit_got audit_lines_next(struct audit_lines *l, const char **line_out, size_t *len_out)
{
    for (size_t seen = 0;;) { /* bytes of the line in which no end was found */
        char *line = l->buf + l->at;
        size_t left = l->filled - l->at;
        char *end = left > seen ? memchr(line + seen, '\n', left - seen) : NULL;
        *line_out = line;
        *len_out = end ? (size_t)(end - line) : left;
        if (end) {
            l->at += *len_out + 1;
            return AUDIT_GOT_LINE;
        }
        if (l->ended) {
            l->at = l->filled;
            return left ? AUDIT_GOT_PART : AUDIT_GOT_END;
        }
        if (left == BUFFER_SIZE) return AUDIT_GOT_LONG;
        seen = left;
        if (!fill(l)) return AUDIT_GOT_ERROR;
    }
}
