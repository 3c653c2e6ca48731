/* Bytes on their way from one side to the other: put in at the end, taken out at the front. One
 * block, which grows by need up to a limit of the caller's. Zeroed: empty. */
#ifndef PROVOSTD_WINDOW_H
#define PROVOSTD_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct window {
    uint8_t *bytes; /* cap of them; those from at on, len of them, are there */
    uint32_t at, len, cap;
};

/* The block for len bytes more: twice as large as before as often as that needs, at most max. A
 * block that is there is at least as large as `first`. */
size_t window_cap_for(const struct window *w, size_t len, size_t first, size_t max);
/* A block of cap bytes, which hold what is there. false: no memory, nothing has changed. */
bool window_grow(struct window *w, size_t cap);
/* len fits: window_cap_for, window_grow. */
void window_put(struct window *w, const void *bytes, size_t len);
size_t window_take(struct window *w, void *out, size_t cap);
void window_free(struct window *w);

#endif
