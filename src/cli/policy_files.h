/* Policies as files, for those who keep them in git: one for each policy, and one for the
 * assignments. */
#ifndef PROVOST_CLI_POLICY_FILES_H
#define PROVOST_CLI_POLICY_FILES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "src/cli/cli.h"

#define ASSIGNMENTS_FILE "assignments.json"
#define POLICY_FILE_MAX ((size_t)1024 * 1024)
#define FILE_MESSAGE_MAX 480

/* ---- text, no I/O ---- */

/* "sales.json"; a character that could mean something to a file system is written as %XX. To be
 * freed; NULL: no memory. */
char *policy_file_name(const char *policy);
/* The content of a policy's file, from what the server or an importer says of it. To be freed; NULL:
 * no memory. */
char *policy_file_text(const json_t *policy);
/* Sorted by scope and names. */
char *assignments_text(const json_t *assignments);
/* The other way; everything is checked. file: its name, which must be that of the policy.
 * @return NULL: message says why, as "sales.json:3: ..." */
json_t *policy_file_read(const char *file, const char *text, size_t len,
                         char message[FILE_MESSAGE_MAX]);
json_t *assignments_read(const char *file, const char *text, size_t len,
                         char message[FILE_MESSAGE_MAX]);

/* ---- files ---- */

/* The whole of a regular file, at most `most` bytes, NUL behind; to be freed. NULL: told. dir_fd may
 * be AT_FDCWD; shown: what it is called in messages. */
char *file_read(int dir_fd, const char *name, const char *shown, size_t most, size_t *len_out);
/* Atomically, 0644, on the disk; a file that has this content already is left alone. */
enum cli_exit file_write(int dir_fd, const char *name, const char *shown, const char *text);

#endif
