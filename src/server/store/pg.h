/* The store over PostgreSQL: a connection of the writer, some for reading, one that hears what other
 * servers have changed. */
#ifndef PROVOSTD_STORE_PG_H
#define PROVOSTD_STORE_PG_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>

#include "src/server/store/queue.h"
#include "src/server/store/store.h"
#include "src/server/store/trouble.h"
#include "src/server/store/upkeep.h"

#define PG_CONNECT_S "3"            /* for each host that the URL names */
#define PG_OPEN_S 10                /* how long a server that starts is waited for, when ours does */
#define PG_STATEMENT_MS 5000        /* the server gives up a statement, */
#define PG_READ_MS 4000             /* one that reads, */
#define PG_LOCK_MS 3000             /* waiting for a row, */
#define PG_IDLE_MS 10000            /* a transaction whose client says nothing (stopped, cut off) */
#define PG_ANSWER_MS 6000           /* we give up a connection, */
#define PG_READ_ANSWER_MS 5000      /* one that reads */
#define PG_HURRY_MS "200"            /* for a lock that has been waited for in vain */
#define PG_MIGRATE_MS 600000
#define PG_LEAD_MARGIN_MS 1000      /* between not leading any more and that another may */
#define PG_PAUSE_MS 100             /* between attempts to connect: the first pause, doubled up to */
#define PG_PAUSE_MOST_MS 5000
#define PG_FAIL_SOON_MS 1500        /* how long a submission waits for a connection */
#define PG_WHY_CAP 256

/* Columns of a device behind its key, in the order in which they are bound and read. */
#define PG_DEVICE_COLUMNS                                                                      \
    "device_type, user_agent, model, os, version, state, first_seen, last_seen, loop_until,"   \
    " key, key_at, key_revision, key_hash, acked_offer, acked_status, outcome,"                \
    " outcome_revision, said, provisioned_once, asked, personal, wipe, wipe_state, wipe_id,"   \
    " shut, wipe_at, wipe_sent_at, wipe_ended_at, wipe_expires_at, wipe_by, wipe_reason,"      \
    " offers, tag"
#define PG_DEVICE_PARAMETERS                                                                   \
    "$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,$24,$25,$26," \
    "$27,$28,$29,$30,$31,$32,$33,$34,$35"
#define PG_ADD_DEVICE                                                                          \
    "INSERT INTO device (owner, device_id, " PG_DEVICE_COLUMNS ")"                             \
    " VALUES ($1,$2," PG_DEVICE_PARAMETERS ") ON CONFLICT "
/* Items that are bonds of the owner $1: no DeviceId has a slash (2f), 30 comes behind it. */
#define PG_BONDS_OF                                                                            \
    "kind = 'bond' AND name > $1::bytea || '\\x2f' AND name < $1::bytea || '\\x30'"            \
    " AND position('\\x2f' IN substring(name FROM length($1::bytea) + 2)) = 0"

/* Statements of the writer. Who adds an event waits for those before it to commit: the notifier goes on
 * behind the last id that it has seen, so none may come to light behind a higher one. */
#define PG_WRITES(X)                                                                           \
    X(BEGIN, "BEGIN")                                                                          \
    X(HURRY, "SELECT set_config('lock_timeout', $1, true)")                                    \
    X(COMMIT, "COMMIT")                                                                        \
    X(ROLLBACK, "ROLLBACK")                                                                    \
    X(ADD_DEVICE, PG_ADD_DEVICE "DO NOTHING")                                                  \
    X(CHANGE_DEVICE, "UPDATE device SET (" PG_DEVICE_COLUMNS ") = ROW(" PG_DEVICE_PARAMETERS ")" \
                     " WHERE owner = $1 AND device_id = $2 AND tag = $36")                     \
    X(GET_INFO, "SELECT info, history FROM device_info WHERE owner = $1 AND device_id = $2")   \
    X(PUT_INFO, "INSERT INTO device_info AS i VALUES ($1,$2,$3,$4)"                            \
                " ON CONFLICT (owner, device_id) DO UPDATE SET info = $3, history = $4"        \
                " WHERE i.info = $5 AND i.history = $6")                                       \
    X(ADD_POLICY, "INSERT INTO policy VALUES ($1,$2,$3,$4,$5,$6) ON CONFLICT DO NOTHING")      \
    X(PUT_ACCOUNT, "INSERT INTO account VALUES ($1,$2,$3) ON CONFLICT (owner)"                 \
                   " DO UPDATE SET enabled = $2, no_device_wipe = $3")                         \
    X(ADD_ACCOUNT, "INSERT INTO account AS a VALUES ($1,$2,$3) ON CONFLICT (owner)"            \
                   " DO UPDATE SET enabled = $2, no_device_wipe = $3"                          \
                   " WHERE a.enabled = 1 AND a.no_device_wipe = 0")                            \
    X(CHANGE_ACCOUNT, "UPDATE account SET enabled = $2, no_device_wipe = $3"                   \
                      " WHERE owner = $1 AND enabled = $4 AND no_device_wipe = $5")            \
    X(PUT_FOLDER_STATE, "INSERT INTO folder_state VALUES ($1,$2,$3,$4,$5,$6,$7)"               \
                        " ON CONFLICT (owner, device_id) DO UPDATE SET"                        \
                        " (key, previous_key, tree, previous_tree, ping) = ROW($3,$4,$5,$6,$7)") \
    X(ADD_FOLDER_STATE, "INSERT INTO folder_state AS f VALUES ($1,$2,$3,$4,$5,$6,$7)"          \
                        " ON CONFLICT (owner, device_id) DO UPDATE SET"                        \
                        " (key, previous_key, tree, previous_tree, ping) = ROW($3,$4,$5,$6,$7)" \
                        " WHERE f.key = 0")                                                    \
    X(CHANGE_FOLDER_STATE, "UPDATE folder_state SET"                                           \
                           " (key, previous_key, tree, previous_tree, ping) = ROW($3,$4,$5,$6,$7)" \
                           " WHERE owner = $1 AND device_id = $2 AND key = $8")                \
    X(PUT_FOLDER_IDS, "INSERT INTO folder_ids VALUES ($1,$2)"                                  \
                      " ON CONFLICT (owner) DO UPDATE SET ids = $2")                           \
    X(ADD_FOLDER_IDS, "INSERT INTO folder_ids AS f VALUES ($1,$2)"                             \
                      " ON CONFLICT (owner) DO UPDATE SET ids = $2 WHERE f.ids = ''")          \
    X(CHANGE_FOLDER_IDS, "UPDATE folder_ids SET ids = $2 WHERE owner = $1 AND ids = $3")       \
    X(PUT_ITEM, "INSERT INTO item VALUES ($1,$2,$3)"                                           \
                " ON CONFLICT (kind, name) DO UPDATE SET json = $3")                           \
    X(ADD_ITEM, "INSERT INTO item AS i VALUES ($1,$2,$3)"                                      \
                " ON CONFLICT (kind, name) DO UPDATE SET json = $3 WHERE i.json = ''")         \
    X(CHANGE_ITEM, "UPDATE item SET json = $3 WHERE kind = $1 AND name = $2 AND json = $4")    \
    X(FIND_ITEM, "SELECT 1 FROM item WHERE kind = $1 AND name = $2 AND json <> ''")            \
    X(DROP_ITEM, "DELETE FROM item WHERE kind = $1 AND name = $2")                             \
    X(DROP_THAT_ITEM, "DELETE FROM item WHERE kind = $1 AND name = $2 AND json = $3")          \
    X(PUT_TRAIL, "INSERT INTO trail VALUES ($1,$2,$3)"                                         \
                 " ON CONFLICT (owner, device_id) DO UPDATE SET trail = $3")                   \
    X(ADD_AUDIT, "INSERT INTO audit (json) VALUES ($1)")                                       \
    X(ADD_EVENT, "WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended("    \
                 "'provost event ' || current_schema(), 0)))"                                  \
                 " INSERT INTO event (json) SELECT $1 FROM turn")                              \
    X(ADD_CHAIN, "INSERT INTO chain VALUES ($1,$2) ON CONFLICT DO NOTHING")                    \
    X(FIND_DEVICE, "SELECT 1 FROM device WHERE owner = $1 AND device_id = $2")                 \
    X(DROP_DEVICE, "DELETE FROM device WHERE owner = $1 AND device_id = $2 AND tag = $3")      \
    X(DROP_INFO, "DELETE FROM device_info WHERE owner = $1 AND device_id = $2")                \
    X(DROP_TRAIL, "DELETE FROM trail WHERE owner = $1 AND device_id = $2")                     \
    X(DROP_FOLDER_STATE, "DELETE FROM folder_state WHERE owner = $1 AND device_id = $2")       \
    X(DROP_BOND, "DELETE FROM item WHERE kind = 'bond'"                                        \
                 " AND name = $1::bytea || '\\x2f' || $2::bytea")                              \
    X(DROP_ACCOUNT, "DELETE FROM account WHERE owner = $1")                                    \
    X(DROP_DEVICES, "DELETE FROM device WHERE owner = $1")                                     \
    X(DROP_INFOS, "DELETE FROM device_info WHERE owner = $1")                                  \
    X(DROP_TRAILS, "DELETE FROM trail WHERE owner = $1")                                       \
    X(DROP_FOLDER_STATES, "DELETE FROM folder_state WHERE owner = $1")                         \
    X(DROP_FOLDER_IDS, "DELETE FROM folder_ids WHERE owner = $1")                              \
    X(DROP_BONDS, "DELETE FROM item WHERE " PG_BONDS_OF)                                       \
    X(DROP_AUDIT, "DELETE FROM audit WHERE id <= $1")                                          \
    X(DROP_AUDIT_LINE, "DELETE FROM audit WHERE id = $1")                                      \
    X(DROP_EVENT, "DELETE FROM event WHERE id = $1")                                           \
    X(DROP_CHAIN, "DELETE FROM chain WHERE seq <= $1")                                         \
    X(CHANGED, "INSERT INTO change (node, kind, name) SELECT $1::bigint, kind, name"           \
               " FROM unnest($2::bigint[], $3::bytea[]) AS t(kind, name)")                     \
    X(NOTIFY, "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, '')")

/* Statements of a reader. */
#define PG_READS(X)                                                                            \
    X(SNAPSHOT, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")                             \
    X(END, "COMMIT")                                                                           \
    X(FOLDER_STATE, "SELECT key, previous_key, tree, previous_tree, ping FROM folder_state"    \
                    " WHERE owner = $1 AND device_id = $2")                                    \
    X(FOLDER_IDS, "SELECT ids FROM folder_ids WHERE owner = $1")                               \
    X(INFO, "SELECT info, history FROM device_info WHERE owner = $1 AND device_id = $2")       \
    X(TRAIL, "SELECT trail FROM trail WHERE owner = $1 AND device_id = $2")                    \
    X(ITEM, "SELECT json FROM item WHERE kind = $1 AND name = $2")                             \
    X(ITEMS, "SELECT kind, name, json FROM item WHERE kind <> 'bond' ORDER BY kind, name")     \
    X(BONDS, "SELECT kind, name, json FROM item WHERE " PG_BONDS_OF " ORDER BY name")          \
    X(POLICIES, "SELECT name, revision, at, settings, parent, by FROM policy ORDER BY revision") \
    X(REVISIONS, "SELECT name, revision, at, settings, parent, by FROM policy WHERE name = $1" \
                 " ORDER BY revision")                                                         \
    X(ACCOUNT, "SELECT owner, enabled, no_device_wipe FROM account WHERE owner = $1")          \
    X(ACCOUNTS, "SELECT owner, enabled, no_device_wipe FROM account WHERE owner > $1"          \
                " ORDER BY owner LIMIT $2")                                                    \
    X(OWNERS_OF, "SELECT owner FROM device WHERE device_id = $1 ORDER BY owner LIMIT $2")      \
    X(OWNED, "SELECT owner, device_id, " PG_DEVICE_COLUMNS " FROM device WHERE owner = $1"     \
             " ORDER BY device_id")                                                            \
    X(ESTIMATE, "SELECT reltuples::bigint FROM pg_class WHERE oid = 'device'::regclass")       \
    X(COUNT, "SELECT count(*) FROM device")                                                    \
    X(AUDIT, "SELECT id, json FROM audit WHERE id > $1 ORDER BY id LIMIT $2")                  \
    X(EVENT, "SELECT id, json FROM event WHERE id > $1 ORDER BY id LIMIT $2")                  \
    X(CHAIN, "SELECT seq, json FROM chain WHERE seq > $1 ORDER BY seq LIMIT $2")

#define PG_HISTORY                                                                             \
    "(SELECT system_identifier FROM pg_control_system())::text || ' '"                         \
    " || left(pg_walfile_name(pg_current_wal_lsn()), 8)"
/* Statements of the feed. A row is news if its transaction was not over in the snapshot of the last
 * look, $1, which a sequence of numbers would not tell; and if it is not our own, $2. A row from the
 * future came with a dump of another server, and means nothing. The server's history: a snapshot means
 * nothing on another timeline. */
#define PG_FEEDS(X)                                                                            \
    X(NEWS, "WITH now AS MATERIALIZED (SELECT pg_current_snapshot() AS snapshot)"              \
            " SELECT now.snapshot::text, (feed.pruned < pg_snapshot_xmax(now.snapshot)"        \
            " AND feed.pruned >= pg_snapshot_xmin($1::text::pg_snapshot)"                      \
            " AND NOT pg_visible_in_snapshot(feed.pruned, $1::text::pg_snapshot))::int::bigint," \
            " c.kind, c.name FROM now CROSS JOIN feed LEFT JOIN"                               \
            " (SELECT DISTINCT kind, name FROM change"                                         \
            " WHERE xid >= pg_snapshot_xmin($1::text::pg_snapshot)"                            \
            " AND xid < pg_snapshot_xmax(pg_current_snapshot())"                               \
            " AND NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot)"                      \
            " AND node <> $2) AS c ON true")                                                   \
    X(HISTORY, "SELECT " PG_HISTORY)                                                           \
    X(LEAD, "SELECT pg_try_advisory_lock(hashtextextended('provost leader '"                   \
            " || current_schema(), 0))::int::bigint")                                          \
    X(PRUNE, "WITH old AS (DELETE FROM change WHERE (xid, id) IN (SELECT xid, id FROM change"  \
             " WHERE at < now() - interval '1 hour' ORDER BY xid, id LIMIT $1) RETURNING xid)" \
             " UPDATE feed SET pruned = greatest(pruned, (SELECT max(xid) FROM old))"          \
             " WHERE EXISTS (SELECT FROM old) RETURNING (SELECT count(*) FROM old)")

#define PG_ENUM(id, sql) Q_##id,
enum pg_statement { PG_WRITES(PG_ENUM) PG_READS(PG_ENUM) PG_FEEDS(PG_ENUM) PG_STATEMENTS };
#undef PG_ENUM

/* ---- pg_link.c: one connection, of one thread at a time ---- */
enum pg_role { PG_WRITER, PG_READER, PG_FEED, PG_ROLES };
struct pg_store;
struct pg_link {
    struct pg_store *store;
    enum pg_role role;
    PGconn *conn;                     /* NULL: there is none; else in pipeline mode */
    struct pg_link *next;             /* of those that are free */
    unsigned pause_ms;                /* before the attempt after the next one that fails */
    uint64_t not_before_ms;           /* no attempt until then */
    unsigned patience_ms;             /* for an answer; 0: as usual */
    bool behind, rings;               /* answers that are still to be read: of a sync, of a NOTIFY */
    bool warned;                      /* the server has warned of something */
    char state[6];                    /* SQLSTATE of the last error, "" if it was none of the server's */
    char why[PG_WHY_CAP];             /* the last error */
};
/* Parameters of a statement, all in binary; texts are borrowed. */
#define PG_ARGS_MAX 36
struct pg_args {
    int count;
    const char *values[PG_ARGS_MAX];
    int lengths[PG_ARGS_MAX];
    char numbers[PG_ARGS_MAX][8];
};
void pg_text(struct pg_args *a, const char *text);
void pg_bytes(struct pg_args *a, const char *bytes, size_t len);
void pg_int(struct pg_args *a, int64_t v);
void pg_null(struct pg_args *a);

/* Connected, prepared, of our schema. Unless it is, it tries; but not before its pause is over. false:
 * why is set. */
bool pg_connect(struct pg_link *l);
void pg_disconnect(struct pg_link *l);
/* The connection alone. */
bool pg_dial(struct pg_link *l);
/* Tells of the last error of that link. */
void pg_failed(struct pg_store *s, enum trouble_doing doing, const struct pg_link *l);

/* In a pipeline. false: why is set, and the connection is not to be used again. */
bool pg_send(struct pg_link *l, enum pg_statement which, const struct pg_args *a);
bool pg_sync(struct pg_link *l);
/* The result of the next statement, of whatever kind; *out is the caller's. */
bool pg_take(struct pg_link *l, PGresult **out);
bool pg_take_sync(struct pg_link *l);
/* One that stands alone, up to its end. An error is none of the connection, which l->conn says. */
bool pg_run(struct pg_link *l, enum pg_statement which, const struct pg_args *a, PGresult **out);
/* The same with one that was not prepared: it is planned for these parameters. */
bool pg_run_planned(struct pg_link *l, const char *sql, const struct pg_args *a, PGresult **out);
/* Outside a pipeline, while it is set up: statements without parameters. */
bool pg_exec(struct pg_link *l, const char *sql, PGresult **out);
/* Notes what the result says went wrong. */
void pg_note(struct pg_link *l, const PGresult *r);
bool pg_good(const PGresult *r);
int64_t pg_number(const PGresult *r, int row, int column);

/* ---- the store ---- */
struct pg_feed {
    struct pg_link link;              /* of the feed's thread */
    struct store_follower follower;
    pthread_t thread;
    bool running;
    int wake_fd;                      /* an eventfd: it is to end */
    _Atomic bool closing;
    char *snapshot;                   /* whatever it shows has been told */
    char *history;                    /* of the server, to which the snapshot belongs */
    _Atomic uint64_t heard_ms;        /* of CLOCK_BOOTTIME; 0: not yet */
    _Atomic bool leads;
    uint64_t prune_ms;                /* when it is time to prune */
};
struct pg_store {
    struct store base;
    PQconninfoOption *target;         /* the URL, read */
    char name[80];                    /* of the database, for messages */
    char channel[64];                 /* that changes are told on */
    unsigned lease_ms;
    _Atomic uint64_t node;            /* a random number that marks the changes of this process */

    struct queue queue;
    struct pg_link writer;            /* of the writer's thread once that runs */
    struct pg_batch *batch;
    pthread_t thread;
    bool running, refused;            /* the server did not want the last batch */
    unsigned broken;                  /* connections one after the other that broke with a batch */
    _Atomic int writer_pid;           /* the server's process behind the writer's connection */
    _Atomic uint64_t away_ms;         /* since when the writer has no connection; 0: it has one */

    pthread_mutex_t read_mutex;       /* guards which readers are free, and the counts */
    pthread_cond_t read_wake;
    struct pg_link *readers, *free_readers;
    unsigned reader_count, reader_pause_ms;
    uint64_t reader_not_before_ms;
    uint64_t counted, counted_ms;     /* devices, and when that was counted */

    struct trouble trouble;

    struct pg_feed feed;
};

struct store *pg_store_open(const struct store_options *o, char *error, size_t error_cap);
/* Sets target and name; the former is freed with PQconninfoFree. */
bool pg_parse_url(struct pg_store *s, const char *url, char *error, size_t error_cap);

/* pg_check.c */
enum store_outcome pg_check(struct store *s, struct store_check *c, const struct store_work *w);

/* pg_schema.c: bring the schema up, once, whoever comes first; the link is set up, but prepares nothing
 * yet. false: link->why. */
bool pg_migrate(struct pg_link *l);
/* Is it the one that we know? */
bool pg_schema_fits(struct pg_link *l);
/* Is nobody filling it from another store (provost store move)? */
bool pg_is_whole(struct pg_link *l);

/* pg_write.c: the writer's thread. */
bool pg_writer_start(struct pg_store *s, char *error, size_t error_cap);
void pg_writer_stop(struct pg_store *s);
bool pg_submit(struct store *s, const struct store_change *changes, size_t count,
               struct store_write *w);

#endif
