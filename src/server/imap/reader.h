/* Cuts the stream of an IMAP server into responses (RFC 3501 7): a line, the literals that it announces
 * and what follows them. No I/O. */
#ifndef PROVOSTD_IMAP_READER_H
#define PROVOSTD_IMAP_READER_H

#include <stdbool.h>
#include <stddef.h>

#define IMAP_RESPONSE_MAX ((size_t)64 * 1024) /* bytes of a response, literals included */

/* Zeroed: empty. */
struct imap_reader {
    char *buf;            /* private, as all below */
    size_t cap, from, len; /* what is not given out yet: len bytes at from */
    size_t seen;          /* so many of them need not be looked at again */
    size_t line;          /* where the line of the response begins that is read now */
};

enum imap_cut {
    IMAP_CUT_RESPONSE,
    IMAP_CUT_MORE,        /* the rest has not come yet */
    IMAP_CUT_BROKEN       /* longer than IMAP_RESPONSE_MAX: nothing more can be read */
};

/* Room for what comes next, at least a byte. What was given out before is gone. NULL: no memory. */
char *imap_reader_room(struct imap_reader *r, size_t *room_out);
/* So much of the room is filled. */
void imap_reader_filled(struct imap_reader *r, size_t len);
/* The next response, without its last line end; it lives until imap_reader_room. */
enum imap_cut imap_reader_next(struct imap_reader *r, const char **at_out, size_t *len_out);
/* Frees; r is empty then. */
void imap_reader_finish(struct imap_reader *r);

/* A literal is announced at the end of these bytes, which are what of its response has come so far?
 * "{n}", "{n+}" and, as binary, "~{n}". */
bool imap_announces_literal(const char *line, size_t len, size_t *size_out);

#endif
