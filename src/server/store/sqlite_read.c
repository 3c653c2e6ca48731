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

int sqlite_read_row(struct store *base, enum store_row_of of, const char *a, const char *b,
                    struct store_row *out, void **block_out)
{
    static const enum sqlite_read which[] = {
        [STORE_ROW_FOLDER_STATE] = SQL_READ_FOLDER_STATE,
        [STORE_ROW_FOLDER_IDS] = SQL_READ_FOLDER_IDS,
        [STORE_ROW_INFO] = SQL_READ_INFO,
        [STORE_ROW_TRAIL] = SQL_READ_TRAIL,
        [STORE_ROW_ITEM] = SQL_READ_ITEM,
    };
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct sqlite_reader *reader = sqlite_reader_take(s);
    if (!reader) return -1;
    sqlite3_stmt *q = reader->q[which[of]];
    int rc = sqlite3_bind_text(q, 1, a, -1, SQLITE_STATIC), numbers = store_row_numbers(of);
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
