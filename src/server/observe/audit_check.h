/* Inside the audit log: following a chain, wherever its lines are kept. */
#ifndef PROVOSTD_AUDIT_CHECK_H
#define PROVOSTD_AUDIT_CHECK_H

#include "src/server/observe/audit_dir.h"

struct audit_place {
    char file[NAME_MAX + 1];
    struct audit_span span; /* by the file's name; 0: the current file */
    uint64_t line;          /* from 1 */
    bool after_others;      /* a full file is before it, or was until it was dropped */
};
struct audit_check {
    struct audit_report *report;
    const struct audit_head *known; /* NULL: nobody knows one */
    bool part;                      /* the last line has no end */
    struct audit_place at;          /* where it ended */
};

/* Is it the line that is due? false: the report says what is wrong. */
bool audit_check_line(struct audit_check *c, const struct audit_place *at, const char *line,
                      size_t len);
/* Nothing comes any more: is the head that is known among what came? */
void audit_check_end(struct audit_check *c);
void audit_blame(struct audit_report *r, enum audit_fault fault, const struct audit_place *at,
                 uint64_t seq);
/* With the numbers of the lines that are not there, first to last. */
void audit_blame_missing(struct audit_report *r, enum audit_fault fault,
                         const struct audit_place *at, uint64_t seq, uint64_t first, uint64_t last);

#endif
