/* What an upstream says that it speaks, as far as devices may hear it. */
#ifndef PROVOSTD_LISTS_H
#define PROVOSTD_LISTS_H

#include <stddef.h>

/* Of ours, a list without blanks, what stands in theirs (blanks and any order allowed) too; always (may
 * be NULL) stays in any case. In our order; "" if nothing is left or out is too small. */
void list_common(const char *ours, const char *theirs, const char *always, char *out, size_t cap);

#endif
