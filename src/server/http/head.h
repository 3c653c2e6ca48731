/* Is this a request head that every HTTP implementation reads the same way? A pure function: no
 * engine, no state. */
#ifndef PROVOSTD_HEAD_H
#define PROVOSTD_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_FIELDS_MAX 100

/* name, status of the answer, sentence */
#define HEAD_FAULTS(X)                                                                  \
    X(NONE, 200, "the head is well formed")                                             \
    X(REQUEST_LINE, 400, "the request line is not METHOD SP TARGET SP VERSION")         \
    X(VERSION, 505, "the version of HTTP is neither 1.0 nor 1.1")                       \
    X(LINE_END, 400, "a line does not end with CR LF")                                  \
    X(FIELD_NAME, 400, "the name of a field is not a token followed by a colon")        \
    X(FOLDED, 400, "a field is continued on the next line")                             \
    X(CONTROL, 400, "a field value holds a control character")                          \
    X(TOO_MANY, 431, "there are too many fields")                                       \
    X(NO_HOST, 400, "there is no Host field")                                           \
    X(TWO_HOSTS, 400, "there is more than one Host field")                              \
    X(BAD_HOST, 400, "the Host field is not a host")                                    \
    X(BAD_LENGTH, 400, "Content-Length is not one decimal number")                      \
    X(HUGE_LENGTH, 413, "Content-Length is beyond all measure")                         \
    X(TWO_LENGTHS, 400, "there is more than one Content-Length field")                  \
    X(BAD_CODING, 400, "Transfer-Encoding is not chunked, or is there more than once")  \
    X(LENGTH_AND_CODING, 400, "there are both Content-Length and Transfer-Encoding")    \
    X(OLD_AND_CODING, 400, "Transfer-Encoding is not for version 1.0 of HTTP")          \
    X(REPEATED, 400, "a field that tells who asks, or for what, is there more than once")   \
    X(UNFINISHED, 400, "the head has no end, or a NUL or bare CR or LF in it")          \
    X(TRAILING, 400, "something follows the empty line of the head")

#define HEAD_ENUM(name, status, text) HEAD_##name,
enum head_fault { HEAD_FAULTS(HEAD_ENUM) HEAD_FAULT_COUNT };
#undef HEAD_ENUM

struct head_facts {
    bool http_1_0;
    bool chunked;
    bool has_length;
    uint64_t length;
    bool expects_continue;
};

/* libmicrohttpd parses a head in place: it writes a NUL over the blanks of the request line, over
 * the first colon of a field and over line ends, unescapes the target, and so loses what tells a
 * malformed head from a well-formed one. But nothing moves. */
struct head_remains {
    const char *bytes;      /* from the method on */
    size_t len;             /* of the whole head, its empty line included */
    const char *target;     /* a copy that was taken before it was unescaped */
    size_t target_at, version_at; /* offsets of both */
    size_t fields; /* how many the library has found: two NULs in a value look like a line end */
};

/* Put back what was overwritten, exactly where a well-formed head has it; anywhere else a NUL
 * stays, for head_check to refuse.
 * @return r->len, or 0 if it is more than cap, or offsets or fields do not fit. */
size_t head_restore(const struct head_remains *r, char *out, size_t cap);

/* head: from the first byte of the request line through the empty line. facts_out is set only for
 * HEAD_NONE. */
enum head_fault head_check(const char *head, size_t len, struct head_facts *facts_out);
unsigned head_fault_status(enum head_fault f);
const char *head_fault_text(enum head_fault f);

#endif
