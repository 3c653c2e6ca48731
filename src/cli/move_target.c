/* The database that the store goes into. What is committed there is always whole rows and a note of how
 * far they go. */
#include <arpa/inet.h>
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/cli/move.h"
#include "src/server/store/pg.h"

#define PAGE "250" /* rows that are read at a time: a line of the audit log may be long */
#define SQL_CAP 2048
#define LOCK_PAUSE_MS 100
#define LOCK_MOST_MS 15000
#define SIGNATURE "PGCOPY\n\377\r\n"
#define SIGNATURE_LEN 11 /* the terminator of the above belongs to it */

struct target {
    struct pg_store store; /* as pg_link.c wants it: the URL, a name */
    struct pg_link link;
    PGresult *page; /* being read */
    int row;
    char *buffer; /* a row on its way */
    size_t cap;
};

static bool fail(const struct target *t, char *error, const char *why)
{
    snprintf(error, MOVE_ERROR_MAX, "%s: %s", t->store.name, why);
    size_t len = strlen(error);
    while (len && error[len - 1] == '\n') error[--len] = '\0';
    return false;
}

static bool broke(const struct target *t, char *error)
{
    return fail(t, error, PQerrorMessage(t->link.conn));
}

/* One statement with texts as parameters, answered in binary. NULL: error. */
static PGresult *ask(struct target *t, const char *sql, int count, const char *const *values,
                     char *error)
{
    PGresult *r = PQexecParams(t->link.conn, sql, count, NULL, values, NULL, NULL, 1);
    if (pg_good(r)) return r;
    fail(t, error,
         PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY)
             ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY)
             : PQerrorMessage(t->link.conn));
    PQclear(r);
    return NULL;
}

static bool run(struct target *t, const char *sql, int count, const char *const *values,
                char *error)
{
    PGresult *r = ask(t, sql, count, values, error);
    PQclear(r);
    return r != NULL;
}

/* Several statements at once. */
static bool run_all(struct target *t, const char *sql, char *error)
{
    PGresult *r = PQexec(t->link.conn, sql);
    bool ok = pg_good(r);
    if (!ok) broke(t, error);
    PQclear(r);
    return ok;
}

/* A number, -1: error. */
static int64_t number(struct target *t, const char *sql, char *error)
{
    PGresult *r = ask(t, sql, 0, NULL, error);
    int64_t n = r && PQntuples(r) == 1 ? pg_number(r, 0, 0) : -1;
    PQclear(r);
    return n;
}

struct target *target_open(const char *url, char *error)
{
    struct target *t = calloc(1, sizeof *t);
    if (!t) {
        snprintf(error, MOVE_ERROR_MAX, "out of memory");
        return NULL;
    }
    t->store.lease_ms = 10000;
    t->link = (struct pg_link){.store = &t->store, .role = PG_WRITER};
    if (pg_parse_url(&t->store, url, error, MOVE_ERROR_MAX)) {
        /* Nobody waits for us as for a server: what takes long is let be. */
        if (pg_dial(&t->link) && PQsetnonblocking(t->link.conn, 0) == 0) {
            if (run_all(t, "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0",
                        error))
                return t;
        } else {
            fail(t, error, t->link.why);
        }
    }
    target_close(t);
    return NULL;
}

void target_close(struct target *t)
{
    if (!t) return;
    PQclear(t->page);
    pg_disconnect(&t->link);
    PQconninfoFree(t->store.target);
    free(t->buffer);
    free(t);
}

const char *target_name(const struct target *t)
{
    return t->store.name;
}

/* ---- is it ours to fill ---- */
/* A name of something that is there, which nobody has moved; "": nothing. false: error. */
static bool find_other(struct target *t, char found[128], char *error)
{
    PGresult *r =
        ask(t,
            "SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
            " AND relkind IN ('r', 'p', 'v', 'm', 'f') AND relname NOT IN ('schema_version',"
            " 'device', 'device_info', 'policy', 'account', 'folder_state', 'folder_ids', 'item',"
            " 'trail', 'audit', 'event', 'chain', 'change', 'feed', 'store_move')"
            " ORDER BY 1 LIMIT 1",
            0, NULL, error);
    if (!r) return false;
    snprintf(found, 128, "%s", PQntuples(r) ? PQgetvalue(r, 0, 0) : "");
    PQclear(r);
    return true;
}

static bool is_empty(struct target *t, char *error)
{
    char sql[256], why[256];
    for (unsigned i = 0; i < move_table_count; i++) {
        const char *name = move_tables[i].to;
        snprintf(sql, sizeof sql, "SELECT count(*) FROM (SELECT FROM %s LIMIT 1) AS one", name);
        int64_t n = number(t, sql, error);
        if (n < 0) return false;
        if (n == 0) continue;
        snprintf(
            why, sizeof why,
            "it is not empty, there are rows in the table %s; a store moves into an empty database",
            name);
        return fail(t, error, why);
    }
    return true;
}

static bool make_note(struct target *t, const char *source, char *error)
{
    const char *const values[] = {source};
    return run_all(
               t,
               "CREATE TABLE IF NOT EXISTS store_move (source text NOT NULL, done bigint NOT NULL,"
               " step bigint NOT NULL, key1 bytea NOT NULL, key2 bytea NOT NULL,"
               " number bigint NOT NULL, rows bigint NOT NULL, at timestamptz NOT NULL DEFAULT "
               "now())",
               error) &&
           run(t, "INSERT INTO store_move VALUES ($1, 0, 0, '', '', 0, 0)", 1, values, error);
}

static bool throw_away(struct target *t, bool has_schema, char *error)
{
    char sql[SQL_CAP] = "TRUNCATE store_move";
    for (unsigned i = 0; has_schema && i < move_table_count; i++) {
        size_t len = strlen(sql);
        snprintf(sql + len, sizeof sql - len, ", %s", move_tables[i].to);
    }
    return run_all(t, sql, error);
}

static char *take_bytes(const PGresult *r, int column, size_t *len_out)
{
    *len_out = (size_t)PQgetlength(r, 0, column);
    char *bytes = malloc(*len_out + 1);
    if (bytes) memcpy(bytes, PQgetvalue(r, 0, column), *len_out + 1);
    return bytes;
}

/* 1: there is a note, 0: none, -1: error. source_out: whose. */
static int read_note(struct target *t, char source_out[MOVE_ID_LEN + 1], struct move_progress *out,
                     char *error)
{
    *out = (struct move_progress){0};
    int64_t there = number(t, "SELECT (to_regclass('store_move') IS NOT NULL)::int::bigint", error);
    if (there <= 0) return (int)there;
    PGresult *r = ask(t, "SELECT source, done, step, key1, key2, number, rows FROM store_move", 0,
                      NULL, error);
    if (!r) return -1;
    int found = PQntuples(r);
    if (found) {
        snprintf(source_out, MOVE_ID_LEN + 1, "%s", PQgetvalue(r, 0, 0));
        out->done = pg_number(r, 0, 1) != 0;
        out->step = (unsigned)pg_number(r, 0, 2);
        out->at.bytes[0] = take_bytes(r, 3, &out->at.len[0]);
        out->at.bytes[1] = take_bytes(r, 4, &out->at.len[1]);
        out->at.number = pg_number(r, 0, 5);
        out->rows = (uint64_t)pg_number(r, 0, 6);
        if (!out->at.bytes[0] || !out->at.bytes[1]) {
            fail(t, error, "out of memory");
            found = -1;
        }
    }
    PQclear(r);
    return found;
}

static bool begin_anew(struct target *t, const char *source, bool noted, struct move_progress *out,
                       char *error)
{
    move_key_free(&out->at);
    *out = (struct move_progress){0};
    int64_t there =
        number(t, "SELECT (to_regclass('schema_version') IS NOT NULL)::int::bigint", error);
    if (there < 0 || (there && !noted && !is_empty(t, error))) return false;
    /* The note before the schema: no server starts on what is being filled. */
    if (!run_all(t, "BEGIN", error) || (noted && !throw_away(t, there, error)) ||
        !make_note(t, source, error) || !run_all(t, "COMMIT", error))
        return false;
    return pg_migrate(&t->link) || fail(t, error, t->link.why);
}

/* One of us at a time; one that was killed has it for a moment longer. 1: ours, 0: another's, -1: error. */
static int take_lock(struct target *t, char *error)
{
    for (unsigned waited = 0;; waited += LOCK_PAUSE_MS) {
        int64_t got = number(t,
                             "SELECT pg_try_advisory_lock(hashtextextended('provost move '"
                             " || current_schema(), 0))::int::bigint",
                             error);
        if (got || waited >= LOCK_MOST_MS) return (int)got;
        nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_MS * 1000000L}, NULL);
    }
}

bool target_prepare(struct target *t, const char *source, bool anew, struct move_progress *out,
                    char *error)
{
    char other[128], why[256], whose[MOVE_ID_LEN + 1] = "";
    int locked = take_lock(t, error);
    if (locked < 0) return false;
    if (!locked) return fail(t, error, "another store is being moved into it at this moment");
    if (!find_other(t, other, error)) return false;
    if (other[0]) {
        snprintf(why, sizeof why,
                 "there is something else in it, such as \"%.100s\"; a store moves into an"
                 " empty database",
                 other);
        return fail(t, error, why);
    }
    int noted = read_note(t, whose, out, error);
    if (noted < 0) return false;
    bool same = noted && strcmp(whose, source) == 0;
    if (!noted) return begin_anew(t, source, false, out, error);
    if (out->done && !same)
        return fail(t, error, "another store was moved into it; it is not empty");
    if (out->done) return true;
    /* It may have been killed between the note and the schema. */
    if (same && !anew) return pg_migrate(&t->link) || fail(t, error, t->link.why);
    if (anew) return begin_anew(t, source, true, out, error);
    return fail(t, error,
                "a move into it has begun and not ended, of another store or before a server"
                " ran on this one again: --restart throws that away and begins anew");
}

/* ---- filling it ---- */
static void name_columns(const struct move_table *table, char *sql, size_t cap)
{
    for (unsigned i = 0; i < table->count; i++) {
        size_t len = strlen(sql);
        snprintf(sql + len, cap - len, "%s%s", i ? ", " : "", table->columns[i].to);
    }
}

static bool put(struct target *t, const char *bytes, size_t len, char *error)
{
    return PQputCopyData(t->link.conn, bytes, (int)len) == 1 || broke(t, error);
}

bool target_begin(struct target *t, const struct move_table *table, char *error)
{
    char sql[SQL_CAP];
    const char head[SIGNATURE_LEN + 8] = SIGNATURE; /* no flags, no extension */
    if (!run_all(t, "BEGIN", error)) return false;
    snprintf(sql, sizeof sql, "COPY %s (", table->to);
    name_columns(table, sql, sizeof sql);
    size_t len = strlen(sql);
    snprintf(sql + len, sizeof sql - len, ") FROM STDIN (FORMAT binary)");
    PGresult *r = PQexec(t->link.conn, sql);
    bool ok = PQresultStatus(r) == PGRES_COPY_IN;
    if (!ok) broke(t, error);
    PQclear(r);
    return ok && put(t, head, sizeof head, error);
}

static size_t row_size(const struct move_table *table, const struct move_row *r)
{
    size_t size = 2;
    for (unsigned i = 0; i < table->count; i++)
        size += 4 + (table->columns[i].kind == MOVE_NUMBER ? 8 : r->values[i].len);
    return size;
}

bool target_put(struct target *t, const struct move_table *table, const struct move_row *r,
                char *error)
{
    size_t size = row_size(table, r);
    if (size > t->cap) {
        char *buffer = realloc(t->buffer, size * 2);
        if (!buffer) return fail(t, error, "out of memory");
        t->buffer = buffer;
        t->cap = size * 2;
    }
    char *at = t->buffer;
    uint16_t count = htons((uint16_t)table->count);
    memcpy(at, &count, 2);
    at += 2;
    for (unsigned i = 0; i < table->count; i++) {
        bool is_number = table->columns[i].kind == MOVE_NUMBER;
        uint64_t wire = htobe64((uint64_t)r->values[i].number);
        const void *bytes = is_number ? (const void *)&wire : r->values[i].bytes;
        size_t len = is_number ? sizeof wire : r->values[i].len;
        uint32_t prefix = htonl((uint32_t)len);
        memcpy(at, &prefix, 4);
        if (len) memcpy(at + 4, bytes, len);
        at += 4 + len;
    }
    return put(t, t->buffer, size, error);
}

static bool end_copy(struct target *t, char *error)
{
    static const char trailer[2] = "\377\377";
    if (!put(t, trailer, sizeof trailer, error)) return false;
    if (PQputCopyEnd(t->link.conn, NULL) != 1) return broke(t, error);
    bool ok = true;
    for (PGresult *r; (r = PQgetResult(t->link.conn)) != NULL; PQclear(r))
        if (ok && !pg_good(r)) ok = broke(t, error);
    return ok;
}

bool target_commit(struct target *t, const struct move_table *table, const struct move_progress *p,
                   char *error)
{
    char step[16], number_text[24], rows[24];
    snprintf(step, sizeof step, "%u", p->step);
    snprintf(number_text, sizeof number_text, "%" PRId64, p->at.number);
    snprintf(rows, sizeof rows, "%" PRIu64, p->rows);
    const char *values[] = {step, p->at.bytes[0] ? p->at.bytes[0] : "",
                            p->at.bytes[1] ? p->at.bytes[1] : "", number_text, rows};
    const int lengths[] = {0, (int)p->at.len[0], (int)p->at.len[1], 0, 0};
    const int formats[] = {0, 1, 1, 0, 0};
    if (table && !end_copy(t, error)) return false;
    PGresult *r =
        PQexecParams(t->link.conn,
                     "UPDATE store_move SET step = $1::bigint, key1 = $2::bytea,"
                     " key2 = $3::bytea, number = $4::bigint, rows = $5::bigint, at = now()",
                     5, NULL, values, lengths, formats, 1);
    bool ok = pg_good(r) || broke(t, error);
    PQclear(r);
    return ok && (!table || run_all(t, "COMMIT", error));
}

/* ---- reading it back ---- */
bool target_read(struct target *t, const struct move_table *table, char *error)
{
    char sql[SQL_CAP] =
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; DECLARE back BINARY CURSOR FOR SELECT ";
    name_columns(table, sql, sizeof sql);
    size_t len = strlen(sql);
    snprintf(sql + len, sizeof sql - len, " FROM %s WHERE %s ORDER BY %s%s%s", table->to,
             table->where ? table->where : "true", table->columns[0].to,
             table->key == 2 ? ", " : "", table->key == 2 ? table->columns[1].to : "");
    PQclear(t->page);
    t->page = NULL;
    t->row = 0;
    return run_all(t, sql, error);
}

int target_next(struct target *t, const struct move_table *table, struct move_row *r, char *error)
{
    if (!t->page || t->row == PQntuples(t->page)) {
        PQclear(t->page);
        t->page = ask(t, "FETCH " PAGE " FROM back", 0, NULL, error);
        t->row = 0;
        if (!t->page) return -1;
        if (PQntuples(t->page) == 0) return 0;
    }
    for (unsigned i = 0; i < table->count; i++) {
        if (table->columns[i].kind == MOVE_NUMBER)
            r->values[i].number = pg_number(t->page, t->row, (int)i);
        r->values[i].bytes = PQgetvalue(t->page, t->row, (int)i);
        r->values[i].len = (size_t)PQgetlength(t->page, t->row, (int)i);
    }
    t->row++;
    return 1;
}

bool target_read_end(struct target *t, char *error)
{
    PQclear(t->page);
    t->page = NULL;
    return run_all(t, "COMMIT", error);
}

/* ---- the end ---- */
bool target_finish(struct target *t, const char *head, const char *line, char *error)
{
    char sql[256];
    const char *const heads[] = {head};
    const char *const lines[] = {line};
    if (!run_all(t, "BEGIN", error)) return false;
    for (unsigned i = 0; i < move_table_count; i++) {
        const struct move_table *m = &move_tables[i];
        if (!m->sequence) continue;
        snprintf(sql, sizeof sql,
                 "SELECT setval(pg_get_serial_sequence('%s', '%s'), greatest(max(%s), 1), max(%s) "
                 "IS NOT NULL)"
                 " FROM %s",
                 m->to, m->sequence, m->sequence, m->sequence, m->to);
        if (!run(t, sql, 0, NULL, error)) return false;
    }
    return (!head[0] ||
            run(t, "INSERT INTO item VALUES ('audit', 'head', convert_to($1::text, 'UTF8'))", 1,
                heads, error)) &&
           run(t, "INSERT INTO audit (json) VALUES (convert_to($1::text, 'UTF8'))", 1, lines,
               error) &&
           run_all(t, "UPDATE store_move SET done = 1, at = now(); COMMIT; ANALYZE", error);
}
