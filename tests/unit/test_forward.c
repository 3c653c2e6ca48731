/* Forward-auth: whatever happens inside the gate, only what may go on is answered with a 2xx. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/failing_malloc.h"
#include "tests/unit/gate_fake.h"

#define AGAIN "/provost/auth"
#define HTTP "/provost/auth?answer=http"

/* The status of the answer. It never has a body, and names somebody only when it is 204. */
static unsigned ended(const struct http_exchange *x)
{
    assert_true(x->done);
    assert_int_equal(x->reply.len, 0);
    assert_null(x->reply.type);
    bool named = strncmp(x->fields[0], "X-Provost-User: ", 16) == 0;
    assert_int_equal(named, x->reply.status == 204);
    assert_true(named || x->reply.status >= 400);
    return x->reply.status;
}

static void begin_to_ask(struct http_exchange *x, const char *endpoint, const char *cmd)
{
    static char target[200];
    snprintf(target, sizeof target, QUERY "%s" DEVICE, cmd);
    x->method = "GET";
    x->target = endpoint;
    x->peer = x->peer ? x->peer : "127.0.0.1";
    x->original_method = "POST";
    x->original_target = target;
    if (!x->user) x->user = "ann";
    x->version = x->version ? x->version : "14.1";
    struct http_handler h = gate_forward_handler(gate);
    h.serve(x, h.ctx);
}

static unsigned ask(const char *endpoint, const char *user, const char *key)
{
    struct http_exchange x = {.user = user, .key = key};
    begin_to_ask(&x, endpoint, "FolderSync");
    run_tasks();
    return ended(&x);
}

static void every_login(void **unused)
{
    static const struct {
        const char *user;
        unsigned again, http;
    } rows[] = {{"bad", 401, 401}, {"later", 403, 503}, {"broken", 403, 503}, {"ann", 403, 449}};
    (void)unused;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(ask(AGAIN, rows[i].user, "0"), rows[i].again);
        assert_int_equal(ask(HTTP, rows[i].user, "0"), rows[i].http);
    }
    assert_int_equal(set_user("ann", false, false), GATE_OK);
    assert_int_equal(ask(AGAIN, "ann", "0"), 403);
    assert_int_equal(ask(HTTP, "ann", "0"), 403);
}

/* The exchange waits, and is answered once the login is known. */
static void a_login_that_takes_its_time(void **unused)
{
    struct http_exchange x = {.user = "slow"};
    (void)unused;
    begin_to_ask(&x, AGAIN, "FolderSync");
    assert_true(x.waits && !x.done);
    world.auth_waiting->verdict = AUTH_OK;
    world.auth_waiting->done(world.auth_waiting);
    run_tasks();
    assert_int_equal(ended(&x), 403);
}

static void a_key_opens(void **unused)
{
    char key[65];
    (void)unused;
    handshake("ann", "14.1", key);
    assert_int_equal(ask(AGAIN, "ann", key), 204);
    assert_int_equal(ask(HTTP, "ann", key), 204);
    assert_int_equal(served, 0);
    assert_int_equal(ask(HTTP, "ann", NULL), 449);
    assert_int_equal(ask(HTTP, "ann", "1"), 449);
    assert_int_equal(ask(AGAIN, "bob", key), 403);
}

static void count_device(void *ctx, const struct device_view *v)
{
    (void)v;
    *(unsigned *)ctx += 1;
}

static unsigned devices(void)
{
    unsigned count = 0;
    assert_true(gate_each_device(gate, count_device, &count));
    return count;
}

static void what_comes_again_leaves_no_trace(void **unused)
{
    (void)unused;
    assert_int_equal(ask(AGAIN, "ann", "0"), 403);
    assert_int_equal(devices(), 0);
    assert_int_equal(world.put_devices, 0);
    assert_int_equal(ask(HTTP, "ann", "0"), 449);
    assert_int_equal(devices(), 1);
    assert_int_equal(world.put_devices, 1);
}

/* For every key: 204 exactly where the gate lets the command through. */
static void it_says_what_the_gate_says(void **unused)
{
    static const char *const policies[] = {"{}", "{\"AllowNonProvisionable\":\"1\"}",
                                           "{\"DevicePasswordEnabled\":\"1\"}"};
    unsigned passed = 0;
    (void)unused;
    for (size_t p = 0; p < sizeof policies / sizeof *policies; p++) {
        char good[65];
        tear_down(NULL);
        world.loaded_count = 0;
        load_default(5, policies[p]);
        start_gate();
        handshake("ann", "14.1", good);
        const char *const keys[] = {NULL, "", "0", "1", "x", good};
        const char *const users[] = {"ann", "bob", "cat"};
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            for (size_t u = 0; u < sizeof users / sizeof *users; u++) {
                bool again = ask(AGAIN, users[u], keys[i]) == 204;
                bool http = ask(HTTP, users[u], keys[i]) == 204;
                bool gate_says = folder_sync(users[u], "14.1", keys[i]) == 1;
                assert_int_equal(again, gate_says);
                assert_int_equal(http, gate_says);
                passed += again;
            }
    }
    assert_true(passed > 3);
}

static void who_may_ask(void **unused)
{
    static const struct {
        const char *peer;
        bool may;
    } rows[] = {{"127.0.0.1", true},  {"127.9.9.9", true}, {"::1", true},   {"unix", true},
                {"192.0.2.1", false}, {"::2", false},      {"12.7.0.0", false},
                {"proxy", true}};
    char key[65];
    (void)unused;
    handshake("ann", "14.1", key);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_exchange x = {.peer = rows[i].peer, .key = key};
        begin_to_ask(&x, AGAIN, "FolderSync");
        assert_int_equal(ended(&x), rows[i].may ? 204 : 404);
    }
}

/* ---- without memory ---- */
static unsigned status;
static char key[65];

static void begin_known(void)
{
    set_up(NULL);
    handshake("ann", "14.1", key);
}

static bool ask_known(void)
{
    struct http_exchange x = {.key = key};
    begin_to_ask(&x, HTTP, "FolderSync");
    run_tasks();
    status = ended(&x);
    return status != 503;
}

static bool ask_new(void)
{
    struct http_exchange x = {.user = "new", .key = "0"};
    begin_to_ask(&x, HTTP, "FolderSync");
    run_tasks();
    status = ended(&x);
    return status != 503;
}

static void known_passes(void)
{
    assert_int_equal(status, 204);
}

static void new_is_refused(void)
{
    assert_int_equal(status, 449);
}

static void end(void)
{
    tear_down(NULL);
}

static void every_allocation_may_fail(void **unused)
{
    (void)unused;
    failing_malloc_sweep(&(struct sweep){.name = "forward-auth of a device that is in",
                                         .begin = begin_known,
                                         .run = ask_known,
                                         .check = known_passes,
                                         .end = end});
    failing_malloc_sweep(&(struct sweep){.name = "forward-auth of a new device",
                                         .begin = begin_known,
                                         .run = ask_new,
                                         .check = new_is_refused,
                                         .end = end});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_login, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_login_that_takes_its_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_opens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_comes_again_leaves_no_trace, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_says_what_the_gate_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_may_ask, set_up, tear_down),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
