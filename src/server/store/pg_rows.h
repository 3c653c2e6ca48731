/* Rows of a result into records. */
#ifndef PROVOSTD_STORE_PG_ROWS_H
#define PROVOSTD_STORE_PG_ROWS_H

#include "src/server/store/pg.h"

struct pg_rows {
    const PGresult *r;
    int row;
    char error[160];                  /* a sentence, if a value could not be understood */
};
/* Strings live as long as the result. false: error is set. */
bool pg_row_device(struct pg_rows *rows, struct device_record *out);
bool pg_row_policy(struct pg_rows *rows, struct policy_record *out);
bool pg_row_account(struct pg_rows *rows, struct user_record *out);
struct item_record pg_row_item(const struct pg_rows *rows);

/* ---- pg_pool.c: connections for reading ---- */
/* A connected one, of one thread; waits for it. NULL: out of reach (told). */
struct pg_link *pg_reader_take(struct pg_store *s);
void pg_reader_give(struct pg_store *s, struct pg_link *l);
/* One statement, tried again if the connection proves to be dead. false: out of reach (told). */
bool pg_read(struct pg_store *s, enum pg_statement which, const struct pg_args *a, PGresult **out);
/* Several of one instant. The results are the caller's; error may be NULL. */
#define PG_QUESTIONS_MAX 4
struct pg_question {
    enum pg_statement which;
    struct pg_args args;
};
bool pg_read_together(struct pg_store *s, const struct pg_question *questions, size_t count,
                      PGresult *results[], char *error, size_t error_cap);
/* A statement that is planned for what it asks. */
bool pg_read_planned(struct pg_store *s, const char *sql, const struct pg_args *a, PGresult **out);
bool pg_pool_start(struct pg_store *s, unsigned connections);
void pg_pool_stop(struct pg_store *s);

/* ---- pg_load.c, pg_read.c: as store.h says ---- */
bool pg_load(struct store *s, const struct store_visitor *v, void *ctx, char *error,
             size_t error_cap);
bool pg_read_user(struct store *s, const char *user, const struct store_visitor *v, void *ctx);
bool pg_read_devices(struct store *s, const struct store_query *q,
                     void (*each)(void *ctx, const struct device_record *r), void *ctx);
bool pg_read_users_of(struct store *s, const char *device_id, unsigned most,
                      void (*each)(void *ctx, const char *user), void *ctx);
bool pg_read_users(struct store *s, const char *after, unsigned most,
                   void (*each)(void *ctx, const struct user_record *r), void *ctx);
bool pg_count_devices(struct store *s, uint64_t *out);
int pg_read_row(struct store *s, enum store_row_of of, const char *a, const char *b,
                struct store_row *out, void **block_out);
bool pg_read_revisions(struct store *s, const char *policy,
                       void (*each)(void *ctx, const struct policy_record *r), void *ctx);
bool pg_read_log(struct store *s, enum store_log which, uint64_t after, unsigned most,
                 void (*each)(void *ctx, const struct log_record *r), void *ctx);

#endif
