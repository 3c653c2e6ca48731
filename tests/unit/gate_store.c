/* The store of gate_fake.h: what it was told last of each thing, in memory; or one that a test has made
 * (struct store_ops). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "src/server/store/info.h"
#include "tests/unit/gate_fake.h"

#define LOADED_TAG 1 /* of devices that were there at the start */

/* ---- what it holds ---- */
/* The last of each thing, removals too. What is kept is never given back singly, and asks nobody for
 * memory: a test that lets allocations fail means those of the gate. */
#define BUCKETS 65536
#define ROOM ((size_t)1 << 30)
struct row {
    struct row *next; /* in its bucket */
    struct row *older;
    struct row *beside; /* of a user that falls into the same bucket */
    struct store_change change;
};
static struct row *rows[BUCKETS], *by_user[BUCKETS], *newest;
static char *room;
static size_t room_used;

static void *take_room(size_t size)
{
    if (!room) {
        room = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                    -1, 0);
        assert_true(room != MAP_FAILED);
    }
    size = (size + 15) & ~(size_t)15;
    assert_true(size <= ROOM - room_used);
    room_used += size;
    return memset(room + (room_used - size), 0, size);
}

static void copy_text(const char **text)
{
    size_t size = *text ? strlen(*text) + 1 : 1;
    *text = memcpy(take_room(size), *text ? *text : "", size);
}

/* Of what is kept here. */
static void copy_texts(struct store_change *c)
{
    struct device_record *d = &c->u.device;
    const char **device[] = {&d->user, &d->device_id, &d->device_type, &d->user_agent,
                             &d->model, &d->os, &d->wipe_by, &d->wipe_reason};
    const char **item[] = {&c->u.item.kind, &c->u.item.name, &c->u.item.json};
    switch (c->kind) {
    case STORE_PUT_DEVICE:
    case STORE_REMOVE_DEVICE:
        for (size_t i = 0; i < 8; i++) copy_text(device[i]);
        break;
    case STORE_PUT_ITEM:
    case STORE_REMOVE_ITEM:
        for (size_t i = 0; i < 3; i++) copy_text(item[i]);
        break;
    case STORE_PUT_USER:
    case STORE_REMOVE_USER: copy_text(&c->u.user.user); break;
    default: break;
    }
}

void store_clear(void)
{
    memset(rows, 0, sizeof rows);
    memset(by_user, 0, sizeof by_user);
    newest = NULL;
    if (room) madvise(room, room_used, MADV_DONTNEED);
    room_used = 0;
}

/* What a change is about, as text; "": nothing that is kept here. */
static void name_of(const struct store_change *c, char out[600])
{
    out[0] = '\0';
    switch (c->kind) {
    case STORE_PUT_DEVICE:
    case STORE_REMOVE_DEVICE:
        snprintf(out, 600, "device %s/%s", c->u.device.user, c->u.device.device_id);
        break;
    case STORE_PUT_USER: snprintf(out, 600, "user %s", c->u.user.user); break;
    case STORE_PUT_ITEM:
    case STORE_REMOVE_ITEM: snprintf(out, 600, "%s %s", c->u.item.kind, c->u.item.name); break;
    default: break;
    }
}

static size_t hash_of(const char *name, size_t len)
{
    uint32_t h = 2166136261u;
    for (; len > 0; len--) h = (h ^ (uint8_t)*name++) * 16777619u;
    return (h ^ h >> 16) % BUCKETS;
}

static struct row **bucket_of(const char *name)
{
    return &rows[hash_of(name, strlen(name))];
}

/* Of "device USER/ID", "bond USER/ID", "user USER"; other things have none that counts. */
static struct row **user_bucket_of(const char *name)
{
    const char *user = strchr(name, ' ') + 1, *end = strrchr(user, '/');
    return &by_user[hash_of(user, end ? (size_t)(end - user) : strlen(user))];
}

static struct row *row_of(const char *name)
{
    char other[600];
    struct row *r = *bucket_of(name);
    for (; r; r = r->next) {
        name_of(&r->change, other);
        if (!strcmp(name, other)) break;
    }
    return r;
}

static void put_row(const struct store_change *c)
{
    char name[600];
    name_of(c, name);
    struct row *r = row_of(name), **bucket = bucket_of(name);
    if (!r) {
        r = take_room(sizeof *r);
        r->next = *bucket;
        *bucket = r;
        r->older = newest;
        newest = r;
        bucket = user_bucket_of(name);
        r->beside = *bucket;
        *bucket = r;
    }
    r->change = *c;
    copy_texts(&r->change);
}

/* What is there of that name; NULL: nothing. */
static const struct store_change *find(const char *name)
{
    char other[600];
    const struct row *r = row_of(name);
    if (r)
        return r->change.kind == STORE_REMOVE_DEVICE || r->change.kind == STORE_REMOVE_ITEM
                   ? NULL : &r->change;
    for (size_t i = 0; i < world.loaded_count; i++) {
        name_of(&world.loaded[i], other);
        if (!strcmp(name, other)) return &world.loaded[i];
    }
    return NULL;
}

static uint64_t tag_of(const struct store_change *c)
{
    return !c ? 0 : c->u.device.tag ? c->u.device.tag : LOADED_TAG;
}

static bool fits(const struct store_change *c)
{
    char name[600];
    name_of(c, name);
    return c->kind != STORE_PUT_DEVICE || c->u.device.was == tag_of(find(name));
}

#define FOUND_MAX 8000
struct found {
    const struct store_change *at[FOUND_MAX];
    size_t count;
};

static bool is_of(const struct store_change *c, const char *user)
{
    size_t len = strlen(user);
    switch (c->kind) {
    case STORE_PUT_DEVICE: return !strcmp(c->u.device.user, user);
    case STORE_PUT_USER: return !strcmp(c->u.user.user, user);
    case STORE_PUT_ITEM:
        return !strcmp(c->u.item.kind, BOND_KIND) && !strncmp(c->u.item.name, user, len) &&
               c->u.item.name[len] == '/';
    default: return false;
    }
}

/* All that is there of a user. */
static void find_user(const char *user, struct found *f)
{
    char name[600];
    f->count = 0;
    for (size_t i = 0; i < world.loaded_count; i++) {
        name_of(&world.loaded[i], name);
        if (is_of(&world.loaded[i], user) && !row_of(name)) {
            assert_true(f->count < FOUND_MAX);
            f->at[f->count++] = &world.loaded[i];
        }
    }
    for (struct row *r = by_user[hash_of(user, strlen(user))]; r; r = r->beside)
        if (is_of(&r->change, user)) {
            assert_true(f->count < FOUND_MAX);
            f->at[f->count++] = &r->change;
        }
}

/* Devices and bonds of a user; device_id NULL: all, and the flags. */
static void remove_rest(const char *user, const char *device_id)
{
    struct found f;
    find_user(user, &f);
    for (size_t i = 0; i < f.count; i++) {
        struct store_change c = *f.at[i];
        const char *id = c.kind == STORE_PUT_ITEM ? strrchr(c.u.item.name, '/') + 1
                                                  : c.u.device.device_id;
        if (device_id && (c.kind == STORE_PUT_USER || strcmp(id, device_id) != 0)) continue;
        if (c.kind == STORE_PUT_USER)
            c.u.user = (struct user_record){c.u.user.user, true, false};
        else
            c.kind = c.kind == STORE_PUT_DEVICE ? STORE_REMOVE_DEVICE : STORE_REMOVE_ITEM;
        put_row(&c);
    }
}

static void apply(const struct store_change *c)
{
    char name[600];
    name_of(c, name);
    if (c->kind == STORE_REMOVE_USER) remove_rest(c->u.user.user, NULL);
    if (c->kind == STORE_REMOVE_DEVICE) remove_rest(c->u.device.user, c->u.device.device_id);
    if (*name) put_row(c);
}

/* ---- submissions ---- */
#define CHANGES_MAX 8
static struct held {
    struct store_write *write;
    struct store_change changes[CHANGES_MAX];
    size_t count;
    uint64_t position;
} held[64];
static uint64_t submitted;

static void deliver(struct task *t)
{
    struct store_write *w = (struct store_write *)t;
    w->done(w);
}

static bool take_info(const char *patch)
{
    char *info, *history;
    if (!info_apply(world.last_info, "", patch, world.now, &info, &history))
        return false;
    if (info)
        snprintf(world.last_info, sizeof world.last_info, "%s", info);
    free(info);
    free(history);
    return true;
}

/* false: no memory. */
static bool take_change(const struct store_change *c)
{
    switch (c->kind) {
    case STORE_PUT_DEVICE:
        world.put_devices++;
        world.last_put = c->u.device.partnership;
        world.last_loop_until = c->u.device.loop_until;
        return true;
    case STORE_PUT_INFO: return take_info(c->u.info.info_json);
    case STORE_ADD_AUDIT:
        world.audited++;
        snprintf(world.last_audit, sizeof world.last_audit, "%s", c->u.log.json);
        return true;
    case STORE_ADD_EVENT:
        snprintf(world.last_event, sizeof world.last_event, "%s", c->u.log.json);
        return true;
    case STORE_PUT_TRAIL:
        snprintf(world.last_trail, sizeof world.last_trail, "%s", c->u.trail.trail_json);
        world.put_trails++;
        return true;
    case STORE_PUT_POLICY: world.put_policies++; return true;
    case STORE_REMOVE_DEVICE: world.removed_devices++; return true;
    default: return true;
    }
}

/* Into the rows, all or nothing. Says whether it fitted. */
static bool apply_all(const struct store_change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!fits(&changes[i])) return false;
    for (size_t i = 0; i < count; i++) apply(&changes[i]);
    return true;
}

bool store_submit(struct store *s, const struct store_change *changes, size_t count,
                  struct store_write *w)
{
    if (s)
        return s->ops->submit(s, changes, count, w);
    if (world.store == STORE_REFUSES)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!take_change(&changes[i]))
            return false;
    for (size_t i = 0; world.see && i < count; i++) world.see(&changes[i]);
    submitted++;
    if (w && world.store == STORE_HOLDS) {
        struct held *h = &held[world.held++];
        assert_true(count <= CHANGES_MAX);
        *h = (struct held){.write = w, .count = count, .position = submitted};
        memcpy(h->changes, changes, count * sizeof *changes);
        for (size_t i = 0; i < count; i++) copy_texts(&h->changes[i]);
        return true;
    }
    bool fitted = world.store == STORE_FAILS || apply_all(changes, count);
    if (!w)
        return true;
    w->durable = fitted && world.store != STORE_FAILS;
    w->conflict = !fitted;
    w->lost = false;
    if (world.store == STORE_AT_ONCE) {
        w->done(w);
    } else {
        w->task.fn = deliver;
        worker_post(worker_self(), &w->task);
    }
    return true;
}

void release(bool durable)
{
    struct held h = held[0];
    assert_true(world.held > 0);
    memmove(held, held + 1, --world.held * sizeof *held);
    bool fitted = !durable || apply_all(h.changes, h.count);
    h.write->durable = durable && fitted;
    h.write->conflict = !fitted;
    h.write->lost = false;
    h.write->done(h.write);
}

uint64_t store_submitted(struct store *s)
{
    return s ? s->ops->submitted(s) : submitted;
}

/* What a test holds back is not settled. */
bool store_settled(struct store *s, uint64_t position)
{
    return s ? s->ops->settled(s, position) : !world.held || position < held[0].position;
}

bool store_settle(struct store *s, uint64_t position)
{
    return s ? s->ops->settle(s, position) : store_settled(s, position);
}

/* ---- reading ---- */
bool store_load(struct store *s, const struct store_visitor *v, void *ctx, char *why,
                size_t why_cap)
{
    if (s)
        return s->ops->load(s, v, ctx, why, why_cap);
    for (size_t i = 0; i < world.loaded_count; i++) {
        const struct store_change *c = &world.loaded[i];
        if (c->kind == STORE_PUT_POLICY && v->policy) v->policy(ctx, &c->u.policy);
        if (c->kind == STORE_PUT_ITEM && v->item && strcmp(c->u.item.kind, BOND_KIND) != 0)
            v->item(ctx, &c->u.item);
    }
    if (world.load) world.load(v, ctx);
    return true;
}

bool store_read_user(struct store *s, const char *user, const struct store_visitor *v, void *ctx)
{
    if (s)
        return s->ops->read_user(s, user, v, ctx);
    struct found f;
    world.users_read++;
    if (world.unreadable)
        return false;
    find_user(user, &f);
    for (size_t i = 0; i < f.count; i++) {
        const struct store_change *c = f.at[i];
        if (c->kind == STORE_PUT_USER && v->user) v->user(ctx, &c->u.user);
        if (c->kind == STORE_PUT_ITEM && v->item) v->item(ctx, &c->u.item);
        if (c->kind != STORE_PUT_DEVICE || !v->device) continue;
        struct device_record r = c->u.device;
        r.tag = tag_of(c);
        r.was = 0;
        v->device(ctx, &r);
    }
    if (world.while_read) world.while_read(user);
    return true;
}

/* ---- pages ---- */
static int by_key(const void *a, const void *b)
{
    const struct device_record *x = a, *y = b;
    int order = strcmp(x->user, y->user);
    return order ? order : strcmp(x->device_id, y->device_id);
}

static bool is_found(const struct device_record *r, const struct store_query *q)
{
    const struct pv_partnership *p = &r->partnership;
    const struct device_record after = {.user = q->after_user, .device_id = q->after_device_id};
    bool pending = p->wipe_state == PV_WIPE_STATE_REQUESTED ||
                   p->wipe_state == PV_WIPE_STATE_SENT || p->wipe_state == PV_WIPE_STATE_FAILED;
    if (q->user && strcmp(q->user, r->user) != 0) return false;
    if (q->after_user && by_key(r, &after) <= 0) return false;
    if (q->filter == STORE_WIPES_EXPIRED)
        return pending && p->wipe_expires_at && p->wipe_expires_at < q->before;
    return q->filter == STORE_ALL || r->last_seen < q->before;
}

static const char *bond_of(const struct device_record *r)
{
    char name[600];
    snprintf(name, sizeof name, "%s %s/%s", BOND_KIND, r->user, r->device_id);
    const struct store_change *c = find(name);
    return c ? c->u.item.json : NULL;
}

/* Every device, sorted: this one is found or not by the caller. */
static struct device_record all[FOUND_MAX];

static size_t list_devices(void)
{
    char name[600];
    size_t count = 0;
    for (size_t i = 0; i < world.loaded_count; i++) {
        const struct store_change *c = &world.loaded[i];
        name_of(c, name);
        if (c->kind != STORE_PUT_DEVICE || row_of(name)) continue;
        all[count] = c->u.device;
        all[count++].tag = tag_of(c);
    }
    for (struct row *r = newest; r; r = r->older)
        if (r->change.kind == STORE_PUT_DEVICE) {
            assert_true(count < FOUND_MAX);
            all[count++] = r->change.u.device;
        }
    if (count) qsort(all, count, sizeof *all, by_key);
    return count;
}

bool store_read_devices(struct store *s, const struct store_query *q,
                        void (*each)(void *ctx, const struct device_record *r), void *ctx)
{
    (void)s;
    unsigned n = 0;
    size_t count = list_devices();
    world.pages_read++;
    if (world.unreadable)
        return false;
    for (size_t i = 0; i < count && n < q->most; i++) {
        if (!is_found(&all[i], q)) continue;
        struct device_record r = all[i];
        r.was = 0;
        r.bond_json = bond_of(&r);
        each(ctx, &r);
        n++;
    }
    return true;
}

bool store_count_devices(struct store *s, uint64_t *out)
{
    if (s)
        return s->ops->count_devices(s, out);
    *out = list_devices();
    world.counted++;
    return !world.unreadable;
}

bool store_read_users_of(struct store *s, const char *device_id, unsigned most,
                         void (*each)(void *ctx, const char *user), void *ctx)
{
    (void)s;
    size_t count = list_devices();
    if (world.unreadable)
        return false;
    for (size_t i = 0; i < count && most > 0; i++)
        if (!strcmp(all[i].device_id, device_id)) {
            each(ctx, all[i].user);
            most--;
        }
    return true;
}

int store_read_item(struct store *s, const char *kind, const char *name, struct item_record *out,
                    void **block_out)
{
    struct store_row r;
    int found = s ? s->ops->read_row(s, STORE_ROW_ITEM, kind, name, &r, block_out) : 0;
    if (found == 1)
        *out = (struct item_record){kind, name, r.texts[0]};
    if (s)
        return found;
    char full[600];
    snprintf(full, sizeof full, "%s %s", kind, name);
    const struct store_change *c = find(full);
    if (!c)
        return 0;
    *block_out = strdup(c->u.item.json);
    *out = (struct item_record){kind, name, *block_out};
    return *block_out ? 1 : -1;
}

int store_read_trail(struct store *s, const char *user, const char *device_id,
                     struct trail_record *out, void **block_out)
{
    struct store_row r;
    int found = s ? s->ops->read_row(s, STORE_ROW_TRAIL, user, device_id, &r, block_out) : 0;
    if (found == 1)
        *out = (struct trail_record){user, device_id, r.texts[0]};
    if (s)
        return found;
    if (world.store == STORE_FAILS)
        return -1;
    if (!*world.last_trail)
        return 0;
    *block_out = strdup(world.last_trail);
    *out = (struct trail_record){user, device_id, *block_out};
    return *block_out ? 1 : -1;
}

uint64_t store_tag(void)
{
    static uint64_t given = LOADED_TAG;
    return ++given;
}

bool store_is_shared(const struct store *s)
{
    return s && s->ops->shared;
}

bool store_is_heard(const struct store *s)
{
    return !s || !s->ops->shared || s->ops->is_heard(s);
}

bool store_is_leader(const struct store *s)
{
    return !world.follows && (!s || !s->ops->shared || s->ops->is_leader(s));
}

bool store_follow(struct store *s, const struct store_follower *f)
{
    return !s || !s->ops->shared || s->ops->follow(s, f);
}
