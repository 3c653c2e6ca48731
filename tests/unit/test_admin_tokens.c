/* Tokens of the administration, how often something may happen, and when something is to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/admin/internal.h"
#include "tests/unit/failing_malloc.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))
#define NOW 1000000

static const uint8_t bytes[32] = {0xfb, 0xef, 0xbe, 0xff, 7};

static struct token token_of(const char *name, uint8_t first, char text[TOKEN_TEXT_LEN + 1])
{
    struct token t = {.scopes = ADMIN_READ, .created_at = NOW};
    uint8_t random[32];
    memcpy(random, bytes, sizeof random);
    random[0] = first;
    snprintf(t.name, sizeof t.name, "%s", name);
    token_make(&t, random, text);
    return t;
}

static bool opens(struct tokens *all, const char *text, int64_t now)
{
    char field[256];
    struct token out;
    snprintf(field, sizeof field, "Bearer %s", text);
    return tokens_check(all, field, now, &out);
}

static void what_a_token_looks_like(void **unused)
{
    /* printf pvt_... | sha256sum */
    static const uint8_t hash[32] = {0x6e, 0x2b, 0x21, 0x80, 0xa8, 0x14, 0x61, 0xea,
                                     0x27, 0xdc, 0xd8, 0x5f, 0xc5, 0x8b, 0xe3, 0xfa,
                                     0x3e, 0x3d, 0x2a, 0x63, 0x10, 0x77, 0xbc, 0x54,
                                     0xfc, 0x81, 0x97, 0x50, 0xec, 0xc1, 0xdd, 0x7a};
    struct token t = {0};
    char text[TOKEN_TEXT_LEN + 1];
    (void)unused;
    token_make(&t, bytes, text);
    assert_string_equal(text, "pvt_----_wcAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_memory_equal(t.hash, hash, sizeof hash);
}

static void fields(void **unused)
{
    char text[TOKEN_TEXT_LEN + 1], field[256];
    struct token t = token_of("ci", 1, text), out;
    static const struct {
        const char *format; /* NULL: no field */
        bool opens;
    } cases[] = {
        {"Bearer %s", true},   {"bearer %s", true},   {"BEARER   %s", true}, {NULL, false},
        {"", false},           {"Bearer", false},     {"Bearer ", false},    {"%s", false},
        {"Bearer%s", false},   {"Basic %s", false},   {"Bearer x%s", false}, {"Bearer %sx", false},
        {"Bearer %s ", false}, {"Bearer\t%s", false}, {" Bearer %s", false},
    };
    struct tokens *all = tokens_create();
    (void)unused;
    assert_int_equal(tokens_add(all, &t), TOKENS_OK);
    tokens_settle(all, "ci", true);
    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("# %s\n", cases[i].format ? cases[i].format : "(none)");
        const char *blank = cases[i].format ? strstr(cases[i].format, "%s") : NULL;
        if (blank)
            snprintf(field, sizeof field, "%.*s%s%s", (int)(blank - cases[i].format),
                     cases[i].format, text, blank + 2);
        else
            snprintf(field, sizeof field, "%s", cases[i].format ? cases[i].format : "");
        assert_int_equal(tokens_check(all, cases[i].format ? field : NULL, NOW, &out),
                         cases[i].opens);
        if (cases[i].opens) assert_string_equal(out.name, "ci");
    }
    for (size_t i = 0; i < TOKEN_TEXT_LEN; i++) { /* each other character, one at a time */
        char other[TOKEN_TEXT_LEN + 1];
        memcpy(other, text, sizeof other);
        other[i] = other[i] == 'A' ? 'B' : 'A';
        assert_false(opens(all, other, NOW));
    }
    tokens_destroy(all);
}

static void the_life_of_a_token(void **unused)
{
    char text[TOKEN_TEXT_LEN + 1], ends_text[TOKEN_TEXT_LEN + 1], again_text[TOKEN_TEXT_LEN + 1];
    struct token t = token_of("ci", 1, text), ends = token_of("ends", 2, ends_text);
    struct token again = token_of("ci", 3, again_text);
    struct tokens *all = tokens_create();
    (void)unused;
    assert_false(opens(all, text, NOW));
    assert_int_equal(tokens_add(all, &t), TOKENS_OK);
    assert_false(opens(all, text, NOW)); /* not on the disk yet */
    assert_int_equal(tokens_add(all, &again), TOKENS_EXISTS);
    assert_int_equal(tokens_close(all, "ci"), TOKENS_UNKNOWN);
    tokens_settle(all, "ci", false);
    assert_false(opens(all, text, NOW));
    assert_int_equal(tokens_add(all, &t), TOKENS_OK);
    tokens_settle(all, "ci", true);
    assert_true(opens(all, text, NOW));

    ends.expires_at = NOW + 10;
    assert_int_equal(tokens_add(all, &ends), TOKENS_OK);
    tokens_settle(all, "ends", true);
    assert_true(opens(all, ends_text, NOW + 9));
    assert_false(opens(all, ends_text, NOW + 10));
    assert_true(opens(all, text, INT64_MAX));

    assert_int_equal(tokens_close(all, "none"), TOKENS_UNKNOWN);
    assert_int_equal(tokens_close(all, "ci"), TOKENS_OK);
    assert_false(opens(all, text, NOW)); /* before it is off the disk */
    assert_int_equal(tokens_close(all, "ci"), TOKENS_UNKNOWN); /* one removal at a time */
    assert_int_equal(tokens_add(all, &again), TOKENS_EXISTS);
    tokens_forget(all, "ci", false);
    assert_false(opens(all, text, NOW));
    assert_int_equal(tokens_close(all, "ci"), TOKENS_OK);
    tokens_forget(all, "ci", true);
    assert_int_equal(tokens_add(all, &again), TOKENS_OK);
    tokens_settle(all, "ci", true);
    assert_true(opens(all, again_text, NOW));
    assert_false(opens(all, text, NOW));
    tokens_destroy(all);
}

static void note_name(void *ctx, const struct token *t);

/* The store has others by now. */
static void taken_anew(void **unused)
{
    char text[6][TOKEN_TEXT_LEN + 1];
    struct token t[6], out;
    static const char *const names[] = {"stays", "goes", "added", "removed", "shut", "comes"};
    struct tokens *all = tokens_create();
    (void)unused;
    for (size_t i = 0; i < COUNT(t); i++) {
        t[i] = token_of(names[i], (uint8_t)(i + 1), text[i]);
        if (i == 5) break; /* known to the store alone */
        assert_int_equal(tokens_add(all, &t[i]), TOKENS_OK);
        if (i != 2) tokens_settle(all, names[i], true);
    }
    assert_true(opens(all, text[0], NOW));
    assert_int_equal(tokens_close(all, "removed"), TOKENS_OK);
    assert_int_equal(tokens_close(all, "shut"), TOKENS_OK);
    tokens_forget(all, "shut", false);

    const struct token stored[] = {t[0], t[3], t[4], t[5]};
    tokens_take(all, stored, COUNT(stored));
    char field[64];
    snprintf(field, sizeof field, "Bearer %s", text[0]);
    assert_true(tokens_check(all, field, NOW + 1, &out));
    for (size_t i = 1; i < COUNT(t); i++) assert_int_equal(opens(all, text[i], NOW), i == 5);
    tokens_settle(all, "added", true); /* what was under way ends as ever */
    assert_true(opens(all, text[2], NOW));
    tokens_reopen(all, "removed");
    assert_true(opens(all, text[3], NOW));
    tokens_reopen(all, "shut"); /* no removal is under way */
    assert_false(opens(all, text[4], NOW));

    /* Another one of that name, and nothing at all. */
    t[0] = token_of("stays", 77, text[1]);
    tokens_take(all, t, 1);
    assert_true(opens(all, text[1], NOW));
    assert_false(opens(all, text[0], NOW));
    assert_false(opens(all, text[5], NOW));
    assert_int_equal(tokens_add(all, &stored[2]), TOKENS_OK); /* its place is free again */
    tokens_take(all, NULL, 0);
    assert_false(opens(all, text[1], NOW));
    tokens_destroy(all);
}

static void last_use_stays(void **unused)
{
    char text[TOKEN_TEXT_LEN + 1], field[64];
    struct token t = token_of("ci", 1, text), out;
    struct tokens *all = tokens_create();
    (void)unused;
    tokens_take(all, &t, 1);
    snprintf(field, sizeof field, "Bearer %s", text);
    assert_true(tokens_check(all, field, NOW, &out));
    tokens_take(all, &t, 1);
    char seen[80] = "";
    tokens_each(all, note_name, seen);
    assert_string_equal(seen, "ci!");
    tokens_destroy(all);
}

static void note_name(void *ctx, const struct token *t)
{
    strcat(ctx, t->name);
    if (t->last_used_at) strcat(ctx, "!");
}

static void how_many(void **unused)
{
    char text[TOKEN_TEXT_LEN + 1], name[16], names[8 * TOKENS_MAX] = "";
    struct token one;
    struct tokens *all = tokens_create();
    (void)unused;
    for (int i = 0; i < TOKENS_MAX; i++) {
        snprintf(name, sizeof name, "t%d", i);
        one = token_of(name, (uint8_t)i, text);
        assert_int_equal(tokens_add(all, &one), TOKENS_OK);
        if (i < 3) tokens_settle(all, name, true);
    }
    one = token_of("more", 0, text);
    assert_int_equal(tokens_add(all, &one), TOKENS_FULL);
    one = token_of("t1", 1, text);
    assert_true(opens(all, text, NOW));
    tokens_each(all, note_name, names);
    assert_string_equal(names, "t0t1!t2");
    tokens_destroy(all);
}

static void names(void **unused)
{
    static const struct {
        const char *name;
        bool good;
    } cases[] = {{"ci", true},   {"a.b-c_9", true}, {"", false},
                 {"a b", false}, {"a/b", false},    {"\xc3\xa4", false}};
    char longest[TOKEN_NAME_MAX + 1];
    (void)unused;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(token_name_good(cases[i].name), cases[i].good);
    memset(longest, 'a', TOKEN_NAME_MAX);
    longest[TOKEN_NAME_MAX] = '\0';
    assert_false(token_name_good(longest));
    longest[TOKEN_NAME_MAX - 1] = '\0';
    assert_true(token_name_good(longest));
}

static void kept_and_read_again(void **unused)
{
    char text[TOKEN_TEXT_LEN + 1];
    struct token t = token_of("ci", 1, text), back;
    (void)unused;
    t.scopes = ADMIN_READ | ADMIN_WIPE;
    t.expires_at = NOW + 5;
    json_t *json = token_to_json(&t);
    char *kept = json_dumps(json, JSON_COMPACT);
    assert_null(strstr(kept, text + 4)); /* not even in part */
    assert_true(token_of_json("ci", kept, &back));
    assert_memory_equal(back.hash, t.hash, sizeof t.hash);
    assert_int_equal(back.scopes, t.scopes);
    assert_int_equal(back.created_at, t.created_at);
    assert_int_equal(back.expires_at, t.expires_at);
    assert_string_equal(back.name, "ci");
    assert_false(token_of_json("a/b", kept, &back));
    for (size_t cut = 0; cut < strlen(kept); cut++) {
        char *part = strndup(kept, cut);
        assert_false(token_of_json("ci", part, &back));
        free(part);
    }
    free(kept);
    static const char *const damaged[] = {
        "{\"sha256\":\"00\",\"scopes\":[\"read\"],\"created_at\":1,\"expires_at\":0}",
        "{\"sha256\":\"%1$s\",\"scopes\":[],\"created_at\":1,\"expires_at\":0}",
        "{\"sha256\":\"%1$s\",\"scopes\":[\"all\"],\"created_at\":1,\"expires_at\":0}",
        "{\"sha256\":\"%1$s\",\"scopes\":[1],\"created_at\":1,\"expires_at\":0}",
        "{\"sha256\":\"%1$s\",\"scopes\":[\"read\"],\"created_at\":1}",
        "{\"sha256\":\"%1$s\",\"scopes\":[\"read\"],\"created_at\":1,\"expires_at\":\"0\"}",
    };
    const char *hash = json_string_value(json_object_get(json, "sha256"));
    for (size_t i = 0; i < COUNT(damaged); i++) {
        char *s = strdup(damaged[i]), *mark = strstr(s, "%1$s"), whole[512];
        snprintf(whole, sizeof whole, "%.*s%s%s", mark ? (int)(mark - s) : (int)strlen(s), s,
                 mark ? hash : "", mark ? mark + 4 : "");
        print_message("# %s\n", whole);
        assert_false(token_of_json("ci", whole, &back));
        free(s);
    }
    json_decref(json);
}

static void scopes(void **unused)
{
    char text[SCOPES_TEXT_MAX];
    (void)unused;
    scopes_text(0, text);
    assert_string_equal(text, "nothing");
    scopes_text(ADMIN_OPERATE, text);
    assert_string_equal(text, "operate");
    scopes_text(ADMIN_ALL_SCOPES, text);
    assert_string_equal(text, "read, operate, wipe");
}

/* ---- how often ---- */

static void bursts_and_refill(void **unused)
{
    struct limiter *l = limiter_create(3, 100);
    unsigned retry = 0;
    (void)unused;
    for (int i = 0; i < 3; i++) assert_true(limiter_take(l, 7, 5000, &retry));
    assert_false(limiter_take(l, 7, 5000, &retry));
    assert_int_equal(retry, 1);
    assert_true(limiter_take(l, 8, 5000, &retry)); /* another's bucket */
    assert_false(limiter_take(l, 7, 5099, &retry));
    assert_true(limiter_take(l, 7, 5100, &retry));
    assert_false(limiter_take(l, 7, 5100, &retry));
    for (int i = 0; i < 3; i++) assert_true(limiter_take(l, 7, 9000, &retry)); /* never more */
    assert_false(limiter_take(l, 7, 9000, &retry));
    limiter_destroy(l);
    l = limiter_create(1, 30000);
    assert_true(limiter_take(l, 7, 5000, &retry));
    assert_false(limiter_take(l, 7, 5500, &retry));
    assert_int_equal(retry, 30);
    limiter_destroy(l);
}

/* Whoever has many addresses pushes out full buckets, not the empty one of somebody who waits. */
static void strangers_do_not_fill_it_up(void **unused)
{
    struct limiter *l = limiter_create(20, 5000);
    unsigned retry;
    (void)unused;
    for (int i = 0; i < 20; i++) assert_true(limiter_take(l, 7, 5000, &retry));
    for (uint64_t key = 1000; key < 101000; key++) limiter_take(l, key, 5001, &retry);
    assert_false(limiter_take(l, 7, 5002, &retry));
    limiter_destroy(l);
}

/* ---- until when ---- */

static void until(void **unused)
{
    static const struct {
        const char *text;
        int64_t at; /* 0: refused */
    } cases[] = {
        {"1s", NOW + 1},     {"2m", NOW + 120}, {"12h", NOW + 43200}, {"90d", NOW + 7776000},
        {"36500d", NOW + 36500LL * 86400},      {"36501d", 0},        {"0d", 0},
        {"1970-01-31", 2592000},                {"1970-01-01", 0},    {"", 0},
        {"d", 0},            {"-1d", 0},        {"1w", 0},            {"01d", 0},
        {"1 d", 0},          {"soon", 0},       {"99999999999999999999d", 0},
    };
    (void)unused;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t at = 0;
        print_message("# %s\n", cases[i].text);
        assert_int_equal(admin_until(cases[i].text, NOW, &at), cases[i].at != 0);
        if (cases[i].at) assert_int_equal(at, cases[i].at);
    }
}

/* ---- memory ---- */

static json_t *made;
static struct token kept;

static bool make_run(void)
{
    json_decref(made);
    made = token_to_json(&kept);
    return made != NULL;
}

static void make_whole(void)
{
    assert_int_equal(json_object_size(made), 4);
    assert_int_equal(json_array_size(json_object_get(made, "scopes")), 3);
    json_decref(made);
    made = NULL;
}

static struct tokens *all_tokens;
static struct limiter *limiter;

static bool create_run(void)
{
    if (!all_tokens) all_tokens = tokens_create();
    if (!limiter) limiter = limiter_create(1, 1);
    return all_tokens && limiter;
}

static void create_whole(void)
{
    unsigned retry;
    assert_true(limiter_take(limiter, 1, 1, &retry));
    assert_false(opens(all_tokens, "", NOW));
    tokens_destroy(all_tokens);
    limiter_destroy(limiter);
    all_tokens = NULL;
    limiter = NULL;
}

static void without_memory(void **unused)
{
    char text[TOKEN_TEXT_LEN + 1];
    (void)unused;
    kept = token_of("ci", 1, text);
    kept.scopes = ADMIN_ALL_SCOPES;
    failing_malloc_sweep(&(struct sweep){"token", NULL, make_run, NULL, make_whole, NULL});
    failing_malloc_sweep(&(struct sweep){"create", NULL, create_run, NULL, create_whole, NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_token_looks_like),
        cmocka_unit_test(fields),
        cmocka_unit_test(the_life_of_a_token), cmocka_unit_test(taken_anew),
        cmocka_unit_test(last_use_stays),
        cmocka_unit_test(how_many),
        cmocka_unit_test(names),
        cmocka_unit_test(kept_and_read_again),
        cmocka_unit_test(scopes),
        cmocka_unit_test(bursts_and_refill),
        cmocka_unit_test(strangers_do_not_fill_it_up),
        cmocka_unit_test(until),
        cmocka_unit_test(without_memory),
    };
    json_set_alloc_funcs(malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
