#include "src/cli/policy_plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/policy_json.h"

/* What a plan is made with. */
struct work {
    struct plan *p;
    const struct policy_wish *wish;
    json_t *want, *have; /* name: policy */
    struct pv_arena arena[2];
};

static const char *text_in(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static bool refuse(struct plan *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool refuse(struct plan *p, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(p->error, sizeof p->error, format, list);
    va_end(list);
    return false;
}

static bool no_memory(struct plan *p)
{
    p->no_memory = true;
    return false;
}

/* ---- what is there, and what will be ---- */

static json_t *by_name(const json_t *policies)
{
    json_t *map = json_object(), *policy;
    size_t i;
    json_array_foreach(
        policies, i, policy) if (map && json_object_set(map, text_in(policy, "name"), policy) != 0)
    {
        json_decref(map);
        map = NULL;
    }
    return map;
}

/* In the end: as wanted, or as it is and stays. NULL: there will be none. */
static const json_t *in_the_end(const struct work *w, const char *name)
{
    const json_t *policy = json_object_get(w->want, name);
    if (policy) return policy;
    if (w->wish->prune && strcmp(name, "default") != 0) return NULL;
    return json_object_get(w->have, name);
}

static bool check_parents(struct work *w, const json_t *policy)
{
    const char *first = text_in(policy, "name");
    size_t steps = json_object_size(w->want) + json_object_size(w->have) + 1;
    for (const char *parent; (parent = text_in(policy, "parent")) != NULL; steps--) {
        const json_t *next = in_the_end(w, parent);
        if (next == NULL)
            return refuse(w->p, "%s: there will be no policy \"%s\" to inherit from", first,
                          parent);
        if (steps == 0) return refuse(w->p, "%s: it would inherit from itself", first);
        policy = next;
    }
    return true;
}

/* Names of a map, parents before children; the parents make no circle. NULL: no memory. */
static json_t *parents_first(const json_t *map)
{
    json_t *names = json_array(), *done = json_object(), *policy;
    bool more = true, good = names && done;
    while (good && more) {
        const char *name;
        more = false;
        json_object_foreach((json_t *)map, name, policy)
        {
            const char *parent = text_in(policy, "parent");
            bool waits = parent && json_object_get(map, parent) && !json_object_get(done, parent);
            if (waits || json_object_get(done, name)) continue;
            good = good && json_array_append_new(names, json_string(name)) == 0 &&
                   json_object_set_new(done, name, json_true()) == 0;
            more = true;
        }
    }
    json_decref(done);
    if (good) return names;
    json_decref(names);
    return NULL;
}

/* ---- policies ---- */

struct differences {
    json_t *list;
    bool failed;
};

static void add_difference(void *ctx, const char *name, const char *old, const char *new_)
{
    struct differences *d = ctx;
    if (json_array_append_new(
            d->list, json_pack("{s:s,s:s,s:s}", "name", name, "old", old, "new", new_)) != 0)
        d->failed = true;
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* {"settings", "parent"?} */
static json_t *body_of(const json_t *wanted)
{
    json_t *body = json_pack("{s:O}", "settings", json_object_get(wanted, "settings"));
    const char *parent = text_in(wanted, "parent");
    if (body && parent && json_object_set_new(body, "parent", json_string(parent)) != 0) {
        json_decref(body);
        return NULL;
    }
    return body;
}

static bool add_step(struct work *w, const json_t *wanted, const json_t *is)
{
    struct pv_policy policy[2];
    const json_t *of[2] = {is, wanted};
    const char *name = text_in(wanted, "name");
    char why[SETTINGS_MESSAGE_MAX];
    struct differences d = {.list = json_array()};
    bool good = d.list != NULL;
    for (int i = 0; i < 2 && good; i++) {
        pv_arena_reset(&w->arena[i]);
        enum pv_err err =
            settings_read(json_object_get(of[i], "settings"), &w->arena[i], &policy[i], why);
        if (err == PV_OK) continue;
        json_decref(d.list);
        return err == PV_E_NOMEM ? no_memory(w->p) : refuse(w->p, "%s: %s", name, why);
    }
    if (good) settings_each_difference(&policy[0], &policy[1], add_difference, &d);
    bool moves = !same_text(text_in(is, "parent"), text_in(wanted, "parent"));
    if (!good || d.failed) {
        json_decref(d.list);
        return no_memory(w->p);
    }
    if (is && !moves && json_array_size(d.list) == 0) {
        json_decref(d.list);
        return true;
    }
    json_t *step = json_pack("{s:s,s:s,s:o,s:o}", "policy", name, "change", is ? "changed" : "new",
                             "settings", d.list, "body", body_of(wanted));
    if (step && moves)
        good =
            json_object_set_new(step, "parent",
                                text_in(wanted, "parent") ? json_string(text_in(wanted, "parent"))
                                                          : json_null()) == 0;
    if (!step || !good || json_array_append(w->p->steps, step) != 0) good = no_memory(w->p);
    json_decref(step);
    return good;
}

static bool add_steps(struct work *w)
{
    json_t *names = parents_first(w->want);
    bool good = names != NULL || no_memory(w->p);
    for (size_t i = 0; good && i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        good = add_step(w, json_object_get(w->want, name), json_object_get(w->have, name));
    }
    json_decref(names);
    return good;
}

static bool add_removals(struct work *w)
{
    json_t *names = parents_first(w->have);
    bool good = names != NULL || no_memory(w->p);
    for (size_t i = json_array_size(names); good && i-- > 0;) {
        const char *name = json_string_value(json_array_get(names, i));
        if (in_the_end(w, name)) continue;
        if (json_array_append_new(w->p->steps,
                                  json_pack("{s:s,s:s}", "policy", name, "change", "removed")) != 0)
            good = no_memory(w->p);
    }
    json_decref(names);
    return good;
}

/* ---- assignments ---- */

bool plan_same_scope(const json_t *a, const json_t *b)
{
    static const char *const members[] = {"scope", "group", "user", "device_id"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (!same_text(text_in(a, members[i]), text_in(b, members[i]))) return false;
    return true;
}

static const json_t *same_place(const json_t *assignments, const json_t *one)
{
    const json_t *other;
    size_t i;
    json_array_foreach(assignments, i, other) if (plan_same_scope(one, other)) return other;
    return NULL;
}

static bool add_move(struct work *w, const json_t *assignment, const char *change, const char *was)
{
    json_t *move = json_pack("{s:O,s:s}", "assignment", assignment, "change", change);
    bool good = move && (!was || json_object_set_new(move, "was", json_string(was)) == 0) &&
                json_array_append(w->p->moves, move) == 0;
    json_decref(move);
    return good || no_memory(w->p);
}

static bool add_moves(struct work *w)
{
    const json_t *one, *is;
    size_t i;
    json_array_foreach(w->wish->assignments, i, one)
    {
        const char *policy = text_in(one, "policy");
        if (!in_the_end(w, policy))
            return refuse(w->p, "assignments: there will be no policy \"%s\"", policy);
        is = same_place(w->p->assignments, one);
        if (is && same_text(text_in(is, "policy"), policy)) continue;
        if (!add_move(w, one, is ? "changed" : "new", text_in(is, "policy"))) return false;
    }
    json_array_foreach(w->p->assignments, i, is)
    {
        const char *policy = text_in(is, "policy");
        bool gone = w->wish->assignments && w->wish->prune;
        if (same_place(w->wish->assignments, is)) continue;
        if (gone && !add_move(w, is, "removed", NULL)) return false;
        if (!gone && policy && !in_the_end(w, policy))
            return refuse(w->p, "policy \"%s\" would be removed, but is assigned", policy);
    }
    return true;
}

bool plan_make(struct plan *p, const struct policy_wish *wish, const json_t *policies,
               const json_t *assignments)
{
    struct work w = {.p = p, .wish = wish};
    const json_t *one;
    size_t i;
    *p = (struct plan){.policies = policies,
                       .assignments = assignments,
                       .steps = json_array(),
                       .moves = json_array()};
    w.want = by_name(wish->policies);
    w.have = by_name(policies);
    bool good = p->steps && p->moves && w.want && w.have;
    for (int a = 0; a < 2 && good; a++)
        good = pv_arena_create(&w.arena[a], SETTINGS_ARENA) == PV_OK;
    if (!good) no_memory(p);
    if (good && json_object_size(w.want) != json_array_size(wish->policies))
        good = refuse(p, "two policies have the same name");
    json_array_foreach(wish->policies, i, one) good = good && check_parents(&w, one);
    good = good && add_steps(&w) && add_moves(&w) && (!wish->prune || add_removals(&w));
    for (int a = 0; a < 2; a++) pv_arena_destroy(&w.arena[a]);
    json_decref(w.want);
    json_decref(w.have);
    return good;
}

void plan_finish(struct plan *p)
{
    json_decref(p->steps);
    json_decref(p->moves);
}
