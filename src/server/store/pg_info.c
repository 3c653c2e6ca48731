#include <stdlib.h>
#include <string.h>

#include "src/server/store/info.h"
#include "src/server/store/pg_batch.h"

static int by_name(const void *a, const void *b)
{
    const struct pg_info *x = a, *y = b;
    int order = strcmp(x->user, y->user);
    return order ? order : strcmp(x->device_id, y->device_id);
}

bool pg_infos_set(struct pg_info *row, const char *info, const char *history)
{
    char *i = strdup(info), *h = strdup(history);
    if (!i || !h) {
        free(i);
        free(h);
        return false;
    }
    free(row->info);
    free(row->history);
    row->info = i;
    row->history = h;
    return true;
}

bool pg_infos_collect(struct pg_infos *all, const struct pg_step *steps, size_t count)
{
    *all = (struct pg_infos){0};
    size_t n = 0;
    for (size_t i = 0; i < count; i++) n += steps[i].change->kind == STORE_PUT_INFO;
    if (!n) return true;
    if (!(all->rows = calloc(n, sizeof *all->rows))) return false;
    for (size_t i = 0, at = 0; i < count; i++) {
        const struct info_record *r = &steps[i].change->u.info;
        if (steps[i].change->kind == STORE_PUT_INFO)
            all->rows[at++] = (struct pg_info){.user = r->user, .device_id = r->device_id};
    }
    qsort(all->rows, n, sizeof *all->rows, by_name);
    for (size_t i = 0; i < n; i++)
        if (!all->count || by_name(&all->rows[all->count - 1], &all->rows[i]) != 0)
            all->rows[all->count++] = all->rows[i];
    for (size_t i = 0; i < all->count; i++)
        if (!pg_infos_set(&all->rows[i], "", "")) return false;
    return true;
}

void pg_infos_finish(struct pg_infos *all)
{
    for (size_t i = 0; i < all->count; i++) {
        free(all->rows[i].info);
        free(all->rows[i].history);
    }
    free(all->rows);
    *all = (struct pg_infos){0};
}

bool pg_infos_merge(struct pg_infos *all, const struct info_record *r, struct pg_info_change *out)
{
    const struct pg_info key = {.user = r->user, .device_id = r->device_id};
    struct pg_info *row = bsearch(&key, all->rows, all->count, sizeof key, by_name);
    char *info, *history;
    *out = (struct pg_info_change){0};
    if (!row || !info_apply(row->info, row->history, r->info_json, r->at, &info, &history))
        return false;
    if (!info) return true;
    *out = (struct pg_info_change){info, history, row->info, row->history};
    row->info = info;
    row->history = history;
    return true;
}

void pg_info_change_finish(struct pg_info_change *change)
{
    free(change->was_info);
    free(change->was_history);
}

bool pg_infos_forget(struct pg_infos *all, const char *user, const char *device_id)
{
    for (size_t i = 0; i < all->count; i++) {
        struct pg_info *row = &all->rows[i];
        if (strcmp(row->user, user) == 0 &&
            (!device_id || strcmp(row->device_id, device_id) == 0) && !pg_infos_set(row, "", ""))
            return false;
    }
    return true;
}
