/* Changes into rows: with sqlite_rows.c the only place that knows the order of columns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/store/info.h"
#include "src/server/store/sqlite.h"
#include "src/server/store/words.h"

#define COUNT(names) (sizeof(names) / sizeof *(names))

/* ---- binding; sticky: the first error stays ---- */
struct bind {
    sqlite3_stmt *q;
    int at, rc;
};

static struct bind bind_start(struct sqlite_store *s, enum sqlite_write w)
{
    return (struct bind){.q = s->writes[w]};
}

static void bind_int(struct bind *b, int64_t v)
{
    int rc = sqlite3_bind_int64(b->q, ++b->at, v);
    if (!b->rc) b->rc = rc;
}

/* The text lives in the submission, which outlives the step. */
static void bind_text(struct bind *b, const char *text)
{
    int rc = text ? sqlite3_bind_text(b->q, ++b->at, text, -1, SQLITE_STATIC) : SQLITE_MISUSE;
    if (!b->rc) b->rc = rc;
}

static void bind_hash(struct bind *b, const uint8_t hash[PV_HASH_LEN])
{
    char hex[HASH_TEXT_LEN + 1];
    hash_text(hash, hex);
    int rc = sqlite3_bind_text(b->q, ++b->at, hex, HASH_TEXT_LEN, SQLITE_TRANSIENT);
    if (!b->rc) b->rc = rc;
}

static int bind_run(struct bind *b)
{
    if (!b->rc && sqlite3_step(b->q) != SQLITE_DONE)
        b->rc = sqlite3_extended_errcode(sqlite3_db_handle(b->q));
    sqlite3_reset(b->q);
    return b->rc;
}

/* One row was to change: if none has, it is not what the change was made of. */
static int bind_run_one(struct bind *b)
{
    int rc = bind_run(b);
    return !rc && sqlite3_changes(sqlite3_db_handle(b->q)) == 0 ? SQLITE_STORE_CONFLICT : rc;
}

int sqlite_run(struct sqlite_store *s, enum sqlite_write w)
{
    struct bind b = bind_start(s, w);
    return bind_run(&b);
}

/* Is the text of the row `was`, "" if there is no row? */
static int expect(struct bind *b, const char *was)
{
    int rc = b->rc ? b->rc : sqlite3_step(b->q);
    const char *text = "";
    if (rc == SQLITE_ROW) {
        text = (const char *)sqlite3_column_text(b->q, 0);
        rc = text ? SQLITE_DONE : SQLITE_NOMEM;
    }
    if (rc == SQLITE_DONE) rc = strcmp(text, was) == 0 ? SQLITE_OK : SQLITE_STORE_CONFLICT;
    sqlite3_reset(b->q);
    return rc;
}

/* Has the row those two numbers? Without a row `otherwise` says whether it is as expected. */
static int expect_numbers(struct bind *b, int64_t first, int64_t second, bool otherwise)
{
    int rc = b->rc ? b->rc : sqlite3_step(b->q);
    bool fits = rc == SQLITE_DONE ? otherwise
                                  : rc == SQLITE_ROW && sqlite3_column_int64(b->q, 0) == first &&
                                        sqlite3_column_int64(b->q, 1) == second;
    if (rc == SQLITE_ROW || rc == SQLITE_DONE) rc = fits ? SQLITE_OK : SQLITE_STORE_CONFLICT;
    sqlite3_reset(b->q);
    return rc;
}

/* ---- changes ---- */
static int run_text(struct sqlite_store *s, enum sqlite_write w, const char *a, const char *b)
{
    struct bind q = bind_start(s, w);
    bind_text(&q, a);
    if (b) bind_text(&q, b);
    return bind_run(&q);
}

static int put_offers(struct sqlite_store *s, const struct device_record *r)
{
    int rc = run_text(s, SQL_DROP_OFFERS, r->user, r->device_id);
    for (size_t i = 0; i < PV_OFFER_MAX && !rc; i++) {
        const struct pv_offer *o = &r->partnership.offers[i];
        if (!o->key) continue;
        struct bind b = bind_start(s, SQL_PUT_OFFER);
        bind_text(&b, r->user);
        bind_text(&b, r->device_id);
        bind_int(&b, (int64_t)i);
        bind_int(&b, o->key);
        bind_int(&b, o->at);
        bind_int(&b, (int64_t)o->revision);
        bind_hash(&b, o->hash);
        rc = bind_run(&b);
    }
    return rc;
}

/* The columns behind the key. */
static void bind_device(struct bind *b, const struct device_record *r)
{
    const struct pv_partnership *p = &r->partnership;
    bind_text(b, r->device_type);
    bind_text(b, r->user_agent);
    bind_text(b, r->model);
    bind_text(b, r->os);
    bind_text(b, pv_version_text(r->version));
    bind_text(b, store_word(WORDS_STATE, r->state));
    bind_int(b, r->first_seen);
    bind_int(b, r->last_seen);
    bind_int(b, r->loop_until);
    bind_int(b, p->key);
    bind_int(b, p->key_at);
    bind_int(b, (int64_t)p->key_revision);
    bind_hash(b, p->key_hash);
    bind_int(b, p->acked_offer);
    bind_int(b, p->acked_status);
    bind_text(b, store_word(WORDS_OUTCOME, p->outcome));
    bind_int(b, (int64_t)p->outcome_revision);
    bind_int(b, p->said);
    bind_int(b, p->provisioned_once);
    bind_int(b, p->asked);
    bind_text(b, store_word(WORDS_PERSONAL, p->personal));
    bind_text(b, store_word(WORDS_WIPE, p->wipe));
    bind_text(b, store_word(WORDS_WIPE_STATE, p->wipe_state));
    bind_int(b, (int64_t)p->wipe_id);
    bind_text(b, store_word(WORDS_SHUT, p->shut));
    bind_int(b, p->wipe_at);
    bind_int(b, p->wipe_sent_at);
    bind_int(b, p->wipe_ended_at);
    bind_int(b, p->wipe_expires_at);
    bind_text(b, r->wipe_by);
    bind_text(b, r->wipe_reason);
    bind_int(b, (int64_t)r->tag);
}

static int add_device(struct sqlite_store *s, const struct device_record *r)
{
    struct bind b = bind_start(s, SQL_ADD_DEVICE);
    bind_text(&b, r->user);
    bind_text(&b, r->device_id);
    bind_device(&b, r);
    return bind_run_one(&b);
}

static int change_device(struct sqlite_store *s, const struct device_record *r)
{
    struct bind b = bind_start(s, SQL_CHANGE_DEVICE);
    bind_device(&b, r);
    bind_text(&b, r->user);
    bind_text(&b, r->device_id);
    bind_int(&b, (int64_t)r->was);
    return bind_run_one(&b);
}

static int put_device(struct sqlite_store *s, const struct device_record *r)
{
    int rc = r->was ? change_device(s, r) : add_device(s, r);
    return rc ? rc : put_offers(s, r);
}

/* Merged here, by the only writer, so that nobody must hold what is rarely looked at in memory. */
static int put_info(struct sqlite_store *s, const struct info_record *r)
{
    struct bind old = bind_start(s, SQL_GET_INFO);
    char *info = NULL, *history = NULL;
    bind_text(&old, r->user);
    bind_text(&old, r->device_id);
    int rc = old.rc ? old.rc : sqlite3_step(old.q);
    bool found = rc == SQLITE_ROW, ok = found || rc == SQLITE_DONE;
    const char *was = found ? (const char *)sqlite3_column_text(old.q, 0) : "";
    const char *past = found ? (const char *)sqlite3_column_text(old.q, 1) : "";
    if (ok)
        rc = was && past && info_apply(was, past, r->info_json, r->at, &info, &history)
                 ? SQLITE_OK
                 : SQLITE_NOMEM;
    sqlite3_reset(old.q);
    if (rc == SQLITE_OK && info) {
        struct bind b = bind_start(s, SQL_PUT_INFO);
        bind_text(&b, r->user);
        bind_text(&b, r->device_id);
        bind_text(&b, info);
        bind_text(&b, history);
        rc = bind_run(&b);
    }
    free(info);
    free(history);
    return rc;
}

static int put_policy(struct sqlite_store *s, const struct policy_record *r)
{
    struct bind b = bind_start(s, SQL_ADD_POLICY);
    bind_int(&b, (int64_t)r->revision);
    bind_text(&b, r->name);
    bind_int(&b, r->at);
    bind_text(&b, r->settings_json);
    bind_text(&b, r->parent);
    bind_text(&b, r->by);
    return bind_run_one(&b);
}

static int put_user(struct sqlite_store *s, const struct user_record *r)
{
    if (r->checked) {
        struct bind was = bind_start(s, SQL_GET_USER);
        bind_text(&was, r->user);
        int rc = expect_numbers(&was, r->was_enabled, r->was_no_device_wipe,
                                r->was_enabled && !r->was_no_device_wipe);
        if (rc) return rc;
    }
    struct bind b = bind_start(s, SQL_PUT_USER);
    bind_text(&b, r->user);
    bind_int(&b, r->enabled);
    bind_int(&b, r->no_device_wipe);
    return bind_run(&b);
}

static int put_folder_state(struct sqlite_store *s, const struct folder_state_record *r)
{
    if (r->checked) {
        struct bind was = bind_start(s, SQL_GET_FOLDER_KEY);
        bind_text(&was, r->user);
        bind_text(&was, r->device_id);
        int rc = expect_numbers(&was, r->was_key, 0, r->was_key == 0);
        if (rc) return rc;
    }
    struct bind b = bind_start(s, SQL_PUT_FOLDER_STATE);
    bind_text(&b, r->user);
    bind_text(&b, r->device_id);
    bind_int(&b, r->key);
    bind_int(&b, r->previous_key);
    bind_text(&b, r->tree_json);
    bind_text(&b, r->previous_tree_json);
    bind_text(&b, r->ping_json);
    return bind_run(&b);
}

static int put_folder_ids(struct sqlite_store *s, const struct folder_ids_record *r)
{
    if (r->was_json) {
        struct bind b = bind_start(s, SQL_GET_FOLDER_IDS);
        bind_text(&b, r->user);
        int rc = expect(&b, r->was_json);
        if (rc) return rc;
    }
    return run_text(s, SQL_PUT_FOLDER_IDS, r->user, r->ids_json);
}

static int expect_item(struct sqlite_store *s, const struct item_record *r)
{
    if (!r->was_json) return SQLITE_OK;
    struct bind b = bind_start(s, SQL_GET_ITEM);
    bind_text(&b, r->kind);
    bind_text(&b, r->name);
    return expect(&b, r->was_json);
}

static int put_item(struct sqlite_store *s, const struct item_record *r)
{
    int rc = expect_item(s, r);
    if (rc) return rc;
    struct bind b = bind_start(s, SQL_PUT_ITEM);
    bind_text(&b, r->kind);
    bind_text(&b, r->name);
    bind_text(&b, r->json);
    return bind_run(&b);
}

static int put_trail(struct sqlite_store *s, const struct trail_record *r)
{
    struct bind b = bind_start(s, SQL_PUT_TRAIL);
    bind_text(&b, r->user);
    bind_text(&b, r->device_id);
    bind_text(&b, r->trail_json);
    return bind_run(&b);
}

static int drop_log(struct sqlite_store *s, enum sqlite_write w, uint64_t id)
{
    struct bind b = bind_start(s, w);
    bind_int(&b, (int64_t)id);
    return bind_run(&b);
}

static int remove_item(struct sqlite_store *s, const struct item_record *r)
{
    int rc = expect_item(s, r);
    return rc ? rc : run_text(s, SQL_DROP_ITEM, r->kind, r->name);
}

static int seal_audit(struct sqlite_store *s, const struct log_record *r)
{
    struct bind line = bind_start(s, SQL_DROP_AUDIT_LINE), chain = bind_start(s, SQL_ADD_CHAIN);
    bind_int(&line, (int64_t)r->id);
    int rc = bind_run_one(&line);
    if (rc) return rc;
    bind_int(&chain, (int64_t)r->seq);
    bind_text(&chain, r->json);
    return bind_run_one(&chain);
}

/* device_id NULL: all of the user. */
static int drop_all(struct sqlite_store *s, const enum sqlite_write *drops, size_t count,
                    const char *user, const char *device_id)
{
    int rc = SQLITE_OK;
    for (size_t i = 0; i < count && !rc; i++) rc = run_text(s, drops[i], user, device_id);
    return rc;
}

static int remove_device(struct sqlite_store *s, const struct device_record *r)
{
    static const enum sqlite_write drops[] = {SQL_DROP_OFFERS, SQL_DROP_INFO, SQL_DROP_TRAIL,
                                              SQL_DROP_FOLDER_STATE, SQL_DROP_BOND};
    struct bind b = bind_start(s, r->was ? SQL_DROP_DEVICE : SQL_GET_DEVICE_ID);
    bind_text(&b, r->user);
    bind_text(&b, r->device_id);
    if (r->was) bind_int(&b, (int64_t)r->was);
    int rc = r->was ? bind_run_one(&b) : expect(&b, "");
    return rc ? rc : drop_all(s, drops, COUNT(drops), r->user, r->device_id);
}

static int remove_user(struct sqlite_store *s, const struct user_record *r)
{
    static const enum sqlite_write drops[] = {SQL_DROP_USER,
                                              SQL_DROP_USER_OFFERS,
                                              SQL_DROP_USER_DEVICES,
                                              SQL_DROP_USER_INFO,
                                              SQL_DROP_USER_TRAILS,
                                              SQL_DROP_USER_FOLDER_STATES,
                                              SQL_DROP_USER_FOLDER_IDS,
                                              SQL_DROP_USER_BONDS};
    return drop_all(s, drops, COUNT(drops), r->user, NULL);
}

int sqlite_apply(struct sqlite_store *s, const struct store_change *c)
{
    switch (c->kind) {
    case STORE_PUT_DEVICE: return put_device(s, &c->u.device);
    case STORE_PUT_INFO: return put_info(s, &c->u.info);
    case STORE_PUT_POLICY: return put_policy(s, &c->u.policy);
    case STORE_PUT_USER: return put_user(s, &c->u.user);
    case STORE_PUT_FOLDER_STATE: return put_folder_state(s, &c->u.folder_state);
    case STORE_PUT_FOLDER_IDS: return put_folder_ids(s, &c->u.folder_ids);
    case STORE_PUT_ITEM: return put_item(s, &c->u.item);
    case STORE_PUT_TRAIL: return put_trail(s, &c->u.trail);
    case STORE_ADD_AUDIT: return run_text(s, SQL_ADD_AUDIT, c->u.log.json, NULL);
    case STORE_ADD_EVENT: return run_text(s, SQL_ADD_EVENT, c->u.log.json, NULL);
    case STORE_REMOVE_DEVICE: return remove_device(s, &c->u.device);
    case STORE_REMOVE_USER: return remove_user(s, &c->u.user);
    case STORE_REMOVE_ITEM: return remove_item(s, &c->u.item);
    case STORE_REMOVE_AUDIT: return drop_log(s, SQL_DROP_AUDIT, c->u.log.id);
    case STORE_REMOVE_EVENT: return drop_log(s, SQL_DROP_EVENT, c->u.log.id);
    case STORE_SEAL_AUDIT: return seal_audit(s, &c->u.log);
    case STORE_REMOVE_CHAIN: return drop_log(s, SQL_DROP_CHAIN, c->u.log.seq);
    }
    return SQLITE_MISUSE;
}
