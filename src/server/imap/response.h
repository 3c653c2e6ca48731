/* Responses of an IMAP server, taken apart (RFC 3501 7 and 9). Pure functions; nothing is copied: what
 * is found points into the response. */
#ifndef PROVOSTD_IMAP_RESPONSE_H
#define PROVOSTD_IMAP_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAP_DEPTH_MAX 8    /* lists in lists */
#define IMAP_ITEMS_MAX 4096 /* of one response */

struct imap_span { const char *at; size_t len; };
/* No regard to case. */
bool imap_span_is(struct imap_span s, const char *word);

enum imap_item_kind { IMAP_END, IMAP_ATOM, IMAP_QUOTED, IMAP_LITERAL, IMAP_OPEN, IMAP_CLOSE, IMAP_BAD };
struct imap_item {
    enum imap_item_kind kind;
    struct imap_span text; /* of an atom or a string; QUOTED: still with its backslashes */
};
/* A place in a response. After IMAP_BAD it stays there. */
struct imap_cursor {
    const char *at, *end;
    unsigned depth, items; /* private */
};
struct imap_cursor imap_cursor(const char *text, size_t len);
struct imap_item imap_next(struct imap_cursor *c);
/* Past the rest of the list in which the cursor is. false: the response is malformed. */
bool imap_leave(struct imap_cursor *c);
/* Past one value: an atom, a string, a list. false: there is none, or it is malformed. */
bool imap_skip(struct imap_cursor *c);
/* The text of an atom or a string, terminated. false: it is none, holds a NUL, or there is no room. */
bool imap_text(const struct imap_item *i, char *buf, size_t cap, size_t *len_out);
/* NIL, and not as a string. */
bool imap_is_nil(const struct imap_item *i);

enum imap_kind {
    IMAP_CONTINUE,  /* + */
    IMAP_TAGGED,    /* the end of a command: tag, status, code */
    IMAP_CONDITION, /* untagged OK, NO, BAD, BYE, PREAUTH: status, code */
    IMAP_DATA,      /* name, number, rest */
    IMAP_NOISE      /* nothing that IMAP knows */
};
enum imap_status { IMAP_OK, IMAP_NO, IMAP_REJECTED /* BAD */, IMAP_BYE, IMAP_PREAUTH };

struct imap_response {
    enum imap_kind kind;
    enum imap_status status;
    struct imap_span tag;
    struct imap_span code;     /* what stands in [...]; empty: none */
    struct imap_span name;     /* LIST, EXISTS */
    uint32_t number;           /* before the name; 0: none */
    struct imap_cursor rest;   /* behind the name */
};
void imap_parse(const char *text, size_t len, struct imap_response *out);
/* Does the code begin with that word ("AUTHENTICATIONFAILED")? */
bool imap_code_is(const struct imap_response *r, const char *word);

#endif
