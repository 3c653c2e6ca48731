#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "src/server/store/pg.h"
#include "src/server/store/sqlite.h"
#include "src/server/store/store.h"

struct store *store_open(const struct store_options *o, char *error, size_t error_cap)
{
    if (strcmp(o->url, "sqlite") == 0) return sqlite_store_open(o->state, error, error_cap);
    if (strncmp(o->url, "postgresql://", 13) == 0 || strncmp(o->url, "postgres://", 11) == 0)
        return pg_store_open(o, error, error_cap);
    /* Behind the scheme of a URL there may be a password. */
    snprintf(error, error_cap,
             "store \"%.*s\" is not known; allowed are \"sqlite\" and \"postgresql://...\"",
             (int)strcspn(o->url, ":"), o->url);
    return NULL;
}

static uint64_t tag_start;

static void choose_start(void)
{
    if (getrandom(&tag_start, sizeof tag_start, 0) != (ssize_t)sizeof tag_start) abort();
}

/* A process counts from a random start: no other comes that way. */
uint64_t store_tag(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static _Atomic uint64_t given;
    pthread_once(&once, choose_start);
    uint64_t tag;
    do {
        tag = (tag_start + atomic_fetch_add_explicit(&given, 1, memory_order_relaxed)) & INT64_MAX;
    } while (!tag);
    return tag;
}

bool store_submit(struct store *s, const struct store_change *changes, size_t count,
                  struct store_write *w)
{
    for (size_t i = 0; i < count; i++)
        if (changes[i].kind == STORE_PUT_DEVICE && !changes[i].u.device.tag) return false;
    return s->ops->submit(s, changes, count, w);
}

bool store_load(struct store *s, const struct store_visitor *v, void *ctx, char *error,
                size_t error_cap)
{
    return s->ops->load(s, v, ctx, error, error_cap);
}

int store_read_folder_state(struct store *s, const char *user, const char *device_id,
                            struct folder_state_record *out, void **block_out)
{
    struct store_row r;
    int found = s->ops->read_row(s, STORE_ROW_FOLDER_STATE, user, device_id, &r, block_out);
    if (found == 1)
        *out = (struct folder_state_record){
            .user = user,
            .device_id = device_id,
            .key = r.numbers[0],
            .previous_key = r.numbers[1],
            .tree_json = r.texts[0],
            .previous_tree_json = r.texts[1],
            .ping_json = r.texts[2],
        };
    return found;
}

int store_read_folder_ids(struct store *s, const char *user, struct folder_ids_record *out,
                          void **block_out)
{
    struct store_row r;
    int found = s->ops->read_row(s, STORE_ROW_FOLDER_IDS, user, NULL, &r, block_out);
    if (found == 1) *out = (struct folder_ids_record){.user = user, .ids_json = r.texts[0]};
    return found;
}

int store_read_info(struct store *s, const char *user, const char *device_id,
                    struct info_record *out, void **block_out)
{
    struct store_row r;
    int found = s->ops->read_row(s, STORE_ROW_INFO, user, device_id, &r, block_out);
    if (found == 1)
        *out = (struct info_record){.user = user,
                                    .device_id = device_id,
                                    .info_json = r.texts[0],
                                    .history_json = r.texts[1]};
    return found;
}

int store_read_trail(struct store *s, const char *user, const char *device_id,
                     struct trail_record *out, void **block_out)
{
    struct store_row r;
    int found = s->ops->read_row(s, STORE_ROW_TRAIL, user, device_id, &r, block_out);
    if (found == 1) *out = (struct trail_record){user, device_id, r.texts[0]};
    return found;
}

int store_read_item(struct store *s, const char *kind, const char *name, struct item_record *out,
                    void **block_out)
{
    struct store_row r;
    int found = s->ops->read_row(s, STORE_ROW_ITEM, kind, name, &r, block_out);
    if (found == 1) *out = (struct item_record){.kind = kind, .name = name, .json = r.texts[0]};
    return found;
}

bool store_read_revisions(struct store *s, const char *policy,
                          void (*each)(void *ctx, const struct policy_record *r), void *ctx)
{
    return s->ops->read_revisions(s, policy, each, ctx);
}

bool store_read_log(struct store *s, enum store_log which, uint64_t after, unsigned most,
                    void (*each)(void *ctx, const struct log_record *r), void *ctx)
{
    return s->ops->read_log(s, which, after, most, each, ctx);
}

bool store_read_user(struct store *s, const char *user, const struct store_visitor *v, void *ctx)
{
    return s->ops->read_user(s, user, v, ctx);
}

bool store_read_devices(struct store *s, const struct store_query *q,
                        void (*each)(void *ctx, const struct device_record *r), void *ctx)
{
    return s->ops->read_devices(s, q, each, ctx);
}

bool store_read_users_of(struct store *s, const char *device_id, unsigned most,
                         void (*each)(void *ctx, const char *user), void *ctx)
{
    return s->ops->read_users_of(s, device_id, most, each, ctx);
}

bool store_read_users(struct store *s, const char *after, unsigned most,
                      void (*each)(void *ctx, const struct user_record *r), void *ctx)
{
    return s->ops->read_users(s, after, most, each, ctx);
}

bool store_count_devices(struct store *s, uint64_t *out)
{
    return s->ops->count_devices(s, out);
}

uint64_t store_submitted(struct store *s)
{
    return s->ops->submitted(s);
}

bool store_settled(struct store *s, uint64_t position)
{
    return s->ops->settled(s, position);
}

bool store_settle(struct store *s, uint64_t position)
{
    return s->ops->settle(s, position);
}

bool store_is_shared(const struct store *s)
{
    return s->ops->shared;
}

bool store_follow(struct store *s, const struct store_follower *f)
{
    return s->ops->follow(s, f);
}

bool store_is_heard(const struct store *s)
{
    return !s->ops->shared || s->ops->is_heard(s);
}

int64_t store_heard_ms(const struct store *s)
{
    return s->ops->shared ? s->ops->heard_ms(s) : -1;
}

bool store_is_leader(const struct store *s)
{
    return !s->ops->shared || s->ops->is_leader(s);
}

bool store_listen(struct store *s, void (*fn)(void *ctx), void *ctx)
{
    for (size_t i = 0; i < STORE_LISTENERS_MAX; i++) {
        if (s->listeners[i].fn) continue;
        s->listeners[i] = (struct store_listener){fn, ctx};
        return true;
    }
    return false;
}

void store_close(struct store *s)
{
    if (s) s->ops->close(s);
}
