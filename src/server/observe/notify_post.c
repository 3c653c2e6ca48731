#include <stdio.h>
#include <string.h>

#include "src/server/observe/notify_target.h"

/* Nobody looks at what is answered beyond its status. */
static size_t ignore(char *bytes, size_t size, size_t count, void *ctx)
{
    (void)bytes, (void)ctx;
    return size * count;
}

static bool set_up(struct notify_post *p, const char *url, unsigned timeout_ms)
{
    CURL *c = p->easy;
    return curl_easy_setopt(c, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)timeout_ms) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           /* Does not wait for a name server when it is aborted. */
           curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_HTTPHEADER, p->headers) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_USERAGENT, "provostd") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, ignore) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_ERRORBUFFER, p->why.text) == CURLE_OK;
}

bool notify_post_init(struct notify_post *p, CURLM *multi, const char *url, unsigned timeout_ms)
{
    p->multi = multi;
    p->headers = curl_slist_append(NULL, "Content-Type: application/json");
    p->easy = p->headers ? curl_easy_init() : NULL;
    return p->easy && set_up(p, url, timeout_ms);
}

void notify_post_finish(struct notify_post *p)
{
    notify_post_abort(p);
    curl_easy_cleanup(p->easy);
    curl_slist_free_all(p->headers);
    p->easy = NULL;
    p->headers = NULL;
}

bool notify_post_start(struct notify_post *p, const char *body, struct notify_why *why)
{
    p->why.text[0] = '\0';
    p->ended = false;
    p->running = curl_easy_setopt(p->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body)) ==
                     CURLE_OK &&
                 curl_easy_setopt(p->easy, CURLOPT_POSTFIELDS, body) == CURLE_OK &&
                 curl_multi_add_handle(p->multi, p->easy) == CURLM_OK;
    if (!p->running) snprintf(why->text, sizeof why->text, "out of memory");
    return p->running;
}

void notify_post_abort(struct notify_post *p)
{
    if (p->running) curl_multi_remove_handle(p->multi, p->easy);
    p->running = false;
}

/* Of the one transfer that is under way. */
static void take_result(struct notify_post *p)
{
    int left;
    for (const CURLMsg *m; (m = curl_multi_info_read(p->multi, &left)) != NULL;) {
        if (m->msg != CURLMSG_DONE) continue;
        p->ended = true;
        p->result = m->data.result;
    }
}

enum notify_state notify_post_look(struct notify_post *p, struct notify_why *why)
{
    long status = 0;
    take_result(p);
    if (!p->ended) return NOTIFY_RUNNING;
    curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
    notify_post_abort(p); /* it has ended; the connection stays */
    if (p->result != CURLE_OK)
        snprintf(why->text, sizeof why->text, "%s",
                 p->why.text[0] ? p->why.text : curl_easy_strerror(p->result));
    else
        snprintf(why->text, sizeof why->text, "answered %ld", status);
    bool good = p->result == CURLE_OK && status >= 200 && status <= 299;
    return good ? NOTIFY_TAKEN : NOTIFY_REFUSED;
}
