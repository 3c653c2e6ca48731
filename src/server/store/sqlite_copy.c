#include "src/server/store/sqlite_copy.h"

#include <stdio.h>
#include <string.h>

#define STEP_PAGES 256    /* copied before somebody is asked whether to go on: 1 MiB */
#define STOP_EVERY 100000 /* instructions of SQLite's machine */

bool work_stopped(const struct store_work *w)
{
    return w->stop && atomic_load_explicit(w->stop, memory_order_relaxed);
}

enum store_outcome work_failed(const struct store_work *w, const char *where, sqlite3 *db, int rc)
{
    if (work_stopped(w)) {
        snprintf(w->error, w->error_cap, "it was stopped");
        return STORE_STOPPED;
    }
    snprintf(w->error, w->error_cap, "%s: %s", where, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
    return STORE_FAILED;
}

/* One after the other; the reading transaction around them keeps the source as it was. */
static enum store_outcome copy_pages(sqlite3_backup *b, sqlite3 *to, const struct store_work *w)
{
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK) {
        if (work_stopped(w)) return work_failed(w, "", NULL, 0);
        rc = sqlite3_backup_step(b, STEP_PAGES);
        int of = sqlite3_backup_pagecount(b);
        if (w->step)
            w->step(w->ctx, "copying", (uint64_t)(of - sqlite3_backup_remaining(b)), (uint64_t)of);
    }
    if (rc == SQLITE_DONE) return STORE_DONE;
    return work_failed(w, sqlite3_db_filename(to, "main"), NULL, rc);
}

enum store_outcome sqlite_copy(sqlite3 *from, sqlite3 *to, const struct store_work *w)
{
    /* Without a transaction of our own every write of somebody else would start the copy again; in
     * the write-ahead log a reader holds up nobody. */
    if (sqlite3_exec(from, "BEGIN; SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL) !=
        SQLITE_OK)
        return work_failed(w, sqlite3_db_filename(from, "main"), from, 0);
    enum store_outcome out;
    sqlite3_backup *b = NULL;
    if (sqlite3_exec(to,
                     "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY; "
                     "PRAGMA synchronous = OFF",
                     NULL, NULL, NULL) != SQLITE_OK ||
        !(b = sqlite3_backup_init(to, "main", from, "main"))) {
        out = work_failed(w, sqlite3_db_filename(to, "main"), to, 0);
    } else {
        out = copy_pages(b, to, w);
        sqlite3_backup_finish(b);
    }
    sqlite3_exec(from, "COMMIT", NULL, NULL, NULL);
    /* The copy says of itself that it has a write-ahead log: it would not open where none can be made. */
    if (out == STORE_DONE &&
        sqlite3_exec(to, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL) != SQLITE_OK)
        out = work_failed(w, sqlite3_db_filename(to, "main"), to, 0);
    return out;
}

static int ask_to_stop(void *arg)
{
    return work_stopped(arg);
}

const char *sqlite_fault_text(const char *said)
{
    const char *line = strncmp(said, "*** ", 4) == 0 ? strchr(said, '\n') : NULL;
    return line ? line + 1 : said;
}

enum store_outcome sqlite_sound(sqlite3 *db, const char *name, const struct store_work *w)
{
    sqlite3_stmt *q = NULL;
    if (w->step) w->step(w->ctx, "checking", 0, 0);
    sqlite3_progress_handler(db, STOP_EVERY, ask_to_stop, (void *)(uintptr_t)w);
    int rc = sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &q, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(q);
    const char *said = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(q, 0) : NULL;
    enum store_outcome out = STORE_DONE;
    if (!said) {
        out = work_failed(w, name, db, rc);
        if (rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB) out = STORE_UNFIT;
    } else if (strcmp(said, "ok") != 0) {
        const char *fault = sqlite_fault_text(said);
        snprintf(w->error, w->error_cap, "%s is damaged: %.*s", name, (int)strcspn(fault, "\n"),
                 fault);
        out = STORE_UNFIT;
    }
    sqlite3_finalize(q);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    return out;
}
