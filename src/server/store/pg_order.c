#include <stdlib.h>
#include <string.h>

#include "src/server/store/pg_batch.h"

static struct pg_step of_user(const char *user, const char *device_id, bool told)
{
    return (struct pg_step){
        .kind = PG_OF_USER, .told = told, .a = user, .a_len = strlen(user), .b = device_id};
}

static struct pg_step of_lists(const char *kind, const char *name)
{
    return (struct pg_step){
        .kind = PG_OF_LISTS, .told = true, .a = kind, .a_len = strlen(kind), .b = name};
}

/* A bond is named USER/DEVICE. */
static struct pg_step of_item(const struct item_record *r)
{
    const char *slash = strrchr(r->name, '/');
    if (strcmp(r->kind, "bond") != 0 || !slash) return of_lists(r->kind, r->name);
    struct pg_step step = of_user(r->name, slash + 1, true);
    step.a_len = (size_t)(slash - r->name);
    return step;
}

struct pg_step pg_step_of(const struct store_change *c)
{
    switch (c->kind) {
    case STORE_PUT_DEVICE:
    case STORE_REMOVE_DEVICE: return of_user(c->u.device.user, c->u.device.device_id, true);
    case STORE_PUT_INFO: return of_user(c->u.info.user, c->u.info.device_id, false);
    case STORE_PUT_TRAIL: return of_user(c->u.trail.user, c->u.trail.device_id, false);
    case STORE_PUT_FOLDER_STATE:
        return of_user(c->u.folder_state.user, c->u.folder_state.device_id, false);
    case STORE_PUT_FOLDER_IDS: return of_user(c->u.folder_ids.user, "", false);
    case STORE_PUT_USER:
    case STORE_REMOVE_USER: return of_user(c->u.user.user, "", true);
    case STORE_PUT_POLICY: return of_lists("policy", c->u.policy.name);
    case STORE_PUT_ITEM:
    case STORE_REMOVE_ITEM: return of_item(&c->u.item);
    case STORE_ADD_AUDIT:
    case STORE_ADD_EVENT:
        return (struct pg_step){.kind = PG_OF_LOGS, .told = true, .a = "", .b = ""};
    case STORE_REMOVE_AUDIT:
    case STORE_REMOVE_EVENT:
    case STORE_SEAL_AUDIT:
    case STORE_REMOVE_CHAIN: break;
    }
    return (struct pg_step){.kind = PG_OF_LOGS, .a = "", .b = ""};
}

static int by_owner(const struct pg_step *x, const struct pg_step *y)
{
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    int order = memcmp(x->a, y->a, x->a_len < y->a_len ? x->a_len : y->a_len);
    return order ? order : (x->a_len > y->a_len) - (x->a_len < y->a_len);
}

static int by_submission(const void *a, const void *b)
{
    const struct pg_step *x = a, *y = b;
    int order = by_owner(x, y);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static int by_row(const void *a, const void *b)
{
    const struct pg_step *x = a, *y = b;
    int order = by_owner(x, y);
    if (!order) order = strcmp(x->b, y->b);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

void pg_sort(struct pg_step *steps, size_t count)
{
    qsort(steps, count, sizeof *steps, by_submission);
    for (size_t from = 0, to; from < count; from = to) {
        bool removed = false;
        for (to = from; to < count && by_owner(&steps[from], &steps[to]) == 0; to++)
            removed = removed || steps[to].change->kind == STORE_REMOVE_USER;
        /* Who is removed with every device keeps its order: what came before must not come behind. */
        if (!removed) qsort(steps + from, to - from, sizeof *steps, by_row);
    }
}
