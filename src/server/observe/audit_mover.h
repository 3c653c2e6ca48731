/* Carries audit lines from where they come into being in the store, with the change that they tell, into
 * the chain, where they stay: files, or a table of a store that several servers share. A thread of its
 * own. A line leaves its place only once it is on the disk in the other, so that kill -9 and a full disk
 * lose none. */
#ifndef PROVOSTD_AUDIT_MOVER_H
#define PROVOSTD_AUDIT_MOVER_H

#include "src/server/observe/audit.h"
#include "src/server/store/store.h"

struct audit_mover;

/* dir, rotate_size, keep: as in audit_files_open; dir is for a store that is not shared. Before the first submission to the store. NULL:
 * error tells why. */
struct audit_mover *audit_mover_start(struct store *s, const char *dir, size_t rotate_size,
                                      unsigned keep, char *error, size_t error_cap);
/* Other limits, for lines that are moved from now on. Any thread. */
void audit_mover_limit(struct audit_mover *m, size_t rotate_size, unsigned keep);
/* As audit_read and audit_verify; from a thread that may block. */
bool audit_mover_read(struct audit_mover *m, uint64_t after, size_t most,
                      void (*each)(void *ctx, uint64_t seq, const char *line, size_t len),
                      void *ctx, char *error, size_t error_cap);
bool audit_mover_verify(struct audit_mover *m, struct audit_report *report_out, char *error,
                        size_t error_cap);
/* Waits until what the store holds now is in the chain; from a thread that may block. false: it
 * cannot be moved at present, the log says why. */
bool audit_mover_flush(struct audit_mover *m);
/* The last line that was moved, as this process and, after a start, the store remember it; zeroed if
 * none was. */
void audit_mover_known(struct audit_mover *m, struct audit_head *head_out);
/* Moves what is there and ends the thread; before the store closes. Lines may still come until
 * then: they are moved by the next process. NULL is accepted. */
void audit_mover_stop(struct audit_mover *m);
/* Once the store is closed. NULL is accepted. */
void audit_mover_destroy(struct audit_mover *m);

#endif
