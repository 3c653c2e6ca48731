/* Talking to a running server through its administration socket. */
#ifndef PROVOST_CLI_API_H
#define PROVOST_CLI_API_H

#include <jansson.h>

#include "src/cli/cli.h"

/* One request. path is "/v1/users/%/password": name, escaped, stands for %; NULL without one. body
 * is taken over, may be NULL. *json_out is the answer, owned by the caller, only on CLI_DONE;
 * everything else has been told on standard error. */
enum cli_exit api_call(struct cli *cli, const char *method, const char *path, const char *name,
                       json_t *body, json_t **json_out);
/* The same, and with --json the answer is printed: *json_out is NULL then. */
enum cli_exit api_show(struct cli *cli, const char *method, const char *path, const char *name,
                       json_t *body, json_t **json_out);

#endif
