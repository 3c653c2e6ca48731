/* The store over SQLite: one file, one writer thread, one read-only connection. */
#ifndef PROVOSTD_STORE_SQLITE_H
#define PROVOSTD_STORE_SQLITE_H

#include <pthread.h>
#include <sqlite3.h>

#include "src/server/store/change.h"
#include "src/server/store/store.h"

#define SQLITE_STORE_QUEUE_MAX 8192               /* submissions that wait */
#define SQLITE_STORE_QUEUE_BYTES (64u << 20)
#define SQLITE_STORE_BATCH_MAX 512                /* submissions of one transaction */
#define SQLITE_STORE_BEHIND_MS 300                /* how long a write behind may wait for company */

/* Statements of the writer; their parameters stand in the order of the columns. */
#define SQLITE_WRITES(X)                                                                       \
    X(PUT_DEVICE, "INSERT OR REPLACE INTO device VALUES "                                      \
                  "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")                           \
    X(PUT_OFFER, "INSERT INTO offer VALUES (?,?,?,?,?,?,?)")                                   \
    X(PUT_POLICY, "INSERT INTO policy VALUES (?,?,?,?)")                                       \
    X(PUT_USER, "INSERT OR REPLACE INTO user VALUES (?,?)")                                    \
    X(PUT_FOLDER_STATE, "INSERT OR REPLACE INTO folder_state VALUES (?,?,?,?,?,?,?)")          \
    X(PUT_FOLDER_IDS, "INSERT OR REPLACE INTO folder_ids VALUES (?,?)")                        \
    X(DROP_OFFERS, "DELETE FROM offer WHERE user = ? AND device_id = ?")                       \
    X(DROP_DEVICE, "DELETE FROM device WHERE user = ? AND device_id = ?")                      \
    X(DROP_FOLDER_STATE, "DELETE FROM folder_state WHERE user = ? AND device_id = ?")          \
    X(DROP_USER, "DELETE FROM user WHERE name = ?")                                            \
    X(DROP_USER_OFFERS, "DELETE FROM offer WHERE user = ?")                                    \
    X(DROP_USER_DEVICES, "DELETE FROM device WHERE user = ?")                                  \
    X(DROP_USER_FOLDER_STATES, "DELETE FROM folder_state WHERE user = ?")                      \
    X(DROP_USER_FOLDER_IDS, "DELETE FROM folder_ids WHERE user = ?")
#define SQLITE_WRITE_ENUM(id, sql) SQL_##id,
enum sqlite_write { SQLITE_WRITES(SQLITE_WRITE_ENUM) SQL_COUNT };
#undef SQLITE_WRITE_ENUM

struct sqlite_store {
    struct store base;
    int lock_fd;                       /* holds the lock of the state directory */

    pthread_mutex_t read_mutex;
    sqlite3 *reader;
    sqlite3_stmt *read_state, *read_ids;

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

/* sqlite_schema.c: bring the file to the present schema; refuses a newer one. */
bool sqlite_store_migrate(sqlite3 *db, char *error, size_t error_cap);

/* sqlite_write.c */
bool sqlite_writer_start(struct sqlite_store *s, char *error, size_t error_cap);
bool sqlite_writer_submit(struct store *s, const struct store_change *changes, size_t count,
                          struct store_write *w);
/* Writes what is queued, ends the thread. Harmless when it does not run. */
void sqlite_writer_stop(struct sqlite_store *s);

/* sqlite_record.c: rows and records. */
int sqlite_apply(struct sqlite_store *s, const struct store_change *c); /* SQLITE_OK or why not */
bool sqlite_load(struct store *s, const struct store_visitor *v, void *ctx, char *error,
                 size_t error_cap);

#endif
