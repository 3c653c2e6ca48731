/* The book: every policy as it is in force, and whom it is assigned to. Immutable once it is
 * finished: a change makes a new book, which takes the place of the old. */
#ifndef PROVOSTD_GATE_BOOK_H
#define PROVOSTD_GATE_BOOK_H

#include "src/server/gate/policies/policies.h"

#define POLICIES_MAX 1000
#define ASSIGNMENTS_MAX 65536
#define POLICY_DEPTH_MAX 8 /* policies in a row of which each inherits the next */

/* Who has a candidate revision while it is rolled out. Held like a revision. */
struct roll {
    atomic_uint holders;
    unsigned percent;
    size_t count;
    char *groups[]; /* names; of the same block */
};
/* groups are copied. NULL: no memory. */
struct roll *roll_create(unsigned percent, const char *const *groups, size_t count);
struct roll *roll_hold(struct roll *r);
void roll_release(struct roll *r); /* NULL is accepted */
/* Does the share of a policy have the device? Whom it has once it has at every higher percentage. */
bool roll_share_has(const char *policy, unsigned percent, const char *user, const char *device_id);

/* A policy. Borrowed from its book. */
struct line {
    const char *name;
    struct saved *current;      /* for all who are not in the roll */
    struct saved *candidate;    /* being rolled out; NULL: none */
    struct roll *roll;          /* of the candidate */
    struct revision *effective; /* of current, with what it inherits */
    struct revision *next;      /* the same for who is in roller's roll; NULL: no roll */
    const struct line *roller;  /* it, or what it inherits from, is being rolled out; NULL: none */
};

/* What is assigned to whom. Held like a revision. */
struct assignment {
    atomic_uint holders;
    struct gate_assignee to;
    const char *policy;
    const char *key; /* names whom in the store */
    char text[];     /* of all these */
};
/* NULL: no memory. */
struct assignment *assignment_create(const struct gate_assignee *to, const char *policy);
struct assignment *assignment_hold(struct assignment *a);
void assignment_release(struct assignment *a); /* NULL is accepted */

struct member; /* assign.c: a user whom assignments or rolls name */
struct place;
struct membership;

struct book {
    atomic_uint holders;
    struct config_groups kept; /* held */
    const struct config_groups *groups;
    struct line **lines; /* by name */
    size_t line_count, line_cap;
    struct assignment **assignments; /* by key */
    size_t assignment_count, assignment_cap;
    /* Made by book_finish. */
    const struct line **assigned; /* line of each assignment */
    const struct line *by_default;
    struct member *members; /* by user, open addressing; NULL: none */
    struct place *places;
    struct membership *memberships;
    size_t member_mask;
};

/* ---- a draft, which is changed until it is finished ---- */
/* What is in old (NULL: nothing). groups live as long as the books. NULL: no memory. */
struct book *book_draft(const struct book *old, const struct config_groups *groups);
struct line *book_line(const struct book *b, const char *name); /* NULL: there is none */
/* s, which is held, becomes the current revision of its policy. NULL: no memory. */
struct line *book_put(struct book *b, struct saved *s);
/* Both are held; NULL, NULL: no roll. */
void line_set_roll(struct line *l, struct saved *candidate, struct roll *roll);
void line_set_current(struct line *l, struct saved *current);
void book_remove(struct book *b, const char *name);
/* a is held; what was assigned there goes. false: no memory. */
bool book_assign(struct book *b, struct assignment *a);
struct assignment *book_assignment(const struct book *b, const char *key); /* NULL: there is none */
void book_unassign(struct book *b, const char *key);
/* Works out what every policy amounts to; what is as in old (may be NULL) is taken from there.
 * changed: policy that the message need not name; NULL: it names all. GATE_OK, GATE_INVALID,
 * GATE_CONFLICT (two rolls in one line), GATE_STORE (no memory). */
enum gate_result book_finish(struct book *b, const struct book *old, const char *changed,
                             char *message, size_t message_cap);
/* assign.c, for book_finish. false: no memory. */
bool book_index(struct book *b);
void book_index_free(struct book *b);

/* ---- a finished book ---- */
struct book *book_hold(struct book *b);
void book_release(struct book *b); /* NULL is accepted; a draft, too */

/* How a device comes by its policy. */
struct pick {
    const struct line *line;
    const struct assignment *by; /* NULL: nothing is assigned, so `default` applies */
    bool in_roll;                /* it has line->next */
};
/* The nearest wins: device, user, groups in the order of the configuration, default. */
struct pick book_pick(const struct book *b, const char *user, const char *device_id);
/* The policy that applies to a device. Never NULL once `default` is in the book. One look into a
 * table, no allocation. */
struct revision *policy_for(const struct book *b, const char *user, const char *device_id);
static inline struct revision *pick_revision(struct pick p)
{
    return p.in_roll ? p.line->next : p.line->effective;
}
/* Does the configuration know the group; is the user in it? */
bool groups_have(const struct config_groups *groups, const char *group);
bool group_has(const struct config_groups *groups, const char *group, const char *user);

#endif
