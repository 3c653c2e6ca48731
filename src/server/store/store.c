#include <stdio.h>
#include <string.h>

#include "src/server/store/sqlite.h"
#include "src/server/store/store.h"

struct store *store_open(const char *url, const char *state, char *error, size_t error_cap)
{
    if (strcmp(url, "sqlite") == 0) return sqlite_store_open(state, error, error_cap);
    snprintf(error, error_cap, "store \"%s\" is not known; allowed is \"sqlite\"", url);
    return NULL;
}

bool store_submit(struct store *s, const struct store_change *changes, size_t count,
                  struct store_write *w)
{
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
    return s->ops->read_folder_state(s, user, device_id, out, block_out);
}

int store_read_folder_ids(struct store *s, const char *user, struct folder_ids_record *out,
                          void **block_out)
{
    return s->ops->read_folder_ids(s, user, out, block_out);
}

int store_read_info(struct store *s, const char *user, const char *device_id,
                    struct info_record *out, void **block_out)
{
    return s->ops->read_info(s, user, device_id, out, block_out);
}

int store_read_trail(struct store *s, const char *user, const char *device_id,
                     struct trail_record *out, void **block_out)
{
    return s->ops->read_trail(s, user, device_id, out, block_out);
}

int store_read_item(struct store *s, const char *kind, const char *name, struct item_record *out,
                    void **block_out)
{
    return s->ops->read_item(s, kind, name, out, block_out);
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
