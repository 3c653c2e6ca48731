/* Where the server is. */
#ifndef PROVOST_CLI_CONNECT_URL_H
#define PROVOST_CLI_CONNECT_URL_H

#include <stdbool.h>

#define URL_MAX 1024

struct server_url {
    bool https;
    char origin[URL_MAX]; /* "https://mail.example.org:8443" */
    char path[URL_MAX];   /* ends in /Microsoft-Server-ActiveSync */
};

/* A base as a person or an X-MS-Location names it: the path of ActiveSync is appended unless it
 * ends so. http and https only; no name or password in it (it would be shown); a query or fragment
 * is dropped.
 * @return NULL, or why not (static storage) */
const char *url_parse(const char *text, struct server_url *out);
bool url_same(const struct server_url *a, const struct server_url *b);

#endif
