/* What upstreams demand of devices, from the store: items come before the devices, and bonds before the
 * claims that they name. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"
#include "src/server/gate/inner.h"

/* A bond before its device is there. */
struct row {
    struct row *next;
    uint32_t key;
    uint64_t told;
    char claim[CLAIM_NAME];
    char *device_id; /* in user */
    char user[];
};

struct demand_loading {
    struct row *rows;
    struct claim **claims; /* held until the bonds hold theirs */
    size_t count, cap;
    char damaged[128];
};

struct demand_loading *demand_loading_create(void)
{
    return calloc(1, sizeof(struct demand_loading));
}

void demand_loading_free(struct demand_loading *l)
{
    if (!l) return;
    for (struct row *r = l->rows, *next; r; r = next) {
        next = r->next;
        free(r);
    }
    /* One that nobody is bound by goes from the store, too. */
    for (size_t i = 0; i < l->count; i++) claim_release(l->claims[i]);
    free(l->claims);
    free(l);
}

static bool damage(struct demand_loading *l, const struct item_record *r)
{
    snprintf(l->damaged, sizeof l->damaged, "the %s of an upstream \"%.60s\" cannot be read",
             r->kind, r->name);
    return true;
}

static bool load_claim(struct demand_loading *l, struct claims *all, const struct item_record *r)
{
    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 16;
        struct claim **more = realloc(l->claims, cap * sizeof *more);
        if (!more) return false;
        l->claims = more;
        l->cap = cap;
    }
    switch (claims_load(all, r->json, &l->claims[l->count])) {
    case GATE_OK:
        /* A name that is not the hash: a bond would not find it. */
        if (strcmp(l->claims[l->count++]->name, r->name) != 0) return damage(l, r);
        return true;
    case GATE_STORE: return false;
    default: return damage(l, r);
    }
}

/* NULL: no memory. name: USER/DEVICE. */
static struct row *row_of(const char *name)
{
    size_t size = strlen(name) + 1;
    struct row *row = calloc(1, sizeof *row + size);
    if (!row) return NULL;
    memcpy(row->user, name, size);
    row->device_id = strrchr(row->user, '/');
    *row->device_id++ = '\0';
    return row;
}

static bool load_bond(struct demand_loading *l, const struct item_record *r)
{
    const char *claim, *told;
    json_int_t key;
    json_t *root;
    bool ok = true;
    if (!json_of_text(r->json, strlen(r->json), JSON_REJECT_DUPLICATES, &root)) return false;
    if (json_unpack(root, "{s:s,s:I,s:s}", "claim", &claim, "key", &key, "told", &told) != 0 ||
        key < 0 || key > UINT32_MAX || strlen(claim) >= CLAIM_NAME || !strchr(r->name, '/')) {
        damage(l, r);
    } else {
        struct row *row = row_of(r->name);
        ok = row != NULL;
        if (row) {
            row->key = (uint32_t)key;
            row->told = strtoull(told, NULL, 16);
            memcpy(row->claim, claim, strlen(claim));
            row->next = l->rows;
            l->rows = row;
        }
    }
    json_decref(root);
    return ok;
}

bool demand_load_item(struct demand_loading *l, struct claims *all, const struct item_record *r)
{
    if (strcmp(r->kind, CLAIM_KIND) == 0) return load_claim(l, all, r);
    return strcmp(r->kind, BOND_KIND) != 0 || load_bond(l, r);
}

/* GATE_OK (also for a device that is not there: its bond is for nobody), GATE_INVALID (the claim is
 * missing), GATE_STORE (no memory). */
static enum gate_result bind(struct gate *g, const struct row *r)
{
    enum gate_result result = GATE_STORE;
    struct claim *claim = claims_find(g->claims, r->claim);
    struct bond *b = claim ? calloc(1, sizeof *b) : NULL;
    struct shard *s = table_lock(g->table, r->user);
    struct device *d = owner_device(shard_owner(s, r->user), r->device_id);
    if (!claim) result = GATE_INVALID;
    if (!d) result = GATE_OK;
    if (d && b && bonds_reserve(&s->bonds)) {
        *b = (struct bond){.claim = claim, .key = r->key, .told = r->told};
        bond_free(bond_put(&s->bonds, b, d));
        d->bound = true;
        claim = NULL;
        b = NULL;
        result = GATE_OK;
    }
    table_unlock(s);
    free(b);
    claim_release(claim);
    return result;
}

bool demand_load_end(struct demand_loading *l, struct gate *g, char *error, size_t error_cap)
{
    if (*l->damaged) {
        snprintf(error, error_cap, "%s", l->damaged);
        return false;
    }
    for (const struct row *r = l->rows; r; r = r->next) {
        enum gate_result result = bind(g, r);
        if (result == GATE_OK) continue;
        if (result == GATE_STORE)
            snprintf(error, error_cap, "out of memory");
        else
            snprintf(error, error_cap,
                     "what an upstream demands of the device \"%s\" of \"%s\" is missing",
                     r->device_id, r->user);
        return false;
    }
    return true;
}
