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

void store_close(struct store *s)
{
    if (s) s->ops->close(s);
}
