/* The store: what a change was made of, what becomes of its neighbours, and where it stands. Of the
 * interface alone, as test_store.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/store_help.h"

static void a_device_is_replaced_by_who_knows_its_state(void **unused)
{
    (void)unused;
    static const struct { const char *what; bool there, fits, stored; } cases[] = {
        {"the first", false, false, true},
        {"a first one, but there is one", true, false, false},
        {"the next", true, true, true},
        {"of a state that is not there", false, true, false},
    };
    struct store *s = open_store();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %s\n", cases[i].what);
        struct store_change first = device_change("u", "D"), next = first;
        next_tag(&next);
        next.u.device.was = cases[i].fits ? first.u.device.tag : 0;
        next.u.device.partnership.key = 17;
        memset(next.u.device.partnership.offers, 0, sizeof next.u.device.partnership.offers);
        if (cases[i].there)
            assert_true(put(s, &first, 1));
        assert_int_equal(conflicts(s, &next, 1), !cases[i].stored);
        struct seen *seen = read_user(s, "u");
        assert_int_equal(seen->device_count, cases[i].there || cases[i].stored);
        if (seen->device_count)
            assert_same_device(&seen->devices[0], cases[i].stored ? &next.u.device : &first.u.device);
        forget(seen);
        const struct store_change drop = {.kind = STORE_REMOVE_USER, .u.user = {.user = "u"}};
        assert_true(put(s, &drop, 1));
    }
    store_close(s);
}

static void a_device_is_removed_by_who_knows_its_state(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    struct store_change first = device_change("u", "D"), next = first;
    next_tag(&next);
    assert_true(put(s, &first, 1));
    assert_true(put(s, &next, 1));
    struct store_change drop[] = {
        user_change("u", false),
        {.kind = STORE_REMOVE_DEVICE,
         .u.device = {.user = "u", .device_id = "D", .was = first.u.device.tag}}};
    assert_true(conflicts(s, drop, 2));
    struct seen *seen = read_user(s, "u");
    assert_same_device(&seen->devices[0], &next.u.device);
    assert_int_equal(seen->user_count, 0);
    forget(seen);
    drop[1].u.device.was = 0; /* nobody knew of it */
    assert_true(conflicts(s, drop, 2));
    drop[1].u.device.was = next.u.device.tag;
    assert_true(put(s, drop, 2));
    assert_true(conflicts(s, &drop[1], 1)); /* it is gone */
    drop[1].u.device.was = 0;
    assert_true(put(s, &drop[1], 1));
    store_close(s);
}

static void a_device_has_a_tag(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    struct store_change changes[] = {user_change("u", false), device_change("u", "D")};
    changes[1].u.device.tag = 0;
    assert_false(store_submit(s, changes, 2, NULL));
    struct seen *seen = read_user(s, "u");
    assert_int_equal(seen->text_count, 0);
    forget(seen);
    store_close(s);
}

/* Two that were made of the same state: one is stored, whatever else came with it. */
static void of_two_successors_one_is_stored_whole(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    struct store_change first = device_change("u", "D");
    assert_true(put(s, &first, 1));
    for (int round = 0; round < 20; round++) {
        struct wait w[2] = {0};
        struct store_change both[2][2];
        for (int i = 0; i < 2; i++) {
            both[i][0] = user_change(i ? "b" : "a", true);
            both[i][1] = first;
            next_tag(&both[i][1]);
            w[i].write.done = wait_done;
            assert_true(store_submit(s, both[i], 2, &w[i].write));
        }
        bool stored[] = {wait_for(&w[0]), wait_for(&w[1])};
        assert_true(stored[0] != stored[1]);
        assert_true(w[stored[0]].write.conflict);
        assert_false(w[stored[1]].write.conflict);
        first = both[stored[1]][1];
        struct seen *seen = read_all(s);
        assert_int_equal(seen->user_count, 1);
        assert_string_equal(seen->users[0].user, stored[1] ? "b" : "a");
        assert_same_device(&seen->devices[0], &first.u.device);
        forget(seen);
        const struct store_change drop = {.kind = STORE_REMOVE_USER,
                                          .u.user = {.user = stored[1] ? "b" : "a"}};
        assert_true(put(s, &drop, 1));
    }
    store_close(s);
}

static struct store_change text_change(enum store_kind kind, const char *json, const char *was)
{
    if (kind == STORE_PUT_FOLDER_IDS)
        return (struct store_change){.kind = kind, .u.folder_ids = {"u", json, was}};
    return (struct store_change){.kind = kind, .u.item = {"rule", "7", json, was}};
}

static void a_text_is_replaced_by_who_knows_it(void **unused)
{
    (void)unused;
    static const struct { const char *there, *was; bool stored; } cases[] = {
        {NULL, NULL, true}, {NULL, "", true},   {NULL, "[1]", false}, {"[1]", NULL, true},
        {"[1]", "", false}, {"[1]", "[1]", true}, {"[1]", "[1] ", false}, {"[1]", "[", false},
    };
    static const enum store_kind kinds[] = {STORE_PUT_ITEM, STORE_REMOVE_ITEM, STORE_PUT_FOLDER_IDS};
    struct store *s = open_store();
    for (size_t i = 0; i < sizeof cases / sizeof *cases * 3; i++) {
        const char *there = cases[i / 3].there, *was = cases[i / 3].was, *text = "";
        enum store_kind kind = kinds[i % 3];
        print_message("# %u: %s, expected %s\n", kind, there ? there : "-", was ? was : "-");
        const struct store_change clean[] = {
            {.kind = STORE_REMOVE_USER, .u.user = {.user = "u"}},
            text_change(STORE_REMOVE_ITEM, NULL, NULL),
        };
        const struct store_change first =
            text_change(kind == STORE_REMOVE_ITEM ? STORE_PUT_ITEM : kind, there, NULL);
        const struct store_change change[] = {user_change("u", true), text_change(kind, "[2]", was)};
        assert_true(put(s, clean, 2));
        if (there)
            assert_true(put(s, &first, 1));
        assert_int_equal(conflicts(s, change, 2), !cases[i / 3].stored);

        struct folder_ids_record folders = {0};
        struct item_record item = {0};
        void *block = NULL;
        if (kind == STORE_PUT_FOLDER_IDS && store_read_folder_ids(s, "u", &folders, &block))
            text = folders.ids_json;
        if (kind != STORE_PUT_FOLDER_IDS && store_read_item(s, "rule", "7", &item, &block))
            text = item.json;
        assert_string_equal(text, !cases[i / 3].stored       ? there ? there : ""
                                  : kind == STORE_REMOVE_ITEM ? ""
                                                             : "[2]");
        free(block);
        struct seen *seen = read_user(s, "u");
        assert_int_equal(seen->user_count, cases[i / 3].stored);
        forget(seen);
    }
    store_close(s);
}

static void flags_are_replaced_by_who_knows_them(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    /* Bit 0: enabled, bit 1: no_device_wipe; there 4: no row. */
    for (unsigned there = 0; there <= 4; there++)
        for (unsigned was = 0; was < 5; was++) { /* 4: whatever there is */
            const struct store_change clean = {.kind = STORE_REMOVE_USER, .u.user = {.user = "u"}};
            const struct store_change first = {.kind = STORE_PUT_USER,
                                               .u.user = {"u", there & 1, there & 2}};
            const struct store_change change = {
                .kind = STORE_PUT_USER,
                .u.user = {"u", false, true, was < 4, was & 1, was & 2}};
            bool fits = was == 4 || was == (there == 4 ? 1 : there);
            print_message("# %u, expected %u\n", there, was);
            assert_true(put(s, &clean, 1));
            if (there < 4)
                assert_true(put(s, &first, 1));
            assert_int_equal(conflicts(s, &change, 1), !fits);
            struct seen *seen = read_user(s, "u");
            assert_int_equal(seen->user_count, there < 4 || fits);
            if (seen->user_count) {
                assert_int_equal(seen->users[0].enabled, fits ? false : there & 1);
                assert_int_equal(seen->users[0].no_device_wipe, fits ? true : (there & 2) != 0);
            }
            forget(seen);
        }
    store_close(s);
}

static void a_folder_state_is_replaced_by_who_knows_its_key(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    for (unsigned there = 0; there < 3; there++) /* 0: none */
        for (unsigned was = 0; was < 4; was++) { /* 3: whatever there is */
            struct folder_state_record r = {.user = "u", .device_id = "d", .key = there,
                                            .tree_json = "[]", .previous_tree_json = "",
                                            .ping_json = ""};
            const struct store_change clean = {.kind = STORE_REMOVE_USER, .u.user = {.user = "u"}};
            const struct store_change first = {.kind = STORE_PUT_FOLDER_STATE, .u.folder_state = r};
            struct store_change change = first;
            void *block = NULL;
            change.u.folder_state.key = 7;
            change.u.folder_state.checked = was < 3;
            change.u.folder_state.was_key = was;
            bool fits = was == 3 || was == there;
            print_message("# %u, expected %u\n", there, was);
            assert_true(put(s, &clean, 1));
            if (there)
                assert_true(put(s, &first, 1));
            assert_int_equal(conflicts(s, &change, 1), !fits);
            assert_int_equal(store_read_folder_state(s, "u", "d", &r, &block), there || fits);
            if (there || fits)
                assert_int_equal(r.key, fits ? 7 : there);
            free(block);
        }
    store_close(s);
}

/* A revision is never changed: the second one of that number fails, and all that came with it. */
static void a_submission_is_atomic(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    const struct store_change first = policy_change(1, "default");
    const struct store_change broken[] = {user_change("alice", false), policy_change(1, "other"),
                                          user_change("bob", false)};
    assert_true(put(s, &first, 1));
    assert_true(conflicts(s, broken, 3));
    struct seen *seen = read_all(s);
    assert_int_equal(seen->user_count, 0);
    assert_int_equal(seen->policy_count, 1);
    assert_string_equal(seen->policies[0].name, "default");
    forget(seen);
    store_close(s);
}

static void one_bad_submission_fails_alone_and_order_is_kept(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    const struct store_change first = policy_change(1, "default");
    assert_true(put(s, &first, 1));

    struct wait w[MANY] = {0};
    done_count = 0;
    for (size_t i = 0; i < MANY; i++) {
        const struct store_change c =
            i == 77 ? policy_change(1, "again") : user_change("alice", i % 2);
        w[i].write.done = wait_done;
        assert_true(store_submit(s, &c, 1, &w[i].write));
    }
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(wait_for(&w[i]), i != 77);
        assert_int_equal(w[i].write.conflict, i == 77);
        assert_int_equal(w[i].order, i);
    }
    struct seen *seen = read_all(s);
    assert_int_equal(seen->user_count, 1);
    assert_int_equal(seen->users[0].enabled, (MANY - 1) % 2);
    forget(seen);
    store_close(s);
}

/* ---- the chain ---- */
static void see_line(void *ctx, const struct log_record *r)
{
    snprintf((char *)ctx + strlen(ctx), 200 - strlen(ctx), "%llu%s ", (unsigned long long)r->seq,
             r->json);
}

static struct store_change seal(uint64_t id, uint64_t seq, const char *json)
{
    return (struct store_change){.kind = STORE_SEAL_AUDIT, .u.log = {id, json, seq}};
}

/* A line moves: it never stands in both, nor in none, nor twice. */
static void lines_are_sealed_into_a_chain(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    char seen[200] = "";
    for (int i = 0; i < 4; i++) {
        const struct store_change add = {.kind = STORE_ADD_AUDIT, .u.log = {0, "x"}};
        assert_true(put(s, &add, 1));
    }
    assert_string_equal(lines_of(s, STORE_LOG_AUDIT, 0, 10), "x x x x ");
    const uint64_t id[] = {line_ids[0], line_ids[1], line_ids[2], line_ids[3]};
    const struct store_change two[] = {seal(id[0], 1, "one"), seal(id[1], 2, "two")};
    assert_true(put(s, two, 2));
    assert_string_equal(lines_of(s, STORE_LOG_AUDIT, 0, 10), "x x ");

    const struct store_change again = seal(id[0], 3, "one"), taken = seal(id[2], 2, "three");
    const struct store_change half[] = {seal(id[2], 3, "three"), seal(id[3], 1, "four")};
    assert_true(conflicts(s, &again, 1));
    assert_true(conflicts(s, &taken, 1));
    assert_true(conflicts(s, half, 2));
    assert_string_equal(lines_of(s, STORE_LOG_AUDIT, 0, 10), "x x ");
    assert_true(store_read_log(s, STORE_LOG_CHAIN, 0, 10, see_line, seen));
    assert_string_equal(seen, "1one 2two ");

    const struct store_change rest[] = {seal(id[2], 3, "three"), seal(id[3], 4, "four")};
    const struct store_change drop = {.kind = STORE_REMOVE_CHAIN, .u.log = {0, NULL, 2}};
    assert_true(put(s, rest, 2));
    assert_true(put(s, &drop, 1));
    store_close(s);
    s = open_store();
    seen[0] = '\0';
    assert_true(store_read_log(s, STORE_LOG_CHAIN, 0, 10, see_line, seen));
    assert_string_equal(seen, "3three 4four ");
    seen[0] = '\0';
    assert_true(store_read_log(s, STORE_LOG_CHAIN, 3, 10, see_line, seen));
    assert_string_equal(seen, "4four ");
    seen[0] = '\0';
    assert_true(store_read_log(s, STORE_LOG_CHAIN, 2, 1, see_line, seen));
    assert_string_equal(seen, "3three ");
    assert_string_equal(lines_of(s, STORE_LOG_AUDIT, 0, 10), "");
    store_close(s);
}

/* ---- what stands where ---- */
static void what_is_submitted_settles(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    uint64_t start = store_submitted(s);
    assert_true(store_settled(s, start));
    assert_true(store_settle(s, start));
    const struct store_change first = policy_change(1, "a"), again = policy_change(1, "b");
    assert_true(put(s, &first, 1));
    assert_true(store_settled(s, store_submitted(s)));
    assert_true(store_submit(s, &again, 1, NULL)); /* fails, and settles too */
    for (int i = 0; i < MANY; i++) {
        const struct store_change c = user_change("alice", i % 2);
        assert_true(store_submit(s, &c, 1, NULL));
    }
    uint64_t end = store_submitted(s);
    assert_true(end > start);
    assert_true(store_settle(s, end));
    assert_true(store_settled(s, end));
    struct seen *seen = read_user(s, "alice");
    assert_int_equal(seen->users[0].enabled, (MANY - 1) % 2);
    forget(seen);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_device_is_replaced_by_who_knows_its_state),
        TEST(a_device_is_removed_by_who_knows_its_state),
        TEST(a_device_has_a_tag),
        TEST(of_two_successors_one_is_stored_whole),
        TEST(a_text_is_replaced_by_who_knows_it),
        TEST(flags_are_replaced_by_who_knows_them),
        TEST(a_folder_state_is_replaced_by_who_knows_its_key),
        TEST(a_submission_is_atomic),
        TEST(one_bad_submission_fails_alone_and_order_is_kept),
        TEST(lines_are_sealed_into_a_chain),
        TEST(what_is_submitted_settles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
