/* What a device keeps over runs: one file for each (server, user, device), written anew atomically,
 * 0600. */
#ifndef PROVOST_CLI_CONNECT_KEYS_H
#define PROVOST_CLI_CONNECT_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include <provost/policy.h>
#include <provost/provision.h>

#include "src/cli/cli.h"

#define KEYS_FILE_MAX (1024 * 1024)
#define KEYS_TEXT_MAX 1024

struct keys {
    char *path;
    char server[KEYS_TEXT_MAX]; /* URL as given, made whole: what the file is found by */
    char user[KEYS_TEXT_MAX];
    char device_id[PV_DEVICE_ID_MAX + 1];
    uint32_t key;                 /* final policy key, 0: none */
    char version[8];              /* spoken when the key was given, "" unknown */
    char location[KEYS_TEXT_MAX]; /* from X-MS-Location, "" none */
    bool has_policy;              /* the one that the key was given for, for comparison */
    struct pv_policy policy;
    struct pv_arena arena;  /* of the policy */
    enum pv_wipe_kind wipe; /* ordered and not ended */
    unsigned wipe_result;   /* the hook's: 1, 2; 0: not yet told */
};

/* Find or make the file. dir NULL: $XDG_STATE_HOME/provost, else ~/.local/state/provost. device_id
 * NULL: the default device of this server and user, made at random once. A damaged file is told and
 * begun anew: the server mends the rest. What goes wrong has been told. */
enum cli_exit keys_open(struct keys *k, const char *dir, const char *server, const char *user,
                        const char *device_id);
/* On the disk when it returns CLI_DONE; the directory is made again where a wipe took it away. */
enum cli_exit keys_save(struct keys *k);
/* Keep a copy of the policy that the key was given for. */
enum cli_exit keys_set_policy(struct keys *k, const struct pv_policy *policy);
/* After a wipe: everything but the device's name is forgotten. */
enum cli_exit keys_forget(struct keys *k);
void keys_close(struct keys *k);

/* The content of the file, for keys_open, keys_save and tests. text is freed by the caller; NULL:
 * no memory. */
char *keys_text(const struct keys *k);
/* false: damaged, or of another server, user or device, or no memory (errno is ENOMEM then); only
 * server, user and device_id stay set. */
bool keys_parse(struct keys *k, const char *text, size_t len);

#endif
