/* What only the library may do with an arena. */
#ifndef PV_BASE_ARENA_H
#define PV_BASE_ARENA_H

#include <provost/arena.h>

/* The bytes of a with those of b behind them, in one piece: in place if a is the newest piece of
 * the arena, else as a copy. NULL when they do not fit; a stays as it is then. */
void *pv__arena_join(struct pv_arena *arena, const void *a, size_t a_len, const void *b,
                     size_t b_len);

#endif
