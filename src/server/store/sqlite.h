/* The store over SQLite: one file, one writer thread, one read-only connection. */
#ifndef PROVOSTD_STORE_SQLITE_H
#define PROVOSTD_STORE_SQLITE_H

#include <pthread.h>
#include <sqlite3.h>

#include "src/server/store/change.h"
#include "src/server/store/sqlite_file.h"
#include "src/server/store/store.h"
#include "src/server/store/upkeep.h"

#define SQLITE_STORE_QUEUE_MAX 8192               /* submissions that wait */
#define SQLITE_STORE_QUEUE_BYTES (64u << 20)
#define SQLITE_STORE_BATCH_MAX 512                /* submissions of one transaction */
#define SQLITE_STORE_BEHIND_MS 300                /* how long a write behind may wait for company */

/* Statements of the writer; their parameters stand in the order of the columns. A bond is named
 * USER/DEVICE, where '0' comes behind '/' and no DeviceId has a slash. */
#define SQLITE_WRITES(X)                                                                       \
    X(PUT_DEVICE, "INSERT OR REPLACE INTO device VALUES "                                      \
                  "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")       \
    X(PUT_OFFER, "INSERT INTO offer VALUES (?,?,?,?,?,?,?)")                                   \
    X(GET_INFO, "SELECT info, history FROM device_info WHERE user = ? AND device_id = ?")      \
    X(PUT_INFO, "INSERT OR REPLACE INTO device_info VALUES (?,?,?,?)")                         \
    X(PUT_POLICY, "INSERT INTO policy VALUES (?,?,?,?,?,?)")                                   \
    X(PUT_USER, "INSERT OR REPLACE INTO user VALUES (?,?,?)")                                  \
    X(PUT_FOLDER_STATE, "INSERT OR REPLACE INTO folder_state VALUES (?,?,?,?,?,?,?)")          \
    X(PUT_FOLDER_IDS, "INSERT OR REPLACE INTO folder_ids VALUES (?,?)")                        \
    X(PUT_ITEM, "INSERT OR REPLACE INTO item VALUES (?,?,?)")                                  \
    X(PUT_TRAIL, "INSERT OR REPLACE INTO trail VALUES (?,?,?)")                                \
    X(ADD_AUDIT, "INSERT INTO audit(json) VALUES (?)")                                         \
    X(ADD_EVENT, "INSERT INTO event(json) VALUES (?)")                                         \
    X(DROP_OFFERS, "DELETE FROM offer WHERE user = ? AND device_id = ?")                       \
    X(DROP_DEVICE, "DELETE FROM device WHERE user = ? AND device_id = ?")                      \
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
    X(DROP_USER_BONDS, "DELETE FROM item WHERE kind = 'bond' AND name > ?1 || '/'"             \
                       " AND name < ?1 || '0' AND instr(substr(name, length(?1) + 2), '/') = 0") \
    X(DROP_ITEM, "DELETE FROM item WHERE kind = ? AND name = ?")                               \
    X(DROP_AUDIT, "DELETE FROM audit WHERE id <= ?")                                           \
    X(DROP_EVENT, "DELETE FROM event WHERE id = ?")
#define SQLITE_WRITE_ENUM(id, sql) SQL_##id,
enum sqlite_write { SQLITE_WRITES(SQLITE_WRITE_ENUM) SQL_COUNT };
#undef SQLITE_WRITE_ENUM

/* Statements of the reader, each a row of texts for one or two names. */
#define SQLITE_READS(X)                                                                        \
    X(FOLDER_STATE, "SELECT key, previous_key, tree, previous_tree, ping FROM folder_state"    \
                    " WHERE user = ? AND device_id = ?")                                       \
    X(FOLDER_IDS, "SELECT ids FROM folder_ids WHERE user = ?")                                 \
    X(INFO, "SELECT info, history FROM device_info WHERE user = ? AND device_id = ?")          \
    X(TRAIL, "SELECT trail FROM trail WHERE user = ? AND device_id = ?")                       \
    X(ITEM, "SELECT json FROM item WHERE kind = ? AND name = ?")                               \
    X(REVISIONS, "SELECT revision, at, settings, parent, by FROM policy WHERE name = ?"        \
                 " ORDER BY revision")                                                         \
    X(AUDIT, "SELECT id, json FROM audit WHERE id > ? ORDER BY id LIMIT ?")                    \
    X(EVENT, "SELECT id, json FROM event WHERE id > ? ORDER BY id LIMIT ?")
#define SQLITE_READ_ENUM(id, sql) SQL_READ_##id,
enum sqlite_read { SQLITE_READS(SQLITE_READ_ENUM) SQL_READ_COUNT };
#undef SQLITE_READ_ENUM

struct sqlite_store {
    struct store base;
    int lock_fd;                       /* holds the lock of the state directory */

    pthread_mutex_t read_mutex;
    sqlite3 *reader;
    sqlite3_stmt *reads[SQL_READ_COUNT];

    sqlite3 *writer;                   /* of the writer thread once that runs */
    sqlite3_stmt *writes[SQL_COUNT];
    pthread_t thread;
    bool running;
    bool failing;                      /* the last batch failed; of the writer thread */

    pthread_mutex_t mutex;             /* guards what follows */
    pthread_cond_t wake;
    struct submission *head, **tail;
    size_t queued, bytes;
    size_t urgent;                     /* queued submissions that somebody waits for */
    bool closing;
    uint64_t commits;                  /* transactions that reached the disk */
};

struct store *sqlite_store_open(const char *state, char *error, size_t error_cap);

/* sqlite_write.c */
bool sqlite_writer_start(struct sqlite_store *s, char *error, size_t error_cap);
bool sqlite_writer_submit(struct store *s, const struct store_change *changes, size_t count,
                          struct store_write *w);
/* Writes what is queued, ends the thread. Harmless when it does not run. */
void sqlite_writer_stop(struct sqlite_store *s);

/* sqlite_apply.c: records into rows. SQLITE_OK or why not. */
int sqlite_apply(struct sqlite_store *s, const struct store_change *c);

/* sqlite_load.c: all rows into records, at the start. */
bool sqlite_load(struct store *s, const struct store_visitor *v, void *ctx, char *error,
                 size_t error_cap);

/* sqlite_read.c: single rows, from threads that may block. */
bool sqlite_reads_prepare(struct sqlite_store *s, char *error, size_t error_cap);
void sqlite_reads_finish(struct sqlite_store *s);
int sqlite_read_folder_state(struct store *s, const char *user, const char *device_id,
                             struct folder_state_record *out, void **block_out);
int sqlite_read_folder_ids(struct store *s, const char *user, struct folder_ids_record *out,
                           void **block_out);
int sqlite_read_info(struct store *s, const char *user, const char *device_id,
                     struct info_record *out, void **block_out);
int sqlite_read_trail(struct store *s, const char *user, const char *device_id,
                      struct trail_record *out, void **block_out);
int sqlite_read_item(struct store *s, const char *kind, const char *name, struct item_record *out,
                     void **block_out);
bool sqlite_read_revisions(struct store *s, const char *policy,
                           void (*each)(void *ctx, const struct policy_record *r), void *ctx);
bool sqlite_read_log(struct store *s, enum store_log which, uint64_t after, unsigned most,
                     void (*each)(void *ctx, const struct log_record *r), void *ctx);

/* sqlite_backup.c */
extern const struct store_upkeep sqlite_upkeep;

/* The words that rows hold for small numbers. */
extern const char *const sqlite_wipe_names[PV_WIPE_DEVICE + 1];
extern const char *const sqlite_shut_names[PV_SHUT_EXPIRED + 1];

#endif
