/* Pings that a gateway holds, with a clock, workers, a gate and an upstream of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing_malloc.h"
#include "src/server/observe/log.h"
#include "src/server/upstream/ping_inner.h"

/* ---- workers ---- */

#define WORKERS 2
struct worker { int unused; };
static struct worker workers[WORKERS], *here;
static uint64_t now_ms;

struct worker *worker_self(void)
{
    return here;
}

unsigned worker_index(const struct worker *w)
{
    return (unsigned)(w - workers);
}

uint64_t worker_now_ms(const struct worker *w)
{
    assert_ptr_equal(w, here);
    return now_ms;
}

#define TASKS_MOST 64
static struct { struct worker *w; struct task *t; } tasks[TASKS_MOST];
static size_t task_count;

void worker_post(struct worker *w, struct task *t)
{
    assert_in_range(task_count, 0, TASKS_MOST - 1);
    tasks[task_count].w = w;
    tasks[task_count++].t = t;
}

static void run_tasks(void)
{
    for (size_t i = 0; i < task_count; i++) {
        here = tasks[i].w;
        tasks[i].t->fn(tasks[i].t);
    }
    task_count = 0;
    here = &workers[0];
}

#define TIMERS_MOST 64
static struct { struct worker *w; struct timer *t; } timers[TIMERS_MOST];

void timer_stop(struct worker *w, struct timer *t)
{
    (void)w;
    for (size_t i = 0; i < TIMERS_MOST; i++)
        if (timers[i].t == t) timers[i].t = NULL;
    t->set = false;
}

void timer_set(struct worker *w, struct timer *t, uint64_t in_ms, void (*fn)(struct timer *))
{
    size_t i = 0;
    assert_ptr_equal(w, here);
    timer_stop(w, t);
    while (i < TIMERS_MOST && timers[i].t) i++;
    assert_true(i < TIMERS_MOST);
    timers[i].w = w;
    timers[i].t = t;
    t->at_ms = now_ms + in_ms;
    t->fn = fn;
    t->set = true;
}

/* Time passes; tasks run and timers go off. */
static void pass(uint64_t ms)
{
    run_tasks();
    for (uint64_t until = now_ms + ms; now_ms < until;) {
        now_ms++;
        for (size_t i = 0; i < TIMERS_MOST; i++) {
            struct timer *t = timers[i].t;
            if (!t || t->at_ms > now_ms) continue;
            timers[i].t = NULL;
            t->set = false;
            here = timers[i].w;
            t->fn(t);
            here = &workers[0];
        }
        run_tasks();
    }
}

/* ---- a gate ---- */

static struct config config;
static struct gate { const struct command *ping; } the_gate;
static struct phone {
    struct call call;
    const char *authorization;
    int64_t first_seen;
    bool due;
    unsigned due_in;
    void (*gone)(struct call *);
    void (*stops)(struct http_exchange *);
    struct gate_waiter *waiter;
    /* The answer: */
    unsigned answered, http, status, retry_after, limit;
    uint8_t body[256];
    size_t len;
} phones[12];

static struct phone *phone_of(const struct call *c)
{
    return CONTAINER_OF(c, struct phone, call);
}

void gate_register(struct gate *g, const struct command *commands, size_t count)
{
    assert_int_equal(count, 1);
    assert_int_equal(commands->cmd, PV_CMD_Ping);
    g->ping = commands;
}

const struct config *gate_config(const struct gate *g)
{
    (void)g;
    return &config;
}

static unsigned forgotten;

struct auth *gate_auth(const struct gate *g)
{
    (void)g;
    return NULL;
}

void auth_forget(struct auth *a, const char *authorization)
{
    (void)a;
    assert_string_equal(authorization, "Basic x");
    forgotten++;
}

void gate_wait_add(struct call *c, struct gate_waiter *w)
{
    assert_null(phone_of(c)->waiter);
    phone_of(c)->waiter = w;
}

void gate_wait_remove(struct gate *g, struct gate_waiter *w)
{
    (void)g;
    for (size_t i = 0; i < sizeof phones / sizeof *phones; i++)
        if (phones[i].waiter == w) phones[i].waiter = NULL;
}

bool gate_ping_due(struct call *c)
{
    return phone_of(c)->due;
}

uint32_t gate_ping_due_in(struct call *c)
{
    return phone_of(c)->due_in ? phone_of(c)->due_in : UINT32_MAX;
}

const char *http_field(const struct http_exchange *x, const char *name)
{
    struct phone *p = (struct phone *)x;
    if (strcmp(name, "Authorization") == 0) return p->authorization;
    return strcmp(name, "User-Agent") == 0 ? "Test/1" : NULL;
}

void *http_data(const struct http_exchange *x)
{
    return &((struct phone *)x)->call;
}

void http_on_stop(struct http_exchange *x, void (*stops)(struct http_exchange *x))
{
    ((struct phone *)x)->stops = stops;
}

const char *call_authorization(const struct call *c)
{
    return http_field(c->http, "Authorization");
}

int64_t call_first_seen(const struct call *c)
{
    return phone_of(c)->first_seen;
}

void call_wait(struct call *c, void (*gone)(struct call *c))
{
    phone_of(c)->gone = gone;
}

static void answered(struct call *c, unsigned http, unsigned status)
{
    struct phone *p = phone_of(c);
    p->answered++;
    p->http = http;
    p->status = status;
    assert_null(p->waiter);
    if (c->free_data) c->free_data(c->data);
    c->data = NULL;
    c->free_data = NULL;
}

void call_answer(struct call *c, const uint8_t *wbxml, size_t len)
{
    struct ping_said said;
    struct phone *p = phone_of(c);
    assert_in_range(len, 1, sizeof p->body);
    memcpy(p->body, wbxml, len);
    p->len = len;
    assert_true(ping_said_read(p->body, len, &said));
    p->limit = said.heartbeat;
    answered(c, 200, said.status);
}

void call_status(struct call *c, unsigned status)
{
    answered(c, 200, status);
}

void call_http(struct call *c, unsigned http, unsigned retry_after)
{
    phone_of(c)->retry_after = retry_after;
    answered(c, http, 0);
}

void call_hang_up(struct call *c)
{
    answered(c, 0, 0);
}

void call_unauthorized(struct call *c)
{
    answered(c, 401, 0);
}

/* ---- upstreams ---- */

static struct upstream { int unused; } two[2];
static struct upstreams { int unused; } the_upstreams;
static struct asked {
    struct upstream_asked *a;
    const struct phone *phone;
    struct worker *w;
    char authorization[32];
    uint32_t heartbeat, key;
    unsigned head_ms;
} asked[8];
static unsigned asked_now, asked_most, asked_ever;
static bool refuses;
static const char *retry_after;

size_t upstreams_count(const struct upstreams *u)
{
    (void)u;
    return 2;
}

size_t upstream_index(const struct upstream *u)
{
    return (size_t)(u - two);
}

struct upstream *upstream_of(struct upstreams *u, const char *user)
{
    (void)u;
    return strcmp(user, "nobody") == 0 ? NULL : &two[strchr(user, '@') != NULL];
}

static void read_ask(const struct upstream_ask *ask, struct asked *k)
{
    static unsigned char space[16384] __attribute__((aligned(16)));
    const struct pv_node *root;
    struct pv_arena arena;
    pv_arena_init(&arena, space, sizeof space);
    assert_int_equal(ask->cmd, PV_CMD_Ping);
    assert_int_equal(pv_wbxml_decode(&arena, ask->body, ask->len, NULL, &root, NULL), PV_OK);
    assert_true(pv_node_u32(pv_node_child(root, PV_Ping_HeartbeatInterval), &k->heartbeat));
    snprintf(k->authorization, sizeof k->authorization, "%s",
             ask->authorization ? ask->authorization : "");
    for (size_t i = 0; i < sizeof phones / sizeof *phones; i++)
        if (phones[i].call.req.device_id == ask->device_id) k->phone = &phones[i];
}

bool upstream_ask(struct upstreams *u, struct upstream_asked *a, const struct upstream_ask *ask)
{
    size_t i = 0;
    (void)u;
    if (refuses || failing_malloc_refuses()) return false;
    while (asked[i].a) i++;
    assert_in_range(i, 0, 7);
    asked[i] = (struct asked){.a = a, .w = here, .head_ms = ask->head_ms, .key = ask->key};
    read_ask(ask, &asked[i]);
    asked_ever++;
    if (++asked_now > asked_most) asked_most = asked_now;
    return true;
}

const char *fetch_field(const struct fetch *f, const char *name)
{
    (void)f;
    assert_string_equal(name, "Retry-After");
    return retry_after;
}

uint32_t demand_key(struct demands *d, const struct call *c)
{
    (void)d;
    return c == &phones[0].call ? 4711 : 0;
}

bool demand_refuses(enum pv_cmd cmd, unsigned http, const void *body, size_t len,
                    unsigned *status_out)
{
    struct ping_said said;
    assert_int_equal(cmd, PV_CMD_Ping);
    if (http == 200 && !ping_said_read(body, len, &said)) return false;
    *status_out = http == 200 ? said.status : 0;
    return http == 449 || (*status_out >= 140 && *status_out <= 144);
}

static struct asked *ask_for(const struct phone *p)
{
    for (size_t i = 0; i < 8; i++)
        if (asked[i].a && asked[i].phone == p) return &asked[i];
    return NULL;
}

static struct asked *any_ask(void)
{
    for (size_t i = 0; i < 8; i++)
        if (asked[i].a) return &asked[i];
    return NULL;
}

static void end_ask(struct asked *k, enum fetch_result result, unsigned http, const void *body,
                    size_t len)
{
    struct upstream_asked *a = k->a;
    k->a = NULL;
    asked_now--;
    a->fetch.status = http;
    a->fetch.body = body;
    a->fetch.len = len;
    here = k->w;
    a->done(a, result);
    here = &workers[0];
}

/* The upstream says: a Status, and with some of them a heartbeat. */
static void say(struct asked *k, unsigned status, uint32_t heartbeat)
{
    uint8_t body[64];
    size_t len;
    struct pv_wbxml_writer w;
    assert_non_null(k);
    pv_wbxml_begin(&w, body, sizeof body);
    pv_wbxml_start(&w, PV_Ping_Ping);
    pv_wbxml_leaf_u32(&w, PV_Ping_Status, status);
    if (heartbeat) pv_wbxml_leaf_u32(&w, PV_Ping_HeartbeatInterval, heartbeat);
    pv_wbxml_end(&w);
    assert_int_equal(pv_wbxml_finish(&w, &len), PV_OK);
    end_ask(k, FETCH_OK, 200, body, len);
}

static void say_http(struct asked *k, unsigned http)
{
    assert_non_null(k);
    end_ask(k, FETCH_OK, http, "x", 1);
}

/* ---- the world ---- */

static struct pings *pings;

/* No IMAP server stands beside this upstream. */
struct inboxes *inboxes_open(const struct config *c, char *error, size_t error_cap)
{
    (void)c;
    if (error_cap) *error = '\0';
    return NULL;
}

void inboxes_close(struct inboxes *b)
{
    assert_null(b);
}

struct inbox *inbox_watch(struct inboxes *b, const char *user, const char *authorization,
                          void (*news)(void *ctx), void *ctx)
{
    (void)b;
    (void)user;
    (void)authorization;
    (void)news;
    (void)ctx;
    fail();
    return NULL;
}

bool inbox_leave(struct inbox *i)
{
    return i == NULL;
}
static struct pv_arena arena;

static void begin(unsigned slots)
{
    char error[128];
    memset(&the_gate, 0, sizeof the_gate);
    memset(phones, 0, sizeof phones);
    memset(asked, 0, sizeof asked);
    memset(timers, 0, sizeof timers);
    forgotten = task_count = asked_now = asked_most = asked_ever = 0;
    refuses = false;
    retry_after = NULL;
    here = &workers[0];
    now_ms = 1000000;
    config = (struct config){0};
    config.ping.heartbeat_min = 60;
    config.ping.heartbeat_max = 900;
    config.ping.folders_max = 5;
    config.upstream.ping.slots = slots;
    config.upstream.ping.heartbeat = 1;
    config.upstream.ping.interval = 5;
    pings = pings_create(&the_gate, &the_upstreams, NULL, &config, error, sizeof error);
    assert_non_null(pings);
    assert_int_equal(pv_arena_create(&arena, 1 << 18), PV_OK);
    static const char *const ids[] = {"D0", "D1", "D2", "D3", "D4",  "D5",
                                      "D6", "D7", "D8", "D9", "D10", "D11"};
    for (size_t i = 0; i < sizeof phones / sizeof *phones; i++) {
        struct phone *p = &phones[i];
        p->call.http = (struct http_exchange *)p;
        p->call.gate = &the_gate;
        p->call.req = (struct pv_request){.cmd = PV_CMD_Ping, .user = "said", .device_id = ids[i]};
        snprintf(p->call.user, sizeof p->call.user, "user%zu", i);
        p->authorization = "Basic x";
        p->first_seen = 7;
    }
}

static void end(void)
{
    for (size_t i = 0; i < sizeof phones / sizeof *phones; i++)
        if (phones[i].waiter) phones[i].gone(&phones[i].call);
    run_tasks();
    for (size_t i = 0; i < 8; i++) asked[i].a = NULL;
    pings_destroy(pings);
    pings = NULL;
    pv_arena_destroy(&arena);
}

#define FULL                                                              \
    "<Ping xmlns=\"Ping:\"><HeartbeatInterval>600</HeartbeatInterval>"    \
    "<Folders><Folder><Id>mail/1</Id><Class>Email</Class></Folder></Folders></Ping>"

static void ping_with(struct phone *p, const char *xml)
{
    const struct pv_node *root = NULL;
    if (xml)
        assert_int_equal(pv_xml_read(&arena, xml, strlen(xml), NULL, &root, NULL), PV_OK);
    p->call.body = root;
    the_gate.ping->serve(&p->call);
    p->call.body = NULL;
    pv_arena_reset(&arena);
}

/* It waits. */
static void ping(struct phone *p)
{
    unsigned before = p->answered;
    ping_with(p, FULL);
    assert_int_equal(p->answered, before);
    assert_non_null(p->waiter);
    run_tasks();
}

static void assert_told(const struct phone *p, unsigned http, unsigned status)
{
    assert_int_equal(p->answered, 1);
    assert_int_equal(p->http, http);
    assert_int_equal(p->status, status);
    assert_null(p->waiter);
}

static json_int_t figure(size_t upstream, const char *name)
{
    json_t *all = json_pack("[{}, {}]");
    assert_true(pings_status(pings, all));
    json_t *value = json_object_get(json_object_get(json_array_get(all, upstream), "ping"), name);
    assert_non_null(value);
    json_int_t n = (json_int_t)json_number_value(value);
    json_decref(all);
    return n;
}

/* ---- what a look brings ---- */

static void answers_of_the_upstream(void **unused)
{
    static const struct {
        const char *name;
        unsigned upstream_http, upstream_status; /* what it says */
        bool waits;                              /* the phone hears nothing of it */
        unsigned http, status;                   /* what the phone hears */
        bool failure;
    } cases[] = {
        {"nothing new", 200, 1, true, 0, 0, false},
        {"news", 200, 2, false, 200, 2, false},
        {"folders missing", 200, 3, false, 200, 3, false},
        {"malformed", 200, 4, false, 200, 4, false},
        {"too many folders", 200, 6, false, 200, 6, false},
        {"other folders", 200, 7, false, 200, 7, false},
        {"trouble", 200, 8, false, 200, 8, false},
        {"blocked", 200, 129, false, 200, 129, false},
        {"wants provisioning", 200, 142, false, 200, 7, false},
        {"wants to wipe", 200, 140, false, 200, 7, false},
        {"wants provisioning, as of old", 449, 0, false, 200, 7, false},
        {"another password", 401, 0, false, 401, 0, false},
        {"forbidden", 403, 0, false, 403, 0, false},
        {"no answer to a Ping", 200, 0, true, 0, 0, true},
        {"busy", 503, 0, true, 0, 0, true},
        {"too much", 429, 0, true, 0, 0, true},
        {"broken", 500, 0, true, 0, 0, true},
        {"elsewhere", 302, 0, true, 0, 0, true},
        {"no way to it", 0, 0, true, 0, 0, true},
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %s\n", cases[i].name);
        begin(2);
        ping(&phones[0]);
        assert_int_equal(ask_for(&phones[0])->heartbeat, 1);
        assert_int_equal(ask_for(&phones[0])->key, 4711);
        if (!cases[i].upstream_http)
            end_ask(any_ask(), FETCH_UNREACHABLE, 0, NULL, 0);
        else if (cases[i].upstream_status)
            say(any_ask(), cases[i].upstream_status, 0);
        else
            say_http(any_ask(), cases[i].upstream_http);
        if (cases[i].waits)
            assert_int_equal(phones[0].answered, 0);
        else
            assert_told(&phones[0], cases[i].http, cases[i].status);
        assert_int_equal(figure(0, "failures"), cases[i].failure);
        assert_int_equal(figure(0, "looking"), 0);
        assert_int_equal(forgotten, cases[i].upstream_http == 401);
        if (cases[i].waits) {
            pass(6000);
            say(ask_for(&phones[0]), 2, 0); /* it is looked at again */
            assert_told(&phones[0], 200, 2);
            assert_int_equal(figure(0, "failures"), 0);
        }
        end();
    }
}

static void the_upstream_chooses_the_heartbeat(void **unused)
{
    (void)unused;
    begin(1);
    ping(&phones[0]);
    say(any_ask(), 5, 30);
    assert_int_equal(phones[0].answered, 0);
    pass(6000);
    assert_int_equal(any_ask()->heartbeat, 30);
    assert_in_range(any_ask()->head_ms, 60000, 180000);
    say(any_ask(), 5, 0); /* and it does not say which */
    pass(6000);
    assert_int_equal(any_ask()->heartbeat, 60);
    assert_int_equal(figure(0, "heartbeat"), 60);
    assert_int_equal(figure(0, "failures"), 0);
    for (unsigned i = 0; i < 25; i++) { /* never content */
        say(any_ask(), 5, 10 + i % 2);
        pass(6000);
        while (!any_ask()) pass(1000);
    }
    assert_in_range(figure(0, "failures"), 8, 12);
    end();
}

static void a_pause_as_long_as_the_upstream_wants(void **unused)
{
    (void)unused;
    begin(1);
    retry_after = "20";
    ping(&phones[0]);
    say_http(any_ask(), 503);
    pass(19900);
    assert_null(any_ask());
    pass(200);
    retry_after = "nonsense";
    say_http(any_ask(), 503);
    pass(8000);
    assert_non_null(any_ask());
    end();
}

/* ---- who is looked at ---- */

static void no_more_than_the_slots(void **unused)
{
    (void)unused;
    begin(2);
    for (unsigned i = 0; i < 12; i++) {
        here = &workers[i % WORKERS];
        ping(&phones[i]);
    }
    unsigned looks[12] = {0};
    for (unsigned i = 0; i < 60; i++) {
        pass(500);
        struct asked *k = asked[i % 2].a ? &asked[i % 2] : any_ask();
        if (!k) continue;
        assert_ptr_equal(k->w, &workers[(k->phone - phones) % WORKERS]); /* on its own worker */
        looks[k->phone - phones]++;
        say(k, 1, 0);
    }
    assert_int_equal(asked_most, 2);
    for (unsigned i = 0; i < 12; i++) assert_in_range(looks[i], 4, 6);
    assert_int_equal(figure(0, "waiting"), 12);
    assert_in_range(figure(0, "round_seconds"), 5, 6);
    assert_in_range(figure(0, "expected_seconds"), 5, 6);
    end();
}

static void each_upstream_has_its_own_slots(void **unused)
{
    (void)unused;
    begin(1);
    strcpy(phones[1].call.user, "bob@example.org");
    for (unsigned i = 0; i < 3; i++) ping(&phones[i]);
    assert_int_equal(asked_now, 2);
    assert_non_null(ask_for(&phones[1]));
    assert_int_equal(figure(1, "waiting"), 1);
    assert_int_equal(figure(0, "waiting"), 2);
    end();
}

static void news_of_a_user(void **unused)
{
    (void)unused;
    begin(1);
    for (unsigned i = 0; i < 6; i++) ping(&phones[i]);
    for (unsigned i = 0; i < 6; i++) {
        pass(1000);
        say(any_ask(), 1, 0);
        run_tasks();
    }
    pass(100);
    struct asked *k = any_ask();
    if (k) say(k, 1, 0);
    pings_news(pings, "user4");
    pings_news(pings, "nobody");
    run_tasks();
    k = any_ask();
    if (k && k->phone != &phones[4]) say(k, 1, 0);
    run_tasks();
    say(ask_for(&phones[4]), 2, 0);
    assert_told(&phones[4], 200, 2);
    assert_int_equal(figure(0, "news"), 1);
    end();
}

/* ---- how it ends ---- */

static void the_heartbeat_ends(void **unused)
{
    (void)unused;
    begin(1);
    ping(&phones[0]);
    for (unsigned i = 0; i < 200; i++) {
        if (any_ask()) say(any_ask(), 1, 0);
        pass(2990);
    }
    assert_int_equal(phones[0].answered, 0);
    pass(2100);
    assert_told(&phones[0], 200, 1);
    assert_int_equal(figure(0, "waiting"), 0);
    end();
}

/* Status 1 once the shortest heartbeat is over; before that the connection is closed. */
static void the_server_ends(void **unused)
{
    (void)unused;
    begin(1);
    ping(&phones[0]);
    pass(30001);
    ping(&phones[1]);
    pass(29999);
    for (size_t i = 0; i < 2; i++) phones[i].stops(phones[i].call.http);
    assert_told(&phones[0], 200, 1);
    assert_told(&phones[1], 0, 0);
    assert_int_equal(figure(0, "waiting"), 0);
    end();
}

static void a_second_ping_ends_the_first(void **unused)
{
    (void)unused;
    begin(1);
    phones[1].call.req.device_id = phones[0].call.req.device_id;
    strcpy(phones[1].call.user, phones[0].call.user);
    ping(&phones[0]);
    pass(9000);
    ping(&phones[1]);
    assert_told(&phones[0], 503, 0);
    assert_int_equal(phones[0].retry_after, 10);
    memset(&phones[0].answered, 0, sizeof phones[0].answered);
    pass(11000);
    ping(&phones[0]);
    assert_told(&phones[1], 200, 1);
    assert_int_equal(figure(0, "waiting"), 1);
    end();
}

static void the_gate_ends_it(void **unused)
{
    (void)unused;
    begin(1);
    ping(&phones[0]);
    phones[0].waiter->wake(phones[0].waiter);
    assert_int_equal(phones[0].answered, 0); /* it does not concern it */
    phones[0].due = true;
    phones[0].waiter->wake(phones[0].waiter);
    assert_told(&phones[0], 200, 7);
    /* What it asked for went with the partnership. */
    phones[0].answered = 0;
    phones[0].due = false;
    ping_with(&phones[0], NULL);
    assert_told(&phones[0], 200, 3);
    phones[1].due = true; /* on its way here */
    ping_with(&phones[1], FULL);
    assert_told(&phones[1], 200, 7);
    phones[2].due_in = 3;
    ping(&phones[2]);
    phones[2].due = true;
    pass(3000);
    assert_told(&phones[2], 200, 7);
    end();
}

static void a_peer_goes_while_it_is_looked_at(void **unused)
{
    (void)unused;
    begin(1);
    ping(&phones[0]);
    ping(&phones[1]);
    assert_ptr_equal(any_ask()->phone, &phones[0]);
    phones[0].gone(&phones[0].call);
    assert_told(&phones[0], 200, 1); /* to nobody */
    run_tasks();
    assert_int_equal(asked_now, 1); /* the upstream is still at it: its slot stays taken */
    assert_int_equal(figure(0, "looking"), 1);
    pass(3000);
    say(any_ask(), 2, 0); /* news for a device that is away */
    run_tasks();
    assert_ptr_equal(any_ask()->phone, &phones[1]);
    phones[0].answered = 0;
    ping(&phones[0]); /* it comes back, and is looked at next */
    pass(2000);
    say(any_ask(), 1, 0);
    run_tasks();
    assert_ptr_equal(any_ask()->phone, &phones[0]);
    end();
}

static void a_peer_goes_before_it_is_looked_at(void **unused)
{
    (void)unused;
    begin(1);
    ping_with(&phones[0], FULL); /* its slot is given, and it has not begun */
    phones[0].gone(&phones[0].call);
    assert_told(&phones[0], 200, 1);
    run_tasks();
    assert_int_equal(asked_ever, 0);
    ping(&phones[1]);
    assert_int_equal(asked_ever, 1);
    end();
}

/* ---- what is asked for ---- */

static void parameters(void **unused)
{
    (void)unused;
    begin(1);
    ping_with(&phones[0], NULL);
    assert_told(&phones[0], 200, 3);
    phones[0].answered = 0;
    ping(&phones[0]);
    say(any_ask(), 2, 0);
    phones[0].answered = 0;
    ping_with(&phones[0], NULL); /* as the last time */
    assert_int_equal(phones[0].answered, 0);
    pass(5000);
    say(ask_for(&phones[0]), 2, 0);
    phones[0].answered = 0;
    phones[0].first_seen = 8; /* another partnership */
    ping_with(&phones[0], NULL);
    assert_told(&phones[0], 200, 3);
    phones[0].answered = 0;
    ping(&phones[0]);
    pass(5000);
    say(ask_for(&phones[0]), 6, 0); /* the upstream does not like it */
    phones[0].answered = 0;
    ping_with(&phones[0], NULL);
    assert_told(&phones[0], 200, 3);
    phones[0].answered = 0;
    ping_with(&phones[0], "<Ping xmlns=\"Ping:\"><HeartbeatInterval>59</HeartbeatInterval></Ping>");
    assert_told(&phones[0], 200, 5);
    assert_int_equal(phones[0].limit, 60);
    strcpy(phones[3].call.user, "nobody");
    ping_with(&phones[3], FULL);
    assert_told(&phones[3], 503, 0);
    end();
}

/* ---- no memory ---- */

static void world(void)
{
    begin(1);
}

static bool run_ping(void)
{
    struct phone *p = &phones[0];
    p->answered = 0;
    p->call.body = NULL;
    ping_with(p, FULL);
    run_tasks();
    if (!p->answered && ask_for(p)) return true;
    if (!p->answered) p->gone(&p->call);
    run_tasks();
    pass(40000); /* a pause may have begun */
    return false;
}

static void nothing_is_left(void)
{
    assert_int_equal(figure(0, "waiting"), 0);
    assert_int_equal(figure(0, "looking"), 0);
}

static void is_looked_at(void)
{
    say(ask_for(&phones[0]), 2, 0);
    assert_int_equal(phones[0].http, 200);
}

static void without_memory(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"a Ping", world, run_ping, nothing_is_left, is_looked_at, end});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_of_the_upstream),
        cmocka_unit_test(the_upstream_chooses_the_heartbeat),
        cmocka_unit_test(a_pause_as_long_as_the_upstream_wants),
        cmocka_unit_test(no_more_than_the_slots),
        cmocka_unit_test(each_upstream_has_its_own_slots),
        cmocka_unit_test(news_of_a_user),
        cmocka_unit_test(the_heartbeat_ends),
        cmocka_unit_test(the_server_ends),
        cmocka_unit_test(a_second_ping_ends_the_first),
        cmocka_unit_test(the_gate_ends_it),
        cmocka_unit_test(a_peer_goes_while_it_is_looked_at),
        cmocka_unit_test(a_peer_goes_before_it_is_looked_at),
        cmocka_unit_test(parameters),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
