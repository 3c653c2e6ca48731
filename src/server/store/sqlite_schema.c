#include <stdio.h>

#include "src/server/store/sqlite.h"

/* Migration n brings user_version from n to n + 1. Rows are only ever added. */
static const char *const migrations[] = {
    "CREATE TABLE device ("
    " user TEXT NOT NULL, device_id TEXT NOT NULL, device_type TEXT NOT NULL,"
    " user_agent TEXT NOT NULL, version TEXT NOT NULL,"
    " first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL, info TEXT NOT NULL,"
    " key INTEGER NOT NULL, key_at INTEGER NOT NULL, key_revision INTEGER NOT NULL,"
    " key_hash TEXT NOT NULL,"
    " acked_offer INTEGER NOT NULL, acked_status INTEGER NOT NULL, outcome TEXT NOT NULL,"
    " refused INTEGER NOT NULL, provisioned_once INTEGER NOT NULL, asked INTEGER NOT NULL,"
    " access TEXT NOT NULL, wipe TEXT NOT NULL, wipe_sent INTEGER NOT NULL,"
    " wipe_failed INTEGER NOT NULL, wiped INTEGER NOT NULL,"
    " PRIMARY KEY (user, device_id)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE offer ("
    " user TEXT NOT NULL, device_id TEXT NOT NULL, position INTEGER NOT NULL,"
    " key INTEGER NOT NULL, at INTEGER NOT NULL, revision INTEGER NOT NULL, hash TEXT NOT NULL,"
    " PRIMARY KEY (user, device_id, position)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE policy ("
    " revision INTEGER PRIMARY KEY, name TEXT NOT NULL, at INTEGER NOT NULL,"
    " settings TEXT NOT NULL) STRICT;"
    "CREATE TABLE user (name TEXT PRIMARY KEY, enabled INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE folder_state ("
    " user TEXT NOT NULL, device_id TEXT NOT NULL, key INTEGER NOT NULL,"
    " previous_key INTEGER NOT NULL, tree TEXT NOT NULL, previous_tree TEXT NOT NULL,"
    " ping TEXT NOT NULL, PRIMARY KEY (user, device_id)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE folder_ids (user TEXT PRIMARY KEY, ids TEXT NOT NULL) STRICT, WITHOUT ROWID;",

    /* DeviceInformation in a table of its own; the life of a wipe; who may, what happened. */
    "CREATE TABLE device_info ("
    " user TEXT NOT NULL, device_id TEXT NOT NULL, info TEXT NOT NULL, history TEXT NOT NULL,"
    " PRIMARY KEY (user, device_id)) STRICT, WITHOUT ROWID;"
    "INSERT INTO device_info SELECT user, device_id, info, '[]' FROM device WHERE info <> '';"
    "CREATE TABLE new_device ("
    " user TEXT NOT NULL, device_id TEXT NOT NULL, device_type TEXT NOT NULL,"
    " user_agent TEXT NOT NULL, model TEXT NOT NULL, os TEXT NOT NULL,"
    " version TEXT NOT NULL, state TEXT NOT NULL,"
    " first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL, loop_until INTEGER NOT NULL,"
    " key INTEGER NOT NULL, key_at INTEGER NOT NULL, key_revision INTEGER NOT NULL,"
    " key_hash TEXT NOT NULL, acked_offer INTEGER NOT NULL, acked_status INTEGER NOT NULL,"
    " outcome TEXT NOT NULL, outcome_revision INTEGER NOT NULL, said INTEGER NOT NULL,"
    " provisioned_once INTEGER NOT NULL, asked INTEGER NOT NULL, personal TEXT NOT NULL,"
    " wipe TEXT NOT NULL, wipe_state TEXT NOT NULL, wipe_id INTEGER NOT NULL,"
    " shut TEXT NOT NULL, wipe_at INTEGER NOT NULL, wipe_sent_at INTEGER NOT NULL,"
    " wipe_ended_at INTEGER NOT NULL, wipe_expires_at INTEGER NOT NULL,"
    " wipe_by TEXT NOT NULL, wipe_reason TEXT NOT NULL,"
    " PRIMARY KEY (user, device_id)) STRICT, WITHOUT ROWID;"
    "INSERT INTO new_device SELECT user, device_id, device_type, user_agent,"
    " CASE WHEN json_valid(info) THEN coalesce(json_extract(info, '$.Model'), '') ELSE '' END,"
    " CASE WHEN json_valid(info) THEN coalesce(json_extract(info, '$.OS'), '') ELSE '' END,"
    " version,"
    " CASE WHEN wipe <> 'none' THEN 'wipe-pending' WHEN wiped THEN 'wiped'"
    "  WHEN access = 'blocked' THEN 'blocked' WHEN access = 'quarantined' THEN 'quarantined'"
    "  WHEN key <> 0 THEN 'provisioned' WHEN refused THEN 'refused' ELSE 'new' END,"
    " first_seen, last_seen, 0, key, key_at, key_revision, key_hash, acked_offer, acked_status,"
    " CASE WHEN refused AND outcome IN ('partial', 'not-applied', 'external') THEN 'refused'"
    "  ELSE outcome END,"
    " key_revision,"
    " CASE outcome WHEN 'compliant' THEN 1 WHEN 'partial' THEN 2 WHEN 'not-applied' THEN 3"
    "  WHEN 'external' THEN 4 ELSE 0 END,"
    " provisioned_once, asked,"
    " CASE access WHEN 'blocked' THEN 'block' WHEN 'quarantined' THEN 'quarantine'"
    "  ELSE 'none' END,"
    " CASE WHEN wipe = 'none' AND wiped THEN 'device' ELSE wipe END,"
    " CASE WHEN wipe = 'none' THEN CASE WHEN wiped THEN 'acknowledged' ELSE 'none' END"
    "  WHEN wipe_failed THEN 'failed' WHEN wipe_sent THEN 'sent' ELSE 'requested' END,"
    " CASE WHEN wipe <> 'none' OR wiped THEN random() & 9223372036854775807 ELSE 0 END,"
    " CASE WHEN wiped THEN 'wiped' ELSE 'not' END, 0, 0, 0, 0, '', ''"
    " FROM device;"
    "DROP TABLE device;"
    "ALTER TABLE new_device RENAME TO device;"
    "ALTER TABLE policy ADD COLUMN parent TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE policy ADD COLUMN by TEXT NOT NULL DEFAULT '';"
    "CREATE INDEX policy_name ON policy (name, revision);"
    "ALTER TABLE user ADD COLUMN no_device_wipe INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE item (kind TEXT NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL,"
    " PRIMARY KEY (kind, name)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE trail (user TEXT NOT NULL, device_id TEXT NOT NULL, trail TEXT NOT NULL,"
    " PRIMARY KEY (user, device_id)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, json TEXT NOT NULL) STRICT;"
    "CREATE TABLE event (id INTEGER PRIMARY KEY AUTOINCREMENT, json TEXT NOT NULL) STRICT;",

    /* Which saved state it is; pages by other things than the key; the audit log that is sealed. A
     * state that was saved before is named 1. */
    "ALTER TABLE device ADD COLUMN tag INTEGER NOT NULL DEFAULT 1;"
    "CREATE INDEX device_by_id ON device (device_id);"
    "CREATE INDEX device_last_seen ON device (last_seen);"
    "CREATE INDEX device_wipe_ends ON device (wipe_expires_at) WHERE " SQLITE_WIPE_PENDING ";"
    "CREATE TABLE chain (seq INTEGER PRIMARY KEY, json TEXT NOT NULL) STRICT;",
};
#define SCHEMA (sizeof migrations / sizeof *migrations)

static bool schema_of(sqlite3 *db, int64_t *version_out)
{
    sqlite3_stmt *q = NULL;
    bool ok = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &q, NULL) == SQLITE_OK &&
              sqlite3_step(q) == SQLITE_ROW;
    if (ok) *version_out = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return ok;
}

static bool migrate_one(sqlite3 *db, size_t from)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA user_version = %zu; COMMIT", from + 1);
    if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_exec(db, migrations[from], NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return true;
    return false; /* the connection is closed, which rolls back */
}

int64_t sqlite_store_schema(void)
{
    return SCHEMA;
}

bool sqlite_store_is_present(sqlite3 *db, char *error, size_t error_cap)
{
    int64_t version;
    bool read = schema_of(db, &version);
    if (read && version == (int64_t)SCHEMA) return true;
    if (read)
        snprintf(error, error_cap, "%s has schema %lld now, not %zu",
                 sqlite3_db_filename(db, "main"), (long long)version, SCHEMA);
    else
        snprintf(error, error_cap, "%s: %s", sqlite3_db_filename(db, "main"), sqlite3_errmsg(db));
    return false;
}

bool sqlite_store_migrate(sqlite3 *db, char *error, size_t error_cap)
{
    int64_t version;
    if (!schema_of(db, &version)) {
        snprintf(error, error_cap, "%s: %s", sqlite3_db_filename(db, "main"), sqlite3_errmsg(db));
        return false;
    }
    if (version < 0 || version > (int64_t)SCHEMA) {
        snprintf(error, error_cap,
                 "%s has schema %lld, this provostd knows schemas up to %zu: it was written by a "
                 "newer one",
                 sqlite3_db_filename(db, "main"), (long long)version, SCHEMA);
        return false;
    }
    for (size_t from = (size_t)version; from < SCHEMA; from++) {
        if (!migrate_one(db, from)) {
            snprintf(error, error_cap, "%s: schema %zu cannot be made: %s",
                     sqlite3_db_filename(db, "main"), from + 1, sqlite3_errmsg(db));
            return false;
        }
    }
    return true;
}
