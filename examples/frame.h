/* How the two examples talk: a line, then as many bytes as it says. A real server and a real
 * client have HTTP here. */
#ifndef EXAMPLES_FRAME_H
#define EXAMPLES_FRAME_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { BODY_MAX = 1 << 16 };

/* COMMAND VERSION KEY LENGTH, the key "-" for none; and STATUS LENGTH for the answer. */
struct request { char cmd[32], version[8], key[80]; size_t len; uint8_t body[BODY_MAX]; };
struct answer { unsigned http; size_t len; uint8_t body[BODY_MAX]; };

static inline bool read_body(uint8_t *body, size_t len)
{
    return getchar() == '\n' && len <= BODY_MAX && fread(body, 1, len, stdin) == len;
}

static inline bool read_request(struct request *r)
{
    return scanf("%31s %7s %79s %zu", r->cmd, r->version, r->key, &r->len) == 4
        && read_body(r->body, r->len);
}

static inline bool write_request(const struct request *r)
{
    printf("%s %s %s %zu\n", r->cmd, r->version, r->key, r->len);
    fwrite(r->body, 1, r->len, stdout);
    return fflush(stdout) == 0;
}

static inline bool read_answer(struct answer *a)
{
    return scanf("%u %zu", &a->http, &a->len) == 2 && read_body(a->body, a->len);
}

static inline bool write_answer(const struct answer *a)
{
    printf("%u %zu\n", a->http, a->len);
    fwrite(a->body, 1, a->len, stdout);
    return fflush(stdout) == 0;
}

#endif
