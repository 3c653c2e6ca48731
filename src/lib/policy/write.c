/* A policy as WBXML, and reading it back. */
#include <string.h>

#include "src/lib/base/bytes.h"
#include "src/lib/base/text.h"
#include "src/lib/policy/settings.h"

enum { WAP_MOST = 2048 };

const char *pv_policy_type(enum pv_version version)
{
    return version < PV_V12_0 ? "MS-WAP-Provisioning-XML" : "MS-EAS-Provisioning-WBXML";
}

static void write_list(const struct pv_policy *policy, enum pv_setting s, struct pv_wbxml_writer *w)
{
    const struct pv_setting_info *info = &pv__settings[s];
    const struct pv_list *list = pv__list(policy, s);

    if (!pv__is_set(policy, s) || list->count == 0) {
        pv_wbxml_leaf(w, info->tag, NULL);
        return;
    }
    pv_wbxml_start(w, info->tag);
    for (size_t i = 0; i < list->count; i++) pv_wbxml_leaf(w, info->item_tag, list->items[i]);
    pv_wbxml_end(w);
}

//= MS-ASPROV 2.2.2.28, 3.2.5.1: every element of the version, in the order of the schema, so that
//= a setting that was set before and is unset now is taken back
void pv_policy_write(const struct pv_policy *policy, enum pv_version version,
                     struct pv_wbxml_writer *w)
{
    if (version < PV_V12_0) {
        char wap[WAP_MOST];
        size_t len;
        enum pv_err err = pv_policy_wap(policy, wap, sizeof wap, &len);
        if (!err)
            pv_wbxml_text(w, wap, len);
        else if (!w->err)
            w->err = err;
        return;
    }
    pv_wbxml_start(w, PV_Provision_EASProvisionDoc);
    for (unsigned i = 0; i < PV_WIRE_SETTING_COUNT; i++) {
        const struct pv_setting_info *info = &pv__settings[i];
        enum pv_setting s = (enum pv_setting)i;
        int64_t value;

        if (version < info->first) continue;
        if (info->kind == PV_SETTING_LIST) {
            write_list(policy, s, w);
            continue;
        }
        value = pv_policy_value(policy, s);
        if (value == info->unset && info->empty_when_unset)
            pv_wbxml_leaf(w, info->tag, NULL);
        else
            pv_wbxml_leaf_int(w, info->tag, value == PV_NO_LIMIT ? info->no_limit : value);
    }
    pv_wbxml_end(w);
}

void pv__odd(struct pv__reading *r, const char *what, const char *value, size_t len,
             const char *why)
{
    char shown[40];
    struct pv__out o;

    if (r->count++ >= r->cap) return;
    pv__out_init(&o, r->oddities[r->count - 1].text, sizeof r->oddities->text);
    pv__out_text(&o, what);
    if (value) {
        pv__escape(value, len, shown, sizeof shown);
        pv__out_text(&o, ": \"");
        pv__out_text(&o, shown);
        pv__out_text(&o, "\"");
    }
    pv__out_text(&o, why);
    (void)!pv__out_end(&o, NULL);
}

void pv__read_number(struct pv__reading *r, enum pv_setting s, const char *text, size_t len)
{
    int64_t value;
    enum pv_err err = pv__setting_parse(&pv__settings[s], text, len, &value);

    if (err) {
        pv__odd(r, pv__settings[s].name, text, len,
                err == PV_E_RANGE ? " is out of range, not read" : " is no number, not read");
        return;
    }
    r->policy->value[s] = value;
    r->policy->set |= UINT64_C(1) << s;
}

static void unset(struct pv_policy *policy, enum pv_setting s)
{
    policy->set &= ~(UINT64_C(1) << s);
    policy->value[s] = 0;
    if (pv__settings[s].kind == PV_SETTING_LIST) pv__list_put(policy, s, (struct pv_list){0});
}

/* By its local name: some servers (Tencent Exmail) put an element on a wrong page. */
static bool is_named(const struct pv_node *node, uint16_t tag)
{
    const char *name;

    if (node->kind != PV_NODE_ELEMENT) return false;
    if (node->tag == tag) return true;
    name = pv_tag_name(node->tag);
    return name && !strcmp(name, pv_tag_name(tag));
}

static bool setting_of(const struct pv_node *node, enum pv_setting *out)
{
    for (unsigned i = 0; i < PV_WIRE_SETTING_COUNT; i++)
        if (is_named(node, pv__settings[i].tag)) {
            *out = (enum pv_setting)i;
            return true;
        }
    return false;
}

static enum pv_err read_list(struct pv__reading *r, enum pv_setting s, const struct pv_node *node)
{
    const struct pv_setting_info *info = &pv__settings[s];
    struct pv__list_maker m;
    struct pv_list list;

    PV_TRY(pv__list_begin(&m, r->arena, pv_node_count(node, 0)));
    for (const struct pv_node *n = node->child; n; n = n->next) {
        const char *text;
        size_t len;
        enum pv_err err = PV_E_MALFORMED;

        if (n->kind != PV_NODE_ELEMENT) continue;
        if (is_named(n, info->item_tag) && pv_node_text(n, &text, &len))
            err = pv__list_add(&m, text, len);
        if (err == PV_E_MALFORMED)
            pv__odd(r, info->name, NULL, 0, ": an entry could not be read");
        else if (err)
            return err;
    }
    list = pv__list_end(&m);
    if (list.count == 0) return PV_OK;
    pv__list_put(r->policy, s, list);
    r->policy->set |= UINT64_C(1) << s;
    return PV_OK;
}

static enum pv_err read_element(struct pv__reading *r, const struct pv_node *node)
{
    enum pv_setting s;
    const char *text;
    size_t len;

    if (!setting_of(node, &s)) {
        const char *name = pv_tag_name(node->tag);
        pv__odd(r, name ? name : "an unknown element", NULL, 0, " is no setting, not read");
        return PV_OK;
    }
    unset(r->policy, s); /* the last one of a repeated element counts */
    if (!node->child) return PV_OK;
    if (pv__settings[s].kind == PV_SETTING_LIST) return read_list(r, s, node);
    if (!pv_node_text(node, &text, &len)) {
        pv__odd(r, pv__settings[s].name, NULL, 0, " holds elements, not read");
        return PV_OK;
    }
    pv__trim(&text, &len);
    if (len) pv__read_number(r, s, text, len);
    return PV_OK;
}

static enum pv_err read_data(struct pv__reading *r, const struct pv_node *data)
{
    const struct pv_node *doc = data ? data->child : NULL;
    const char *text;
    size_t len;

    while (doc && !is_named(doc, PV_Provision_EASProvisionDoc)) doc = doc->next;
    if (doc) {
        for (const struct pv_node *n = doc->child; n; n = n->next)
            if (n->kind == PV_NODE_ELEMENT) PV_TRY(read_element(r, n));
        return PV_OK;
    }
    if (!pv_node_text(data, &text, &len)) return PV_E_MALFORMED;
    return pv__wap_read(r, text, len);
}

enum pv_err pv_policy_read(const struct pv_node *data, struct pv_arena *arena,
                           struct pv_policy *policy_out, struct pv_policy_oddity *oddities,
                           size_t oddity_cap, size_t *oddity_count_out)
{
    struct pv_policy policy = {0};
    struct pv__reading r = {
        .policy = &policy, .arena = arena, .oddities = oddities, .cap = oddity_cap};

    PV_TRY(read_data(&r, data));
    *policy_out = policy;
    if (oddity_count_out) *oddity_count_out = r.count;
    return PV_OK;
}
