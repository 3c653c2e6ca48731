/* Text of peers: bounded, never assumed to be terminated or to be UTF-8. */
#ifndef PV_BASE_TEXT_H
#define PV_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <provost/error.h>

/* ASCII only, no locale. */
bool pv__is_digit(unsigned char c);
bool pv__is_alnum(unsigned char c);
int pv__lower(unsigned char c);
bool pv__equal_nocase(const char *a, size_t a_len, const char *b, size_t b_len);
/* Decimal without sign, blanks or more digits than `most` has; leading zeros only if allowed. */
bool pv__parse_u64(const char *text, size_t len, uint64_t most, bool leading_zeros, uint64_t *out);
/* The same with an optional leading '-'; neither leading zeros nor "-0". */
bool pv__parse_i64(const char *text, size_t len, int64_t least, int64_t most, int64_t *out);
/* Bytes of the valid UTF-8 sequence at text (1..4), 0 if it is broken, cut or overlong. */
size_t pv__utf8_next(const uint8_t *text, size_t len, uint32_t *code_out);
bool pv__utf8_valid(const uint8_t *text, size_t len);
/* Copy for a message: printable ASCII stays, everything else becomes \xNN; cut with "..."; always
 * terminated. */
void pv__escape(const char *text, size_t len, char *buf, size_t cap);

/* A text buffer with a hard cap; sticky: overflow is told by pv__out_end. */
struct pv__out { char *buf; size_t cap, len; bool full; };
void pv__out_init(struct pv__out *o, char *buf, size_t cap);
void pv__out_bytes(struct pv__out *o, const void *text, size_t len);
void pv__out_text(struct pv__out *o, const char *text);
void pv__out_i64(struct pv__out *o, int64_t value);
enum { PV__I64_TEXT = 21 }; /* room for the longest, terminated */
/* Terminates. PV_OK or PV_E_NOMEM. len_out may be NULL. */
PV_MUST_CHECK enum pv_err pv__out_end(struct pv__out *o, size_t *len_out);

#endif
