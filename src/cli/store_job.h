/* Long work on the store that the server does meanwhile. */
#ifndef PROVOST_CLI_STORE_JOB_H
#define PROVOST_CLI_STORE_JOB_H

#include <stdint.h>

#include "src/cli/api.h"

/* Begin it and wait for its end, telling a person how far it has come. path and body are taken over.
 * *result_out: what came of it, owned by the caller, only on CLI_DONE; all else has been told. */
enum cli_exit store_job(struct cli *cli, char *path, json_t *body, json_t **result_out);

/* One line on standard error that takes the place of the one before; nothing where that is no
 * terminal. of 0: nobody knows. */
void progress_show(const char *what, uint64_t done, uint64_t of);
/* The line goes. */
void progress_end(void);

#endif
