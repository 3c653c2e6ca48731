/* The file, its directory and the lock of that, connections to it: for the server, and for who looks
 * after the store beside it or instead of it. */
#include "src/server/store/sqlite_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS 5000 /* a backup tool may hold the file for a moment */

bool sqlite_file_path(const char *state, char path_out[SQLITE_PATH_CAP], char *error,
                      size_t error_cap)
{
    if ((size_t)snprintf(path_out, SQLITE_PATH_CAP, "%s/provost.db", state) < SQLITE_PATH_CAP)
        return true;
    snprintf(error, error_cap, "the name of the state directory is too long");
    return false;
}

bool sqlite_make_directory(const char *state, char *error, size_t error_cap)
{
    if (mkdir(state, 0700) == 0 || errno == EEXIST) return true;
    snprintf(error, error_cap, "state directory %s cannot be made: %s", state, strerror(errno));
    return false;
}

/* Two servers on one state directory would each believe their own memory. The lock is the directory's
 * own: what nobody can see nobody tidies away. */
int sqlite_take_lock(const char *state, char *error, size_t error_cap)
{
    int fd = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
    if (fd >= 0 && errno == EWOULDBLOCK)
        snprintf(error, error_cap, "another provostd uses the state directory %s", state);
    else
        snprintf(error, error_cap, "%s: %s", state, strerror(errno));
    if (fd >= 0) close(fd);
    return -1;
}

/* SQLite would make the file as the umask says; its companions take the file's permissions. */
bool sqlite_make_file(const char *path, char *error, size_t error_cap)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        snprintf(error, error_cap, "%s: %s", path, strerror(errno));
        return false;
    }
    close(fd);
    return true;
}

bool sqlite_pragma(sqlite3 *db, const char *sql, const char *expected)
{
    sqlite3_stmt *q = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) != SQLITE_OK) return false;
    int rc = sqlite3_step(q);
    bool ok = rc == SQLITE_DONE || rc == SQLITE_ROW;
    if (ok && expected) {
        const char *got = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(q, 0) : NULL;
        ok = got && strcmp(got, expected) == 0;
    }
    sqlite3_finalize(q);
    return ok;
}

bool sqlite_connect(const char *path, int flags, sqlite3 **db_out, char *error, size_t error_cap)
{
    int rc =
        sqlite3_open_v2(path, db_out, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc == SQLITE_OK && sqlite3_busy_timeout(*db_out, BUSY_MS) == SQLITE_OK &&
        sqlite_pragma(*db_out, "PRAGMA trusted_schema = OFF", NULL) &&
        sqlite_pragma(*db_out, "PRAGMA temp_store = MEMORY", NULL))
        return true;
    snprintf(error, error_cap, "%s: %s", path,
             *db_out ? sqlite3_errmsg(*db_out) : sqlite3_errstr(rc));
    return false;
}
