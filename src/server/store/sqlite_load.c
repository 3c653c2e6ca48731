/* Rows into records, at the start. */
#include <stdio.h>
#include <string.h>

#include "src/server/store/sqlite.h"

/* One walk over the file. The first value that cannot be understood ends it with a sentence. */
struct load {
    struct sqlite_store *s;
    const struct store_visitor *v;
    void *ctx;
    sqlite3_stmt *offers;
    bool offer_there; /* the cursor stands on a row */
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

/* The number whose word stands in the column. */
static uint8_t col_word(struct load *l, sqlite3_stmt *q, int at, const char *(*word)(unsigned),
                        unsigned count)
{
    const char *text = col_text(l, q, at);
    for (unsigned i = 0; i < count; i++)
        if (strcmp(word(i), text) == 0) return (uint8_t)i;
    load_fail(l, sqlite3_column_name(q, at), text);
    return 0;
}

static const char *state_word(unsigned i)
{
    return pv_state_text((enum pv_state)i);
}

static const char *outcome_word(unsigned i)
{
    return pv_outcome_text((enum pv_outcome)i);
}

static const char *personal_word(unsigned i)
{
    return pv_personal_text((enum pv_personal)i);
}

static const char *wipe_word(unsigned i)
{
    return sqlite_wipe_names[i];
}

static const char *shut_word(unsigned i)
{
    return sqlite_shut_names[i];
}

static const char *wipe_state_word(unsigned i)
{
    return pv_wipe_state_text((enum pv_wipe_state)i);
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

/* The cursor over offers goes along with the devices, in the same order. */
static void next_offer(struct load *l)
{
    int rc = sqlite3_step(l->offers);
    l->offer_there = rc == SQLITE_ROW;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) load_sql_fail(l);
}

/* Where the offer at the cursor stands to the device: before 0, at or behind it. */
static int offer_order(struct load *l, const struct device_record *r)
{
    int order = strcmp(col_text(l, l->offers, 0), r->user);
    return order ? order : strcmp(col_text(l, l->offers, 1), r->device_id);
}

static void load_offers(struct load *l, struct device_record *r)
{
    sqlite3_stmt *q = l->offers;
    for (int order; !l->failed && l->offer_there; next_offer(l)) {
        if ((order = offer_order(l, r)) > 0) return;
        if (order < 0) continue; /* of no device */
        struct pv_offer *o = &r->partnership.offers[col_range(l, q, 2, PV_OFFER_MAX - 1)];
        o->key = (uint32_t)col_range(l, q, 3, UINT32_MAX);
        o->at = sqlite3_column_int64(q, 4);
        o->revision = (uint64_t)col_range(l, q, 5, INT64_MAX);
        col_hash(l, q, 6, o->hash);
    }
}

static void load_device(struct load *l, sqlite3_stmt *q)
{
    struct device_record r = {
        .user = col_text(l, q, 0),
        .device_id = col_text(l, q, 1),
        .device_type = col_text(l, q, 2),
        .user_agent = col_text(l, q, 3),
        .model = col_text(l, q, 4),
        .os = col_text(l, q, 5),
        .state = (enum pv_state)col_word(l, q, 7, state_word, PV_STATE_COUNT),
        .first_seen = sqlite3_column_int64(q, 8),
        .last_seen = sqlite3_column_int64(q, 9),
        .loop_until = sqlite3_column_int64(q, 10),
        .wipe_by = col_text(l, q, 31),
        .wipe_reason = col_text(l, q, 32),
    };
    const char *version = col_text(l, q, 6);
    if (!pv_version_parse(version, strlen(version), &r.version)) load_fail(l, "version", version);

    struct pv_partnership *p = &r.partnership;
    p->key = (uint32_t)col_range(l, q, 11, UINT32_MAX);
    p->key_at = sqlite3_column_int64(q, 12);
    p->key_revision = (uint64_t)col_range(l, q, 13, INT64_MAX);
    col_hash(l, q, 14, p->key_hash);
    p->acked_offer = (uint32_t)col_range(l, q, 15, UINT32_MAX);
    p->acked_status = (uint8_t)col_range(l, q, 16, UINT8_MAX);
    p->outcome = col_word(l, q, 17, outcome_word, PV_OUTCOME_COUNT);
    p->outcome_revision = (uint64_t)col_range(l, q, 18, INT64_MAX);
    p->said = (uint8_t)col_range(l, q, 19, 4);
    p->provisioned_once = col_range(l, q, 20, 1);
    p->asked = col_range(l, q, 21, 1);
    p->personal = col_word(l, q, 22, personal_word, PV_PERSONAL_COUNT);
    p->wipe = col_word(l, q, 23, wipe_word, PV_WIPE_DEVICE + 1);
    p->wipe_state = col_word(l, q, 24, wipe_state_word, PV_WIPE_STATE_COUNT);
    p->wipe_id = (uint64_t)col_range(l, q, 25, INT64_MAX);
    p->shut = col_word(l, q, 26, shut_word, PV_SHUT_EXPIRED + 1);
    p->wipe_at = sqlite3_column_int64(q, 27);
    p->wipe_sent_at = sqlite3_column_int64(q, 28);
    p->wipe_ended_at = sqlite3_column_int64(q, 29);
    p->wipe_expires_at = sqlite3_column_int64(q, 30);
    load_offers(l, &r);
    if (!l->failed) l->v->device(l->ctx, &r);
}

static void load_item(struct load *l, sqlite3_stmt *q)
{
    struct item_record r = {col_text(l, q, 0), col_text(l, q, 1), col_text(l, q, 2)};
    if (!l->failed) l->v->item(l->ctx, &r);
}

static void load_policy(struct load *l, sqlite3_stmt *q)
{
    struct policy_record r = {
        .revision = (uint64_t)col_range(l, q, 0, INT64_MAX),
        .name = col_text(l, q, 1),
        .at = sqlite3_column_int64(q, 2),
        .settings_json = col_text(l, q, 3),
        .parent = col_text(l, q, 4),
        .by = col_text(l, q, 5),
    };
    if (!l->failed) l->v->policy(l->ctx, &r);
}

static void load_user(struct load *l, sqlite3_stmt *q)
{
    struct user_record r = {.user = col_text(l, q, 0),
                            .enabled = col_range(l, q, 1, 1),
                            .no_device_wipe = col_range(l, q, 2, 1)};
    if (!l->failed) l->v->user(l->ctx, &r);
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
    const struct {
        bool wanted;
        const char *sql;
        void (*row)(struct load *, sqlite3_stmt *);
    } tables[] = {
        {v->item, "SELECT * FROM item ORDER BY kind, name", load_item},
        {v->policy, "SELECT * FROM policy ORDER BY revision", load_policy},
        {v->user, "SELECT * FROM user ORDER BY name", load_user},
        {v->device, "SELECT * FROM device ORDER BY user, device_id", load_device},
    };
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct load l = {.s = s, .v = v, .ctx = ctx, .error = error, .error_cap = error_cap};
    pthread_mutex_lock(&s->read_mutex);
    if (sqlite3_prepare_v2(s->reader, "SELECT * FROM offer ORDER BY user, device_id, position", -1,
                           &l.offers, NULL) != SQLITE_OK)
        load_sql_fail(&l);
    else
        next_offer(&l);
    for (size_t i = 0; i < sizeof tables / sizeof *tables && !l.failed; i++)
        if (tables[i].wanted) load_table(&l, tables[i].sql, tables[i].row);
    sqlite3_finalize(l.offers);
    pthread_mutex_unlock(&s->read_mutex);
    return !l.failed;
}
