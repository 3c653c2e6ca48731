/* What is moved, and how a row of it is written down. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/move.h"
#include "src/lib/base/sha256.h"

#define N(name)                   \
    {                             \
#name, #name, MOVE_NUMBER \
    }
#define B(name)                  \
    {                            \
#name, #name, MOVE_BYTES \
    }
#define OWNER                       \
    {                               \
        "user", "owner", MOVE_BYTES \
    }
#define ID_JSON N(id), B(json)

/* As pg_apply.c writes them. */
#define OFFERS                                                                                    \
    "(SELECT coalesce(group_concat(position || ':' || key || ':' || at || ':' || revision || ':'" \
    " || hash, ' '), '') FROM (SELECT * FROM offer o WHERE o.user = device.user"                  \
    " AND o.device_id = device.device_id ORDER BY position))"

static const struct move_column device[] = {
    OWNER,
    B(device_id),
    B(device_type),
    B(user_agent),
    B(model),
    B(os),
    B(version),
    B(state),
    N(first_seen),
    N(last_seen),
    N(loop_until),
    N(key),
    N(key_at),
    N(key_revision),
    B(key_hash),
    N(acked_offer),
    N(acked_status),
    B(outcome),
    N(outcome_revision),
    N(said),
    N(provisioned_once),
    N(asked),
    B(personal),
    B(wipe),
    B(wipe_state),
    N(wipe_id),
    B(shut),
    N(wipe_at),
    N(wipe_sent_at),
    N(wipe_ended_at),
    N(wipe_expires_at),
    B(wipe_by),
    B(wipe_reason),
    {OFFERS, "offers", MOVE_BYTES},
    N(tag),
};
static const struct move_column device_info[] = {OWNER, B(device_id), B(info), B(history)};
static const struct move_column policy[] = {N(revision), B(name),   N(at),
                                            B(settings), B(parent), B(by)};
static const struct move_column account[] = {
    {"name", "owner", MOVE_BYTES}, N(enabled), N(no_device_wipe)};
static const struct move_column folder_state[] = {
    OWNER, B(device_id), N(key), N(previous_key), B(tree), B(previous_tree), B(ping)};
static const struct move_column folder_ids[] = {OWNER, B(ids)};
static const struct move_column item[] = {B(kind), B(name), B(json)};
static const struct move_column trail[] = {OWNER, B(device_id), B(trail)};
static const struct move_column lines[] = {ID_JSON};
static const struct move_column chain[] = {N(seq), B(json)};

#define COLUMNS(a) .count = sizeof(a) / sizeof *(a), .columns = (a)
const struct move_table move_tables[] = {
    {"policy", "policy", .key = 1, COLUMNS(policy)},
    /* Where the audit log stands is made anew, for there it is elsewhere. */
    {"item", "item", .where = "kind NOT IN ('audit', 'move')", .key = 2, COLUMNS(item)},
    {"user", "account", .key = 1, COLUMNS(account)},
    {"device", "device", .key = 2, COLUMNS(device)},
    {"device_info", "device_info", .key = 2, COLUMNS(device_info)},
    {"folder_state", "folder_state", .key = 2, COLUMNS(folder_state)},
    {"folder_ids", "folder_ids", .key = 1, COLUMNS(folder_ids)},
    {"trail", "trail", .key = 2, COLUMNS(trail)},
    {"audit", "audit", .sequence = "id", .key = 1, COLUMNS(lines)},
    {"event", "event", .sequence = "id", .key = 1, COLUMNS(lines)},
    {NULL, "chain", .key = 1, COLUMNS(chain)},
};
const unsigned move_table_count = sizeof move_tables / sizeof *move_tables;

/* ---- keys ---- */
void move_key_free(struct move_key *k)
{
    for (size_t i = 0; i < MOVE_KEY_MAX; i++) free(k->bytes[i]);
    *k = (struct move_key){0};
}

bool move_key_take(struct move_key *k, const struct move_table *t, const struct move_row *r)
{
    struct move_key made = {.number = r->values[0].number};
    bool ok = true;
    for (unsigned i = 0; i < t->key && t->columns[i].kind == MOVE_BYTES; i++) {
        made.bytes[i] = malloc(r->values[i].len + 1);
        if (!made.bytes[i]) {
            ok = false;
            break;
        }
        memcpy(made.bytes[i], r->values[i].bytes, r->values[i].len);
        made.bytes[i][r->values[i].len] = '\0';
        made.len[i] = r->values[i].len;
    }
    if (!ok) {
        move_key_free(&made);
        return false;
    }
    move_key_free(k);
    *k = made;
    return true;
}

/* ---- rows ---- */
static bool add(struct move_text *t, const char *bytes, size_t len)
{
    if (t->cap - t->len < len) {
        size_t cap = (t->len + len) * 2;
        char *at = realloc(t->at, cap);
        if (!at) return false;
        t->at = at;
        t->cap = cap;
    }
    memcpy(t->at + t->len, bytes, len);
    t->len += len;
    return true;
}

/* Each value with its length before it, so that none runs into the next. */
bool move_row_text(const struct move_table *t, const struct move_row *r, struct move_text *text)
{
    char number[32];
    text->len = 0;
    for (unsigned i = 0; i < t->count; i++) {
        const struct move_value *v = &r->values[i];
        bool is_number = t->columns[i].kind == MOVE_NUMBER;
        int n = is_number ? snprintf(number, sizeof number, "%" PRId64 "\n", v->number)
                          : snprintf(number, sizeof number, "%zu:", v->len);
        if (!add(text, number, (size_t)n)) return false;
        if (!is_number && !(add(text, v->bytes, v->len) && add(text, "\n", 1))) return false;
    }
    return true;
}

void move_hash(uint8_t hash[32], const struct move_text *text)
{
    uint8_t both[64];
    memcpy(both, hash, 32);
    pv__sha256((const uint8_t *)text->at, text->len, both + 32);
    pv__sha256(both, sizeof both, hash);
}
