#include "src/server/gate/policies/policies.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"

/* Two lists of PV_LIST_MAX entries, their pointers, a document of them and the copy that is
 * hashed. */
#define DRAFT_BYTES (4 * PV_LIST_MAX * (PV_LIST_ITEM_MAX + 32) + 65536)
#define DOCUMENT_BYTES (2 * PV_LIST_MAX * (PV_LIST_ITEM_MAX + 8) + 16384)
#define TEXT_BYTES (PV_LIST_MAX * (PV_LIST_ITEM_MAX + 1) + 1)

/* Only what is set, each value as text, in the order of the table. */
static char *settings_text(const struct pv_policy *policy)
{
    char *value = malloc(TEXT_BYTES), *text = NULL;
    json_t *all = json_object();
    bool ok = value && all;
    for (int s = 0; s < PV_SETTING_COUNT && ok; s++)
        if (policy->set >> s & 1)
            ok = pv_policy_text(policy, (enum pv_setting)s, value, TEXT_BYTES) == PV_OK &&
                 json_object_set_new(all, pv_setting_info((enum pv_setting)s)->name,
                                     json_string(value)) == 0;
    if (ok) text = text_of_json(all, JSON_COMPACT);
    json_decref(all);
    free(value);
    return text;
}

/* The lists go into an arena of just their size: first measured in the scratch, then copied. */
static enum pv_err keep_policy(const struct pv_policy *from, struct pv_arena *scratch,
                               struct pv_arena *arena, struct pv_policy *to)
{
    struct pv_policy measured;
    size_t before = scratch->used;
    enum pv_err err = pv_policy_copy(from, scratch, &measured);
    if (!err) err = pv_arena_create(arena, scratch->used - before + 16);
    if (!err) err = pv_policy_copy(from, arena, to);
    return err;
}

/* ---- what was saved ---- */
static void saved_free(struct saved *s)
{
    if (!s) return;
    pv_arena_destroy(&s->arena);
    free(s->settings_json);
    free(s);
}

static enum gate_result apply_settings(const struct saved_draft *draft, struct pv_policy *policy,
                                       struct pv_arena *arena, char *message, size_t message_cap)
{
    if (draft->base && pv_policy_copy(draft->base, arena, policy) != PV_OK) return GATE_STORE;
    for (size_t i = 0; i < draft->count; i++) {
        const struct gate_setting *s = &draft->settings[i];
        enum pv_err err = pv_policy_set(policy, arena, s->name, s->value, message, message_cap);
        if (err) return err == PV_E_NOMEM ? GATE_STORE : GATE_INVALID;
    }
    return GATE_OK;
}

enum gate_result saved_create(const struct saved_draft *draft, struct saved **out, char *message,
                              size_t message_cap)
{
    struct pv_arena arena = {0}, scratch = {0};
    struct pv_policy policy = {0};
    struct saved *s = calloc(1, sizeof *s);
    enum gate_result result = GATE_STORE;
    if (!s || pv_arena_create(&arena, DRAFT_BYTES) != PV_OK ||
        pv_arena_create(&scratch, DRAFT_BYTES) != PV_OK)
        goto out;
    result = apply_settings(draft, &policy, &arena, message, message_cap);
    if (result != GATE_OK) goto out;

    atomic_init(&s->holders, 1);
    s->id = draft->id;
    s->at = draft->at;
    snprintf(s->name, sizeof s->name, "%s", draft->name);
    snprintf(s->parent, sizeof s->parent, "%s", draft->parent ? draft->parent : "");
    snprintf(s->by, sizeof s->by, "%s", draft->by ? draft->by : "");
    result = GATE_STORE;
    if (keep_policy(&policy, &scratch, &s->arena, &s->policy) == PV_OK &&
        (s->settings_json = settings_text(&policy))) {
        *out = s;
        s = NULL;
        result = GATE_OK;
    }
out:
    saved_free(s);
    pv_arena_destroy(&arena);
    pv_arena_destroy(&scratch);
    return result;
}

enum gate_result saved_load(const struct policy_record *record, struct saved **out, char *message,
                            size_t message_cap)
{
    struct gate_setting settings[PV_SETTING_COUNT];
    struct saved_draft draft = {
        .name = record->name,
        .parent = record->parent,
        .by = record->by,
        .id = record->revision,
        .at = record->at,
        .settings = settings,
    };
    json_t *all, *value;
    enum gate_result result = GATE_INVALID;
    const char *name, *text = record->settings_json;
    if (!json_of_text(text, strlen(text), JSON_REJECT_DUPLICATES, &all)) return GATE_STORE;
    if (!json_is_object(all) || json_object_size(all) > PV_SETTING_COUNT ||
        strlen(record->name) >= POLICY_NAME_MAX) {
        snprintf(message, message_cap, "its settings are no JSON object of known settings");
        json_decref(all);
        return result;
    }
    json_object_foreach(all, name, value) settings[draft.count++] =
        (struct gate_setting){name, json_is_string(value) ? json_string_value(value) : "?"};
    result = saved_create(&draft, out, message, message_cap);
    json_decref(all);
    return result;
}

struct saved *saved_hold(struct saved *s)
{
    atomic_fetch_add_explicit(&s->holders, 1, memory_order_relaxed);
    return s;
}

void saved_release(struct saved *s)
{
    if (s && atomic_fetch_sub_explicit(&s->holders, 1, memory_order_acq_rel) == 1) saved_free(s);
}

/* ---- what it amounts to ---- */
/* As deep as policies inherit, which is bounded. */
static void revision_free(struct revision *r)
{
    if (!r) return;
    revision_release(r->base);
    saved_release(r->own);
    pv_arena_destroy(&r->arena);
    free(r);
}

/* What a device of each version would get; a policy that cannot be sent is refused when it is
 * saved, not when a device asks for it. */
static enum pv_err work_out(struct revision *r, struct pv_arena *scratch, uint8_t *document)
{
    const struct pv_policy *p = &r->policy;
    for (int v = 0; v < PV_VERSION_COUNT; v++) {
        enum pv_version version = (enum pv_version)v;
        struct pv_policy_facts *f = &r->facts[v];
        *f = (struct pv_policy_facts){
            .revision = r->id,
            .allow_non_provisionable = pv_policy_value(p, PV_SET_AllowNonProvisionable) != 0,
            .non_provisionable_until = pv_policy_value(p, PV_SET_AllowNonProvisionableUntil),
            .allow_partial = pv_policy_value(p, PV_SET_AllowPartial) != 0,
            .allow_external = pv_policy_value(p, PV_SET_AllowExternalManagement) != 0,
            .refresh_interval =
                p->set >> PV_SET_RefreshInterval & 1 ? p->value[PV_SET_RefreshInterval] : 0,
            .uncarried = pv_policy_uncarried(p, version, NULL, 0) > 0,
        };
        pv_arena_reset(scratch);
        enum pv_err err = pv_policy_hash(p, version, scratch, f->hash);
        if (err) return err;
        /* The longest answer: with DeviceInformation and a key of ten digits. */
        const struct pv_provision_answer answer = {
            .device_info_status = 1,
            .status = 1,
            .has_policy = true,
            .policy_type = pv_policy_type(version),
            .policy_status = 1,
            .key = "4294967295",
            .policy = p,
        };
        err = pv_provision_answer_write(&answer, version, document, DOCUMENT_BYTES,
                                        &r->answer_size[v]);
        if (err) return err;
    }
    return PV_OK;
}

/* Lists stay where they are. */
static void overlay(const struct pv_policy *own, struct pv_policy *policy)
{
    policy->set |= own->set;
    for (int s = 0; s < PV_SETTING_COUNT; s++)
        if (own->set >> s & 1) policy->value[s] = own->value[s];
    if (own->set >> PV_SET_UnapprovedInROMApplicationList & 1) policy->unapproved = own->unapproved;
    if (own->set >> PV_SET_ApprovedApplicationList & 1) policy->approved = own->approved;
}

static enum gate_result encode(struct revision *r, const struct pv_policy *policy,
                               struct pv_arena *scratch, uint8_t *document, char *message,
                               size_t message_cap)
{
    if (keep_policy(policy, scratch, &r->arena, &r->policy) != PV_OK) return GATE_STORE;
    enum pv_err err = work_out(r, scratch, document);
    if (err == PV_OK) return GATE_OK;
    snprintf(message, message_cap, "the policy cannot be sent to devices: %s", pv_err_text(err));
    return GATE_INVALID;
}

enum gate_result revision_create(struct saved *own, struct revision *base, struct revision **out,
                                 char *message, size_t message_cap)
{
    struct pv_arena scratch = {0};
    struct pv_policy policy = {0};
    struct revision *r = calloc(1, sizeof *r);
    uint8_t *document = malloc(DOCUMENT_BYTES);
    enum gate_result result = GATE_STORE;
    if (r && document && pv_arena_create(&scratch, DRAFT_BYTES) == PV_OK) {
        atomic_init(&r->holders, 1);
        r->own = saved_hold(own);
        r->base = base ? revision_hold(base) : NULL;
        r->name = own->name;
        r->newest = base && base->id > own->id ? base->newest : own;
        r->id = r->newest->id;
        if (base) policy = base->policy;
        overlay(&own->policy, &policy);
        result = pv_policy_check(&policy, message, message_cap) == PV_OK ? GATE_OK : GATE_INVALID;
        if (result == GATE_OK)
            result = encode(r, &policy, &scratch, document, message, message_cap);
    }
    if (result == GATE_OK) {
        *out = r;
        r = NULL;
    }
    revision_free(r);
    free(document);
    pv_arena_destroy(&scratch);
    return result;
}

/* ---- beside what somebody else demands ---- */
static void keep_treatments(const struct pv_policy *plain, struct pv_policy *policy)
{
    for (int s = 0; s < PV_SETTING_COUNT; s++) {
        if (!pv_setting_info((enum pv_setting)s)->treatment || !(plain->set >> s & 1)) continue;
        policy->set |= UINT64_C(1) << s;
        policy->value[s] = s == PV_SET_AllowNonProvisionable ? 0 : plain->value[s];
    }
}

/* As plain, for listings; but no version carries what it demands. */
static void close_it(struct revision *r)
{
    r->closed = true;
    for (int v = 0; v < PV_VERSION_COUNT; v++) {
        struct pv_policy_facts *f = &r->facts[v];
        f->uncarried = true;
        f->allow_partial = false;
        memset(f->hash, 0, PV_HASH_LEN); /* nobody has confirmed it */
    }
}

enum gate_result revision_merge(struct revision *plain, const struct pv_policy *demanded,
                                struct revision **out)
{
    struct pv_arena arena = {0}, scratch = {0};
    struct pv_policy policy = {0};
    struct revision *r = calloc(1, sizeof *r);
    uint8_t *document = malloc(DOCUMENT_BYTES);
    enum gate_result result = GATE_STORE;
    if (r && document && pv_arena_create(&arena, DRAFT_BYTES) == PV_OK &&
        pv_arena_create(&scratch, DRAFT_BYTES) == PV_OK) {
        char why[256];
        enum pv_err err = pv_policy_stricter(&plain->policy, demanded, &arena, &policy);
        bool closed = err == PV_E_RANGE || err == PV_E_TOOBIG;
        atomic_init(&r->holders, 1);
        r->own = saved_hold(plain->own);
        r->base = plain->base ? revision_hold(plain->base) : NULL;
        r->name = plain->name;
        r->newest = plain->newest;
        r->id = plain->id;
        if (closed) policy = plain->policy;
        keep_treatments(&plain->policy, &policy);
        if (closed || err == PV_OK)
            result = encode(r, &policy, &scratch, document, why, sizeof why);
        if (closed) close_it(r);
    }
    if (result == GATE_OK) {
        *out = r;
        r = NULL;
    }
    revision_free(r);
    free(document);
    pv_arena_destroy(&arena);
    pv_arena_destroy(&scratch);
    return result == GATE_OK ? GATE_OK : GATE_STORE;
}

struct revision *revision_hold(struct revision *r)
{
    atomic_fetch_add_explicit(&r->holders, 1, memory_order_relaxed);
    return r;
}

void revision_release(struct revision *r)
{
    if (r && atomic_fetch_sub_explicit(&r->holders, 1, memory_order_acq_rel) == 1) revision_free(r);
}

bool revision_differs(const struct revision *a, const struct revision *b, enum pv_version version)
{
    const struct pv_policy_facts *x = &a->facts[version], *y = &b->facts[version];
    return memcmp(x->hash, y->hash, PV_HASH_LEN) != 0 ||
           x->allow_non_provisionable != y->allow_non_provisionable ||
           x->non_provisionable_until != y->non_provisionable_until ||
           x->allow_partial != y->allow_partial || x->allow_external != y->allow_external ||
           x->refresh_interval != y->refresh_interval || x->uncarried != y->uncarried;
}

const char *revision_source(const struct revision *r, enum pv_setting setting)
{
    for (; r; r = r->base)
        if (r->own->policy.set >> setting & 1) return r->name;
    return NULL;
}
