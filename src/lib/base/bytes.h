/* Moves through a peer's bytes without passing their end: lengths are compared, never `p + n`. */
#ifndef PV_BASE_BYTES_H
#define PV_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <provost/error.h>

/* Only for code where an arena owns everything, so that an early return cannot leak. */
#define PV_TRY(e)              \
    do {                       \
        enum pv_err e_ = (e);  \
        if (e_) return e_;     \
    } while (0)

struct pv__reader { const uint8_t *start, *p, *end; };

static inline struct pv__reader pv__rd_init(const void *in, size_t len)
{
    const uint8_t *start = in;

    return (struct pv__reader){start, start, len ? start + len : start};
}

static inline size_t pv__rd_left(const struct pv__reader *r)
{
    return (size_t)(r->end - r->p);
}

static inline size_t pv__rd_at(const struct pv__reader *r)
{
    return (size_t)(r->p - r->start);
}

PV_MUST_CHECK static inline enum pv_err
pv__rd_take(struct pv__reader *r, size_t n, const uint8_t **out)
{
    if (pv__rd_left(r) < n) return PV_E_SHORT;
    *out = r->p;
    if (n) r->p += n;
    return PV_OK;
}

PV_MUST_CHECK static inline enum pv_err pv__rd_u8(struct pv__reader *r, uint8_t *out)
{
    if (r->p == r->end) return PV_E_SHORT;
    *out = *r->p++;
    return PV_OK;
}

/* WBXML mb_u_int32: at most 5 bytes and 32 bits. The reader stays at the item if it is broken. */
PV_MUST_CHECK static inline enum pv_err pv__rd_mb_u32(struct pv__reader *r, uint32_t *out)
{
    struct pv__reader ahead = *r;
    uint32_t value = 0;
    uint8_t b;

    for (int i = 0; i < 5 && value <= UINT32_MAX >> 7; i++) {
        PV_TRY(pv__rd_u8(&ahead, &b));
        value = value << 7 | (b & 0x7F);
        if (b & 0x80) continue;
        *out = value;
        *r = ahead;
        return PV_OK;
    }
    return PV_E_MALFORMED;
}

/* Bytes up to the next NUL, which is taken too; at most `most` bytes without it. */
PV_MUST_CHECK static inline enum pv_err
pv__rd_text(struct pv__reader *r, size_t most, const uint8_t **out, size_t *len_out)
{
    size_t left = pv__rd_left(r), scan = most < left ? most + 1 : left;
    const uint8_t *nul = scan ? memchr(r->p, 0, scan) : NULL;

    if (!nul) return left > most ? PV_E_TOOBIG : PV_E_SHORT;
    *out = r->p;
    *len_out = (size_t)(nul - r->p);
    r->p = nul + 1;
    return PV_OK;
}

#endif
