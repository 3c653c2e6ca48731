/* Changes into statements: with pg_rows.c the only place that knows the order of columns. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/server/store/pg.h"
#include "src/server/store/pg_batch.h"
#include "src/server/store/words.h"

#define COUNT(names) (sizeof(names) / sizeof *(names))

/* ---- one statement ---- */
static bool run(struct pg_apply *a, enum pg_statement which, const struct pg_args *args,
                enum pg_expect expect)
{
    return pg_send(a->link, which, args) && a->sent(a->ctx, expect);
}

/* With texts only; NULL ends them early. */
static bool run_texts(struct pg_apply *a, enum pg_statement which, const char *first,
                      const char *second, const char *third, enum pg_expect expect)
{
    struct pg_args args = {0};
    pg_text(&args, first);
    if (second) pg_text(&args, second);
    if (third) pg_text(&args, third);
    return run(a, which, &args, expect);
}

static bool run_number(struct pg_apply *a, enum pg_statement which, uint64_t n,
                       enum pg_expect expect)
{
    struct pg_args args = {0};
    pg_int(&args, (int64_t)n);
    return run(a, which, &args, expect);
}

/* ---- a device ---- */
/* "0:4000000000:1690000000:100:a0a0... 1:..." */
#define OFFERS_CAP (PV_OFFER_MAX * (2 + 11 + 21 + 21 + HASH_TEXT_LEN + 2))

static void offers_text(const struct pv_offer offers[PV_OFFER_MAX], char out[OFFERS_CAP])
{
    char hash[HASH_TEXT_LEN + 1];
    size_t n = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < PV_OFFER_MAX; i++) {
        const struct pv_offer *o = &offers[i];
        if (!o->key) continue;
        hash_text(o->hash, hash);
        n +=
            (size_t)snprintf(out + n, OFFERS_CAP - n, "%s%u:%" PRIu32 ":%" PRId64 ":%" PRIu64 ":%s",
                             n ? " " : "", i, o->key, o->at, o->revision, hash);
    }
}

static void bind_word(struct pg_args *a, enum store_words which, unsigned number)
{
    const char *word = store_word(which, number);
    if (word)
        pg_text(a, word);
    else
        pg_null(a); /* nobody could read it: the table refuses that */
}

static bool put_device(struct pg_apply *a, const struct device_record *r)
{
    const struct pv_partnership *p = &r->partnership;
    char hash[HASH_TEXT_LEN + 1], offers[OFFERS_CAP];
    struct pg_args b = {0};
    hash_text(p->key_hash, hash);
    offers_text(p->offers, offers);
    pg_text(&b, r->user);
    pg_text(&b, r->device_id);
    pg_text(&b, r->device_type);
    pg_text(&b, r->user_agent);
    pg_text(&b, r->model);
    pg_text(&b, r->os);
    pg_text(&b, pv_version_text(r->version));
    bind_word(&b, WORDS_STATE, r->state);
    pg_int(&b, r->first_seen);
    pg_int(&b, r->last_seen);
    pg_int(&b, r->loop_until);
    pg_int(&b, p->key);
    pg_int(&b, p->key_at);
    pg_int(&b, (int64_t)p->key_revision);
    pg_text(&b, hash);
    pg_int(&b, p->acked_offer);
    pg_int(&b, p->acked_status);
    bind_word(&b, WORDS_OUTCOME, p->outcome);
    pg_int(&b, (int64_t)p->outcome_revision);
    pg_int(&b, p->said);
    pg_int(&b, p->provisioned_once);
    pg_int(&b, p->asked);
    bind_word(&b, WORDS_PERSONAL, p->personal);
    bind_word(&b, WORDS_WIPE, p->wipe);
    bind_word(&b, WORDS_WIPE_STATE, p->wipe_state);
    pg_int(&b, (int64_t)p->wipe_id);
    bind_word(&b, WORDS_SHUT, p->shut);
    pg_int(&b, p->wipe_at);
    pg_int(&b, p->wipe_sent_at);
    pg_int(&b, p->wipe_ended_at);
    pg_int(&b, p->wipe_expires_at);
    pg_text(&b, r->wipe_by);
    pg_text(&b, r->wipe_reason);
    pg_text(&b, offers);
    pg_int(&b, (int64_t)r->tag);
    if (!r->was) return run(a, Q_ADD_DEVICE, &b, PG_ONE);
    pg_int(&b, (int64_t)r->was);
    return run(a, Q_CHANGE_DEVICE, &b, PG_ONE);
}

static bool remove_device(struct pg_apply *a, const struct device_record *r)
{
    static const enum pg_statement drops[] = {Q_DROP_INFO, Q_DROP_TRAIL, Q_DROP_FOLDER_STATE,
                                              Q_DROP_BOND};
    struct pg_args b = {0};
    pg_text(&b, r->user);
    pg_text(&b, r->device_id);
    if (r->was) pg_int(&b, (int64_t)r->was);
    if (r->was ? !run(a, Q_DROP_DEVICE, &b, PG_ONE) : !run(a, Q_FIND_DEVICE, &b, PG_NONE))
        return false;
    for (size_t i = 0; i < COUNT(drops); i++)
        if (!run_texts(a, drops[i], r->user, r->device_id, NULL, PG_ANY)) return false;
    return pg_infos_forget(a->infos, r->user, r->device_id);
}

static bool remove_user(struct pg_apply *a, const struct user_record *r)
{
    static const enum pg_statement drops[] = {
        Q_DROP_ACCOUNT,       Q_DROP_DEVICES, Q_DROP_INFOS,      Q_DROP_TRAILS,
        Q_DROP_FOLDER_STATES, Q_DROP_BONDS,   Q_DROP_FOLDER_IDS,
    };
    for (size_t i = 0; i < COUNT(drops); i++)
        if (!run_texts(a, drops[i], r->user, NULL, NULL, PG_ANY)) return false;
    return pg_infos_forget(a->infos, r->user, NULL);
}

/* ---- other rows ---- */
static bool put_info(struct pg_apply *a, const struct info_record *r)
{
    struct pg_args b = {0};
    struct pg_info_change change;
    if (!pg_infos_merge(a->infos, r, &change)) return false;
    if (!change.info) return true; /* nothing is different */
    pg_text(&b, r->user);
    pg_text(&b, r->device_id);
    pg_text(&b, change.info);
    pg_text(&b, change.history);
    pg_text(&b, change.was_info);
    pg_text(&b, change.was_history);
    bool ok = run(a, Q_PUT_INFO, &b, PG_ONE_OR_AGAIN);
    pg_info_change_finish(&change);
    return ok;
}

static bool put_policy(struct pg_apply *a, const struct policy_record *r)
{
    struct pg_args b = {0};
    pg_int(&b, (int64_t)r->revision);
    pg_text(&b, r->name);
    pg_int(&b, r->at);
    pg_text(&b, r->settings_json);
    pg_text(&b, r->parent);
    pg_text(&b, r->by);
    return run(a, Q_ADD_POLICY, &b, PG_ONE);
}

static bool put_user(struct pg_apply *a, const struct user_record *r)
{
    struct pg_args b = {0};
    pg_text(&b, r->user);
    pg_int(&b, r->enabled);
    pg_int(&b, r->no_device_wipe);
    if (!r->checked) return run(a, Q_PUT_ACCOUNT, &b, PG_ANY);
    /* Without a row a user is enabled, and not no_device_wipe. */
    if (r->was_enabled && !r->was_no_device_wipe) return run(a, Q_ADD_ACCOUNT, &b, PG_ONE);
    pg_int(&b, r->was_enabled);
    pg_int(&b, r->was_no_device_wipe);
    return run(a, Q_CHANGE_ACCOUNT, &b, PG_ONE);
}

static bool put_folder_state(struct pg_apply *a, const struct folder_state_record *r)
{
    struct pg_args b = {0};
    pg_text(&b, r->user);
    pg_text(&b, r->device_id);
    pg_int(&b, r->key);
    pg_int(&b, r->previous_key);
    pg_text(&b, r->tree_json);
    pg_text(&b, r->previous_tree_json);
    pg_text(&b, r->ping_json);
    if (!r->checked) return run(a, Q_PUT_FOLDER_STATE, &b, PG_ANY);
    if (!r->was_key) return run(a, Q_ADD_FOLDER_STATE, &b, PG_ONE);
    pg_int(&b, r->was_key);
    return run(a, Q_CHANGE_FOLDER_STATE, &b, PG_ONE);
}

/* A text that is not there counts as "". */
static bool put_folder_ids(struct pg_apply *a, const struct folder_ids_record *r)
{
    if (!r->was_json) return run_texts(a, Q_PUT_FOLDER_IDS, r->user, r->ids_json, NULL, PG_ANY);
    if (!*r->was_json) return run_texts(a, Q_ADD_FOLDER_IDS, r->user, r->ids_json, NULL, PG_ONE);
    return run_texts(a, Q_CHANGE_FOLDER_IDS, r->user, r->ids_json, r->was_json, PG_ONE);
}

static bool put_item(struct pg_apply *a, const struct item_record *r)
{
    struct pg_args b = {0};
    pg_text(&b, r->kind);
    pg_text(&b, r->name);
    pg_text(&b, r->json);
    if (!r->was_json) return run(a, Q_PUT_ITEM, &b, PG_ANY);
    if (!*r->was_json) return run(a, Q_ADD_ITEM, &b, PG_ONE);
    pg_text(&b, r->was_json);
    return run(a, Q_CHANGE_ITEM, &b, PG_ONE);
}

static bool remove_item(struct pg_apply *a, const struct item_record *r)
{
    if (r->was_json && *r->was_json)
        return run_texts(a, Q_DROP_THAT_ITEM, r->kind, r->name, r->was_json, PG_ONE);
    return (!r->was_json || run_texts(a, Q_FIND_ITEM, r->kind, r->name, NULL, PG_NONE)) &&
           run_texts(a, Q_DROP_ITEM, r->kind, r->name, NULL, PG_ANY);
}

static bool seal_audit(struct pg_apply *a, const struct log_record *r)
{
    struct pg_args b = {0};
    pg_int(&b, (int64_t)r->seq);
    pg_text(&b, r->json);
    return run_number(a, Q_DROP_AUDIT_LINE, r->id, PG_ONE) && run(a, Q_ADD_CHAIN, &b, PG_ONE);
}

bool pg_apply_change(struct pg_apply *a, const struct store_change *c)
{
    switch (c->kind) {
    case STORE_PUT_DEVICE: return put_device(a, &c->u.device);
    case STORE_PUT_INFO: return put_info(a, &c->u.info);
    case STORE_PUT_POLICY: return put_policy(a, &c->u.policy);
    case STORE_PUT_USER: return put_user(a, &c->u.user);
    case STORE_PUT_FOLDER_STATE: return put_folder_state(a, &c->u.folder_state);
    case STORE_PUT_FOLDER_IDS: return put_folder_ids(a, &c->u.folder_ids);
    case STORE_PUT_ITEM: return put_item(a, &c->u.item);
    case STORE_PUT_TRAIL:
        return run_texts(a, Q_PUT_TRAIL, c->u.trail.user, c->u.trail.device_id,
                         c->u.trail.trail_json, PG_ANY);
    case STORE_ADD_AUDIT: return run_texts(a, Q_ADD_AUDIT, c->u.log.json, NULL, NULL, PG_ANY);
    case STORE_ADD_EVENT: return run_texts(a, Q_ADD_EVENT, c->u.log.json, NULL, NULL, PG_ANY);
    case STORE_REMOVE_DEVICE: return remove_device(a, &c->u.device);
    case STORE_REMOVE_USER: return remove_user(a, &c->u.user);
    case STORE_REMOVE_ITEM: return remove_item(a, &c->u.item);
    case STORE_REMOVE_AUDIT: return run_number(a, Q_DROP_AUDIT, c->u.log.id, PG_ANY);
    case STORE_REMOVE_EVENT: return run_number(a, Q_DROP_EVENT, c->u.log.id, PG_ANY);
    case STORE_SEAL_AUDIT: return seal_audit(a, &c->u.log);
    case STORE_REMOVE_CHAIN: return run_number(a, Q_DROP_CHAIN, c->u.log.seq, PG_ANY);
    }
    return false;
}
