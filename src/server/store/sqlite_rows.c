/* Columns into records: with sqlite_apply.c the only place that knows their order. */
#include <stdio.h>
#include <string.h>

#include "src/server/store/sqlite.h"
#include "src/server/store/words.h"

static void rows_fail(struct sqlite_rows *l, const char *what, const char *value)
{
    if (!l->failed)
        snprintf(l->error, l->error_cap, "%s: %s \"%.60s\" cannot be understood",
                 sqlite3_db_filename(l->reader->db, "main"), what, value);
    l->failed = true;
}

void sqlite_rows_sql_fail(struct sqlite_rows *l)
{
    if (!l->failed)
        snprintf(l->error, l->error_cap, "%s: %s", sqlite3_db_filename(l->reader->db, "main"),
                 sqlite3_errmsg(l->reader->db));
    if (!l->rc) l->rc = sqlite3_extended_errcode(l->reader->db);
    if (!l->rc) l->rc = SQLITE_NOMEM; /* a text that could not be made */
    l->failed = true;
}

/* Out of memory gives NULL for a text; the caller's row is then not used. */
static const char *col_text(struct sqlite_rows *l, sqlite3_stmt *q, int at)
{
    const char *text = (const char *)sqlite3_column_text(q, at);
    if (text) return text;
    sqlite_rows_sql_fail(l);
    return "";
}

/* The number whose word stands in the column. */
static uint8_t col_word(struct sqlite_rows *l, sqlite3_stmt *q, int at, enum store_words which)
{
    uint8_t number = 0;
    const char *text = col_text(l, q, at);
    if (!store_word_number(which, text, &number)) rows_fail(l, sqlite3_column_name(q, at), text);
    return number;
}

static int64_t col_range(struct sqlite_rows *l, sqlite3_stmt *q, int at, int64_t most)
{
    int64_t v = sqlite3_column_int64(q, at);
    if (v >= 0 && v <= most) return v;
    rows_fail(l, sqlite3_column_name(q, at), col_text(l, q, at));
    return 0;
}

static void col_hash(struct sqlite_rows *l, sqlite3_stmt *q, int at, uint8_t out[PV_HASH_LEN])
{
    const char *text = col_text(l, q, at);
    if (!hash_of_text(text, out)) rows_fail(l, sqlite3_column_name(q, at), text);
}

static void row_offer(struct sqlite_rows *l, sqlite3_stmt *q, struct pv_offer *offers)
{
    struct pv_offer *o = &offers[col_range(l, q, 0, PV_OFFER_MAX - 1)];
    o->key = (uint32_t)col_range(l, q, 1, UINT32_MAX);
    o->at = sqlite3_column_int64(q, 2);
    o->revision = (uint64_t)col_range(l, q, 3, INT64_MAX);
    col_hash(l, q, 4, o->hash);
}

static void read_offers(struct sqlite_rows *l, struct device_record *r)
{
    sqlite3_stmt *q = l->reader->q[SQL_READ_OFFERS];
    int rc = sqlite3_bind_text(q, 1, r->user, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = sqlite3_bind_text(q, 2, r->device_id, -1, SQLITE_STATIC);
    while (!l->failed && rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        row_offer(l, q, r->partnership.offers);
        rc = SQLITE_OK;
    }
    if (!l->failed && rc != SQLITE_DONE) sqlite_rows_sql_fail(l);
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
}

void sqlite_row_device(struct sqlite_rows *l, sqlite3_stmt *q)
{
    snprintf(l->user, sizeof l->user, "%s", col_text(l, q, 0));
    struct device_record r = {
        .user = col_text(l, q, 0),
        .device_id = col_text(l, q, 1),
        .device_type = col_text(l, q, 2),
        .user_agent = col_text(l, q, 3),
        .model = col_text(l, q, 4),
        .os = col_text(l, q, 5),
        .state = (enum pv_state)col_word(l, q, 7, WORDS_STATE),
        .first_seen = sqlite3_column_int64(q, 8),
        .last_seen = sqlite3_column_int64(q, 9),
        .loop_until = sqlite3_column_int64(q, 10),
        .wipe_by = col_text(l, q, 31),
        .wipe_reason = col_text(l, q, 32),
        .tag = (uint64_t)col_range(l, q, 33, INT64_MAX),
    };
    if (sqlite3_column_count(q) > 34) r.bond_json = (const char *)sqlite3_column_text(q, 34);
    const char *version = col_text(l, q, 6);
    if (!pv_version_parse(version, strlen(version), &r.version)) rows_fail(l, "version", version);

    struct pv_partnership *p = &r.partnership;
    p->key = (uint32_t)col_range(l, q, 11, UINT32_MAX);
    p->key_at = sqlite3_column_int64(q, 12);
    p->key_revision = (uint64_t)col_range(l, q, 13, INT64_MAX);
    col_hash(l, q, 14, p->key_hash);
    p->acked_offer = (uint32_t)col_range(l, q, 15, UINT32_MAX);
    p->acked_status = (uint8_t)col_range(l, q, 16, UINT8_MAX);
    p->outcome = col_word(l, q, 17, WORDS_OUTCOME);
    p->outcome_revision = (uint64_t)col_range(l, q, 18, INT64_MAX);
    p->said = (uint8_t)col_range(l, q, 19, 4);
    p->provisioned_once = col_range(l, q, 20, 1);
    p->asked = col_range(l, q, 21, 1);
    p->personal = col_word(l, q, 22, WORDS_PERSONAL);
    p->wipe = col_word(l, q, 23, WORDS_WIPE);
    p->wipe_state = col_word(l, q, 24, WORDS_WIPE_STATE);
    p->wipe_id = (uint64_t)col_range(l, q, 25, INT64_MAX);
    p->shut = col_word(l, q, 26, WORDS_SHUT);
    p->wipe_at = sqlite3_column_int64(q, 27);
    p->wipe_sent_at = sqlite3_column_int64(q, 28);
    p->wipe_ended_at = sqlite3_column_int64(q, 29);
    p->wipe_expires_at = sqlite3_column_int64(q, 30);
    read_offers(l, &r);
    if (!l->failed) l->v->device(l->ctx, &r);
}

void sqlite_row_item(struct sqlite_rows *l, sqlite3_stmt *q)
{
    struct item_record r = {col_text(l, q, 0), col_text(l, q, 1), col_text(l, q, 2)};
    if (!l->failed) l->v->item(l->ctx, &r);
}

void sqlite_row_policy(struct sqlite_rows *l, sqlite3_stmt *q)
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

void sqlite_row_user(struct sqlite_rows *l, sqlite3_stmt *q)
{
    snprintf(l->user, sizeof l->user, "%s", col_text(l, q, 0));
    struct user_record r = {.user = col_text(l, q, 0),
                            .enabled = col_range(l, q, 1, 1),
                            .no_device_wipe = col_range(l, q, 2, 1)};
    if (!l->failed) l->v->user(l->ctx, &r);
}

void sqlite_rows_each(struct sqlite_rows *l, enum sqlite_read which,
                      void (*row)(struct sqlite_rows *l, sqlite3_stmt *q))
{
    sqlite3_stmt *q = l->reader->q[which];
    int rc = SQLITE_DONE;
    while (!l->failed && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        row(l, q);
        if (!l->failed || l->rc || !l->leaves_out) continue;
        trouble_damaged(l->leaves_out, l->user, l->error);
        l->failed = false;
    }
    if (!l->failed && rc != SQLITE_DONE) sqlite_rows_sql_fail(l);
    sqlite3_reset(q);
    sqlite3_clear_bindings(q); /* they point to the caller's texts */
}
