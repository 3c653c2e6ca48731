#include "tests/unit/postgresql_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/server/store/pg.h"

void sleep_ms(unsigned ms)
{
    const struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

/* ---- the server ---- */
void control(const char *word)
{
    int fd = atoi(getenv("PROVOST_STORE_CONTROL"));
    char line[16];
    assert_int_equal(dprintf(fd, "%s\n", word), strlen(word) + 1);
    assert_true(read(fd, line, sizeof line) > 0);
}

PGconn *by_hand(void)
{
    const struct store_options o = options_of("hand");
    PGconn *c = PQconnectdb(o.url);
    assert_int_equal(PQstatus(c), CONNECTION_OK);
    return c;
}

void sql(PGconn *c, const char *text)
{
    PGresult *r = PQexec(c, text);
    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(c));
    PQclear(r);
}

long number(PGconn *c, const char *text)
{
    PGresult *r = PQexec(c, text);
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(c));
    long n = atol(PQgetvalue(r, 0, 0));
    PQclear(r);
    return n;
}

void do_sql(const char *text)
{
    PGconn *c = by_hand();
    sql(c, text);
    PQfinish(c);
}

/* ---- a follower that remembers ---- */
static void told_user(void *ctx, const char *user)
{
    struct told *t = ctx;
    pthread_mutex_lock(&t->mutex);
    size_t len = strlen(t->users);
    snprintf(t->users + len, sizeof t->users - len, "%s ", user);
    pthread_mutex_unlock(&t->mutex);
}

static void told_lists(void *ctx)
{
    struct told *t = ctx;
    pthread_mutex_lock(&t->mutex);
    t->lists++;
    pthread_mutex_unlock(&t->mutex);
}

static void told_all(void *ctx)
{
    struct told *t = ctx;
    pthread_mutex_lock(&t->mutex);
    t->all++;
    pthread_mutex_unlock(&t->mutex);
}

static void told_log(void *ctx)
{
    struct told *t = ctx;
    pthread_mutex_lock(&t->mutex);
    t->logs++;
    pthread_mutex_unlock(&t->mutex);
}

unsigned count(struct told *t, const unsigned *which)
{
    pthread_mutex_lock(&t->mutex);
    unsigned n = *which;
    pthread_mutex_unlock(&t->mutex);
    return n;
}

unsigned times_told(struct told *t, const char *user)
{
    unsigned n = 0;
    char name[64];
    snprintf(name, sizeof name, "%s ", user);
    pthread_mutex_lock(&t->mutex);
    for (const char *at = t->users; (at = strstr(at, name)) != NULL; at++)
        n++;
    pthread_mutex_unlock(&t->mutex);
    return n;
}

struct store *open_node(const char *name, unsigned lease_s)
{
    struct store_options o = options_of(name);
    o.lease_s = lease_s;
    struct store *s = store_open(&o, error, sizeof error);
    if (!s)
        fail_msg("%s", error);
    return s;
}

struct store_follower told_follower(struct told *t)
{
    return (struct store_follower){told_user, told_lists, told_all, t};
}

void follow(struct store *s, struct told *t)
{
    *t = (struct told){.mutex = PTHREAD_MUTEX_INITIALIZER};
    const struct store_follower f = told_follower(t);
    assert_true(store_listen(s, told_log, t));
    assert_true(store_follow(s, &f));
    assert_true(store_is_heard(s)); /* at once: whoever begins to serve does not turn phones away */
}

int feed_pid(struct store *s)
{
    return PQbackendPID(((struct pg_store *)s)->feed.link.conn);
}

struct store_change item(const char *kind, const char *name, const char *json)
{
    return (struct store_change){.kind = STORE_PUT_ITEM, .u.item = {.kind = kind, .name = name, .json = json}};
}

bool put_one(struct store *s, struct store_change c)
{
    return put(s, &c, 1);
}

bool try_put(struct store *s, struct store_change c)
{
    struct wait x = {.write.done = wait_done};
    return store_submit(s, &c, 1, &x.write) && wait_for(&x);
}

struct store *open_quick(void)
{
    struct store *s = open_store();
    ((struct pg_store *)s)->trouble.quiet_ms = 0;
    return s;
}
