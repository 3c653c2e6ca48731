/* Single rows, and columns of few. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/store/pg_rows.h"

#define COUNT_MS 5000       /* how long a count is kept */
#define COUNT_EXACTLY 20000 /* more devices than that are estimated, as the server does */

/* One block: the texts of the columns from `from` on. */
static char *copy_texts(const PGresult *r, int from, const char *out[])
{
    size_t size = 0;
    int columns = PQnfields(r);
    for (int i = from; i < columns; i++) size += (size_t)PQgetlength(r, 0, i) + 1;
    char *block = malloc(size), *at = block;
    for (int i = from; block && i < columns; i++) {
        size_t len = (size_t)PQgetlength(r, 0, i) + 1;
        memcpy(at, PQgetvalue(r, 0, i), len);
        out[i - from] = at;
        at += len;
    }
    return block;
}

int pg_read_row(struct store *s, enum store_row_of of, const char *a, const char *b,
                struct store_row *out, void **block_out)
{
    static const enum pg_statement which[] = {
        [STORE_ROW_FOLDER_STATE] = Q_FOLDER_STATE,
        [STORE_ROW_FOLDER_IDS] = Q_FOLDER_IDS,
        [STORE_ROW_INFO] = Q_INFO,
        [STORE_ROW_TRAIL] = Q_TRAIL,
        [STORE_ROW_ITEM] = Q_ITEM,
    };
    int numbers = store_row_numbers(of);
    struct pg_args args = {0};
    PGresult *r;
    pg_text(&args, a);
    if (b) pg_text(&args, b);
    if (!pg_read((struct pg_store *)s, which[of], &args, &r)) return -1;
    int found = PQntuples(r) > 0;
    for (int i = 0; found && i < numbers; i++) out->numbers[i] = (uint32_t)pg_number(r, 0, i);
    if (found && !(*block_out = copy_texts(r, numbers, out->texts))) found = -1;
    PQclear(r);
    return found;
}

/* ---- several ---- */
bool pg_read_revisions(struct store *base, const char *policy,
                       void (*each)(void *ctx, const struct policy_record *r), void *ctx)
{
    struct pg_args args = {0};
    struct policy_record record;
    PGresult *r;
    pg_text(&args, policy);
    if (!pg_read((struct pg_store *)base, Q_REVISIONS, &args, &r)) return false;
    struct pg_rows q = {.r = r};
    for (; q.row < PQntuples(r) && pg_row_policy(&q, &record); q.row++) each(ctx, &record);
    PQclear(r);
    return !q.error[0];
}

bool pg_read_users_of(struct store *base, const char *device_id, unsigned most,
                      void (*each)(void *ctx, const char *user), void *ctx)
{
    struct pg_args args = {0};
    PGresult *r;
    pg_text(&args, device_id);
    pg_int(&args, most);
    if (!pg_read((struct pg_store *)base, Q_OWNERS_OF, &args, &r)) return false;
    for (int i = 0; i < PQntuples(r); i++) each(ctx, PQgetvalue(r, i, 0));
    PQclear(r);
    return true;
}

bool pg_read_log(struct store *base, enum store_log which, uint64_t after, unsigned most,
                 void (*each)(void *ctx, const struct log_record *r), void *ctx)
{
    static const enum pg_statement logs[] = {
        [STORE_LOG_AUDIT] = Q_AUDIT, [STORE_LOG_EVENT] = Q_EVENT, [STORE_LOG_CHAIN] = Q_CHAIN};
    struct pg_args args = {0};
    PGresult *r;
    pg_int(&args, after > INT64_MAX ? INT64_MAX : (int64_t)after);
    pg_int(&args, most);
    if (!pg_read((struct pg_store *)base, logs[which], &args, &r)) return false;
    for (int i = 0; i < PQntuples(r); i++) {
        uint64_t id = (uint64_t)pg_number(r, i, 0);
        const struct log_record line = {
            .id = id, .json = PQgetvalue(r, i, 1), .seq = which == STORE_LOG_CHAIN ? id : 0};
        each(ctx, &line);
    }
    PQclear(r);
    return true;
}

static bool read_count(struct pg_store *s, enum pg_statement which, int64_t *out)
{
    PGresult *r;
    if (!pg_read(s, which, NULL, &r)) return false;
    *out = PQntuples(r) > 0 ? pg_number(r, 0, 0) : 0;
    PQclear(r);
    return true;
}

/* A million rows are not counted for a status that is asked for every few seconds. */
bool pg_count_devices(struct store *base, uint64_t *out)
{
    struct pg_store *s = (struct pg_store *)base;
    int64_t count;
    uint64_t now = queue_now_ms();
    pthread_mutex_lock(&s->read_mutex);
    bool known = s->counted_ms && now - s->counted_ms < COUNT_MS;
    *out = s->counted;
    pthread_mutex_unlock(&s->read_mutex);
    if (known) return true;
    if (!read_count(s, Q_ESTIMATE, &count)) return false;
    if (count < COUNT_EXACTLY && !read_count(s, Q_COUNT, &count)) return false;
    pthread_mutex_lock(&s->read_mutex);
    s->counted = *out = (uint64_t)count;
    s->counted_ms = count < COUNT_EXACTLY ? 0 : now;
    pthread_mutex_unlock(&s->read_mutex);
    return true;
}
