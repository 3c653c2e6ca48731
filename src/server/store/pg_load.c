/* Many rows into records. */
#include <stdio.h>
#include <string.h>

#include "src/server/store/pg_rows.h"

/* The row that could not be understood; its user stands in the first column. */
static void damaged(struct pg_store *s, const struct pg_rows *q)
{
    trouble_damaged(&s->trouble, PQgetvalue(q->r, q->row, 0), q->error);
}

/* ---- each row to a visitor ---- */
static void visit_items(const PGresult *r, const struct store_visitor *v, void *ctx)
{
    for (struct pg_rows q = {.r = r}; q.row < PQntuples(r); q.row++) {
        const struct item_record item = pg_row_item(&q);
        v->item(ctx, &item);
    }
}

static bool visit_policies(struct pg_rows *q, const struct store_visitor *v, void *ctx)
{
    struct policy_record policy;
    for (q->row = 0; q->row < PQntuples(q->r) && pg_row_policy(q, &policy); q->row++)
        v->policy(ctx, &policy);
    return !q->error[0];
}

static bool visit_accounts(struct pg_rows *q, const struct store_visitor *v, void *ctx)
{
    struct user_record user;
    for (q->row = 0; q->row < PQntuples(q->r) && pg_row_account(q, &user); q->row++)
        v->user(ctx, &user);
    return !q->error[0];
}

/* One that cannot be understood is told, and left out. */
static void visit_page(struct pg_store *s, struct pg_rows *q, const struct store_visitor *v,
                       void *ctx)
{
    struct device_record device;
    for (q->row = 0; q->row < PQntuples(q->r); q->row++) {
        q->error[0] = '\0';
        if (pg_row_device(q, &device))
            v->device(ctx, &device);
        else
            damaged(s, q);
    }
}

static bool visit_devices(struct pg_rows *q, const struct store_visitor *v, void *ctx)
{
    struct device_record device;
    for (q->row = 0; q->row < PQntuples(q->r) && pg_row_device(q, &device); q->row++)
        v->device(ctx, &device);
    return !q->error[0];
}

static void clear(PGresult *results[], size_t count)
{
    for (size_t i = 0; i < count; i++) PQclear(results[i]);
}

/* ---- as store.h says ---- */
bool pg_load(struct store *base, const struct store_visitor *v, void *ctx, char *error,
             size_t error_cap)
{
    struct pg_store *s = (struct pg_store *)base;
    const struct pg_question questions[] = {{.which = Q_ITEMS}, {.which = Q_POLICIES}};
    PGresult *r[2] = {0};
    if (!pg_read_together(s, questions, 2, r, error, error_cap)) return false;
    struct pg_rows q = {.r = r[1]};
    if (v->item) visit_items(r[0], v, ctx);
    bool ok = !v->policy || visit_policies(&q, v, ctx);
    if (!ok) snprintf(error, error_cap, "%s: %s", s->name, q.error);
    clear(r, 2);
    return ok;
}

bool pg_read_user(struct store *base, const char *user, const struct store_visitor *v, void *ctx)
{
    struct pg_store *s = (struct pg_store *)base;
    struct pg_question questions[] = {{.which = Q_ACCOUNT}, {.which = Q_OWNED}, {.which = Q_BONDS}};
    PGresult *r[3] = {0};
    for (size_t i = 0; i < 3; i++) pg_text(&questions[i].args, user);
    if (!pg_read_together(s, questions, 3, r, NULL, 0)) return false;
    struct pg_rows accounts = {.r = r[0]}, devices = {.r = r[1]};
    bool ok = (!v->user || visit_accounts(&accounts, v, ctx)) &&
              (!v->device || visit_devices(&devices, v, ctx));
    if (ok && v->item) visit_items(r[2], v, ctx);
    if (!ok) damaged(s, accounts.error[0] ? &accounts : &devices);
    clear(r, 3);
    return ok;
}

bool pg_read_users(struct store *base, const char *after, unsigned most,
                   void (*each)(void *ctx, const struct user_record *r), void *ctx)
{
    struct pg_store *s = (struct pg_store *)base;
    struct pg_args args = {0};
    const struct store_visitor v = {.user = each};
    PGresult *r;
    pg_text(&args, after ? after : ""); /* nobody is called so */
    pg_int(&args, most);
    if (!pg_read(s, Q_ACCOUNTS, &args, &r)) return false;
    struct pg_rows q = {.r = r};
    bool ok = visit_accounts(&q, &v, ctx);
    if (!ok) damaged(s, &q);
    PQclear(r);
    return ok;
}

/* A page of devices is planned anew each time: which index is best depends on how many are older than
 * that. $1, $2 the key that it is behind, $3 how many, $4 the time. */
#define PAGE(more)                                                                    \
    "SELECT owner, device_id, " PG_DEVICE_COLUMNS "," BOND " FROM device WHERE " more \
    " ORDER BY owner, device_id LIMIT $3"
#define BOND \
    "(SELECT json FROM item WHERE kind = 'bond' AND name = owner || '\\x2f'::bytea || device_id)"
#define BEHIND "(owner, device_id) > ($1::bytea, $2::bytea)"
#define OF_USER "owner = $1::bytea AND device_id > $2::bytea"
#define PENDING                                                             \
    "wipe_expires_at > 0 AND wipe_state IN ('requested', 'sent', 'failed')" \
    " AND wipe_expires_at < $4::bigint AND "
#define UNSEEN "seen_day <= $4::bigint / 86400 AND last_seen < $4::bigint AND "

bool pg_read_devices(struct store *base, const struct store_query *query,
                     void (*each)(void *ctx, const struct device_record *r), void *ctx)
{
    static const char *const pages[][2] = {
        [STORE_ALL] = {PAGE(BEHIND), PAGE(OF_USER)},
        [STORE_WIPES_EXPIRED] = {PAGE(PENDING BEHIND), PAGE(PENDING OF_USER)},
        [STORE_SEEN_BEFORE] = {PAGE(UNSEEN BEHIND), PAGE(UNSEEN OF_USER)},
    };
    struct pg_store *s = (struct pg_store *)base;
    struct pg_args args = {0};
    const struct store_visitor v = {.device = each};
    const char *after = query->after_user ? query->after_user : "", *after_id = "";
    PGresult *r;
    if (query->user) {
        int order = strcmp(after, query->user);
        if (query->after_user && order > 0) return true; /* all of them are before it */
        if (query->after_user && order == 0 && query->after_device_id)
            after_id = query->after_device_id;
        after = query->user;
    } else if (query->after_user && query->after_device_id) {
        after_id = query->after_device_id;
    }
    pg_text(&args, after);
    pg_text(&args, after_id);
    pg_int(&args, query->most);
    if (query->filter != STORE_ALL) pg_int(&args, query->before);
    if (!pg_read_planned(s, pages[query->filter][query->user != NULL], &args, &r)) return false;
    struct pg_rows q = {.r = r};
    visit_page(s, &q, &v, ctx);
    PQclear(r);
    return true;
}
