/* The server's end in one page: one device, one policy, requests on standard input.
 *
 *     server NAME=VALUE...
 *
 * A command is let through or refused; Provision leads the device to its key. What is kept of the
 * device is one struct without pointers: a real server stores it before it answers. */
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include <provost/provision.h>

#include "frame.h"

static struct pv_arena arena; /* lives for one request */
static struct pv_policy policy;
static struct pv_partnership device;

static struct pv_policy_facts facts_of(enum pv_version version)
{
    struct pv_policy_facts f = {
        .revision = 1,
        .allow_non_provisionable = pv_policy_value(&policy, PV_SET_AllowNonProvisionable) != 0,
        .non_provisionable_until = pv_policy_value(&policy, PV_SET_AllowNonProvisionableUntil),
        .allow_partial = pv_policy_value(&policy, PV_SET_AllowPartial) != 0,
        .allow_external = pv_policy_value(&policy, PV_SET_AllowExternalManagement) != 0,
        .refresh_interval = pv_policy_value(&policy, PV_SET_RefreshInterval),
        .uncarried = pv_policy_uncarried(&policy, version, NULL, 0) > 0,
    };

    if (pv_policy_hash(&policy, version, &arena, f.hash)) abort();
    return f;
}

/* A Provision request as facts for the machine. false: out of memory. */
static bool read_ask(const struct request *r, struct pv_server_in *in)
{
    static const enum pv_event events[] = {[PV_ASK_POLL] = PV_EV_POLL,
                                           [PV_ASK_POLICY] = PV_EV_ASK,
                                           [PV_ASK_ACK] = PV_EV_ACK,
                                           [PV_ASK_WIPE_ACK] = PV_EV_WIPE_ACK,
                                           [PV_ASK_BAD] = PV_EV_BAD};
    const struct pv_node *root;
    struct pv_ask ask;

    in->event = PV_EV_BAD;
    if (pv_wbxml_decode(&arena, r->body, r->len, &pv_wbxml_limits_small, &root, NULL)) return true;
    if (pv_ask_read(root, in->version, &arena, &ask)) return false;
    in->event = events[ask.kind];
    in->key = ask.key; /* an acknowledgement is matched by the key in its body */
    in->status = ask.status;
    in->wipe = ask.wipe;
    in->type_fits = ask.type_fits;
    in->has_device_info = ask.has_device_info;
    return true;
}

static void folders(struct answer *a)
{
    struct pv_wbxml_writer w;

    pv_wbxml_begin(&w, a->body, sizeof a->body);
    pv_wbxml_start(&w, PV_FolderHierarchy_FolderSync);
    pv_wbxml_leaf_u32(&w, PV_FolderHierarchy_Status, 1);
    pv_wbxml_leaf(&w, PV_FolderHierarchy_SyncKey, "1");
    pv_wbxml_end(&w);
    a->http = pv_wbxml_finish(&w, &a->len) ? 500 : 200;
}

static void provision(const struct pv_server_in *in, const struct pv_server_out *out,
                      struct answer *a)
{
    struct pv_provision_answer p = {
        .status = 1, .wipe = out->wipe, .policy_type = pv_policy_type(in->version)};

    p.device_info_status = in->has_device_info;
    p.has_policy = out->action == PV_ACT_OFFER || out->action == PV_ACT_CONFIRM ||
                   out->action == PV_ACT_POLICY_STATUS;
    p.policy_status = out->action == PV_ACT_POLICY_STATUS ? out->status : 1;
    if (out->action == PV_ACT_PROVISION_STATUS) p.status = out->status;
    if (out->action == PV_ACT_DIRECTIVE && out->status) p.status = out->status;
    if (out->action == PV_ACT_OFFER) p.policy = &policy;
    if (out->key) snprintf(p.key, sizeof p.key, "%u", (unsigned)out->key);
    a->http =
        pv_provision_answer_write(&p, in->version, a->body, sizeof a->body, &a->len) ? 500 : 200;
}

static void handle(const struct request *r, struct answer *a)
{
    struct pv_server_in in = {.event = PV_EV_COMMAND, .now = time(NULL)};
    struct pv_server_out out;
    struct pv_refusal no;
    enum pv_cmd cmd;

    *a = (struct answer){.http = 400};
    if (!pv_version_parse(r->version, strlen(r->version), &in.version)) return;
    a->http = 501;
    if (!pv_cmd_find(r->cmd, strlen(r->cmd), &cmd)) return;
    if (strcmp(r->key, "-")) in.key = pv_key_parse(r->key, strlen(r->key));
    if (cmd == PV_CMD_Ping) in.event = PV_EV_PING;
    in.policy = facts_of(in.version);
    a->http = 500;
    if (cmd == PV_CMD_Provision && !read_ask(r, &in)) return;
    if (getrandom(in.random, sizeof in.random, 0) != sizeof in.random) return;
    if (pv_server_step(&device, &in, &out)) return;

    fprintf(stderr, "server: %s: %s -> %s (%s)\n", r->cmd, pv_state_text(out.before),
            pv_state_text(out.after), pv_reason_text(out.reason));
    if (out.action == PV_ACT_ALLOW && cmd == PV_CMD_FolderSync) {
        folders(a);
    } else if (out.action == PV_ACT_REFUSE) {
        pv_refuse(in.version, cmd, out.status, in.key.kind != PV_KEY_ABSENT, &no);
        a->http = no.http;
        a->len = no.len;
        memcpy(a->body, no.body, no.len);
    } else if (cmd == PV_CMD_Provision) {
        provision(&in, &out, a);
    } else {
        a->http = 501; /* this example has no other command */
    }
}

int main(int argc, char **argv)
{
    static struct request request;
    static struct answer answer;
    struct pv_arena settings;
    char message[200];

    if (pv_arena_create(&arena, 1 << 20) || pv_arena_create(&settings, 1 << 16)) return 1;
    for (int i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (value) *value++ = '\0';
        if (pv_policy_set(&policy, &settings, argv[i], value ? value : "", message,
                          sizeof message)) {
            fprintf(stderr, "server: %s\n", message);
            return 2;
        }
    }
    do {
        pv_arena_reset(&arena);
        if (!read_request(&request)) break;
        handle(&request, &answer);
    } while (write_answer(&answer));
    pv_arena_destroy(&settings);
    pv_arena_destroy(&arena);
    return 0;
}
