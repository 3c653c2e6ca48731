/* One line after the other: is it the one that is due, and is everything there? */
#include "src/server/observe/audit_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void audit_blame(struct audit_report *r, enum audit_fault fault, const struct audit_place *at,
                 uint64_t seq)
{
    r->fault = fault;
    memcpy(r->file, at->file, sizeof r->file);
    r->line = at->line;
    r->seq = seq;
    snprintf(r->why, sizeof r->why, "%s", audit_fault_text(fault));
}

/* With the numbers of the lines that are not there, first to last. */
void audit_blame_missing(struct audit_report *r, enum audit_fault fault,
                         const struct audit_place *at, uint64_t seq, uint64_t first, uint64_t last)
{
    audit_blame(r, fault, at, seq);
    size_t len = strlen(r->why);
    if (first == last)
        snprintf(r->why + len, sizeof r->why - len, ": %" PRIu64, first);
    else
        snprintf(r->why + len, sizeof r->why - len, ": %" PRIu64 " to %" PRIu64, first, last);
}

/* The first line of all. A file's name tells which it begins with. Rotation leaves a full file, so
 * a log that has none begins with line 1. */
static uint64_t first_due(const struct audit_place *at)
{
    if (at->span.first) return at->span.first;
    return at->after_others ? 0 : 1;
}

bool audit_check_line(struct audit_check *v, const struct audit_place *at, const char *line,
                      size_t len)
{
    struct audit_report *r = v->report;
    struct audit_head next = r->head;
    uint64_t due = r->head.seq ? r->head.seq + 1 : first_due(at), seq;
    enum audit_fault fault = audit_line_follows(&next, line, len, &seq);
    if (fault == AUDIT_FAULT_NONE && due && seq != due)
        fault = seq > due ? AUDIT_FAULT_MISSING : AUDIT_FAULT_ORDER;
    if (fault == AUDIT_FAULT_NONE && v->known && seq == v->known->seq &&
        strcmp(next.hash, v->known->hash) != 0)
        fault = AUDIT_FAULT_OTHER_HEAD;
    if (fault == AUDIT_FAULT_MISSING && at->line == 1 && at->after_others && at->span.first == seq)
        fault = AUDIT_FAULT_FILE_MISSING;
    if (fault == AUDIT_FAULT_MISSING || fault == AUDIT_FAULT_FILE_MISSING) {
        audit_blame_missing(r, fault, at, seq, due, seq - 1);
    } else if (fault != AUDIT_FAULT_NONE) {
        bool told = fault > AUDIT_FAULT_CHANGED; /* the line itself tells its seq */
        audit_blame(r, fault, at, told ? seq : due);
    } else {
        if (r->lines++ == 0) r->first_seq = seq;
        r->last_seq = seq;
        r->head = next;
    }
    return fault == AUDIT_FAULT_NONE;
}

/* Everything that is there is good. Is everything there? */
void audit_check_end(struct audit_check *v)
{
    struct audit_report *r = v->report;
    uint64_t due = v->known ? v->known->seq : 0;
    if (r->fault != AUDIT_FAULT_NONE) return;
    if (v->at.line == 0) v->at.line = 1;
    if (r->last_seq < due)
        audit_blame_missing(r, AUDIT_FAULT_CUT, &v->at, r->last_seq + 1, r->last_seq + 1, due);
    else if (v->part && !due)
        audit_blame(r, AUDIT_FAULT_PART, &v->at, r->last_seq + 1);
}
