/* Inside the audit log: which files a directory has, and their lines. */
#ifndef PROVOSTD_AUDIT_DIR_H
#define PROVOSTD_AUDIT_DIR_H

#include <fcntl.h>

#include "src/server/observe/audit.h"

#define AUDIT_CURRENT "audit.jsonl"
/* Nothing that was put in a file's place leads elsewhere (a link) or makes us wait (a FIFO). */
#define AUDIT_OPEN (O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)

/* A full file, by its name. */
struct audit_span { uint64_t first, last; };
struct audit_spans {
    struct audit_span *span; /* ascending */
    size_t count;
};
void audit_span_name(const struct audit_span *s, char out[NAME_MAX + 1]);
/* The full files, as they are now. false: errno says why. To be freed with free(spans_out->span). */
bool audit_list(int dir_fd, struct audit_spans *spans_out);

/* ---- lines, in a buffer that never grows ---- */
struct audit_lines {
    int fd;
    char *buf; /* AUDIT_LINE_MAX and room for a line's end */
    size_t at, filled;
    bool ended; /* nothing more is in the file */
};
enum audit_got {
    AUDIT_GOT_LINE,
    AUDIT_GOT_END,
    AUDIT_GOT_PART, /* the last line has no end */
    AUDIT_GOT_LONG, /* a line longer than AUDIT_LINE_MAX: nothing can be read behind it */
    AUDIT_GOT_ERROR /* errno says why */
};
/* false: no memory. fd stays the caller's. */
bool audit_lines_init(struct audit_lines *l, int fd);
void audit_lines_finish(struct audit_lines *l);
/* The same buffer for another file. */
void audit_lines_restart(struct audit_lines *l, int fd);
/* *line_out is good until the next call; for a part too. */
enum audit_got audit_lines_next(struct audit_lines *l, const char **line_out, size_t *len_out);

#endif
