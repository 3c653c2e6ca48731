/* The file, its directory and the lock of that, connections to it. Pure SQLite: no thread, no log. */
#ifndef PROVOSTD_STORE_SQLITE_FILE_H
#define PROVOSTD_STORE_SQLITE_FILE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SQLITE_PATH_CAP 4096

/* The name of the file in a state directory. */
bool sqlite_file_path(const char *state, char path_out[SQLITE_PATH_CAP], char *error,
                      size_t error_cap);
/* 0700, if it is not there. */
bool sqlite_make_directory(const char *state, char *error, size_t error_cap);
/* @return a descriptor that holds the lock of the state directory until it is closed; -1: error */
int sqlite_take_lock(const char *state, char *error, size_t error_cap);
/* 0600, if it is not there. */
bool sqlite_make_file(const char *path, char *error, size_t error_cap);
/* flags: of sqlite3_open_v2. *db_out is to be closed whatever comes back. */
bool sqlite_connect(const char *path, int flags, sqlite3 **db_out, char *error, size_t error_cap);
/* expected: what the first row must say; NULL: whatever. */
bool sqlite_pragma(sqlite3 *db, const char *sql, const char *expected);

/* sqlite_schema.c: bring the file to the present schema; refuses a newer one. */
int64_t sqlite_store_schema(void); /* the present one */
bool sqlite_store_migrate(sqlite3 *db, char *error, size_t error_cap);
/* Has it the present schema? */
bool sqlite_store_is_present(sqlite3 *db, char *error, size_t error_cap);

#endif
