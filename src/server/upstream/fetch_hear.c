/* What libcurl calls while it speaks with a peer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <gnutls/gnutls.h>

#include "src/server/upstream/fetch_inner.h"

#define ANSWER_FIRST 1024

static void note_progress(struct fetch_run *run)
{
    run->since_ms = worker_now_ms(run->station->worker);
    run->station->told = true;
}

static size_t broken(struct fetch_run *run, enum fetch_result result, const char *why)
{
    run->result = result;
    run->why = why;
    return 0; /* libcurl ends the transfer, and the connection */
}

/* Bytes that came before anything was asked belong to an earlier answer, which was longer than it
 * said: what is read next would not be the answer to this request. */
static bool has_leftovers(const struct fetch_run *run, const struct sock *k)
{
    struct curl_tlssessioninfo *tls = NULL;
    char byte;
    if (!k || recv(k->watch.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN)
        return true;
    if (curl_easy_getinfo(run->easy, CURLINFO_TLS_SSL_PTR, &tls) != CURLE_OK || !tls->internals)
        return false;
    /* What another TLS library holds is not known here: its connections are not used twice. */
    return tls->backend != CURLSSLBACKEND_GNUTLS ||
           gnutls_record_check_pending((gnutls_session_t)tls->internals) > 0;
}

int run_on_connection(void *ctx, char *peer, char *own, int peer_port, int own_port)
{
    struct fetch_run *run = ctx;
    const struct run_ends ends = {peer, own, peer_port, own_port};
    long made = 0;
    run->reused =
        curl_easy_getinfo(run->easy, CURLINFO_NUM_CONNECTS, &made) != CURLE_OK || made == 0;
    if (!run->reused) {
        station_name(run, &ends);
        return CURL_PREREQFUNC_OK;
    }
    struct sock *k = station_find(run->station, &ends);
    if (k) station_take(run, k);
    run->stale = has_leftovers(run, k);
    return run->stale ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

size_t run_on_line(char *bytes, size_t size, size_t count, void *ctx)
{
    struct fetch_run *run = ctx;
    struct fetch *f = run->fetch;
    const char *why;
    size_t len = size * count;
    if (run->head.done) return len; /* a trailer: nobody asks for it */
    switch (answer_head_line(&run->head, bytes, len, &why)) {
    case ANSWER_MORE: return len;
    case ANSWER_BAD: return broken(run, FETCH_CUT, why);
    case ANSWER_NO_MEMORY: return broken(run, FETCH_NO_MEMORY, "out of memory");
    case ANSWER_DONE: break;
    }
    f->status = run->head.status;
    f->length = run->head.length;
    run->limit_ms = run->stall_ms;
    note_progress(run);
    if (run->limit_ms) run_watch_clock(run);
    if (f->head) f->head(f);
    return len;
}

static bool collect(struct fetch_run *run, const char *bytes, size_t len)
{
    if (run->answer_cap - run->answer_len < len) {
        size_t cap = run->answer_cap ? run->answer_cap : ANSWER_FIRST;
        while (cap - run->answer_len < len) cap *= 2;
        uint8_t *grown = realloc(run->answer, cap);
        if (!grown) return false;
        run->answer = grown;
        run->answer_cap = cap;
    }
    memcpy(run->answer + run->answer_len, bytes, len);
    run->answer_len += len;
    return true;
}

size_t run_on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct fetch_run *run = ctx;
    struct fetch *f = run->fetch;
    size_t len = size * count;
    note_progress(run);
    if (f->answer_max && len > f->answer_max - run->answered)
        return broken(run, FETCH_CUT, "it is larger than what is taken");
    if (!f->data && !collect(run, bytes, len)) return broken(run, FETCH_NO_MEMORY, "out of memory");
    if (f->data && !f->data(f, bytes, len)) {
        run->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    run->answered += len;
    return len;
}

size_t run_on_read(char *bytes, size_t size, size_t count, void *ctx)
{
    struct fetch_run *run = ctx;
    bool end = false;
    note_progress(run);
    if (run->body_ended) return 0;
    size_t len = run->fetch->read(run->fetch, bytes, size * count, &end);
    run->body_ended = end;
    run->asked += len;
    if (end && run->length != UINT64_MAX && run->asked != run->length) {
        broken(run, FETCH_CUT, "the request's body is not as long as was announced");
        return CURL_READFUNC_ABORT;
    }
    if (len > 0 || end) return len;
    run->starved = true;
    return CURL_READFUNC_PAUSE;
}
