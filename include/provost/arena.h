/** @file arena.h  One request, one block, one hard cap, one reset. */
#ifndef PROVOST_ARENA_H
#define PROVOST_ARENA_H

#include <stddef.h>

#include <provost/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A block from which pieces are cut; all die together. The caller owns the struct.
 *  base is 16-aligned when it comes from pv_arena_create; a caller's own block must be. */
struct pv_arena {
    unsigned char *base; /**< NULL in an empty arena (cap 0) */
    size_t cap, used;
};

/** Take a block that the caller owns (16-aligned, cap bytes) and that outlives the arena. Never
 *  fails. */
PV_API void pv_arena_init(struct pv_arena *arena, void *block, size_t cap);
/** Allocate a block of cap bytes, for pv_arena_destroy to free.
 *  @return PV_OK or PV_E_NOMEM (the arena is then empty). */
PV_API PV_MUST_CHECK enum pv_err pv_arena_create(struct pv_arena *arena, size_t cap);
/** Free the block of pv_arena_create. NULL and a zeroed arena are accepted. */
PV_API void pv_arena_destroy(struct pv_arena *arena);
/** Forget every piece; the block stays. */
PV_API void pv_arena_reset(struct pv_arena *arena);
/** n zeroed elements of size bytes, 16-aligned; NULL when they do not fit (overflow included).
 *  Lives until reset or destroy. */
PV_API void *pv_alloc(struct pv_arena *arena, size_t n, size_t size);
/** A NUL-terminated copy of len bytes; NULL when it does not fit. Lives until reset or destroy. */
PV_API char *pv_strndup(struct pv_arena *arena, const void *text, size_t len);

#define PV_NEW(arena, T, n) ((T *)pv_alloc((arena), (n), sizeof(T)))

#ifdef __cplusplus
}
#endif
#endif
