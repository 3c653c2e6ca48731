/* Coming to terms with an upstream: one at a time for a device, whoever goes away, whatever fails. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/upstream/demand_inner.h"
#include "tests/unit/failing_malloc.h"
#include "tests/unit/gate_fake.h"

#define UP "https://up.example"

/* ---- the world around: an upstream that answers when the test says so ---- */
static uint64_t now_ms;

uint64_t worker_now_ms(const struct worker *w)
{
    (void)w;
    return now_ms;
}

struct upstream {
    int unused;
} the_upstream;

struct upstream *upstream_of(struct upstreams *u, const char *user)
{
    (void)u;
    return strcmp(user, "nobody") == 0 ? NULL : &the_upstream;
}

const char *upstream_url(const struct upstream *u)
{
    (void)u;
    return UP;
}

static struct {
    struct upstream_asked *at[16]; /* under way */
    struct pv_ask ask[16];         /* what was asked */
    size_t count;
    unsigned total, cancelled;
    bool refuses;
} asked;

static unsigned char blocks[16][8192] __attribute__((aligned(16)));

bool upstream_ask(struct upstreams *u, struct upstream_asked *a, const struct upstream_ask *ask)
{
    struct pv_arena arena;
    const struct pv_node *root;
    (void)u;
    if (asked.refuses || failing_malloc_refuses()) return false;
    assert_int_equal(ask->cmd, PV_CMD_Provision);
    assert_string_equal(ask->authorization, ask->user);
    assert_true(asked.count < 16);
    pv_arena_init(&arena, blocks[asked.count], sizeof blocks[0]);
    assert_int_equal(pv_wbxml_decode(&arena, ask->body, ask->len, NULL, &root, NULL), PV_OK);
    assert_int_equal(pv_ask_read(root, ask->version, &arena, &asked.ask[asked.count]), PV_OK);
    asked.at[asked.count++] = a;
    asked.total++;
    return true;
}

void upstream_cancel(struct upstream_asked *a)
{
    size_t i = 0;
    while (asked.at[i] != a) i++;
    asked.at[i] = asked.at[--asked.count];
    asked.cancelled++;
}

int store_read_info(struct store *s, const char *user, const char *device_id,
                    struct info_record *out, void **block_out)
{
    (void)s;
    *block_out = strdup("{\"Model\":\"M 1\",\"OS\":\"X\"}");
    *out = (struct info_record){.user = user, .device_id = device_id, .info_json = *block_out};
    return *block_out ? 1 : -1;
}

/* ---- answers of the upstream ---- */
static void answer_bytes(unsigned http, const uint8_t *body, size_t len)
{
    assert_true(asked.count > 0);
    struct upstream_asked *a = asked.at[0];
    memmove(asked.at, asked.at + 1, --asked.count * sizeof *asked.at);
    memmove(asked.ask, asked.ask + 1, asked.count * sizeof *asked.ask);
    a->fetch.status = http;
    a->fetch.body = body;
    a->fetch.len = len;
    a->done(a, FETCH_OK);
}

static void answer(const struct pv_provision_answer *a)
{
    uint8_t body[4096];
    size_t len;
    assert_int_equal(pv_provision_answer_write(a, PV_V14_1, body, sizeof body, &len), PV_OK);
    answer_bytes(200, body, len);
}

static struct pv_policy no_camera = {.set = UINT64_C(1) << PV_SET_AllowCamera};
static const struct pv_policy nothing;

static void offer(const struct pv_policy *policy)
{
    struct pv_provision_answer a = {.status = 1, .has_policy = true, .policy_status = 1,
                                    .policy_type = pv_policy_type(PV_V14_1), .key = "77",
                                    .policy = policy};
    answer(&a);
}

static void final(const char *key)
{
    struct pv_provision_answer a = {.status = 1, .has_policy = true, .policy_status = 1,
                                    .policy_type = pv_policy_type(PV_V14_1)};
    snprintf(a.key, sizeof a.key, "%s", key);
    answer(&a);
}

/* ---- commands of a device that the upstream has refused ---- */
static struct demands *demands;

static struct told_call {
    struct call *call;
    enum demand_result result;
    unsigned status, times;
} calls[16];
static size_t call_count;

static void told(struct call *c, enum demand_result result, unsigned status)
{
    for (size_t i = 0; i < call_count; i++) {
        if (calls[i].call != c) continue;
        calls[i].result = result;
        calls[i].status = status;
        calls[i].times++;
        calls[i].call = NULL;
    }
    call_status(c, 1);
}

static void gone(struct call *c)
{
    (void)c;
}

static uint32_t sent_key;

static void serve_sync(struct call *c)
{
    calls[call_count++] = (struct told_call){.call = c};
    demand_settle(demands, c, sent_key, 449, 0, gone, told);
}

static char key[65];
static struct http_exchange exchanges[16];

static void begin(void)
{
    static const struct command sync = {PV_CMD_Sync, serve_sync, NULL, .raw = true};
    world = (struct world){.now = 1700000000};
    memset(&config, 0, sizeof config);
    memset(&asked, 0, sizeof asked);
    config.upstream.url = UP;
    load_default(5, "{}");
    start_gate();
    gate_register(gate, &sync, 1);
    demands = demands_create(gate, NULL);
    assert_non_null(demands);
    now_ms = 1000;
    sent_key = 0;
    call_count = 0;
    handshake("ann", "14.1", key);
}

static void end(void)
{
    run_tasks();
    demands_destroy(demands);
    gate_destroy(gate);
}

static int set_up_demands(void **unused)
{
    (void)unused;
    begin();
    return 0;
}

static int tear_down_demands(void **unused)
{
    (void)unused;
    end();
    return 0;
}

/* false: the gate has not let it in. */
static bool command(void)
{
    size_t n = call_count;
    exchanges[n] = (struct http_exchange){.key = key};
    send_body(&exchanges[n], "Sync", foldersync, sizeof foldersync);
    run_tasks();
    return call_count > n;
}

static void assert_told(size_t n, enum demand_result result)
{
    run_tasks();
    assert_int_equal(calls[n].times, 1);
    assert_int_equal(calls[n].result, result);
    assert_true(exchanges[n].done);
}

/* ---- the course ---- */
static void a_device_is_asked_and_then_the_upstream_is_told(void **unused)
{
    (void)unused;
    assert_true(command());
    assert_int_equal(asked.ask[0].kind, PV_ASK_POLICY);
    assert_string_equal(asked.ask[0].device_info.model, "M 1");
    offer(&no_camera);
    assert_told(0, DEMAND_ASK);
    assert_false(command()); /* 143 */
    handshake("ann", "14.1", key);
    assert_true(command());
    offer(&no_camera);
    run_tasks();
    assert_int_equal(asked.ask[0].kind, PV_ASK_ACK);
    assert_int_equal(asked.ask[0].key.value, 77);
    assert_int_equal(asked.ask[0].status, 1);
    final("4242");
    assert_told(1, DEMAND_AGAIN);
    assert_int_equal(asked.total, 3);
    /* One that was refused with the old key meanwhile. */
    assert_true(command());
    assert_told(2, DEMAND_AGAIN);
    assert_int_equal(asked.total, 3);
}

static void others_wait_for_the_one_under_way(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < 10; i++) assert_true(command());
    assert_int_equal(asked.total, 1);
    assert_told(9, DEMAND_FAILED); /* too many */
    offer(&nothing);
    run_tasks();
    final("4242");
    for (size_t i = 0; i < 9; i++) assert_told(i, DEMAND_AGAIN);
    assert_int_equal(asked.total, 2);
}

static void who_goes_away_leaves_it_to_the_next(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < 3; i++) assert_true(command());
    struct call *first = calls[0].call, *second = calls[1].call;
    assert_true(demand_leave(demands, second)); /* it only waited */
    call_http(second, 503, 0);
    assert_true(demand_leave(demands, first));
    call_http(first, 503, 0);
    assert_int_equal(asked.cancelled, 1);
    run_tasks();
    assert_int_equal(asked.total, 2); /* the third has begun anew */
    offer(&nothing);
    run_tasks();
    final("4242");
    assert_told(2, DEMAND_AGAIN);
    assert_int_equal(calls[0].times + calls[1].times, 0);
}

/* What the gate stores cannot be cut short: its end is waited for. */
static void who_goes_away_while_the_gate_is_at_it_is_told(void **unused)
{
    (void)unused;
    assert_true(command());
    assert_true(command());
    world.store = STORE_HOLDS;
    offer(&no_camera);
    assert_false(demand_leave(demands, calls[0].call));
    release(true);
    world.store = STORE_WRITES;
    assert_told(0, DEMAND_FAILED);
    assert_int_equal(asked.total, 2);
    offer(&no_camera);
    assert_told(1, DEMAND_ASK);
}

/* ---- an upstream that is never content ---- */
/* A whole handshake, and the next command is refused again; false: nothing was asked. */
static bool round_of_nothing(void)
{
    unsigned before = asked.total;
    call_count = 0;
    assert_true(command());
    if (asked.total == before) return false;
    offer(&nothing);
    run_tasks();
    final("4242");
    assert_told(0, DEMAND_AGAIN);
    sent_key = 4242;
    return true;
}

/* Seconds until it is asked again. */
static unsigned pause_now(void)
{
    unsigned waited = 0;
    while (!round_of_nothing()) {
        assert_int_equal(calls[0].result, DEMAND_FAILED);
        assert_true(calls[0].status > 0);
        now_ms += 1000;
        waited++;
    }
    return waited;
}

static void what_is_in_vain_is_left_alone(void **unused)
{
    (void)unused;
    static const unsigned pauses[] = {15, 30, 60, 120, 240, 480};
    struct call c = {.gate = gate, .user = "ann", .req.device_id = "DEV1"};
    enum demand_result result;
    unsigned status;
    for (int i = 0; i < 6; i++) {
        assert_false(demand_stands(demands, &c, &result, &status));
        assert_true(round_of_nothing());
    }
    assert_true(round_of_nothing());
    assert_true(demand_stands(demands, &c, &result, &status));
    assert_int_equal(result, DEMAND_FAILED);
    assert_int_equal(status, 16);
    c.req.device_id = "DEV2";
    assert_false(demand_stands(demands, &c, &result, &status));
    for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++)
        assert_int_equal(pause_now(), pauses[i]);
    for (int i = 0; i < 4; i++) assert_in_range(pause_now(), 900, 3600);
    now_ms += 3600000 + 600000; /* it rests */
    for (int i = 0; i < 7; i++) assert_true(round_of_nothing());
}

/* ---- memory ---- */
static bool settle_run_once(void)
{
    call_count = 0;
    if (!command()) return false; /* 503 */
    if (!asked.count) {
        assert_told(0, DEMAND_FAILED);
        return false;
    }
    offer(&nothing);
    run_tasks();
    if (!asked.count) {
        assert_told(0, DEMAND_FAILED);
        return false;
    }
    final("4242");
    run_tasks();
    assert_int_equal(calls[0].times, 1);
    return calls[0].result == DEMAND_AGAIN;
}

static void settled(void)
{
    now_ms += 3600000;
    sent_key = 4242;
    assert_true(settle_run_once());
}

static void rested(void)
{
    now_ms += 3600000;
}

static void every_allocation_may_fail(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"demand_settle", begin, settle_run_once, rested, settled, end});
}

/* ---- refusals ---- */
static void refusals_are_told_from_answers(void **unused)
{
    (void)unused;
    static const struct { const char *name; enum pv_cmd cmd; unsigned http; const char *body;
                          size_t len; bool refuses; unsigned status; } rows[] = {
        {"449", PV_CMD_Sync, 449, "", 0, true, 0},
        {"449 with a page", PV_CMD_Sync, 449, "<html>", 6, true, 0},
        {"449 with a Status", PV_CMD_FolderSync, 449,
         "\x03\x01\x6a\x00\x00\x07\x56\x4c\x03" "140" "\x00\x01\x01", 15, true, 140},
        {"142", PV_CMD_FolderSync, 200,
         "\x03\x01\x6a\x00\x00\x07\x56\x4c\x03" "142" "\x00\x01\x01", 15, true, 142},
        {"144", PV_CMD_FolderSync, 200,
         "\x03\x01\x6a\x00\x00\x07\x56\x4c\x03" "144" "\x00\x01\x01", 15, true, 144},
        {"145", PV_CMD_FolderSync, 200,
         "\x03\x01\x6a\x00\x00\x07\x56\x4c\x03" "145" "\x00\x01\x01", 15, false, 0},
        {"139", PV_CMD_FolderSync, 200,
         "\x03\x01\x6a\x00\x00\x07\x56\x4c\x03" "139" "\x00\x01\x01", 15, false, 0},
        {"of another command", PV_CMD_Sync, 200,
         "\x03\x01\x6a\x00\x00\x07\x56\x4c\x03" "142" "\x00\x01\x01", 15, false, 0},
        {"cut", PV_CMD_FolderSync, 200,
         "\x03\x01\x6a\x00\x00\x07\x56\x4c\x03" "142" "\x00\x01", 14, false, 0},
        {"nothing", PV_CMD_Sync, 200, "", 0, false, 0},
        {"403", PV_CMD_FolderSync, 403,
         "\x03\x01\x6a\x00\x00\x07\x56\x4c\x03" "142" "\x00\x01\x01", 15, false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned status = 0;
        print_message("# %s\n", rows[i].name);
        assert_int_equal(demand_refuses(rows[i].cmd, rows[i].http, rows[i].body, rows[i].len,
                                        &status), rows[i].refuses);
        assert_int_equal(status, rows[i].status);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up_demands, tear_down_demands)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals_are_told_from_answers),
        TEST(a_device_is_asked_and_then_the_upstream_is_told),
        TEST(others_wait_for_the_one_under_way),
        TEST(who_goes_away_leaves_it_to_the_next),
        TEST(who_goes_away_while_the_gate_is_at_it_is_told),
        TEST(what_is_in_vain_is_left_alone),
        cmocka_unit_test(every_allocation_may_fail),
    };
    json_set_alloc_funcs(malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
