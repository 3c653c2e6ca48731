/* The audit log: lines of JSON, each sealed with the hash of the one before, in files that only
 * grow. What the chain proves and what not: docs/audit.md.
 *
 * Sealing and judging a line are pure. The files have one writer; verifying and reading go on
 * beside it, from any thread. */
#ifndef PROVOSTD_AUDIT_H
#define PROVOSTD_AUDIT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of a sealed line, without its end. The longest tells of a policy with both lists full, before
 * and after, every byte of them escaped. */
#define AUDIT_LINE_MAX ((size_t)2 << 20)
#define AUDIT_HASH_CAP 65                /* SHA-256 in hex, terminated */

/* The end of a chain. Zeroed: nothing was written yet. */
struct audit_head {
    uint64_t seq; /* the first line has 1 */
    char hash[AUDIT_HASH_CAP];
};

/* ---- sealing: audit_seal.c ---- */

enum audit_sealing {
    AUDIT_SEALED,
    AUDIT_UNFIT,    /* no JSON object, or one that has a member which sealing adds */
    AUDIT_TOO_LONG, /* more than AUDIT_LINE_MAX */
    AUDIT_NO_MEMORY
};
/* json: an object. The line is that object, in ASCII and without blanks, with "seq" and "prev"
 * before its members and "hash" behind them; seq is prev's and one, or more if lines are known to
 * be lost. The same arguments give the same bytes.
 * line_out (to be freed; terminated, without a line's end) and head_out are set when it is sealed;
 * head_out may be prev. */
enum audit_sealing audit_seal(const struct audit_head *prev, uint64_t seq, const char *json,
                              char **line_out, struct audit_head *head_out);

/* What is wrong with a line or with a file; in the order in which they are looked for. */
#define AUDIT_FAULTS(X)                                                                            \
    X(NONE, "")                                                                                    \
    X(LONG, "the line is longer than any that the server writes")                                  \
    X(NOT_JSON, "the line is no JSON object")                                                      \
    X(NOT_SEALED, "the line is JSON, but has no seal: seq, prev and hash are not where they were") \
    X(CHANGED, "the line was changed: it does not match its own hash")                             \
    X(TWICE, "the line stands here a second time")                                                 \
    X(ORDER, "the line is out of order")                                                           \
    X(MISSING, "lines are missing before this one")                                                \
    X(UNCHAINED, "the line before this one is not the one that it was written after")              \
    X(OTHER_HEAD, "the line is not the one that the server remembers: it was written anew")        \
    X(FILE_MISSING, "a file is missing before this one")                                           \
    X(PART, "the last line of the file has no end")                                                \
    X(FILE_CUT, "lines are missing at the end of the file")                                        \
    X(CUT, "lines are missing at the end of the log")
enum audit_fault {
#define AUDIT_FAULT_ENUM(id, text) AUDIT_FAULT_##id,
    AUDIT_FAULTS(AUDIT_FAULT_ENUM)
#undef AUDIT_FAULT_ENUM
        AUDIT_FAULT_COUNT
};
const char *audit_fault_text(enum audit_fault fault);

/* The head that a line makes, judged by itself alone: NONE, NOT_JSON, NOT_SEALED or CHANGED. */
enum audit_fault audit_line_head(const char *line, size_t len, struct audit_head *head_out);
/* Is it the line after *head? If so *head goes on. With head->seq 0 any line may come that is not
 * the first one wrongly. Where the line tells its seq and has not been changed it is in *seq_out,
 * else the seq that was due. */
enum audit_fault audit_line_follows(struct audit_head *head, const char *line, size_t len,
                                    uint64_t *seq_out);
/* The seq that a line begins with; 0: none. */
uint64_t audit_line_seq(const char *line, size_t len);

/* ---- the files of a directory: audit_files.c ----
 * audit.jsonl and, before it, audit-FIRST-LAST.jsonl by their sequence numbers. */
struct audit_files;

/* dir is made if it is missing (0700). A last line without its end, as kill -9 and a full disk leave
 * it, is cut off. rotate_size: bytes of a file; keep: how many full ones stay, 0: all.
 * NULL: error tells why. */
struct audit_files *audit_files_open(const char *dir, size_t rotate_size, unsigned keep, char *error,
                                     size_t error_cap);
/* The last line that is there. */
const struct audit_head *audit_files_head(const struct audit_files *f);
/* Adds a sealed line; head is its own, with a higher seq than what is there. It is on the disk after
 * audit_files_sync only. false: it is not there, and error tells why; lines since the last sync may
 * be gone as well, audit_files_head knows. To be tried again. */
bool audit_files_append(struct audit_files *f, const struct audit_head *head, const char *line,
                        char *error, size_t error_cap);
/* Everything is on the disk, up to audit_files_head. false: what was added since the last time is
 * not, and has been taken back, for a disk that has failed once may well say "done" the next time
 * without having written it. */
bool audit_files_sync(struct audit_files *f, char *error, size_t error_cap);
/* Other limits, for what is added from now on. */
void audit_files_limit(struct audit_files *f, size_t rotate_size, unsigned keep);
void audit_files_close(struct audit_files *f);

/* ---- looking at them: audit_verify.c ---- */

struct audit_report {
    uint64_t files, lines;        /* that were good */
    uint64_t first_seq, last_seq; /* of them; before first_seq nothing is there (rotation) */
    struct audit_head head;       /* the last good line */
    enum audit_fault fault;       /* the first thing that is wrong; NONE: nothing */
    /* Where, if something is. */
    char file[NAME_MAX + 1];
    uint64_t line; /* in that file, from 1 */
    uint64_t seq;  /* that the line has, or should have had */
    char why[256]; /* one sentence */
};
/* known: the head that somebody has kept apart from the files, such as the store; it must be in
 * them. NULL or zeroed: nobody has. A last line without its end is no fault if the files hold
 * known without it: it is being written.
 * Takes a buffer of AUDIT_LINE_MAX and 16 bytes for each file, however long the log is.
 * false: it could not be read, error tells why. */
bool audit_verify(const char *dir, const struct audit_head *known, struct audit_report *report_out,
                  char *error, size_t error_cap);
/* Lines with a seq above after, in order, at most most. They are not verified. line is borrowed for
 * the call and not terminated. false: they could not be read. */
bool audit_read(const char *dir, uint64_t after, size_t most,
                void (*each)(void *ctx, uint64_t seq, const char *line, size_t len), void *ctx,
                char *error, size_t error_cap);

#endif
