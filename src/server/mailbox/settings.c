/* Settings (MS-ASCMD 2.2.1.18): what concerns the device and its user; the rest is answered
 * honestly as not done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/lib/base/text.h"
#include "src/server/mailbox/internal.h"

#define STATUS_OK 1
#define STATUS_PROTOCOL_ERROR 2
#define STATUS_UNAVAILABLE 4
#define STATUS_INVALID_ARGUMENTS 5
#define STATUS_DENIED_BY_POLICY 7
#define STATUS_IRM_DISABLED 168

#define PASSWORD_MAX 255     /* characters */
#define ADDRESS_MAX 400      /* bytes: a user's name and a domain */
#define ANSWER_MAX 1024      /* each property at most once, and two addresses */
#define STORE_RETRY_AFTER 10 /* seconds */

/* A request that was understood as a whole. */
struct settings {
    struct call *call;
    struct pv_wbxml_writer writer;
    bool has_info;
    struct pv_device_info info;
    uint8_t answer[ANSWER_MAX];
};

/* One property of the request: adds its answer. false: the whole request is malformed, and only a
 * Status is the answer. */
struct property {
    uint16_t tag;
    bool (*answer)(struct settings *s, const struct pv_node *n);
};

static void put_status(struct settings *s, unsigned status)
{
    pv_wbxml_leaf_u32(&s->writer, PV_Settings_Status, status);
}

/* ---- properties ---- */

static bool answer_device_information(struct settings *s, const struct pv_node *n)
{
    unsigned status;
    switch (pv_device_info_read(n, &s->call->arena, &s->info)) {
    case PV_OK: status = STATUS_OK; break;
    case PV_E_TOOBIG: status = STATUS_INVALID_ARGUMENTS; break;
    case PV_E_NOMEM: status = STATUS_UNAVAILABLE; break;
    default: status = STATUS_PROTOCOL_ERROR; break;
    }
    s->has_info = status == STATUS_OK;
    put_status(s, status);
    return true;
}

static size_t characters(const char *text, size_t len)
{
    size_t count = 0;
    for (size_t at = 0, n; at < len; at += n, count++) {
        uint32_t code;
        n = pv__utf8_next((const uint8_t *)text + at, len - at, &code);
        if (n == 0) n = 1;
    }
    return count;
}

/* The recovery password is never taken: nobody should have to trust this server with it. */
static bool answer_device_password(struct settings *s, const struct pv_node *n)
{
    const struct pv_node *set = pv_node_child(n, PV_Settings_Set);
    const struct pv_node *password = pv_node_child(set, PV_Settings_Password);
    const char *text;
    size_t len;
    if (!pv_node_text(password, &text, &len) || len == 0) return false;
    put_status(s, characters(text, len) > PASSWORD_MAX ? STATUS_INVALID_ARGUMENTS
                                                       : STATUS_DENIED_BY_POLICY);
    return true;
}

/* "" where nobody has told a domain: better no address than a wrong one. */
static void address_of(const struct call *c, char *buf, size_t cap)
{
    const char *domain = gate_config(c->gate)->domain;
    bool whole = strchr(c->user, '@') != NULL;
    if (whole)
        snprintf(buf, cap, "%s", c->user);
    else if (domain && *domain)
        snprintf(buf, cap, "%s@%s", c->user, domain);
    else
        buf[0] = '\0';
}

static void put_addresses(struct settings *s, bool primary)
{
    char address[ADDRESS_MAX];
    address_of(s->call, address, sizeof address);
    pv_wbxml_start(&s->writer, PV_Settings_EmailAddresses);
    if (address[0]) {
        pv_wbxml_leaf(&s->writer, PV_Settings_SMTPAddress, address);
        if (primary) pv_wbxml_leaf(&s->writer, PV_Settings_PrimarySmtpAddress, address);
    }
    pv_wbxml_end(&s->writer);
}

static bool answer_user_information(struct settings *s, const struct pv_node *n)
{
    if (!pv_node_child(n, PV_Settings_Get)) {
        put_status(s, STATUS_PROTOCOL_ERROR);
        return true;
    }
    put_status(s, STATUS_OK);
    pv_wbxml_start(&s->writer, PV_Settings_Get);
    //= MS-ASCMD 2.2.3.4: Accounts since 14.1, before that EmailAddresses directly below Get
    if (s->call->req.version >= PV_V14_1) {
        pv_wbxml_start(&s->writer, PV_Settings_Accounts);
        pv_wbxml_start(&s->writer, PV_Settings_Account);
        put_addresses(s, true);
        pv_wbxml_end(&s->writer);
        pv_wbxml_end(&s->writer);
    } else {
        put_addresses(s, false);
    }
    pv_wbxml_end(&s->writer);
    return true;
}

static bool answer_oof(struct settings *s, const struct pv_node *n)
{
    if (!pv_node_child(n, PV_Settings_Get)) {
        put_status(s, STATUS_PROTOCOL_ERROR);
        return true;
    }
    put_status(s, STATUS_OK);
    pv_wbxml_start(&s->writer, PV_Settings_Get);
    pv_wbxml_leaf_u32(&s->writer, PV_Settings_OofState, 0);
    pv_wbxml_end(&s->writer);
    return true;
}

static bool answer_rights_management(struct settings *s, const struct pv_node *n)
{
    (void)n;
    put_status(s, STATUS_IRM_DISABLED);
    return true;
}

static const struct property properties[] = {
    {PV_Settings_Oof, answer_oof},
    {PV_Settings_DevicePassword, answer_device_password},
    {PV_Settings_DeviceInformation, answer_device_information},
    {PV_Settings_UserInformation, answer_user_information},
    {PV_Settings_RightsManagementInformation, answer_rights_management},
};
#define PROPERTY_COUNT (sizeof properties / sizeof *properties)

/* ---- the request ---- */

static bool answer_property(struct settings *s, const struct pv_node *n, unsigned *seen)
{
    for (size_t i = 0; i < PROPERTY_COUNT; i++) {
        if (properties[i].tag != n->tag) continue;
        if (*seen & 1u << i) return false;
        *seen |= 1u << i;
        pv_wbxml_start(&s->writer, n->tag);
        if (!properties[i].answer(s, n)) return false;
        pv_wbxml_end(&s->writer);
        return true;
    }
    return false;
}

/* In the order of the request. false: malformed. */
static bool answer_all(struct settings *s, const struct pv_node *root, size_t *len_out)
{
    unsigned seen = 0;
    if (!root || root->tag != PV_Settings_Settings) return false;
    pv_wbxml_begin(&s->writer, s->answer, sizeof s->answer);
    pv_wbxml_start(&s->writer, PV_Settings_Settings);
    put_status(s, STATUS_OK);
    for (const struct pv_node *n = root->child; n; n = n->next) {
        if (n->kind != PV_NODE_ELEMENT || !answer_property(s, n, &seen)) return false;
    }
    pv_wbxml_end(&s->writer);
    return seen != 0 && pv_wbxml_finish(&s->writer, len_out) == PV_OK;
}

static void kept(struct call *c, bool durable)
{
    struct settings *s = c->data;
    if (durable)
        call_answer(c, s->answer, s->writer.len);
    else
        call_http(c, 503, STORE_RETRY_AFTER);
}

void settings_serve(struct call *c)
{
    size_t len;
    struct settings *s = calloc(1, sizeof *s);
    if (!s) {
        call_http(c, 503, STORE_RETRY_AFTER);
        return;
    }
    s->call = c;
    c->data = s;
    c->free_data = free;
    if (!answer_all(s, c->body, &len)) {
        call_status(c, STATUS_PROTOCOL_ERROR);
    } else if (s->has_info) {
        gate_keep_device_info(c, &s->info, kept); /* waits by itself, where it must */
    } else {
        call_answer(c, s->answer, len);
    }
}
