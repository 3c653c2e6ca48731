/* Provision requests and answers (MS-ASPROV 2.2.2). */
#include <provost/provision.h>

#include <string.h>

#include "src/lib/base/bytes.h"

/* ---- requests, as the server reads them -------------------------------------------------- */

static enum pv_err bad(struct pv_ask *out, const char *why)
{
    out->kind = PV_ASK_BAD;
    out->why = why;
    return PV_OK;
}

static enum pv_err read_policy(const struct pv_node *policy, enum pv_version version,
                               struct pv_arena *arena, struct pv_ask *out)
{
    const struct pv_node *type = pv_node_child(policy, PV_Provision_PolicyType);
    const struct pv_node *key = pv_node_child(policy, PV_Provision_PolicyKey);
    const struct pv_node *status = pv_node_child(policy, PV_Provision_Status);
    const char *text;
    size_t len;
    uint32_t number;

    if (!pv_node_text(type, &text, &len) || len == 0)
        return bad(out, "the Policy has no PolicyType");
    out->policy_type = pv_strndup(arena, text, len);
    if (!out->policy_type) return PV_E_NOMEM;
    out->type_fits = pv_node_text_is(type, pv_policy_type(version));
    if (!key && !status) {
        out->kind = PV_ASK_POLICY;
        return PV_OK;
    }
    if (!pv_node_text(key, &text, &len)) return bad(out, "the acknowledgement has no PolicyKey");
    out->key = pv_key_parse(text, len);
    if (!pv_node_u32(status, &number) || number < 1 || number > 4)
        return bad(out, "the acknowledgement has no Status from 1 to 4");
    out->status = number;
    out->kind = PV_ASK_ACK;
    return PV_OK;
}

static enum pv_err read_policies(const struct pv_node *root, enum pv_version version,
                                 struct pv_arena *arena, struct pv_ask *out)
{
    const struct pv_node *policies = pv_node_child(root, PV_Provision_Policies);

    if (pv_node_count(root, PV_Provision_Policies) != 1 ||
        pv_node_count(policies, PV_Provision_Policy) != 1)
        return bad(out, "the request holds more than one Policy, or none");
    return read_policy(pv_node_child(policies, PV_Provision_Policy), version, arena, out);
}

/* Only the Status inside the element counts; some clients put another one beside it. */
static enum pv_err read_wipe(const struct pv_node *wipe, enum pv_wipe_kind kind, struct pv_ask *out)
{
    uint32_t number;

    if (!pv_node_u32(pv_node_child(wipe, PV_Provision_Status), &number) || number < 1 || number > 2)
        return bad(out, "the wipe acknowledgement has no Status from 1 to 2");
    out->kind = PV_ASK_WIPE_ACK;
    out->wipe = kind;
    out->status = number;
    return PV_OK;
}

static bool known_child(const struct pv_node *child)
{
    switch (child->tag) {
    case PV_Settings_DeviceInformation:
    case PV_Provision_Policies:
    case PV_Provision_RemoteWipe:
    case PV_Provision_AccountOnlyRemoteWipe:
    case PV_Provision_Status: return true;
    default: return false;
    }
}

static enum pv_err read_device_information(const struct pv_node *root, struct pv_arena *arena,
                                           struct pv_ask *out)
{
    const struct pv_node *info = pv_node_child(root, PV_Settings_DeviceInformation);
    enum pv_err err;

    if (!info) return PV_OK;
    err = pv_device_info_read(info, arena, &out->device_info);
    if (err == PV_E_NOMEM) return err;
    if (err) return bad(out, "the DeviceInformation is malformed or too long");
    out->has_device_info = true;
    return PV_OK;
}

enum pv_err pv_ask_read(const struct pv_node *root, enum pv_version version, struct pv_arena *arena,
                        struct pv_ask *out)
{
    const struct pv_node *whole = pv_node_child(root, PV_Provision_RemoteWipe);
    const struct pv_node *account = pv_node_child(root, PV_Provision_AccountOnlyRemoteWipe);

    *out = (struct pv_ask){.kind = PV_ASK_POLL, .policy_type = "", .why = ""};
    if (!root || root->tag != PV_Provision_Provision)
        return bad(out, "the root element is not Provision");
    for (const struct pv_node *child = root->child; child; child = child->next)
        if (child->kind == PV_NODE_ELEMENT && !known_child(child))
            return bad(out, "an element stands where it does not belong");
    PV_TRY(read_device_information(root, arena, out));
    if (out->kind == PV_ASK_BAD) return PV_OK;
    if (whole && account) return bad(out, "the request acknowledges two kinds of wipe");
    if (whole) return read_wipe(whole, PV_WIPE_DEVICE, out);
    if (account) return read_wipe(account, PV_WIPE_ACCOUNT, out);
    if (pv_node_child(root, PV_Provision_Policies)) return read_policies(root, version, arena, out);
    if (pv_node_child(root, PV_Provision_Status))
        return bad(out, "there is a Status that belongs to nothing");
    return PV_OK;
}

/* ---- answers ----------------------------------------------------------------------------- */

static void write_policy(const struct pv_provision_answer *answer, enum pv_version version,
                         struct pv_wbxml_writer *w)
{
    pv_wbxml_start(w, PV_Provision_Policies);
    pv_wbxml_start(w, PV_Provision_Policy);
    pv_wbxml_leaf(w, PV_Provision_PolicyType, answer->policy_type);
    pv_wbxml_leaf_u32(w, PV_Provision_Status, answer->policy_status);
    if (answer->key[0]) pv_wbxml_leaf(w, PV_Provision_PolicyKey, answer->key);
    if (answer->policy) {
        pv_wbxml_start(w, PV_Provision_Data);
        pv_policy_write(answer->policy, version, w);
        pv_wbxml_end(w);
    }
    pv_wbxml_end(w);
    pv_wbxml_end(w);
}

//= MS-ASPROV 2.2.2: the order is that of the schema; a client picks the parser of Data by the
//= PolicyType that it has read before.
enum pv_err pv_provision_answer_write(const struct pv_provision_answer *answer,
                                      enum pv_version version, uint8_t *buf, size_t cap,
                                      size_t *len_out)
{
    struct pv_wbxml_writer w;

    pv_wbxml_begin(&w, buf, cap);
    pv_wbxml_start(&w, PV_Provision_Provision);
    if (answer->device_info_status) {
        pv_wbxml_start(&w, PV_Settings_DeviceInformation);
        pv_wbxml_leaf_u32(&w, PV_Settings_Status, answer->device_info_status);
        pv_wbxml_end(&w);
    }
    if (answer->status) pv_wbxml_leaf_u32(&w, PV_Provision_Status, answer->status);
    if (answer->has_policy) write_policy(answer, version, &w);
    if (answer->wipe == PV_WIPE_DEVICE) pv_wbxml_leaf(&w, PV_Provision_RemoteWipe, NULL);
    if (answer->wipe == PV_WIPE_ACCOUNT)
        pv_wbxml_leaf(&w, PV_Provision_AccountOnlyRemoteWipe, NULL);
    pv_wbxml_end(&w);
    return pv_wbxml_finish(&w, len_out);
}

/* Child by tag, else by the local name: servers have been seen that put known names on another
 * code page. */
static const struct pv_node *find(const struct pv_node *node, uint16_t tag)
{
    const struct pv_node *child = pv_node_child(node, tag);

    if (child || !node) return child;
    for (child = node->child; child; child = child->next) {
        const char *name = child->kind == PV_NODE_ELEMENT ? pv_tag_name(child->tag) : NULL;

        if (name && strcmp(name, pv_tag_name(tag)) == 0) return child;
    }
    return NULL;
}

static unsigned find_status(const struct pv_node *node, uint16_t tag)
{
    uint32_t number;

    return pv_node_u32(find(node, tag), &number) ? number : 0;
}

static enum pv_err read_answer_policy(const struct pv_node *policy, struct pv_arena *arena,
                                      struct pv_provision_answer *out)
{
    const char *text;
    size_t len;

    out->has_policy = true;
    out->policy_status = find_status(policy, PV_Provision_Status);
    out->data = find(policy, PV_Provision_Data);
    if (pv_node_text(find(policy, PV_Provision_PolicyType), &text, &len)) {
        out->policy_type = pv_strndup(arena, text, len);
        if (!out->policy_type) return PV_E_NOMEM;
    }
    if (!pv_node_text(find(policy, PV_Provision_PolicyKey), &text, &len) || len == 0) return PV_OK;
    //= MS-ASPROV 2.2.2.42: at most 64 characters.
    if (len >= sizeof out->key || memchr(text, '\0', len)) return PV_E_MALFORMED;
    memcpy(out->key, text, len);
    return PV_OK;
}

enum pv_err pv_provision_answer_read(const struct pv_node *root, struct pv_arena *arena,
                                     struct pv_provision_answer *out)
{
    const struct pv_node *policy;
    const char *name = root ? pv_tag_name(root->tag) : NULL;

    *out = (struct pv_provision_answer){.policy_type = ""};
    if (!name || strcmp(name, "Provision") != 0) return PV_E_MALFORMED;
    out->status = find_status(root, PV_Provision_Status);
    out->device_info_status =
        find_status(find(root, PV_Settings_DeviceInformation), PV_Settings_Status);
    /* One directive at a time; of two the smaller harm. */
    if (find(root, PV_Provision_AccountOnlyRemoteWipe))
        out->wipe = PV_WIPE_ACCOUNT;
    else if (find(root, PV_Provision_RemoteWipe))
        out->wipe = PV_WIPE_DEVICE;
    policy = find(find(root, PV_Provision_Policies), PV_Provision_Policy);
    return policy ? read_answer_policy(policy, arena, out) : PV_OK;
}

/* ---- what a client sends ----------------------------------------------------------------- */

//= MS-ASPROV 2.2.2.42: PolicyKey stands before Status
static void ask_policy(const struct pv_client_out *out, enum pv_version version,
                       struct pv_wbxml_writer *w)
{
    pv_wbxml_start(w, PV_Provision_Policies);
    pv_wbxml_start(w, PV_Provision_Policy);
    pv_wbxml_leaf(w, PV_Provision_PolicyType, pv_policy_type(version));
    if (out->action == PV_DO_ACK) {
        pv_wbxml_leaf(w, PV_Provision_PolicyKey, out->temp_key);
        pv_wbxml_leaf_u32(w, PV_Provision_Status, out->ack_status);
    }
    pv_wbxml_end(w);
    pv_wbxml_end(w);
}

enum pv_err pv_client_body(const struct pv_client_out *out, enum pv_version version,
                           const struct pv_device_info *info, uint8_t *buf, size_t cap,
                           size_t *len_out)
{
    struct pv_wbxml_writer w;

    pv_wbxml_begin(&w, buf, cap);
    if (out->action == PV_DO_POLL) {
        pv_wbxml_leaf(&w, PV_Provision_Provision, NULL);
        return pv_wbxml_finish(&w, len_out);
    }
    pv_wbxml_start(&w, PV_Provision_Provision);
    switch (out->action) {
    case PV_DO_ASK:
        if (out->device_info && info) pv_device_info_write(info, version, &w);
        ask_policy(out, version, &w);
        break;
    case PV_DO_ACK: ask_policy(out, version, &w); break;
    case PV_DO_WIPE_ACK:
        pv_wbxml_start(&w, out->wipe == PV_WIPE_ACCOUNT ? PV_Provision_AccountOnlyRemoteWipe
                                                        : PV_Provision_RemoteWipe);
        pv_wbxml_leaf_u32(&w, PV_Provision_Status, out->ack_status);
        pv_wbxml_end(&w);
        break;
    default: return PV_E_USAGE;
    }
    pv_wbxml_end(&w);
    return pv_wbxml_finish(&w, len_out);
}
