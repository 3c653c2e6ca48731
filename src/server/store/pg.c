/* Opening and closing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/store/pg_feed.h"
#include "src/server/store/pg_rows.h"
#include "src/server/store/upkeep.h"

static uint64_t pg_submitted(struct store *s)
{
    return queue_submitted(&((struct pg_store *)s)->queue);
}

static bool pg_settled(struct store *s, uint64_t position)
{
    return queue_settled(&((struct pg_store *)s)->queue, position);
}

static bool pg_settle(struct store *s, uint64_t position)
{
    return queue_settle(&((struct pg_store *)s)->queue, position);
}

/* Also takes back a store that was opened in part. */
static void pg_close(struct store *base)
{
    struct pg_store *s = (struct pg_store *)base;
    pg_feed_finish(s);
    pg_writer_stop(s);
    pg_pool_stop(s);
    PQconninfoFree(s->target);
    queue_finish(&s->queue);
    pthread_cond_destroy(&s->read_wake);
    pthread_mutex_destroy(&s->read_mutex);
    trouble_finish(&s->trouble);
    free(s);
}

static const struct store_upkeep pg_upkeep = {
    .check = pg_check,
    .instead =
        "the store is a PostgreSQL database: pg_dump and pg_restore do that, see docs/store.md",
};

static const struct store_ops pg_ops = {
    .name = "postgresql",
    .shared = true,
    .load = pg_load,
    .submit = pg_submit,
    .read_row = pg_read_row,
    .read_user = pg_read_user,
    .read_devices = pg_read_devices,
    .read_users_of = pg_read_users_of,
    .read_users = pg_read_users,
    .count_devices = pg_count_devices,
    .submitted = pg_submitted,
    .settled = pg_settled,
    .settle = pg_settle,
    .follow = pg_follow,
    .is_heard = pg_is_heard,
    .heard_ms = pg_heard_ms,
    .is_leader = pg_is_leader,
    .read_revisions = pg_read_revisions,
    .read_log = pg_read_log,
    .close = pg_close,
    .upkeep = &pg_upkeep,
};

/* libpq's sentences quote what they do not understand, the password perhaps. */
static bool parse_target(struct pg_store *s, const char *url, char *error, size_t error_cap)
{
    char *why = NULL;
    s->target = PQconninfoParse(url, &why);
    if (!s->target)
        snprintf(error, error_cap, "the URL of the store cannot be understood: %.*s",
                 why ? (int)strcspn(why, ":\"") : 0, why ? why : "");
    PQfreemem(why);
    return s->target != NULL;
}

/* "postgresql at db.example.org", without what is secret. */
static void name_store(struct pg_store *s)
{
    const char *host = NULL;
    for (const PQconninfoOption *o = s->target; o->keyword; o++)
        if (o->val &&
            (strcmp(o->keyword, "host") == 0 || (!host && strcmp(o->keyword, "hostaddr") == 0)))
            host = o->val;
    snprintf(s->name, sizeof s->name, "postgresql at %.60s", host && *host ? host : "localhost");
}

bool pg_parse_url(struct pg_store *s, const char *url, char *error, size_t error_cap)
{
    bool ok = parse_target(s, url, error, error_cap);
    if (ok) name_store(s);
    return ok;
}

/* Is it only a moment away: not listening yet, or starting up? */
static bool may_come(const struct pg_store *s)
{
    const char *keywords[64], *values[64];
    size_t n = 0;
    for (const PQconninfoOption *o = s->target; o->keyword && n < 63; o++) {
        if (!o->val) continue;
        keywords[n] = o->keyword;
        values[n++] = o->val;
    }
    keywords[n] = values[n] = NULL;
    PGPing answer = PQpingParams(keywords, values, 0);
    return answer == PQPING_REJECT || answer == PQPING_NO_RESPONSE;
}

/* A database that is started together with this server is waited for a little. */
static bool first_contact(struct pg_store *s, char *error, size_t error_cap)
{
    struct pg_link *l = &s->writer;
    uint64_t end = queue_now_ms() + PG_OPEN_S * 1000;
    bool there;
    while (!(there = pg_dial(l)) && queue_now_ms() < end && may_come(s)) {
        pg_disconnect(l);
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    }
    bool ok = there && pg_migrate(l) && pg_is_whole(l) && pg_feed_prepare(s, l);
    pg_disconnect(l);
    ok = ok && pg_connect(l);
    if (!ok) snprintf(error, error_cap, "%s: %s", s->name, l->why);
    return ok;
}

static struct pg_store *create(const struct store_options *o)
{
    struct pg_store *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->base.ops = &pg_ops;
    s->lease_ms = (o->lease_s ? o->lease_s : 10) * 1000;
    s->writer = (struct pg_link){.store = s, .role = PG_WRITER};
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->read_wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->read_mutex, NULL);
    trouble_init(&s->trouble, s->name);
    queue_init(&s->queue);
    return s;
}

struct store *pg_store_open(const struct store_options *o, char *error, size_t error_cap)
{
    struct pg_store *s = create(o);
    if (!s || !pg_pool_start(s, o->connections)) {
        snprintf(error, error_cap, "out of memory");
    } else if (pg_parse_url(s, o->url, error, error_cap)) {
        if (first_contact(s, error, error_cap) && pg_writer_start(s, error, error_cap))
            return &s->base;
    }
    if (s) pg_close(&s->base);
    return NULL;
}
