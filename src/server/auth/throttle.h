/* Failed logins per key (a user's name, an address) within the last minute. Bounded: the longest
 * unused of a bucket gives way. */
#ifndef PROVOSTD_AUTH_THROTTLE_H
#define PROVOSTD_AUTH_THROTTLE_H

#include <stdint.h>

struct throttle;

#define THROTTLE_WINDOW_MS 60000
#define THROTTLE_KEPT 64 /* failures remembered of one key */

struct throttle *throttle_create(void);
void throttle_destroy(struct throttle *t);
/* Failures in the last minute. Any thread. key: a keyed hash. */
unsigned throttle_count(struct throttle *t, uint64_t key, uint64_t now_ms);
/* Note one more. @return their number in the last minute, this one included. */
unsigned throttle_fail(struct throttle *t, uint64_t key, uint64_t now_ms);

#endif
