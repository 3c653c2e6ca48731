#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/store/pg.h"

/* Migration n brings the schema from n to n + 1. Rows are only ever added.
 *
 * Names and whatever peers say are bytea: any bytes can be kept, whatever the encoding of the database
 * is, and they are in the order of strcmp. Words are text. Offers are a column of their device, so that
 * a handshake reads and writes one row. seen_day, not last_seen, has an index: an update that changes
 * nothing with an index can stay on its page (HOT). */
static const char *const migrations[] = {
    "CREATE TABLE device ("
    " owner bytea NOT NULL, device_id bytea NOT NULL, device_type bytea NOT NULL,"
    " user_agent bytea NOT NULL, model bytea NOT NULL, os bytea NOT NULL,"
    " version text NOT NULL, state text NOT NULL,"
    " first_seen bigint NOT NULL, last_seen bigint NOT NULL, loop_until bigint NOT NULL,"
    " key bigint NOT NULL, key_at bigint NOT NULL, key_revision bigint NOT NULL,"
    " key_hash text NOT NULL, acked_offer bigint NOT NULL, acked_status bigint NOT NULL,"
    " outcome text NOT NULL, outcome_revision bigint NOT NULL, said bigint NOT NULL,"
    " provisioned_once bigint NOT NULL, asked bigint NOT NULL, personal text NOT NULL,"
    " wipe text NOT NULL, wipe_state text NOT NULL, wipe_id bigint NOT NULL,"
    " shut text NOT NULL, wipe_at bigint NOT NULL, wipe_sent_at bigint NOT NULL,"
    " wipe_ended_at bigint NOT NULL, wipe_expires_at bigint NOT NULL,"
    " wipe_by bytea NOT NULL, wipe_reason bytea NOT NULL,"
    " offers text NOT NULL, tag bigint NOT NULL,"
    " seen_day bigint GENERATED ALWAYS AS (last_seen / 86400) STORED,"
    " PRIMARY KEY (owner, device_id)) WITH (fillfactor = 80);"
    "CREATE INDEX device_by_id ON device (device_id, owner);"
    "CREATE INDEX device_seen_day ON device (seen_day);"
    "CREATE INDEX device_wipe_ends ON device (wipe_expires_at)"
    " WHERE wipe_expires_at > 0 AND wipe_state IN ('requested', 'sent', 'failed');"
    "CREATE TABLE device_info ("
    " owner bytea NOT NULL, device_id bytea NOT NULL, info bytea NOT NULL,"
    " history bytea NOT NULL, PRIMARY KEY (owner, device_id));"
    "CREATE TABLE policy ("
    " revision bigint PRIMARY KEY, name bytea NOT NULL, at bigint NOT NULL,"
    " settings bytea NOT NULL, parent bytea NOT NULL, by bytea NOT NULL);"
    "CREATE INDEX policy_name ON policy (name, revision);"
    "CREATE TABLE account ("
    " owner bytea PRIMARY KEY, enabled bigint NOT NULL, no_device_wipe bigint NOT NULL);"
    "CREATE TABLE folder_state ("
    " owner bytea NOT NULL, device_id bytea NOT NULL, key bigint NOT NULL,"
    " previous_key bigint NOT NULL, tree bytea NOT NULL, previous_tree bytea NOT NULL,"
    " ping bytea NOT NULL, PRIMARY KEY (owner, device_id)) WITH (fillfactor = 80);"
    "CREATE TABLE folder_ids (owner bytea PRIMARY KEY, ids bytea NOT NULL);"
    "CREATE TABLE item ("
    " kind text COLLATE \"C\" NOT NULL, name bytea NOT NULL, json bytea NOT NULL,"
    " PRIMARY KEY (kind, name));"
    "CREATE TABLE trail ("
    " owner bytea NOT NULL, device_id bytea NOT NULL, trail bytea NOT NULL,"
    " PRIMARY KEY (owner, device_id)) WITH (fillfactor = 80);"
    "CREATE TABLE audit ("
    " id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, json bytea NOT NULL);"
    "CREATE TABLE event ("
    " id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, json bytea NOT NULL);"
    "CREATE TABLE chain (seq bigint PRIMARY KEY, json bytea NOT NULL);"
    /* What servers tell each other, in the transaction of the change itself; kind as of enum pg_kind.
     * Rows below `pruned` are gone. */
    "CREATE TABLE change ("
    " xid xid8 NOT NULL DEFAULT pg_current_xact_id(),"
    " id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL DEFAULT now(),"
    " node bigint NOT NULL, kind bigint NOT NULL, name bytea NOT NULL,"
    " PRIMARY KEY (xid, id)) WITH (autovacuum_vacuum_scale_factor = 0.05);"
    "CREATE TABLE feed (pruned xid8 NOT NULL);"
    "INSERT INTO feed VALUES ('0');",
};
#define SCHEMA ((int64_t)(sizeof migrations / sizeof *migrations))

static bool read_version(struct pg_link *l, int64_t *out)
{
    PGresult *r;
    if (!pg_exec(l, "SELECT version FROM schema_version", &r)) return false;
    *out = PQntuples(r) == 1 ? strtoll(PQgetvalue(r, 0, 0), NULL, 10) : -1;
    PQclear(r);
    return true;
}

static bool refuse(struct pg_link *l, int64_t version, const char *why)
{
    l->state[0] = '\0';
    snprintf(l->why, sizeof l->why,
             "the database has schema %" PRId64 ", this provostd knows schemas up to %" PRId64
             ": %s",
             version, SCHEMA, why);
    return false;
}

bool pg_schema_fits(struct pg_link *l)
{
    int64_t version;
    if (!read_version(l, &version)) return false;
    return version > SCHEMA   ? refuse(l, version, "it was written by a newer one")
           : version < SCHEMA ? refuse(l, version, "it was brought back to an older one")
                              : true;
}

bool pg_is_whole(struct pg_link *l)
{
    PGresult *r;
    if (!pg_exec(l, "SELECT to_regclass('store_move') IS NOT NULL", &r)) return false;
    bool noted = PQgetvalue(r, 0, 0)[0] == 't';
    PQclear(r);
    if (!noted) return true;
    if (!pg_exec(l, "SELECT count(*) FROM store_move WHERE done = 0", &r)) return false;
    bool whole = strcmp(PQgetvalue(r, 0, 0), "0") == 0;
    PQclear(r);
    l->state[0] = '\0';
    if (!whole)
        snprintf(
            l->why, sizeof l->why,
            "a store is being moved into it, or that was broken off: provost store move goes on");
    return whole;
}

/* In a transaction that holds the lock. */
static bool bring_up(struct pg_link *l)
{
    PGresult *r;
    char sql[80];
    int64_t version = 0;
    if (!pg_exec(l, "SELECT to_regclass('schema_version') IS NOT NULL", &r)) return false;
    bool there = PQgetvalue(r, 0, 0)[0] == 't';
    PQclear(r);
    if (there && !read_version(l, &version)) return false;
    if (version > SCHEMA || version < 0) return refuse(l, version, "it was written by a newer one");
    if (version == SCHEMA) return true;
    if (!there && !pg_exec(l,
                           "CREATE TABLE schema_version (version bigint NOT NULL);"
                           "INSERT INTO schema_version VALUES (0)",
                           NULL))
        return false;
    for (; version < SCHEMA; version++)
        if (!pg_exec(l, migrations[version], NULL)) return false;
    snprintf(sql, sizeof sql, "UPDATE schema_version SET version = %" PRId64, SCHEMA);
    return pg_exec(l, sql, NULL);
}

bool pg_migrate(struct pg_link *l)
{
    l->patience_ms = PG_MIGRATE_MS;
    bool ok = pg_exec(l,
                      "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;"
                      "SELECT pg_advisory_xact_lock(hashtextextended('provost schema '"
                      " || current_schema(), 0))",
                      NULL) &&
              bring_up(l) && pg_exec(l, "COMMIT", NULL);
    l->patience_ms = 0;
    return ok; /* if not, the connection is closed, which rolls back */
}
