/* The head of an answer, line by line. Strict: where leniency could make two parties see two
 * different answers (two lengths, a length beside chunks, a folded field, a NUL), it is broken. */
#ifndef PROVOSTD_ANSWER_HEAD_H
#define PROVOSTD_ANSWER_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ANSWER_HEAD_MAX ((size_t)64 * 1024) /* bytes, interim answers included */
#define ANSWER_FIELDS_MAX 100               /* the same */

struct answer_head {
    unsigned status;      /* once its first line was read */
    uint64_t length;      /* of the body as announced, UINT64_MAX: not */
    bool done;            /* all of the final answer's head was read */
    char *text;           /* private: name, NUL, value, NUL, and so on */
    size_t len, cap;      /* of text */
    size_t bytes, fields; /* that came */
    bool chunked, http_1_1;
};
enum answer_line {
    ANSWER_MORE,
    ANSWER_DONE,     /* the final answer's body comes next */
    ANSWER_BAD,
    ANSWER_NO_MEMORY
};

/* The next line, with its end. Interim answers are passed over. why_out: with ANSWER_BAD, a sentence. */
enum answer_line answer_head_line(struct answer_head *h, const char *line, size_t len,
                                  const char **why_out);
/* NULL: absent. No regard to case; the first of several. */
const char *answer_head_field(const struct answer_head *h, const char *name);
/* Each field in order but for those that belong to the connection (RFC 9110 7.6.1, and what
 * Connection names) and the body's framing. */
void answer_head_each(const struct answer_head *h,
                      void (*each)(void *ctx, const char *name, const char *value), void *ctx);
/* For the next answer; memory stays. */
void answer_head_reset(struct answer_head *h);
void answer_head_free(struct answer_head *h);

#endif
