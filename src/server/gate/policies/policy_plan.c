/* What each act does to the book and to the store. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/json_text.h"
#include "src/server/gate/policies/policy_act.h"

/* ---- what is stored ---- */
static enum gate_result put(struct act *a, struct store_change c, char *text)
{
    if (!text) return GATE_STORE;
    a->texts[a->text_count++] = text;
    if (c.kind == STORE_ADD_AUDIT)
        c.u.log.json = text;
    else
        c.u.item.json = text;
    a->changes[a->count++] = c;
    return GATE_OK;
}

static enum gate_result put_line(struct act *a, char *item)
{
    return put(a,
               (struct store_change){.kind = STORE_PUT_ITEM,
                                     .u.item = {.kind = "line", .name = a->c->name}},
               item);
}

static void drop(struct act *a, const char *kind, const char *name)
{
    a->changes[a->count++] =
        (struct store_change){.kind = STORE_REMOVE_ITEM, .u.item = {.kind = kind, .name = name}};
}

static void put_revision(struct act *a)
{
    const struct saved *s = a->saved;
    a->changes[a->count++] = (struct store_change){.kind = STORE_PUT_POLICY,
                                                   .u.policy = {.name = s->name,
                                                                .revision = s->id,
                                                                .at = s->at,
                                                                .settings_json = s->settings_json,
                                                                .parent = s->parent,
                                                                .by = s->by}};
}

const char *policy_act_text(const struct policy_change *c)
{
    static const char *const names[] = {
#define ACT_NAME(id, text) [POLICY_##id] = text,
        POLICY_ACTS(ACT_NAME)
#undef ACT_NAME
    };
    return c->staged ? "policy.stage" : names[c->act];
}

/* Takes over object, before and after; NULL object: no memory. */
static enum gate_result audit(struct act *a, json_t *object, json_t *before, json_t *after)
{
    return put(a, (struct store_change){.kind = STORE_ADD_AUDIT},
               note_act(a->c->actor, policy_act_text(a->c), a->now, object, before, after));
}

static enum gate_result audit_difference(struct act *a, const struct saved *old,
                                         const struct saved *new_)
{
    json_t *before, *after;
    if (!note_difference(old, new_, &before, &after)) return GATE_STORE;
    json_t *object = json_pack("{s:s}", "policy", a->c->name);
    if (a->c->act == POLICY_RESTORE && object &&
        json_object_set_new(object, "restored", json_integer((json_int_t)a->c->restored)) != 0) {
        json_decref(object);
        object = NULL;
    }
    return audit(a, object, before, after);
}

__attribute__((format(printf, 3, 4))) static enum gate_result
refuse(struct act *a, enum gate_result result, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(a->c->message, sizeof a->c->message, format, args);
    va_end(args);
    return result;
}

/* ---- settings and parents ---- */
/* Names stand in paths, file names and sentences. */
static bool name_is_good(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len >= POLICY_NAME_MAX || *name == '.' || *name == ' ') return false;
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '/' || *p == '\\' || *p == '"')
            return false;
    return name[len - 1] != ' ';
}

/* l NULL: there is no policy of that name, which is what 0 wants. */
static enum gate_result is_as_seen(struct act *a, const struct line *l)
{
    uint64_t want = a->c->if_revision;
    uint64_t is = l ? book_line(a->old, l->name)->effective->id : 0;
    if (!a->c->set_if_revision || want == is) return GATE_OK;
    if (!l) return refuse(a, GATE_CONFLICT, "There is no policy of that name by now.");
    if (want == 0)
        return refuse(a, GATE_CONFLICT, "There is a policy of that name by now, at revision %llu.",
                      (unsigned long long)is);
    return refuse(a, GATE_CONFLICT, "The policy is at revision %llu by now, not at %llu.",
                  (unsigned long long)is, (unsigned long long)want);
}

static enum gate_result may_be_made(struct act *a)
{
    if (!name_is_good(a->c->name))
        return refuse(a, GATE_INVALID,
                      "The name of a policy has 1 to %d bytes, without slashes, quotation marks or "
                      "control characters, and starts with no dot and no blank.",
                      POLICY_NAME_MAX - 1);
    if (a->book->line_count >= POLICIES_MAX)
        return refuse(a, GATE_CONFLICT, "There are %d policies already, the most that can be.",
                      POLICIES_MAX);
    return GATE_OK;
}

static enum gate_result may_be_saved(struct act *a, const struct line *l)
{
    if (l->candidate)
        return refuse(a, GATE_CONFLICT,
                      "Revision %llu of the policy is being rolled out; roll it out to all or take "
                      "it back first.",
                      (unsigned long long)l->candidate->id);
    return GATE_OK;
}

static enum gate_result create_saved(struct act *a, const struct saved *was)
{
    const struct policy_change *c = a->c;
    bool on_top = c->act == POLICY_SET;
    const struct saved_draft draft = {
        .name = c->name,
        .parent = c->parent ? c->parent
                  : on_top  ? was->parent
                            : "",
        .by = c->actor,
        .id = a->g->last_revision + 1,
        .at = a->now,
        .base = on_top ? &was->policy : NULL,
        .settings = c->settings,
        .count = c->count,
    };
    if (strlen(draft.parent) >= POLICY_NAME_MAX)
        return refuse(a, GATE_INVALID, "There is no policy of that name to inherit from.");
    enum gate_result result = saved_create(&draft, &a->saved, a->c->message, sizeof a->c->message);
    bool same = result == GATE_OK && was && strcmp(a->saved->parent, was->parent) == 0 &&
                strcmp(a->saved->settings_json, was->settings_json) == 0;
    return same ? GATE_UNCHANGED : result;
}

/* Nobody has it yet. */
static enum gate_result stage(struct act *a, struct line *l)
{
    struct roll *nobody = roll_create(0, NULL, 0);
    if (!nobody) return GATE_STORE;
    line_set_roll(l, a->saved, nobody);
    roll_release(nobody);
    return put_line(a, line_item(l));
}

static enum gate_result plan_save(struct act *a)
{
    const struct policy_change *c = a->c;
    struct line *l = book_line(a->book, c->name);
    struct saved *was = l ? l->current : NULL;
    if (l && c->act == POLICY_NEW) return GATE_EXISTS;
    if (!l && (c->act == POLICY_SET || c->act == POLICY_RESTORE)) return GATE_UNKNOWN;
    enum gate_result result = is_as_seen(a, l);
    if (result == GATE_OK) result = l ? may_be_saved(a, l) : may_be_made(a);
    if (result == GATE_OK) result = create_saved(a, was);
    if (result != GATE_OK) return result;
    put_revision(a);
    result = audit_difference(a, was, a->saved);
    if (result != GATE_OK) return result;
    if (c->staged) return stage(a, l);
    drop(a, "line", c->name); /* the newest revision is the one in force */
    return book_put(a->book, a->saved) ? GATE_OK : GATE_STORE;
}

/* Whom a policy is assigned to, for a sentence. */
static void put_whom(char *out, size_t size, const struct gate_assignee *to)
{
    switch (to->scope) {
    case GATE_SCOPE_DEFAULT: snprintf(out, size, "everybody"); break;
    case GATE_SCOPE_GROUP: snprintf(out, size, "group %s", to->group); break;
    case GATE_SCOPE_USER: snprintf(out, size, "user %s", to->user); break;
    case GATE_SCOPE_DEVICE: snprintf(out, size, "device %s of %s", to->device_id, to->user); break;
    case GATE_SCOPE_COUNT: *out = '\0'; break;
    }
}

static enum gate_result is_assigned_to_nobody(struct act *a)
{
    const struct assignment *first = NULL;
    char whom[GATE_MESSAGE_MAX - 64]; /* what stands around it has room */
    size_t count = 0;
    for (size_t i = 0; i < a->book->assignment_count; i++) {
        const struct assignment *one = a->book->assignments[i];
        if (strcmp(one->policy, a->c->name) != 0) continue;
        if (count++ == 0) first = one;
    }
    if (!first) return GATE_OK;
    put_whom(whom, sizeof whom, &first->to);
    if (count == 1) return refuse(a, GATE_CONFLICT, "It is assigned to %s.", whom);
    return refuse(a, GATE_CONFLICT, "It is assigned to %s and to %zu more.", whom, count - 1);
}

static enum gate_result plan_remove(struct act *a)
{
    const char *name = a->c->name;
    struct line *l = book_line(a->book, name);
    if (!l) return GATE_UNKNOWN;
    if (strcmp(name, POLICY_DEFAULT) == 0)
        return refuse(a, GATE_CONFLICT,
                      "The policy \"%s\" stays: it is there for whom nothing else is.", name);
    for (size_t i = 0; i < a->book->line_count; i++) {
        const struct line *other = a->book->lines[i];
        if (strcmp(other->current->parent, name) == 0 ||
            (other->candidate && strcmp(other->candidate->parent, name) == 0))
            return refuse(a, GATE_CONFLICT, "The policy \"%s\" inherits from it.", other->name);
    }
    enum gate_result result = is_assigned_to_nobody(a);
    if (result == GATE_OK) result = audit_difference(a, l->current, NULL);
    if (result != GATE_OK) return result;
    book_remove(a->book, name);
    return put_line(a, removed_item(a->g->last_revision));
}

/* ---- assignments ---- */
static enum gate_result check_assignee(struct act *a)
{
    const struct gate_assignee *to = &a->c->to;
    bool user = to->scope == GATE_SCOPE_USER || to->scope == GATE_SCOPE_DEVICE;
    if (to->scope == GATE_SCOPE_GROUP && !groups_have(a->book->groups, to->group))
        return refuse(a, GATE_INVALID, "The configuration has no group of that name.");
    if (user && (!*to->user || strlen(to->user) >= AUTH_USER_MAX))
        return refuse(a, GATE_INVALID, "The name of a user has 1 to %d bytes.", AUTH_USER_MAX - 1);
    if (to->scope == GATE_SCOPE_DEVICE &&
        (!*to->device_id || strlen(to->device_id) > PV_DEVICE_ID_MAX))
        return refuse(a, GATE_INVALID, "The id of a device has 1 to %d bytes.", PV_DEVICE_ID_MAX);
    return GATE_OK;
}

static enum gate_result audit_assignment(struct act *a, const char *before, const char *after)
{
    return audit(a, note_assignee(&a->c->to), before ? json_pack("{s:s}", "policy", before) : NULL,
                 after ? json_pack("{s:s}", "policy", after) : NULL);
}

static enum gate_result unassign(struct act *a, struct assignment *was)
{
    if (a->c->name && strcmp(a->c->name, was->policy) != 0)
        return refuse(a, GATE_CONFLICT, "The policy \"%s\" is assigned there by now.", was->policy);
    drop(a, "assignment", was->key);
    enum gate_result result = audit_assignment(a, was->policy, NULL);
    if (result == GATE_OK) book_unassign(a->book, was->key);
    return result;
}

static enum gate_result assign(struct act *a, struct assignment *to_be, struct assignment *was)
{
    const struct store_change c = {.kind = STORE_PUT_ITEM,
                                   .u.item = {.kind = "assignment", .name = to_be->key}};
    if (was && strcmp(was->policy, to_be->policy) == 0) return GATE_UNCHANGED;
    if (!was && a->book->assignment_count >= ASSIGNMENTS_MAX)
        return refuse(a, GATE_CONFLICT, "There are %d assignments already, the most that can be.",
                      ASSIGNMENTS_MAX);
    enum gate_result result = audit_assignment(a, was ? was->policy : NULL, to_be->policy);
    if (result == GATE_OK) result = put(a, c, assignment_item(to_be));
    if (result == GATE_OK && !book_assign(a->book, to_be)) result = GATE_STORE;
    return result;
}

static enum gate_result plan_assign(struct act *a)
{
    const struct policy_change *c = a->c;
    bool takes = c->act == POLICY_UNASSIGN;
    if (!takes && !book_line(a->book, c->name)) return GATE_UNKNOWN;
    enum gate_result result = takes ? GATE_OK : check_assignee(a);
    if (result != GATE_OK) return result;
    if (c->to.scope == GATE_SCOPE_USER || c->to.scope == GATE_SCOPE_DEVICE) a->user = c->to.user;

    struct assignment *to_be = assignment_create(&c->to, takes ? "" : c->name);
    struct assignment *was = to_be ? book_assignment(a->old, to_be->key) : NULL;
    if (!to_be)
        result = GATE_STORE;
    else if (!takes)
        result = assign(a, to_be, was);
    else if (was)
        result = unassign(a, was);
    else
        result = GATE_UNCHANGED;
    assignment_release(to_be);
    return result;
}

/* ---- rolls ---- */
static json_t *roll_json(const struct line *l)
{
    json_t *groups = json_array(), *o;
    bool ok = groups != NULL;
    for (size_t i = 0; ok && i < l->roll->count; i++)
        ok = json_array_append_new(groups, json_string(l->roll->groups[i])) == 0;
    o = json_pack("{s:I,s:i,s:o}", "revision", (json_int_t)l->candidate->id, "percent",
                  (int)l->roll->percent, "groups", groups);
    if (ok) return o;
    json_decref(o);
    return NULL;
}

/* before is taken over. */
static enum gate_result audit_roll(struct act *a, json_t *before, json_t *after)
{
    if (before && after) return audit(a, json_pack("{s:s}", "policy", a->c->name), before, after);
    json_decref(before);
    json_decref(after);
    return GATE_STORE;
}

static json_t *current_json(const struct line *l)
{
    return json_pack("{s:I}", "current", (json_int_t)l->current->id);
}

static bool same_roll(const struct roll *a, const struct roll *b)
{
    bool same = a->percent == b->percent && a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) same = strcmp(a->groups[i], b->groups[i]) == 0;
    return same;
}

static enum gate_result roll_to(struct act *a, struct line *l)
{
    const struct policy_change *c = a->c;
    const char *const *groups = c->set_groups ? c->groups : (const char *const *)l->roll->groups;
    size_t count = c->set_groups ? c->group_count : l->roll->count;
    struct roll *r = roll_create(c->set_percent ? c->percent : l->roll->percent, groups, count);
    if (!r) return GATE_STORE;
    enum gate_result result = GATE_UNCHANGED;
    if (!same_roll(r, l->roll)) {
        json_t *before = roll_json(l);
        line_set_roll(l, l->candidate, r);
        result = audit_roll(a, before, roll_json(l));
        if (result == GATE_OK) result = put_line(a, line_item(l));
    }
    roll_release(r);
    return result;
}

static enum gate_result roll_to_all(struct act *a, struct line *l)
{
    json_t *before = roll_json(l);
    line_set_current(l, l->candidate);
    line_set_roll(l, NULL, NULL);
    drop(a, "line", a->c->name);
    return audit_roll(a, before, current_json(l));
}

static enum gate_result plan_roll(struct act *a)
{
    const struct policy_change *c = a->c;
    struct line *l = book_line(a->book, c->name);
    if (!l) return GATE_UNKNOWN;
    if (!l->candidate && c->act == POLICY_ROLL_BACK) return GATE_UNCHANGED;
    if (!l->candidate)
        return refuse(a, GATE_CONFLICT, "No revision of the policy waits for being rolled out.");
    if (c->act == POLICY_ROLL_BACK) {
        json_t *before = roll_json(l);
        line_set_roll(l, NULL, NULL);
        enum gate_result result = audit_roll(a, before, current_json(l));
        return result == GATE_OK ? put_line(a, line_item(l)) : result;
    }
    if (c->set_percent && c->percent > 100)
        return refuse(a, GATE_INVALID, "percent is from 0 to 100.");
    for (size_t i = 0; i < c->group_count; i++)
        if (!groups_have(a->book->groups, c->groups[i]))
            return refuse(a, GATE_INVALID, "The configuration has no group \"%s\".", c->groups[i]);
    return c->set_percent && c->percent == 100 ? roll_to_all(a, l) : roll_to(a, l);
}

enum gate_result act_plan(struct act *a)
{
    switch (a->c->act) {
    case POLICY_NEW:
    case POLICY_SET:
    case POLICY_REPLACE:
    case POLICY_RESTORE: return plan_save(a);
    case POLICY_REMOVE: return plan_remove(a);
    case POLICY_ASSIGN:
    case POLICY_UNASSIGN: return plan_assign(a);
    case POLICY_ROLL:
    case POLICY_ROLL_BACK: return plan_roll(a);
    case POLICY_ACT_COUNT: break;
    }
    return GATE_STORE;
}
