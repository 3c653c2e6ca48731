/* The chunked transfer coding as it is received, RFC 9112 7.1. Strict: line ends are CR LF, a size is
 * nothing but hexadecimal digits. */
#ifndef PROVOSTD_CHUNKS_H
#define PROVOSTD_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

#define CHUNK_LINE_MAX 1024    /* of a size with its extensions */
#define CHUNK_TRAILER_MAX 8192 /* of all fields behind the last chunk, which are passed over */

enum chunk_step {
    CHUNK_MORE, /* all of the input was used */
    CHUNK_DATA,
    CHUNK_END,  /* what follows is not of this body */
    CHUNK_BAD
};
struct chunks { /* zeroed: at the beginning */
    int state;
    uint64_t left; /* of the chunk's data */
    size_t line, trailer;
};

/* used_out: bytes of the input that are framing. With CHUNK_DATA, data_out bytes behind them are of the
 * body; say with chunks_taken how many of them were used, then go on behind those. */
enum chunk_step chunks_step(struct chunks *c, const uint8_t *in, size_t len, size_t *used_out,
                            size_t *data_out);
void chunks_taken(struct chunks *c, size_t len);

#endif
