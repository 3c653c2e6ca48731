#include "src/cli/api.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "src/cli/text.h"
#include "src/json_text.h"

enum { ANSWER_MAX = 256 * 1024 * 1024, WAIT_SECONDS = 60 };

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

/* "http://provostd" + path with the escaped name in it; freed by the caller. */
static char *make_url(CURL *curl, const char *path, const char *name)
{
    size_t before = strcspn(path, "%");
    char *escaped = name ? curl_easy_escape(curl, name, 0) : NULL, *url = NULL;
    if ((name == NULL || escaped) &&
        asprintf(&url, "http://provostd%.*s%s%s", (int)before, path, escaped ? escaped : "",
                 path[before] ? path + before + 1 : "") < 0)
        url = NULL;
    curl_free(escaped);
    return url;
}

static enum cli_exit judge(struct cli *cli, CURL *curl, CURLcode result, json_t *json)
{
    long http = 0, why = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http);
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &why);
    if (strlen(cli->socket) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        return cli_fail(CLI_USAGE, "-s: the path is too long for a socket");
    if (result == CURLE_COULDNT_CONNECT && (why == EACCES || why == EPERM))
        return cli_fail(CLI_FAILED, "%s: %s", cli->socket, strerror((int)why));
    if (result == CURLE_COULDNT_CONNECT)
        return cli_fail(CLI_UNREACHABLE, "no server answers at %s (-s PATH names the socket)",
                        cli->socket);
    if (result != CURLE_OK)
        return cli_fail(CLI_UNREACHABLE, "%s: %s", cli->socket, curl_easy_strerror(result));
    if (http >= 200 && http < 300 && json) return CLI_DONE;
    const char *said = json_string_value(json_object_get(json, "error"));
    char *clean = said ? text_clean(said, strlen(said)) : NULL;
    cli_fail(CLI_FAILED, "%s", clean ? clean : "the server's answer makes no sense");
    free(clean);
    return CLI_FAILED;
}

static void set_up(CURL *curl, struct cli *cli, const char *method, const char *url,
                   const char *text, struct curl_slist *fields, struct answer *a)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, cli->socket);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)WAIT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, a);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, fields);
    if (strcmp(method, "GET") != 0) curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text ? text : "");
}

static enum cli_exit perform(CURL *curl, struct cli *cli, const struct answer *a, json_t **json_out)
{
    CURLcode result = curl_easy_perform(curl);
    json_t *json = a->text ? json_loadb(a->text, a->len, JSON_DECODE_ANY, NULL) : NULL;
    enum cli_exit code = judge(cli, curl, result, json);
    if (code == CLI_DONE)
        *json_out = json;
    else
        json_decref(json);
    return code;
}

enum cli_exit api_call(struct cli *cli, const char *method, const char *path, const char *name,
                       json_t *body, json_t **json_out)
{
    struct answer a = {0};
    CURL *curl = curl_easy_init();
    char *url = curl ? make_url(curl, path, name) : NULL;
    char *text = text_of_json(body, JSON_COMPACT);
    struct curl_slist *fields = curl_slist_append(NULL, "Content-Type: application/json");
    enum cli_exit code;

    *json_out = NULL;
    if (url == NULL || fields == NULL || (body && text == NULL)) {
        code = cli_fail(CLI_FAILED, "no memory");
    } else {
        set_up(curl, cli, method, url, text, fields, &a);
        code = perform(curl, cli, &a, json_out);
    }
    if (text) explicit_bzero(text, strlen(text)); /* a password may be in it */
    free(text);
    free(a.text);
    free(url);
    json_decref(body);
    curl_slist_free_all(fields);
    curl_easy_cleanup(curl);
    return code;
}

enum cli_exit api_show(struct cli *cli, const char *method, const char *path, const char *name,
                       json_t *body, json_t **json_out)
{
    enum cli_exit code = api_call(cli, method, path, name, body, json_out);
    if (code != CLI_DONE || !cli->json) return code;
    if (json_print(*json_out) != 0) code = cli_fail(CLI_FAILED, "the answer cannot be printed");
    json_decref(*json_out);
    *json_out = NULL;
    return code;
}
