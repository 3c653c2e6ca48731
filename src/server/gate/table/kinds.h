/* What devices are: type, User-Agent, model and system. A fleet has few kinds and many devices, so
 * a kind is kept once and shared. Guarded by the mutex of the shard that the kinds belong to. */
#ifndef PROVOSTD_GATE_KINDS_H
#define PROVOSTD_GATE_KINDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIND_TEXT_MAX 256 /* bytes of each text that are kept, terminator included */

enum kind_text { KIND_TYPE, KIND_AGENT, KIND_MODEL, KIND_OS, KIND_TEXTS };

struct kind {
    struct kind *next;             /* in its bucket */
    uint32_t hash, devices;        /* devices that are of it */
    uint16_t at[KIND_TEXTS], size; /* where each text starts in `text`, and where it ends */
    char text[];
};

static inline const char *kind_text(const struct kind *k, enum kind_text which)
{
    return k->text + k->at[which];
}

/* Do they show the same type and User-Agent? */
bool kind_same_face(const struct kind *a, const struct kind *b);

/* Are they alike, of whatever shards? */
bool kind_same(const struct kind *a, const struct kind *b);
/* For whoever is to compare later; freed by the caller. NULL: no memory. */
struct kind *kind_copy(const struct kind *k);

/* Zeroed: none. */
struct kinds {
    struct kind **buckets;
    size_t mask, count;
};

/* The kind with these texts, counted for one more device. They come from peers: kept escaped and
 * cut. Texts that another kind holds may be among them. NULL: no memory. */
struct kind *kinds_take(struct kinds *all, const char *const texts[KIND_TEXTS]);
/* One device less; NULL is accepted. */
void kinds_drop(struct kinds *all, struct kind *k);
/* The last device is gone. */
void kinds_finish(struct kinds *all);

#endif
