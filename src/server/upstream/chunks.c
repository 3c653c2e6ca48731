#include "src/server/upstream/chunks.h"

#include <stdbool.h>

enum {
    SIZE_FIRST, /* a digit must come */
    SIZE,
    EXTENSION, /* up to the line's end */
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_LINE, /* at its beginning */
    TRAILER,
    TRAILER_LF,
    END_LF,
    ENDED
};

static int digit_of(uint8_t b)
{
    if (b >= '0' && b <= '9') return b - '0';
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

static bool take_size(struct chunks *c, uint8_t b)
{
    int digit = digit_of(b);
    if (digit >= 0) {
        if (c->left > UINT64_MAX >> 5) return false;
        c->left = c->left << 4 | (uint64_t)digit;
        c->state = SIZE;
        return true;
    }
    bool ends = b == '\r', extended = b == ';' || b == ' ' || b == '\t';
    bool had_digit = c->state == SIZE;
    c->state = ends ? SIZE_LF : EXTENSION;
    return had_digit && (ends || extended);
}

/* In a line that is passed over; \r ends it. */
static bool pass_over(struct chunks *c, uint8_t b, int then)
{
    if (b == '\r') c->state = then;
    return b == '\r' || b == '\t' || (b >= ' ' && b != 0x7F);
}

/* A byte of the framing. false: it is wrong. */
static bool take(struct chunks *c, uint8_t b)
{
    switch (c->state) {
    case SIZE_FIRST:
    case SIZE: return ++c->line <= CHUNK_LINE_MAX && take_size(c, b);
    case EXTENSION: return ++c->line <= CHUNK_LINE_MAX && pass_over(c, b, SIZE_LF);
    case SIZE_LF:
        c->line = 0;
        c->state = c->left ? DATA : TRAILER_LINE;
        return b == '\n';
    case DATA_CR: c->state = DATA_LF; return b == '\r';
    case DATA_LF: c->state = SIZE_FIRST; return b == '\n';
    case TRAILER_LINE:
        c->state = b == '\r' ? END_LF : TRAILER;
        return ++c->trailer <= CHUNK_TRAILER_MAX && (b == '\r' || pass_over(c, b, TRAILER_LF));
    case TRAILER: return ++c->trailer <= CHUNK_TRAILER_MAX && pass_over(c, b, TRAILER_LF);
    case TRAILER_LF: c->state = TRAILER_LINE; return b == '\n';
    case END_LF: c->state = ENDED; return b == '\n';
    default: return false;
    }
}

enum chunk_step chunks_step(struct chunks *c, const uint8_t *in, size_t len, size_t *used_out,
                            size_t *data_out)
{
    *data_out = 0;
    for (size_t i = 0;; i++) {
        *used_out = i;
        if (c->state == ENDED) return CHUNK_END;
        if (i == len) return CHUNK_MORE;
        if (c->state == DATA) {
            *data_out = c->left < len - i ? (size_t)c->left : len - i;
            return CHUNK_DATA;
        }
        if (!take(c, in[i])) return CHUNK_BAD;
    }
}

void chunks_taken(struct chunks *c, size_t len)
{
    c->left -= len;
    if (c->left == 0) c->state = DATA_CR;
}
