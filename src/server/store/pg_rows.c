#include "src/server/store/pg_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/store/words.h"

static void fail(struct pg_rows *q, const char *what, const char *value)
{
    if (!q->error[0])
        snprintf(q->error, sizeof q->error, "%s \"%.60s\" cannot be understood", what, value);
}

static const char *text(const struct pg_rows *q, int at)
{
    return PQgetvalue(q->r, q->row, at);
}

static int64_t number(const struct pg_rows *q, int at)
{
    return pg_number(q->r, q->row, at);
}

static int64_t range(struct pg_rows *q, int at, int64_t most)
{
    char shown[24];
    int64_t v = number(q, at);
    if (v >= 0 && v <= most) return v;
    snprintf(shown, sizeof shown, "%lld", (long long)v);
    fail(q, PQfname(q->r, at), shown);
    return 0;
}

static uint8_t word(struct pg_rows *q, int at, enum store_words which)
{
    uint8_t v = 0;
    if (!store_word_number(which, text(q, at), &v)) fail(q, PQfname(q->r, at), text(q, at));
    return v;
}

static void hash(struct pg_rows *q, int at, uint8_t out[PV_HASH_LEN])
{
    if (!hash_of_text(text(q, at), out)) fail(q, PQfname(q->r, at), text(q, at));
}

/* ---- offers, as pg_apply.c writes them ---- */
static bool field(const char **at, uint64_t most, char end, uint64_t *out)
{
    char *stop;
    if (**at < '0' || **at > '9') return false;
    *out = strtoull(*at, &stop, 10);
    bool ok = *stop == end && *out <= most;
    *at = stop + 1;
    return ok;
}

static bool offer(const char **at, struct pv_offer offers[PV_OFFER_MAX])
{
    uint64_t i, key, when, revision;
    char hex[HASH_TEXT_LEN + 1];
    if (!field(at, PV_OFFER_MAX - 1, ':', &i) || !field(at, UINT32_MAX, ':', &key) ||
        !field(at, INT64_MAX, ':', &when) || !field(at, INT64_MAX, ':', &revision))
        return false;
    size_t len = strcspn(*at, " ");
    if (len != HASH_TEXT_LEN) return false;
    snprintf(hex, sizeof hex, "%.*s", HASH_TEXT_LEN, *at);
    *at += len;
    if (**at == ' ') ++*at;
    offers[i] = (struct pv_offer){.key = (uint32_t)key, .at = (int64_t)when, .revision = revision};
    return hash_of_text(hex, offers[i].hash);
}

static void offers(struct pg_rows *q, int at, struct pv_offer out[PV_OFFER_MAX])
{
    const char *all = text(q, at);
    while (*all)
        if (!offer(&all, out)) {
            fail(q, "offers", text(q, at));
            return;
        }
}

/* Columns: owner, device_id, PG_DEVICE_COLUMNS. */
bool pg_row_device(struct pg_rows *q, struct device_record *out)
{
    const char *version = text(q, 6);
    *out = (struct device_record){
        .user = text(q, 0),
        .device_id = text(q, 1),
        .device_type = text(q, 2),
        .user_agent = text(q, 3),
        .model = text(q, 4),
        .os = text(q, 5),
        .state = (enum pv_state)word(q, 7, WORDS_STATE),
        .first_seen = number(q, 8),
        .last_seen = number(q, 9),
        .loop_until = number(q, 10),
        .wipe_by = text(q, 31),
        .wipe_reason = text(q, 32),
        .tag = (uint64_t)range(q, 34, INT64_MAX),
    };
    if (PQnfields(q->r) > 35 && !PQgetisnull(q->r, q->row, 35)) out->bond_json = text(q, 35);
    if (!pv_version_parse(version, strlen(version), &out->version)) fail(q, "version", version);
    struct pv_partnership *p = &out->partnership;
    p->key = (uint32_t)range(q, 11, UINT32_MAX);
    p->key_at = number(q, 12);
    p->key_revision = (uint64_t)range(q, 13, INT64_MAX);
    hash(q, 14, p->key_hash);
    p->acked_offer = (uint32_t)range(q, 15, UINT32_MAX);
    p->acked_status = (uint8_t)range(q, 16, UINT8_MAX);
    p->outcome = word(q, 17, WORDS_OUTCOME);
    p->outcome_revision = (uint64_t)range(q, 18, INT64_MAX);
    p->said = (uint8_t)range(q, 19, 4);
    p->provisioned_once = range(q, 20, 1);
    p->asked = range(q, 21, 1);
    p->personal = word(q, 22, WORDS_PERSONAL);
    p->wipe = word(q, 23, WORDS_WIPE);
    p->wipe_state = word(q, 24, WORDS_WIPE_STATE);
    p->wipe_id = (uint64_t)range(q, 25, INT64_MAX);
    p->shut = word(q, 26, WORDS_SHUT);
    p->wipe_at = number(q, 27);
    p->wipe_sent_at = number(q, 28);
    p->wipe_ended_at = number(q, 29);
    p->wipe_expires_at = number(q, 30);
    offers(q, 33, p->offers);
    return !q->error[0];
}

bool pg_row_policy(struct pg_rows *q, struct policy_record *out)
{
    *out = (struct policy_record){
        .name = text(q, 0),
        .revision = (uint64_t)range(q, 1, INT64_MAX),
        .at = number(q, 2),
        .settings_json = text(q, 3),
        .parent = text(q, 4),
        .by = text(q, 5),
    };
    return !q->error[0];
}

bool pg_row_account(struct pg_rows *q, struct user_record *out)
{
    *out = (struct user_record){
        .user = text(q, 0), .enabled = range(q, 1, 1), .no_device_wipe = range(q, 2, 1)};
    return !q->error[0];
}

struct item_record pg_row_item(const struct pg_rows *q)
{
    return (struct item_record){.kind = text(q, 0), .name = text(q, 1), .json = text(q, 2)};
}
