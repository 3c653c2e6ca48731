/* A file of before into the store that is in use. What somebody has shut out since stays out, what was
 * wiped is not wiped again, and what has happened stays in the audit log. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "src/server/store/sqlite.h"
#include "src/server/store/sqlite_copy.h"

#define COPY_NAME "restore.db" /* in the state directory */
#define FINDING_CAP 512
#define OTHER_TABLES "its tables are not those of a store"
#define CACHE_KIB "65536" /* for as long as it takes */

#define PENDING "('requested', 'sent', 'failed')"
#define SAME(a, b) a ".user = " b ".user AND " a ".device_id = " b ".device_id"
#define NOT_KEPT(t) "NOT EXISTS (SELECT 1 FROM temp.kept k WHERE " SAME("k", t) ")"

/* Where the rows of a table come from. */
enum origin {
    OF_FILE,
    OF_FILE_UNLESS_KEPT, /* rows of devices: but for those in temp.kept */
    MIXED,               /* statements of their own */
    OF_STORE             /* what has happened, and where the audit log stands */
};
static const struct {
    const char *name;
    enum origin origin;
} tables[] = {
    {"device", OF_FILE_UNLESS_KEPT},
    {"offer", OF_FILE_UNLESS_KEPT},
    {"device_info", OF_FILE_UNLESS_KEPT},
    {"trail", OF_FILE_UNLESS_KEPT},
    {"folder_state", OF_FILE},
    {"folder_ids", OF_FILE},
    {"policy", OF_FILE},
    {"user", MIXED},
    {"item", MIXED},
    {"audit", OF_STORE},
    {"event", OF_STORE},
    {"chain", OF_STORE},
    {"sqlite_sequence", OF_STORE},
};
#define TABLES (sizeof tables / sizeof *tables)

struct restore {
    struct sqlite_store *s;
    struct store_restore *r;
    const struct store_work *w;
    char copy[SQLITE_PATH_CAP + 16]; /* of the file: ours, nobody can change it meanwhile */
    sqlite3 *file, *made;            /* the file that was given; the copy */
    sqlite3 *db;                     /* the store, with the copy as "copy" */
    char finding[FINDING_CAP];       /* the first one that is bad */
};

static void step(const struct restore *x, const char *what)
{
    if (x->w->step) x->w->step(x->w->ctx, what, 0, 0);
}

static enum store_outcome unfit(const struct restore *x, const char *why)
{
    snprintf(x->w->error, x->w->error_cap, "%s cannot be restored: %s", x->r->path, why);
    return STORE_UNFIT;
}

static enum store_outcome failed(const struct restore *x)
{
    return work_failed(x->w, x->s->path, x->db, 0);
}

static int64_t number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *q = NULL;
    int64_t n = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
        n = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return n;
}

static bool run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

/* ---- is the file one to be used ---- */
/* As a copy of our own, which nobody changes between the looking and the taking. */
static enum store_outcome take_copy(struct restore *x)
{
    const struct store_work *w = x->w;
    char error[256];
    struct stat st;
    if (x->r->path[0] != '/') return unfit(x, "its path does not begin with /");
    if (stat(x->r->path, &st) == 0 && !S_ISREG(st.st_mode)) return unfit(x, "it is no file");
    if (!sqlite_connect(x->r->path, SQLITE_OPEN_READONLY, &x->file, error, sizeof error))
        return unfit(x, x->file ? sqlite3_errmsg(x->file) : error);
    unlink(x->copy);
    if (!sqlite_make_file(x->copy, w->error, w->error_cap) ||
        !sqlite_connect(x->copy, SQLITE_OPEN_READWRITE, &x->made, w->error, w->error_cap))
        return STORE_FAILED;
    int64_t schema = number(x->file, "PRAGMA user_version");
    if (schema < 0) return unfit(x, sqlite3_errmsg(x->file));
    if (schema == 0 ||
        number(x->file, "SELECT count(*) FROM sqlite_schema WHERE name = 'device'") != 1)
        return unfit(x, "it is no store of provostd");
    if (schema > sqlite_store_schema()) return unfit(x, "it was written by a newer provostd");
    enum store_outcome out = sqlite_copy(x->file, x->made, w);
    if (out == STORE_DONE) out = sqlite_sound(x->made, x->r->path, w);
    if (out == STORE_UNFIT) return unfit(x, "it is damaged");
    /* Nothing of the file's own is run, not even in the copy. */
    if (out == STORE_DONE &&
        number(x->made, "SELECT count(*) FROM sqlite_schema WHERE type IN ('trigger', 'view')") !=
            0)
        return unfit(x, OTHER_TABLES);
    return out;
}

static void take_finding(void *ctx, bool bad, const char *where, const char *why)
{
    struct restore *x = ctx;
    if (bad && !x->finding[0]) snprintf(x->finding, sizeof x->finding, "%s: %s", where, why);
}

/* Brought to the present schema, its rows understood. A state that it has may go by the name of
 * another one that is in somebody's memory: each gets a new one. */
static enum store_outcome look_through(struct restore *x)
{
    const struct store_work *w = x->w;
    char error[256];
    if (!sqlite_store_migrate(x->made, error, sizeof error)) return unfit(x, error);
    if (!run(x->made, "UPDATE device SET tag = (random() & 9223372036854775807) | 1"))
        return work_failed(w, x->copy, x->made, 0);
    sqlite3_close(x->made);
    x->made = NULL;
    struct store_check check = {.found = take_finding, .ctx = x};
    enum store_outcome out = sqlite_check_file(x->copy, &check, w);
    if (out == STORE_FAILED) return unfit(x, w->error);
    if (out != STORE_DONE || x->finding[0]) return out == STORE_DONE ? unfit(x, x->finding) : out;
    struct store *file = sqlite_store_look(x->copy, error, sizeof error);
    bool fits = file && x->r->fits(x->r->ctx, file, error, sizeof error);
    store_close(file);
    return fits ? STORE_DONE : unfit(x, error);
}

/* ---- the two side by side ---- */
static bool attach(struct restore *x)
{
    sqlite3_stmt *q = NULL;
    bool ok = sqlite3_prepare_v2(x->db, "ATTACH ? AS copy", -1, &q, NULL) == SQLITE_OK &&
              sqlite3_bind_text(q, 1, x->copy, -1, SQLITE_STATIC) == SQLITE_OK &&
              sqlite3_step(q) == SQLITE_DONE;
    sqlite3_finalize(q);
    return ok;
}

/* A file that has more than a store has, such as a trigger, is none of ours. */
static enum store_outcome compare_schemas(struct restore *x)
{
#define SCHEMA_OF(db)                                            \
    "SELECT type, name, tbl_name, sql FROM " db ".sqlite_schema" \
    " WHERE name NOT LIKE 'sqlite\\_stat%' ESCAPE '\\'"
    int64_t differ =
        number(x->db, "SELECT (SELECT count(*) FROM (" SCHEMA_OF("main") " EXCEPT " SCHEMA_OF(
                          "copy") "))"
                                  " + (SELECT count(*) FROM (" SCHEMA_OF(
                                      "copy") " EXCEPT " SCHEMA_OF("main") "))");
#undef SCHEMA_OF
    if (differ < 0) return failed(x);
    return differ ? unfit(x, OTHER_TABLES) : STORE_DONE;
}

static enum store_outcome put_side_by_side(struct restore *x)
{
    const struct store_work *w = x->w;
    if (!sqlite_connect(x->s->path, SQLITE_OPEN_READWRITE, &x->db, w->error, w->error_cap))
        return STORE_FAILED;
    if (!attach(x) || !run(x->db, "PRAGMA main.synchronous = FULL; PRAGMA wal_autocheckpoint = 0;"
                                  "PRAGMA main.cache_size = -" CACHE_KIB))
        return failed(x);
    return compare_schemas(x);
}

/* Within the transaction: whom the administrator has shut out since, or let in again after a wipe, and
 * whom nobody knows any more although the file would have it wiped. */
static bool find_kept(struct restore *x)
{
    return run(
        x->db,
        "CREATE TEMP TABLE kept (user TEXT NOT NULL, device_id TEXT NOT NULL, why TEXT NOT NULL,"
        " PRIMARY KEY (user, device_id)) WITHOUT ROWID;"
        "INSERT INTO temp.kept SELECT o.user, o.device_id,"
        " CASE WHEN o.wipe_state IN " PENDING " THEN 'wipe-pending'"
        "  WHEN o.shut <> 'not' THEN 'wiped' WHEN o.personal = 'block' THEN 'blocked'"
        "  WHEN o.personal = 'quarantine' THEN 'quarantined' ELSE 'wipe-over' END"
        " FROM main.device o LEFT JOIN copy.device f ON " SAME(
            "f",
            "o") " WHERE CASE WHEN f.user IS NULL"
                 "  THEN o.wipe_state IN " PENDING " OR o.shut <> 'not'"
                 "   OR o.personal IN ('block', 'quarantine')"
                 "  ELSE o.wipe_id <> f.wipe_id OR o.wipe_state <> f.wipe_state OR o.shut <> f.shut"
                 "   OR (o.personal IN ('block', 'quarantine') AND o.personal <> f.personal) END;"
                 "CREATE TEMP TABLE forgotten AS SELECT f.user, f.device_id FROM copy.device f"
                 " WHERE f.wipe_state IN " PENDING
                 " AND NOT EXISTS (SELECT 1 FROM main.device o WHERE " SAME(
                     "o", "f") ");"
                               "CREATE TEMP TABLE held_user AS SELECT * FROM main.user u"
                               " WHERE (u.enabled = 0 OR u.no_device_wipe = 1) AND NOT EXISTS"
                               "  (SELECT 1 FROM copy.user f WHERE f.name = u.name AND f.enabled "
                               "<= u.enabled"
                               "   AND f.no_device_wipe >= u.no_device_wipe)");
}

struct count {
    uint64_t *to;
    const char *sql;
};

static bool count(struct restore *x, const struct count *counts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int64_t rows = number(x->db, counts[i].sql);
        if (rows < 0) return false;
        *counts[i].to = (uint64_t)rows;
    }
    return true;
}

/* Takes as long as there are devices. */
static bool count_others(struct restore *x)
{
    const struct count counts[] = {
        {&x->r->devices, "SELECT count(*) FROM copy.device"},
        {&x->r->policies, "SELECT count(DISTINCT name) FROM copy.policy"},
        {&x->r->rules, "SELECT count(*) FROM copy.item WHERE kind = 'rule'"},
        {&x->r->gone,
         "SELECT count(*) FROM main.device o WHERE " NOT_KEPT(
             "o") " AND NOT EXISTS (SELECT 1 FROM copy.device f WHERE " SAME("f", "o") ")"},
        {&x->r->other_keys,
         "SELECT count(*) FROM main.device o JOIN copy.device f ON " SAME(
             "f", "o") " WHERE o.key <> 0 AND o.key <> f.key AND " NOT_KEPT("o")},
    };
    x->r->last_seen = number(x->db, "SELECT coalesce(max(last_seen), 0) FROM copy.device");
    return x->r->last_seen >= 0 && count(x, counts, sizeof counts / sizeof *counts);
}

static bool count_kept(struct restore *x)
{
    const struct count counts[] = {
        {&x->r->kept, "SELECT count(*) FROM temp.kept"},
        {&x->r->blocked, "SELECT count(*) FROM temp.forgotten"},
        {&x->r->held_users, "SELECT count(*) FROM temp.held_user"},
    };
    return count(x, counts, sizeof counts / sizeof *counts);
}

static bool tell_kept(struct restore *x)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(x->db,
                                "SELECT user, device_id, why FROM temp.kept UNION ALL"
                                " SELECT user, device_id, 'wipe-forgotten' FROM temp.forgotten"
                                " ORDER BY 1, 2 LIMIT ?",
                                -1, &q, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_bind_int64(q, 1, STORE_KEPT_MAX);
    while (rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        x->r->tell(x->r->ctx, (const char *)sqlite3_column_text(q, 0),
                   (const char *)sqlite3_column_text(q, 1),
                   (const char *)sqlite3_column_text(q, 2));
        rc = SQLITE_OK;
    }
    sqlite3_finalize(q);
    return rc == SQLITE_DONE;
}

/* ---- the change ---- */
static bool knows_all_tables(struct restore *x)
{
    sqlite3_stmt *q = NULL;
    bool ok = true;
    int rc = sqlite3_prepare_v2(x->db,
                                "SELECT name FROM main.sqlite_schema WHERE type = 'table'"
                                " AND name NOT LIKE 'sqlite\\_stat%' ESCAPE '\\'",
                                -1, &q, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(q, 0);
        size_t i = 0;
        while (name && i < TABLES && strcmp(tables[i].name, name) != 0) i++;
        ok = ok && name && i < TABLES;
        rc = SQLITE_OK;
    }
    sqlite3_finalize(q);
    return ok && rc == SQLITE_DONE;
}

/* An empty table is filled from one of the same schema page by page, its indexes too: nothing is sorted, and
 * who waits for us waits a tenth of the time. So what is kept goes out of the way first. */
static bool replace_table(struct restore *x, size_t i)
{
    char sql[1024];
    const char *t = tables[i].name;
    snprintf(sql, sizeof sql, "DELETE FROM main.%s; INSERT INTO main.%s SELECT * FROM copy.%s", t,
             t, t);
    if (tables[i].origin == OF_FILE) return run(x->db, sql);
    char keep[1024], back[1024];
    snprintf(keep, sizeof keep,
             "CREATE TEMP TABLE stays AS SELECT t.* FROM temp.kept k CROSS JOIN main.%s t ON " SAME(
                 "t", "k"),
             t);
    snprintf(
        back, sizeof back,
        "DELETE FROM main.%s WHERE (user, device_id) IN (SELECT user, device_id FROM temp.kept);"
        "INSERT INTO main.%s SELECT * FROM temp.stays; DROP TABLE temp.stays",
        t, t);
    return run(x->db, keep) && run(x->db, sql) && run(x->db, back);
}

/* Of users what is stricter. Tokens stay as they are: one that was removed since would be good again. */
static bool replace_mixed(struct restore *x)
{
    return run(
        x->db,
        "DELETE FROM main.user;"
        "INSERT INTO main.user SELECT * FROM copy.user;"
        "INSERT INTO main.user SELECT name, enabled, no_device_wipe FROM temp.held_user WHERE true"
        " ON CONFLICT (name) DO UPDATE SET enabled = min(enabled, excluded.enabled),"
        "  no_device_wipe = max(no_device_wipe, excluded.no_device_wipe);"
        "DELETE FROM main.item WHERE kind NOT IN ('audit', 'token');"
        "INSERT INTO main.item SELECT * FROM copy.item"
        " WHERE kind NOT IN ('audit', 'token', 'lists', 'move')");
}

/* A statement with one number and one text, of which it takes what it has. */
static bool run_with(struct restore *x, const char *sql, int64_t n, const char *text)
{
    sqlite3_stmt *q = NULL;
    bool ok = sqlite3_prepare_v2(x->db, sql, -1, &q, NULL) == SQLITE_OK;
    if (ok && !text) ok = sqlite3_bind_int64(q, 1, n) == SQLITE_OK;
    if (ok && text) ok = sqlite3_bind_text(q, 1, text, -1, SQLITE_STATIC) == SQLITE_OK;
    ok = ok && sqlite3_step(q) == SQLITE_DONE;
    sqlite3_finalize(q);
    return ok;
}

static bool change_all(struct restore *x, const char *line)
{
    char generation[24]; /* as an administrator's change names it */
    snprintf(generation, sizeof generation, "\"%016" PRIx64 "\"", store_tag());
    for (size_t i = 0; i < TABLES; i++)
        if (tables[i].origin < MIXED && !replace_table(x, i)) return false;
    return replace_mixed(x) &&
           run_with(x,
                    "UPDATE main.device SET personal = 'block', wipe_state = 'cancelled',"
                    " wipe_ended_at = ? WHERE (user, device_id) IN"
                    " (SELECT user, device_id FROM temp.forgotten)",
                    (int64_t)time(NULL), NULL) &&
           run_with(x, "INSERT INTO main.item VALUES ('lists', 'generation', ?)", 0, generation) &&
           run_with(x, "INSERT INTO main.audit(json) VALUES (?)", 0, line);
}

static enum store_outcome commit(struct restore *x)
{
    char *line = x->r->line(x->r->ctx, x->r);
    bool ok = line && change_all(x, line);
    if (!line) snprintf(x->w->error, x->w->error_cap, "out of memory");
    free(line);
    if (!ok) return line ? failed(x) : STORE_FAILED;
    if (work_stopped(x->w)) return failed(x);
    return run(x->db, "COMMIT") ? STORE_DONE : failed(x);
}

/* What would come of it, while others go on. */
static enum store_outcome look_ahead(struct restore *x)
{
    step(x, "comparing");
    bool ok = run(x->db, "BEGIN") && find_kept(x) && count_others(x) && count_kept(x) &&
              (!x->r->dry_run || tell_kept(x));
    enum store_outcome out = ok ? STORE_DONE : failed(x);
    run(x->db, "ROLLBACK"); /* what was found, too */
    return out;
}

/* With nobody else writing. */
static enum store_outcome change_alone(struct restore *x)
{
    enum store_outcome out = STORE_FAILED;
    if (!run(x->db, "BEGIN IMMEDIATE") || !find_kept(x) || !count_kept(x) || !tell_kept(x))
        out = failed(x);
    else if (!knows_all_tables(x))
        snprintf(x->w->error, x->w->error_cap, "a table of the store is not known to be restored");
    else
        out = commit(x);
    if (!sqlite3_get_autocommit(x->db)) run(x->db, "ROLLBACK");
    return out;
}

/* Whoever writes later has made that of what is there then, or is told that it was not. Of a failed
 * commit nobody knows what is there: then, too, it is read again. */
static enum store_outcome change_store(struct restore *x)
{
    struct sqlite_store *s = x->s;
    step(x, "restoring");
    pthread_mutex_lock(&s->hold);
    enum store_outcome out = change_alone(x);
    if (s->follower.all) s->follower.all(s->follower.ctx);
    pthread_mutex_unlock(&s->hold);
    if (out != STORE_DONE) return out;
    for (size_t i = 0; i < STORE_LISTENERS_MAX; i++)
        if (s->base.listeners[i].fn) s->base.listeners[i].fn(s->base.listeners[i].ctx);
    step(x, "writing");
    sqlite3_wal_checkpoint_v2(x->db, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL); /* or later */
    return out;
}

bool sqlite_follow(struct store *base, const struct store_follower *f)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    pthread_mutex_lock(&s->hold);
    s->follower = f ? *f : (struct store_follower){0};
    pthread_mutex_unlock(&s->hold);
    return true;
}

enum store_outcome sqlite_restore(struct store *base, struct store_restore *r,
                                  const struct store_work *w)
{
    struct restore x = {.s = (struct sqlite_store *)base, .r = r, .w = w};
    snprintf(x.copy, sizeof x.copy, "%.*s/" COPY_NAME, (int)(strrchr(x.s->path, '/') - x.s->path),
             x.s->path);
    enum store_outcome out = take_copy(&x);
    if (out == STORE_DONE) out = look_through(&x);
    if (out == STORE_DONE) out = put_side_by_side(&x);
    if (out == STORE_DONE) out = look_ahead(&x);
    if (out == STORE_DONE && !r->dry_run) out = change_store(&x);
    sqlite3_close(x.db);
    sqlite3_close(x.made);
    sqlite3_close(x.file);
    unlink(x.copy);
    return out;
}
