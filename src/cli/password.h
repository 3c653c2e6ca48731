/* A password: from a file, the terminal, or standard input; never from the command line or the
 * environment. */
#ifndef PROVOST_CLI_PASSWORD_H
#define PROVOST_CLI_PASSWORD_H

#include <stdbool.h>

#include "src/cli/cli.h"

#define PASSWORD_MAX 256 /* bytes, terminator included */

/* file NULL: terminal without echo (twice when `twice`), or the first line of standard input when
 * that is no terminal. The caller wipes. What goes wrong has been told. */
enum cli_exit password_read(const char *file, bool twice, char out[PASSWORD_MAX]);

#endif
