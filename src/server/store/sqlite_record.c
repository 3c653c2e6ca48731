/* Rows and records: the only place that knows the order of columns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/store/sqlite.h"

static const char *const access_names[] = {
    [PV_ACCESS_OK] = "ok",
    [PV_ACCESS_QUARANTINED] = "quarantined",
    [PV_ACCESS_BLOCKED] = "blocked",
};
static const char *const wipe_names[] = {
    [PV_WIPE_NONE] = "none",
    [PV_WIPE_ACCOUNT] = "account",
    [PV_WIPE_DEVICE] = "device",
};
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

static void bind_name(struct bind *b, const char *const *names, size_t count, size_t v)
{
    bind_text(b, v < count ? names[v] : NULL);
}

static void bind_hash(struct bind *b, const uint8_t hash[PV_HASH_LEN])
{
    char hex[2 * PV_HASH_LEN + 1];
    for (size_t i = 0; i < PV_HASH_LEN; i++) snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    int rc = sqlite3_bind_text(b->q, ++b->at, hex, 2 * PV_HASH_LEN, SQLITE_TRANSIENT);
    if (!b->rc) b->rc = rc;
}

static int bind_run(struct bind *b)
{
    if (!b->rc && sqlite3_step(b->q) != SQLITE_DONE)
        b->rc = sqlite3_extended_errcode(sqlite3_db_handle(b->q));
    sqlite3_reset(b->q);
    return b->rc;
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

static int put_device(struct sqlite_store *s, const struct device_record *r)
{
    const struct pv_partnership *p = &r->partnership;
    struct bind b = bind_start(s, SQL_PUT_DEVICE);
    bind_text(&b, r->user);
    bind_text(&b, r->device_id);
    bind_text(&b, r->device_type);
    bind_text(&b, r->user_agent);
    bind_text(&b, pv_version_text(r->version));
    bind_int(&b, r->first_seen);
    bind_int(&b, r->last_seen);
    bind_text(&b, r->info_json);
    bind_int(&b, p->key);
    bind_int(&b, p->key_at);
    bind_int(&b, (int64_t)p->key_revision);
    bind_hash(&b, p->key_hash);
    bind_int(&b, p->acked_offer);
    bind_int(&b, p->acked_status);
    bind_text(&b, pv_outcome_text((enum pv_outcome)p->outcome));
    bind_int(&b, p->outcome == PV_OUTCOME_REFUSED);
    bind_int(&b, p->provisioned_once);
    bind_int(&b, p->asked);
    bind_name(&b, access_names, COUNT(access_names), p->access);
    bind_name(&b, wipe_names, COUNT(wipe_names), p->wipe);
    bind_int(&b, p->wipe_state == PV_WIPE_STATE_SENT || p->wipe_state == PV_WIPE_STATE_FAILED);
    bind_int(&b, p->wipe_state == PV_WIPE_STATE_FAILED);
    bind_int(&b, p->shut == PV_SHUT_WIPED);
    int rc = bind_run(&b);
    return rc ? rc : put_offers(s, r);
}

static int put_policy(struct sqlite_store *s, const struct policy_record *r)
{
    struct bind b = bind_start(s, SQL_PUT_POLICY);
    bind_int(&b, (int64_t)r->revision);
    bind_text(&b, r->name);
    bind_int(&b, r->at);
    bind_text(&b, r->settings_json);
    return bind_run(&b);
}

static int put_user(struct sqlite_store *s, const struct user_record *r)
{
    struct bind b = bind_start(s, SQL_PUT_USER);
    bind_text(&b, r->user);
    bind_int(&b, r->enabled);
    return bind_run(&b);
}

static int put_folder_state(struct sqlite_store *s, const struct folder_state_record *r)
{
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

static int remove_device(struct sqlite_store *s, const char *user, const char *device_id)
{
    static const enum sqlite_write drops[] = {SQL_DROP_OFFERS, SQL_DROP_DEVICE,
                                              SQL_DROP_FOLDER_STATE};
    int rc = SQLITE_OK;
    for (size_t i = 0; i < COUNT(drops) && !rc; i++) rc = run_text(s, drops[i], user, device_id);
    return rc;
}

static int remove_user(struct sqlite_store *s, const char *user)
{
    static const enum sqlite_write drops[] = {SQL_DROP_USER, SQL_DROP_USER_OFFERS,
                                              SQL_DROP_USER_DEVICES, SQL_DROP_USER_FOLDER_STATES,
                                              SQL_DROP_USER_FOLDER_IDS};
    int rc = SQLITE_OK;
    for (size_t i = 0; i < COUNT(drops) && !rc; i++) rc = run_text(s, drops[i], user, NULL);
    return rc;
}

int sqlite_apply(struct sqlite_store *s, const struct store_change *c)
{
    switch (c->kind) {
    case STORE_PUT_DEVICE: return put_device(s, &c->u.device);
    case STORE_PUT_POLICY: return put_policy(s, &c->u.policy);
    case STORE_PUT_USER: return put_user(s, &c->u.user);
    case STORE_PUT_FOLDER_STATE: return put_folder_state(s, &c->u.folder_state);
    case STORE_PUT_FOLDER_IDS:
        return run_text(s, SQL_PUT_FOLDER_IDS, c->u.folder_ids.user, c->u.folder_ids.ids_json);
    case STORE_REMOVE_DEVICE: return remove_device(s, c->u.device.user, c->u.device.device_id);
    case STORE_REMOVE_USER: return remove_user(s, c->u.user.user);
    }
    return SQLITE_MISUSE;
}

/* ---- reading ---- */
/* One walk over the file. The first value that cannot be understood ends it with a sentence. */
struct load {
    struct sqlite_store *s;
    const struct store_visitor *v;
    void *ctx;
    sqlite3_stmt *offers;
    char *error;
    size_t error_cap;
    bool failed;
};

static void load_fail(struct load *l, const char *what, const char *value)
{
    if (!l->failed)
        snprintf(l->error, l->error_cap, "%s: %s \"%.60s\" cannot be understood",
                 sqlite3_db_filename(l->s->reader, "main"), what, value);
    l->failed = true;
}

static void load_sql_fail(struct load *l)
{
    if (!l->failed)
        snprintf(l->error, l->error_cap, "%s: %s", sqlite3_db_filename(l->s->reader, "main"),
                 sqlite3_errmsg(l->s->reader));
    l->failed = true;
}

/* Out of memory gives NULL for a text; the caller's row is then not used. */
static const char *col_text(struct load *l, sqlite3_stmt *q, int at)
{
    const char *text = (const char *)sqlite3_column_text(q, at);
    if (text) return text;
    load_sql_fail(l);
    return "";
}

static uint8_t col_name(struct load *l, sqlite3_stmt *q, int at, const char *const *names,
                        size_t count)
{
    const char *text = col_text(l, q, at);
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], text) == 0) return (uint8_t)i;
    load_fail(l, sqlite3_column_name(q, at), text);
    return 0;
}

static uint8_t col_outcome(struct load *l, sqlite3_stmt *q, int at)
{
    const char *text = col_text(l, q, at);
    for (unsigned i = 0; i < PV_OUTCOME_COUNT; i++)
        if (strcmp(pv_outcome_text((enum pv_outcome)i), text) == 0) return (uint8_t)i;
    load_fail(l, sqlite3_column_name(q, at), text);
    return 0;
}

static int64_t col_range(struct load *l, sqlite3_stmt *q, int at, int64_t most)
{
    int64_t v = sqlite3_column_int64(q, at);
    if (v >= 0 && v <= most) return v;
    load_fail(l, sqlite3_column_name(q, at), col_text(l, q, at));
    return 0;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void col_hash(struct load *l, sqlite3_stmt *q, int at, uint8_t out[PV_HASH_LEN])
{
    const char *text = col_text(l, q, at);
    bool ok = strlen(text) == 2 * PV_HASH_LEN;
    for (size_t i = 0; i < PV_HASH_LEN && ok; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        ok = high >= 0 && low >= 0;
        out[i] = ok ? (uint8_t)(high << 4 | low) : 0;
    }
    if (!ok) load_fail(l, sqlite3_column_name(q, at), text);
}

static void load_offers(struct load *l, struct device_record *r)
{
    sqlite3_stmt *q = l->offers;
    int rc = sqlite3_bind_text(q, 1, r->user, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = sqlite3_bind_text(q, 2, r->device_id, -1, SQLITE_STATIC);
    while (rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        struct pv_offer *o = &r->partnership.offers[col_range(l, q, 0, PV_OFFER_MAX - 1)];
        o->key = (uint32_t)col_range(l, q, 1, UINT32_MAX);
        o->at = sqlite3_column_int64(q, 2);
        o->revision = (uint64_t)col_range(l, q, 3, INT64_MAX);
        col_hash(l, q, 4, o->hash);
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_DONE) load_sql_fail(l);
    sqlite3_reset(q);
}

static void load_device(struct load *l, sqlite3_stmt *q)
{
    struct device_record r = {
        .user = col_text(l, q, 0),
        .device_id = col_text(l, q, 1),
        .device_type = col_text(l, q, 2),
        .user_agent = col_text(l, q, 3),
        .first_seen = sqlite3_column_int64(q, 5),
        .last_seen = sqlite3_column_int64(q, 6),
        .info_json = col_text(l, q, 7),
    };
    const char *version = col_text(l, q, 4);
    if (!pv_version_parse(version, strlen(version), &r.version)) load_fail(l, "version", version);

    struct pv_partnership *p = &r.partnership;
    p->key = (uint32_t)col_range(l, q, 8, UINT32_MAX);
    p->key_at = sqlite3_column_int64(q, 9);
    p->key_revision = (uint64_t)col_range(l, q, 10, INT64_MAX);
    col_hash(l, q, 11, p->key_hash);
    p->acked_offer = (uint32_t)col_range(l, q, 12, UINT32_MAX);
    p->acked_status = (uint8_t)col_range(l, q, 13, UINT8_MAX);
    p->outcome = col_outcome(l, q, 14);
    if (col_range(l, q, 15, 1)) p->outcome = PV_OUTCOME_REFUSED;
    p->provisioned_once = col_range(l, q, 16, 1);
    p->asked = col_range(l, q, 17, 1);
    p->access = col_name(l, q, 18, access_names, COUNT(access_names));
    p->wipe = col_name(l, q, 19, wipe_names, COUNT(wipe_names));
    bool sent = col_range(l, q, 20, 1), failed = col_range(l, q, 21, 1);
    p->shut = col_range(l, q, 22, 1) ? PV_SHUT_WIPED : PV_SHUT_NOT;
    p->wipe_state = p->shut                   ? PV_WIPE_STATE_ACKNOWLEDGED
                    : failed                  ? PV_WIPE_STATE_FAILED
                    : sent                    ? PV_WIPE_STATE_SENT
                    : p->wipe != PV_WIPE_NONE ? PV_WIPE_STATE_REQUESTED
                                              : PV_WIPE_STATE_NONE;
    load_offers(l, &r);
    if (!l->failed && l->v->device) l->v->device(l->ctx, &r);
}

static void load_policy(struct load *l, sqlite3_stmt *q)
{
    struct policy_record r = {
        .revision = (uint64_t)col_range(l, q, 0, INT64_MAX),
        .name = col_text(l, q, 1),
        .at = sqlite3_column_int64(q, 2),
        .settings_json = col_text(l, q, 3),
    };
    if (!l->failed && l->v->policy) l->v->policy(l->ctx, &r);
}

static void load_user(struct load *l, sqlite3_stmt *q)
{
    struct user_record r = {.user = col_text(l, q, 0), .enabled = col_range(l, q, 1, 1)};
    if (!l->failed && l->v->user) l->v->user(l->ctx, &r);
}

static void load_table(struct load *l, const char *sql, void (*row)(struct load *, sqlite3_stmt *))
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(l->s->reader, sql, -1, &q, NULL);
    while (!l->failed && rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        row(l, q);
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_DONE) load_sql_fail(l);
    sqlite3_finalize(q);
}

bool sqlite_load(struct store *base, const struct store_visitor *v, void *ctx, char *error,
                 size_t error_cap)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct load l = {.s = s, .v = v, .ctx = ctx, .error = error, .error_cap = error_cap};
    pthread_mutex_lock(&s->read_mutex);
    if (sqlite3_prepare_v2(s->reader,
                           "SELECT position, key, at, revision, hash FROM offer"
                           " WHERE user = ? AND device_id = ? ORDER BY position",
                           -1, &l.offers, NULL) != SQLITE_OK)
        load_sql_fail(&l);
    if (!l.failed) load_table(&l, "SELECT * FROM policy ORDER BY revision", load_policy);
    if (!l.failed) load_table(&l, "SELECT * FROM user ORDER BY name", load_user);
    if (!l.failed) load_table(&l, "SELECT * FROM device ORDER BY user, device_id", load_device);
    sqlite3_finalize(l.offers);
    pthread_mutex_unlock(&s->read_mutex);
    return !l.failed;
}
