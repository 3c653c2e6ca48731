/* Single rows and lists. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/store/sqlite.h"

/* One block: the texts of the columns from..to of the row, one after the other. */
static char *copy_columns(sqlite3_stmt *q, int from, int to, const char *out[])
{
    size_t size = 0;
    for (int i = from; i <= to; i++) {
        if (!sqlite3_column_text(q, i)) return NULL;
        size += (size_t)sqlite3_column_bytes(q, i) + 1;
    }
    char *block = malloc(size), *at = block;
    if (!block) return NULL;
    for (int i = from; i <= to; i++) {
        size_t len = (size_t)sqlite3_column_bytes(q, i) + 1;
        memcpy(at, sqlite3_column_text(q, i), len);
        out[i - from] = at;
        at += len;
    }
    return block;
}

/* The end of reading; rc: SQLITE_OK or why it failed. */
static bool release(struct sqlite_store *s, struct sqlite_reader *r, sqlite3_stmt *q, int rc)
{
    sqlite3_reset(q);
    sqlite3_clear_bindings(q); /* they point to the caller's texts */
    sqlite_reader_give(s, r, rc, NULL);
    return rc == SQLITE_OK;
}

/* What is found of one row: the texts behind the numbers. */
struct row {
    uint32_t numbers[2];
    const char *texts[3];
};

/* The row for one or two names (b may be NULL): `numbers` numbers, then texts to the last column.
 * 1 found, 0 not there, -1 out of reach. */
static int read_row(struct store *base, enum sqlite_read which, const char *a, const char *b,
                    int numbers, struct row *out, void **block_out)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct sqlite_reader *reader = sqlite_reader_take(s);
    if (!reader) return -1;
    sqlite3_stmt *q = reader->q[which];
    int rc = sqlite3_bind_text(q, 1, a, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK && b) rc = sqlite3_bind_text(q, 2, b, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = sqlite3_step(q);
    int found = rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : -1;
    if (found == 1) {
        for (int i = 0; i < numbers; i++) out->numbers[i] = (uint32_t)sqlite3_column_int64(q, i);
        *block_out = copy_columns(q, numbers, sqlite3_column_count(q) - 1, out->texts);
        if (!*block_out) found = -1;
    }
    release(s, reader, q, found >= 0 ? SQLITE_OK : rc == SQLITE_ROW ? SQLITE_NOMEM : rc);
    return found;
}

int sqlite_read_folder_state(struct store *s, const char *user, const char *device_id,
                             struct folder_state_record *out, void **block_out)
{
    struct row r;
    int found = read_row(s, SQL_READ_FOLDER_STATE, user, device_id, 2, &r, block_out);
    if (found == 1)
        *out = (struct folder_state_record){
            .user = user,
            .device_id = device_id,
            .key = r.numbers[0],
            .previous_key = r.numbers[1],
            .tree_json = r.texts[0],
            .previous_tree_json = r.texts[1],
            .ping_json = r.texts[2],
        };
    return found;
}

int sqlite_read_folder_ids(struct store *s, const char *user, struct folder_ids_record *out,
                           void **block_out)
{
    struct row r;
    int found = read_row(s, SQL_READ_FOLDER_IDS, user, NULL, 0, &r, block_out);
    if (found == 1) *out = (struct folder_ids_record){.user = user, .ids_json = r.texts[0]};
    return found;
}

int sqlite_read_info(struct store *s, const char *user, const char *device_id,
                     struct info_record *out, void **block_out)
{
    struct row r;
    int found = read_row(s, SQL_READ_INFO, user, device_id, 0, &r, block_out);
    if (found == 1)
        *out = (struct info_record){.user = user,
                                    .device_id = device_id,
                                    .info_json = r.texts[0],
                                    .history_json = r.texts[1]};
    return found;
}

int sqlite_read_trail(struct store *s, const char *user, const char *device_id,
                      struct trail_record *out, void **block_out)
{
    struct row r;
    int found = read_row(s, SQL_READ_TRAIL, user, device_id, 0, &r, block_out);
    if (found == 1) *out = (struct trail_record){user, device_id, r.texts[0]};
    return found;
}

int sqlite_read_item(struct store *s, const char *kind, const char *name, struct item_record *out,
                     void **block_out)
{
    struct row r;
    int found = read_row(s, SQL_READ_ITEM, kind, name, 0, &r, block_out);
    if (found == 1) *out = (struct item_record){kind, name, r.texts[0]};
    return found;
}

/* ---- many rows ---- */
static const char *text_of(sqlite3_stmt *q, int at, bool *ok)
{
    const char *text = (const char *)sqlite3_column_text(q, at);
    if (!text) *ok = false;
    return text ? text : "";
}

bool sqlite_read_revisions(struct store *base, const char *policy,
                           void (*each)(void *ctx, const struct policy_record *r), void *ctx)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct sqlite_reader *reader = sqlite_reader_take(s);
    if (!reader) return false;
    sqlite3_stmt *q = reader->q[SQL_READ_REVISIONS];
    bool ok = true;
    int rc = sqlite3_bind_text(q, 1, policy, -1, SQLITE_STATIC);
    while (ok && rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        const struct policy_record r = {
            .name = policy,
            .revision = (uint64_t)sqlite3_column_int64(q, 0),
            .at = sqlite3_column_int64(q, 1),
            .settings_json = text_of(q, 2, &ok),
            .parent = text_of(q, 3, &ok),
            .by = text_of(q, 4, &ok),
        };
        if (ok) each(ctx, &r);
        rc = SQLITE_OK;
    }
    return release(s, reader, q, !ok ? SQLITE_NOMEM : rc == SQLITE_DONE ? SQLITE_OK : rc);
}

static const enum sqlite_read log_statements[] = {
    [STORE_LOG_AUDIT] = SQL_READ_AUDIT,
    [STORE_LOG_EVENT] = SQL_READ_EVENT,
    [STORE_LOG_CHAIN] = SQL_READ_CHAIN,
};

bool sqlite_read_log(struct store *base, enum store_log which, uint64_t after, unsigned most,
                     void (*each)(void *ctx, const struct log_record *r), void *ctx)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct sqlite_reader *reader = sqlite_reader_take(s);
    if (!reader) return false;
    sqlite3_stmt *q = reader->q[log_statements[which]];
    bool ok = true;
    int rc = sqlite3_bind_int64(q, 1, (int64_t)after);
    if (rc == SQLITE_OK) rc = sqlite3_bind_int64(q, 2, most);
    while (ok && rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        uint64_t id = (uint64_t)sqlite3_column_int64(q, 0);
        const struct log_record r = {id, text_of(q, 1, &ok), which == STORE_LOG_CHAIN ? id : 0};
        if (ok) each(ctx, &r);
        rc = SQLITE_OK;
    }
    return release(s, reader, q, !ok ? SQLITE_NOMEM : rc == SQLITE_DONE ? SQLITE_OK : rc);
}

bool sqlite_read_users_of(struct store *base, const char *device_id, unsigned most,
                          void (*each)(void *ctx, const char *user), void *ctx)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct sqlite_reader *reader = sqlite_reader_take(s);
    if (!reader) return false;
    sqlite3_stmt *q = reader->q[SQL_READ_USERS_OF];
    bool ok = true;
    int rc = sqlite3_bind_text(q, 1, device_id, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = sqlite3_bind_int64(q, 2, most);
    while (ok && rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        const char *user = text_of(q, 0, &ok);
        if (ok) each(ctx, user);
        rc = SQLITE_OK;
    }
    return release(s, reader, q, !ok ? SQLITE_NOMEM : rc == SQLITE_DONE ? SQLITE_OK : rc);
}

bool sqlite_count_devices(struct store *base, uint64_t *out)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct sqlite_reader *reader = sqlite_reader_take(s);
    if (!reader) return false;
    sqlite3_stmt *q = reader->q[SQL_READ_DEVICE_COUNT];
    int rc = sqlite3_step(q);
    if (rc == SQLITE_ROW) *out = (uint64_t)sqlite3_column_int64(q, 0);
    return release(s, reader, q, rc == SQLITE_ROW ? SQLITE_OK : rc);
}
