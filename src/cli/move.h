/* Inside of `provost store move`: a store from SQLite into PostgreSQL, row by row in the order of keys.
 * One thread. What goes wrong is told as one sentence. */
#ifndef PROVOST_CLI_MOVE_H
#define PROVOST_CLI_MOVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOVE_ERROR_MAX 1024
#define MOVE_COLUMNS_MAX 36
#define MOVE_KEY_MAX 2
#define MOVE_ID_LEN 32 /* of what names a source, in hexadecimal digits */

/* ---- what is moved: move_tables.c ---- */
enum move_kind { MOVE_NUMBER, MOVE_BYTES };
struct move_column {
    const char *from, *to; /* an expression there, a name here */
    enum move_kind kind;
};
struct move_table {
    const char *from, *to;  /* from NULL: the files of the audit log */
    const char *where;      /* of the rows that are meant, the same in both; NULL: all */
    const char *sequence;   /* column that the database counts itself; NULL: none */
    unsigned count, key;    /* columns; so many at the start are the key, which orders both sides */
    const struct move_column *columns;
};
extern const struct move_table move_tables[];
extern const unsigned move_table_count;

struct move_value {
    int64_t number;
    const char *bytes; /* borrowed for as long as the row */
    size_t len;
};
struct move_row { struct move_value values[MOVE_COLUMNS_MAX]; };

/* The row up to which all is done; zeroed: before the first. */
struct move_key {
    char *bytes[MOVE_KEY_MAX]; /* owned; NULL: nothing */
    size_t len[MOVE_KEY_MAX];
    int64_t number;            /* where the key is one */
};
/* false: no memory. */
bool move_key_take(struct move_key *k, const struct move_table *t, const struct move_row *r);
void move_key_free(struct move_key *k);
/* A text of the row that two rows share only if they are the same, and its hash with what came before
 * it. *text is grown as needed and stays the caller's. false: no memory. */
struct move_text { char *at; size_t len, cap; };
bool move_row_text(const struct move_table *t, const struct move_row *r, struct move_text *text);
void move_hash(uint8_t hash[32], const struct move_text *text);

/* ---- where it comes from: move_source.c ---- */
struct source;
/* Takes the lock of the state directory, brings file and audit log up to date. NULL: error. */
struct source *source_open(const char *dir, char *error);
void source_close(struct source *s);
/* Of this state of the store: a server that runs on it meanwhile makes it another. */
const char *source_id(const struct source *s);
/* "postgresql at db.example.org": it was moved there already. NULL: it was not. */
const char *source_moved_to(const struct source *s);
/* false: error. Rows of all tables, the audit log's lines included. */
bool source_count(struct source *s, uint64_t *out, char *error);
/* Rows behind that key, in order, until each says false. false: error. */
bool source_each(struct source *s, const struct move_table *t, const struct move_key *after,
                 bool (*each)(void *ctx, const struct move_row *r), void *ctx, char *error);
/* What the other store must know of the audit log (item audit/head), to be freed; "": there are no lines.
 * NULL: error. */
char *source_audit_head(struct source *s, char *error);
/* From now on no server starts on it. */
bool source_mark(struct source *s, const char *to, char *error);
/* The way back: servers start on it again. false: error, or it was not moved. */
bool source_unmark(const char *dir, char *error);

/* ---- where it goes: move_target.c ---- */
struct target;
struct target *target_open(const char *url, char *error);
void target_close(struct target *t);
/* "postgresql at db.example.org" */
const char *target_name(const struct target *t);

struct move_progress {
    bool done;          /* all is there, and verified */
    unsigned step;      /* table of move_tables */
    struct move_key at; /* in it */
    uint64_t rows;      /* of all tables until then */
};
/* An empty database gets its schema and the note that it is being filled from that source; one that is
 * being filled tells how far. Anything else is refused. anew: what was begun is thrown away. */
bool target_prepare(struct target *t, const char *source, bool anew, struct move_progress *out,
                    char *error);
/* A batch: rows of one table, and how far that is, in one transaction. */
bool target_begin(struct target *t, const struct move_table *table, char *error);
bool target_put(struct target *t, const struct move_table *table, const struct move_row *r, char *error);
bool target_commit(struct target *t, const struct move_table *table, const struct move_progress *p,
                   char *error);
/* Reading back, in order. 1: a row, 0: no more, -1: error. Begun once for each table. */
bool target_read(struct target *t, const struct move_table *table, char *error);
int target_next(struct target *t, const struct move_table *table, struct move_row *r, char *error);
bool target_read_end(struct target *t, char *error);
/* What counts goes on behind what is there; the head of the audit log; a line in it; and done. */
bool target_finish(struct target *t, const char *head, const char *line, char *error);

#endif
