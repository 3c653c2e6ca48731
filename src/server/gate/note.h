/* A line for the audit log, for those outside of the gate as well. */
#ifndef PROVOSTD_GATE_NOTE_H
#define PROVOSTD_GATE_NOTE_H

#include <jansson.h>
#include <stdint.h>

/* What an administrator did, as STORE_ADD_AUDIT takes it; freed by the caller. Takes over object
 * (members that name the thing; NULL: no memory), before and after (NULL: nothing). NULL: no
 * memory. */
char *note_act(const char *actor, const char *act, int64_t now, json_t *object, json_t *before,
               json_t *after);

struct gate_assignee;
/* {"scope": ..., and what the scope needs}. NULL: no memory. */
json_t *note_assignee(const struct gate_assignee *to);

#endif
