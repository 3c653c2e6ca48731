/* Sync, GetItemEstimate and ItemOperations of a device in quarantine: I/O, and the wait of a Sync. */
#include "src/server/mailbox/quarantine.h"

#include <stdlib.h>
#include <string.h>

#include "src/server/mailbox/internal.h"
#include "src/server/observe/log.h"

#define STORE_RETRY_AFTER 10 /* seconds */
#define SYNC_FOLDERSYNC 12
#define SYNC_BAD_WAIT 14

struct quarantine_call {
    struct job job;
    struct call *call;
    struct commands *commands;
    void (*answer)(const struct quarantine_call *q, struct quarantine_answer *out);
    struct quarantine_mail mail;
    struct quarantine_answer out;
    bool failed;
    bool waits; /* a Sync for which there is nothing to tell */
    struct gate_waiter waiter;
    struct timer timer;
};

static void free_call(void *data)
{
    struct quarantine_call *q = data;
    free(q->out.body);
    free(q);
}

/* ---- on the lane ---- */
static void make_mail(struct quarantine_call *q, uint32_t inbox)
{
    const struct config *config = config_now(q->commands->config);
    const struct quarantine_facts facts = {
        .subject = config->quarantine.subject,
        .text = config->quarantine.text,
        .user = q->call->user,
        .device_id = q->call->req.device_id,
        .device_type = q->call->req.device_type,
        .domain = config->domain,
        .since = call_first_seen(q->call),
        .inbox = inbox,
    };
    quarantine_mail_make(&facts, &q->mail);
}

/* An id that no FolderSync has told yet is none that the device can know. */
static void run(struct job *job)
{
    struct quarantine_call *q = CONTAINER_OF(job, struct quarantine_call, job);
    struct hierarchy h;
    enum hierarchy_result result = hierarchy_load(q->commands, q->call->user, NULL, &h);
    q->failed = result != HIERARCHY_OK;
    if (result == HIERARCHY_OK) make_mail(q, h.ids_changed ? 0 : h.ids[0]);
    hierarchy_free(&h);
}

/* ---- a Sync that waits, as a Ping does, but for nothing other than to be let out ---- */
static void finish(struct quarantine_call *q, bool due)
{
    if (!q->waits) return;
    q->waits = false;
    timer_stop(worker_self(), &q->timer);
    gate_wait_remove(q->call->gate, &q->waiter);
    if (due)
        call_status(q->call, SYNC_FOLDERSYNC);
    else
        call_answer(q->call, NULL, 0); /* MS-ASCMD 2.2.1.21.2: no changes, no body */
}

static void time_is_up(struct timer *t)
{
    struct quarantine_call *q = CONTAINER_OF(t, struct quarantine_call, timer);
    finish(q, gate_ping_due(q->call));
}

static void woken(struct gate_waiter *w)
{
    struct quarantine_call *q = CONTAINER_OF(w, struct quarantine_call, waiter);
    if (gate_ping_due(q->call)) finish(q, true);
}

static void gone(struct call *c)
{
    finish(c->data, false);
}

static void server_ends(struct http_exchange *x)
{
    const struct call *c = http_data(x);
    finish(c->data, false);
}

static void wait_for_release(struct quarantine_call *q)
{
    uint64_t seconds = q->out.wait, refresh = gate_ping_due_in(q->call);
    q->waits = true;
    q->waiter.wake = woken;
    gate_wait_add(q->call, &q->waiter);
    timer_set(worker_self(), &q->timer, (seconds < refresh ? seconds : refresh) * 1000, time_is_up);
    call_wait(q->call, gone);
    http_on_stop(q->call->http, server_ends);
    if (http_is_gone(q->call->http))
        finish(q, false);
    else if (gate_ping_due(q->call)) /* it became due on the way here */
        finish(q, true);
}

/* ---- the answer ---- */
static void answer_limit(struct quarantine_call *q)
{
    uint8_t buf[64];
    struct pv_wbxml_writer w;
    size_t len;
    pv_wbxml_begin(&w, buf, sizeof buf);
    pv_wbxml_start(&w, PV_AirSync_Sync);
    pv_wbxml_leaf_u32(&w, PV_AirSync_Status, SYNC_BAD_WAIT);
    pv_wbxml_leaf_u32(&w, PV_AirSync_Limit, q->out.limit);
    pv_wbxml_end(&w);
    if (pv_wbxml_finish(&w, &len) == PV_OK)
        call_answer(q->call, buf, len);
    else
        call_http(q->call, 503, STORE_RETRY_AFTER);
}

static void done(struct job *job)
{
    struct quarantine_call *q = CONTAINER_OF(job, struct quarantine_call, job);
    if (!q->failed) q->answer(q, &q->out);
    if (q->failed || (!q->out.body && !q->out.status)) {
        call_http(q->call, 503, STORE_RETRY_AFTER);
    } else if (q->out.body && q->out.wait && !http_is_gone(q->call->http)) {
        wait_for_release(q);
    } else if (q->out.body) {
        call_answer(q->call, q->out.body, q->out.len);
    } else if (q->call->req.cmd == PV_CMD_Sync && q->out.status == SYNC_BAD_WAIT) {
        answer_limit(q);
    } else {
        call_status(q->call, q->out.status);
    }
}

static void serve(struct call *c,
                  void (*answer)(const struct quarantine_call *q, struct quarantine_answer *out))
{
    struct quarantine_call *q = calloc(1, sizeof *q);
    if (!q) {
        call_http(c, 503, STORE_RETRY_AFTER);
        return;
    }
    q->call = c;
    q->commands = commands_of(c);
    q->answer = answer;
    q->job.run = run;
    q->job.done = done;
    c->data = q;
    c->free_data = free_call;
    if (commands_submit(q->commands, c->user, &q->job))
        call_wait(c, NULL);
    else
        call_http(c, 503, STORE_RETRY_AFTER);
}

/* ---- the commands ---- */
static void answer_sync(const struct quarantine_call *q, struct quarantine_answer *out)
{
    const struct config *config = config_now(q->commands->config);
    const struct quarantine_limits limits = {config->ping.heartbeat_min,
                                             config->ping.heartbeat_max};
    quarantine_sync_answer(q->call->body, q->call->req.version, &q->mail, &limits, out);
}

void quarantine_sync_serve(struct call *c)
{
    serve(c, answer_sync);
}

static void answer_estimate(const struct quarantine_call *q, struct quarantine_answer *out)
{
    quarantine_estimate_answer(q->call->body, q->call->req.version, &q->mail, out);
}

void quarantine_estimate_serve(struct call *c)
{
    serve(c, answer_estimate);
}

static void answer_items(const struct quarantine_call *q, struct quarantine_answer *out)
{
    quarantine_items_answer(q->call->body, q->call->req.version, &q->mail, out);
}

void quarantine_items_serve(struct call *c)
{
    serve(c, answer_items);
}
