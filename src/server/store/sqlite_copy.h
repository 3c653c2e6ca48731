/* Copies of a whole SQLite file, and whether one is sound. */
#ifndef PROVOSTD_STORE_SQLITE_COPY_H
#define PROVOSTD_STORE_SQLITE_COPY_H

#include <sqlite3.h>

#include "src/server/store/upkeep.h"

/* Has somebody asked the work to end? */
bool work_stopped(const struct store_work *w);
/* One sentence: where, and what SQLite says of db (NULL: of rc). @return STORE_FAILED */
enum store_outcome work_failed(const struct store_work *w, const char *where, sqlite3 *db, int rc);

/* All of from, as it is when this begins, into to, which nobody else has open; afterwards to needs no
 * log beside it. Its file is not forced to the disk. */
enum store_outcome sqlite_copy(sqlite3 *from, sqlite3 *to, const struct store_work *w);
/* STORE_UNFIT: it is not sound, error tells what is wrong first with what goes by that name. */
enum store_outcome sqlite_sound(sqlite3 *db, const char *name, const struct store_work *w);
/* What a line of integrity_check says begins here: it has a head in one line of its own. */
const char *sqlite_fault_text(const char *said);

#endif
