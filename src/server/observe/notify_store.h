/* Events out of the store, told as the configuration says. */
#ifndef PROVOSTD_NOTIFY_STORE_H
#define PROVOSTD_NOTIFY_STORE_H

#include "src/server/config.h"
#include "src/server/observe/notify.h"
#include "src/server/store/store.h"

/* Before the first submission to the store, which wakes it for as long as it is open: notify_stop
 * comes before store_close, notify_destroy behind it. Both outlive it. NULL: error tells why. */
/* As another configuration says; false: no memory, nothing has changed. */
bool notify_reconfigure(struct notify *n, const struct config *c);
struct notify *notify_from_store(const struct config *c, struct store *s, char *error,
                                 size_t error_cap);

#endif
