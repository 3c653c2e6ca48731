/* The table of partnerships: finding, removing, what a device costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/gate/table/table.h"

/* ---- what the table needs of the gate ---- */
struct worker *worker_self(void)
{
    return NULL;
}

void worker_post(struct worker *w, struct task *t)
{
    (void)w, (void)t;
}

void book_release(struct book *b)
{
    assert_null(b);
}

uint64_t store_tag(void)
{
    return 1;
}

static unsigned claims_released;

void claim_release(struct claim *c)
{
    claims_released += c != NULL;
}

static uint32_t pick(uint32_t below)
{
    static uint64_t state = 0x9E3779B97F4A7C15;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16) % below;
}

/* Against a plain array of flags: one user, few of whose ids are there at a time. */
static void ids_are_found_until_they_are_removed(void **unused)
{
    (void)unused;
    enum { IDS = 300, TURNS = 20000 };
    struct table *t = table_create();
    struct shard *s = table_lock(t, "ann");
    bool there[IDS] = {false}, full;
    char id[16];
    for (int turn = 0; turn < TURNS; turn++) {
        uint32_t n = pick(IDS);
        snprintf(id, sizeof id, "D%u", n);
        struct device *d = owner_device(shard_owner(s, "ann"), id);
        assert_int_equal(d != NULL, there[n]);
        if (d)
            device_remove(s, d);
        else
            assert_non_null(device_add(s, "ann", id, &full));
        there[n] = !there[n];
    }
    table_unlock(s);
    table_destroy(t);
}

static void a_user_ends_at_a_bound(void **unused)
{
    (void)unused;
    struct table *t = table_create();
    struct shard *s = table_lock(t, "ann");
    bool full;
    char id[16];
    for (int i = 0; i < TABLE_DEVICES_PER_USER; i++) {
        snprintf(id, sizeof id, "D%d", i);
        assert_non_null(device_add(s, "ann", id, &full));
    }
    assert_null(device_add(s, "ann", "ONEMORE", &full));
    assert_true(full);
    table_unlock(s);
    table_destroy(t); /* in a time that does not grow with the square */
}

static void kinds_are_shared(void **unused)
{
    (void)unused;
    struct table *t = table_create();
    struct shard *s = table_lock(t, "ann");
    bool full;
    struct device *a = device_add(s, "ann", "A", &full), *b = device_add(s, "ann", "B", &full);
    const char *const phone[KIND_TEXTS] = {"Phone", "Mail/1 \xff", "M", "O"};
    const char *const newer[KIND_TEXTS] = {[KIND_OS] = "O2"};
    assert_string_equal(device_text(a, KIND_AGENT), "");
    assert_true(device_set_kind(s, a, phone) && device_set_kind(s, b, phone));
    assert_ptr_equal(a->kind, b->kind);
    assert_int_equal(s->kinds.count, 1);
    assert_string_equal(device_text(a, KIND_AGENT), "Mail/1 \\xff");
    assert_true(device_set_kind(s, b, newer));
    assert_int_equal(s->kinds.count, 2);
    assert_string_equal(device_text(b, KIND_TYPE), "Phone");
    assert_string_equal(device_text(b, KIND_OS), "O2");
    assert_string_equal(device_text(a, KIND_OS), "O");
    device_remove(s, b);
    assert_int_equal(s->kinds.count, 1);

    char longer[KIND_TEXT_MAX * 2];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    const char *const cut[KIND_TEXTS] = {longer, longer, longer, longer};
    assert_true(device_set_kind(s, a, cut));
    assert_int_equal(strlen(device_text(a, KIND_OS)), KIND_TEXT_MAX - 1);
    table_unlock(s);
    table_destroy(t);
}

/* Whatever is put in comes out again; what few have takes room only while it is there. */
static void partnerships_are_kept_whole(void **unused)
{
    (void)unused;
    struct table *t = table_create();
    struct shard *s = table_lock(t, "ann");
    bool full;
    struct device *d = device_add(s, "ann", "A", &full);
    struct pv_partnership p, back;
    memset(&p, 0, sizeof p); /* padding too: they are compared as bytes */
    memset(&back, 0, sizeof back);
    device_partnership(d, &back);
    assert_memory_equal(&p, &back, sizeof p);
    assert_null(d->extra);

    p.key = UINT32_MAX;
    p.key_at = UINT32_MAX;
    p.key_revision = UINT32_MAX;
    p.acked_offer = 5;
    p.acked_status = 2;
    p.outcome = PV_OUTCOME_REFUSED;
    p.outcome_revision = 9;
    p.said = 3;
    p.provisioned_once = p.asked = true;
    p.personal = PV_PERSONAL_ALLOW;
    p.wipe = PV_WIPE_DEVICE;
    p.wipe_state = PV_WIPE_STATE_SENT;
    p.shut = PV_SHUT_EXPIRED;
    p.wipe_id = UINT64_MAX;
    p.wipe_at = 1, p.wipe_sent_at = 2, p.wipe_ended_at = 3, p.wipe_expires_at = INT64_MAX;
    memset(p.key_hash, 0xab, sizeof p.key_hash);
    for (uint32_t i = 0; i < PV_OFFER_MAX; i++)
        p.offers[i] = (struct pv_offer){.key = i + 1, .at = 7, .revision = UINT64_MAX};
    assert_true(device_reserve(d, &p));
    device_keep(d, &p);
    device_partnership(d, &back);
    assert_memory_equal(&p, &back, sizeof p);

    memset(p.offers, 0, sizeof p.offers);
    p.wipe_state = PV_WIPE_STATE_NONE;
    struct ticket ticket;
    assert_int_equal(desk_take(&d->desk, &ticket, 1), DESK_NOW);
    device_keep(d, &p);
    assert_non_null(d->extra); /* somebody may need the room */
    desk_leave(&d->desk);
    device_keep(d, &p);
    assert_null(d->extra);
    table_unlock(s);
    table_destroy(t);
}

/* Bonds are found by their device as long as it is there. */
static void bonds_go_with_their_device(void **unused)
{
    (void)unused;
    enum { DEVICES = 200 };
    struct table *t = table_create();
    struct shard *s = table_lock(t, "ann");
    struct device *devices[DEVICES];
    struct claim claim = {0};
    bool full;
    char id[16];
    claims_released = 0;
    for (uint32_t i = 0; i < DEVICES; i++) {
        snprintf(id, sizeof id, "D%u", i);
        devices[i] = device_add(s, "ann", id, &full);
        assert_null(bond_find(&s->bonds, devices[i]));
        for (uint32_t again = 0; again < 2; again++) {
            struct bond *b = calloc(1, sizeof *b);
            *b = (struct bond){.claim = &claim, .key = i + again};
            assert_true(bonds_reserve(&s->bonds));
            bond_free(bond_put(&s->bonds, b, devices[i]));
        }
        devices[i]->bound = true;
    }
    assert_int_equal(claims_released, DEVICES);
    assert_int_equal(s->bonds.count, DEVICES);
    for (uint32_t i = 0; i < DEVICES; i++)
        assert_int_equal(bond_find(&s->bonds, devices[i])->key, i + 1);
    device_hold(devices[7]);
    device_remove(s, devices[7]);
    assert_false(devices[7]->bound);
    assert_null(bond_find(&s->bonds, devices[7]));
    assert_int_equal(s->bonds.count, DEVICES - 1);
    device_release(devices[7]);
    table_unlock(s);
    table_destroy(t);
    assert_int_equal(claims_released, 2 * DEVICES);
}

/* Places are counted as devices come in, are shut out and go. */
static void places_are_counted(void **unused)
{
    (void)unused;
    struct table *t = table_create();
    struct shard *s = table_lock(t, "ann");
    bool full;
    struct device *a = device_add(s, "ann", "A", &full), *b = device_add(s, "ann", "B", &full);
    struct owner *o = shard_owner(s, "ann");
    struct pv_partnership p = {.provisioned_once = true};
    assert_int_equal(o->in, 0);
    device_keep(a, &p);
    device_keep(a, &p);
    assert_int_equal(o->in, 1);
    device_keep(b, &(struct pv_partnership){.outcome = PV_OUTCOME_NON_PROVISIONABLE});
    assert_int_equal(o->in, 2);
    device_keep(b, &(struct pv_partnership){.outcome = PV_OUTCOME_REFUSED});
    assert_int_equal(o->in, 1);
    p.shut = PV_SHUT_WIPED;
    device_keep(a, &p);
    assert_int_equal(o->in, 0);
    p.shut = PV_SHUT_NOT;
    device_keep(a, &p);
    device_hold(a);
    device_remove(s, a);
    assert_int_equal(o->in, 0);
    device_keep(a, &p); /* whoever still held it */
    assert_int_equal(o->in, 0);
    device_release(a);
    table_unlock(s);
    table_destroy(t);
}

/* With an id of 26 characters and malloc's own 8 bytes: a million of them are 192 MB. */
static void a_device_is_small(void **unused)
{
    (void)unused;
    assert_true(offsetof(struct device, id) + 27 + 8 <= 192);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_found_until_they_are_removed),
        cmocka_unit_test(a_user_ends_at_a_bound),
        cmocka_unit_test(kinds_are_shared),
        cmocka_unit_test(partnerships_are_kept_whole),
        cmocka_unit_test(bonds_go_with_their_device),
        cmocka_unit_test(places_are_counted),
        cmocka_unit_test(a_device_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
