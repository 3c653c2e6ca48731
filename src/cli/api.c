#include "src/cli/api.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "src/cli/password.h"
#include "src/cli/text.h"
#include "src/json_text.h"

enum {
    TARGET_MAX = 8 * 1024, /* of a request; no names make a longer one, and a server takes it */
    ANSWER_MAX = 256 * 1024 * 1024,
    WAIT_SECONDS = 60,
    RETRIES_MAX = 5,      /* of a call that came too soon after many others */
    RETRY_SECONDS_MAX = 2 /* who is to wait longer is told so */
};

/* One connection for all calls of a command. */
struct api {
    CURL *curl;
    struct curl_slist *fields;
    bool tls;
    char error[CURL_ERROR_SIZE];
};

struct answer {
    char *text;
    size_t len;
};

static size_t take(char *data, size_t size, size_t count, void *to)
{
    struct answer *a = to;
    size_t n = size * count;
    if (n > ANSWER_MAX - a->len) return 0;
    char *text = realloc(a->text, a->len + n + 1);
    if (text == NULL) return 0;
    memcpy(text + a->len, data, n);
    a->text = text;
    a->len += n;
    return n;
}

static void wipe_free(char *text)
{
    if (text) explicit_bzero(text, strlen(text)); /* a password or token may be in it */
    free(text);
}

/* ---- the connection ---- */

static bool is_url(const char *where)
{
    return strncmp(where, "https://", 8) == 0;
}

static enum cli_exit no_memory(void)
{
    return cli_fail(CLI_FAILED, "no memory");
}

/* The token, as a header field. */
static enum cli_exit add_token(struct cli *cli, struct api *api)
{
    char token[PASSWORD_MAX], *field = NULL;
    const char *file = cli->token_file;
    if (file == NULL || file[0] == '\0')
        return cli_fail(CLI_USAGE, "an https:// server wants a token: --token-file FILE, or "
                                   "PROVOST_TOKEN_FILE names the file");
    enum cli_exit code = password_read(file, false, token);
    for (const char *p = token; code == CLI_DONE && *p; p++)
        if (*p <= 0x20 || *p >= 0x7f) code = cli_fail(CLI_USAGE, "%s: this is no token", file);
    if (code == CLI_DONE && asprintf(&field, "Authorization: Bearer %s", token) < 0) field = NULL;
    struct curl_slist *longer = field ? curl_slist_append(api->fields, field) : NULL;
    if (longer) api->fields = longer;
    if (code == CLI_DONE && longer == NULL) code = no_memory();
    wipe_free(field);
    explicit_bzero(token, sizeof token);
    return code;
}

static void api_free(struct api *api)
{
    for (struct curl_slist *f = api->fields; f; f = f->next)
        explicit_bzero(f->data, strlen(f->data));
    curl_slist_free_all(api->fields);
    curl_easy_cleanup(api->curl);
    free(api);
}

void api_close(struct cli *cli)
{
    if (cli->api) api_free(cli->api);
    cli->api = NULL;
}

static void set_up(struct cli *cli, struct api *api)
{
    CURL *curl = api->curl;
    if (api->tls) {
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
        if (cli->ca_file) curl_easy_setopt(curl, CURLOPT_CAINFO, cli->ca_file);
    } else {
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, cli->socket);
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    }
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)WAIT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, api->error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, api->fields);
}

static enum cli_exit open_api(struct cli *cli)
{
    if (cli->api) return CLI_DONE;
    if (strncmp(cli->socket, "http://", 7) == 0)
        return cli_fail(CLI_USAGE, "-s: a token is not sent without TLS; https:// is wanted");
    struct api *api = calloc(1, sizeof *api);
    if (api == NULL) return no_memory();
    api->tls = is_url(cli->socket);
    api->fields = curl_slist_append(NULL, "Content-Type: application/json");
    api->curl = curl_easy_init();
    enum cli_exit code = api->fields == NULL || api->curl == NULL ? no_memory()
                         : api->tls                               ? add_token(cli, api)
                                                                  : CLI_DONE;
    if (code != CLI_DONE) {
        api_free(api);
        return code;
    }
    set_up(cli, api);
    cli->api = api;
    return CLI_DONE;
}

/* ---- one call ---- */

static enum cli_exit exit_of(long http)
{
    return http == 401 ? CLI_CREDENTIALS : http == 429 ? CLI_UNREACHABLE : CLI_FAILED;
}

static enum cli_exit judge(struct cli *cli, CURLcode result, json_t *json)
{
    long http = 0, why = 0;
    CURL *curl = cli->api->curl;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http);
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &why);
    if (!cli->api->tls && strlen(cli->socket) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        return cli_fail(CLI_USAGE, "-s: the path is too long for a socket");
    if (result == CURLE_COULDNT_CONNECT && (why == EACCES || why == EPERM))
        return cli_fail(CLI_FAILED, "%s: %s", cli->socket, strerror((int)why));
    if (result == CURLE_COULDNT_CONNECT)
        return cli_fail(CLI_UNREACHABLE, "no server answers at %s (-s PATH names the socket)",
                        cli->socket);
    if (result != CURLE_OK)
        return cli_fail(CLI_UNREACHABLE, "%s: %s", cli->socket,
                        cli->api->error[0] ? cli->api->error : curl_easy_strerror(result));
    if (http >= 200 && http < 300 && json) return CLI_DONE;
    const char *said = json_string_value(json_object_get(json, "error"));
    char *clean = said ? text_clean(said, strlen(said)) : NULL;
    cli_fail(CLI_FAILED, "%s", clean ? clean : "the server's answer makes no sense");
    free(clean);
    return exit_of(http);
}

/* Many calls in a row, as policy apply makes them, may be more than a token is good for at once. The
 * server has refused such a call before it did anything. */
static bool too_soon(CURL *curl, unsigned tries)
{
    long http = 0;
    curl_off_t seconds = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http);
    curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &seconds);
    if (http != 429 || tries == RETRIES_MAX || seconds > RETRY_SECONDS_MAX) return false;
    sleep((unsigned)seconds);
    return true;
}

static enum cli_exit perform(struct cli *cli, const char *method, const char *url, const char *text,
                             json_t **json_out)
{
    struct answer a = {0};
    CURL *curl = cli->api->curl;
    bool get = strcmp(method, "GET") == 0;
    curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L); /* nothing stays of the call before */
    if (!get) curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text ? text : "");
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &a);
    CURLcode result;
    unsigned tries = 0;
    do {
        a.len = 0;
        cli->api->error[0] = '\0';
        result = curl_easy_perform(curl);
    } while (result == CURLE_OK && too_soon(curl, tries++));
    json_t *json = a.text ? json_loadb(a.text, a.len, JSON_DECODE_ANY, NULL) : NULL;
    enum cli_exit code = judge(cli, result, json);
    if (code == CLI_DONE)
        *json_out = json;
    else
        json_decref(json);
    if (a.text) explicit_bzero(a.text, a.len); /* a new token may be in it */
    free(a.text);
    return code;
}

enum cli_exit api_call(struct cli *cli, const char *method, char *path, json_t *body,
                       json_t **json_out)
{
    const char *base = is_url(cli->socket) ? cli->socket : "http://provostd";
    size_t base_len = strlen(base);
    char *url = NULL, *text = text_of_json(body, JSON_COMPACT);
    while (base_len > 0 && base[base_len - 1] == '/') base_len--;
    if (path == NULL || asprintf(&url, "%.*s%s", (int)base_len, base, path) < 0) url = NULL;
    *json_out = NULL;
    enum cli_exit code = url == NULL || (body && text == NULL) ? no_memory() : CLI_DONE;
    if (code == CLI_DONE && strlen(path) > TARGET_MAX)
        code = cli_fail(CLI_USAGE, "an argument is longer than any name can be");
    if (code == CLI_DONE) code = open_api(cli);
    if (code == CLI_DONE) code = perform(cli, method, url, text, json_out);
    wipe_free(text);
    free(url);
    free(path);
    json_decref(body);
    return code;
}

enum cli_exit api_next(struct cli *cli, char **path_out)
{
    static const char end[] = ">; rel=\"next\"";
    struct curl_header *link;
    *path_out = NULL;
    if (curl_easy_header(cli->api->curl, "Link", 0, CURLH_HEADER, -1, &link) != CURLHE_OK)
        return CLI_DONE;
    const char *path = link->value + 1, *stop = strstr(link->value, end);
    if (link->value[0] != '<' || path[0] != '/' || stop == NULL)
        return cli_fail(CLI_FAILED, "the server's answer makes no sense");
    *path_out = strndup(path, (size_t)(stop - path));
    return *path_out ? CLI_DONE : no_memory();
}

bool api_conflict(const struct cli *cli)
{
    long http = 0;
    if (cli->api) curl_easy_getinfo(cli->api->curl, CURLINFO_RESPONSE_CODE, &http);
    return http == 409;
}

enum cli_exit api_show(struct cli *cli, const char *method, char *path, json_t *body,
                       json_t **json_out)
{
    enum cli_exit code = api_call(cli, method, path, body, json_out);
    if (code != CLI_DONE || !cli->json) return code;
    if (json_print(*json_out) != 0) code = cli_fail(CLI_FAILED, "the answer cannot be printed");
    json_decref(*json_out);
    *json_out = NULL;
    return code;
}
