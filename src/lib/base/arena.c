#include "src/lib/base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16 };

void pv_arena_init(struct pv_arena *arena, void *block, size_t cap)
{
    *arena = (struct pv_arena){.base = block, .cap = block ? cap : 0};
}

enum pv_err pv_arena_create(struct pv_arena *arena, size_t cap)
{
    *arena = (struct pv_arena){0};
    if (cap == 0) return PV_OK;
    if (cap > SIZE_MAX - (ALIGN - 1)) return PV_E_NOMEM;
    /* aligned_alloc wants a multiple of the alignment; the surplus stays unused. */
    arena->base = aligned_alloc(ALIGN, (cap + ALIGN - 1) / ALIGN * ALIGN);
    if (!arena->base) return PV_E_NOMEM;
    arena->cap = cap;
    return PV_OK;
}

void pv_arena_destroy(struct pv_arena *arena)
{
    if (!arena) return;
    free(arena->base);
    *arena = (struct pv_arena){0};
}

void pv_arena_reset(struct pv_arena *arena)
{
    arena->used = 0;
}

static void *cut(struct pv_arena *arena, size_t n, size_t size)
{
    size_t at = (arena->used + ALIGN - 1) & ~(size_t)(ALIGN - 1);

    if (!arena->base || at > arena->cap) return NULL;
    if (size && n > (arena->cap - at) / size) return NULL;
    arena->used = at + n * size;
    return arena->base + at;
}

void *pv_alloc(struct pv_arena *arena, size_t n, size_t size)
{
    void *piece = cut(arena, n, size);

    return piece ? memset(piece, 0, n * size) : NULL;
}

char *pv_strndup(struct pv_arena *arena, const void *text, size_t len)
{
    char *copy = len < SIZE_MAX ? cut(arena, len + 1, 1) : NULL;

    if (!copy) return NULL;
    if (len) memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

void *pv__arena_join(struct pv_arena *arena, const void *a, size_t a_len, const void *b,
                     size_t b_len)
{
    unsigned char *piece;

    if (a_len > SIZE_MAX - b_len) return NULL;
    if (arena->base && (const unsigned char *)a + a_len == arena->base + arena->used) {
        if (b_len > arena->cap - arena->used) return NULL;
        piece = arena->base + arena->used - a_len;
        arena->used += b_len;
    } else {
        piece = cut(arena, a_len + b_len, 1);
        if (!piece) return NULL;
        memcpy(piece, a, a_len);
    }
    memcpy(piece + a_len, b, b_len);
    return piece;
}
