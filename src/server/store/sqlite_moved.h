/* What a file says of a move of the store into another one: items of the kind "move". */
#ifndef PROVOSTD_STORE_SQLITE_MOVED_H
#define PROVOSTD_STORE_SQLITE_MOVED_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SQLITE_MOVED_MAX 128  /* a name of the other store */
#define SQLITE_MOVED_ID 33    /* of this state, as whoever moves it has named it */

/* For a server that starts: false, with error, if the store was moved. A move that was only begun ends here:
 * the store will be another. */
bool sqlite_moved_stays(sqlite3 *db, char *error, size_t error_cap);

/* For who moves it. to_out and id_out: "" if there is none. false: error. */
bool sqlite_moved_read(sqlite3 *db, char to_out[SQLITE_MOVED_MAX], char id_out[SQLITE_MOVED_ID],
                       char *error, size_t error_cap);
bool sqlite_moved_begin(sqlite3 *db, const char *id, char *error, size_t error_cap);
bool sqlite_moved_mark(sqlite3 *db, const char *to, char *error, size_t error_cap);
bool sqlite_moved_clear(sqlite3 *db, char *error, size_t error_cap);
/* The last line of the audit log that went into the files; seq 0: none. false: it cannot be understood. */
bool sqlite_moved_head(sqlite3 *db, uint64_t *seq_out, char *hash_out, size_t hash_cap);

#endif
