/* Text for a terminal: what comes from a server or a file never moves the cursor. */
#ifndef PROVOST_CLI_TEXT_H
#define PROVOST_CLI_TEXT_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

/* Valid UTF-8 without control characters, formatting and direction marks; U+FFFD in their place. A
 * copy that the caller frees; NULL: no memory. */
char *text_clean(const char *text, size_t len);
/* The same as a JSON text; JSON null for NULL. */
json_t *text_json(const char *text);
/* Print cleaned. */
void text_print(FILE *to, const char *text);
void text_print_len(FILE *to, const char *text, size_t len);

#define TABLE_COLUMNS_MAX 12
/* A table: columns as wide as needed, two blanks between. */
struct table {
    unsigned columns;
    char **cells; /* cleaned copies */
    size_t count, room;
    size_t width[TABLE_COLUMNS_MAX]; /* of what was printed */
    int failed; /* no memory: table_end says so */
};
void table_begin(struct table *t, unsigned columns, const char *const *titles);
/* Cells follow row by row, left to right. NULL: "-". */
void table_cell(struct table *t, const char *text);
void table_cell_int(struct table *t, long long n);
/* Print what there is, so that it needs no memory any more; rows may follow. */
void table_flush(struct table *t, FILE *to, unsigned indent);
/* Print with that many blanks in front and free. @return 0, or -1 if a cell was lost. */
int table_end(struct table *t, FILE *to, unsigned indent);
/* Free, without what was not printed. */
void table_drop(struct table *t);

/* Print one JSON document. @return 0 or -1 */
int json_print(const json_t *json);

#endif
