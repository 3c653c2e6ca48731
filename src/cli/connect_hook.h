/* The program that carries out a wipe. */
#ifndef PROVOST_CLI_CONNECT_HOOK_H
#define PROVOST_CLI_CONNECT_HOOK_H

#include <provost/provision.h>

/* Run PROGRAM KIND USER DEVICE SERVER without a shell, its output on our standard error. @return 1
 * it says wiped (exit 0), 2 failed (exit 1), 0 nothing was done (anything else, or it cannot be
 * run: told) */
unsigned hook_run(const char *program, enum pv_wipe_kind kind, const char *user,
                  const char *device_id, const char *server);
/* "account", "device" */
const char *hook_kind(enum pv_wipe_kind kind);

#endif
