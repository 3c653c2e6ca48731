#include "src/server/gate/policies.h"

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

static void revision_free(struct revision *r)
{
    if (!r) return;
    pv_arena_destroy(&r->arena);
    free(r->settings_json);
    free(r);
}

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

/* The lists go into an arena of just their size: first measured in the scratch, then copied. */
static enum pv_err keep_policy(struct revision *r, const struct pv_policy *from,
                               struct pv_arena *scratch)
{
    struct pv_policy measured;
    size_t before = scratch->used;
    enum pv_err err = pv_policy_copy(from, scratch, &measured);
    if (!err) err = pv_arena_create(&r->arena, scratch->used - before + 16);
    if (!err) err = pv_policy_copy(from, &r->arena, &r->policy);
    return err;
}

static enum gate_result apply_settings(const struct revision_draft *draft, struct pv_policy *policy,
                                       struct pv_arena *arena, char *message, size_t message_cap)
{
    if (draft->base && pv_policy_copy(draft->base, arena, policy) != PV_OK) return GATE_STORE;
    for (size_t i = 0; i < draft->count; i++) {
        const struct gate_setting *s = &draft->settings[i];
        enum pv_err err = pv_policy_set(policy, arena, s->name, s->value, message, message_cap);
        if (err) return err == PV_E_NOMEM ? GATE_STORE : GATE_INVALID;
    }
    return pv_policy_check(policy, message, message_cap) == PV_OK ? GATE_OK : GATE_INVALID;
}

enum gate_result revision_create(const struct revision_draft *draft, struct revision **out,
                                 char *message, size_t message_cap)
{
    struct pv_arena draft_arena = {0}, scratch = {0};
    struct pv_policy policy = {0};
    struct revision *r = calloc(1, sizeof *r);
    uint8_t *document = malloc(DOCUMENT_BYTES);
    enum gate_result result = GATE_STORE;
    if (!r || !document || pv_arena_create(&draft_arena, DRAFT_BYTES) != PV_OK ||
        pv_arena_create(&scratch, DRAFT_BYTES) != PV_OK)
        goto out;
    result = apply_settings(draft, &policy, &draft_arena, message, message_cap);
    if (result != GATE_OK) goto out;

    atomic_init(&r->holders, 1);
    r->id = draft->id;
    r->at = draft->at;
    snprintf(r->name, sizeof r->name, "%s", draft->name);
    result = GATE_STORE;
    if (keep_policy(r, &policy, &scratch) != PV_OK || !(r->settings_json = settings_text(&policy)))
        goto out;
    enum pv_err err = work_out(r, &scratch, document);
    if (err == PV_OK) {
        *out = r;
        r = NULL;
        result = GATE_OK;
    } else {
        snprintf(message, message_cap, "the policy cannot be sent to devices: %s",
                 pv_err_text(err));
        result = GATE_INVALID;
    }
out:
    revision_free(r);
    free(document);
    pv_arena_destroy(&draft_arena);
    pv_arena_destroy(&scratch);
    return result;
}

enum gate_result revision_load(const struct policy_record *record, struct revision **out,
                               char *message, size_t message_cap)
{
    struct gate_setting settings[PV_SETTING_COUNT];
    struct revision_draft draft = {
        .name = record->name, .id = record->revision, .at = record->at, .settings = settings};
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
    result = revision_create(&draft, out, message, message_cap);
    json_decref(all);
    return result;
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

/* ---- books ---- */
struct book *book_with(const struct book *old, struct revision *r)
{
    size_t count = old ? old->count : 0;
    struct book *b = malloc(sizeof *b + (count + 1) * sizeof(struct revision *));
    if (!b) return NULL;
    atomic_init(&b->holders, 1);
    b->count = 0;
    bool placed = false;
    for (size_t i = 0; i < count; i++) {
        int order = strcmp(old->current[i]->name, r->name);
        if (order >= 0 && !placed) {
            b->current[b->count++] = revision_hold(r);
            placed = true;
        }
        if (order != 0) b->current[b->count++] = revision_hold(old->current[i]);
    }
    if (!placed) b->current[b->count++] = revision_hold(r);
    return b;
}

struct revision *book_find(const struct book *b, const char *name)
{
    for (size_t i = 0; i < b->count; i++)
        if (strcmp(b->current[i]->name, name) == 0) return b->current[i];
    return NULL;
}

struct book *book_hold(struct book *b)
{
    atomic_fetch_add_explicit(&b->holders, 1, memory_order_relaxed);
    return b;
}

void book_release(struct book *b)
{
    if (!b || atomic_fetch_sub_explicit(&b->holders, 1, memory_order_acq_rel) != 1) return;
    for (size_t i = 0; i < b->count; i++) revision_release(b->current[i]);
    free(b);
}

struct revision *policy_for(const struct book *b, const char *user, const char *device_id)
{
    (void)user, (void)device_id; /* assignments come before this one */
    return book_find(b, POLICY_DEFAULT);
}
