/* Whom a policy is assigned to, and the table that the gate looks into. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"
#include "src/server/gate/policies/book.h"

/* ---- one assignment ---- */
static const char *const scope_names[] = {
#define SCOPE_NAME(id, text) [GATE_SCOPE_##id] = text,
    GATE_SCOPES(SCOPE_NAME)
#undef SCOPE_NAME
};

const char *gate_scope_text(enum gate_scope scope)
{
    return scope < GATE_SCOPE_COUNT ? scope_names[scope] : "";
}

bool gate_scope_parse(const char *text, enum gate_scope *out)
{
    for (unsigned i = 0; i < GATE_SCOPE_COUNT; i++)
        if (strcmp(scope_names[i], text) == 0) {
            *out = (enum gate_scope)i;
            return true;
        }
    return false;
}

/* A JSON array: no name can be mistaken for another. */
static char *key_of(const struct gate_assignee *to)
{
    const char *scope = gate_scope_text(to->scope);
    json_t *key = NULL;
    switch (to->scope) {
    case GATE_SCOPE_DEFAULT: key = json_pack("[s]", scope); break;
    case GATE_SCOPE_GROUP: key = json_pack("[ss]", scope, to->group); break;
    case GATE_SCOPE_USER: key = json_pack("[ss]", scope, to->user); break;
    case GATE_SCOPE_DEVICE: key = json_pack("[sss]", scope, to->user, to->device_id); break;
    case GATE_SCOPE_COUNT: break;
    }
    char *text = text_of_json(key, JSON_COMPACT);
    json_decref(key);
    return text;
}

static const char *put(char **at, const char *text)
{
    size_t len = strlen(text ? text : "") + 1;
    char *here = memcpy(*at, text ? text : "", len);
    *at += len;
    return here;
}

static size_t size_of(const char *text)
{
    return strlen(text ? text : "") + 1;
}

struct assignment *assignment_create(const struct gate_assignee *to, const char *policy)
{
    char *key = key_of(to);
    struct assignment *a = key ? malloc(sizeof *a + size_of(to->group) + size_of(to->user) +
                                        size_of(to->device_id) + size_of(policy) + size_of(key))
                               : NULL;
    if (a) {
        char *at = a->text;
        atomic_init(&a->holders, 1);
        a->to.scope = to->scope;
        a->to.group = put(&at, to->group);
        a->to.user = put(&at, to->user);
        a->to.device_id = put(&at, to->device_id);
        a->policy = put(&at, policy);
        a->key = put(&at, key);
    }
    free(key);
    return a;
}

struct assignment *assignment_hold(struct assignment *a)
{
    atomic_fetch_add_explicit(&a->holders, 1, memory_order_relaxed);
    return a;
}

void assignment_release(struct assignment *a)
{
    if (a && atomic_fetch_sub_explicit(&a->holders, 1, memory_order_acq_rel) == 1) free(a);
}

/* ---- groups of the configuration ---- */
bool groups_have(const struct config_groups *groups, const char *group)
{
    for (size_t i = 0; i < groups->count; i++)
        if (strcmp(groups->group[i].name, group) == 0) return true;
    return false;
}

bool group_has(const struct config_groups *groups, const char *group, const char *user)
{
    for (size_t i = 0; i < groups->count; i++)
        for (size_t n = 0; n < groups->group[i].count; n++)
            if (strcmp(groups->group[i].name, group) == 0 &&
                strcmp(groups->group[i].user[n], user) == 0)
                return true;
    return false;
}

/* ---- the table ---- */
#define NOTHING UINT32_MAX

/* Strings are borrowed from assignments and the configuration. */
struct member {
    const char *user;           /* NULL: free */
    uint32_t by_user, by_group; /* number of the assignment, or NOTHING */
    const struct place *devices;
    const struct membership *groups; /* that rolls go to */
};
struct place { /* a device of the member */
    const struct place *next;
    uint32_t by;
};
struct membership {
    const struct membership *next;
    const char *group;
};

static size_t hash_of(const char *user)
{
    uint64_t h = 0xcbf29ce484222325;
    for (; *user; user++) h = (h ^ (unsigned char)*user) * 0x100000001b3;
    return (size_t)(h ^ h >> 32);
}

static struct member *slot(const struct book *b, const char *user)
{
    for (size_t i = hash_of(user);; i++) {
        struct member *m = &b->members[i & b->member_mask];
        if (!m->user || strcmp(m->user, user) == 0) return m;
    }
}

static struct member *member_add(struct book *b, const char *user)
{
    struct member *m = slot(b, user);
    if (!m->user) *m = (struct member){.user = user, .by_user = NOTHING, .by_group = NOTHING};
    return m;
}

/* The assignment of a group, or NOTHING. */
static uint32_t assigned_to_group(const struct book *b, const char *group)
{
    for (size_t i = 0; i < b->assignment_count; i++)
        if (b->assignments[i]->to.scope == GATE_SCOPE_GROUP &&
            strcmp(b->assignments[i]->to.group, group) == 0)
            return (uint32_t)i;
    return NOTHING;
}

static bool rolled_to_group(const struct book *b, const char *group)
{
    for (size_t i = 0; i < b->line_count; i++) {
        const struct roll *r = b->lines[i]->roll;
        for (size_t n = 0; r && n < r->count; n++)
            if (strcmp(r->groups[n], group) == 0) return true;
    }
    return false;
}

/* What one group of the configuration is to the book. */
struct use {
    uint32_t by;
    bool rolled;
};

static void add_groups(struct book *b, const struct use *uses)
{
    struct membership *free_one = b->memberships;
    for (size_t g = 0; g < b->groups->count; g++) {
        const struct config_group *group = &b->groups->group[g];
        if (uses[g].by == NOTHING && !uses[g].rolled) continue;
        for (size_t i = 0; i < group->count; i++) {
            struct member *m = member_add(b, group->user[i]);
            if (m->by_group == NOTHING) m->by_group = uses[g].by;
            if (!uses[g].rolled) continue;
            *free_one = (struct membership){m->groups, group->name};
            m->groups = free_one++;
        }
    }
}

static void add_assignments(struct book *b)
{
    struct place *free_one = b->places;
    for (size_t i = 0; i < b->assignment_count; i++) {
        const struct gate_assignee *to = &b->assignments[i]->to;
        if (to->scope == GATE_SCOPE_USER) {
            member_add(b, to->user)->by_user = (uint32_t)i;
        } else if (to->scope == GATE_SCOPE_DEVICE) {
            struct member *m = member_add(b, to->user);
            *free_one = (struct place){m->devices, (uint32_t)i};
            m->devices = free_one++;
        }
    }
}

/* Room for all that will be in it; the table stays half empty. */
static bool make_table(struct book *b, const struct use *uses)
{
    size_t members = b->assignment_count, memberships = 0, size = 2;
    for (size_t g = 0; g < b->groups->count; g++) {
        if (uses[g].rolled) memberships += b->groups->group[g].count;
        if (uses[g].rolled || uses[g].by != NOTHING) members += b->groups->group[g].count;
    }
    if (!members) return true;
    while (size < members * 2) size *= 2;
    b->members = calloc(size, sizeof *b->members);
    b->places = calloc(b->assignment_count + 1, sizeof *b->places);
    b->memberships = calloc(memberships + 1, sizeof *b->memberships);
    b->member_mask = size - 1;
    return b->members && b->places && b->memberships;
}

bool book_index(struct book *b)
{
    struct use *uses = calloc(b->groups->count + 1, sizeof *uses);
    b->assigned = calloc(b->assignment_count + 1, sizeof *b->assigned);
    b->by_default = book_line(b, POLICY_DEFAULT);
    for (size_t g = 0; uses && g < b->groups->count; g++)
        uses[g] = (struct use){assigned_to_group(b, b->groups->group[g].name),
                               rolled_to_group(b, b->groups->group[g].name)};
    bool ok = uses && b->assigned && make_table(b, uses);
    for (size_t i = 0; ok && i < b->assignment_count; i++) {
        b->assigned[i] = book_line(b, b->assignments[i]->policy);
        if (b->assignments[i]->to.scope == GATE_SCOPE_DEFAULT) b->by_default = b->assigned[i];
    }
    if (ok && b->members) {
        add_assignments(b);
        add_groups(b, uses);
    }
    free(uses);
    return ok;
}

void book_index_free(struct book *b)
{
    free(b->assigned);
    free(b->members);
    free(b->places);
    free(b->memberships);
}

/* ---- looking ---- */
static uint32_t nearest(const struct book *b, const struct member *m, const char *device_id)
{
    for (const struct place *p = device_id ? m->devices : NULL; p; p = p->next)
        if (strcmp(b->assignments[p->by]->to.device_id, device_id) == 0) return p->by;
    return m->by_user != NOTHING ? m->by_user : m->by_group;
}

static bool in_roll(const struct line *roller, const struct member *m, const char *user,
                    const char *device_id)
{
    const struct roll *r = roller->roll;
    for (const struct membership *in = m ? m->groups : NULL; in; in = in->next)
        for (size_t i = 0; i < r->count; i++)
            if (strcmp(in->group, r->groups[i]) == 0) return true;
    return device_id && roll_share_has(roller->name, r->percent, user, device_id);
}

struct pick book_pick(const struct book *b, const char *user, const char *device_id)
{
    const struct member *m = b->members ? slot(b, user) : NULL;
    if (m && !m->user) m = NULL;
    uint32_t by = m ? nearest(b, m, device_id) : NOTHING;
    struct pick p = {.line = b->by_default};
    if (by != NOTHING) p = (struct pick){.line = b->assigned[by], .by = b->assignments[by]};
    p.in_roll = p.line && p.line->roller && in_roll(p.line->roller, m, user, device_id);
    return p;
}

struct revision *policy_for(const struct book *b, const char *user, const char *device_id)
{
    const struct pick p = book_pick(b, user, device_id);
    return p.line ? pick_revision(p) : NULL;
}
