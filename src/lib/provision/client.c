/* The client's machine: answers in, next request out. */
#include <string.h>

#include <provost/provision.h>

#include "src/lib/base/bytes.h"
#include "src/lib/base/text.h"

/* What an answer amounts to: name, how it is seen on the wire, one sentence for a person. */
/* clang-format off */
#define EVENTS(X) \
    X(START, "a command is to be sent", "the caller wants a command to be sent") \
    X(PROACTIVE, "the same, proactive and without a key", "the device asks for the policy first") \
    X(FINE, "no refusal", "the server has taken the command") \
    X(PROVISION, "HTTP 449, Status 141 to 144", "the server asks the device to provision") \
    X(NEED_INFO, "Status 165", "the server asks for DeviceInformation") \
    X(INFO_AGAIN, "Status 165 again", \
      "the server asks for DeviceInformation although it was sent") \
    X(WIPE_DUE, "Status 140", "the server says that a wipe is pending") \
    X(DIRECTIVE, "a wipe directive", "the server orders a wipe") \
    X(OFFER, "a policy and a temporary key", "the server hands out a policy") \
    X(ACCEPTED, "a final key", "the server has accepted the acknowledgement") \
    X(NO_POLICY, "Policy Status 2", "the server has no policy for this device") \
    X(WRONG_KEY, "Policy Status 5", "the server does not know the acknowledged key any more") \
    X(PLAIN, "Status 1 alone", "the server answers without a policy and without a directive") \
    X(FORBIDDEN, "HTTP 403", "the server forbids the request") \
    X(BLOCKED, "Status 126 to 131, 177", "the server shuts out this device or its user") \
    X(REFUSED, "Status 139, 145, no final key", "the server refuses the device by its policy") \
    X(CANNOT_KEEP, "the same after Status 2 or 3", \
      "the server does not let in a device that cannot keep the policy") \
    X(CREDENTIALS, "HTTP 401, 456, 457", "the server does not accept the credentials") \
    X(BUSY, "HTTP 503, Status 111, Provision Status 3", "the server asks to come back later") \
    X(REDIRECT, "HTTP 451", "the server names another address") \
    X(BROKEN, "anything else", "the server's answer makes no sense here") \
    X(ANSWER, "any answer", "the server has been told") \
    X(WIPED, "the hook: wiped, or failed", "the hook has tried to wipe") \
    X(NOT_WIPED, "the hook: nothing done", "the hook has not wiped")
/* clang-format on */
#define EVENT_ENUM(id, wire, text) EV_##id,
enum event { EVENTS(EVENT_ENUM) EV_COUNT };
#undef EVENT_ENUM
#define EVENT_WIRE(id, wire, text) wire,
static const char *const event_wire[] = {EVENTS(EVENT_WIRE)};
#undef EVENT_WIRE
#define EVENT_TEXT(id, wire, text) text,
static const char *const event_texts[] = {EVENTS(EVENT_TEXT)};
#undef EVENT_TEXT

/* What a rule needs besides the answer, and what happens without it. */
/* clang-format off */
#define NEEDS(X) \
    X(NOTHING, "") \
    X(HANDSHAKE, "a handshake is left, else give up") \
    X(SETTINGS, "12.0 to 14.0, else the command at once")
/* clang-format on */
#define NEED_ENUM(id, text) NEED_##id,
enum need { NEEDS(NEED_ENUM) NEED_COUNT };
#undef NEED_ENUM

#define TEXT(id, text) text,
static const char *const state_texts[] = {PV_CLIENT_STATES(TEXT)};
static const char *const action_texts[] = {PV_CLIENT_ACTIONS(TEXT)};
static const char *const failure_texts[] = {PV_FAILURES(TEXT)};
static const char *const need_texts[] = {NEEDS(TEXT)};
#undef TEXT

struct rule {
    uint8_t next, action, failure, need;
};
/* clang-format off */
#define GO(next, action) {PV_CLIENT_##next, PV_DO_##action, PV_FAIL_NONE, NEED_NOTHING}
#define FAIL(failure) {PV_CLIENT_FAILED, PV_DO_FAIL, PV_FAIL_##failure, NEED_NOTHING}
#define HANDSHAKE {PV_CLIENT_ASKED, PV_DO_ASK, PV_FAIL_NONE, NEED_HANDSHAKE}
#define FAILURES_OF_ANY_REQUEST \
    [EV_BLOCKED] = FAIL(BLOCKED), [EV_REFUSED] = FAIL(REFUSED), \
    [EV_CREDENTIALS] = FAIL(CREDENTIALS), [EV_BUSY] = FAIL(BUSY), [EV_REDIRECT] = FAIL(REDIRECT)

/* An empty cell is a protocol error. */
static const struct rule rules[PV_CLIENT_STATE_COUNT][EV_COUNT] = {
    [PV_CLIENT_IDLE] = {
        [EV_START] = GO(COMMAND, COMMAND),
        [EV_PROACTIVE] = HANDSHAKE},
    [PV_CLIENT_COMMAND] = {
        [EV_FINE] = GO(DONE, DONE),
        [EV_PROVISION] = HANDSHAKE,
        [EV_NEED_INFO] = HANDSHAKE,
        [EV_WIPE_DUE] = GO(WIPE_POLL, POLL),
        /* Below 14.0 a pending wipe may look like a block. */
        [EV_FORBIDDEN] = GO(FORBIDDEN, POLL),
        FAILURES_OF_ANY_REQUEST},
    [PV_CLIENT_ASKED] = {
        [EV_OFFER] = GO(ACKED, ACK),
        [EV_NO_POLICY] = GO(COMMAND, COMMAND),
        [EV_NEED_INFO] = GO(ASKED, ASK),
        [EV_WIPE_DUE] = GO(WIPE_POLL, POLL),
        [EV_DIRECTIVE] = GO(WIPING, WIPE),
        [EV_FORBIDDEN] = FAIL(BLOCKED),
        FAILURES_OF_ANY_REQUEST},
    [PV_CLIENT_ACKED] = {
        /* From 14.1 on Provision has told it, and 2.5 has no Settings command. */
        [EV_ACCEPTED] = {PV_CLIENT_INFORMING, PV_DO_INFORM, PV_FAIL_NONE, NEED_SETTINGS},
        [EV_NO_POLICY] = GO(COMMAND, COMMAND),
        [EV_WRONG_KEY] = HANDSHAKE,
        [EV_NEED_INFO] = HANDSHAKE,
        [EV_WIPE_DUE] = GO(WIPE_POLL, POLL),
        [EV_DIRECTIVE] = GO(WIPING, WIPE),
        [EV_CANNOT_KEEP] = FAIL(CANNOT_KEEP),
        [EV_FORBIDDEN] = FAIL(BLOCKED),
        FAILURES_OF_ANY_REQUEST},
    [PV_CLIENT_INFORMING] = {
        [EV_ANSWER] = GO(COMMAND, COMMAND)},
    [PV_CLIENT_WIPE_POLL] = {
        [EV_DIRECTIVE] = GO(WIPING, WIPE),
        /* Some servers give the directive only to a full request. */
        [EV_PLAIN] = HANDSHAKE,
        [EV_WIPE_DUE] = HANDSHAKE,
        [EV_PROVISION] = HANDSHAKE,
        [EV_NEED_INFO] = HANDSHAKE,
        [EV_BROKEN] = HANDSHAKE,
        [EV_FORBIDDEN] = FAIL(BLOCKED),
        FAILURES_OF_ANY_REQUEST},
    [PV_CLIENT_FORBIDDEN] = {
        [EV_DIRECTIVE] = GO(WIPING, WIPE),
        [EV_WIPE_DUE] = HANDSHAKE,
        [EV_PROVISION] = HANDSHAKE,
        [EV_NEED_INFO] = HANDSHAKE,
        [EV_PLAIN] = FAIL(BLOCKED),
        [EV_BROKEN] = FAIL(BLOCKED),
        [EV_FORBIDDEN] = FAIL(BLOCKED),
        FAILURES_OF_ANY_REQUEST},
    [PV_CLIENT_WIPING] = {
        [EV_WIPED] = GO(WIPE_ACKED, WIPE_ACK),
        [EV_NOT_WIPED] = FAIL(WIPED)},
    [PV_CLIENT_WIPE_ACKED] = {
        [EV_ANSWER] = FAIL(WIPED)},
};
/* clang-format on */
static const struct rule broken = FAIL(PROTOCOL), loop = FAIL(LOOP);

static const char *text_of(const char *const *texts, unsigned count, unsigned i)
{
    return i < count ? texts[i] : "?";
}

const char *pv_client_state_text(enum pv_client_state state)
{
    return text_of(state_texts, PV_CLIENT_STATE_COUNT, state);
}

const char *pv_failure_text(enum pv_failure failure)
{
    return text_of(failure_texts, PV_FAILURE_COUNT, failure);
}

/* A handshake that the server does not reward: because of what we said, or anyway? */
static enum event refusal(const struct pv_client *c)
{
    bool honest = c->state == PV_CLIENT_ACKED && (c->ack_status == 2 || c->ack_status == 3);

    return honest ? EV_CANNOT_KEEP : EV_REFUSED;
}

static enum event classify_offer(const struct pv_client *c, const struct pv_client_in *in)
{
    const struct pv_provision_answer *a = in->provision;
    const char *type = a->policy_type ? a->policy_type : "";

    //= MS-ASPROV 3.1.5.1: a policy of a type that does not fit the version is ignored
    if (type[0] && strcmp(type, pv_policy_type(c->version))) return EV_BROKEN;
    if (!a->key[0] || in->judgement < 1 || in->judgement > 4) return EV_BROKEN;
    return EV_OFFER;
}

static enum event classify_policy(const struct pv_client *c, const struct pv_client_in *in)
{
    const struct pv_provision_answer *a = in->provision;

    if (c->state != PV_CLIENT_ASKED && c->state != PV_CLIENT_ACKED) return EV_PLAIN;
    if (!a->has_policy) return c->state == PV_CLIENT_ACKED ? refusal(c) : EV_BROKEN;
    if (a->policy_status == 2) return EV_NO_POLICY;
    if (a->policy_status == 5) return EV_WRONG_KEY;
    /* Horde answers 4 to every acknowledgement that is not 1. */
    if (a->policy_status == 4 && refusal(c) == EV_CANNOT_KEEP) return EV_CANNOT_KEEP;
    if (a->policy_status > 1) return EV_BROKEN;
    if (c->state == PV_CLIENT_ASKED) return classify_offer(c, in);
    switch (pv_key_parse(a->key, strlen(a->key)).kind) {
    case PV_KEY_NUMBER: return EV_ACCEPTED;
    case PV_KEY_BAD: return EV_BROKEN;
    default: return refusal(c);
    }
}

/* The common Status codes, which any command may answer with; EV_FINE for every other. */
static enum event classify_status(const struct pv_client *c, unsigned status)
{
    bool told = c->device_info && (c->state == PV_CLIENT_ASKED || c->state == PV_CLIENT_ACKED);

    if (status == 140) return EV_WIPE_DUE;
    if (status >= 141 && status <= 144) return EV_PROVISION;
    if (status == 139 || status == 145) return refusal(c);
    if (status == 165) return told ? EV_INFO_AGAIN : EV_NEED_INFO;
    if ((status >= 126 && status <= 131) || status == 177) return EV_BLOCKED;
    return status == 111 ? EV_BUSY : EV_FINE;
}

static enum event classify_http(unsigned http)
{
    switch (http) {
    case 401:
    case 456:
    case 457: return EV_CREDENTIALS;
    case 403: return EV_FORBIDDEN;
    case 449: return EV_PROVISION;
    case 451: return EV_REDIRECT;
    case 503: return EV_BUSY;
    default: return EV_FINE;
    }
}

/* The directive that this version knows; another one is not there. */
static enum pv_wipe_kind directive(const struct pv_client *c, const struct pv_client_in *in)
{
    if (!in->provision || in->http != 200) return PV_WIPE_NONE;
    //= MS-ASPROV 2.2.2.1: AccountOnlyRemoteWipe exists from 16.1 on
    if (in->provision->wipe == PV_WIPE_ACCOUNT && c->version < PV_V16_1) return PV_WIPE_NONE;
    return in->provision->wipe;
}

static enum event classify(const struct pv_client *c, const struct pv_client_in *in, unsigned *code)
{
    unsigned status = in->provision ? in->provision->status : in->status;
    enum event event;

    *code = in->http;
    if (c->state == PV_CLIENT_INFORMING || c->state == PV_CLIENT_WIPE_ACKED) return EV_ANSWER;
    if (c->state != PV_CLIENT_COMMAND && directive(c, in)) return EV_DIRECTIVE;
    /* Some servers send a Status together with HTTP 449; it says more. */
    if (in->http == 200 || in->http == 449) {
        event = classify_status(c, status);
        if (status) *code = status;
        if (event != EV_FINE) return event;
    }
    event = classify_http(in->http);
    if (event != EV_FINE) *code = in->http;
    if (event != EV_FINE || c->state == PV_CLIENT_COMMAND) return event;
    if (in->http != 200 || !in->provision) return EV_BROKEN;
    if (status == 3) return EV_BUSY;
    if (status > 1) return EV_BROKEN; /* a missing one is tolerated */
    if (in->provision->policy_status > 1) *code = in->provision->policy_status;
    return classify_policy(c, in);
}

/* The rule of a cell, or the one that takes its place where its need is not met. */
static const struct rule *rule_for(struct pv_client *c, enum event event)
{
    if (c->state >= PV_CLIENT_STATE_COUNT) return &broken;
    const struct rule *rule = &rules[c->state][event];

    if (rule->next == PV_CLIENT_IDLE) return &broken;
    if (rule->need == NEED_HANDSHAKE) {
        if (c->handshakes >= PV_CLIENT_HANDSHAKES) return &loop;
        c->handshakes++;
    }
    if (rule->need == NEED_SETTINGS && (c->version < PV_V12_0 || c->version > PV_V14_0))
        return &rules[PV_CLIENT_INFORMING][EV_ANSWER];
    return rule;
}

static void step(struct pv_client *c, enum event event, unsigned code, struct pv_client_out *out)
{
    const struct rule *rule = rule_for(c, event);

    if (event == EV_NEED_INFO) c->device_info = true;
    /* A server that has no policy and asks again contradicts itself. */
    if (event == EV_NO_POLICY) c->handshakes = PV_CLIENT_HANDSHAKES;
    if (rule->failure == PV_FAIL_BLOCKED && c->state == PV_CLIENT_FORBIDDEN) code = 403;
    c->state = rule->next;
    if (c->state != PV_CLIENT_ACKED) c->temp_key[0] = '\0';
    *out = (struct pv_client_out){.action = rule->action,
                                  .temp_key = c->temp_key,
                                  .ack_status = c->ack_status,
                                  .device_info = c->device_info && rule->action == PV_DO_ASK,
                                  .wipe = c->wipe,
                                  .failure = rule->failure,
                                  .status = rule->failure ? code : 0,
                                  .why = rule == &loop ? failure_texts[PV_FAIL_LOOP]
                                                       : event_texts[event]};
    if (rule->action != PV_DO_ASK && event != EV_NO_POLICY) out->key = c->key;
}

void pv_client_command(struct pv_client *c, struct pv_client_out *out)
{
    c->state = PV_CLIENT_IDLE;
    c->handshakes = 0;
    c->ack_status = 0;
    c->wipe = PV_WIPE_NONE;
    //= MS-ASPROV 2.2.2.53: DeviceInformation belongs to the request from 14.1 on
    c->device_info |= c->version >= PV_V14_1;
    step(c, c->proactive && !c->key ? EV_PROACTIVE : EV_START, 0, out);
}

void pv_client_answer(struct pv_client *c, const struct pv_client_in *in, struct pv_client_out *out)
{
    unsigned code;
    enum event event = classify(c, in, &code);

    if (event == EV_OFFER) {
        size_t len = strnlen(in->provision->key, sizeof c->temp_key - 1);
        memcpy(c->temp_key, in->provision->key, len);
        c->temp_key[len] = '\0';
        c->ack_status = in->judgement;
    } else if (event == EV_ACCEPTED) {
        c->key = pv_key_parse(in->provision->key, strlen(in->provision->key)).value;
    } else if (event == EV_DIRECTIVE) {
        c->wipe = directive(c, in);
    }
    step(c, event, code, out);
}

void pv_client_wiped(struct pv_client *c, unsigned result, struct pv_client_out *out)
{
    bool tried = result == 1 || result == 2;

    c->ack_status = tried ? result : 0;
    step(c, tried ? EV_WIPED : EV_NOT_WIPED, 0, out);
}

enum pv_err pv_client_table(char *buf, size_t cap, size_t *len_out)
{
    struct pv__out o;

    pv__out_init(&o, buf, cap);
    pv__out_text(&o, "| state | answer | next | action | needs |\n|---|---|---|---|---|\n");
    for (unsigned s = 0; s < PV_CLIENT_STATE_COUNT; s++)
        for (unsigned e = 0; e < EV_COUNT; e++) {
            const struct rule *rule = &rules[s][e];
            bool failed = rule->failure != PV_FAIL_NONE;
            /* clang-format off */
            const char *const cells[] = {
                "| ", state_texts[s], " | ", event_wire[e], " | ", state_texts[rule->next], " | ",
                action_texts[rule->action], failed ? ": " : "",
                failed ? failure_texts[rule->failure] : "", " | ", need_texts[rule->need], " |\n"};
            /* clang-format on */
            if (rule->next == PV_CLIENT_IDLE) continue;
            for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) pv__out_text(&o, cells[i]);
        }
    return pv__out_end(&o, len_out);
}
