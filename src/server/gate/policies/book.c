#include "src/server/gate/policies/book.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lines ---- */
static void line_free(struct line *l)
{
    if (!l) return;
    saved_release(l->current);
    saved_release(l->candidate);
    roll_release(l->roll);
    revision_release(l->effective);
    revision_release(l->next);
    free(l);
}

void line_set_roll(struct line *l, struct saved *candidate, struct roll *roll)
{
    struct saved *old_candidate = l->candidate;
    struct roll *old_roll = l->roll;
    l->candidate = candidate ? saved_hold(candidate) : NULL;
    l->roll = roll ? roll_hold(roll) : NULL;
    saved_release(old_candidate);
    roll_release(old_roll);
}

void line_set_current(struct line *l, struct saved *current)
{
    struct saved *old = l->current;
    l->current = saved_hold(current);
    l->name = current->name;
    saved_release(old);
}

/* Where a name is in a sorted array, or would be. */
static size_t place(const void *const *array, size_t count, const char *(*name_of)(const void *),
                    const char *name, bool *there_out)
{
    size_t low = 0, high = count;
    *there_out = false;
    while (low < high && !*there_out) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name_of(array[middle]), name);
        *there_out = order == 0;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return *there_out ? high : low;
}

static const char *name_of_line(const void *line)
{
    return ((const struct line *)line)->name;
}

static size_t line_place(const struct book *b, const char *name, bool *there_out)
{
    return place((const void *const *)b->lines, b->line_count, name_of_line, name, there_out);
}

struct line *book_line(const struct book *b, const char *name)
{
    bool there;
    size_t at = line_place(b, name, &there);
    return there ? b->lines[at] : NULL;
}

/* Room for one more of an array of pointers. */
static bool make_room(void *array, size_t count, size_t *cap)
{
    void **at;
    memcpy(&at, array, sizeof at);
    if (count < *cap) return true;
    size_t more = *cap ? *cap * 2 : 8;
    at = realloc(at, more * sizeof *at);
    if (!at) return false;
    memcpy(array, &at, sizeof at);
    *cap = more;
    return true;
}

struct line *book_put(struct book *b, struct saved *s)
{
    bool there;
    size_t at = line_place(b, s->name, &there);
    if (!there) {
        struct line *l =
            make_room(&b->lines, b->line_count, &b->line_cap) ? calloc(1, sizeof *l) : NULL;
        if (!l) return NULL;
        memmove(b->lines + at + 1, b->lines + at, (b->line_count - at) * sizeof *b->lines);
        b->lines[at] = l;
        b->line_count++;
    }
    line_set_current(b->lines[at], s);
    return b->lines[at];
}

void book_remove(struct book *b, const char *name)
{
    bool there;
    size_t at = line_place(b, name, &there);
    if (!there) return;
    line_free(b->lines[at]);
    b->line_count--;
    memmove(b->lines + at, b->lines + at + 1, (b->line_count - at) * sizeof *b->lines);
}

/* ---- assignments ---- */
static const char *key_of_assignment(const void *assignment)
{
    return ((const struct assignment *)assignment)->key;
}

static size_t assignment_place(const struct book *b, const char *key, bool *there_out)
{
    return place((const void *const *)b->assignments, b->assignment_count, key_of_assignment, key,
                 there_out);
}

struct assignment *book_assignment(const struct book *b, const char *key)
{
    bool there;
    size_t at = assignment_place(b, key, &there);
    return there ? b->assignments[at] : NULL;
}

bool book_assign(struct book *b, struct assignment *a)
{
    bool there;
    size_t at = assignment_place(b, a->key, &there);
    if (there) {
        assignment_release(b->assignments[at]);
    } else {
        if (!make_room(&b->assignments, b->assignment_count, &b->assignment_cap)) return false;
        memmove(b->assignments + at + 1, b->assignments + at,
                (b->assignment_count - at) * sizeof *b->assignments);
        b->assignment_count++;
    }
    b->assignments[at] = assignment_hold(a);
    return true;
}

void book_unassign(struct book *b, const char *key)
{
    bool there;
    size_t at = assignment_place(b, key, &there);
    if (!there) return;
    assignment_release(b->assignments[at]);
    b->assignment_count--;
    memmove(b->assignments + at, b->assignments + at + 1,
            (b->assignment_count - at) * sizeof *b->assignments);
}

/* ---- books ---- */
static bool copy_lines(struct book *b, const struct book *old)
{
    for (size_t i = 0; i < old->line_count; i++) {
        const struct line *from = old->lines[i];
        struct line *l = book_put(b, from->current);
        if (!l) return false;
        line_set_roll(l, from->candidate, from->roll);
    }
    return true;
}

static bool copy_assignments(struct book *b, const struct book *old)
{
    for (size_t i = 0; i < old->assignment_count; i++)
        if (!book_assign(b, old->assignments[i])) return false;
    return true;
}

struct book *book_draft(const struct book *old, const struct config_groups *groups)
{
    struct book *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    atomic_init(&b->holders, 1);
    b->kept = *groups;
    config_groups_hold(&b->kept);
    b->groups = &b->kept;
    if (!old || (copy_lines(b, old) && copy_assignments(b, old))) return b;
    book_release(b);
    return NULL;
}

struct book *book_hold(struct book *b)
{
    atomic_fetch_add_explicit(&b->holders, 1, memory_order_relaxed);
    return b;
}

void book_release(struct book *b)
{
    if (!b || atomic_fetch_sub_explicit(&b->holders, 1, memory_order_acq_rel) != 1) return;
    for (size_t i = 0; i < b->line_count; i++) line_free(b->lines[i]);
    for (size_t i = 0; i < b->assignment_count; i++) assignment_release(b->assignments[i]);
    book_index_free(b);
    config_groups_release(&b->kept);
    free(b->lines);
    free(b->assignments);
    free(b);
}

/* ---- is the draft sound? ---- */
struct trouble {
    enum gate_result result;
    char *message;
    size_t cap;
};

__attribute__((format(printf, 3, 4))) static void tell(struct trouble *t, enum gate_result result,
                                                       const char *format, ...)
{
    va_list args;
    t->result = result;
    va_start(args, format);
    vsnprintf(t->message, t->cap, format, args);
    va_end(args);
}

/* One of the policies above top is wrong as what top inherits from. A loop that does not come back
 * to top is too deep, and told for those in it. */
static void check_above(const struct book *b, const struct line *top, const struct line *l,
                        unsigned depth, struct trouble *t)
{
    const struct saved *revisions[] = {l->current, l->candidate};
    for (size_t i = 0; i < 2 && t->result == GATE_OK; i++) {
        if (!revisions[i] || !*revisions[i]->parent) continue;
        const struct line *above = book_line(b, revisions[i]->parent);
        if (!above)
            tell(t, GATE_INVALID, "There is no policy \"%s\" for \"%s\" to inherit from.",
                 revisions[i]->parent, l->name);
        else if (above == top && l == top)
            tell(t, GATE_INVALID, "The policy \"%s\" cannot inherit from itself.", top->name);
        else if (above == top)
            tell(t, GATE_INVALID, "The policies \"%s\" and \"%s\" would inherit from each other.",
                 top->name, l->name);
        else if (top->candidate && above->candidate)
            tell(t, GATE_CONFLICT,
                 "The policies \"%s\" and \"%s\" are in one line of inheritance, in which only one "
                 "revision can be rolled out at a time.",
                 above->name, top->name);
        else if (depth < POLICY_DEPTH_MAX)
            check_above(b, top, above, depth + 1, t);
    }
}

/* Policies in a row from l upwards, as far as depth. */
static unsigned height(const struct book *b, const struct line *l, unsigned depth)
{
    const struct saved *revisions[] = {l->current, l->candidate};
    unsigned most = 0;
    for (size_t i = 0; i < 2 && depth; i++) {
        if (!revisions[i] || !*revisions[i]->parent) continue;
        unsigned h = height(b, book_line(b, revisions[i]->parent), depth - 1);
        if (h > most) most = h;
    }
    return most + 1;
}

static void check(const struct book *b, struct trouble *t)
{
    for (size_t i = 0; i < b->line_count && t->result == GATE_OK; i++)
        check_above(b, b->lines[i], b->lines[i], 1, t);
    for (size_t i = 0; i < b->line_count && t->result == GATE_OK; i++)
        if (height(b, b->lines[i], POLICY_DEPTH_MAX) > POLICY_DEPTH_MAX)
            tell(t, GATE_INVALID,
                 "The policy \"%s\" would be the last of more than %d that inherit "
                 "from one another.",
                 b->lines[i]->name, POLICY_DEPTH_MAX);
    for (size_t i = 0; i < b->assignment_count && t->result == GATE_OK; i++)
        if (!book_line(b, b->assignments[i]->policy))
            tell(t, GATE_INVALID, "There is no policy \"%s\", which is assigned: %s.",
                 b->assignments[i]->policy, b->assignments[i]->key);
}

/* ---- what policies amount to ---- */
static struct revision *reusable(const struct line *old, const struct saved *own,
                                 const struct revision *base)
{
    struct revision *made[] = {old ? old->effective : NULL, old ? old->next : NULL};
    for (size_t i = 0; i < 2; i++)
        if (made[i] && made[i]->own == own && made[i]->base == base) return revision_hold(made[i]);
    return NULL;
}

struct work {
    struct book *book;
    const struct book *old;
    const char *changed;
    struct trouble trouble;
};

static void amount_to(struct work *w, const struct line *l, struct saved *own,
                      struct revision *base, struct revision **out)
{
    struct trouble *t = &w->trouble;
    char why[256] = "";
    *out = reusable(w->old ? book_line(w->old, l->name) : NULL, own, base);
    if (*out) return;
    enum gate_result result = revision_create(own, base, out, why, sizeof why);
    if (result == GATE_OK) return;
    if (w->changed && strcmp(w->changed, l->name) == 0)
        tell(t, result, "%s", why);
    else
        tell(t, result, "The policy \"%s\"%s: %s", l->name,
             w->changed ? ", which inherits from this one, could not be kept any more" : "", why);
}

static struct line *above(const struct book *b, const struct saved *s)
{
    return *s->parent ? book_line(b, s->parent) : NULL;
}

/* As deep as policies inherit: POLICY_DEPTH_MAX. */
static void work_out_line(struct work *w, struct line *l)
{
    struct line *up = above(w->book, l->current);
    if (l->effective) return;
    if (up) work_out_line(w, up);
    if (w->trouble.result == GATE_OK)
        amount_to(w, l, l->current, up ? up->effective : NULL, &l->effective);
    if (l->candidate && (up = above(w->book, l->candidate))) work_out_line(w, up);
    l->roller = l->candidate ? l : up ? up->roller : NULL;
    if (w->trouble.result != GATE_OK || !l->roller) return;
    if (l->candidate)
        amount_to(w, l, l->candidate, up ? up->effective : NULL, &l->next);
    else
        amount_to(w, l, l->current, up->next, &l->next);
}

enum gate_result book_finish(struct book *b, const struct book *old, const char *changed,
                             char *message, size_t message_cap)
{
    struct work w = {b, old, changed, {GATE_OK, message, message_cap}};
    check(b, &w.trouble);
    for (size_t i = 0; i < b->line_count && w.trouble.result == GATE_OK; i++)
        work_out_line(&w, b->lines[i]);
    if (w.trouble.result == GATE_OK && !book_index(b)) w.trouble.result = GATE_STORE;
    return w.trouble.result;
}
