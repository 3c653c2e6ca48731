/* Passwords travel in JSON on the administration socket: what jansson frees is wiped first. */
#ifndef PROVOSTD_ADMIN_WIPE_H
#define PROVOSTD_ADMIN_WIPE_H

/* Once, before the process makes its first JSON value. */
void wipe_json_when_freed(void);

#endif
