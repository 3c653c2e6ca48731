/* Devices at two servers over one store: what one of them has not heard yet, and what both do at a
 * time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/gate/order.h"
#include "tests/unit/fake_store.h"
#include "tests/unit/gate_fake.h"

#define NODES 2
static struct fake_db *db;
static struct fake_node *node[NODES];
static struct gate *gates[NODES];

/* Requests go there from now on. */
static void at(unsigned i)
{
    gate = gates[i];
}

static int begin(void **unused)
{
    (void)unused;
    world = (struct world){.now = 1700000000};
    memset(&config, 0, sizeof config);
    served = 0;
    db = fake_db_create();
    for (unsigned i = 0; i < NODES; i++) {
        node[i] = fake_node_open(db);
        node[i]->at_once = true; /* the first start waits for the disk */
        world.shared = &node[i]->base;
        start_gate();
        gates[i] = gate;
        node[i]->at_once = false;
    }
    run_tasks();
    return 0;
}

static int end(void **unused)
{
    (void)unused;
    for (unsigned i = 0; i < NODES; i++) {
        node[i]->unreachable = node[i]->loses = node[i]->holds = false;
        while (fake_release(node[i])) run_tasks();
        run_tasks();
        gate_destroy(gates[i]);
        run_tasks();
        fake_node_close(node[i]);
    }
    fake_db_destroy(db);
    return 0;
}

/* ---- short ways ---- */
static unsigned sync_at(unsigned i, const char *key)
{
    at(i);
    return folder_sync("ann", "14.1", key);
}

static void ordered(struct device_order *o)
{
    (void)o;
}

static enum order_result order(unsigned i, enum pv_order_kind kind)
{
    struct device_order o = {.user = "ann",
                             .device_id = "DEV1",
                             .kind = kind,
                             .add = kind == PV_ORDER_BLOCK,
                             .actor = "uid 0",
                             .done = ordered,
                             .result = ORDER_FULL};
    gate_order(gates[i], &o);
    run_tasks();
    assert_int_not_equal(o.result, ORDER_FULL);
    return o.result;
}

static const struct device_record *stored(void)
{
    return fake_db_device(db, "ann", "DEV1");
}

/* The key of the policy that was offered. */
static void ask_at(unsigned i, char key[65])
{
    struct http_exchange x = {.user = "ann"};
    at(i);
    provision(&x, NULL, 0, NULL);
    run_tasks();
    snprintf(key, 65, "%s", told_by(&x).key);
}

/* Refused for its key, or for having none. */
static bool wrong_keys(unsigned status)
{
    return status >= 141 && status <= 144;
}

/* ---- hearing ---- */
static void each_phase_at_another_server(void **unused)
{
    (void)unused;
    for (unsigned n = 0; n < 6; n++) {
        char offered[65], key[65];
        struct http_exchange ack = {.user = "ann"};
        node[0]->deaf = node[1]->deaf = n & 1; /* heard or not */
        ask_at(n % 2, offered);
        at((n + 1) % 2);
        provision(&ack, offered, 1, NULL);
        run_tasks();
        assert_int_equal(told_by(&ack).policy_status, 1);
        snprintf(key, sizeof key, "%s", told_by(&ack).key);
        assert_int_equal(stored()->partnership.key, strtoul(key, NULL, 10));
        for (unsigned i = 0; i < NODES; i++) assert_int_equal(sync_at(i, key), 1);
    }
}

/* Not before another server can know it. */
static void an_offer_is_stored_before_it_is_told(void **unused)
{
    struct http_exchange ask = {.user = "ann"};
    (void)unused;
    node[0]->holds = true;
    at(0);
    provision(&ask, NULL, 0, NULL);
    run_tasks();
    assert_false(ask.done);
    assert_true(fake_release(node[0]));
    run_tasks();
    assert_true(told_by(&ask).has_data);
    assert_int_equal(stored()->partnership.offers[0].key, strtoul(told_by(&ask).key, NULL, 10));
    node[0]->holds = false;
}

/* Letting in comes from memory: nothing is read. */
static void letting_in_asks_nobody(void **unused)
{
    char key[65];
    (void)unused;
    at(0);
    handshake("ann", "14.1", key);
    for (unsigned i = 0; i < NODES; i++) {
        assert_int_equal(sync_at(i, key), 1);
        unsigned reads = node[i]->reads;
        for (unsigned n = 0; n < 10; n++) assert_int_equal(sync_at(i, key), 1);
        assert_int_equal(node[i]->reads, reads);
    }
}

static void a_block_is_heard(void **unused)
{
    char key[65];
    (void)unused;
    at(0);
    handshake("ann", "14.1", key);
    assert_int_equal(sync_at(1, key), 1);
    assert_int_equal(order(0, PV_ORDER_BLOCK), ORDER_DONE);
    assert_int_equal(sync_at(1, key), 129);
    assert_int_equal(order(1, PV_ORDER_ALLOW), ORDER_DONE);
    assert_int_equal(sync_at(0, key), 1);
    /* Who is deaf has the lease: it lets in until that is over. */
    node[1]->deaf = true;
    assert_int_equal(order(0, PV_ORDER_BLOCK), ORDER_DONE);
    assert_int_equal(sync_at(1, key), 1);
    node[1]->unheard = true;
    assert_int_equal(sync_at(1, key), 503);
    node[1]->unheard = false;
    fake_hear(node[1]);
    assert_int_equal(sync_at(1, key), 129);
}

/* ---- refusing ---- */
static void a_refusal_is_asked_of_the_store(void **unused)
{
    char key[65], newer[65];
    (void)unused;
    at(0);
    handshake("ann", "14.1", key);
    assert_int_equal(sync_at(1, key), 1);
    node[1]->deaf = true;
    at(0);
    handshake("ann", "14.1", newer);
    /* A key that it does not know, of a device that it knows. */
    assert_int_equal(sync_at(1, newer), 1);
    assert_true(wrong_keys(sync_at(1, key)));
    /* Blocked, as far as it knows. */
    assert_int_equal(order(1, PV_ORDER_BLOCK), ORDER_DONE);
    assert_int_equal(order(0, PV_ORDER_ALLOW), ORDER_DONE);
    assert_int_equal(sync_at(1, newer), 1);
    /* A user whom it has never seen. */
    node[1]->deaf = true;
    at(0);
    handshake("bob", "14.1", key);
    at(1);
    assert_int_equal(folder_sync("bob", "14.1", key), 1);
}

static void a_device_that_another_server_has_just_met(void **unused)
{
    char key[65];
    struct http_exchange x = {.user = "ann",
                              .target = QUERY "FolderSync&User=u&DeviceId=DEV2&DeviceType=Phone"};
    (void)unused;
    x.key = "17";
    at(1);
    send_body(&x, "FolderSync", foldersync, sizeof foldersync); /* ann is in memory */
    run_tasks();
    assert_true(wrong_keys(outcome(&x)));
    node[1]->deaf = true;
    at(0);
    handshake("ann", "14.1", key);
    assert_int_equal(sync_at(1, key), 1);
}

/* For a second nobody asks again; no key, and 0, are never asked about. */
static void a_negative_answer_is_remembered(void **unused)
{
    char key[65];
    (void)unused;
    at(1);
    handshake("ann", "14.1", key);
    unsigned reads = node[1]->reads;
    for (unsigned n = 0; n < 5; n++) assert_true(wrong_keys(sync_at(1, NULL)));
    for (unsigned n = 0; n < 5; n++) assert_true(wrong_keys(sync_at(1, "0")));
    assert_int_equal(node[1]->reads, reads);
    assert_true(wrong_keys(sync_at(1, "4711")));
    unsigned asked = node[1]->reads;
    assert_true(asked > reads);
    for (unsigned n = 0; n < 5; n++) assert_true(wrong_keys(sync_at(1, "4711")));
    assert_int_equal(node[1]->reads, asked);
    assert_true(wrong_keys(sync_at(1, "4712")));
    assert_true(node[1]->reads > asked);
    assert_int_equal(sync_at(1, key), 1);
}

/* What cannot be asked is neither let in nor refused. */
static void a_refusal_that_cannot_be_asked_about(void **unused)
{
    char key[65];
    (void)unused;
    at(1);
    handshake("ann", "14.1", key);
    node[1]->unreachable = true;
    assert_int_equal(sync_at(1, "4711"), 503);
    assert_true(wrong_keys(sync_at(1, NULL)));
    assert_int_equal(sync_at(1, key), 1); /* within the lease */
    node[1]->unreachable = false;
    assert_true(wrong_keys(sync_at(1, "4711")));
}

static unsigned refusals(void)
{
    struct gate_counts n;
    gate_count(gate, &n);
    return (unsigned)n.refusals;
}

/* Judged twice, it is counted once; a refusal that was none is not counted. */
static void nothing_counts_twice(void **unused)
{
    char key[65], newer[65];
    (void)unused;
    at(0);
    handshake("ann", "14.1", key);
    assert_int_equal(sync_at(1, key), 1);
    node[1]->deaf = true;
    at(0);
    handshake("ann", "14.1", newer);
    at(1);
    unsigned before = refusals(), was = served;
    assert_int_equal(sync_at(1, newer), 1);
    assert_int_equal(refusals(), before);
    assert_int_equal(served, was + 1);
    assert_true(wrong_keys(sync_at(1, "4711")));
    assert_int_equal(refusals(), before + 1);
}

static void a_ping_is_asked_about(void **unused)
{
    char key[65];
    struct http_exchange x[2] = {{.user = "ann"}, {.user = "ann"}};
    (void)unused;
    at(1);
    send_body(&x[0], "Ping", ping, sizeof ping); /* has no partnership */
    run_tasks();
    assert_int_equal(outcome(&x[0]), 142);
    node[1]->deaf = true;
    at(0);
    handshake("ann", "14.1", key);
    at(1);
    /* The second for which the answer counts is that of the monotonic clock. */
    struct timespec second = {1, 10000000};
    nanosleep(&second, NULL);
    send_body(&x[1], "Ping", ping, sizeof ping);
    run_tasks();
    assert_false(x[1].done);
    call_status(ping_call, 1);
}

/* ---- at a time ---- */
/* Both acknowledge an offer of their own: one key is told, and it opens the gate everywhere. */
static void two_handshakes_at_a_time(void **unused)
{
    (void)unused;
    for (unsigned n = 0; n < 8; n++) {
        char offered[NODES][65];
        struct http_exchange ack[NODES] = {{.user = "ann"}, {.user = "ann"}};
        unsigned first = n & 1, told = 0;
        node[0]->deaf = node[1]->deaf = n & 2;
        for (unsigned i = 0; i < NODES; i++) ask_at(i, offered[i]);
        for (unsigned i = 0; i < NODES; i++) {
            node[i]->holds = true;
            at(i);
            provision(&ack[i], offered[i], 1, NULL);
            run_tasks();
            assert_false(ack[i].done);
        }
        for (unsigned i = 0; i < NODES; i++) {
            unsigned now = (first + i) % NODES;
            while (fake_release(node[now])) run_tasks();
            node[now]->holds = false;
            run_tasks();
        }
        unsigned keys[NODES], opens = 0;
        for (unsigned i = 0; i < NODES; i++) {
            assert_true(ack[i].done);
            struct told t = told_by(&ack[i]);
            if (t.policy_status == 1) told++;
            keys[i] = t.policy_status == 1 ? (unsigned)strtoul(t.key, NULL, 10) : 0;
            fake_hear(node[i]);
        }
        run_tasks();
        assert_true(told >= 1);
        for (unsigned i = 0; i < NODES; i++) {
            char key[16];
            snprintf(key, sizeof key, "%u", keys[i]);
            if (!keys[i]) continue;
            unsigned a = sync_at(0, key), b = sync_at(1, key);
            assert_true(a == 1 ? b == 1 : wrong_keys(a) && wrong_keys(b));
            opens += a == 1;
        }
        assert_int_equal(opens, 1);
        /* The loser finds its way. */
        char key[65];
        at(1 - first);
        handshake("ann", "14.1", key);
        for (unsigned i = 0; i < NODES; i++) assert_int_equal(sync_at(i, key), 1);
        struct timespec second = {0, 1000000};
        nanosleep(&second, NULL);
    }
    assert_true(node[0]->conflicts + node[1]->conflicts > 0);
}

/* A key that was told by a step that had to be repeated is the one that was stored. */
static void a_repeated_step_tells_the_second_key(void **unused)
{
    char offered[65];
    struct http_exchange ack = {.user = "ann"};
    (void)unused;
    ask_at(0, offered);
    node[0]->holds = node[0]->deaf = true;
    at(0);
    provision(&ack, offered, 1, NULL);
    run_tasks();
    /* Another server writes something that leaves the offer: only the tag differs. */
    char other[65];
    ask_at(1, other);
    unsigned conflicts = node[0]->conflicts;
    while (fake_release(node[0])) run_tasks();
    assert_true(ack.done);
    assert_int_equal(node[0]->conflicts, conflicts + 1);
    assert_int_equal(told_by(&ack).policy_status, 1);
    assert_int_equal(stored()->partnership.key, strtoul(told_by(&ack).key, NULL, 10));
    node[0]->holds = false;
    for (unsigned i = 0; i < NODES; i++) assert_int_equal(sync_at(i, told_by(&ack).key), 1);
}

/* Another server is faster each time: at last the device is told to come again. */
static void always_overtaken(void **unused)
{
    char offered[65], other[65];
    struct http_exchange ack = {.user = "ann"};
    (void)unused;
    ask_at(0, offered);
    node[0]->holds = true;
    at(0);
    provision(&ack, offered, 1, NULL);
    run_tasks();
    unsigned tries = 0;
    while (!ack.done && tries < 20) {
        ask_at(1, other);
        assert_true(fake_release(node[0]));
        run_tasks();
        tries++;
    }
    assert_int_equal(ack.reply.status, 503);
    assert_true(ack.reply.retry_after > 0);
    assert_int_equal(tries, TRIES_MAX);
    node[0]->holds = false;
    char key[65];
    at(0);
    handshake("ann", "14.1", key);
    assert_int_equal(sync_at(1, key), 1);
}

static void a_step_whose_end_nobody_knows(void **unused)
{
    char offered[65], key[65];
    struct http_exchange ack = {.user = "ann"}, again = {.user = "ann"};
    (void)unused;
    ask_at(0, offered);
    node[0]->loses = true;
    at(0);
    provision(&ack, offered, 1, NULL);
    run_tasks();
    node[0]->loses = false;
    assert_int_equal(ack.reply.status, 503);
    /* It was stored: the device acknowledges once more, and gets that key or another one. */
    assert_int_not_equal(stored()->partnership.key, 0);
    provision(&again, offered, 1, NULL);
    run_tasks();
    snprintf(key, sizeof key, "%s", told_by(&again).key);
    assert_int_equal(told_by(&again).policy_status, 1);
    for (unsigned i = 0; i < NODES; i++) assert_int_equal(sync_at(i, key), 1);
}

/* ---- orders ---- */
static void an_order_begins_with_what_the_store_has(void **unused)
{
    char key[65];
    (void)unused;
    node[0]->deaf = node[1]->deaf = true;
    at(0);
    handshake("ann", "14.1", key);
    assert_int_equal(order(1, PV_ORDER_WIPE_ACCOUNT), ORDER_DONE);
    assert_int_equal(order(0, PV_ORDER_WIPE_ACCOUNT), ORDER_UNCHANGED);
    assert_int_equal(order(0, PV_ORDER_BLOCK), ORDER_DONE);
    assert_int_equal(order(1, PV_ORDER_BLOCK), ORDER_UNCHANGED);
    assert_int_equal(node[0]->conflicts + node[1]->conflicts, 0);
    assert_int_equal(fake_db_count(db, STORE_PUT_DEVICE), 1);
}

/* A block and a handshake at a time: the block is never lost. */
static void a_block_and_a_handshake_at_a_time(void **unused)
{
    (void)unused;
    for (unsigned n = 0; n < 2; n++) {
        char offered[65];
        struct http_exchange ack = {.user = "ann"};
        struct device_order o = {.user = "ann", .device_id = "DEV1", .kind = PV_ORDER_BLOCK,
                                 .actor = "uid 0", .done = ordered, .result = ORDER_FULL};
        assert_int_equal(order(0, PV_ORDER_CLEAR), n ? ORDER_DONE : ORDER_UNKNOWN);
        ask_at(0, offered);
        node[0]->holds = node[1]->holds = true;
        at(0);
        provision(&ack, offered, 1, NULL);
        gate_order(gates[1], &o);
        run_tasks();
        for (unsigned i = 0; i < NODES; i++) {
            struct fake_node *now = node[(i + n) % NODES];
            while (fake_release(now)) run_tasks();
            now->holds = false;
            run_tasks();
        }
        assert_int_equal(o.result, ORDER_DONE);
        assert_true(ack.done);
        assert_int_equal(stored()->partnership.personal, PV_PERSONAL_BLOCK);
        const char *key = ack.reply.status == 200 ? told_by(&ack).key : "4711";
        for (unsigned i = 0; i < NODES; i++) assert_int_equal(sync_at(i, key), 129);
    }
}

static void two_orders_at_a_time(void **unused)
{
    char key[65];
    struct device_order o[NODES];
    static const enum pv_order_kind kinds[] = {PV_ORDER_BLOCK, PV_ORDER_WIPE_DEVICE};
    (void)unused;
    at(0);
    handshake("ann", "14.1", key);
    unsigned lines = fake_db_count(db, STORE_ADD_AUDIT);
    for (unsigned i = 0; i < NODES; i++) {
        node[i]->holds = true;
        o[i] = (struct device_order){.user = "ann", .device_id = "DEV1", .kind = kinds[i],
                                     .actor = "uid 0", .reason = "lost", .done = ordered};
        gate_order(gates[i], &o[i]);
        run_tasks();
    }
    for (unsigned i = 0; i < NODES; i++) {
        while (fake_release(node[i])) run_tasks();
        node[i]->holds = false;
        assert_int_equal(o[i].result, ORDER_DONE);
    }
    assert_int_equal(stored()->partnership.personal, PV_PERSONAL_BLOCK);
    assert_int_equal(stored()->partnership.wipe_state, PV_WIPE_STATE_REQUESTED);
    assert_string_equal(stored()->wipe_reason, "lost");
    /* Of the one that was repeated there is one line. */
    assert_int_equal(fake_db_count(db, STORE_ADD_AUDIT), lines + 2);
    assert_int_equal(node[1]->conflicts, 1);
}

/* ---- users ---- */
static void set_to(enum user_act act, struct user_set *u)
{
    *u = (struct user_set){.act = act, .actor = "uid 0", .done = NULL};
    snprintf(u->user, sizeof u->user, "ann");
}

static void user_done(struct user_set *u)
{
    (void)u;
}

static void two_words_about_a_user_at_a_time(void **unused)
{
    static const enum user_act acts[] = {USER_DISABLE, USER_FORBID_WIPE};
    struct user_set u[NODES];
    (void)unused;
    for (unsigned i = 0; i < NODES; i++) {
        set_to(acts[i], &u[i]);
        u[i].done = user_done;
        u[i].result = GATE_STORE;
        node[i]->holds = true;
        gate_set_user(gates[i], &u[i]);
        run_tasks();
    }
    for (unsigned i = 0; i < NODES; i++) {
        while (fake_release(node[i])) run_tasks();
        node[i]->holds = false;
        assert_int_equal(u[i].result, GATE_OK);
    }
    for (unsigned i = 0; i < NODES; i++) {
        struct user_flags flags;
        assert_true(gate_user_flags(gates[i], "ann", &flags));
        assert_false(flags.enabled);
        assert_false(flags.device_wipe);
        assert_int_equal(sync_at(i, NULL), 126);
    }
    assert_int_equal(node[1]->conflicts, 1);
}

static void a_user_who_is_let_in_again_elsewhere(void **unused)
{
    char key[65];
    (void)unused;
    at(0);
    handshake("ann", "14.1", key);
    for (unsigned n = 0; n < 2; n++) {
        struct user_set u;
        node[1]->deaf = n == 1;
        set_to(n ? USER_ENABLE : USER_DISABLE, &u);
        u.done = user_done;
        gate_set_user(gates[0], &u);
        run_tasks();
        assert_int_equal(u.result, GATE_OK);
        assert_int_equal(sync_at(1, key), n ? 1 : 126);
        assert_int_equal(sync_at(0, key), n ? 1 : 126);
    }
}

/* ---- the lease ---- */
static void who_hears_nothing_lets_nobody_in(void **unused)
{
    char key[65];
    struct http_exchange options = {.user = "ann", .method = "OPTIONS",
                                    .target = "/Microsoft-Server-ActiveSync"};
    struct http_exchange ask = {.user = "ann"}, p = {.user = "ann"};
    (void)unused;
    at(0);
    handshake("ann", "14.1", key);
    unsigned lines = world.logged;
    node[0]->unheard = true;
    for (unsigned n = 0; n < 3; n++) assert_int_equal(sync_at(0, key), 503);
    assert_int_equal(sync_at(0, "4711"), 503);
    assert_int_equal(sync_at(0, NULL), 503);
    send_body(&p, "Ping", ping, sizeof ping);
    assert_int_equal(p.reply.status, 503);
    assert_true(p.reply.retry_after > 0);
    provision(&ask, NULL, 0, NULL);
    run_tasks();
    assert_int_equal(ask.reply.status, 503);
    send_body(&options, "", "", 0);
    assert_true(options.reply.status == 503 || options.reply.status == 200);
    node[0]->unheard = false;
    assert_int_equal(sync_at(0, key), 1);
    assert_int_equal(sync_at(0, key), 1);
    assert_true(world.logged >= lines + 2); /* once each */
}

static void wake(struct gate_waiter *w)
{
    (void)w;
}

/* A Ping that waits tells nothing that its device may not hear of any more. */
static void a_wait_that_ends_unheard(void **unused)
{
    char key[65];
    (void)unused;
    at(0);
    handshake("ann", "14.1", key);
    for (unsigned n = 0; n < 2; n++) {
        struct http_exchange x = {.user = "ann"};
        struct gate_waiter w = {.wake = wake};
        send_body(&x, "Ping", ping, sizeof ping);
        gate_wait_add(ping_call, &w);
        node[0]->unheard = n;
        gate_wait_remove(gate, &w);
        call_status(ping_call, 2);
        assert_int_equal(outcome(&x), n ? 503 : 2);
    }
}

/* The lists are told to be others, and cannot be read. */
static void unknown_lists_let_nobody_in(void **unused)
{
    char key[65];
    (void)unused;
    at(0);
    handshake("ann", "14.1", key);
    assert_int_equal(sync_at(0, key), 1);
    node[0]->unreachable = true;
    lists_stale(gates[0]);
    run_tasks();
    assert_int_equal(sync_at(0, key), 503);
    node[0]->unreachable = false;
    assert_int_equal(sync_at(0, key), 1);
}

/* ---- histories ---- */
#define STEPS 60
#define KEYS_MAX (2 * STEPS)

/* What one device has been told, and what was said of it. */
struct history {
    unsigned chance; /* of a generator of its own */
    char offers[STEPS][65], keys[KEYS_MAX][65];
    unsigned offer_count, key_count;
    bool blocked, unsure; /* by the last order; its end is not known */
};

static unsigned draw(struct history *h, unsigned below)
{
    h->chance = h->chance * 1103515245u + 12345u;
    return (h->chance >> 16) % below;
}

static void heal(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        node[i]->loses = node[i]->unreachable = node[i]->unheard = node[i]->holds = false;
        while (fake_release(node[i])) {}
        fake_hear(node[i]);
    }
    run_tasks();
}

/* What comes of a Provision, now or later. */
struct asked {
    struct http_exchange x;
    bool ack;
};

static void provision_somewhere(struct history *h, struct asked *a)
{
    a->x = (struct http_exchange){.user = "ann"};
    a->ack = h->offer_count && draw(h, 2);
    at(draw(h, NODES));
    provision(&a->x, a->ack ? h->offers[draw(h, h->offer_count)] : NULL, 1, NULL);
    run_tasks();
}

static void take_told(struct history *h, const struct asked *a)
{
    assert_true(a->x.done);
    if (a->x.reply.status != 200) return;
    struct told t = told_by(&a->x);
    if (t.policy_status != 1) return;
    if (a->ack)
        snprintf(h->keys[h->key_count++], 65, "%s", t.key);
    else
        snprintf(h->offers[h->offer_count++], 65, "%s", t.key);
}

static void order_somewhere(struct history *h, struct device_order *o)
{
    *o = (struct device_order){.user = "ann",
                               .device_id = "DEV1",
                               .kind = draw(h, 2) ? PV_ORDER_BLOCK : PV_ORDER_ALLOW,
                               .remove = draw(h, 6) == 0,
                               .actor = "uid 0",
                               .done = ordered,
                               .result = ORDER_FULL};
    gate_order(gates[draw(h, NODES)], o);
    run_tasks();
}

static void take_order(struct history *h, const struct device_order *o)
{
    bool known = o->result == ORDER_DONE || o->result == ORDER_UNCHANGED;
    assert_int_not_equal(o->result, ORDER_FULL);
    if (known) h->blocked = !o->remove && o->kind == PV_ORDER_BLOCK;
    if (known || o->result == ORDER_STORE) h->unsure = !known;
}

static void one_step(struct history *h)
{
    struct asked a, b;
    struct device_order o;
    unsigned i = draw(h, NODES), what = draw(h, 10);
    if (draw(h, 4) == 0) node[i]->deaf = true;
    if (draw(h, 4) == 0) fake_hear(node[draw(h, NODES)]);
    node[i]->loses = draw(h, 8) == 0;
    node[i]->unreachable = draw(h, 12) == 0;
    if (what < 4) {
        provision_somewhere(h, &a);
        take_told(h, &a);
    } else if (what < 6) {
        order_somewhere(h, &o);
        take_order(h, &o);
    } else if (what < 8 && h->key_count) {
        (void)sync_at(draw(h, NODES), h->keys[draw(h, h->key_count)]);
    } else { /* two at a time, and one is stored behind the other */
        for (unsigned k = 0; k < NODES; k++) node[k]->holds = true;
        provision_somewhere(h, &a);
        if (what == 8) order_somewhere(h, &o);
        provision_somewhere(h, &b);
        for (unsigned tries = 0; tries < 40; tries++) {
            (void)fake_release(node[draw(h, NODES)]);
            run_tasks();
        }
        for (unsigned k = 0; k < NODES; k++) {
            while (fake_release(node[k])) run_tasks();
            node[k]->holds = false;
            run_tasks();
        }
        take_told(h, &a);
        take_told(h, &b);
        if (what == 8) take_order(h, &o);
    }
    node[i]->loses = node[i]->unreachable = false;
}

static void check_history(struct history *h)
{
    const struct device_record *r = stored();
    char key[16];
    if (!r) return;
    if (!h->unsure) assert_int_equal(r->partnership.personal == PV_PERSONAL_BLOCK, h->blocked);
    bool blocked = r->partnership.personal == PV_PERSONAL_BLOCK;
    snprintf(key, sizeof key, "%u", r->partnership.key);
    for (unsigned n = 0; n < h->key_count; n++) {
        unsigned want = blocked ? 129 : strcmp(h->keys[n], key) == 0 ? 1 : 0;
        for (unsigned i = 0; i < NODES; i++) {
            unsigned got = sync_at(i, h->keys[n]);
            want ? assert_int_equal(got, want) : assert_true(wrong_keys(got));
        }
    }
}

/* Whatever happens: in the end both let in the key that is stored, if it is not blocked, and no other one;
 * and the last word of an administrator stands. */
static void random_histories(void **unused)
{
    unsigned told = 0, conflicts = 0;
    for (unsigned seed = 1; seed <= 150; seed++) {
        struct history *h = calloc(1, sizeof *h);
        h->chance = seed;
        print_message("# %u\n", seed);
        for (unsigned n = 0; n < STEPS; n++) {
            one_step(h);
            if (n % 15 != 14) continue;
            heal();
            check_history(h);
        }
        told += h->key_count;
        conflicts += node[0]->conflicts + node[1]->conflicts;
        free(h);
        end(unused);
        begin(unused);
    }
    print_message("# %u keys, %u conflicts\n", told, conflicts);
    assert_true(told > 500);
    assert_true(conflicts > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        TEST(each_phase_at_another_server),
        TEST(an_offer_is_stored_before_it_is_told),
        TEST(letting_in_asks_nobody),
        TEST(a_block_is_heard),
        TEST(a_refusal_is_asked_of_the_store),
        TEST(a_device_that_another_server_has_just_met),
        TEST(a_negative_answer_is_remembered),
        TEST(a_refusal_that_cannot_be_asked_about),
        TEST(nothing_counts_twice),
        TEST(a_ping_is_asked_about),
        TEST(two_handshakes_at_a_time),
        TEST(a_repeated_step_tells_the_second_key),
        TEST(always_overtaken),
        TEST(a_step_whose_end_nobody_knows),
        TEST(an_order_begins_with_what_the_store_has),
        TEST(a_block_and_a_handshake_at_a_time),
        TEST(two_orders_at_a_time),
        TEST(two_words_about_a_user_at_a_time),
        TEST(a_user_who_is_let_in_again_elsewhere),
        TEST(who_hears_nothing_lets_nobody_in),
        TEST(a_wait_that_ends_unheard),
        TEST(unknown_lists_let_nobody_in),
        TEST(random_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
