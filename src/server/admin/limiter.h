/* How often something may happen: a token bucket for each key, in a table of fixed size where the
 * bucket that has been full the longest gives way. */
#ifndef PROVOSTD_ADMIN_LIMITER_H
#define PROVOSTD_ADMIN_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

struct limiter;

/* `burst` at once, afterwards one each `every_ms`. NULL: no memory. */
struct limiter *limiter_create(unsigned burst, unsigned every_ms);
void limiter_destroy(struct limiter *l);
/* key: a hash that a peer cannot choose. Any thread. true: once more; false: not before
 * *retry_after_out seconds. */
bool limiter_take(struct limiter *l, uint64_t key, uint64_t now_ms, unsigned *retry_after_out);

#endif
