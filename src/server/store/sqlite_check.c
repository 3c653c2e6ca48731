/* Is every page, every row, and what rows say of each other as it should be? */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/server/store/sqlite.h"
#include "src/server/store/sqlite_copy.h"

#define PAGES_MOST_S 900   /* for looking at the pages: the log grows meanwhile */
#define STOP_EVERY 100000  /* instructions of SQLite's machine */
#define STEP_EVERY 1000    /* rows */
#define FAULTS_OF_PAGES 20 /* after that a file is beyond repair */
#define WHERE_CAP 640
#define WHY_CAP 512

struct check {
    const struct store_work *w;
    struct store_check *c;
    struct sqlite_reader *reader;
    const char *path;
    struct timespec until; /* of the pages */
    uint64_t expected;     /* rows, by a count that may be a little old */
};

static void found(struct check *k, bool bad, const char *where, const char *why)
{
    /* Whoever reads it knows which file it is. */
    size_t len = strlen(k->path);
    if (strncmp(why, k->path, len) == 0 && strncmp(why + len, ": ", 2) == 0) why += len + 2;
    check_found(k->c, bad, where, why);
}

static void sql_found(struct check *k, const char *where)
{
    found(k, true, where, sqlite3_errmsg(k->reader->db));
}

/* false: it is to end. */
static bool counted(struct check *k)
{
    if (k->c->rows++ % STEP_EVERY) return true;
    if (k->w->step) k->w->step(k->w->ctx, "reading rows", k->c->rows, k->expected);
    return !work_stopped(k->w);
}

/* ---- pages ---- */
static int ask_to_stop(void *arg)
{
    struct check *k = arg;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return work_stopped(k->w) || now.tv_sec >= k->until.tv_sec;
}

/* Several may come together. */
static void page_faults(struct check *k, const char *said)
{
    char why[WHY_CAP];
    for (const char *at = sqlite_fault_text(said); *at;) {
        size_t len = strcspn(at, "\n");
        snprintf(why, sizeof why, "%.*s", (int)len, at);
        found(k, true, "file", why);
        at += len + (at[len] == '\n');
    }
}

static void check_pages(struct check *k)
{
    char sql[64];
    sqlite3 *db = k->reader->db;
    sqlite3_stmt *q = NULL;
    if (k->w->step) k->w->step(k->w->ctx, "looking at the pages", 0, 0);
    clock_gettime(CLOCK_MONOTONIC, &k->until);
    k->until.tv_sec += PAGES_MOST_S;
    sqlite3_progress_handler(db, STOP_EVERY, ask_to_stop, k);
    snprintf(sql, sizeof sql, "PRAGMA integrity_check(%d)", FAULTS_OF_PAGES);
    int rc = sqlite3_prepare_v2(db, sql, -1, &q, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        const char *said = (const char *)sqlite3_column_text(q, 0);
        if (said && strcmp(said, "ok") != 0) page_faults(k, said);
        rc = SQLITE_OK;
    }
    if (rc == SQLITE_INTERRUPT && !work_stopped(k->w))
        found(k, false, "file", "looking at all its pages takes longer than a quarter of an hour");
    else if (rc != SQLITE_DONE && rc != SQLITE_INTERRUPT)
        sql_found(k, "file");
    sqlite3_finalize(q);
    sqlite3_progress_handler(db, 0, NULL, NULL);
}

/* ---- rows that become records ---- */
static void nothing_device(void *ctx, const struct device_record *r)
{
    (void)ctx, (void)r;
}

static void nothing_item(void *ctx, const struct item_record *r)
{
    (void)ctx, (void)r;
}

static void nothing_policy(void *ctx, const struct policy_record *r)
{
    (void)ctx, (void)r;
}

static void nothing_user(void *ctx, const struct user_record *r)
{
    (void)ctx, (void)r;
}

static const struct store_visitor nobody = {
    .item = nothing_item, .policy = nothing_policy, .user = nothing_user, .device = nothing_device};

static const struct {
    const char *name;
    enum sqlite_read which;
    int key_columns;
    void (*row)(struct sqlite_rows *l, sqlite3_stmt *q);
} records[] = {
    {"device", SQL_READ_ALL_DEVICES, 2, sqlite_row_device},
    {"item", SQL_READ_ALL_ITEMS, 2, sqlite_row_item},
    {"policy", SQL_READ_POLICIES, 1, sqlite_row_policy},
    {"user", SQL_READ_ALL_USERS, 1, sqlite_row_user},
};

static const char *text_or(sqlite3_stmt *q, int at, const char *otherwise)
{
    const char *text = (const char *)sqlite3_column_text(q, at);
    return text ? text : otherwise;
}

static void check_records(struct check *k, size_t i)
{
    sqlite3_stmt *q = k->reader->q[records[i].which];
    char error[WHY_CAP], where[WHERE_CAP];
    int rc;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW && counted(k)) {
        struct sqlite_rows l = {
            .reader = k->reader, .v = &nobody, .error = error, .error_cap = sizeof error};
        records[i].row(&l, q);
        if (!l.failed) continue;
        bool pair = records[i].key_columns == 2;
        snprintf(where, sizeof where, "%s %s%s%s", records[i].name, text_or(q, 0, "?"),
                 pair ? "/" : "", pair ? text_or(q, 1, "?") : "");
        found(k, true, where, error);
    }
    if (rc != SQLITE_DONE && rc != SQLITE_ROW) sql_found(k, records[i].name);
    sqlite3_reset(q);
}

/* ---- texts that are JSON ---- */
static const struct {
    const char *name, *sql; /* what the row is called, then its texts */
    bool empty;             /* one may be "" */
    bool bad;               /* if one is none */
} texts[] = {
    {"device_info", "SELECT user || '/' || device_id, info, history FROM device_info", false,
     false},
    {"folder_state", "SELECT user || '/' || device_id, tree, previous_tree, ping FROM folder_state",
     true, false},
    {"folder_ids", "SELECT user, ids FROM folder_ids", false, false},
    {"trail", "SELECT user || '/' || device_id, trail FROM trail", false, false},
    {"item", "SELECT kind || '/' || name, json FROM item WHERE kind <> 'lists'", false, true},
    {"policy", "SELECT revision, settings FROM policy", false, true},
    {"audit", "SELECT id, json FROM audit", false, false},
    {"event", "SELECT id, json FROM event", false, false},
    {"chain", "SELECT seq, json FROM chain", false, false},
};

static bool is_json(const char *text)
{
    json_t *json = json_loadb(text, strlen(text), JSON_DECODE_ANY, NULL);
    json_decref(json);
    return json != NULL;
}

static void check_texts(struct check *k, size_t i)
{
    char where[WHERE_CAP];
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(k->reader->db, texts[i].sql, -1, &q, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW && counted(k)) {
        for (int at = 1; at < sqlite3_column_count(q); at++) {
            const char *text = text_or(q, at, "");
            if ((texts[i].empty && !text[0]) || is_json(text)) continue;
            snprintf(where, sizeof where, "%s %s", texts[i].name, text_or(q, 0, "?"));
            found(k, texts[i].bad, where, "a text is no JSON");
        }
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_DONE && rc != SQLITE_OK) sql_found(k, texts[i].name);
    sqlite3_finalize(q);
}

/* ---- what rows say of each other ---- */
#define OF_NO_DEVICE \
    "NOT EXISTS (SELECT 1 FROM device d WHERE d.user = x.user AND d.device_id = x.device_id)"
/* The user of a bond is what stands before its last slash. */
#define BONDS                                                                                 \
    "(SELECT name, substr(name, 1, length(head) - 1) AS user, substr(name, length(head) + 1)" \
    " AS device_id FROM (SELECT name, rtrim(name, replace(name, '/', '')) AS head FROM item"  \
    " WHERE kind = 'bond'))"
#define REVISION_MISSING(member)                                                              \
    "SELECT count(*), min(x.name) FROM item x WHERE kind = 'line' AND json_valid(json)"       \
    " AND coalesce(json_extract(json, '$." member "'), 0) <> 0 AND NOT EXISTS (SELECT 1 FROM" \
    " policy p WHERE p.name = x.name AND p.revision = json_extract(x.json, '$." member "'))"

static const struct {
    const char *where, *sql; /* how many, and the name of one */
    const char *why;
    bool bad;
} ties[] = {
    {"offer", "SELECT count(*), min(user || '/' || device_id) FROM offer x WHERE " OF_NO_DEVICE,
     "belong to no device", false},
    {"device_info",
     "SELECT count(*), min(user || '/' || device_id) FROM device_info x WHERE " OF_NO_DEVICE,
     "belong to no device", false},
    {"trail", "SELECT count(*), min(user || '/' || device_id) FROM trail x WHERE " OF_NO_DEVICE,
     "belong to no device", false},
    {"folder_state",
     "SELECT count(*), min(user || '/' || device_id) FROM folder_state x WHERE " OF_NO_DEVICE,
     "belong to no device", false},
    {"item bond", "SELECT count(*), min(name) FROM " BONDS " x WHERE " OF_NO_DEVICE,
     "belong to no device", false},
    {"item line", REVISION_MISSING("current"), "name a revision that is not there", true},
    {"item line", REVISION_MISSING("candidate"), "name a candidate that is not there", true},
    {"item assignment",
     "SELECT count(*), min(x.name) FROM item x WHERE kind = 'assignment' AND json_valid(json) AND"
     " NOT EXISTS (SELECT 1 FROM policy p WHERE p.name = json_extract(x.json, '$.policy'))",
     "name a policy that is not there", true},
};

static void check_ties(struct check *k, size_t i)
{
    char why[WHY_CAP];
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(k->reader->db, ties[i].sql, -1, &q, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(q);
    int64_t count = rc == SQLITE_ROW ? sqlite3_column_int64(q, 0) : 0;
    if (rc != SQLITE_ROW) {
        sql_found(k, ties[i].where);
    } else if (count) {
        snprintf(why, sizeof why, "%lld rows %s, as %.300s", (long long)count, ties[i].why,
                 text_or(q, 1, "?"));
        found(k, ties[i].bad, ties[i].where, why);
    }
    sqlite3_finalize(q);
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

/* As far as it goes; nothing of it keeps the rest from being looked at. */
static void check_all(struct check *k)
{
    sqlite3 *db = k->reader->db;
    char why[WHY_CAP];
    int64_t schema = number(db, "PRAGMA user_version");
    if (schema != sqlite_store_schema()) {
        snprintf(why, sizeof why, "it has schema %lld, not %lld", (long long)schema,
                 (long long)sqlite_store_schema());
        found(k, true, "file", why);
    }
    check_pages(k);
    int64_t rows =
        number(db, "SELECT (SELECT count(*) FROM device) + (SELECT count(*) FROM device_info)"
                   " + (SELECT count(*) FROM folder_state) + (SELECT count(*) FROM trail)");
    k->expected = rows > 0 ? (uint64_t)rows : 0;
    for (size_t i = 0; i < sizeof records / sizeof *records && !work_stopped(k->w); i++)
        check_records(k, i);
    for (size_t i = 0; i < sizeof texts / sizeof *texts && !work_stopped(k->w); i++)
        check_texts(k, i);
    for (size_t i = 0; i < sizeof ties / sizeof *ties && !work_stopped(k->w); i++) check_ties(k, i);
}

enum store_outcome sqlite_check_file(const char *path, struct store_check *c,
                                     const struct store_work *w)
{
    struct check k = {.w = w, .c = c, .path = path};
    k.reader = sqlite_reader_create(path, w->error, w->error_cap);
    if (!k.reader) return STORE_FAILED;
    if (sqlite3_exec(k.reader->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK) check_all(&k);
    sqlite3_exec(k.reader->db, "COMMIT", NULL, NULL, NULL);
    enum store_outcome out = work_stopped(w) ? work_failed(w, path, NULL, 0) : STORE_DONE;
    sqlite_reader_destroy(k.reader);
    return out;
}

enum store_outcome sqlite_check(struct store *base, struct store_check *c,
                                const struct store_work *w)
{
    return sqlite_check_file(((struct sqlite_store *)base)->path, c, w);
}
