/* What a command is like, for whoever passes it on. */
#ifndef PROVOSTD_NATURE_H
#define PROVOSTD_NATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <provost/eas.h>

struct nature {
    unsigned wait_s; /* seconds that its answer may take, by what it asks for; 0: it does not wait */
    bool once;       /* what it does must not be done twice, in case its answer was lost. The others do
                        the same again, or bring a SyncKey by which the server knows that they do */
};
/* body: all of it, NULL if it is not there yet. */
struct nature command_nature(enum pv_cmd cmd, const uint8_t *body, size_t len);

#endif
