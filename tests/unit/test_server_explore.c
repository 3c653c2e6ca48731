/* The server's machine explored exhaustively, breadth first: every sequence of events up to a
 * depth, with a crash possible after each, against the rules said a second time (server_oracle.c)
 * and against laws that need no second machine (obey).
 *
 * A state is the partnership in memory, what of it is on the disk, and what an observer knows. A
 * step that must be stored first is on the disk before its answer; one that may be stored later is
 * in memory only, until the event "write" or the next step that must be stored. "Crash" takes
 * memory back to the disk. An answer that gets lost is one after which the device acts as if none
 * had come: every request may follow every answer, with every key. The words that new keys come
 * from are 0 to 7, so that they collide with those that are taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "server_oracle.h"

#define DEPTH 9
#define NODES_MAX (1u << 21)
#define SLOTS (1u << 23) /* of the set of states that were seen */
#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- a partnership in few bytes ---- */
struct small {
    uint8_t key, key_day, key_revision, key_document;
    struct { uint8_t key, day, revision, document; } offers[PV_OFFER_MAX];
    uint8_t acked_offer, acked_status, outcome, provisioned_once, asked, personal, access;
    uint8_t wipe, wipe_state, shut, wipe_id, wipe_until;
    uint8_t said, outcome_revision, wipe_at, wipe_sent_at, wipe_ended_at; /* no rule reads these */
};

static uint8_t day_of(int64_t at)
{
    return at ? (uint8_t)((at - ORACLE_NOON) / ORACLE_DAY + 1) : 0;
}

static int64_t at_of(uint8_t day)
{
    return day ? ORACLE_NOON + (int64_t)(day - 1) * ORACLE_DAY : 0;
}

static struct small pack(const struct pv_partnership *p)
{
    struct small s = {
        (uint8_t)p->key, day_of(p->key_at), (uint8_t)p->key_revision, p->key_hash[0], {{0}},
        (uint8_t)p->acked_offer, p->acked_status, p->outcome, p->provisioned_once, p->asked,
        p->personal, p->access, p->wipe, p->wipe_state, p->shut, (uint8_t)p->wipe_id,
        day_of(p->wipe_expires_at), p->said, (uint8_t)p->outcome_revision, day_of(p->wipe_at),
        day_of(p->wipe_sent_at), day_of(p->wipe_ended_at)};

    for (size_t i = 0; i < PV_OFFER_MAX; i++) {
        s.offers[i].key = (uint8_t)p->offers[i].key;
        s.offers[i].day = day_of(p->offers[i].at);
        s.offers[i].revision = (uint8_t)p->offers[i].revision;
        s.offers[i].document = p->offers[i].hash[0];
    }
    return s;
}

static void unpack(const struct small *s, struct pv_partnership *p)
{
    memset(p, 0, sizeof *p);
    p->key = s->key;
    p->key_at = at_of(s->key_day);
    p->key_revision = s->key_revision;
    p->key_hash[0] = s->key_document;
    for (size_t i = 0; i < PV_OFFER_MAX; i++) {
        p->offers[i].key = s->offers[i].key;
        p->offers[i].at = at_of(s->offers[i].day);
        p->offers[i].revision = s->offers[i].revision;
        p->offers[i].hash[0] = s->offers[i].document;
    }
    p->acked_offer = s->acked_offer;
    p->acked_status = s->acked_status;
    p->outcome = s->outcome;
    p->said = s->said;
    p->outcome_revision = s->outcome_revision;
    p->provisioned_once = s->provisioned_once;
    p->asked = s->asked;
    p->personal = s->personal;
    p->access = s->access;
    p->wipe = s->wipe;
    p->wipe_state = s->wipe_state;
    p->shut = s->shut;
    p->wipe_id = s->wipe_id;
    p->wipe_at = at_of(s->wipe_at);
    p->wipe_sent_at = at_of(s->wipe_sent_at);
    p->wipe_ended_at = at_of(s->wipe_ended_at);
    p->wipe_expires_at = at_of(s->wipe_until);
}

/* ---- states ---- */
struct state {
    struct small memory, disk;
    struct oracle known;
    struct soft written; /* of it, when the disk was written */
    struct world world;
};
_Static_assert(_Alignof(struct state) == 1, "no padding: states are compared as bytes");

/* How a state was reached first, to tell it when a rule is broken. */
static struct { uint32_t parent; uint16_t event; } origins[NODES_MAX];
static struct state *frontier, *next;
static uint32_t *frontier_ids, *next_ids;
static uint32_t nodes, frontier_count, next_count;
static uint64_t *seen;
static uint64_t transitions;
/* How often each cell of both tables was entered. */
static uint64_t requests_in[PV_STATE_COUNT][PV_EVENT_COUNT];
static uint64_t orders_in[PV_STATE_COUNT][PV_ORDER_COUNT];

static uint64_t hash_of(const struct state *state)
{
    struct state s = *state;
    uint64_t words[(sizeof s + 7) / 8] = {0}, h = 0x9E3779B97F4A7C15;
    struct small *halves[] = {&s.memory, &s.disk};

    for (size_t i = 0; i < COUNT(halves); i++) {
        struct small *p = halves[i];
        p->said = p->outcome_revision = p->wipe_at = p->wipe_sent_at = p->wipe_ended_at = 0;
        /* of the outcomes only that one is read */
        p->outcome = p->outcome == PV_OUTCOME_REFUSED ? PV_OUTCOME_REFUSED : PV_OUTCOME_NONE;
    }
    memcpy(words, &s, sizeof s);
    for (size_t i = 0; i < COUNT(words); i++) {
        h = (h ^ words[i]) * 0xD6E8FEB86659FD93;
        h ^= h >> 32;
    }
    return h ? h : 1;
}

/* Two states of one 64-bit hash count as one: at a million states that is a chance of 1 in 30
 * million. */
static bool is_new(const struct state *s)
{
    uint64_t h = hash_of(s);
    size_t at = h & (SLOTS - 1);

    for (; seen[at]; at = (at + 1) & (SLOTS - 1))
        if (seen[at] == h) return false;
    seen[at] = h;
    return true;
}

static void reach(const struct state *s, uint32_t parent, size_t event)
{
    if (!is_new(s)) return;
    assert_true(nodes < NODES_MAX);
    origins[nodes].parent = parent;
    origins[nodes].event = (uint16_t)event;
    next[next_count] = *s;
    next_ids[next_count++] = nodes++;
}

/* ---- events ---- */
enum what { REQUEST, ORDER, LATER, EARLIER, DOCUMENT, LENIENT, VERSION, WRITE, CRASH };
static const char *const what_names[] = {"request", "order", "a day later", "a day earlier",
                                         "document", "lenient", "version", "write", "crash"};
struct event {
    enum what what;
    struct request request;
    enum pv_order_kind order;
    bool expires;
};
static struct event events[256];
static size_t event_count;

static const char *const event_names[] = {
#define EVENT_NAME(id, text) text,
    PV_EVENTS(EVENT_NAME)
#undef EVENT_NAME
};

static void print_event(const struct event *e)
{
    const struct request *r = &e->request;

    if (e->what == REQUEST)
        print_error("  %s, key %s %u, status %u, wipe %u\n", event_names[r->event],
                    r->key_kind == PV_KEY_NUMBER ? "number" : r->key_kind == PV_KEY_ZERO ? "zero"
                                                                                         : "none",
                    r->key, r->status, r->wipe);
    else if (e->what == ORDER)
        print_error("  order %s%s\n", pv_order_text(e->order), e->expires ? " that expires" : "");
    else
        print_error("  %s\n", what_names[e->what]);
}

static uint32_t from; /* the state whose successors are made */
static size_t by;     /* the event that makes them */

static void print_path(uint32_t id)
{
    uint16_t path[DEPTH + 1];
    size_t n = 0;

    for (; id && n < COUNT(path); id = origins[id].parent) path[n++] = origins[id].event;
    while (n) print_event(&events[path[--n]]);
}

#define MUST(condition)                                                   \
    do {                                                                  \
        if (condition) break;                                             \
        print_error("after these events, does not hold: %s\n", #condition); \
        print_path(from);                                                 \
        print_event(&events[by]);                                         \
        fail();                                                           \
    } while (0)

static void add_request(struct request r)
{
    events[event_count++] = (struct event){.what = REQUEST, .request = r};
}

static void make_events(void)
{
    event_count = 0;
    for (uint8_t kind = PV_KEY_ABSENT; kind <= PV_KEY_BAD; kind++) {
        uint8_t last = kind == PV_KEY_NUMBER ? ORACLE_KEYS : 1;
        for (uint8_t key = 1; key <= last; key++) {
            add_request((struct request){.event = PV_EV_COMMAND, .key_kind = kind, .key = key});
            for (uint8_t status = 1; status <= 4; status++)
                if (kind == PV_KEY_NUMBER || status == 1)
                    add_request((struct request){.event = PV_EV_ACK, .key_kind = kind, .key = key,
                                                 .status = status});
        }
    }
    add_request((struct request){.event = PV_EV_PING});
    add_request((struct request){.event = PV_EV_POLL});
    add_request((struct request){.event = PV_EV_ASK});
    add_request((struct request){.event = PV_EV_BAD});
    for (uint8_t i = 0; i < 4; i++)
        add_request((struct request){.event = PV_EV_WIPE_ACK, .status = 1 + i % 2,
                                     .wipe = PV_WIPE_ACCOUNT + i / 2});
    for (unsigned k = 0; k < PV_ORDER_COUNT; k++)
        events[event_count++] = (struct event){.what = ORDER, .order = (enum pv_order_kind)k};
    for (unsigned k = PV_ORDER_WIPE_ACCOUNT; k <= PV_ORDER_WIPE_DEVICE; k++)
        events[event_count++] =
            (struct event){.what = ORDER, .order = (enum pv_order_kind)k, .expires = true};
    for (enum what w = LATER; w <= CRASH; w++) events[event_count++] = (struct event){.what = w};
}

/* ---- a step ---- */
static int64_t now_of(const struct world *w)
{
    return ORACLE_NOON + (int64_t)w->day * ORACLE_DAY;
}

static struct pv_policy_facts facts_of(const struct world *w)
{
    return (struct pv_policy_facts){
        .revision = 1u + w->document, .hash = {(uint8_t)(1 + w->document)},
        .allow_non_provisionable = w->lenient, .allow_external = w->lenient,
        .non_provisionable_until = ORACLE_NOON + ORACLE_DATE * ORACLE_DAY,
        .refresh_interval = ORACLE_REFRESH * ORACLE_DAY,
        .uncarried = w->document == 1 && !w->new};
}

/* Rules that can be said of one step without a second machine. */
static void obey(const struct state *s, const struct pv_server_in *in,
                 const struct pv_partnership *before, const struct pv_partnership *after,
                 const struct pv_server_out *out)
{
    const struct hard *h = &s->known.hard;
    bool open = out->action == PV_ACT_ALLOW || out->action == PV_ACT_INBOX_ONLY;
    bool by_key = in->event == PV_EV_COMMAND && in->key.kind == PV_KEY_NUMBER;
    bool pending = oracle_state(&s->known, &s->world) == PV_STATE_WIPE_PENDING;

    /* The gate: nothing but the key of the last confirmation, and what bars it bars every key. */
    if (open) MUST(!pending && !h->shut && h->word != PV_PERSONAL_BLOCK);
    if (open && by_key) MUST(in->key.value == h->key && h->key_document == s->world.document);
    if (open && !by_key && in->event == PV_EV_COMMAND)
        MUST(in->key.kind == PV_KEY_ABSENT && in->policy.allow_non_provisionable && !h->held
             && in->now < in->policy.non_provisionable_until);
    for (size_t i = 0; i < PV_OFFER_MAX; i++)
        if (s->known.soft.offers[i].key && in->key.value == s->known.soft.offers[i].key)
            MUST(!open || !by_key);
    /* Keys are told by offers and confirmations only, and never while a wipe is pending. */
    MUST((out->key != 0) == (out->action == PV_ACT_OFFER || out->action == PV_ACT_CONFIRM));
    if (out->key) MUST(!pending && out->wipe == PV_WIPE_NONE && !h->shut);
    if (out->action == PV_ACT_DIRECTIVE)
        MUST(pending && out->wipe == (enum pv_wipe_kind)h->wipe
             && (out->wipe != PV_WIPE_ACCOUNT || s->world.new));
    /* Only a wipe acknowledgement or time ends a wipe; only the device's telling makes it count. */
    if (pending && in->event == PV_EV_ACK)
        MUST(after->wipe_state == before->wipe_state
             || (before->wipe_state == PV_WIPE_STATE_REQUESTED
                 && out->action == PV_ACT_DIRECTIVE));
    if (after->wipe_state == PV_WIPE_STATE_ACKNOWLEDGED && before->wipe_state != after->wipe_state)
        MUST(in->event == PV_EV_WIPE_ACK && in->status == 1
             && (uint8_t)in->wipe == before->wipe
             && before->wipe_state != PV_WIPE_STATE_REQUESTED);
    if (before->shut) MUST(after->shut);
    if (before->shut == PV_SHUT_WIPED && in->event == PV_EV_WIPE_ACK && !pending)
        MUST(out->action == PV_ACT_PLAIN
             && (after->wipe_state == PV_WIPE_STATE_EXPIRED
                 || !memcmp(before, after, sizeof *before)));
}

static void keep(struct state *s, const struct pv_partnership *p, const struct pv_server_out *out,
                 const struct oracle *known)
{
    s->memory = pack(p);
    s->known = *known;
    if (out->store != PV_STORE_FIRST) return;
    s->disk = s->memory;
    s->written = known->soft;
}

static void request(struct state *s, const struct request *r)
{
    struct pv_server_in in = {
        .event = (enum pv_event)r->event, .version = s->world.new ? PV_V16_1 : PV_V14_1,
        .now = now_of(&s->world),
        .key = {(enum pv_key_kind)r->key_kind, r->key_kind == PV_KEY_NUMBER ? r->key : 0},
        .status = r->status, .wipe = (enum pv_wipe_kind)r->wipe, .type_fits = true,
        .random = {0, 1, 2, 3, 4, 5, 6, 7}, .policy = facts_of(&s->world)};
    struct oracle known = s->known;
    struct pv_partnership p, before;
    struct pv_server_out out;

    unpack(&s->memory, &before);
    p = before;
    MUST(pv_server_step(&p, &in, &out) == PV_OK);
    requests_in[out.before][in.event]++;
    obey(s, &in, &before, &p, &out);
    struct verdict v = oracle_request(&known, &s->world, r, out.key);
    MUST(out.action == v.action);
    MUST(out.status == v.status);
    if (v.new_key) MUST(!oracle_taken(&s->known, out.key));
    else MUST(out.key == v.key);
    keep(s, &p, &out, &known);
}

static void order(struct state *s, const struct event *e)
{
    struct pv_partnership p;
    struct pv_server_out out;
    struct oracle known = s->known;

    unpack(&s->memory, &p);
    const struct pv_order o = {
        .kind = e->order, .now = now_of(&s->world), .wipe_id = p.wipe_id % 2 + 1,
        .wipe_expires_at =
            e->expires ? now_of(&s->world) + ORACLE_WIPE_LIFE * ORACLE_DAY : 0,
        .policy = facts_of(&s->world)};
    MUST(pv_server_order(&p, &o, &out) == PV_OK);
    orders_in[out.before][o.kind]++;
    MUST(out.action == oracle_order(&known, &s->world, e->order, e->expires));
    keep(s, &p, &out, &known);
}

/* false: the event is none here. */
static bool happen(struct state *s, const struct event *e)
{
    switch (e->what) {
    case REQUEST: request(s, &e->request); break;
    case ORDER: order(s, e); break;
    case LATER:
        if (s->world.day + 1 == ORACLE_DAYS) return false;
        s->world.day++;
        break;
    case EARLIER:
        if (s->world.day == 0) return false;
        s->world.day--;
        break;
    case DOCUMENT: s->world.document ^= 1; break;
    case LENIENT: s->world.lenient ^= 1; break;
    case VERSION: s->world.new ^= 1; break;
    case WRITE:
        s->disk = s->memory;
        s->written = s->known.soft;
        break;
    case CRASH:
        s->memory = s->disk;
        s->known.soft = s->written;
        break;
    }
    return true;
}

/* Whatever happened, and after a crash too: the device stands where the observer knows it to. */
static void stand(const struct state *s)
{
    const struct hard *h = &s->known.hard;
    const struct pv_policy_facts facts = facts_of(&s->world);
    struct pv_partnership p;

    unpack(&s->memory, &p);
    MUST(pv_server_state(&p, &facts, now_of(&s->world)) == oracle_state(&s->known, &s->world));
    MUST(p.key == h->key && p.provisioned_once == h->held);
    MUST(p.wipe == h->wipe && p.wipe_state == h->wipe_state && p.shut == h->shut);
    for (size_t i = 1; i < PV_OFFER_MAX; i++) MUST(!p.offers[i].key || p.offers[i - 1].key);
    MUST(p.personal == h->word && day_of(p.wipe_expires_at) == h->wipe_until);
}

/* Every event in the state. A key that no one has been told stands for all such keys. */
static void expand(const struct state *s, uint32_t id, bool last)
{
    uint8_t stranger = 1;

    for (uint8_t key = 1; key <= ORACLE_KEYS; key++)
        if (oracle_taken(&s->known, key)) stranger = (uint8_t)(key + 1);
    from = id;
    for (by = 0; by < event_count; by++) {
        const struct event *e = &events[by];
        struct state after = *s;
        if (e->what == REQUEST && e->request.key_kind == PV_KEY_NUMBER && e->request.key > stranger)
            continue;
        if (!happen(&after, e)) continue;
        transitions++;
        if (!memcmp(&after, s, sizeof after)) continue;
        stand(&after);
        if (!last) reach(&after, id, by);
    }
}

static void *room(size_t count, size_t size)
{
    void *p = calloc(count, size);

    assert_non_null(p);
    return p;
}

static void every_sequence_of_events(void **unused)
{
    struct state start = {0};
    clock_t began = clock();

    (void)unused;
    make_events();
    frontier = room(NODES_MAX, sizeof *frontier);
    next = room(NODES_MAX, sizeof *next);
    frontier_ids = room(NODES_MAX, sizeof *frontier_ids);
    next_ids = room(NODES_MAX, sizeof *next_ids);
    seen = room(SLOTS, sizeof *seen);
    reach(&start, 0, 0);
    for (unsigned depth = 1; depth <= DEPTH; depth++) {
        struct state *states = next;
        uint32_t *ids = next_ids;

        next = frontier, next_ids = frontier_ids;
        frontier = states, frontier_ids = ids;
        frontier_count = next_count;
        next_count = 0;
        for (uint32_t i = 0; i < frontier_count; i++)
            expand(&frontier[i], frontier_ids[i], depth == DEPTH);
        print_message("# depth %u: %u states, %llu transitions, %.1f s\n", depth, nodes,
                      (unsigned long long)transitions,
                      (double)(clock() - began) / CLOCKS_PER_SEC);
    }
    for (unsigned st = 0; st < PV_STATE_COUNT; st++) {
        for (unsigned e = 0; e < PV_EVENT_COUNT; e++) assert_true(requests_in[st][e] > 100);
        for (unsigned k = 0; k < PV_ORDER_COUNT; k++) assert_true(orders_in[st][k] > 100);
    }
    free(frontier);
    free(next);
    free(frontier_ids);
    free(next_ids);
    free(seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sequence_of_events),
    };

    return cmocka_run_group_tests_name("server_explore", tests, NULL, NULL);
}
