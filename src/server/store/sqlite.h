/* The store over SQLite: one file, one writer thread, a few read-only connections. */
#ifndef PROVOSTD_STORE_SQLITE_H
#define PROVOSTD_STORE_SQLITE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sqlite3.h>
#include <sys/types.h>

#include "src/server/store/queue.h"
#include "src/server/store/sqlite_file.h"
#include "src/server/store/store.h"
#include "src/server/store/trouble.h"
#include "src/server/store/upkeep.h"


#define SQLITE_STORE_READERS 4                    /* connections for reading, at most */

/* Of user ?1. '0' comes behind '/', and no DeviceId has a slash. */
#define SQLITE_BONDS_OF_USER                                                                   \
    "kind = 'bond' AND name > ?1 || '/' AND name < ?1 || '0'"                                  \
    " AND instr(substr(name, length(?1) + 2), '/') = 0"
/* Columns of a device behind its key, in the order of the table. */
#define SQLITE_DEVICE_VALUES                                                                   \
    "device_type, user_agent, model, os, version, state, first_seen, last_seen, loop_until,"   \
    " key, key_at, key_revision, key_hash, acked_offer, acked_status, outcome,"                \
    " outcome_revision, said, provisioned_once, asked, personal, wipe, wipe_state, wipe_id,"   \
    " shut, wipe_at, wipe_sent_at, wipe_ended_at, wipe_expires_at, wipe_by, wipe_reason, tag"
#define SQLITE_32_MARKS "?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?"

/* Statements of the writer; their parameters stand in the order of the columns. */
#define SQLITE_WRITES(X)                                                                       \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                \
    X(COMMIT, "COMMIT")                                                                        \
    X(ROLLBACK, "ROLLBACK")                                                                    \
    X(EACH, "SAVEPOINT each")                                                                  \
    X(EACH_KEEP, "RELEASE each")                                                               \
    X(EACH_BACK, "ROLLBACK TO each")                                                           \
    X(ADD_DEVICE, "INSERT INTO device VALUES (?,?," SQLITE_32_MARKS ") ON CONFLICT DO NOTHING") \
    X(CHANGE_DEVICE, "UPDATE device SET (" SQLITE_DEVICE_VALUES ") = "                         \
                     "(" SQLITE_32_MARKS ") WHERE user = ? AND device_id = ? AND tag = ?")        \
    X(PUT_OFFER, "INSERT INTO offer VALUES (?,?,?,?,?,?,?)")                                   \
    X(GET_INFO, "SELECT info, history FROM device_info WHERE user = ? AND device_id = ?")      \
    X(PUT_INFO, "INSERT OR REPLACE INTO device_info VALUES (?,?,?,?)")                         \
    X(ADD_POLICY, "INSERT INTO policy VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING")            \
    X(GET_USER, "SELECT enabled, no_device_wipe FROM user WHERE name = ?")                     \
    X(PUT_USER, "INSERT OR REPLACE INTO user VALUES (?,?,?)")                                  \
    X(GET_FOLDER_KEY, "SELECT key, 0 FROM folder_state WHERE user = ? AND device_id = ?")      \
    X(PUT_FOLDER_STATE, "INSERT OR REPLACE INTO folder_state VALUES (?,?,?,?,?,?,?)")          \
    X(GET_FOLDER_IDS, "SELECT ids FROM folder_ids WHERE user = ?")                             \
    X(PUT_FOLDER_IDS, "INSERT OR REPLACE INTO folder_ids VALUES (?,?)")                        \
    X(GET_ITEM, "SELECT json FROM item WHERE kind = ? AND name = ?")                           \
    X(PUT_ITEM, "INSERT OR REPLACE INTO item VALUES (?,?,?)")                                  \
    X(PUT_TRAIL, "INSERT OR REPLACE INTO trail VALUES (?,?,?)")                                \
    X(ADD_AUDIT, "INSERT INTO audit(json) VALUES (?)")                                         \
    X(ADD_EVENT, "INSERT INTO event(json) VALUES (?)")                                         \
    X(ADD_CHAIN, "INSERT INTO chain VALUES (?,?) ON CONFLICT DO NOTHING")                      \
    X(DROP_OFFERS, "DELETE FROM offer WHERE user = ? AND device_id = ?")                       \
    X(GET_DEVICE_ID, "SELECT device_id FROM device WHERE user = ? AND device_id = ?")          \
    X(DROP_DEVICE, "DELETE FROM device WHERE user = ? AND device_id = ? AND tag = ?")          \
    X(DROP_INFO, "DELETE FROM device_info WHERE user = ? AND device_id = ?")                   \
    X(DROP_TRAIL, "DELETE FROM trail WHERE user = ? AND device_id = ?")                        \
    X(DROP_FOLDER_STATE, "DELETE FROM folder_state WHERE user = ? AND device_id = ?")          \
    X(DROP_USER, "DELETE FROM user WHERE name = ?")                                            \
    X(DROP_USER_OFFERS, "DELETE FROM offer WHERE user = ?")                                    \
    X(DROP_USER_DEVICES, "DELETE FROM device WHERE user = ?")                                  \
    X(DROP_USER_INFO, "DELETE FROM device_info WHERE user = ?")                                \
    X(DROP_USER_TRAILS, "DELETE FROM trail WHERE user = ?")                                    \
    X(DROP_USER_FOLDER_STATES, "DELETE FROM folder_state WHERE user = ?")                      \
    X(DROP_USER_FOLDER_IDS, "DELETE FROM folder_ids WHERE user = ?")                           \
    X(DROP_BOND, "DELETE FROM item WHERE kind = 'bond' AND name = ? || '/' || ?")             \
    X(DROP_USER_BONDS, "DELETE FROM item WHERE " SQLITE_BONDS_OF_USER)                         \
    X(DROP_ITEM, "DELETE FROM item WHERE kind = ? AND name = ?")                               \
    X(DROP_AUDIT, "DELETE FROM audit WHERE id <= ?")                                           \
    X(DROP_AUDIT_LINE, "DELETE FROM audit WHERE id = ?")                                       \
    X(DROP_CHAIN, "DELETE FROM chain WHERE seq <= ?")                                          \
    X(DROP_EVENT, "DELETE FROM event WHERE id = ?")
#define SQLITE_WRITE_ENUM(id, sql) SQL_##id,
enum sqlite_write { SQLITE_WRITES(SQLITE_WRITE_ENUM) SQL_COUNT };
#undef SQLITE_WRITE_ENUM

/* Pages of devices: ?1, ?2 the key that they are behind, ?3 how many, ?4 the time that some compare
 * with, ?5 the user. The indices are named, for else the planner may walk over all. */
#define SQLITE_BY_KEY "(user, device_id) > (?1, ?2)"
#define SQLITE_OF_USER "user = ?5 AND device_id > ?2"
#define SQLITE_BOND "(SELECT json FROM item WHERE kind = 'bond' AND name = user || '/' || device_id)"
#define SQLITE_PAGE " ORDER BY user, device_id LIMIT ?3"
#define SQLITE_WIPE_PENDING                                                                    \
    "wipe_expires_at > 0 AND wipe_state IN ('requested', 'sent', 'failed')"
#define SQLITE_WIPES SQLITE_WIPE_PENDING " AND wipe_expires_at < ?4 AND "

/* Statements of a reader. */
#define SQLITE_READS(X)                                                                        \
    X(BEGIN, "BEGIN")                                                                          \
    X(COMMIT, "COMMIT")                                                                        \
    X(FOLDER_STATE, "SELECT key, previous_key, tree, previous_tree, ping FROM folder_state"    \
                    " WHERE user = ? AND device_id = ?")                                       \
    X(FOLDER_IDS, "SELECT ids FROM folder_ids WHERE user = ?")                                 \
    X(INFO, "SELECT info, history FROM device_info WHERE user = ? AND device_id = ?")          \
    X(TRAIL, "SELECT trail FROM trail WHERE user = ? AND device_id = ?")                       \
    X(ITEM, "SELECT json FROM item WHERE kind = ? AND name = ?")                               \
    X(ITEMS, "SELECT * FROM item WHERE kind < 'bond' UNION ALL"                                \
             " SELECT * FROM item WHERE kind > 'bond' ORDER BY kind, name")                    \
    X(ALL_ITEMS, "SELECT * FROM item ORDER BY kind, name")                                     \
    X(BONDS, "SELECT * FROM item WHERE " SQLITE_BONDS_OF_USER " ORDER BY name")                \
    X(POLICIES, "SELECT * FROM policy ORDER BY revision")                                      \
    X(REVISIONS, "SELECT revision, at, settings, parent, by FROM policy WHERE name = ?"        \
                 " ORDER BY revision")                                                         \
    X(USER, "SELECT * FROM user WHERE name = ?")                                               \
    X(ALL_USERS, "SELECT * FROM user ORDER BY name")                                           \
    X(ALL_DEVICES, "SELECT * FROM device ORDER BY user, device_id")                            \
    X(DEVICES_OF, "SELECT * FROM device WHERE user = ? ORDER BY device_id")                    \
    X(USERS, "SELECT * FROM user WHERE name > ? ORDER BY name LIMIT ?")                        \
    X(USERS_OF, "SELECT user FROM device INDEXED BY device_by_id WHERE device_id = ?"          \
                " ORDER BY user LIMIT ?")                                                      \
    X(DEVICE_COUNT, "SELECT count(*) FROM device")                                             \
    X(OFFERS, "SELECT position, key, at, revision, hash FROM offer"                            \
              " WHERE user = ? AND device_id = ?")                                             \
    X(DEVICES, "SELECT *, " SQLITE_BOND " FROM device WHERE " SQLITE_BY_KEY SQLITE_PAGE)       \
    X(WIPES, "SELECT * FROM device INDEXED BY device_wipe_ends"                                \
             " WHERE " SQLITE_WIPES SQLITE_BY_KEY SQLITE_PAGE)                                 \
    X(UNSEEN_COUNT, "SELECT count(*) FROM (SELECT 1 FROM device INDEXED BY device_last_seen"   \
                    " WHERE last_seen < ? LIMIT ?)")                                           \
    X(UNSEEN_MANY, "SELECT * FROM device WHERE last_seen < ?4 AND " SQLITE_BY_KEY SQLITE_PAGE) \
    X(UNSEEN, "SELECT * FROM device INDEXED BY device_last_seen"                               \
              " WHERE last_seen < ?4 AND " SQLITE_BY_KEY SQLITE_PAGE)                          \
    X(USER_DEVICES, "SELECT *, " SQLITE_BOND " FROM device WHERE " SQLITE_OF_USER SQLITE_PAGE) \
    X(USER_WIPES, "SELECT * FROM device WHERE " SQLITE_WIPES SQLITE_OF_USER SQLITE_PAGE)       \
    X(USER_UNSEEN, "SELECT * FROM device WHERE last_seen < ?4 AND " SQLITE_OF_USER SQLITE_PAGE) \
    X(AUDIT, "SELECT id, json FROM audit WHERE id > ? ORDER BY id LIMIT ?")                    \
    X(EVENT, "SELECT id, json FROM event WHERE id > ? ORDER BY id LIMIT ?")                    \
    X(CHAIN, "SELECT seq, json FROM chain WHERE seq > ? ORDER BY seq LIMIT ?")
#define SQLITE_READ_ENUM(id, sql) SQL_READ_##id,
enum sqlite_read { SQLITE_READS(SQLITE_READ_ENUM) SQL_READ_COUNT };
#undef SQLITE_READ_ENUM

/* Three files, one name: with its log and what connections share of that. */
#define SQLITE_FILES 3
struct sqlite_file_id { dev_t dev; ino_t ino; };

/* A connection that only reads. */
struct sqlite_reader {
    struct sqlite_reader *next;        /* while it is free */
    sqlite3 *db;
    sqlite3_stmt *q[SQL_READ_COUNT];
};

struct sqlite_store {
    struct store base;
    char path[SQLITE_PATH_CAP];
    int lock_fd;                       /* holds the lock of the state directory */

    pthread_mutex_t read_mutex;        /* guards what follows */
    pthread_cond_t read_wake;
    struct sqlite_reader *free_readers;
    unsigned readers;                  /* free or not */
    bool readers_closed;               /* none may be taken */
    uint64_t read_again_ms;            /* none can be opened; tried again then */
    struct trouble reading;     /* has its own */

    sqlite3 *writer;                   /* of the writer thread once that runs, as all up to trouble */
    sqlite3_stmt *writes[SQL_COUNT];
    struct sqlite_file_id files[SQLITE_FILES]; /* as they were opened */
    bool broken;                       /* the connection is no use, or not there: why */
    int broken_rc;
    char broken_why[256];
    unsigned mend_wait_ms;
    uint64_t mend_at_ms, mended_ms;
    uint64_t unable_ms;                /* since when nothing can be written; 0: something can */
    bool ending;                       /* nothing waits any more for another attempt */
    struct trouble writing;
    pthread_t thread;
    bool running;
    struct queue queue;                /* while it runs */
    pthread_mutex_t hold;              /* held while a batch is written, and while all is replaced */
    struct store_follower follower;    /* guarded by it; all NULL: nobody */
    _Atomic uint64_t commits;          /* transactions that reached the disk */
};

struct store *sqlite_store_open(const char *state, char *error, size_t error_cap);
/* A file that nobody writes to, of the present schema, for reading alone. */
struct store *sqlite_store_look(const char *path, char *error, size_t error_cap);

/* sqlite_restore.c: told when all was replaced. */
bool sqlite_follow(struct store *s, const struct store_follower *f);

/* sqlite_write.c */
bool sqlite_writer_start(struct sqlite_store *s, char *error, size_t error_cap);
bool sqlite_writer_submit(struct store *s, const struct store_change *changes, size_t count,
                          struct store_write *w);
uint64_t sqlite_writer_submitted(struct store *s);
bool sqlite_writer_settled(struct store *s, uint64_t position);
bool sqlite_writer_settle(struct store *s, uint64_t position);
/* Writes what is queued, ends the thread. Harmless when it does not run. */
void sqlite_writer_stop(struct sqlite_store *s);

/* sqlite_apply.c: records into rows. SQLITE_OK or why not. */
#define SQLITE_STORE_CONFLICT (-1) /* the rows are not those that the change was made of */
int sqlite_apply(struct sqlite_store *s, const struct store_change *c);
/* A statement without parameters. */
int sqlite_run(struct sqlite_store *s, enum sqlite_write w);

/* sqlite_mend.c: the writer's connection. Of the writer thread once that runs. */
bool sqlite_writer_open(struct sqlite_store *s, char *error, size_t error_cap);
void sqlite_writer_close(struct sqlite_store *s);
/* Does an error stay with a connection, whatever becomes of its cause? */
bool sqlite_sticks(int rc);
/* The connection is no use any more. */
void sqlite_writer_broken(struct sqlite_store *s, int rc, const char *why);
/* A part of the file was no use, the rest was. */
void sqlite_writer_hurt(struct sqlite_store *s, int rc, const char *why);
/* Opens it again if it is broken and the time has come. false: broken_rc and broken_why are set. */
bool sqlite_writer_ready(struct sqlite_store *s);
/* Are the file and its companions those that were opened? false: broken_rc and broken_why are set. */
bool sqlite_files_stand(struct sqlite_store *s);
bool sqlite_file_stands(const struct sqlite_store *s); /* any thread: the file alone */
/* One of those that are told; the code is SQLite's. */
void sqlite_failed(struct trouble *t, enum trouble_doing doing, int rc, const char *why);
/* A sentence; db NULL: of the code alone. */
void sqlite_say(const struct sqlite_store *s, sqlite3 *db, int rc, char *out, size_t cap);

/* sqlite_reader.c: connections, each for one thread at a time. */
void sqlite_readers_init(struct sqlite_store *s);
bool sqlite_readers_start(struct sqlite_store *s, char *error, size_t error_cap);
void sqlite_readers_finish(struct sqlite_store *s);
/* One of its own, for that file. NULL: error. */
struct sqlite_reader *sqlite_reader_create(const char *path, char *error, size_t error_cap);
void sqlite_reader_destroy(struct sqlite_reader *r); /* NULL is accepted */
/* Waits for one that is free. NULL: out of reach (logged). */
struct sqlite_reader *sqlite_reader_take(struct sqlite_store *s);
/* rc: how reading went; SQLITE_OK or an error of its connection, which is then perhaps closed. why: a
 * sentence; NULL: the connection's last. */
void sqlite_reader_give(struct sqlite_store *s, struct sqlite_reader *r, int rc, const char *why);
/* Closes all, which none is opened after until _open. false: some are in use, nothing is changed. */
bool sqlite_readers_close(struct sqlite_store *s, unsigned most_ms);
void sqlite_readers_open(struct sqlite_store *s);

/* sqlite_rows.c: columns into records, for a visitor. */
struct sqlite_rows {
    struct sqlite_reader *reader;
    const struct store_visitor *v;
    void *ctx;
    char *error; /* a sentence, once failed */
    size_t error_cap;
    bool failed;
    int rc;         /* of SQLite, if that failed */
    char user[256]; /* whose row it is, for the log */
    struct trouble *leaves_out; /* of a page: rows that cannot be understood are told there and left out;
                                   NULL: they fail */
};
/* Every row of a statement that is bound goes to `row`, until one fails. */
void sqlite_rows_each(struct sqlite_rows *l, enum sqlite_read which,
                      void (*row)(struct sqlite_rows *l, sqlite3_stmt *q));
void sqlite_rows_sql_fail(struct sqlite_rows *l);
void sqlite_row_device(struct sqlite_rows *l, sqlite3_stmt *q);
void sqlite_row_item(struct sqlite_rows *l, sqlite3_stmt *q);
void sqlite_row_policy(struct sqlite_rows *l, sqlite3_stmt *q);
void sqlite_row_user(struct sqlite_rows *l, sqlite3_stmt *q);

/* sqlite_load.c: many rows, of one instant. */
bool sqlite_load(struct store *s, const struct store_visitor *v, void *ctx, char *error,
                 size_t error_cap);
bool sqlite_read_user(struct store *s, const char *user, const struct store_visitor *v, void *ctx);
bool sqlite_read_devices(struct store *s, const struct store_query *q,
                         void (*each)(void *ctx, const struct device_record *r), void *ctx);
bool sqlite_read_users(struct store *s, const char *after, unsigned most,
                       void (*each)(void *ctx, const struct user_record *r), void *ctx);

/* sqlite_read.c: single rows, from threads that may block. */
int sqlite_read_row(struct store *s, enum store_row_of of, const char *a, const char *b,
                struct store_row *out, void **block_out);
bool sqlite_read_users_of(struct store *s, const char *device_id, unsigned most,
                          void (*each)(void *ctx, const char *user), void *ctx);
bool sqlite_count_devices(struct store *s, uint64_t *out);
bool sqlite_read_revisions(struct store *s, const char *policy,
                           void (*each)(void *ctx, const struct policy_record *r), void *ctx);
bool sqlite_read_log(struct store *s, enum store_log which, uint64_t after, unsigned most,
                     void (*each)(void *ctx, const struct log_record *r), void *ctx);

/* sqlite_backup.c, sqlite_restore.c, sqlite_check.c */
enum store_outcome sqlite_backup(struct store *s, struct store_backup *b, const struct store_work *w);
enum store_outcome sqlite_restore(struct store *s, struct store_restore *r,
                                  const struct store_work *w);
enum store_outcome sqlite_check(struct store *s, struct store_check *c, const struct store_work *w);
/* Of a file that is a store, in use or not. */
enum store_outcome sqlite_check_file(const char *path, struct store_check *c,
                                     const struct store_work *w);

#endif
