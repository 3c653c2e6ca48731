#include "tests/unit/demands_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const char *the_key;
const char *the_user = "ann";

/* ---- an upstream that demands ---- */
static struct gate_demand demand; /* of the next Sync */
enum gate_demand_result told;
unsigned told_said, told_times;

static void demanded(void *ctx, enum gate_demand_result result, unsigned said)
{
    struct call *c = ctx;
    told = result;
    told_said = said;
    told_times++;
    if (result == GATE_DEMAND_ASK)
        call_judge_again(c);
    else
        call_status(c, 1);
}

static void serve_sync(struct call *c)
{
    gate_demand(c, &demand, demanded, c);
}

static struct call *key_call;

static void serve_search(struct call *c)
{
    key_call = c;
    call_wait(c, NULL);
}

void demands_add_commands(void)
{
    static const struct command commands[] = {{PV_CMD_Sync, serve_sync, NULL, .raw = true},
                                              {PV_CMD_Search, serve_search, NULL, .raw = true}};
    gate_register(gate, commands, COUNT(commands));
}

int demands_begin(void **unused)
{
    policies_begin(unused);
    config.upstream.url = UP;
    demands_add_commands();
    told_times = 0;
    the_user = "ann";
    return 0;
}

static unsigned char block[65536] __attribute__((aligned(16)));
static struct pv_arena arena;

/* "A=1 B=2" */
static struct pv_policy policy_with(const char *wanted)
{
    struct pv_policy p = {0};
    char copy[512], why[200], *save, *pair;
    snprintf(copy, sizeof copy, "%s", wanted);
    for (pair = strtok_r(copy, " ", &save); pair; pair = strtok_r(NULL, " ", &save)) {
        char *equals = strchr(pair, '=');
        *equals = '\0';
        assert_int_equal(pv_policy_set(&p, &arena, pair, equals + 1, why, sizeof why), PV_OK);
    }
    return p;
}

/* A command that the upstream refuses: what the gate makes of it, and HTTP code or Status. wanted
 * NULL: the upstream has no policy. */
struct http_exchange exchange;
unsigned command_refused(const char *wanted)
{
    static struct pv_policy p;
    pv_arena_init(&arena, block, sizeof block);
    p = policy_with(wanted ? wanted : "");
    demand.upstream = UP;
    demand.policy = wanted ? &p : NULL;
    exchange = (struct http_exchange){.key = the_key, .user = the_user};
    send_body(&exchange, "Sync", foldersync, sizeof foldersync);
    run_tasks();
    return exchange.done ? outcome(&exchange) : 0;
}

enum gate_demand_result demand_of(const char *wanted)
{
    unsigned before = told_times;
    command_refused(wanted);
    assert_int_equal(told_times, before + 1);
    return told;
}

/* The policy in a Provision answer; its strings go with the next. */
struct pv_policy offered(const char *user)
{
    static unsigned char room[65536] __attribute__((aligned(16)));
    struct http_exchange x = {.user = user};
    struct pv_provision_answer a;
    const struct pv_node *root;
    struct pv_policy p = {0};
    struct pv_arena all;
    provision(&x, NULL, 0, NULL);
    pv_arena_init(&all, room, sizeof room);
    assert_int_equal(pv_wbxml_decode(&all, x.answer, x.reply.len, NULL, &root, NULL), PV_OK);
    assert_int_equal(pv_provision_answer_read(root, &all, &a), PV_OK);
    assert_non_null(a.data);
    assert_int_equal(pv_policy_read(a.data, &all, &p, NULL, 0, NULL), PV_OK);
    return p;
}

char key_text[65];

void confirm(void)
{
    handshake(the_user, "14.1", key_text);
    the_key = key_text;
}

uint32_t upstream_key(const char *upstream, uint32_t keep)
{
    struct http_exchange x = {.key = the_key, .user = the_user};
    key_call = NULL;
    send_body(&x, "Search", foldersync, sizeof foldersync);
    assert_non_null(key_call);
    if (keep) gate_demand_keep_key(key_call, upstream, keep);
    uint32_t key = gate_demand_key(key_call, upstream);
    call_status(key_call, 1);
    return key;
}

/* ---- restarts ---- */
static struct device_record stored_device;

/* The next gate starts from what the store was told, and this device. */
void restart(void)
{
    run_tasks();
    static const char empty[] = "";
    stored_device = (struct device_record){.user = "ann", .device_id = "DEV1",
                                           .device_type = empty, .user_agent = empty,
                                           .model = empty, .os = empty, .version = PV_V14_1,
                                           .state = PV_STATE_PROVISIONED, .wipe_by = empty,
                                           .wipe_reason = empty, .partnership = world.last_put};
    gate_destroy(gate);
    load_stored();
    world.loaded[world.loaded_count++] =
        (struct store_change){.kind = STORE_PUT_DEVICE, .u.device = stored_device};
}
