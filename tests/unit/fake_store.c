#include "tests/unit/fake_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/store/change.h"
#include "src/server/store/info.h"

struct row {
    struct row *next;
    struct submission *copy; /* of one change: the row */
    char *info;              /* of STORE_PUT_INFO */
};
struct fake_db {
    struct row *rows[STORE_REMOVE_CHAIN + 1]; /* by kind, sorted by key */
    struct fake_node *nodes;
    uint64_t log_id;
};
/* On its way. */
struct fake_write {
    struct task task; /* first */
    struct fake_write *next;
    struct fake_node *node;
    struct submission *s;
    uint64_t position;
    bool committed, durable, conflict, lost;
};
struct fake_news {
    struct fake_news *next;
    char *user; /* NULL: lists */
};

static const struct store_change *change_of(const struct row *r)
{
    return &r->copy->changes[0];
}

/* ---- keys ---- */
static void key_of(const struct store_change *c, const char *key[2])
{
    key[1] = "";
    switch (c->kind) {
    case STORE_PUT_DEVICE:
    case STORE_REMOVE_DEVICE:
        key[0] = c->u.device.user;
        key[1] = c->u.device.device_id;
        return;
    case STORE_PUT_INFO: key[0] = c->u.info.user, key[1] = c->u.info.device_id; return;
    case STORE_PUT_USER:
    case STORE_REMOVE_USER: key[0] = c->u.user.user; return;
    case STORE_PUT_FOLDER_STATE:
        key[0] = c->u.folder_state.user;
        key[1] = c->u.folder_state.device_id;
        return;
    case STORE_PUT_FOLDER_IDS: key[0] = c->u.folder_ids.user; return;
    case STORE_PUT_ITEM:
    case STORE_REMOVE_ITEM: key[0] = c->u.item.kind, key[1] = c->u.item.name; return;
    case STORE_PUT_TRAIL: key[0] = c->u.trail.user, key[1] = c->u.trail.device_id; return;
    default: key[0] = ""; return;
    }
}

static int order(const struct store_change *a, const struct store_change *b)
{
    const char *x[2], *y[2];
    if (a->kind == STORE_PUT_POLICY)
        return a->u.policy.revision < b->u.policy.revision   ? -1
               : a->u.policy.revision > b->u.policy.revision ? 1
                                                             : 0;
    if (a->kind == STORE_ADD_AUDIT || a->kind == STORE_ADD_EVENT)
        return a->u.log.id < b->u.log.id ? -1 : a->u.log.id > b->u.log.id;
    key_of(a, x);
    key_of(b, y);
    int first = strcmp(x[0], y[0]);
    return first ? first : strcmp(x[1], y[1]);
}

/* Where a row of that key is, or would be. */
static struct row **place(const struct fake_db *db, enum store_kind kind,
                          const struct store_change *key, bool *there)
{
    struct store_change like = *key;
    struct row **at = (struct row **)&db->rows[kind];
    like.kind = kind;
    while (*at && order(change_of(*at), &like) < 0) at = &(*at)->next;
    *there = *at && order(change_of(*at), &like) == 0;
    return at;
}

static struct row *find(const struct fake_db *db, enum store_kind kind,
                        const struct store_change *key)
{
    bool there;
    struct row **at = place(db, kind, key, &there);
    return there ? *at : NULL;
}

static void row_free(struct row *r)
{
    free(r->copy);
    free(r->info);
    free(r);
}

static struct row *put(struct fake_db *db, const struct store_change *c)
{
    bool there;
    struct row **at = place(db, c->kind, c, &there), *r = calloc(1, sizeof *r);
    r->copy = submission_create(c, 1, NULL);
    r->next = *at;
    if (there) {
        struct row *old = *at;
        r->next = old->next;
        r->info = old->info;
        old->info = NULL;
        row_free(old);
    }
    return *at = r;
}

static void drop_if(struct fake_db *db, enum store_kind kind, const char *first, const char *second)
{
    for (struct row **at = &db->rows[kind]; *at;) {
        const char *key[2];
        struct row *r = *at;
        key_of(change_of(r), key);
        if (strcmp(key[0], first) != 0 || (second && strcmp(key[1], second) != 0)) {
            at = &r->next;
        } else {
            *at = r->next;
            row_free(r);
        }
    }
}

static bool is_bond_of(const struct item_record *i, const char *user, const char *device_id)
{
    size_t len = strlen(user);
    const char *slash = strrchr(i->name, '/');
    return strcmp(i->kind, "bond") == 0 && slash && (size_t)(slash - i->name) == len &&
           strncmp(i->name, user, len) == 0 && (!device_id || strcmp(slash + 1, device_id) == 0);
}

static void drop_bonds(struct fake_db *db, const char *user, const char *device_id)
{
    for (struct row **at = &db->rows[STORE_PUT_ITEM]; *at;) {
        struct row *r = *at;
        if (!is_bond_of(&change_of(r)->u.item, user, device_id)) {
            at = &r->next;
        } else {
            *at = r->next;
            row_free(r);
        }
    }
}

/* ---- changes ---- */
static bool text_fits(const char *was, const char *is)
{
    return !was || strcmp(was, is) == 0;
}

/* Is everything there that the change was made of? */
static bool fits(const struct fake_db *db, const struct store_change *c)
{
    const struct row *r;
    switch (c->kind) {
    case STORE_PUT_DEVICE:
        r = find(db, STORE_PUT_DEVICE, c);
        return (r ? change_of(r)->u.device.tag : 0) == c->u.device.was;
    case STORE_PUT_POLICY: return !find(db, STORE_PUT_POLICY, c);
    case STORE_PUT_USER:
        r = find(db, STORE_PUT_USER, c);
        return !c->u.user.checked ||
               (c->u.user.was_enabled == (r ? change_of(r)->u.user.enabled : true) &&
                c->u.user.was_no_device_wipe == (r && change_of(r)->u.user.no_device_wipe));
    case STORE_PUT_FOLDER_STATE:
        r = find(db, STORE_PUT_FOLDER_STATE, c);
        return !c->u.folder_state.checked ||
               c->u.folder_state.was_key == (r ? change_of(r)->u.folder_state.key : 0);
    case STORE_PUT_FOLDER_IDS:
        r = find(db, STORE_PUT_FOLDER_IDS, c);
        return text_fits(c->u.folder_ids.was_json, r ? change_of(r)->u.folder_ids.ids_json : "");
    case STORE_PUT_ITEM:
    case STORE_REMOVE_ITEM:
        r = find(db, STORE_PUT_ITEM, c);
        return text_fits(c->u.item.was_json, r ? change_of(r)->u.item.json : "");
    default: return true;
    }
}

static void put_info(struct fake_db *db, const struct store_change *c)
{
    char *info, *history;
    struct row *r = find(db, STORE_PUT_INFO, c);
    char *was = r && r->info ? strdup(r->info) : strdup("");
    assert_true(info_apply(was, "", c->u.info.info_json, c->u.info.at, &info, &history));
    free(was);
    free(history);
    r = put(db, c);
    free(r->info);
    r->info = info;
}

static void apply(struct fake_db *db, const struct store_change *c)
{
    struct store_change copy = *c;
    switch (c->kind) {
    case STORE_REMOVE_DEVICE:
        for (int k = STORE_PUT_DEVICE; k <= STORE_PUT_TRAIL; k++)
            if (k == STORE_PUT_DEVICE || k == STORE_PUT_INFO || k == STORE_PUT_FOLDER_STATE ||
                k == STORE_PUT_TRAIL)
                drop_if(db, (enum store_kind)k, c->u.device.user, c->u.device.device_id);
        drop_bonds(db, c->u.device.user, c->u.device.device_id);
        return;
    case STORE_REMOVE_USER:
        for (int k = STORE_PUT_DEVICE; k <= STORE_PUT_TRAIL; k++)
            if (k != STORE_PUT_ITEM && k != STORE_PUT_POLICY)
                drop_if(db, (enum store_kind)k, c->u.user.user, NULL);
        drop_bonds(db, c->u.user.user, NULL);
        return;
    case STORE_REMOVE_ITEM: drop_if(db, STORE_PUT_ITEM, c->u.item.kind, c->u.item.name); return;
    case STORE_PUT_INFO: put_info(db, c); return;
    case STORE_ADD_AUDIT:
    case STORE_ADD_EVENT: copy.u.log.id = ++db->log_id; break;
    case STORE_PUT_DEVICE: copy.u.device.was = 0; break;
    default: break;
    }
    (void)put(db, &copy);
}

/* ---- news ---- */
static void tell(const struct store_follower *f, const char *user)
{
    if (user && f->user)
        f->user(f->ctx, user);
    else if (!user && f->lists)
        f->lists(f->ctx);
}

static void news(struct fake_node *n, const char *user)
{
    if (!n->deaf) {
        tell(&n->follower, user);
        return;
    }
    struct fake_news *one = calloc(1, sizeof *one);
    one->user = user ? strdup(user) : NULL;
    *n->news_tail = one;
    n->news_tail = &one->next;
}

static void tell_of(struct fake_node *from, const struct store_change *c)
{
    const char *key[2];
    char *user = NULL;
    key_of(c, key);
    bool item = c->kind == STORE_PUT_ITEM || c->kind == STORE_REMOVE_ITEM;
    bool bond = item && strcmp(c->u.item.kind, "bond") == 0;
    if (c->kind == STORE_PUT_DEVICE || c->kind == STORE_REMOVE_DEVICE ||
        c->kind == STORE_PUT_USER || c->kind == STORE_REMOVE_USER)
        user = strdup(key[0]);
    else if (bond)
        user = strndup(key[1], strcspn(key[1], "/"));
    else if (!item && c->kind != STORE_PUT_POLICY)
        return;
    for (struct fake_node *n = from->db->nodes; n; n = n->next)
        if (n != from) news(n, user);
    free(user);
}

void fake_hear(struct fake_node *n)
{
    struct fake_news *all = n->news;
    n->news = NULL;
    n->news_tail = &n->news;
    n->deaf = false;
    while (all) {
        struct fake_news *one = all;
        all = one->next;
        tell(&n->follower, one->user);
        free(one->user);
        free(one);
    }
}

/* ---- writing ---- */
/* Into the store. */
static void commit(struct fake_write *f)
{
    struct fake_node *n = f->node;
    struct submission *s = f->s;
    bool ok = !n->unreachable, conflict = false;
    if (f->committed) return;
    for (size_t i = 0; i < s->count && ok; i++) conflict |= !fits(n->db, &s->changes[i]);
    n->conflicts += conflict;
    for (size_t i = 0; i < s->count && ok && !conflict; i++) apply(n->db, &s->changes[i]);
    for (size_t i = 0; i < s->count && ok && !conflict; i++) tell_of(n, &s->changes[i]);
    n->settled = f->position;
    f->committed = true;
    f->durable = ok && !conflict && !n->loses;
    f->conflict = conflict;
    f->lost = ok && !conflict && n->loses;
}

static void deliver(struct task *task)
{
    struct fake_write *f = (struct fake_write *)task;
    struct store_write *w = f->s->write;
    commit(f);
    f->node->queue = f->next;
    if (!f->next) f->node->queue_tail = &f->node->queue;
    if (w) {
        w->durable = f->durable;
        w->conflict = f->conflict;
        w->lost = f->lost;
        w->done(w);
    }
    free(f->s);
    free(f);
}

static void go(struct fake_write *f)
{
    f->next = NULL;
    *f->node->queue_tail = f;
    f->node->queue_tail = &f->next;
    f->task.fn = deliver;
    worker_post(worker_self(), &f->task);
}

static bool submit(struct store *s, const struct store_change *changes, size_t count,
                   struct store_write *w)
{
    struct fake_node *n = (struct fake_node *)s;
    if (n->unreachable) return false;
    struct fake_write *f = calloc(1, sizeof *f);
    f->node = n;
    f->s = submission_create(changes, count, w);
    f->position = ++n->submitted;
    if (n->at_once) {
        f->next = NULL;
        n->queue = f;
        deliver(&f->task);
    } else if (n->holds) {
        *n->held_tail = f;
        n->held_tail = &f->next;
    } else {
        go(f);
    }
    return true;
}

bool fake_release(struct fake_node *n)
{
    struct fake_write *f = n->held;
    if (!f) return false;
    n->held = f->next;
    if (!n->held) n->held_tail = &n->held;
    go(f);
    return true;
}

/* ---- reading ---- */
static bool reads(struct store *s)
{
    struct fake_node *n = (struct fake_node *)s;
    n->reads++;
    return !n->unreachable;
}

static struct fake_db *db_of(struct store *s)
{
    return ((struct fake_node *)s)->db;
}

static bool load(struct store *s, const struct store_visitor *v, void *ctx, char *why,
                 size_t why_cap)
{
    if (!reads(s)) {
        snprintf(why, why_cap, "the store is out of reach");
        return false;
    }
    for (const struct row *r = db_of(s)->rows[STORE_PUT_ITEM]; r && v->item; r = r->next)
        if (strcmp(change_of(r)->u.item.kind, "bond") != 0) v->item(ctx, &change_of(r)->u.item);
    for (const struct row *r = db_of(s)->rows[STORE_PUT_POLICY]; r && v->policy; r = r->next)
        v->policy(ctx, &change_of(r)->u.policy);
    return true;
}

/* A copy of the row, in *block_out. 1, 0, -1. */
static int copy(struct store *s, enum store_kind kind, const struct store_change *key,
                struct store_change *out, void **block_out)
{
    if (!reads(s)) return -1;
    const struct row *r = find(db_of(s), kind, key);
    if (!r) return 0;
    struct submission *c = submission_create(change_of(r), 1, NULL);
    *out = c->changes[0];
    *block_out = c;
    return 1;
}

static int read_info(struct store *s, const char *user, const char *device_id, struct store_row *out,
                     void **block_out)
{
    const struct store_change key = {.u.info = {.user = user, .device_id = device_id}};
    if (!reads(s)) return -1;
    const struct row *r = find(db_of(s), STORE_PUT_INFO, &key);
    if (!r || !r->info) return 0;
    *block_out = strdup(r->info);
    *out = (struct store_row){.texts = {*block_out, "[]"}};
    return 1;
}

/* The change that a row was put by, as a key and read. */
static int read_row(struct store *s, enum store_row_of of, const char *a, const char *b,
                    struct store_row *out, void **block_out)
{
    static const enum store_kind kinds[] = {
        [STORE_ROW_FOLDER_STATE] = STORE_PUT_FOLDER_STATE, [STORE_ROW_FOLDER_IDS] = STORE_PUT_FOLDER_IDS,
        [STORE_ROW_INFO] = STORE_PUT_INFO, [STORE_ROW_TRAIL] = STORE_PUT_TRAIL, [STORE_ROW_ITEM] = STORE_PUT_ITEM,
    };
    struct store_change key = {0}, c;
    switch (of) {
    case STORE_ROW_FOLDER_STATE:
        key.u.folder_state.user = a;
        key.u.folder_state.device_id = b;
        break;
    case STORE_ROW_FOLDER_IDS: key.u.folder_ids.user = a; break;
    case STORE_ROW_INFO: return read_info(s, a, b, out, block_out);
    case STORE_ROW_TRAIL:
        key.u.trail.user = a;
        key.u.trail.device_id = b;
        break;
    case STORE_ROW_ITEM:
        key.u.item.kind = a;
        key.u.item.name = b;
        break;
    }
    int found = copy(s, kinds[of], &key, &c, block_out);
    if (found != 1)
        return found;
    const struct folder_state_record *f = &c.u.folder_state;
    switch (of) {
    case STORE_ROW_FOLDER_STATE:
        *out = (struct store_row){{f->key, f->previous_key}, {f->tree_json, f->previous_tree_json, f->ping_json}};
        break;
    case STORE_ROW_FOLDER_IDS: out->texts[0] = c.u.folder_ids.ids_json; break;
    case STORE_ROW_TRAIL: out->texts[0] = c.u.trail.trail_json; break;
    default: out->texts[0] = c.u.item.json;
    }
    return 1;
}

static bool read_user(struct store *s, const char *user, const struct store_visitor *v, void *ctx)
{
    const struct store_change key = {.u.user.user = user};
    if (!reads(s)) return false;
    const struct row *flags = find(db_of(s), STORE_PUT_USER, &key);
    if (flags && v->user) v->user(ctx, &change_of(flags)->u.user);
    for (const struct row *r = db_of(s)->rows[STORE_PUT_DEVICE]; r && v->device; r = r->next)
        if (strcmp(change_of(r)->u.device.user, user) == 0) v->device(ctx, &change_of(r)->u.device);
    for (const struct row *r = db_of(s)->rows[STORE_PUT_ITEM]; r && v->item; r = r->next)
        if (is_bond_of(&change_of(r)->u.item, user, NULL)) v->item(ctx, &change_of(r)->u.item);
    return true;
}

static bool is_behind(const struct device_record *r, const struct store_query *q)
{
    int order_ = q->after_user ? strcmp(r->user, q->after_user) : 1;
    if (order_ == 0) order_ = strcmp(r->device_id, q->after_device_id ? q->after_device_id : "");
    return order_ > 0;
}

static bool is_found(const struct device_record *r, const struct store_query *q)
{
    const struct pv_partnership *p = &r->partnership;
    bool pending = p->wipe_state == PV_WIPE_STATE_REQUESTED ||
                   p->wipe_state == PV_WIPE_STATE_SENT || p->wipe_state == PV_WIPE_STATE_FAILED;
    if (q->user && strcmp(q->user, r->user) != 0) return false;
    switch (q->filter) {
    case STORE_ALL: return true;
    case STORE_WIPES_EXPIRED:
        return pending && p->wipe_expires_at && p->wipe_expires_at < q->before;
    case STORE_SEEN_BEFORE: return r->last_seen < q->before;
    }
    return false;
}

static bool read_devices(struct store *s, const struct store_query *q,
                         void (*each)(void *ctx, const struct device_record *r), void *ctx)
{
    unsigned n = 0;
    if (!reads(s)) return false;
    for (const struct row *r = db_of(s)->rows[STORE_PUT_DEVICE]; r && n < q->most; r = r->next) {
        const struct device_record *d = &change_of(r)->u.device;
        if (!is_behind(d, q) || !is_found(d, q)) continue;
        each(ctx, d);
        n++;
    }
    return true;
}

static bool read_users_of(struct store *s, const char *device_id, unsigned most,
                          void (*each)(void *ctx, const char *user), void *ctx)
{
    unsigned n = 0;
    if (!reads(s)) return false;
    for (const struct row *r = db_of(s)->rows[STORE_PUT_DEVICE]; r && n < most; r = r->next)
        if (strcmp(change_of(r)->u.device.device_id, device_id) == 0) {
            each(ctx, change_of(r)->u.device.user);
            n++;
        }
    return true;
}

static bool read_users(struct store *s, const char *after, unsigned most,
                       void (*each)(void *ctx, const struct user_record *r), void *ctx)
{
    unsigned n = 0;
    if (!reads(s)) return false;
    for (const struct row *r = db_of(s)->rows[STORE_PUT_USER]; r && n < most; r = r->next)
        if (!after || strcmp(change_of(r)->u.user.user, after) > 0) {
            each(ctx, &change_of(r)->u.user);
            n++;
        }
    return true;
}

static bool count_devices(struct store *s, uint64_t *out)
{
    *out = fake_db_count(db_of(s), STORE_PUT_DEVICE);
    return reads(s);
}

static bool read_revisions(struct store *s, const char *policy,
                           void (*each)(void *ctx, const struct policy_record *r), void *ctx)
{
    if (!reads(s)) return false;
    for (const struct row *r = db_of(s)->rows[STORE_PUT_POLICY]; r; r = r->next)
        if (strcmp(change_of(r)->u.policy.name, policy) == 0) each(ctx, &change_of(r)->u.policy);
    return true;
}

/* ---- positions, lease, nodes ---- */
static uint64_t submitted(struct store *s)
{
    return ((struct fake_node *)s)->submitted + 1;
}

static bool settled(struct store *s, uint64_t position)
{
    return ((struct fake_node *)s)->settled + 1 >= position;
}

/* What is on its way arrives; what is held does not. */
static bool settle(struct store *s, uint64_t position)
{
    struct fake_node *n = (struct fake_node *)s;
    for (struct fake_write *f = n->queue; f; f = f->next) commit(f);
    return settled(s, position);
}

static bool follow(struct store *s, const struct store_follower *f)
{
    struct fake_node *n = (struct fake_node *)s;
    n->follower = f ? *f : (struct store_follower){0};
    return true;
}

static bool is_heard(const struct store *s)
{
    return !((const struct fake_node *)s)->unheard;
}

static int64_t heard_ms(const struct store *s)
{
    return ((const struct fake_node *)s)->unheard ? 20000 : 100;
}

static bool is_leader(const struct store *s)
{
    const struct fake_node *n = (const struct fake_node *)s;
    return n->db->nodes == n;
}

static void close_node(struct store *s)
{
    fake_node_close((struct fake_node *)s);
}

static const struct store_ops ops = {
    .name = "fake",
    .shared = true,
    .load = load,
    .submit = submit,
    .read_row = read_row,
    .read_user = read_user,
    .read_devices = read_devices,
    .read_users_of = read_users_of,
    .read_users = read_users,
    .count_devices = count_devices,
    .submitted = submitted,
    .settle = settle,
    .settled = settled,
    .follow = follow,
    .is_heard = is_heard,
    .heard_ms = heard_ms,
    .is_leader = is_leader,
    .read_revisions = read_revisions,
    .close = close_node,
};

struct fake_node *fake_node_open(struct fake_db *db)
{
    struct fake_node *n = calloc(1, sizeof *n);
    n->base.ops = &ops;
    n->db = db;
    n->held_tail = &n->held;
    n->queue_tail = &n->queue;
    n->news_tail = &n->news;
    n->next = db->nodes;
    return db->nodes = n;
}

void fake_node_close(struct fake_node *n)
{
    struct fake_node **at = &n->db->nodes;
    n->follower = (struct store_follower){0};
    fake_hear(n);
    while (*at != n) at = &(*at)->next;
    *at = n->next;
    free(n);
}

struct fake_db *fake_db_create(void)
{
    return calloc(1, sizeof(struct fake_db));
}

void fake_db_destroy(struct fake_db *db)
{
    for (size_t k = 0; k < sizeof db->rows / sizeof *db->rows; k++)
        for (struct row *r = db->rows[k], *next; r; r = next) {
            next = r->next;
            row_free(r);
        }
    free(db);
}

unsigned fake_db_count(const struct fake_db *db, enum store_kind kind)
{
    unsigned n = 0;
    for (const struct row *r = db->rows[kind]; r; r = r->next) n++;
    return n;
}

const struct device_record *fake_db_device(const struct fake_db *db, const char *user,
                                           const char *device_id)
{
    const struct store_change key = {.u.device = {.user = user, .device_id = device_id}};
    const struct row *r = find(db, STORE_PUT_DEVICE, &key);
    return r ? &change_of(r)->u.device : NULL;
}

const char *fake_db_item(const struct fake_db *db, const char *kind, const char *name)
{
    const struct store_change key = {.u.item = {.kind = kind, .name = name}};
    const struct row *r = find(db, STORE_PUT_ITEM, &key);
    return r ? change_of(r)->u.item.json : NULL;
}
