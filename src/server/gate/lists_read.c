/* Lists from the store into memory: policies with their assignments, access rules, and what others
 * keep. */
#include "src/server/gate/lists_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/json_text.h"

/* ---- reading ---- */
/* Takes the place of r->rules; NULL: no memory. */
static void take_rules(struct lists_reading *r, struct rules *rules)
{
    if (rules) {
        rules_release(r->rules);
        r->rules = rules;
    }
    r->out_of_memory |= !rules;
}

static void read_rule(struct lists_reading *r, const json_t *json)
{
    struct rule rule;
    if (rule_of_json(json, &rule) && r->rules->count < RULES_MAX)
        take_rules(r, rules_with(r->rules, &rule));
    else
        r->bad_rule = true;
}

static void read_access(struct lists_reading *r, const json_t *json)
{
    const char *otherwise;
    json_int_t last_id;
    enum pv_access access;
    if (json_unpack((json_t *)json, "{s:s,s:I}", "default", &otherwise, "last_id", &last_id) == 0 &&
        access_parse(otherwise, &access) && last_id >= 0 && last_id <= UINT32_MAX)
        take_rules(r, rules_otherwise(r->rules, access, (uint32_t)last_id));
    else
        r->bad_rule = true;
}

static void read_generation(struct lists_reading *r, const struct item_record *item)
{
    size_t len = strlen(item->json);
    r->bad_generation |= len >= sizeof r->generation || strcmp(item->name, LISTS_NAME) != 0;
    if (!r->bad_generation) memcpy(r->generation, item->json, len + 1);
}

void lists_reading_item(struct lists_reading *r, const struct item_record *item)
{
    static const struct {
        const char *kind;
        void (*read)(struct lists_reading *r, const json_t *json);
    } kinds[] = {{"rule", read_rule}, {"access", read_access}};
    r->out_of_memory |= !policy_load_item(r->policies, item);
    if (strcmp(item->kind, LISTS_KIND) == 0) read_generation(r, item);
    for (size_t i = 0; i < r->part_count; i++) r->parts[i]->item(r->part_readings[i], item);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        json_t *json;
        if (strcmp(item->kind, kinds[i].kind) != 0 || r->out_of_memory) continue;
        if (json_of_text(item->json, strlen(item->json), JSON_REJECT_DUPLICATES, &json))
            kinds[i].read(r, json);
        else
            r->out_of_memory = true;
        json_decref(json);
    }
}

void lists_reading_policy(struct lists_reading *r, const struct policy_record *p)
{
    r->out_of_memory |= !policy_load_revision(r->policies, p);
}

/* ---- the first start ---- */
static bool store_first(struct lists_reading *r, const struct saved *s)
{
    struct lists_guard guard;
    memcpy(guard.was, r->generation, sizeof guard.was);
    lists_name(guard.next);
    const struct store_change changes[] = {{.kind = STORE_PUT_POLICY,
                                            .u.policy = {.name = s->name,
                                                         .revision = s->id,
                                                         .at = s->at,
                                                         .settings_json = s->settings_json,
                                                         .parent = s->parent,
                                                         .by = s->by}},
                                           lists_change(&guard)};
    struct store_write w;
    bool durable = store_submit_wait(r->g->store, changes, 2, &w);
    r->overtaken = w.conflict;
    if (durable) memcpy(r->generation, guard.next, sizeof r->generation);
    return durable;
}

/* It restricts nothing, but it is a policy: every client seen fails when it is told that there
 * is none. */
static bool add_default(struct lists_reading *r, struct book *book, char *error, size_t error_cap)
{
    const struct saved_draft draft = {
        .name = POLICY_DEFAULT, .by = "server", .id = r->last_revision + 1, .at = time(NULL)};
    struct saved *s;
    char why[256] = "out of memory";
    if (book_line(book, POLICY_DEFAULT)) return true;
    if (saved_create(&draft, &s, why, sizeof why) != GATE_OK) {
        snprintf(error, error_cap, "the policy \"default\" cannot be made: %s", why);
        return false;
    }
    r->last_revision = s->id;
    bool stored = store_first(r, s), ok = stored && book_put(book, s);
    saved_release(s);
    if (!ok)
        snprintf(error, error_cap, "%s",
                 stored ? "out of memory" : "the policy \"default\" cannot be stored");
    return ok;
}

/* The policies of the store, `default` added if need be. NULL: error is set. */
static struct book *make_book(struct lists_reading *r, char *error, size_t error_cap)
{
    char why[GATE_MESSAGE_MAX] = "out of memory";
    const struct config_groups groups = config_groups_now(r->g->config);
    struct book *book = policy_load_end(r->policies, &groups, &r->last_revision, error, error_cap);
    config_groups_release(&groups);
    bool ok = book && add_default(r, book, error, error_cap);
    if (ok && book_finish(book, NULL, NULL, why, sizeof why) != GATE_OK) {
        snprintf(error, error_cap, "the policies cannot be used: %s", why);
        ok = false;
    }
    if (ok) return book;
    book_release(book);
    return NULL;
}

static bool is_readable(const struct lists_reading *r, char *error, size_t error_cap)
{
    if (r->out_of_memory)
        snprintf(error, error_cap, "out of memory");
    else if (r->bad_rule)
        snprintf(error, error_cap,
                 "an access rule, or the default access, is damaged in the store");
    else if (r->bad_generation)
        snprintf(error, error_cap, "the generation of the lists is damaged in the store");
    else
        return true;
    return false;
}

bool lists_reading_end(struct lists_reading *r, char *error, size_t error_cap)
{
    if (is_readable(r, error, error_cap)) r->book = make_book(r, error, error_cap);
    return r->book != NULL;
}

/* ---- the whole of it ---- */
struct lists_reading *lists_reading_create(struct gate *g)
{
    struct lists_reading *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->g = g;
    r->policies = policy_loading_create();
    take_rules(r, rules_otherwise(NULL, PV_ACCESS_OK, 0));
    size_t parts = lists_parts(g, &r->parts);
    for (; r->part_count < parts; r->part_count++) {
        const struct lists_part *p = r->parts[r->part_count];
        void *reading = p->begin(p->ctx);
        if (!reading) break;
        r->part_readings[r->part_count] = reading;
    }
    if (r->policies && r->rules && r->part_count == parts) return r;
    lists_reading_free(r);
    return NULL;
}

static void end_parts(struct lists_reading *r, bool take)
{
    for (size_t i = 0; i < r->part_count; i++)
        r->parts[i]->end(r->parts[i]->ctx, r->part_readings[i], take);
    r->part_count = 0;
}

void lists_reading_free(struct lists_reading *r)
{
    if (!r) return;
    end_parts(r, false);
    policy_loading_free(r->policies);
    rules_release(r->rules);
    book_release(r->book);
    free(r);
}

/* At the start there is nothing in force, and nobody whom it concerns. */
static void take_book(struct gate *g, struct book *book)
{
    struct effect e = {.g = g, .is = book};
    if (g->table->shards[0].book) {
        e.was = gate_book(g);
        effect_apply(&e);
        book_release(e.was);
        return;
    }
    for (size_t i = 0; i < TABLE_SHARDS; i++) g->table->shards[i].book = book_hold(book);
}

void lists_reading_take(struct lists_reading *r)
{
    take_book(r->g, r->book);
    rules_put_in_force(r->g, r->rules);
    gate_revision_given(r->g, r->last_revision);
    end_parts(r, true);
}

static void read_item(void *ctx, const struct item_record *item)
{
    lists_reading_item(ctx, item);
}

static void read_policy(void *ctx, const struct policy_record *p)
{
    lists_reading_policy(ctx, p);
}

struct lists_reading *lists_read(struct gate *g, char *error, size_t error_cap)
{
    static const struct store_visitor visitor = {.item = read_item, .policy = read_policy};
    struct lists_reading *r = lists_reading_create(g);
    if (!r) snprintf(error, error_cap, "out of memory");
    bool ok = r && store_load(g->store, &visitor, r, error, error_cap) &&
              lists_reading_end(r, error, error_cap);
    if (ok) return r;
    lists_reading_free(r);
    return NULL;
}

bool gate_lists_fit(struct gate *g, struct store *other, char *error, size_t error_cap)
{
    static const struct store_visitor visitor = {.item = read_item, .policy = read_policy};
    char why[GATE_MESSAGE_MAX] = "out of memory";
    const struct config_groups groups = config_groups_now(g->config);
    struct lists_reading *r = lists_reading_create(g);
    if (!r) snprintf(error, error_cap, "out of memory");
    bool ok =
        r && store_load(other, &visitor, r, error, error_cap) && is_readable(r, error, error_cap) &&
        (r->book = policy_load_end(r->policies, &groups, &r->last_revision, error, error_cap));
    config_groups_release(&groups);
    if (ok && (!book_line(r->book, POLICY_DEFAULT) ||
               book_finish(r->book, NULL, NULL, why, sizeof why) != GATE_OK)) {
        snprintf(error, error_cap, "its policies cannot be used: %s",
                 book_line(r->book, POLICY_DEFAULT) ? why : "there is no default");
        ok = false;
    }
    lists_reading_free(r);
    return ok;
}
