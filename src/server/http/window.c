#include "src/server/http/window.h"

#include <stdlib.h>
#include <string.h>

size_t window_cap_for(const struct window *w, size_t len, size_t first, size_t max)
{
    size_t cap = w->cap ? w->cap : first;
    while (cap < w->len + len && cap < max) cap *= 2;
    return cap < max ? cap : max;
}

bool window_grow(struct window *w, size_t cap)
{
    if (cap <= w->cap) return true;
    if (cap > UINT32_MAX) return false;
    uint8_t *grown = realloc(w->bytes, cap);
    if (!grown) return false;
    w->bytes = grown;
    w->cap = (uint32_t)cap;
    return true;
}

void window_put(struct window *w, const void *bytes, size_t len)
{
    if (len == 0) return;
    if (w->cap - w->at - w->len < len) {
        memmove(w->bytes, w->bytes + w->at, w->len);
        w->at = 0;
    }
    memcpy(w->bytes + w->at + w->len, bytes, len);
    w->len += (uint32_t)len;
}

size_t window_take(struct window *w, void *out, size_t cap)
{
    size_t n = cap < w->len ? cap : w->len;
    if (n == 0) return 0;
    memcpy(out, w->bytes + w->at, n);
    w->len -= (uint32_t)n;
    w->at = w->len ? w->at + (uint32_t)n : 0;
    return n;
}

void window_free(struct window *w)
{
    free(w->bytes);
    *w = (struct window){0};
}
