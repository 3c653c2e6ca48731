/* For `make bench`: what a decision of the gate costs with a million partnerships in memory, beside
 * a bare lookup among as many; and how fast SQLite alone reads the rows of a state. */
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/gate_fake.h"

#define KINDS 800    /* of phones */
#define ASKED 400000 /* decisions a round, each of a device chosen at random */
#define ROUNDS 3
#define RULES 20
#define GROUPS 50
#define GROUP_SIZE 1000
#define ASSIGNED 5000 /* users, and as many devices, that have a policy of their own */
#define TEXT 32

static const char usage[] = "usage: bench_gate decisions DEVICES   nanoseconds each\n"
                            "       bench_gate rows FILE           seconds to read the devices\n";

struct name {
    char user[TEXT], id[TEXT];
};

static unsigned devices;
static struct asked {
    struct name name;
    char type[TEXT], agent[TEXT];
    uint32_t key;
} * asked; /* in the order of asking, so that the list itself costs next to nothing */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct name name_of(unsigned i)
{
    struct name n;
    snprintf(n.user, TEXT, "user%06u@example.org", i / 4 * 3 + (i % 4) * 3 / 4);
    snprintf(n.id, TEXT, "APPL%022X", i * 2654435761u);
    return n;
}

static uint32_t key_of(unsigned i)
{
    return i * 2246822519u | 1;
}

static void type_of(unsigned i, char out[TEXT])
{
    snprintf(out, TEXT, "Phone%u", i % KINDS);
}

static void agent_of(unsigned i, char out[TEXT])
{
    snprintf(out, TEXT, "Mail-%u/2001.%u", i % KINDS, i % KINDS % 40);
}

/* ---- the world: rules that do not fit, so that all are looked at, policies, devices ---- */
static void load_rules(const struct store_visitor *v, void *ctx)
{
    for (unsigned i = 1; i <= RULES; i++) {
        char json[256], name[TEXT];
        snprintf(name, sizeof name, "%u", i);
        snprintf(
            json, sizeof json,
            "{\"id\": %u, \"action\": \"block\", \"conditions\": {\"UserAgent\": \"*-%u.%u/*\"},"
            " \"note\": \"\", \"by\": \"\", \"at\": 1}",
            i, i, i);
        v->item(ctx, &(struct item_record){"rule", name, json});
    }
}

/* Every group has a policy, and so have some users and devices. */
static void load_policies(const struct store_visitor *v, void *ctx)
{
    char json[256];
    v->policy(ctx, &(struct policy_record){.name = "strict",
                                           .revision = 6,
                                           .at = 1,
                                           .settings_json = "{\"AllowCamera\": \"0\"}",
                                           .parent = "",
                                           .by = ""});
    for (unsigned i = 0; i < GROUPS; i++) {
        snprintf(json, sizeof json,
                 "{\"scope\": \"group\", \"group\": \"%s\", \"policy\": \"strict\"}",
                 config.groups.group[i].name);
        v->item(ctx, &(struct item_record){"assignment", config.groups.group[i].name, json});
    }
    for (unsigned i = 0; i < 2 * ASSIGNED; i++) {
        struct name n = name_of(i * 97 % devices);
        char device[64] = "";
        if (i % 2) snprintf(device, sizeof device, ", \"device_id\": \"%s\"", n.id);
        snprintf(json, sizeof json,
                 "{\"scope\": \"%s\", \"user\": \"%s\"%s, \"policy\": \"strict\"}",
                 i % 2 ? "device" : "user", n.user, device);
        v->item(ctx, &(struct item_record){"assignment", n.id, json});
    }
}

/* The groups of the configuration, which live as long as the program. */
static void make_groups(void)
{
    static struct config_group groups[GROUPS];
    static char names[GROUPS][TEXT], users[GROUPS * GROUP_SIZE][TEXT];
    static const char *members[GROUPS * GROUP_SIZE];
    for (unsigned i = 0; i < GROUPS * GROUP_SIZE; i++) {
        memcpy(users[i], name_of(i * 11 % devices).user, TEXT);
        members[i] = users[i];
    }
    for (unsigned i = 0; i < GROUPS; i++) {
        snprintf(names[i], TEXT, "group%u", i);
        groups[i] = (struct config_group){names[i], &members[i * GROUP_SIZE], GROUP_SIZE};
    }
    config.groups = (struct config_groups){groups, GROUPS};
}

/* Into memory, as readings of their users would bring them there. */
static void load_devices(void)
{
    for (unsigned i = 0; i < devices; i++) {
        struct name n = name_of(i);
        char type[TEXT], agent[TEXT];
        bool full;
        type_of(i, type);
        agent_of(i, agent);
        const char *const texts[KIND_TEXTS] = {type, agent, type, "OS 17"};
        const struct pv_partnership p = {.key = key_of(i),
                                         .key_at = world.now,
                                         .key_revision = 5,
                                         .outcome = PV_OUTCOME_COMPLIANT,
                                         .outcome_revision = 5,
                                         .said = 1,
                                         .provisioned_once = true,
                                         .asked = true};
        struct shard *s = table_lock(gate->table, n.user);
        struct device *d = device_add(s, n.user, n.id, &full);
        if (!d || !device_set_kind(s, d, texts)) abort();
        d->owner->loaded = true;
        d->version = PV_V16_1;
        d->state = PV_STATE_PROVISIONED;
        d->first_seen = d->last_seen = d->saved_at = (uint32_t)world.now;
        device_keep(d, &p);
        table_unlock(s);
    }
}

static void load_world(const struct store_visitor *v, void *ctx)
{
    load_rules(v, ctx);
    load_policies(v, ctx);
}

/* Every device has confirmed what its policy is today. */
static void confirm_all(void)
{
    for (unsigned i = 0; i < devices; i++) {
        struct name n = name_of(i);
        struct shard *s = table_lock(gate->table, n.user);
        struct device *d = owner_device(shard_owner(s, n.user), n.id);
        const struct revision *policy = policy_for(s->book, n.user, n.id);
        memcpy(d->key_hash, policy->facts[d->version].hash, PV_HASH_LEN);
        table_unlock(s);
    }
}

/* ---- decisions ---- */
static unsigned passed;

static void pass(struct gate_call *gc)
{
    (void)gc;
    passed++;
}

/* Nanoseconds a decision; right: with the key that lets in, else with key 0. */
static double decide(bool right)
{
    static struct http_exchange x;
    static struct gate_call gc;
    passed = 0;
    double began = seconds();
    for (unsigned turn = 0; turn < ASKED; turn++) {
        struct asked *a = &asked[turn];
        x.agent = a->agent;
        x.body_len = 1;
        x.done = false;
        gc.call = (struct call){.http = &x, .gate = gate};
        gc.answered = false;
        memcpy(gc.call.user, a->name.user, TEXT);
        gc.call.req = (struct pv_request){.version = PV_V16_1,
                                          .cmd = PV_CMD_FolderSync,
                                          .device_id = a->name.id,
                                          .device_type = a->type,
                                          .key = {PV_KEY_ZERO, 0}};
        if (right) gc.call.req.key = (struct pv_sent_key){PV_KEY_NUMBER, a->key};
        judge_command(&gc, pass);
        device_release(gc.call.device);
    }
    double each = (seconds() - began) / ASKED * 1e9;
    if (passed != (right ? ASKED : 0)) {
        fprintf(stderr, "bench_gate: %u of %u let in\n", passed, ASKED);
        exit(1);
    }
    return each;
}

/* ---- the yardstick: one table of names, open addressing, a compare at the end ---- */
static struct name *table;
static size_t table_mask;

static size_t place_of(const struct name *n)
{
    uint64_t h = 14695981039346656037u;
    for (const char *c = n->user; *c; c++) h = (h ^ (uint8_t)*c) * 1099511628211u;
    for (const char *c = n->id; *c; c++) h = (h ^ (uint8_t)*c) * 1099511628211u;
    size_t at = (size_t)(h ^ h >> 32) & table_mask;
    while (*table[at].user &&
           (strcmp(table[at].id, n->id) != 0 || strcmp(table[at].user, n->user) != 0))
        at = (at + 1) & table_mask;
    return at;
}

static double look_up(void)
{
    unsigned found = 0;
    double began = seconds();
    for (unsigned turn = 0; turn < ASKED; turn++)
        found += *table[place_of(&asked[turn].name)].user != '\0';
    double each = (seconds() - began) / ASKED * 1e9;
    if (found != ASKED) exit(1);
    return each;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int decisions(void)
{
    double in[ROUNDS], out[ROUNDS], bare[ROUNDS];
    size_t size = 16;
    while (size < devices * 2u) size *= 2;
    table = calloc(size, sizeof *table);
    table_mask = size - 1;
    asked = calloc(ASKED, sizeof *asked);
    if (!table || !asked) return 1;
    for (unsigned i = 0; i < devices; i++) {
        struct name n = name_of(i);
        table[place_of(&n)] = n;
    }
    for (unsigned turn = 0; turn < ASKED; turn++) {
        unsigned i = turn * 2654435769u % devices;
        asked[turn] = (struct asked){.name = name_of(i), .key = key_of(i)};
        type_of(i, asked[turn].type);
        agent_of(i, asked[turn].agent);
    }
    world = (struct world){.now = 1700000000, .load = load_world, .absent = true};
    make_groups();
    load_default(5, "{}");
    config.partnerships_in_memory = devices;
    start_gate();
    load_devices();
    confirm_all();
    for (int r = 0; r < ROUNDS; r++) {
        in[r] = decide(true);
        bare[r] = look_up();
    }
    for (int r = 0; r < ROUNDS; r++) out[r] = decide(false); /* last: it leaves trails */
    qsort(in, ROUNDS, sizeof *in, by_size);
    qsort(out, ROUNDS, sizeof *out, by_size);
    qsort(bare, ROUNDS, sizeof *bare, by_size);
    printf("%.0f %.0f %.0f\n", in[ROUNDS / 2], out[ROUNDS / 2], bare[ROUNDS / 2]);
    gate_destroy(gate);
    free(table);
    free(asked);
    return 0;
}

/* ---- SQLite alone ---- */
static int rows(const char *file)
{
    sqlite3 *db;
    sqlite3_stmt *q;
    size_t bytes = 0;
    double began = seconds();
    if (sqlite3_open_v2(file, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "SELECT * FROM device ORDER BY user, device_id", -1, &q, NULL) !=
            SQLITE_OK)
        return 1;
    while (sqlite3_step(q) == SQLITE_ROW)
        for (int i = 0; i < sqlite3_column_count(q); i++) {
            if (sqlite3_column_type(q, i) == SQLITE_INTEGER)
                bytes += sqlite3_column_int64(q, i) != 0;
            else if (sqlite3_column_text(q, i))
                bytes += (size_t)sqlite3_column_bytes(q, i);
        }
    printf("%.3f\n", seconds() - began);
    sqlite3_finalize(q);
    sqlite3_close(db);
    return bytes == 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "rows") == 0) return rows(argv[2]);
    devices =
        argc == 3 && strcmp(argv[1], "decisions") == 0 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    if (devices) return decisions();
    fputs(usage, stderr);
    return 2;
}
