/* What libmicrohttpd 0.9.75 does to a head in its memory, for tests of head_restore. */
#ifndef TESTS_OVERWRITE_H
#define TESTS_OVERWRITE_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/http/head.h"

struct overwritten {
    struct head_remains remains;
    char *bytes, *target;
};

static inline void overwritten_free(struct overwritten *o)
{
    free(o->bytes);
    free(o->target);
}

/* A line from at: its end is overwritten. Returns where the next begins, 0 if it has no end. */
static inline size_t overwrite_line(char *bytes, size_t len, size_t at)
{
    for (size_t i = at; i < len; i++) {
        if (bytes[i] == '\n') {
            bytes[i] = '\0';
            return i + 1;
        }
        if (bytes[i] == '\r' && i + 1 < len && bytes[i + 1] == '\n') {
            bytes[i] = bytes[i + 1] = '\0';
            return i + 2;
        }
    }
    return 0;
}

/* The request line: target and version are found, the blanks before them overwritten. */
static inline bool overwrite_request_line(struct overwritten *o, size_t line_len)
{
    char *line = o->bytes, *target, *version;
    char *blank = memchr(line, ' ', line_len);
    if (!blank)
        return false;
    *blank = '\0';
    for (target = blank + 1; target < line + line_len && *target == ' ';)
        target++;
    if (target >= line + line_len)
        return false;
    for (version = line + line_len - 1; *version == ' ' && version > target;)
        version--;
    while (*version != ' ' && version > target)
        version--;
    if (version == target || (size_t)(line + line_len - version) != 9 ||
        memcmp(version + 1, "HTTP/1.", 7) != 0)
        return false;
    *version = '\0';
    o->target = strdup(target);
    o->remains.target = o->target;
    o->remains.target_at = (size_t)(target - line);
    o->remains.version_at = (size_t)(version + 1 - line);
    /* Arguments are split and unescaped in place. */
    for (char *p = target; p < version; p++)
        if (*p == '?' || *p == '&' || *p == '=' || *p == '%')
            *p = '\0';
    return true;
}

/* false: libmicrohttpd refuses it before a handler sees it. */
static inline bool overwrite(struct overwritten *o, const char *head, size_t len)
{
    size_t at, next, last = 0;
    *o = (struct overwritten){ .bytes = malloc(len + 1) };
    memcpy(o->bytes, head, len);
    o->bytes[len] = '\0';
    at = overwrite_line(o->bytes, len, 0);
    if (at == 0 || !overwrite_request_line(o, strlen(o->bytes)))
        goto refused;
    for (; (next = overwrite_line(o->bytes, len, at)) != 0; at = next) {
        if (o->bytes[at] == '\0') {
            o->remains.bytes = o->bytes;
            o->remains.len = next;
            return true;
        }
        char *colon = strchr(o->bytes + at, ':');
        if (last && (o->bytes[at] == ' ' || o->bytes[at] == '\t')) {
            /* A continued field moves elsewhere, and its name is wiped. */
            memset(o->bytes + last, 0, strlen(o->bytes + last) + 1);
        } else if (!colon) {
            goto refused;
        } else {
            *colon = '\0';
            last = at;
            o->remains.fields++;
        }
    }
refused:
    overwritten_free(o);
    return false;
}

#endif
