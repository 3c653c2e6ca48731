/* Talking to a running server: through its administration socket, or over HTTPS with a token. */
#ifndef PROVOST_CLI_API_H
#define PROVOST_CLI_API_H

#include <jansson.h>

#include "src/cli/cli.h"

/* "/v1/devices/%s/%s/block": each %s is escaped to stay one segment. Owned by the caller, as a rule
 * given to api_call at once. NULL: no memory, which api_call tells. */
char *api_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Add a query parameter; path is taken over. value NULL leaves it out. */
char *api_query(char *path, const char *name, const char *value);

/* One request. path and body are taken over; body may be NULL. *json_out is the answer, owned by
 * the caller, only on CLI_DONE; everything else has been told on standard error. */
enum cli_exit api_call(struct cli *cli, const char *method, char *path, json_t *body,
                       json_t **json_out);
/* The same, and with --json the answer is printed: *json_out is NULL then. */
enum cli_exit api_show(struct cli *cli, const char *method, char *path, json_t *body,
                       json_t **json_out);
/* Where the listing that was answered last goes on, for api_call; *path_out NULL: nowhere. */
enum cli_exit api_next(struct cli *cli, char **path_out);
/* Rows that a listing is to have at most (text: as it was given, or NULL), into *most_out for api_pages;
 * what is no number is left to the server to refuse. path as of api_query. */
char *api_limit(char *path, const char *text, unsigned long long *most_out);
/* A listing, all its pages. path is taken over. each gets the rows of one page (false: no memory), but
 * with --json they are printed, as one array. most: at most so many rows, 0: all. */
enum cli_exit api_pages(struct cli *cli, char *path, unsigned long long most,
                        bool (*each)(void *ctx, const json_t *rows), void *ctx);
/* Has the last call been refused because something is not as it was thought to be (409)? */
bool api_conflict(const struct cli *cli);
/* After the last call. */
void api_close(struct cli *cli);

#endif
