/* Inside the mover: where sealed lines go. */
#ifndef PROVOSTD_AUDIT_CARRIER_H
#define PROVOSTD_AUDIT_CARRIER_H

#include "src/server/observe/audit.h"
#include "src/server/store/store.h"

struct audit_carrier;
struct audit_carrier_ops {
    /* What the store holds becomes lines of the chain, some at a time; on the mover's thread alone.
     * false: nothing more can be moved for now, why tells. *left_out: there may be more. */
    bool (*move)(struct audit_carrier *c, bool *left_out, char *why, size_t cap);
    /* The last line that was moved; on the mover's thread, or before it runs. */
    const struct audit_head *(*head)(struct audit_carrier *c);
    /* As audit_read and audit_verify; any thread. */
    bool (*read)(struct audit_carrier *c, uint64_t after, size_t most,
                 void (*each)(void *ctx, uint64_t seq, const char *line, size_t len), void *ctx,
                 char *error, size_t cap);
    bool (*verify)(struct audit_carrier *c, const struct audit_head *known,
                   struct audit_report *report_out, char *error, size_t cap);
    /* Other sizes from now on; on the mover's thread. */
    void (*limit)(struct audit_carrier *c, size_t rotate_size, unsigned keep);
    void (*close)(struct audit_carrier *c);
};
struct audit_carrier {
    const struct audit_carrier_ops *ops;
    struct store *store;
};

/* Of a store that one process has: files in dir, as audit_files_open. NULL: error tells why. */
struct audit_carrier *audit_to_files(struct store *s, const char *dir, size_t rotate_size,
                                     unsigned keep, char *error, size_t error_cap);
/* Of a store that several share: it keeps the chain itself, so that each of them may add to it. Of
 * rotate_size bytes each, `keep` full parts stay beside the one that grows; 0: all. NULL: no memory. */
struct audit_carrier *audit_to_store(struct store *s, size_t rotate_size, unsigned keep);

/* ---- for both ---- */
#define AUDIT_AT_ONCE 1024            /* lines that are read, and confirmed by the disk, together */
#define AUDIT_KEPT_BYTES (16u << 20)  /* as soon as they are so long, no more */
struct audit_batch {
    struct {
        uint64_t id;
        char *json;
    } lines[AUDIT_AT_ONCE];
    size_t count, bytes;
    bool out_of_memory, full; /* full: there may be more */
};
/* Lines of the store behind that id, at most `most`; NULL: why tells. */
struct audit_batch *audit_batch_read(struct store *s, uint64_t after, unsigned most, char *why,
                                     size_t cap);
void audit_batch_free(struct audit_batch *b); /* NULL is accepted */
/* As audit_seal. A line that cannot be sealed is our bug. One that says so takes its place, always the
 * same one, so that the chain has no gap and all others go on. false: no memory, why tells. */
bool audit_seal_any(const struct audit_head *prev, uint64_t id, uint64_t seq, const char *json,
                    char **line_out, struct audit_head *head_out, char *why, size_t cap);

#endif
