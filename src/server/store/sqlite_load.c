/* Many rows: what the start needs, a user, a page. */
#include <stdio.h>
#include <string.h>

#include "src/server/store/sqlite.h"

#define UNSEEN_FEW 10000 /* devices that are put in order for each page */

/* ---- one connection ---- */
static bool bind_text(struct sqlite_rows *l, enum sqlite_read which, int at, const char *text)
{
    if (sqlite3_bind_text(l->reader->q[which], at, text, -1, SQLITE_STATIC) == SQLITE_OK)
        return true;
    sqlite_rows_sql_fail(l);
    return false;
}

static bool bind_int(struct sqlite_rows *l, enum sqlite_read which, int at, int64_t v)
{
    if (sqlite3_bind_int64(l->reader->q[which], at, v) == SQLITE_OK) return true;
    sqlite_rows_sql_fail(l);
    return false;
}

static void run(struct sqlite_rows *l, enum sqlite_read which)
{
    if (sqlite3_step(l->reader->q[which]) != SQLITE_DONE) sqlite_rows_sql_fail(l);
    sqlite3_reset(l->reader->q[which]);
}

/* What is read between begin and end is of one instant. */
static bool begin(struct sqlite_store *s, struct sqlite_rows *l)
{
    l->reader = sqlite_reader_take(s);
    if (l->reader)
        run(l, SQL_READ_BEGIN);
    else
        snprintf(l->error, l->error_cap, "%s cannot be opened", s->path);
    return l->reader && !l->failed;
}

static bool end(struct sqlite_store *s, struct sqlite_rows *l)
{
    if (!l->reader) return false;
    if (!sqlite3_get_autocommit(l->reader->db)) run(l, SQL_READ_COMMIT);
    sqlite_reader_give(s, l->reader, l->rc, l->error);
    return !l->failed;
}

bool sqlite_load(struct store *base, const struct store_visitor *v, void *ctx, char *error,
                 size_t error_cap)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct sqlite_rows l = {.v = v, .ctx = ctx, .error = error, .error_cap = error_cap};
    const struct {
        bool wanted;
        enum sqlite_read which;
        void (*row)(struct sqlite_rows *, sqlite3_stmt *);
    } tables[] = {
        {v->item, SQL_READ_ITEMS, sqlite_row_item},
        {v->policy, SQL_READ_POLICIES, sqlite_row_policy},
    };
    bool ok = begin(s, &l);
    for (size_t i = 0; i < sizeof tables / sizeof *tables && ok; i++)
        if (tables[i].wanted) sqlite_rows_each(&l, tables[i].which, tables[i].row);
    return end(s, &l);
}

/* A value that is not understood is told with the name of whom it keeps out, but not each time. */
static bool told(struct sqlite_store *s, const struct sqlite_rows *l, bool ok)
{
    if (ok || !l->reader || l->rc) return ok;
    trouble_damaged(&s->reading, l->user, l->error);
    return ok;
}

bool sqlite_read_user(struct store *base, const char *user, const struct store_visitor *v,
                      void *ctx)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    char error[256];
    struct sqlite_rows l = {.v = v, .ctx = ctx, .error = error, .error_cap = sizeof error};
    const struct {
        bool wanted;
        enum sqlite_read which;
        void (*row)(struct sqlite_rows *, sqlite3_stmt *);
    } tables[] = {
        {v->user, SQL_READ_USER, sqlite_row_user},
        {v->device, SQL_READ_DEVICES_OF, sqlite_row_device},
        {v->item, SQL_READ_BONDS, sqlite_row_item},
    };
    snprintf(l.user, sizeof l.user, "%s", user);
    bool ok = begin(s, &l);
    for (size_t i = 0; i < sizeof tables / sizeof *tables && ok; i++)
        if (tables[i].wanted && bind_text(&l, tables[i].which, 1, user))
            sqlite_rows_each(&l, tables[i].which, tables[i].row);
    return told(s, &l, end(s, &l));
}

/* ---- pages ---- */
/* Few are found by when they were seen and put in order; among many a page is soon full in the order
 * of the key. */
static enum sqlite_read unseen_statement(struct sqlite_rows *l, int64_t before)
{
    sqlite3_stmt *q = l->reader->q[SQL_READ_UNSEEN_COUNT];
    bool many = false;
    if (bind_int(l, SQL_READ_UNSEEN_COUNT, 1, before) &&
        bind_int(l, SQL_READ_UNSEEN_COUNT, 2, UNSEEN_FEW)) {
        if (sqlite3_step(q) == SQLITE_ROW)
            many = sqlite3_column_int64(q, 0) == UNSEEN_FEW;
        else
            sqlite_rows_sql_fail(l);
    }
    sqlite3_reset(q);
    return many ? SQL_READ_UNSEEN_MANY : SQL_READ_UNSEEN;
}

static enum sqlite_read page_statement(struct sqlite_rows *l, const struct store_query *q)
{
    switch (q->filter) {
    case STORE_WIPES_EXPIRED: return q->user ? SQL_READ_USER_WIPES : SQL_READ_WIPES;
    case STORE_SEEN_BEFORE: return q->user ? SQL_READ_USER_UNSEEN : unseen_statement(l, q->before);
    case STORE_ALL: break;
    }
    return q->user ? SQL_READ_USER_DEVICES : SQL_READ_DEVICES;
}

/* No name is empty, so that everything is behind "". */
static bool bind_page(struct sqlite_rows *l, enum sqlite_read which, const struct store_query *q)
{
    int order = q->user && q->after_user ? strcmp(q->after_user, q->user) : 0;
    const char *after_user = q->after_user ? q->after_user : "";
    const char *after_device = q->after_user && order == 0 ? q->after_device_id : "";
    return (q->user ? bind_text(l, which, 5, q->user) : bind_text(l, which, 1, after_user)) &&
           bind_text(l, which, 2, after_device) && bind_int(l, which, 3, order > 0 ? 0 : q->most) &&
           (q->filter == STORE_ALL || bind_int(l, which, 4, q->before));
}

bool sqlite_read_devices(struct store *base, const struct store_query *q,
                         void (*each)(void *ctx, const struct device_record *r), void *ctx)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    const struct store_visitor v = {.device = each};
    char error[256];
    struct sqlite_rows l = {
        .v = &v, .ctx = ctx, .error = error, .error_cap = sizeof error, .leaves_out = &s->reading};
    if (begin(s, &l)) {
        enum sqlite_read which = page_statement(&l, q);
        if (!l.failed && bind_page(&l, which, q)) sqlite_rows_each(&l, which, sqlite_row_device);
    }
    return told(s, &l, end(s, &l));
}

bool sqlite_read_users(struct store *base, const char *after, unsigned most,
                       void (*each)(void *ctx, const struct user_record *r), void *ctx)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    const struct store_visitor v = {.user = each};
    char error[256];
    struct sqlite_rows l = {.v = &v, .ctx = ctx, .error = error, .error_cap = sizeof error};
    if (begin(s, &l) && bind_text(&l, SQL_READ_USERS, 1, after ? after : "") &&
        bind_int(&l, SQL_READ_USERS, 2, most))
        sqlite_rows_each(&l, SQL_READ_USERS, sqlite_row_user);
    return told(s, &l, end(s, &l));
}
