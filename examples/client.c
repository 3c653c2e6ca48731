/* The client's end in one page: a device that wants its folders, answers on standard input.
 *
 *     client VERSION [PROFILE]
 *
 * The machine says what to send; this program sends it, and tells the machine what came back. A
 * real client keeps struct pv_client's key over runs, and wipes when it must. */
#include <stdlib.h>

#include <provost/provision.h>

#include "frame.h"

static struct pv_arena arena; /* lives for one answer */
static struct pv_profile profile;
static const struct pv_device_info info = {.model = "Example", .os = "none"};

static void begin(struct pv_wbxml_writer *w, struct request *r, const char *cmd, const char *key)
{
    snprintf(r->cmd, sizeof r->cmd, "%s", cmd);
    snprintf(r->key, sizeof r->key, "%s", key);
    pv_wbxml_begin(w, r->body, sizeof r->body);
}

static void folder_sync(struct pv_wbxml_writer *w)
{
    pv_wbxml_start(w, PV_FolderHierarchy_FolderSync);
    pv_wbxml_leaf(w, PV_FolderHierarchy_SyncKey, "0");
    pv_wbxml_end(w);
}

/* Settings with DeviceInformation: for 12.0 to 14.0, where Provision has no place for it. */
static void settings(struct pv_wbxml_writer *w, const struct pv_client *c)
{
    pv_wbxml_start(w, PV_Settings_Settings);
    pv_device_info_write(&info, c->version, w);
    pv_wbxml_end(w);
}

static bool exchange(const struct pv_client *c, const struct pv_client_out *out, struct request *r,
                     struct answer *a)
{
    struct pv_wbxml_writer w;
    enum pv_err err;
    char key[12];

    snprintf(key, sizeof key, "%u", (unsigned)out->key);
    snprintf(r->version, sizeof r->version, "%s", pv_version_text(c->version));
    switch (out->action) {
    case PV_DO_COMMAND:
        begin(&w, r, "FolderSync", key);
        folder_sync(&w);
        err = pv_wbxml_finish(&w, &r->len);
        break;
    case PV_DO_INFORM:
        begin(&w, r, "Settings", key);
        settings(&w, c);
        err = pv_wbxml_finish(&w, &r->len);
        break;
    default:
        begin(&w, r, "Provision", out->action == PV_DO_ACK ? out->temp_key : key);
        err = pv_client_body(out, c->version, &info, r->body, sizeof r->body, &r->len);
        break;
    }
    if (err || !write_request(r) || !read_answer(a)) return false;
    fprintf(stderr, "client: %s, key %s: HTTP %u, %zu bytes\n", r->cmd, r->key, a->http, a->len);
    return true;
}

/* What the answer says, as facts for the machine. */
static struct pv_client_in understand(const struct answer *a, struct pv_provision_answer *answer)
{
    struct pv_client_in in = {.http = a->http};
    const struct pv_node *root, *n;
    struct pv_policy policy;
    uint32_t status;

    if (pv_wbxml_decode(&arena, a->body, a->len, &pv_wbxml_limits_small, &root, NULL)) return in;
    for (n = root->child; n && !in.status; n = n->next) /* each code page has a Status of its own */
        if (n->kind == PV_NODE_ELEMENT && pv_tag_name(n->tag) &&
            !strcmp(pv_tag_name(n->tag), "Status") && pv_node_u32(n, &status))
            in.status = status;
    if (root->tag != PV_Provision_Provision || pv_provision_answer_read(root, &arena, answer))
        return in;
    in.provision = answer;
    if (answer->data && !pv_policy_read(answer->data, &arena, &policy, NULL, 0, NULL))
        in.judgement = pv_profile_judge(&profile, &policy, NULL);
    return in;
}

static bool read_profile(const char *path)
{
    char text[8192], message[200] = "cannot be read";
    FILE *f = fopen(path, "r");
    size_t len = f ? fread(text, 1, sizeof text, f) : 0;
    bool good = f && !pv_profile_read(text, len, &profile, message, sizeof message);

    if (f) fclose(f);
    if (!good) fprintf(stderr, "client: %s: %s\n", path, message);
    return good;
}

int main(int argc, char **argv)
{
    static struct request request;
    static struct answer answer;
    struct pv_provision_answer provision;
    struct pv_client client = {0};
    struct pv_client_out out;
    struct pv_client_in in;

    if (argc < 2 || !pv_version_parse(argv[1], strlen(argv[1]), &client.version)) return 2;
    if (argc > 2 && !read_profile(argv[2])) return 2;
    if (pv_arena_create(&arena, 1 << 20)) return 1;
    pv_client_command(&client, &out);
    while (out.action != PV_DO_DONE && out.action != PV_DO_FAIL) {
        if (out.action == PV_DO_WIPE) { /* this device has nothing to lose, and says so */
            pv_client_wiped(&client, 0, &out);
            continue;
        }
        if (!exchange(&client, &out, &request, &answer)) return 1;
        pv_arena_reset(&arena);
        in = understand(&answer, &provision);
        pv_client_answer(&client, &in, &out);
        fprintf(stderr, "client: %s\n", out.why);
    }
    pv_arena_destroy(&arena);
    if (out.failure) fprintf(stderr, "client: gave up: %s\n", pv_failure_text(out.failure));
    return out.failure ? 10 + (int)out.failure : 0;
}
