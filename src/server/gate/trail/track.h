/* What happens at the gate, told to the trails: steps, loops, faces. The shard of the device is
 * locked wherever one is given. */
#ifndef PROVOSTD_GATE_TRACK_H
#define PROVOSTD_GATE_TRACK_H

#include "src/server/gate/inner.h"

/* A device is met: `before` is its kind as it was, counted for the caller, or NULL. */
void track_seen(struct device *d, struct gate *g, struct shard *s, struct kind *before,
                int64_t now);
/* Its kind, counted, for track_seen; NULL: it has shown no face yet. */
struct kind *track_face(struct device *d);
/* A device was made: one more id of its user whose handshake is not finished. */
void track_new(const struct gate *g, struct device *d, int64_t now);
/* Before the machine runs: how many seconds the call must wait, 0: it need not. said: event, key and
 * Status of the request. */
unsigned track_wait(struct gate_call *gc, struct shard *s, const struct pv_server_in *said,
                    uint64_t revision, int64_t now);
/* The same for a device that would have to be made. */
unsigned track_wait_new(const struct gate_call *gc, struct shard *s, int64_t now);
/* After the machine: what came of it. */
void track_step(struct gate_call *gc, struct shard *s, const struct pv_server_in *in,
                const struct pv_server_out *out, const struct pv_partnership *before,
                const struct pv_partnership *after, int64_t now);
/* An administrator lets the device in: no loop is held against it. The caller writes it. */
void track_forgive(struct shard *s, struct device *d);
/* May a line be logged about a user, where no device is to be told of? One a second. */
bool track_may_tell(const struct gate *g, const char *user, int64_t now);
/* true: it must wait; the shard was unlocked and the call told to come back later. */
bool call_slowed(struct gate_call *gc, struct shard *s, unsigned wait);

#endif
