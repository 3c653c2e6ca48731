/* What upstreams demand of devices, as the store has it: a bond names the claim that it is of. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"
#include "src/server/gate/inner.h"
#include "src/server/observe/log.h"

static bool damaged(const struct item_record *r, const char *why)
{
    LOG(LOG_ERROR, 0, "upstream-demand-damaged", KV_TEXT("kind", r->kind), KV_TEXT("name", r->name),
        KV_TEXT("why", why));
    return false;
}

/* Held; NULL: no memory, out of reach, or damaged. */
static struct claim *claim_of(struct gate *g, const struct item_record *bond, const char *name)
{
    struct claim *c = claims_find(g->claims, name);
    struct item_record r;
    void *block = NULL;
    if (c) return c;
    int found = store_read_item(g->store, CLAIM_KIND, name, &r, &block);
    if (found == 0) damaged(bond, "what it names is missing");
    if (found <= 0) return NULL;
    enum gate_result result = claims_load(g->claims, r.json, &c);
    /* A name that is not the hash: another bond would not find it. */
    if (result == GATE_OK && strcmp(c->name, name) != 0) {
        claim_release(c);
        result = GATE_UNKNOWN;
    }
    if (result != GATE_OK && result != GATE_STORE)
        damaged(bond, result == GATE_INVALID ? "what it names cannot be used"
                                             : "what it names has another name");
    free(block);
    return result == GATE_OK ? c : NULL;
}

/* An upstream that is not the user's any more demands nothing of its devices. What stays in the store is
 * sifted out again. */
static bool stays(struct gate *g, const struct item_record *r, const struct claim *c)
{
    char user[AUTH_USER_MAX] = "";
    size_t len = (size_t)(strrchr(r->name, '/') - r->name);
    if (len < sizeof user) memcpy(user, r->name, len);
    if (!g->bond_stays || g->bond_stays(g->bond_stays_ctx, user, c->upstream)) return true;
    const struct store_change change = {.kind = STORE_REMOVE_ITEM,
                                        .u.item = {.kind = BOND_KIND, .name = r->name}};
    (void)store_submit(g->store, &change, 1, NULL);
    return false;
}

/* Takes over c. false: no memory. */
static bool put_row(struct bond_row **rows, const char *device_id, struct claim *c, uint32_t key,
                    uint64_t told)
{
    size_t size = strlen(device_id) + 1;
    struct bond_row *row = calloc(1, sizeof *row + size);
    struct bond *b = calloc(1, sizeof *b);
    if (!row || !b) {
        claim_release(c);
        free(row);
        free(b);
        return false;
    }
    *b = (struct bond){.claim = c, .key = key, .told = told};
    memcpy(row->device_id, device_id, size);
    row->bond = b;
    row->next = *rows;
    *rows = row;
    return true;
}

static bool read_json(struct gate *g, const struct item_record *r, json_t *root,
                      struct bond_row **rows)
{
    const char *name, *told, *slash = strrchr(r->name, '/');
    json_int_t key;
    if (json_unpack(root, "{s:s,s:I,s:s}", "claim", &name, "key", &key, "told", &told) != 0 ||
        key < 0 || key > UINT32_MAX || strlen(name) >= CLAIM_NAME || !slash)
        return damaged(r, "it cannot be read");
    struct claim *c = claim_of(g, r, name);
    if (!c) return false;
    if (stays(g, r, c)) return put_row(rows, slash + 1, c, (uint32_t)key, strtoull(told, NULL, 16));
    claim_release(c);
    return true;
}

bool bond_read(struct gate *g, const struct item_record *r, struct bond_row **rows)
{
    json_t *root;
    if (strcmp(r->kind, BOND_KIND) != 0) return true;
    if (!json_of_text(r->json, strlen(r->json), JSON_REJECT_DUPLICATES, &root)) return false;
    bool ok = read_json(g, r, root, rows);
    json_decref(root);
    return ok;
}

void bond_rows_free(struct bond_row *rows)
{
    for (struct bond_row *next; rows; rows = next) {
        next = rows->next;
        bond_free(rows->bond);
        free(rows);
    }
}

static bool is_same(const struct bond *a, const struct bond *b)
{
    return a->claim == b->claim && a->key == b->key && a->told == b->told;
}

bool bond_merge(struct gate *g, struct shard *s, struct device *d, struct bond_row *row)
{
    struct bond *before = d->bound ? bond_find(&s->bonds, d) : NULL;
    if (before && row && is_same(before, row->bond)) return true;
    if (row) {
        if (!bonds_reserve(&s->bonds)) return false;
        bond_free(bond_put(&s->bonds, row->bond, d));
        row->bond = NULL;
    } else {
        bond_free(bond_pull(&s->bonds, d));
    }
    d->bound = row != NULL;
    device_wake(g, d);
    return true;
}
