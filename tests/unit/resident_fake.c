/* Users who come and go: what the tests of both share. */
#include "tests/unit/resident_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

char key[65];

struct http_exchange *sync_with(struct http_exchange *x, const char *user, const char *with)
{
    *x = (struct http_exchange){.user = user, .key = with};
    return send_body(x, "FolderSync", foldersync, sizeof foldersync);
}

unsigned answer_of(const struct http_exchange *x)
{
    run_tasks();
    return outcome(x);
}

unsigned sync_now(const char *user, const char *with)
{
    struct http_exchange x;
    return answer_of(sync_with(&x, user, with));
}

size_t owners(void)
{
    size_t n = 0;
    for (size_t i = 0; i < TABLE_SHARDS; i++) n += gate->table->shards[i].owners;
    return n;
}

size_t weight(void)
{
    size_t n = 0;
    for (size_t i = 0; i < TABLE_SHARDS; i++) n += gate->table->shards[i].weight;
    return n;
}

bool is_in_memory(const char *user)
{
    struct shard *s = table_lock(gate->table, user);
    bool there = shard_owner(s, user) != NULL;
    table_unlock(s);
    return there;
}

struct device_record stored;
static char stored_texts[8][300];

static void keep_text(const char **text, unsigned i)
{
    snprintf(stored_texts[i], sizeof stored_texts[i], "%s", *text);
    *text = stored_texts[i];
}

static void keep_record(void *ctx, const struct device_record *r)
{
    if (strcmp(r->device_id, ctx) != 0) return;
    stored = *r;
    const char **texts[] = {&stored.user, &stored.device_id, &stored.device_type,
                            &stored.user_agent, &stored.model, &stored.os, &stored.wipe_by,
                            &stored.wipe_reason};
    for (unsigned i = 0; i < 8; i++) keep_text(texts[i], i);
}

void read_stored(const char *user, const char *device_id)
{
    static const struct store_visitor v = {.device = keep_record};
    void (*hook)(const char *) = world.while_read;
    world.while_read = NULL;
    stored = (struct device_record){0};
    assert_true(store_read_user(NULL, user, &v, (void *)(uintptr_t)device_id));
    world.while_read = hook;
}

unsigned woken;

static void wake(struct gate_waiter *w)
{
    (void)w;
    woken++;
}

static struct gate_waiter waiter;
static struct http_exchange ping_exchange;

void wait_on(struct call *c)
{
    woken = 0;
    waiter = (struct gate_waiter){.wake = wake};
    gate_wait_add(c, &waiter);
}

void wait_with_ping(const char *user)
{
    ping_exchange = (struct http_exchange){.user = user};
    send_body(&ping_exchange, "Ping", ping, sizeof ping);
    run_tasks();
    assert_false(ping_exchange.done);
    wait_on(ping_call);
}

void end_ping(void)
{
    gate_wait_remove(gate, &waiter);
    call_status(ping_call, 1);
}

int resident_begin(void **unused)
{
    int result = set_up(unused);
    config.partnerships_in_memory = ROOM;
    return result;
}

int resident_end(void **unused)
{
    config.damping = false;
    return tear_down(unused);
}
