#include "src/server/upstream/rota.h"

#include <stdlib.h>
#include <string.h>

#include "src/server/http/worker.h" /* CONTAINER_OF */

#define PAUSE_FIRST_MS 1000u

/* A user whose devices wait, or have waited not long ago. */
struct rota_user {
    struct map_node by_name;
    struct rota_member *members;   /* that wait */
    struct rota_user *prev, *next; /* of the idle, in the order in which they became it */
    uint64_t idle_ms;
    uint64_t hint_ms; /* 0: none */
    uint64_t round;   /* in which looks were counted */
    unsigned looks;
    char name[];
};

/* ---- lists ---- */

static void put(struct rota *t, struct rota_member *e, enum rota_place place)
{
    struct rota_list *l = &t->list[place];
    e->place = place;
    e->next = NULL;
    e->prev = l->tail;
    *(l->tail ? &l->tail->next : &l->head) = e;
    l->tail = e;
}

/* Out of the list it is in. */
static void take(struct rota *t, struct rota_member *e)
{
    struct rota_list *l = &t->list[e->place];
    if (e->place == ROTA_NONE || e->place == ROTA_BUSY) return;
    *(e->prev ? &e->prev->next : &l->head) = e->next;
    *(e->next ? &e->next->prev : &l->tail) = e->prev;
    e->place = ROTA_NONE;
}

static void move(struct rota *t, struct rota_member *e, enum rota_place place)
{
    take(t, e);
    put(t, e, place);
}

/* ---- users ---- */

static struct rota_user *find_user(const struct rota *t, const char *name)
{
    struct map_node *n = map_first(&t->users, map_hash(name, strlen(name), 0));
    for (; n; n = map_next(n)) {
        struct rota_user *u = CONTAINER_OF(n, struct rota_user, by_name);
        if (strcmp(u->name, name) == 0) return u;
    }
    return NULL;
}

static void idle_take(struct rota *t, struct rota_user *u)
{
    *(u->prev ? &u->prev->next : &t->idle_first) = u->next;
    *(u->next ? &u->next->prev : &t->idle_last) = u->prev;
    u->prev = u->next = NULL;
}

static void idle_put(struct rota *t, struct rota_user *u, uint64_t now_ms)
{
    u->idle_ms = now_ms;
    u->next = NULL;
    u->prev = t->idle_last;
    *(t->idle_last ? &t->idle_last->next : &t->idle_first) = u;
    t->idle_last = u;
}

static void user_free(struct rota *t, struct rota_user *u)
{
    map_remove(&t->users, &u->by_name);
    free(u);
}

/* Who has been away for an interval is fresh when he comes back, whatever was known of him. */
static void forget_idle(struct rota *t, uint64_t now_ms)
{
    struct rota_user *u = t->idle_first;
    while (u && (u->round != t->round || !t->list[ROTA_NOW].head) &&
           now_ms - u->idle_ms >= t->interval_ms) {
        idle_take(t, u);
        user_free(t, u);
        u = t->idle_first;
    }
}

static struct rota_user *user_of(struct rota *t, const char *name)
{
    struct rota_user *u = find_user(t, name);
    size_t size = strlen(name) + 1;
    if (u) {
        if (!u->members) idle_take(t, u);
        return u;
    }
    u = calloc(1, sizeof *u + size);
    if (!u) return NULL;
    memcpy(u->name, name, size);
    if (map_put(&t->users, &u->by_name, map_hash(name, size - 1, 0))) return u;
    free(u);
    return NULL;
}

/* ---- coming and going ---- */

void rota_init(struct rota *t, unsigned slots, uint64_t interval_ms)
{
    *t = (struct rota){.slots = slots, .interval_ms = interval_ms, .round = 1};
}

static void user_drop(void *ctx, struct map_node *n)
{
    (void)ctx;
    free(CONTAINER_OF(n, struct rota_user, by_name));
}

void rota_finish(struct rota *t)
{
    map_each(&t->users, user_drop, NULL);
    map_finish(&t->users);
    *t = (struct rota){0};
}

/* It is to be looked at before others. */
static void prefer(struct rota *t, struct rota_member *e, uint64_t now_ms)
{
    if (e->memory.looked_ms && now_ms - e->memory.looked_ms < ROTA_HINT_MS) {
        e->eligible_ms = now_ms + ROTA_HINT_MS; /* not since the look: so the list is in order */
        move(t, e, ROTA_LATER);
    } else {
        e->hinted = true;
        e->eligible_ms = now_ms;
        move(t, e, ROTA_FRESH);
    }
}

static uint64_t aged_ms(const struct rota *t, const struct rota_member *e)
{
    return e->memory.looked_ms ? e->memory.looked_ms + t->interval_ms : 0;
}

static bool aged(const struct rota *t, const struct rota_member *e, uint64_t now_ms)
{
    return aged_ms(t, e) <= now_ms;
}

/* When the round has somebody to look at, or the next one begins; UINT64_MAX: nobody waits for
 * that. */
static uint64_t due_ms(const struct rota *t)
{
    const struct rota_member *now = t->list[ROTA_NOW].head, *next = t->list[ROTA_NEXT].head;
    if (now) return aged_ms(t, now);
    if (t->list[ROTA_DEFERRED].head) return 0;
    return next ? aged_ms(t, next) : UINT64_MAX;
}

bool rota_join(struct rota *t, struct rota_member *e, const char *user, uint64_t now_ms)
{
    struct rota_user *u = user_of(t, user);
    if (!u) return false;
    e->user = u;
    e->user_prev = NULL;
    e->user_next = u->members;
    if (u->members) u->members->user_prev = e;
    u->members = e;
    e->stayed = e->hinted = e->again = false;
    e->seen_ms = e->eligible_ms = now_ms;
    t->waiting++;
    if (u->hint_ms > e->memory.looked_ms)
        prefer(t, e, now_ms);
    else if (aged(t, e, now_ms) && (e->memory.round != t->round || due_ms(t) > now_ms))
        put(t, e, ROTA_FRESH);
    else
        put(t, e, ROTA_NEXT);
    return true;
}

void rota_leave(struct rota *t, struct rota_member *e, uint64_t now_ms)
{
    struct rota_user *u = e->user;
    if (!u) return;
    take(t, e);
    e->place = ROTA_NONE;
    e->user = NULL;
    *(e->user_prev ? &e->user_prev->user_next : &u->members) = e->user_next;
    if (e->user_next) e->user_next->user_prev = e->user_prev;
    t->waiting--;
    if (!u->members) idle_put(t, u, now_ms);
    forget_idle(t, now_ms);
}

/* ---- whose turn ---- */

static void wake_later(struct rota *t, uint64_t now_ms)
{
    struct rota_member *e;
    while ((e = t->list[ROTA_LATER].head) && e->eligible_ms <= now_ms) {
        e->hinted = true;
        move(t, e, ROTA_FRESH);
    }
}

/* Those whose user had more than his share come first, then all in the order of the last round. */
static void begin_round(struct rota *t, uint64_t now_ms)
{
    struct rota_member *e;
    if (t->list[ROTA_NOW].head || due_ms(t) > now_ms) return;
    t->round++;
    while ((e = t->list[ROTA_DEFERRED].head)) move(t, e, ROTA_NOW);
    while ((e = t->list[ROTA_NEXT].head)) move(t, e, ROTA_NOW);
    forget_idle(t, now_ms);
}

/* Of two who were fresh at the same time none is looked at twice before the other was at all. */
static struct rota_member *first(struct rota *t, uint64_t now_ms)
{
    struct rota_member *fresh = t->list[ROTA_FRESH].head, *now = t->list[ROTA_NOW].head;
    if (now && !aged(t, now, now_ms)) now = NULL;
    if (fresh && now) return t->fresh_was_last && now->seen_ms < fresh->eligible_ms ? now : fresh;
    return fresh ? fresh : now;
}

/* false: its user has had his share of the round. */
static bool count_look(struct rota *t, struct rota_member *e)
{
    struct rota_user *u = e->user;
    if (u->round != t->round) {
        u->round = t->round;
        u->looks = 0;
    }
    if (e->hinted) return true;
    if (u->looks >= ROTA_SHARE) return false;
    u->looks++;
    return true;
}

static void grant(struct rota *t, struct rota_member *e, uint64_t now_ms)
{
    t->fresh_was_last = e->place == ROTA_FRESH;
    if (e->stayed && !e->hinted) t->gap_ms = now_ms - e->seen_ms;
    take(t, e);
    e->place = ROTA_BUSY;
    e->hinted = false;
    e->memory.round = t->round;
    e->memory.looked_ms = now_ms;
    t->busy++;
    t->looks++;
}

static unsigned slots_now(const struct rota *t)
{
    return t->failures ? 1 : t->slots;
}

struct rota_member *rota_pick(struct rota *t, uint64_t now_ms)
{
    if (t->busy >= slots_now(t) || now_ms < t->paused_until_ms) return NULL;
    wake_later(t, now_ms);
    for (;;) {
        begin_round(t, now_ms);
        struct rota_member *e = first(t, now_ms);
        if (!e) return NULL;
        if (count_look(t, e)) {
            grant(t, e, now_ms);
            return e;
        }
        move(t, e, ROTA_DEFERRED);
    }
}

void rota_free(struct rota *t, uint64_t began_ms, uint64_t now_ms, enum rota_end end,
               uint64_t retry_ms)
{
    t->busy--;
    if (end == ROTA_LOOKED) {
        uint64_t took = now_ms - began_ms;
        t->look_ms = t->look_ms ? (7 * t->look_ms + took) / 8 : took;
        t->failures = 0;
        t->paused_until_ms = 0;
    }
    if (end != ROTA_FAILED) return;
    uint64_t pause = PAUSE_FIRST_MS << (t->failures < 10 ? t->failures : 10);
    if (pause < retry_ms) pause = retry_ms;
    if (pause > ROTA_PAUSE_MAX_MS) pause = ROTA_PAUSE_MAX_MS;
    t->failures++;
    t->paused_until_ms = now_ms + pause;
}

void rota_back(struct rota *t, struct rota_member *e, uint64_t now_ms, enum rota_end end)
{
    bool again = e->again || end == ROTA_UNUSED;
    e->again = false;
    if (end == ROTA_LOOKED) {
        e->stayed = true;
        e->seen_ms = e->memory.looked_ms;
    }
    put(t, e, ROTA_NEXT);
    if (again) prefer(t, e, now_ms);
}

void rota_hint(struct rota *t, const char *user, uint64_t now_ms)
{
    struct rota_user *u = find_user(t, user);
    if (!u) return;
    u->hint_ms = now_ms;
    for (struct rota_member *e = u->members; e; e = e->user_next) {
        if (e->place == ROTA_BUSY)
            e->again = true;
        else if (e->place != ROTA_FRESH && e->place != ROTA_LATER)
            prefer(t, e, now_ms);
    }
}

/* ---- what it comes to ---- */

static uint64_t left(uint64_t at_ms, uint64_t now_ms)
{
    return at_ms > now_ms ? at_ms - now_ms : 0;
}

uint64_t rota_sleep_ms(const struct rota *t, uint64_t now_ms)
{
    uint64_t until = due_ms(t), pause = left(t->paused_until_ms, now_ms);
    const struct rota_member *later = t->list[ROTA_LATER].head;
    if (t->busy >= slots_now(t)) return UINT64_MAX;
    if (t->list[ROTA_FRESH].head) until = 0;
    if (later && later->eligible_ms < until) until = later->eligible_ms;
    if (until == UINT64_MAX) return UINT64_MAX;
    return left(until, now_ms) > pause ? left(until, now_ms) : pause;
}

uint64_t rota_wait_ms(const struct rota *t, uint64_t now_ms)
{
    static const enum rota_place places[] = {ROTA_FRESH, ROTA_NOW, ROTA_NEXT, ROTA_DEFERRED,
                                             ROTA_LATER};
    uint64_t most = t->gap_ms;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const struct rota_member *e = t->list[places[i]].head;
        if (e && now_ms - e->seen_ms > most) most = now_ms - e->seen_ms;
    }
    return most;
}

uint64_t rota_estimate_ms(const struct rota *t)
{
    uint64_t all = t->waiting * t->look_ms / t->slots;
    return t->waiting && all < t->interval_ms ? t->interval_ms : all;
}
