#include "src/server/store/sqlite_moved.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static bool failed(sqlite3 *db, char *error, size_t cap)
{
    snprintf(error, cap, "%s: %s", sqlite3_db_filename(db, "main"), sqlite3_errmsg(db));
    return false;
}

/* A statement with one text, which may be NULL. The first column goes to out, if there is a row. */
static bool run(sqlite3 *db, const char *sql, const char *text, char *out, size_t out_cap)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &q, NULL);
    if (rc == SQLITE_OK && text) rc = sqlite3_bind_text(q, 1, text, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = sqlite3_step(q);
    if (out_cap) out[0] = '\0';
    if (rc == SQLITE_ROW && out_cap) {
        const char *got = (const char *)sqlite3_column_text(q, 0);
        snprintf(out, out_cap, "%s", got ? got : "");
    }
    sqlite3_finalize(q);
    return rc == SQLITE_ROW || rc == SQLITE_DONE;
}

bool sqlite_moved_read(sqlite3 *db, char to_out[SQLITE_MOVED_MAX], char id_out[SQLITE_MOVED_ID],
                       char *error, size_t cap)
{
#define GET(name) \
    "SELECT json_extract(json, '$') FROM item WHERE kind = 'move' AND name = '" name "'"
    if (run(db, GET("to"), NULL, to_out, SQLITE_MOVED_MAX) &&
        run(db, GET("id"), NULL, id_out, SQLITE_MOVED_ID))
        return true;
#undef GET
    return failed(db, error, cap);
}

bool sqlite_moved_stays(sqlite3 *db, char *error, size_t cap)
{
    char to[SQLITE_MOVED_MAX], id[SQLITE_MOVED_ID];
    if (!sqlite_moved_read(db, to, id, error, cap)) return false;
    if (!to[0]) return !id[0] || sqlite_moved_clear(db, error, cap);
    snprintf(error, cap,
             "%s was moved to %s: the setting store names that; or \"provost store move --undo\" "
             "makes this "
             "one good again, without what has happened since",
             sqlite3_db_filename(db, "main"), to);
    return false;
}

bool sqlite_moved_begin(sqlite3 *db, const char *id, char *error, size_t cap)
{
    return run(db, "INSERT OR REPLACE INTO item VALUES ('move', 'id', json_quote(?))", id, NULL,
               0) ||
           failed(db, error, cap);
}

bool sqlite_moved_mark(sqlite3 *db, const char *to, char *error, size_t cap)
{
    return run(db, "INSERT OR REPLACE INTO item VALUES ('move', 'to', json_quote(?))", to, NULL,
               0) ||
           failed(db, error, cap);
}

bool sqlite_moved_clear(sqlite3 *db, char *error, size_t cap)
{
    return run(db, "DELETE FROM item WHERE kind = 'move'", NULL, NULL, 0) || failed(db, error, cap);
}

bool sqlite_moved_head(sqlite3 *db, uint64_t *seq_out, char *hash_out, size_t hash_cap)
{
    char text[256];
    const char *hash = "";
    json_int_t seq = 0;
    *seq_out = 0;
    hash_out[0] = '\0';
    if (!run(db, "SELECT json FROM item WHERE kind = 'audit' AND name = 'head'", NULL, text,
             sizeof text))
        return false;
    if (!text[0]) return true;
    json_t *json = json_loads(text, 0, NULL);
    bool ok = json_unpack(json, "{s:I,s:s}", "seq", &seq, "hash", &hash) == 0 && seq >= 0 &&
              strlen(hash) < hash_cap;
    if (ok) {
        *seq_out = (uint64_t)seq;
        memcpy(hash_out, hash, strlen(hash) + 1);
    }
    json_decref(json);
    return ok;
}
