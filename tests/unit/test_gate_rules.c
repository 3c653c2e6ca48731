/* Who may come in, at the gate: the order of decision over every combination, what is remembered, what
 * administrators change, and each allocation failing. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/gate/rules/rules_admin.h"
#include "tests/unit/failing_malloc.h"
#include "tests/unit/gate_fake.h"

/* ---- changes ---- */
static void set_done(struct rules_set *s)
{
    s->of = s;
}

static enum rules_result set(struct rules_set *s)
{
    s->actor = "uid 0";
    s->done = set_done;
    s->of = NULL;
    gate_set_rules(gate, s);
    assert_null(s->of); /* always later */
    run_tasks();
    assert_ptr_equal(s->of, s);
    return s->result;
}

static enum rules_result add(enum pv_access access, const char *name, const char *pattern)
{
    char message[200];
    struct rules_set s = {.change = RULES_ADD, .rule.access = (uint8_t)access, .confirm = true};
    assert_true(rule_condition(&s.rule, name, pattern, message, sizeof message));
    return set(&s);
}

static enum rules_result set_default(enum pv_access access, bool confirm, bool keep_known,
                                     unsigned *devices_out)
{
    struct rules_set s = {
        .change = RULES_DEFAULT, .otherwise = access, .confirm = confirm, .keep_known = keep_known};
    enum rules_result result = set(&s);
    if (devices_out) *devices_out = s.devices;
    return result;
}

static unsigned rule_count(void)
{
    struct rules *r = gate_rules(gate);
    unsigned count = (unsigned)r->count;
    rules_release(r);
    return count;
}

/* ---- the order of decision ---- */
/* What decides, as the documentation has it, by a list of its own. */
static struct verdict expected(enum pv_personal personal, bool version, bool loop, bool full,
                               unsigned rules, enum pv_access otherwise)
{
    static const struct verdict by_rule[] = {
        {PV_ACCESS_BLOCKED, ACCESS_BY_RULE, 1},
        {PV_ACCESS_QUARANTINED, ACCESS_BY_RULE, 2},
        {PV_ACCESS_OK, ACCESS_BY_RULE, 3},
    };
    struct verdict v = {otherwise, ACCESS_BY_DEFAULT, 0};
    if (personal == PV_PERSONAL_BLOCK)
        return (struct verdict){PV_ACCESS_BLOCKED, ACCESS_BY_PERSONAL, 0};
    if (version) return (struct verdict){PV_ACCESS_BLOCKED, ACCESS_BY_LIMIT_VERSION, 0};
    if (loop) return (struct verdict){PV_ACCESS_BLOCKED, ACCESS_BY_LOOP, 0};
    if (personal == PV_PERSONAL_ALLOW) return (struct verdict){PV_ACCESS_OK, ACCESS_BY_PERSONAL, 0};
    if (personal == PV_PERSONAL_QUARANTINE)
        return (struct verdict){PV_ACCESS_QUARANTINED, ACCESS_BY_PERSONAL, 0};
    for (unsigned i = 3; i-- > 0;)
        if (rules >> i & 1) v = by_rule[i];
    if (full && v.access != PV_ACCESS_BLOCKED)
        return (struct verdict){PV_ACCESS_BLOCKED, ACCESS_BY_LIMIT_DEVICES, 0};
    return v;
}

/* Rules 1, 2 and 3 block, quarantine and allow; a bit for each that fits the device. */
static struct rules *three_rules(unsigned fit, enum pv_access otherwise)
{
    static const enum pv_access order[] = {PV_ACCESS_BLOCKED, PV_ACCESS_QUARANTINED, PV_ACCESS_OK};
    struct rules *rules = rules_otherwise(NULL, otherwise, 0);
    for (unsigned i = 0; i < 3; i++) {
        char message[200];
        struct rule r = {.id = i + 1, .access = (uint8_t)order[i]};
        assert_true(
            rule_condition(&r, "DeviceType", fit >> i & 1 ? "Ph*" : "x", message, sizeof message));
        struct rules *more = rules_with(rules, &r);
        rules_release(rules);
        rules = more;
    }
    return rules;
}

static void check(struct shard *s, struct device *d, const struct verdict *want)
{
    static const char *const texts[] = {
        "default", "rule 2", "personal", "limit devices_per_user", "limit version", "loop"};
    char text[ACCESS_BY_TEXT], rule[ACCESS_BY_TEXT];
    struct access_scan scan = {.then = s->rules};
    struct verdict now, then, under;
    access_compare(gate, s, d, &scan, &then, &under); /* twice: the second from memory */
    access_compare(gate, s, d, &scan, &then, &under);
    now = access_now(gate, s, d);
    assert_memory_equal(&then, &now, sizeof now);
    assert_int_equal(now.access, want->access);
    assert_int_equal(now.by, want->by);
    assert_int_equal(now.rule, want->rule);
    assert_memory_equal(&under, &now, sizeof now);
    access_by_text(&now, text);
    snprintf(rule, sizeof rule, "rule %u", (unsigned)want->rule);
    assert_string_equal(text, now.by == ACCESS_BY_RULE ? rule : texts[now.by]);
    struct pv_server_out out = {.status = 129, .reason = PV_WHY_BLOCKED};
    access_refine(gate, s, d, &out);
    assert_int_equal(out.status, want->by == ACCESS_BY_LIMIT_DEVICES ? 177 : 129);
    access_scan_finish(&scan);
}

static void the_order_of_decision(void **unused)
{
    (void)unused;
    char key[65];
    handshake("ann", "14.1", key); /* DEV1 has the only place */
    struct shard *s = table_lock(gate->table, "ann");
    bool full_up;
    struct device *d = device_add(s, "ann", "DEV2", &full_up);
    const char *const kind[KIND_TEXTS] = {"Phone", "", "", ""};
    assert_true(device_set_kind(s, d, kind));
    assert_non_null(device_extra(d));
    for (unsigned n = 0; n < PV_PERSONAL_COUNT * 2 * 2 * 2 * 8 * 3; n++) {
        enum pv_personal personal = n % PV_PERSONAL_COUNT;
        unsigned rest = n / PV_PERSONAL_COUNT;
        bool version = rest & 1, loop = rest >> 1 & 1, full = rest >> 2 & 1;
        unsigned fit = rest >> 3 & 7;
        enum pv_access otherwise = rest >> 6;
        d->personal = (uint8_t)personal;
        d->version = version ? PV_V2_5 : PV_V14_1;
        /* Over, or from before the clock was set back. */
        const int64_t no_loops[] = {0, world.now, world.now + DAMPING_BLOCK_S + 1};
        d->extra->loop_until =
            !loop ? no_loops[n % 5 % 3] : world.now + (n % 5 ? 1 : DAMPING_BLOCK_S);
        config.devices_per_user = full ? 1 : n % 3 ? 0 : 2;
        ((struct spoken *)gate->spoken)->least = PV_V12_1;
        rules_release(s->rules);
        s->rules = three_rules(fit, otherwise);
        d->ruled = 0;
        const struct verdict want = expected(personal, version, loop, full, fit, otherwise);
        check(s, d, &want);
        check(s, d, &want); /* what is remembered is the same */
    }
    table_unlock(s);
}

/* A scan of all devices: those of one kind and version are alike, unless a rule looks at ids. */
static void a_scan_tells_devices_apart(void **unused)
{
    static const struct {
        const char *name, *pattern;
        unsigned blocked; /* bit per device */
    } rows[] = {{"DeviceId", "D?1", 2 | 8},
                {"ProtocolVersion", "14.0", 4 | 8},
                {"DeviceType", "Phone", 15},
                {"DeviceType", "x", 0}};
    (void)unused;
    struct shard *s = table_lock(gate->table, "ann");
    struct device *devices[4];
    for (unsigned i = 0; i < 4; i++) {
        const char *const kind[KIND_TEXTS] = {"Phone", "", "", ""};
        char id[8];
        bool full;
        snprintf(id, sizeof id, "D%u%u", i / 2, i % 2);
        devices[i] = device_add(s, "ann", id, &full);
        assert_true(devices[i] && device_set_kind(s, devices[i], kind));
        devices[i]->version = i < 2 ? PV_V14_1 : PV_V14_0;
    }
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (int now = 0; now < 2; now++) { /* the rule is in force, or would be */
            char message[200];
            struct rule rule = {.id = 1, .access = PV_ACCESS_BLOCKED};
            assert_true(
                rule_condition(&rule, rows[r].name, rows[r].pattern, message, sizeof message));
            struct rules *none = rules_otherwise(NULL, PV_ACCESS_OK, 0);
            struct rules *with = rules_with(none, &rule);
            struct access_scan scan = {.then = now ? none : with};
            rules_release(s->rules);
            s->rules = now ? with : none;
            for (unsigned i = 0; i < 4; i++) devices[i]->ruled = 0;
            for (unsigned i = 0; i < 4; i++) {
                struct verdict before, after;
                access_compare(gate, s, devices[i], &scan, &before, &after);
                bool blocked = rows[r].blocked >> i & 1;
                assert_int_equal((now ? before : after).access == PV_ACCESS_BLOCKED, blocked);
                assert_int_equal((now ? after : before).access, PV_ACCESS_OK);
                assert_int_equal(access_now(gate, s, devices[i]).access, before.access);
            }
            access_scan_finish(&scan);
            rules_release(now ? none : with);
        }
    table_unlock(s);
}

/* A pattern is looked at only when something that it looks at is another. */
static void what_rules_say_is_remembered(void **unused)
{
    (void)unused;
    assert_int_equal(add(PV_ACCESS_BLOCKED, "DeviceType", "Tablet"), RULES_DONE);
    assert_int_equal(folder_sync("ann", "14.1", "0"), 142);
    struct shard *s = table_lock(gate->table, "ann");
    struct device *d = owner_device(shard_owner(s, "ann"), "DEV1");
    assert_int_not_equal(d->ruled, 0);
    /* Nobody may do that: it shows whether the rule is asked again. */
    snprintf(s->rules->at[0].pattern[RULE_TYPE], RULE_PATTERN_MAX, "*");
    table_unlock(s);
    assert_int_equal(folder_sync("ann", "14.1", "0"), 142);
    assert_int_equal(folder_sync("ann", "14.0", "0"), 129); /* another version */
    snprintf(s->rules->at[0].pattern[RULE_TYPE], RULE_PATTERN_MAX, "x");
    assert_int_equal(folder_sync("ann", "14.0", "0"), 129);
    struct http_exchange x = {.key = "0", .agent = "Other", .version = "14.0"}; /* another kind */
    assert_int_equal(outcome(send_body(&x, "FolderSync", foldersync, sizeof foldersync)), 142);
    assert_int_equal(set_default(PV_ACCESS_BLOCKED, true, false, NULL), RULES_DONE);
    struct http_exchange y = {.key = "0", .agent = "Other", .version = "14.0"}; /* other rules */
    assert_int_equal(outcome(send_body(&y, "FolderSync", foldersync, sizeof foldersync)), 129);
}

/* ---- what administrators change ---- */
static void changes_are_asked_for_stored_and_logged(void **unused)
{
    char key[65];
    unsigned devices;
    (void)unused;
    handshake("ann", "14.1", key);
    assert_int_equal(folder_sync("bob", "14.1", "0"), 142); /* not in */
    unsigned audited = world.audited;
    assert_int_equal(set_default(PV_ACCESS_BLOCKED, false, false, &devices), RULES_ASK);
    assert_int_equal(devices, 1);
    assert_int_equal(world.audited, audited);
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
    struct rules_set dry = {
        .change = RULES_DEFAULT, .otherwise = PV_ACCESS_BLOCKED, .dry_run = true};
    assert_int_equal(set(&dry), RULES_DONE);
    assert_int_equal(dry.devices, 1);
    assert_int_equal(folder_sync("ann", "14.1", key), 1);

    assert_int_equal(set_default(PV_ACCESS_BLOCKED, true, false, &devices), RULES_DONE);
    assert_int_equal(devices, 1);
    assert_non_null(strstr(world.last_audit, "\"act\":\"access.default\""));
    assert_non_null(strstr(world.last_audit, "\"before\":{\"default\":\"allow\"}"));
    assert_non_null(strstr(world.last_audit, "\"devices_shut_out\":1"));
    assert_int_equal(folder_sync("ann", "14.1", key), 129);
    assert_int_equal(set_default(PV_ACCESS_BLOCKED, false, false, NULL), RULES_UNCHANGED);
    struct rules_set none = {.change = RULES_REMOVE, .rule.id = 1};
    assert_int_equal(set(&none), RULES_UNKNOWN);

    assert_int_equal(add(PV_ACCESS_OK, "DeviceId", "DEV*"), RULES_DONE);
    assert_non_null(strstr(world.last_audit, "\"act\":\"rule.add\""));
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
    struct rules_set gone = {.change = RULES_REMOVE, .rule.id = 1};
    assert_int_equal(set(&gone), RULES_ASK); /* it would keep out whom the rule has let in */
    gone = (struct rules_set){.change = RULES_REMOVE, .rule.id = 1, .confirm = true};
    assert_int_equal(set(&gone), RULES_DONE);
    assert_int_equal(rule_count(), 0);
    assert_int_equal(folder_sync("ann", "14.1", key), 129);
    assert_int_equal(add(PV_ACCESS_OK, "DeviceId", "DEV*"), RULES_DONE);
    struct rules *r = gate_rules(gate);
    assert_int_equal(r->at[0].id, 2); /* no number is given twice */
    rules_release(r);
}

static void what_cannot_be_stored_does_not_count(void **unused)
{
    char key[65];
    (void)unused;
    handshake("ann", "14.1", key);
    world.store = STORE_FAILS;
    assert_int_equal(add(PV_ACCESS_BLOCKED, "DeviceId", "*"), RULES_STORE);
    world.store = STORE_REFUSES;
    assert_int_equal(add(PV_ACCESS_BLOCKED, "DeviceId", "*"), RULES_STORE);
    world.store = STORE_WRITES;
    assert_int_equal(rule_count(), 0);
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
    assert_int_equal(add(PV_ACCESS_BLOCKED, "DeviceId", "*"), RULES_DONE);
    assert_int_equal(folder_sync("ann", "14.1", key), 129);
}

/* One after the other, each seeing what the one before has left. */
static void changes_wait_for_each_other(void **unused)
{
    char message[200];
    struct rules_set s[3];
    (void)unused;
    world.store = STORE_HOLDS;
    for (size_t i = 0; i < 3; i++) {
        s[i] = (struct rules_set){
            .change = RULES_ADD, .rule.access = PV_ACCESS_OK, .actor = "uid 0", .done = set_done};
        assert_true(rule_condition(&s[i].rule, "OS", "x", message, sizeof message));
        gate_set_rules(gate, &s[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        run_tasks();
        assert_int_equal(world.held, 1);
        release(i != 1);
        assert_int_equal(s[i].result, i != 1 ? RULES_DONE : RULES_STORE);
    }
    assert_int_equal(s[2].rule.id, 2);
    world.store = STORE_WRITES;
    assert_int_equal(rule_count(), 2);
}

static void who_is_in_may_stay(void **unused)
{
    char key[65];
    unsigned devices;
    (void)unused;
    handshake("ann", "14.1", key);
    assert_int_equal(folder_sync("bob", "14.1", "0"), 142);
    /* While a handshake is under way the word is not lost. */
    world.store = STORE_HOLDS;
    struct http_exchange ask = {0}, ack = {0};
    struct told t = told_by(provision(&ask, NULL, 0, NULL));
    provision(&ack, t.key, 1, NULL);
    assert_int_equal(world.held, 1);
    struct rules_set s = {.change = RULES_DEFAULT,
                          .otherwise = PV_ACCESS_QUARANTINED,
                          .keep_known = true,
                          .actor = "uid 0",
                          .done = set_done};
    gate_set_rules(gate, &s);
    run_tasks();
    release(true); /* the handshake */
    release(true);
    run_tasks();
    assert_int_equal(s.result, RULES_DONE);
    assert_int_equal(s.devices, 1);
    assert_int_equal(world.last_put.personal, PV_PERSONAL_ALLOW);
    t = told_by(&ack);
    world.store = STORE_WRITES;
    assert_int_equal(folder_sync("ann", "14.1", t.key), 1);
    assert_int_equal(set_default(PV_ACCESS_BLOCKED, false, true, &devices), RULES_DONE);
    assert_int_equal(devices, 0);
    assert_int_equal(folder_sync("bob", "14.1", "0"), 129);
}

/* More than the store takes at once: round after round. */
static void a_fleet_may_stay(void **unused)
{
    enum { FLEET = 5000 };
    unsigned devices;
    char id[16];
    (void)unused;
    struct shard *s = table_lock(gate->table, "ann");
    for (int i = 0; i < FLEET; i++) {
        bool full;
        snprintf(id, sizeof id, "D%d", i);
        struct device *d = device_add(s, "ann", id, &full);
        assert_non_null(d);
        d->version = PV_V14_1;
        device_keep(d, &(struct pv_partnership){.provisioned_once = true});
        device_save_behind(gate, s, d, NULL, world.now, &(struct cause){0});
    }
    table_unlock(s);
    unsigned put = world.put_devices, audited = world.audited;
    world.store = STORE_FAILS; /* after the first round */
    assert_int_equal(set_default(PV_ACCESS_BLOCKED, false, true, NULL), RULES_STORE);
    assert_true(world.put_devices - put < FLEET);
    world.store = STORE_WRITES;
    assert_int_equal(set_default(PV_ACCESS_BLOCKED, false, true, &devices), RULES_DONE);
    assert_true(devices > 0 && devices < FLEET);
    assert_int_equal(world.put_devices - put, FLEET);
    assert_int_equal(world.audited - audited, FLEET + 1); /* each word, and the default */
    s = table_lock(gate->table, "ann");
    for (struct device *d = shard_owner(s, "ann")->devices; d; d = d->next) {
        assert_int_equal(d->personal, PV_PERSONAL_ALLOW);
        assert_int_equal(access_now(gate, s, d).access, PV_ACCESS_OK);
    }
    table_unlock(s);
}

static void pings_wake_when_access_changes(void **unused)
{
    static const struct {
        enum pv_access to;
        bool due;
    } steps[] = {{PV_ACCESS_QUARANTINED, true}, {PV_ACCESS_BLOCKED, true}};
    char key[65];
    (void)unused;
    handshake("ann", "14.1", key);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct http_exchange x = {0};
        ping_call = NULL;
        send_body(&x, "Ping", ping, sizeof ping);
        assert_non_null(ping_call);
        assert_false(gate_ping_due(ping_call));
        assert_int_equal(set_default(steps[i].to, true, false, NULL), RULES_DONE);
        assert_int_equal(gate_ping_due(ping_call), steps[i].due);
        assert_int_equal(set_default(PV_ACCESS_OK, true, false, NULL), RULES_DONE);
        assert_false(gate_ping_due(ping_call));
        call_status(ping_call, 1);
    }
}

/* ---- what a rule would do ---- */
struct seen {
    unsigned count;
    struct rule_hit last;
    char then_by[ACCESS_BY_TEXT];
};

static void see(void *ctx, const struct rule_hit *h)
{
    struct seen *seen = ctx;
    seen->count++;
    seen->last = *h;
    snprintf(seen->then_by, sizeof seen->then_by, "%s", h->then_by);
}

static struct seen test(enum pv_access access, const char *pattern)
{
    char message[200];
    struct seen seen = {0};
    struct rule r = {.access = (uint8_t)access};
    assert_true(rule_condition(&r, "DeviceType", pattern, message, sizeof message));
    if (!gate_test_rule(gate, &r, see, &seen)) seen.count = UINT32_MAX;
    return seen;
}

static void a_test_changes_nothing(void **unused)
{
    char key[65];
    (void)unused;
    handshake("ann", "14.1", key);
    assert_int_equal(add(PV_ACCESS_OK, "OS", "none"), RULES_DONE);
    struct seen seen = test(PV_ACCESS_BLOCKED, "phone");
    assert_int_equal(seen.count, 1);
    assert_true(seen.last.in);
    assert_int_equal(seen.last.now, PV_ACCESS_OK);
    assert_int_equal(seen.last.then, PV_ACCESS_BLOCKED);
    assert_string_equal(seen.then_by, "rule 2");
    assert_int_equal(test(PV_ACCESS_BLOCKED, "tablet").count, 0);
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
    assert_int_equal(rule_count(), 1);
}

/* ---- from the store ---- */
static void rules_are_loaded(void **unused)
{
    static const char rule[] =
        "{\"id\":4,\"action\":\"block\",\"conditions\":{\"DeviceType\":\"Ph*\"},"
        "\"note\":\"\",\"by\":\"uid 0\",\"at\":1}";
    static const char access[] = "{\"default\":\"quarantine\",\"last_id\":9}";
    static const char *const damaged[][2] = {{"rule", "{}"},
                                             {"rule", "no JSON"},
                                             {"access", "{\"default\":\"deny\",\"last_id\":1}"},
                                             {"access", "{\"default\":\"allow\",\"last_id\":-1}"},
                                             {"access", "[]"}};
    (void)unused;
    gate_destroy(gate);
    world.loaded[world.loaded_count++] =
        (struct store_change){.kind = STORE_PUT_ITEM, .u.item = {"rule", "4", rule}};
    world.loaded[world.loaded_count++] =
        (struct store_change){.kind = STORE_PUT_ITEM, .u.item = {"access", "default", access}};
    start_gate();
    assert_int_equal(folder_sync("ann", "14.1", "0"), 129);
    struct rules *r = gate_rules(gate);
    assert_int_equal(r->otherwise, PV_ACCESS_QUARANTINED);
    assert_int_equal(r->last_id, 9);
    rules_release(r);
    gate_destroy(gate);
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        world.loaded[world.loaded_count - 1].u.item =
            (struct item_record){damaged[i][0], "x", damaged[i][1]};
        assert_false(try_gate()); /* rather closed than open */
        assert_non_null(strstr(error, "access rule"));
    }
    world.loaded_count--;
    start_gate();
}

/* ---- allocations ---- */
static char ann_key[65];

static void begin(void)
{
    set_up(NULL);
    handshake("ann", "14.1", ann_key);
}

static void end(void)
{
    tear_down(NULL);
}

static bool add_run(void)
{
    enum rules_result r = add(PV_ACCESS_BLOCKED, "DeviceType", "Phone");
    assert_true(r == RULES_DONE || r == RULES_STORE);
    return r == RULES_DONE;
}

static void not_added(void)
{
    assert_int_equal(rule_count(), 0);
    assert_int_equal(folder_sync("ann", "14.1", ann_key), 1);
}

static void added(void)
{
    assert_int_equal(rule_count(), 1);
    assert_int_equal(folder_sync("ann", "14.1", ann_key), 129);
}

static bool keep_run(void)
{
    enum rules_result r = set_default(PV_ACCESS_BLOCKED, false, true, NULL);
    assert_true(r == RULES_DONE || r == RULES_STORE);
    return r == RULES_DONE;
}

static void still_in(void)
{
    assert_int_equal(folder_sync("ann", "14.1", ann_key), 1);
}

static bool test_run(void)
{
    return test(PV_ACCESS_BLOCKED, "Phone").count == 1;
}

static bool load_run(void)
{
    return try_gate();
}

static void load_begin(void)
{
    static const char rule[] =
        "{\"id\":4,\"action\":\"block\",\"conditions\":{\"DeviceType\":\"Ph*\"},"
        "\"note\":\"\",\"by\":\"uid 0\",\"at\":1}";
    world = (struct world){.now = 1700000000};
    load_default(5, "{}");
    world.loaded[world.loaded_count++] =
        (struct store_change){.kind = STORE_PUT_ITEM, .u.item = {"rule", "4", rule}};
}

static void load_check(void)
{
    assert_int_equal(rule_count(), 1);
    assert_int_equal(folder_sync("ann", "14.1", "0"), 129);
}

static void allocations_fail(void **unused)
{
    (void)unused;
    failing_malloc_sweep(&(struct sweep){"add a rule", begin, add_run, not_added, added, end});
    failing_malloc_sweep(&(struct sweep){"keep known", begin, keep_run, still_in, still_in, end});
    failing_malloc_sweep(
        &(struct sweep){"test a rule", begin, test_run, not_added, not_added, end});
    failing_malloc_sweep(&(struct sweep){"load", load_begin, load_run, NULL, load_check, end});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_order_of_decision, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_scan_tells_devices_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_rules_say_is_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changes_are_asked_for_stored_and_logged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_stored_does_not_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changes_wait_for_each_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_in_may_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_fleet_may_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pings_wake_when_access_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_test_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rules_are_loaded, set_up, tear_down),
        cmocka_unit_test(allocations_fail),
    };
    json_set_alloc_funcs(malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
