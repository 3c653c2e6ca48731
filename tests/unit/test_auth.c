/* Logins, the users file, failures of the last minute, the cache of verified credentials. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/lib/base/base64.h"
#include "src/server/auth/cache.h"
#include "src/server/auth/login.h"
#include "src/server/auth/throttle.h"
#include "src/server/auth/users.h"
#include "src/server/observe/log.h"

/* The users file complains in the log; here nobody reads it. */
_Bool log_on(enum log_level level)
{
    (void)level;
    return 0;
}

void log_write(enum log_level level, uint64_t session, const char *verb, const struct kv *fields)
{
    (void)level, (void)session, (void)verb, (void)fields;
}

static void test_login_parse(void **state)
{
    (void)state;
    static const struct { const char *text; bool ok; const char *name, *password; } cases[] = {
        {"alice:secret", true, "alice", "secret"},
        {"EXAMPLE\\alice:a:b", true, "EXAMPLE\\alice", "a:b"},
        {"al\xc3\xbc:p\xc3\xa4ss", true, "al\xc3\xbc", "p\xc3\xa4ss"},
        {"alice:", false, NULL, NULL},
        {":secret", false, NULL, NULL},
        {"alice", false, NULL, NULL},
        {"", false, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char field[256] = "Basic ";
        struct login l;
        print_message("# %s\n", cases[i].text);
        assert_int_equal(pv__base64_encode((const uint8_t *)cases[i].text, strlen(cases[i].text),
                                           field + 6, sizeof field - 6), PV_OK);
        assert_int_equal(login_parse(field, &l), cases[i].ok);
        if (cases[i].ok) {
            assert_string_equal(l.name, cases[i].name);
            assert_string_equal(l.password, cases[i].password);
        }
    }
    static const char *const bad[] = {NULL, "", "Basic", "Basic ", "Bearer YTpi", "Basic Y!pi",
                                      "Basic YTpi YTpi", "YTpi"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct login l;
        assert_false(login_parse(bad[i], &l));
    }
    struct login l;
    assert_true(login_parse("bAsIc  YTpi", &l));
    assert_string_equal(l.password, "b");
}

static void test_login_too_long(void **state)
{
    (void)state;
    char plain[1024], field[2048] = "Basic ";
    struct login l;
    memset(plain, 'x', sizeof plain);
    plain[AUTH_USER_MAX - 1] = ':';
    size_t most = AUTH_USER_MAX - 1 + 1 + LOGIN_PASSWORD_MAX - 1;
    assert_int_equal(pv__base64_encode((uint8_t *)plain, most, field + 6, sizeof field - 6), PV_OK);
    assert_true(login_parse(field, &l));
    assert_int_equal(pv__base64_encode((uint8_t *)plain, most + 1, field + 6, sizeof field - 6), PV_OK);
    assert_false(login_parse(field, &l));
    plain[AUTH_USER_MAX - 1] = 'x';
    plain[AUTH_USER_MAX] = ':';
    assert_int_equal(pv__base64_encode((uint8_t *)plain, 200, field + 6, sizeof field - 6), PV_OK);
    assert_false(login_parse(field, &l));
}

static void test_login_names(void **state)
{
    (void)state;
    static const struct { const char *tried, *domain, *want; } cases[] = {
        {"alice", "example.org", "alice"},
        {"alice@example.org", "example.org", "alice@example.org alice"},
        {"alice@EXAMPLE.org", "example.ORG", "alice@EXAMPLE.org alice@example.org alice"},
        {"alice@other.org", "example.org", "alice@other.org"},
        {"alice@example.org", "", "alice@example.org"},
        {"CORP\\alice", "", "alice"},
        {"CORP\\alice@example.org", "example.org", "alice@example.org alice"},
        {"CORP\\", "", ""},
        {"../../etc", "", ""},
        {"a/b@example.org", "example.org", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char names[LOGIN_NAMES_MAX][AUTH_USER_MAX], all[512] = "";
        print_message("# %s\n", cases[i].tried);
        size_t n = login_names(cases[i].tried, cases[i].domain, names);
        for (size_t k = 0; k < n; k++) {
            strncat(all, k ? " " : "", sizeof all - strlen(all) - 1);
            strncat(all, names[k], sizeof all - strlen(all) - 1);
        }
        assert_string_equal(all, cases[i].want);
    }
}

static const char *write_file(const char *text)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/provost-users-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

static void assert_file(const char *path, const char *want)
{
    char text[1024] = "";
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(text, want);
}

static void test_users_read(void **state)
{
    (void)state;
    static const struct { const char *text, *error; } cases[] = {
        {"", NULL},
        {"# only a comment\n\n", NULL},
        {"alice:$6$x$y\n", NULL},
        {"alice:$6$x$y:1000:1000::/home\r\nbob:{SHA512-CRYPT}$6$x$y", NULL},
        {"alice:$6$x$y\nnonsense\n", ":2: not a line of the form name:hash"},
        {"alice:$6$x$y\nalice:$6$z$w\n", "twice"},
        {"a/b:$6$x$y\n", ":1:"},
        {".alice:$6$x$y\n", ":1:"},
        {":$6$x$y\n", ":1:"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char error[256] = "", hash[USERS_HASH_MAX];
        const char *path = write_file(cases[i].text);
        print_message("# case %zu\n", i);
        struct users *u = users_open(path, error, sizeof error);
        if (cases[i].error) {
            assert_null(u);
            assert_non_null(strstr(error, cases[i].error));
            assert_non_null(strstr(error, path));
            assert_null(strstr(error, "$6$"));
        } else {
            assert_non_null(u);
            if (strstr(cases[i].text, "bob")) {
                assert_true(users_find(u, "bob", hash));
                assert_string_equal(hash, "$6$x$y");
                assert_true(users_find(u, "alice", hash));
                assert_string_equal(hash, "$6$x$y");
                assert_false(users_find(u, "Alice", hash));
            }
        }
        users_close(u);
        unlink(path);
    }
    char error[256];
    assert_null(users_open("/nonexistent/users", error, sizeof error));
}

static void test_users_edit(void **state)
{
    (void)state;
    char error[256], hash[USERS_HASH_MAX];
    const char *path = write_file("# staff\nalice:old:1:2\n\nbob:b\n# end");
    assert_int_equal(chmod(path, 0640), 0);
    struct users *u = users_open(path, error, sizeof error);
    assert_non_null(u);
    assert_int_equal(users_edit(u, "alice", "new", true), AUTH_EDIT_OK);
    assert_file(path, "# staff\nalice:new:1:2\n\nbob:b\n# end\n");
    assert_true(users_find(u, "alice", hash));
    assert_string_equal(hash, "new");
    assert_int_equal(users_edit(u, "bob", NULL, true), AUTH_EDIT_OK);
    assert_int_equal(users_edit(u, "carol", "c", false), AUTH_EDIT_OK);
    assert_file(path, "# staff\nalice:new:1:2\n\n# end\ncarol:c\n");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(users_edit(u, "carol", "c", false), AUTH_EDIT_EXISTS);
    assert_int_equal(users_edit(u, "bob", "b", true), AUTH_EDIT_UNKNOWN);
    assert_int_equal(users_edit(u, "a:b", "b", false), AUTH_EDIT_BAD_NAME);
    assert_false(users_stale(u));

    /* A line added by hand is seen, and kept by the next change. */
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    fputs("dave:d\n", f);
    fclose(f);
    assert_true(users_stale(u));
    assert_int_equal(users_edit(u, "dave", "dd", true), AUTH_EDIT_OK);
    assert_true(users_find(u, "dave", hash));
    assert_string_equal(hash, "dd");

    /* A file that got broken is neither read nor written over. */
    f = fopen(path, "a");
    assert_non_null(f);
    fputs("broken\n", f);
    fclose(f);
    assert_int_equal(users_edit(u, "dave", "x", true), AUTH_EDIT_FAILED);
    assert_false(users_reload(u, error, sizeof error));
    assert_true(users_find(u, "dave", hash));
    assert_string_equal(hash, "dd");
    users_close(u);
    unlink(path);
}

static void test_throttle(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    assert_non_null(t);
    for (unsigned i = 1; i <= 10; i++)
        assert_int_equal(throttle_fail(t, 7, 1000 * i), i);
    assert_int_equal(throttle_count(t, 8, 10000), 0);
    assert_int_equal(throttle_count(t, 7, 10000), 10);
    assert_int_equal(throttle_count(t, 7, 1000 + THROTTLE_WINDOW_MS), 9);
    assert_int_equal(throttle_count(t, 7, 10000 + THROTTLE_WINDOW_MS), 0);
    for (unsigned i = 0; i < 1000; i++)
        throttle_fail(t, 7, 200000);
    assert_int_equal(throttle_count(t, 7, 200000), THROTTLE_KEPT);
    throttle_destroy(t);
}

static enum cache_answer look(struct cache *c, const struct digest *d, uint64_t at_ms)
{
    char user[AUTH_USER_MAX];
    enum cache_answer answer = cache_look(c, d, at_ms, 1000, user);
    if (answer != CACHE_UNKNOWN) assert_string_equal(user, "ann");
    return answer;
}

static void test_cache(void **state)
{
    (void)state;
    const struct cached ann = {.user = "ann", .renewed = true};
    struct cache *c = cache_create(1000);
    assert_non_null(c);
    struct digest a = {{1, 2, 3}}, b = {{1, 2, 3, 4}};
    assert_int_equal(look(c, &a, 1), CACHE_UNKNOWN);
    cache_put(c, &a, 1, &ann);
    assert_int_equal(look(c, &a, 1000), CACHE_FRESH); /* and begins anew */
    assert_int_equal(look(c, &a, 1999), CACHE_FRESH);
    assert_int_equal(look(c, &a, 2999), CACHE_KNOWN);
    assert_int_equal(look(c, &b, 2000), CACHE_UNKNOWN);
    cache_put(c, &a, 3000, &ann);
    assert_int_equal(look(c, &a, 3001), CACHE_FRESH);
    for (uint8_t i = 0; i < 4; i++) { /* the same bucket: the longest unused gives way */
        struct digest d = {{1, 2, 3, 9, i}};
        cache_put(c, &d, 4000 + i, &ann);
    }
    assert_int_equal(look(c, &a, 4010), CACHE_UNKNOWN);
    cache_put(c, &b, 5000, &ann);
    cache_drop(c, &b);
    assert_int_equal(look(c, &b, 5000), CACHE_UNKNOWN);
    cache_destroy(c);
}

/* However often it is used: what another server has said does not count for ever. */
static void test_cache_ends(void **state)
{
    (void)state;
    struct cache *c = cache_create(1000);
    const struct digest a = {{1}}, b = {{2}}, d = {{3}};
    assert_non_null(c);
    cache_put(c, &a, 1, &(struct cached){.user = "ann"});
    assert_int_equal(look(c, &a, 900), CACHE_FRESH);
    assert_int_equal(look(c, &a, 1000), CACHE_FRESH);
    assert_int_equal(look(c, &a, 1001), CACHE_KNOWN);
    cache_put(c, &b, 1, &(struct cached){.user = "ann", .until = 1001, .renewed = true});
    assert_int_equal(look(c, &b, 2), CACHE_FRESH);
    cache_put(c, &d, 1, &(struct cached){.user = "ann", .until = 1000, .renewed = true});
    assert_int_equal(look(c, &d, 2), CACHE_KNOWN); /* its second has come */
    cache_destroy(c);
}

static void test_login_canonical(void **state)
{
    (void)state;
    static const struct { const char *tried, *folded, *exact; } cases[] = {
        {"alice", "alice", "alice"},
        {"Alice", "alice", "Alice"},
        {"ALICE@Example.ORG", "alice", "ALICE"},
        {"Alice@Other.Org", "alice@other.org", "Alice@other.org"},
        {"CORP\\Alice", "alice", "Alice"},
        {"CORP\\Alice@example.org", "alice", "Alice"},
        {"\xc3\x84nne", "\xc3\x84nne", "\xc3\x84nne"},
        {"CORP\\", NULL, NULL},
        {"A\\B\\c", NULL, NULL},
        {"@example.org", NULL, NULL},
        {"../x", NULL, NULL},
        {"al ice", NULL, NULL},
        {"", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int exact = 0; exact < 2; exact++) {
            char name[AUTH_USER_MAX];
            const char *want = exact ? cases[i].exact : cases[i].folded;
            print_message("# %s\n", cases[i].tried);
            assert_int_equal(login_canonical(cases[i].tried, "EXAMPLE.org", exact, name), want != NULL);
            if (want) assert_string_equal(name, want);
        }
    }
    char name[AUTH_USER_MAX], longest[AUTH_USER_MAX + 1];
    memset(longest, 'x', sizeof longest);
    longest[AUTH_USER_MAX - 1] = '\0';
    assert_true(login_canonical(longest, "", false, name));
    longest[AUTH_USER_MAX - 1] = 'x';
    longest[AUTH_USER_MAX] = '\0';
    assert_false(login_canonical(longest, "", false, name));
    assert_true(login_is_ascii("alice@example.org"));
    assert_false(login_is_ascii("\xc3\xa4nne"));
}

static void test_login_token(void **state)
{
    (void)state;
    static const struct { const char *field, *token; } cases[] = {
        {"Bearer abc.def", "abc.def"}, {"bEARER   x  ", "x"}, {"Bearer ", NULL}, {"Bearer", NULL},
        {"Bearer a b", NULL}, {"Basic YTpi", NULL}, {NULL, NULL}, {"", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len = 0;
        const char *token = login_token(cases[i].field, &len);
        print_message("# %s\n", cases[i].field ? cases[i].field : "none");
        assert_int_equal(token != NULL, cases[i].token != NULL);
        if (!token) continue;
        assert_int_equal(len, strlen(cases[i].token));
        assert_memory_equal(token, cases[i].token, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login_parse), cmocka_unit_test(test_login_too_long),
        cmocka_unit_test(test_login_names), cmocka_unit_test(test_users_read),
        cmocka_unit_test(test_users_edit),  cmocka_unit_test(test_throttle),
        cmocka_unit_test(test_cache),         cmocka_unit_test(test_cache_ends),
        cmocka_unit_test(test_login_canonical), cmocka_unit_test(test_login_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
