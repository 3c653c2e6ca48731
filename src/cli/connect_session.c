/* One session: the client's machine decides, this sends and tells. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/connect.h"
#include "src/cli/connect_hook.h"
#include "src/server/admin/version.h"

enum { STEPS_MAX = 32 }; /* more than the machine ever takes for one command */

static const struct pv_device_info device_info = {.model = "Provost",
                                                  .friendly_name = "provost connect",
                                                  .os = "Linux",
                                                  .os_language = "en",
                                                  .user_agent = "Provost/" PROVOST_VERSION};

enum cli_exit session_fail(struct session *s, enum cli_exit code, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(s->why, sizeof s->why, format, list);
    va_end(list);
    return code;
}

enum cli_exit session_transport(struct session *s, enum eas_result result)
{
    switch (result) {
    case EAS_OK: return CLI_DONE;
    case EAS_STOPPED: s->stopped = true; return session_fail(s, CLI_FAILED, "interrupted");
    case EAS_BROKEN: return session_fail(s, CLI_PROTOCOL, "%s", s->eas.error);
    case EAS_UNREACHABLE: break;
    }
    return session_fail(s, CLI_UNREACHABLE, "%s: %s", s->eas.url.origin, s->eas.error);
}

bool session_leave_kept_address(struct session *s, enum eas_result result,
                                const struct eas_answer *a)
{
    bool lost = result == EAS_UNREACHABLE || (result == EAS_OK && a->http == 404);
    bool leave = s->at_kept_address && lost;
    s->at_kept_address = false;
    if (!leave) return false;
    s->keys.location[0] = '\0';
    (void)keys_save(&s->keys); /* else the next run tries it once more */
    s->eas.url = s->given;
    report_note(&s->report, "The address that the server once named leads nowhere any more; "
                            "back to the given one.");
    return true;
}

/* The address that the server named is kept for the next run. */
static enum cli_exit keep_location(struct session *s)
{
    if (!s->eas.moved) return CLI_DONE;
    s->eas.moved = false;
    int n = snprintf(s->keys.location, sizeof s->keys.location, "%s%s", s->eas.url.origin,
                     s->eas.url.path);
    if (n < 0 || (size_t)n >= sizeof s->keys.location) s->keys.location[0] = '\0';
    return keys_save(&s->keys);
}

/* ---- one request ---- */

struct sending {
    enum pv_cmd cmd;
    const uint8_t *body;
    size_t len;
    struct exchange x;
    const struct pv_node *root; /* of the answer */
    struct pv_provision_answer provision;
};

static const char *const odd_body = "a body that is no ActiveSync answer",
                         *const large_body = "a body with more in it than is taken here";

/* Status at the root: by its local name, for there are servers that err in the code page. */
static unsigned root_status(const struct pv_node *root)
{
    for (const struct pv_node *n = root ? root->child : NULL; n; n = n->next) {
        const char *name = n->kind == PV_NODE_ELEMENT ? pv_tag_name(n->tag) : NULL;
        uint32_t status;
        if (name && strcmp(name, "Status") == 0) return pv_node_u32(n, &status) ? status : 0;
    }
    return 0;
}

static void decode(struct session *s, struct sending *q, const struct eas_answer *a)
{
    if (a->len == 0) return;
    enum pv_err e = PV_E_UNSUPPORTED;
    if (a->may_be_wbxml) e = pv_wbxml_decode(&s->arena, a->body, a->len, NULL, &q->root, NULL);
    if (e != PV_OK) {
        bool large = pv_err_blame(e) == PV_LIMIT;
        q->root = NULL;
        if (a->http == 200) /* with others it is a page for people */
            q->x.problem = large ? large_body : odd_body;
        return;
    }
    const char *name = pv_tag_name(q->root->tag);
    if (name == NULL || strcmp(name, pv_cmd_info(q->cmd)->name) != 0) {
        q->x.problem = "an answer to another command";
        report_wbxml(&s->report, '<', q->root);
        q->root = NULL;
        return;
    }
    q->x.status = root_status(q->root);
    if (q->cmd == PV_CMD_Provision &&
        pv_provision_answer_read(q->root, &s->arena, &q->provision) == PV_OK)
        q->x.provision = &q->provision;
}

/* The body of the request under way into the trace. */
static void trace_body(void *ctx)
{
    struct session *s = ctx;
    const struct sending *q = s->sending;
    const struct pv_node *root = NULL;
    if (q == NULL) return; /* OPTIONS has none */
    if (q->len && pv_wbxml_decode(&s->arena, q->body, q->len, NULL, &root, NULL) != PV_OK) return;
    report_wbxml(&s->report, '>', root);
}

/* Send, wait, decode, tell. key_text: of a temporary key, else NULL. */
static enum cli_exit transact(struct session *s, struct sending *q, const char *key_text)
{
    struct eas_answer a;
    char number[16];
    if (key_text == NULL) {
        snprintf(number, sizeof number, "%u", (unsigned)q->x.key.value);
        key_text = number;
    }
    pv_arena_reset(&s->arena);
    q->root = NULL;
    q->x.command = pv_cmd_info(q->cmd)->name;
    q->x.status_name = "";
    report_request(&s->report, &q->x);
    s->sending = q;
    s->eas.head_sent = trace_body;
    enum eas_result result =
        eas_post(&s->eas, q->cmd, q->x.key, key_text, q->body, q->len, q->x.heartbeat, &a);
    if (session_leave_kept_address(s, result, &a))
        result = eas_post(&s->eas, q->cmd, q->x.key, key_text, q->body, q->len, q->x.heartbeat, &a);
    enum cli_exit code = session_transport(s, result);
    s->sending = NULL;
    if (code == CLI_DONE) code = keep_location(s);
    q->x.http = code == CLI_DONE ? a.http : 0;
    if (code != CLI_DONE) {
        if (!s->stopped) report_answer(&s->report, &q->x);
        return code;
    }
    decode(s, q, &a);
    if (q->root || a.len == 0) report_wbxml(&s->report, '<', q->root);
    q->x.status_name = status_text(q->cmd, q->x.status);
    report_answer(&s->report, &q->x);
    return CLI_DONE;
}

static struct pv_sent_key number_key(uint32_t key)
{
    return (struct pv_sent_key){.kind = key ? PV_KEY_NUMBER : PV_KEY_ZERO, .value = key};
}

static void tell_machine(struct session *s, const struct sending *q, unsigned judgement,
                         struct pv_client_out *out)
{
    struct pv_client_in in = {.http = q->x.http,
                              .status = q->x.status,
                              .provision = q->x.provision,
                              .judgement = judgement};
    pv_client_answer(&s->client, &in, out);
}

/* ---- what the machine may want ---- */

static enum cli_exit no_room(struct session *s)
{
    return session_fail(s, CLI_FAILED, "the request is too large to be made");
}

static enum pv_err make_body(const struct session *s, const struct pv_client_out *o, uint8_t *buf,
                             size_t cap, size_t *len_out)
{
    return pv_client_body(o, s->client.version, &device_info, buf, cap, len_out);
}

/* The policy of an offer: read, judged, told. @return the acknowledgement, 0: there is none to
 * judge */
static unsigned judge_offer(struct session *s, const struct sending *q)
{
    const struct pv_provision_answer *p = q->x.provision;
    struct pv_policy_oddity oddities[ODDITIES_MAX];
    enum pv_kept kept[PV_SETTING_COUNT];
    size_t count = 0;
    s->has_offer = false;
    if (p == NULL || p->data == NULL || p->policy_status > 1) return 0;
    pv_arena_reset(&s->offer_arena);
    if (pv_policy_read(p->data, &s->offer_arena, &s->offer, oddities, ODDITIES_MAX, &count) !=
        PV_OK) {
        report_note(&s->report, "The policy cannot be read.");
        return 0;
    }
    s->has_offer = true;
    unsigned judgement = pv_profile_judge(&s->profile, &s->offer, kept);
    report_policy(&s->report, &(struct report_policy){
                                  .policy = &s->offer,
                                  .old = s->keys.has_policy ? &s->keys.policy : NULL,
                                  .kept = kept,
                                  .version = s->client.version,
                                  .judgement = judgement,
                                  .oddities = oddities,
                                  .oddity_count = count < ODDITIES_MAX ? count : ODDITIES_MAX});
    return judgement;
}

static enum cli_exit do_ask(struct session *s, struct pv_client_out *o)
{
    uint8_t body[1024];
    struct sending q = {
        .cmd = PV_CMD_Provision,
        .body = body,
        .x = {.phase = 2, .name = "policy", .does = "asks for the policy", .key = number_key(0)}};
    if (make_body(s, o, body, sizeof body, &q.len) != PV_OK) return no_room(s);
    enum cli_exit code = transact(s, &q, NULL);
    if (code == CLI_DONE) tell_machine(s, &q, judge_offer(s, &q), o);
    return code;
}

/* A final key is on the disk before it is used. */
static enum cli_exit keep_key(struct session *s)
{
    if (s->client.key == s->keys.key) return CLI_DONE;
    s->keys.key = s->client.key;
    snprintf(s->keys.version, sizeof s->keys.version, "%s", pv_version_text(s->client.version));
    enum cli_exit code = s->has_offer ? keys_set_policy(&s->keys, &s->offer) : CLI_DONE;
    if (code == CLI_DONE) code = keys_save(&s->keys);
    return code == CLI_DONE ? code : session_fail(s, code, "the policy key cannot be kept");
}

static enum cli_exit do_ack(struct session *s, struct pv_client_out *o)
{
    uint8_t body[1024];
    struct sending q = {.cmd = PV_CMD_Provision,
                        .body = body,
                        .x = {.phase = 3,
                              .name = "acknowledge",
                              .does = "acknowledges",
                              .key = pv_key_parse(o->temp_key, strlen(o->temp_key)),
                              .ack_status = o->ack_status,
                              .final = true}};
    if (make_body(s, o, body, sizeof body, &q.len) != PV_OK) return no_room(s);
    enum cli_exit code = transact(s, &q, o->temp_key);
    if (code != CLI_DONE) return code;
    tell_machine(s, &q, 0, o);
    return keep_key(s);
}

static enum cli_exit do_inform(struct session *s, struct pv_client_out *o)
{
    uint8_t body[1024];
    struct sending q = {.cmd = PV_CMD_Settings,
                        .body = body,
                        .x = {.phase = 3,
                              .name = "device-information",
                              .does = "tells about the device",
                              .key = number_key(o->key)}};
    if (body_settings(s->client.version, &device_info, body, sizeof body, &q.len) != PV_OK)
        return no_room(s);
    enum cli_exit code = transact(s, &q, NULL);
    if (code == CLI_DONE) tell_machine(s, &q, 0, o);
    return code;
}

static enum cli_exit do_poll(struct session *s, struct pv_client_out *o)
{
    uint8_t body[16];
    struct sending q = {.cmd = PV_CMD_Provision,
                        .body = body,
                        .x = {.name = "wipe-poll",
                              .does = "asks whether a wipe is ordered",
                              .key = number_key(o->key)}};
    if (make_body(s, o, body, sizeof body, &q.len) != PV_OK) return no_room(s);
    enum cli_exit code = transact(s, &q, NULL);
    if (code == CLI_DONE) tell_machine(s, &q, 0, o);
    return code;
}

/* The order is on the disk before it is carried out, the result before it is told: neither gets
 * lost. */
static enum cli_exit do_wipe(struct session *s, struct pv_client_out *o)
{
    char sentence[128];
    unsigned result = 0;
    s->keys.wipe = o->wipe;
    s->keys.wipe_result = 0;
    /* What cannot be kept is told, but holds up neither the wipe nor the word to the server, which
     * keeps the order: there may be no room left, or the program may have wiped that too. */
    (void)keys_save(&s->keys);
    if (s->options->hook)
        result =
            hook_run(s->options->hook, o->wipe, s->eas.user, s->keys.device_id, s->keys.server);
    snprintf(sentence, sizeof sentence, "Wipe of the %s ordered: %s.", hook_kind(o->wipe),
             !s->options->hook ? "no hook to carry it out, nothing is acknowledged"
             : result == 1     ? "the hook has wiped"
             : result == 2     ? "the hook has failed"
                               : "the hook did nothing, nothing is acknowledged");
    report_event(&s->report, "wipe", sentence, NULL);
    s->keys.wipe_result = result;
    if (result) (void)keys_save(&s->keys);
    pv_client_wiped(&s->client, result, o);
    return CLI_DONE;
}

static enum cli_exit do_wipe_ack(struct session *s, struct pv_client_out *o)
{
    uint8_t body[32];
    unsigned result = o->ack_status;
    struct sending q = {
        .cmd = PV_CMD_Provision,
        .body = body,
        .x = {.name = "wipe-acknowledge",
              .does = result == 1 ? "says that it is wiped" : "says that the wipe has failed",
              .key = number_key(o->key)}};
    if (make_body(s, o, body, sizeof body, &q.len) != PV_OK) return no_room(s);
    enum cli_exit code = transact(s, &q, NULL);
    if (code != CLI_DONE)
        return session_fail(s, CLI_WIPE,
                            "a wipe was ordered and the server could "
                            "not be told what came of it; the next run tells it");
    tell_machine(s, &q, 0, o);
    if (result == 1) {
        (void)keys_forget(&s->keys);
    } else { /* it failed: the next run asks the server, and then the hook again */
        s->keys.wipe_result = 0;
        (void)keys_save(&s->keys);
    }
    return CLI_DONE;
}

static enum cli_exit give_up(struct session *s, const struct pv_client_out *o)
{
    static const enum cli_exit exits[PV_FAILURE_COUNT] = {[PV_FAIL_CREDENTIALS] = CLI_CREDENTIALS,
                                                          [PV_FAIL_REFUSED] = CLI_REFUSED,
                                                          [PV_FAIL_BLOCKED] = CLI_BLOCKED,
                                                          [PV_FAIL_CANNOT_KEEP] = CLI_CANNOT_KEEP,
                                                          [PV_FAIL_WIPED] = CLI_WIPE,
                                                          [PV_FAIL_PROTOCOL] = CLI_PROTOCOL,
                                                          [PV_FAIL_LOOP] = CLI_PROTOCOL,
                                                          [PV_FAIL_BUSY] = CLI_UNREACHABLE,
                                                          [PV_FAIL_REDIRECT] = CLI_PROTOCOL,
                                                          [PV_FAIL_NONE] = CLI_PROTOCOL};
    if (o->failure == PV_FAIL_WIPED)
        return session_fail(s, CLI_WIPE, "a wipe was ordered: %s", o->why);
    const char *what = pv_failure_text(o->failure);
    bool same = strcmp(what, o->why) == 0; /* once is enough */
    if (o->status == 0) return session_fail(s, exits[o->failure], "%s: %s", what, o->why);
    return session_fail(s, exits[o->failure], "%s%s%s (%s %u)", what, same ? "" : ": ",
                        same ? "" : o->why, o->status >= 200 ? "HTTP" : "Status", o->status);
}

static enum cli_exit do_command(struct session *s, struct sending *q, struct pv_client_out *o)
{
    //= MS-ASPROV 3.1.5.1.1: Ping carries no policy key
    q->x.key =
        q->cmd == PV_CMD_Ping ? (struct pv_sent_key){.kind = PV_KEY_ABSENT} : number_key(o->key);
    q->x.phase = q->cmd == PV_CMD_Ping ? 0 : o->key ? 4 : 1;
    q->x.problem = NULL;
    q->x.status = 0;
    enum cli_exit code = transact(s, q, NULL);
    if (code == CLI_DONE) tell_machine(s, q, 0, o);
    return code;
}

static enum cli_exit command_done(struct session *s, const struct sending *q,
                                  struct command_answer *out)
{
    *out = (struct command_answer){.status = q->x.status, .root = q->root};
    if (q->x.http != 200)
        return session_fail(s, CLI_PROTOCOL, "%s is answered with HTTP %u%s", q->x.command,
                            q->x.http,
                            q->x.http == 404 ? ": is there ActiveSync at this address?" : "");
    if (q->x.problem) return session_fail(s, CLI_PROTOCOL, "%s: %s", q->x.command, q->x.problem);
    if (s->keys.wipe == PV_WIPE_NONE) return CLI_DONE;
    /* The server lets us in: it has taken the order back. */
    s->keys.wipe = PV_WIPE_NONE;
    s->keys.wipe_result = 0;
    return keys_save(&s->keys);
}

/* What an earlier run left undone comes first: tell a wipe's result, or ask whether the order
 * stands. */
static void resume_wipe(struct session *s, struct pv_client_out *o)
{
    if (s->keys.wipe == PV_WIPE_NONE) return;
    report_event(&s->report, "wipe", "An earlier run was ordered to wipe and has not ended that.",
                 NULL);
    if (s->keys.wipe_result) {
        s->client.state = PV_CLIENT_WIPING;
        s->client.wipe = s->keys.wipe;
        pv_client_wiped(&s->client, s->keys.wipe_result, o);
    } else {
        s->client.state = PV_CLIENT_WIPE_POLL;
        o->action = PV_DO_POLL;
    }
}

enum cli_exit session_command(struct session *s, enum pv_cmd cmd, const uint8_t *body, size_t len,
                              unsigned heartbeat, struct command_answer *out)
{
    struct sending q = {.cmd = cmd,
                        .body = body,
                        .len = len,
                        .x = {.name = "command", .does = "", .heartbeat = heartbeat}};
    struct pv_client_out o;
    *out = (struct command_answer){0};
    pv_client_command(&s->client, &o);
    resume_wipe(s, &o);
    for (int step = 0; step < STEPS_MAX; step++) {
        enum cli_exit code = CLI_PROTOCOL;
        switch (o.action) {
        case PV_DO_COMMAND: code = do_command(s, &q, &o); break;
        case PV_DO_ASK: code = do_ask(s, &o); break;
        case PV_DO_ACK: code = do_ack(s, &o); break;
        case PV_DO_INFORM: code = do_inform(s, &o); break;
        case PV_DO_POLL: code = do_poll(s, &o); break;
        case PV_DO_WIPE: code = do_wipe(s, &o); break;
        case PV_DO_WIPE_ACK: code = do_wipe_ack(s, &o); break;
        case PV_DO_DONE: return command_done(s, &q, out);
        case PV_DO_FAIL: return give_up(s, &o);
        case PV_CLIENT_ACTION_COUNT: abort(); /* no action */
        }
        if (code != CLI_DONE) return code;
    }
    return session_fail(s, CLI_PROTOCOL, "the server asks again and again");
}
