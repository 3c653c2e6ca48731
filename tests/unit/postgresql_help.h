/* What the tests of the store over PostgreSQL share, beside store_help.h. */
#ifndef TEST_POSTGRESQL_HELP_H
#define TEST_POSTGRESQL_HELP_H

#include <libpq-fe.h>

#include "tests/unit/store_help.h"

#define TIMES(n) for (int turn = 0; turn < (n); turn++)
void sleep_ms(unsigned ms);
#define EVENTUALLY(what)                                                                       \
    do {                                                                                       \
        int left = 1500;                                                                       \
        while (!(what) && left-- > 0)                                                          \
            sleep_ms(10);                                                                      \
        assert_true(what);                                                                     \
    } while (0)

/* ---- the server ---- */
/* "stop", "kill" or "start"; see over_postgresql.py. */
void control(const char *word);
/* A connection by hand, in the schema of the test. */
PGconn *by_hand(void);
void sql(PGconn *c, const char *text);
long number(PGconn *c, const char *text);
/* Over a connection of its own. */
void do_sql(const char *text);

/* ---- a follower that remembers ---- */
struct told {
    pthread_mutex_t mutex;
    char users[4000];
    unsigned lists, all, logs;
};
unsigned count(struct told *t, const unsigned *which);
unsigned times_told(struct told *t, const char *user);
struct store_follower told_follower(struct told *t);
/* Until it is heard; t is set. */
void follow(struct store *s, struct told *t);

/* ---- stores and writes ---- */
struct store *open_node(const char *name, unsigned lease_s);
/* A trouble that is over is told at once. */
struct store *open_quick(void);
int feed_pid(struct store *s);
struct store_change item(const char *kind, const char *name, const char *json);
bool put_one(struct store *s, struct store_change c);
/* Once, however it is refused. */
bool try_put(struct store *s, struct store_change c);

#endif
