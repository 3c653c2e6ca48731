/* The store of a server that is stopped: its file, and the files of its audit log. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/cli/move.h"
#include "src/server/observe/audit_dir.h"
#include "src/server/observe/audit_mover.h"
#include "src/server/store/sqlite_file.h"
#include "src/server/store/sqlite_moved.h"
#include "src/server/store/store.h"

#define SQL_CAP 4096

struct source {
    int lock_fd;
    sqlite3 *db;
    char path[SQLITE_PATH_CAP], audit_dir[SQLITE_PATH_CAP + 8];
    char id[MOVE_ID_LEN + 1];
    char moved_to[SQLITE_MOVED_MAX]; /* "": it was not */
    struct audit_report audit;       /* of the chain, which is whole */
};

static bool fail(char *error, const char *what, const char *why)
{
    snprintf(error, MOVE_ERROR_MAX, "%.*s: %s", MOVE_ERROR_MAX / 2, what, why); /* a long path */
    return false;
}

static bool sql_failed(const struct source *s, char *error)
{
    return fail(error, s->path, sqlite3_errmsg(s->db));
}

/* ---- bringing it up to date ---- */
/* Lines that a server which was killed has not moved to the files yet. */
static bool flush_audit(const struct source *s, const char *dir, char *error)
{
    const struct store_options o = {.url = "sqlite", .state = dir};
    struct store *store = store_open(&o, error, MOVE_ERROR_MAX);
    if (!store) return false;
    struct audit_mover *m =
        audit_mover_start(store, s->audit_dir, SIZE_MAX, 0, error, MOVE_ERROR_MAX);
    bool ok = m && audit_mover_flush(m);
    if (m && !ok) fail(error, s->audit_dir, "lines of the audit log cannot be written");
    audit_mover_stop(m);
    store_close(store);
    audit_mover_destroy(m);
    return ok;
}

static bool open_file(struct source *s, const char *dir, char *error)
{
    s->lock_fd = sqlite_take_lock(dir, error, MOVE_ERROR_MAX);
    if (s->lock_fd < 0) return false;
    return sqlite_connect(s->path, SQLITE_OPEN_READWRITE, &s->db, error, MOVE_ERROR_MAX) &&
           sqlite_store_migrate(s->db, error, MOVE_ERROR_MAX) &&
           sqlite_moved_read(s->db, s->moved_to, s->id, error, MOVE_ERROR_MAX);
}

static void close_file(struct source *s)
{
    sqlite3_close(s->db);
    if (s->lock_fd >= 0) close(s->lock_fd);
    s->db = NULL;
    s->lock_fd = -1;
}

static bool name_state(struct source *s, char *error)
{
    uint8_t random[MOVE_ID_LEN / 2];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return fail(error, "getrandom", strerror(errno));
    for (size_t i = 0; i < sizeof random; i++) snprintf(s->id + 2 * i, 3, "%02x", random[i]);
    return sqlite_moved_begin(s->db, s->id, error, MOVE_ERROR_MAX);
}

static int64_t number(const struct source *s, const char *sql)
{
    sqlite3_stmt *q = NULL;
    int64_t n = -1;
    if (sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
        n = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return n;
}

/* A row of a table or a column that nobody has thought of would be lost. */
static bool covers_everything(const struct source *s, char *error)
{
    sqlite3_stmt *q = NULL;
    bool ok = true;
    int rc =
        sqlite3_prepare_v2(s->db,
                           "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c"
                           " WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
                           " AND t.name NOT IN ('offer', 'chain')",
                           -1, &q, NULL);
    while (ok && rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        const char *table = (const char *)sqlite3_column_text(q, 0);
        const char *column = (const char *)sqlite3_column_text(q, 1);
        bool found = false;
        for (unsigned i = 0; i < move_table_count; i++) {
            const struct move_table *t = &move_tables[i];
            if (!t->from || !table || strcmp(t->from, table) != 0) continue;
            for (unsigned k = 0; k < t->count; k++)
                found = found || (column && strcmp(t->columns[k].from, column) == 0);
        }
        if (!found)
            snprintf(error, MOVE_ERROR_MAX,
                     "%.500s: column %s of table %s is not known to be moved", s->path,
                     column ? column : "?", table ? table : "?");
        ok = found;
        rc = SQLITE_OK;
    }
    sqlite3_finalize(q);
    return ok && (rc == SQLITE_DONE || sql_failed(s, error));
}

static bool check_audit(struct source *s, char *error)
{
    struct audit_head known = {0};
    struct stat st;
    if (stat(s->audit_dir, &st) != 0 && errno == ENOENT) return true; /* it has none yet */
    if (!sqlite_moved_head(s->db, &known.seq, known.hash, sizeof known.hash))
        return fail(error, s->path, "it does not tell where the audit log stands");
    if (!audit_verify(s->audit_dir, &known, &s->audit, error, MOVE_ERROR_MAX)) return false;
    if (s->audit.fault == AUDIT_FAULT_NONE) return true;
    snprintf(error, MOVE_ERROR_MAX,
             "%.400s/%s, line %" PRIu64 ": %s; only an audit log that is whole can be moved",
             s->audit_dir, s->audit.file, s->audit.line, s->audit.why);
    return false;
}

/* What the server, whose name for it this is, says when it starts. */
static bool prepare(struct source *s, const char *dir, char *error)
{
    struct stat st;
    if (!sqlite_file_path(dir, s->path, error, MOVE_ERROR_MAX)) return false;
    snprintf(s->audit_dir, sizeof s->audit_dir, "%s/audit", dir);
    if (stat(s->path, &st) != 0) return fail(error, s->path, strerror(errno));
    if (!open_file(s, dir, error)) return false;
    if (s->moved_to[0]) return true;
    if (!s->id[0]) {
        close_file(s);
        if (!flush_audit(s, dir, error) || !open_file(s, dir, error) || !name_state(s, error))
            return false;
    }
    return covers_everything(s, error) && check_audit(s, error) &&
           (number(s, "SELECT count(*) FROM chain") == 0 ||
            fail(error, s->path, "it has a chain of its own, which is not known to be moved"));
}

struct source *source_open(const char *dir, char *error)
{
    struct source *s = calloc(1, sizeof *s);
    if (!s) {
        fail(error, dir, "out of memory");
        return NULL;
    }
    s->lock_fd = -1;
    if (prepare(s, dir, error)) return s;
    source_close(s);
    return NULL;
}

void source_close(struct source *s)
{
    if (!s) return;
    close_file(s);
    free(s);
}

const char *source_id(const struct source *s)
{
    return s->id;
}

const char *source_moved_to(const struct source *s)
{
    return s->moved_to[0] ? s->moved_to : NULL;
}

/* ---- rows ---- */
bool source_count(struct source *s, uint64_t *out, char *error)
{
    char sql[256];
    *out = s->audit.lines;
    for (unsigned i = 0; i < move_table_count; i++) {
        const struct move_table *t = &move_tables[i];
        if (!t->from) continue;
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s WHERE %s", t->from,
                 t->where ? t->where : "true");
        int64_t n = number(s, sql);
        if (n < 0) return sql_failed(s, error);
        *out += (uint64_t)n;
    }
    return true;
}

/* Appends as snprintf does; what does not fit is a bug, and cuts the statement so that it is none. */
static void append(char sql[SQL_CAP], const char *a, const char *b)
{
    size_t len = strlen(sql);
    snprintf(sql + len, SQL_CAP - len, "%s%s", a, b);
}

static void select_rows(const struct move_table *t, char sql[SQL_CAP])
{
    sql[0] = '\0';
    for (unsigned i = 0; i < t->count; i++) append(sql, i ? ", " : "SELECT ", t->columns[i].from);
    append(sql, " FROM ", t->from);
    append(sql, " WHERE ", t->where ? t->where : "true");
    for (unsigned i = 0; i < t->key; i++) append(sql, i ? ", " : " AND (", t->columns[i].from);
    append(sql, ") > ", t->key == 2 ? "(?, ?)" : "(?)");
    for (unsigned i = 0; i < t->key; i++) append(sql, i ? ", " : " ORDER BY ", t->columns[i].from);
}

static int bind_key(sqlite3_stmt *q, const struct move_table *t, const struct move_key *after)
{
    int rc = SQLITE_OK;
    for (unsigned i = 0; i < t->key && rc == SQLITE_OK; i++) {
        const char *bytes = after->bytes[i] ? after->bytes[i] : "";
        if (t->columns[i].kind == MOVE_NUMBER)
            rc = sqlite3_bind_int64(q, (int)i + 1, after->number);
        else
            rc = sqlite3_bind_text(q, (int)i + 1, bytes, (int)after->len[i], SQLITE_TRANSIENT);
    }
    return rc;
}

static bool take_row(sqlite3_stmt *q, const struct move_table *t, struct move_row *r)
{
    for (unsigned i = 0; i < t->count; i++) {
        struct move_value *v = &r->values[i];
        if (t->columns[i].kind == MOVE_NUMBER) {
            v->number = sqlite3_column_int64(q, (int)i);
            continue;
        }
        v->bytes = (const char *)sqlite3_column_text(q, (int)i);
        v->len = (size_t)sqlite3_column_bytes(q, (int)i);
        if (!v->bytes) return false;
    }
    return true;
}

static bool each_row(struct source *s, const struct move_table *t, const struct move_key *after,
                     bool (*each)(void *ctx, const struct move_row *r), void *ctx, char *error)
{
    char sql[SQL_CAP];
    struct move_row r;
    sqlite3_stmt *q = NULL;
    select_rows(t, sql);
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &q, NULL);
    if (rc == SQLITE_OK) rc = bind_key(q, t, after);
    bool more = true;
    while (more && rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        rc = take_row(q, t, &r) ? SQLITE_OK : SQLITE_NOMEM;
        if (rc == SQLITE_OK) more = each(ctx, &r);
    }
    bool ok = !more || rc == SQLITE_DONE || sql_failed(s, error);
    sqlite3_finalize(q);
    return ok;
}

struct lines {
    bool (*each)(void *ctx, const struct move_row *r);
    void *ctx;
    bool more;
};

static void each_line(void *ctx, uint64_t seq, const char *line, size_t len)
{
    struct lines *l = ctx;
    const struct move_row r = {.values = {{.number = (int64_t)seq}, {.bytes = line, .len = len}}};
    if (l->more) l->more = l->each(l->ctx, &r);
}

bool source_each(struct source *s, const struct move_table *t, const struct move_key *after,
                 bool (*each)(void *ctx, const struct move_row *r), void *ctx, char *error)
{
    struct lines l = {each, ctx, true};
    if (t->from) return each_row(s, t, after, each, ctx, error);
    return s->audit.lines == 0 || audit_read(s->audit_dir, (uint64_t)after->number, SIZE_MAX,
                                             each_line, &l, error, MOVE_ERROR_MAX);
}

/* ---- where the audit log stands ---- */
static json_t *ends_of_files(const struct source *s, uint64_t *bytes_out)
{
    struct audit_spans spans = {0};
    struct stat st;
    json_t *ends = json_array();
    int dir = open(s->audit_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = ends && dir >= 0 && audit_list(dir, &spans);
    for (size_t i = 0; ok && i < spans.count; i++)
        ok = json_array_append_new(ends, json_integer((json_int_t)spans.span[i].last)) == 0;
    *bytes_out = dir >= 0 && fstatat(dir, AUDIT_CURRENT, &st, 0) == 0 ? (uint64_t)st.st_size : 0;
    free(spans.span);
    if (dir >= 0) close(dir);
    if (ok) return ends;
    json_decref(ends);
    return NULL;
}

char *source_audit_head(struct source *s, char *error)
{
    uint64_t bytes = 0;
    const struct audit_report *a = &s->audit;
    if (a->lines == 0) return strdup("");
    json_t *ends = ends_of_files(s, &bytes);
    json_t *head =
        ends ? json_pack("{s:I,s:s,s:I,s:I,s:o}", "seq", (json_int_t)a->head.seq, "hash",
                         a->head.hash, "first", (json_int_t)(a->first_seq > 1 ? a->first_seq : 0),
                         "bytes", (json_int_t)bytes, "ends", ends)
             : NULL;
    char *text = head ? json_dumps(head, JSON_COMPACT) : NULL;
    if (!text) fail(error, s->audit_dir, "its files cannot be listed");
    json_decref(head);
    return text;
}

/* ---- the mark ---- */
bool source_mark(struct source *s, const char *to, char *error)
{
    return sqlite_moved_mark(s->db, to, error, MOVE_ERROR_MAX);
}

bool source_unmark(const char *dir, char *error)
{
    struct source s = {.lock_fd = -1};
    bool ok = sqlite_file_path(dir, s.path, error, MOVE_ERROR_MAX);
    struct stat st;
    if (ok && stat(s.path, &st) != 0) ok = fail(error, s.path, strerror(errno));
    ok = ok && open_file(&s, dir, error) &&
         (s.moved_to[0] || fail(error, s.path, "it was not moved")) &&
         sqlite_moved_clear(s.db, error, MOVE_ERROR_MAX);
    close_file(&s);
    return ok;
}
