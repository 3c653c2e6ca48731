/* ActiveSync over HTTP as a client speaks it: one connection, one request at a time. */
#ifndef PROVOST_CLI_CONNECT_EAS_H
#define PROVOST_CLI_CONNECT_EAS_H

#include <curl/curl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <provost/eas.h>

#include "src/cli/connect_url.h"

enum {
    EAS_BODY_MAX = 1024 * 1024, /* of an answer, unpacked */
    EAS_CONNECT_SECONDS = 15,
    EAS_ANSWER_SECONDS = 60,
    EAS_REDIRECTS_MAX = 3,     /* 451 in a row */
    EAS_RETRIES_MAX = 3,       /* 503 in a row */
    EAS_RETRY_SECONDS_MAX = 60 /* of a Retry-After that is waited for */
};

enum eas_result {
    EAS_OK,
    EAS_UNREACHABLE, /* error says why */
    EAS_BROKEN,      /* no HTTP, too big, redirected in a circle: error says why */
    EAS_STOPPED
};

struct eas_answer {
    unsigned http;
    const uint8_t *body; /* until the next request */
    size_t len;
    bool may_be_wbxml; /* by Content-Type, or there was none */
    char versions[256],
        commands[1024]; /* MS-ASProtocolVersions, MS-ASProtocolCommands; "" absent */
    char location[URL_MAX]; /* X-MS-Location */
    char redirect[URL_MAX]; /* Location */
    unsigned retry_after;
};

struct eas {
    /* Set before eas_open; texts are borrowed. */
    struct server_url url;
    const char *user, *device_id, *device_type, *ca_file;
    bool insecure;
    enum pv_query_form form;
    enum pv_version version;
    const volatile sig_atomic_t *stop;
    FILE *trace; /* headers, secrets hidden; may be NULL and may change between requests */
    /* A redirection followed, a wait begun. */
    void (*note)(void *ctx, const char *sentence);
    /* A request's head is in the trace: its body may follow. */
    void (*head_sent)(void *ctx);
    void *ctx;
    /* Results. */
    bool moved; /* url was changed by a 451 */
    char error[CURL_ERROR_SIZE + 128];
    /* Private. */
    CURL *curl;
    struct eas_answer *answer;
    uint8_t *buf;
    bool too_big;
};

/* The password is copied by the engine; the caller wipes its own. false: no memory. */
bool eas_open(struct eas *e, const char *password);
void eas_close(struct eas *e);
enum eas_result eas_options(struct eas *e, struct eas_answer *out);
/* key ABSENT: none is sent. seconds: beyond EAS_ANSWER_SECONDS, for a Ping. */
enum eas_result eas_post(struct eas *e, enum pv_cmd cmd, struct pv_sent_key key,
                         const char *key_text, const uint8_t *body, size_t len, unsigned seconds,
                         struct eas_answer *out);
/* Sleep unless stopped. @return false when stopped */
bool eas_wait(const struct eas *e, unsigned seconds);

#endif
