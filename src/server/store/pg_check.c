/* Is every row, and what rows say of each other, as it should be? Pages and indexes are PostgreSQL's own
 * matter (pg_amcheck). */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "src/server/store/pg_rows.h"
#include "src/server/store/upkeep.h"

#define PAGE 1000
#define PATIENCE_MS 900000 /* for one statement */
#define WHERE_CAP 640
#define WHY_CAP 512
#define SQL_CAP 1024

struct check {
    const struct store_work *w;
    struct store_check *c;
    struct pg_link link; /* its own, so that no other reader waits */
    uint64_t expected;   /* rows; 0: nobody knows */
};

static bool is_stopped(const struct check *k)
{
    return k->w->stop && atomic_load_explicit(k->w->stop, memory_order_relaxed);
}

static void count(struct check *k, int rows)
{
    k->c->rows += (uint64_t)rows;
    if (k->w->step) k->w->step(k->w->ctx, "reading rows", k->c->rows, k->expected);
}

/* ---- tables, page by page ---- */
enum key {
    KEY_OWNER,
    KEY_DEVICE,
    KEY_ITEM,
    KEY_NUMBER
}; /* columns: owner; owner, device_id; ... */

struct table {
    const char *name;
    enum key kind;
    const char *key, *after; /* columns, and what they must be behind */
    const char *columns;     /* all that are read, the key first */
    /* How a row is understood; NULL: the columns behind the key are texts that are JSON. */
    bool (*understood)(struct pg_rows *q);
    bool empty, bad; /* such a text may be ""; somebody is kept out if one is no JSON */
};

static bool device(struct pg_rows *q)
{
    struct device_record r;
    return pg_row_device(q, &r);
}

static bool account(struct pg_rows *q)
{
    struct user_record r;
    return pg_row_account(q, &r);
}

static bool is_json(const char *text)
{
    json_t *json = json_loadb(text, strlen(text), JSON_DECODE_ANY, NULL);
    json_decref(json);
    return json != NULL;
}

static void found(struct check *k, const struct table *t, const struct pg_rows *q, bool bad,
                  const char *why)
{
    char where[WHERE_CAP];
    if (t->kind == KEY_NUMBER)
        snprintf(where, sizeof where, "%s %lld", t->name, (long long)pg_number(q->r, q->row, 0));
    else
        snprintf(where, sizeof where, "%s %.255s%s%.255s", t->name, PQgetvalue(q->r, q->row, 0),
                 t->kind == KEY_OWNER ? "" : "/",
                 t->kind == KEY_OWNER ? "" : PQgetvalue(q->r, q->row, 1));
    check_found(k->c, bad, where, why);
}

static void look_at_row(struct check *k, const struct table *t, struct pg_rows *q)
{
    q->error[0] = '\0';
    if (t->understood) {
        if (!t->understood(q)) found(k, t, q, true, q->error);
        return;
    }
    int key = t->kind == KEY_DEVICE || t->kind == KEY_ITEM ? 2 : 1;
    for (int at = key; at < PQnfields(q->r); at++) {
        const char *text = PQgetvalue(q->r, q->row, at);
        if ((t->empty && !text[0]) || is_json(text)) continue;
        found(k, t, q, t->bad, "a text is no JSON");
        return;
    }
}

/* The key of the last row of a page, for the next; borrowed from it. */
static void put_key(struct pg_args *a, const struct table *t, const PGresult *r)
{
    int last = r ? PQntuples(r) - 1 : -1;
    int columns = t->kind == KEY_DEVICE || t->kind == KEY_ITEM ? 2 : 1;
    for (int i = 0; i < columns; i++) {
        if (t->kind == KEY_NUMBER)
            pg_int(a, last < 0 ? 0 : pg_number(r, last, 0));
        else if (last < 0)
            pg_text(a, "");
        else
            pg_bytes(a, PQgetvalue(r, last, i), (size_t)PQgetlength(r, last, i));
    }
}

/* false: the connection, or it is to end. */
static bool check_table(struct check *k, const struct table *t)
{
    char sql[SQL_CAP];
    PGresult *page = NULL, *before = NULL;
    snprintf(sql, sizeof sql, "SELECT %s FROM %s WHERE (%s) > (%s) ORDER BY %s LIMIT %d",
             t->columns, t->name, t->key, t->after, t->key, PAGE);
    bool ok = true;
    do {
        struct pg_args a = {0};
        put_key(&a, t, before);
        ok = pg_run_planned(&k->link, sql, &a, &page);
        PQclear(before);
        before = page;
        struct pg_rows q = {.r = page};
        for (; ok && q.row < PQntuples(page); q.row++) look_at_row(k, t, &q);
        if (ok) count(k, PQntuples(page));
    } while (ok && !is_stopped(k) && PQntuples(page) == PAGE);
    PQclear(before);
    return ok && !is_stopped(k);
}

#define OWNER .kind = KEY_OWNER, .key = "owner", .after = "$1::bytea"
#define DEVICE .kind = KEY_DEVICE, .key = "owner, device_id", .after = "$1::bytea, $2::bytea"
#define ITEM .kind = KEY_ITEM, .key = "kind, name", .after = "$1::text, $2::bytea"
#define NUMBER(column) .kind = KEY_NUMBER, .key = column, .after = "$1::bigint"
static const struct table tables[] = {
    {"device", DEVICE, .columns = "owner, device_id, " PG_DEVICE_COLUMNS, .understood = device},
    {"account", OWNER, .columns = "owner, enabled, no_device_wipe", .understood = account},
    {"device_info", DEVICE, .columns = "owner, device_id, info, history"},
    {"folder_state", DEVICE, .columns = "owner, device_id, tree, previous_tree, ping",
     .empty = true},
    {"folder_ids", OWNER, .columns = "owner, ids"},
    {"trail", DEVICE, .columns = "owner, device_id, trail"},
    {"item", ITEM, .columns = "kind, name, json", .bad = true},
    {"policy", NUMBER("revision"), .columns = "revision, settings", .bad = true},
    {"audit", NUMBER("id"), .columns = "id, json"},
    {"event", NUMBER("id"), .columns = "id, json"},
    {"chain", NUMBER("seq"), .columns = "seq, json"},
};

/* ---- what rows say of each other ---- */
#define OF_NO_DEVICE(table)                                                                 \
    "SELECT count(*), min(encode(x.owner || '\\x2f' || x.device_id, 'escape')) FROM " table \
    " AS x"                                                                                 \
    " WHERE NOT EXISTS (SELECT FROM device AS d WHERE d.owner = x.owner"                    \
    " AND d.device_id = x.device_id)"
static const struct {
    const char *where, *sql; /* how many, and the name of one */
} ties[] = {
    {"device_info", OF_NO_DEVICE("device_info")},
    {"trail", OF_NO_DEVICE("trail")},
    {"folder_state", OF_NO_DEVICE("folder_state")},
    {"item bond",
     "SELECT count(*), min(encode(x.name, 'escape')) FROM item AS x WHERE kind = 'bond'"
     " AND NOT EXISTS (SELECT FROM device AS d"
     " WHERE d.owner || '\\x2f'::bytea || d.device_id = x.name)"},
};

static bool check_tie(struct check *k, size_t i)
{
    static const struct pg_args none;
    char why[WHY_CAP];
    PGresult *r;
    if (!pg_run_planned(&k->link, ties[i].sql, &none, &r)) return false;
    int64_t count = pg_number(r, 0, 0);
    if (count) {
        snprintf(why, sizeof why, "%lld rows belong to no device, as %.300s", (long long)count,
                 PQgetvalue(r, 0, 1));
        check_found(k->c, false, ties[i].where, why);
    }
    PQclear(r);
    return !is_stopped(k);
}

/* Of one instant; what takes long is let be, it holds up nobody. */
static bool check_all(struct check *k)
{
    static const struct pg_args none;
    PGresult *r;
    if (!pg_run(&k->link, Q_SNAPSHOT, NULL, &r)) return false;
    PQclear(r);
    if (!pg_run_planned(&k->link, "SELECT set_config('statement_timeout', '0', true)", &none, &r))
        return false;
    PQclear(r);
    if (!pg_run_planned(
            &k->link,
            "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class WHERE oid IN"
            " ('device'::regclass, 'device_info'::regclass, 'folder_state'::regclass,"
            " 'trail'::regclass, 'chain'::regclass)",
            &none, &r))
        return false;
    k->expected = (uint64_t)pg_number(r, 0, 0);
    PQclear(r);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (!check_table(k, &tables[i])) return false;
    for (size_t i = 0; i < sizeof ties / sizeof *ties; i++)
        if (!check_tie(k, i)) return false;
    if (!pg_run(&k->link, Q_END, NULL, &r)) return false;
    PQclear(r);
    return true;
}

enum store_outcome pg_check(struct store *base, struct store_check *c, const struct store_work *w)
{
    struct pg_store *s = (struct pg_store *)base;
    struct check k = {
        .w = w, .c = c, .link = {.store = s, .role = PG_READER, .patience_ms = PATIENCE_MS}};
    bool ok = pg_connect(&k.link) && check_all(&k);
    pg_disconnect(&k.link);
    if (ok) return STORE_DONE;
    bool stopped = is_stopped(&k);
    if (stopped)
        snprintf(w->error, w->error_cap, "it was stopped");
    else
        snprintf(w->error, w->error_cap, "%s: %s", s->name, k.link.why);
    return stopped ? STORE_STOPPED : STORE_FAILED;
}
