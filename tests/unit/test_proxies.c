/* Who stands behind a proxy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/http/proxies.h"

static struct proxies *parse(const char *const *list)
{
    char error[PROXIES_ERROR_MAX] = "";
    struct proxies *p = proxies_parse(list, error, sizeof error);
    if (!p)
        fail_msg("%s", error);
    return p;
}

static void test_networks(void **state)
{
    (void)state;
    static const struct {
        const char *network, *peer;
        bool in;
    } cases[] = {
        { "10.0.0.0/8", "10.255.0.1", true },    { "10.0.0.0/8", "11.0.0.0", false },
        { "10.0.0.0/8", "::ffff:10.1.1.1", true }, { "10.0.0.0/8", "a00::", false },
        { "192.0.2.128/25", "192.0.2.128", true }, { "192.0.2.128/25", "192.0.2.127", false },
        { "192.0.2.7", "192.0.2.7", true },      { "192.0.2.7", "192.0.2.6", false },
        { "0.0.0.0/0", "203.0.113.9", true },    { "0.0.0.0/0", "2001:db8::1", false },
        { "::/0", "2001:db8::1", true },         { "::/0", "192.0.2.1", true },
        { "2001:db8::/33", "2001:db8:7fff::1", true }, { "2001:db8::/33", "2001:db8:8000::1", false },
        { "::ffff:10.0.0.0/104", "10.9.9.9", true }, { "::1", "::1", true },
        { "unix", "unix", true },                { "::/0", "unix", false },
        { "unix", "127.0.0.1", false },          { "10.0.0.0/8", "nonsense", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *list[] = { "198.51.100.1", cases[i].network, NULL };
        struct proxies *p = parse(list);
        if (proxies_trust(p, cases[i].peer) != cases[i].in)
            fail_msg("%s in %s", cases[i].peer, cases[i].network);
        assert_true(proxies_trust(p, "198.51.100.1"));
        proxies_free(p);
    }
    struct proxies *none = parse(NULL);
    assert_false(proxies_trust(none, "127.0.0.1"));
    assert_false(proxies_trust(none, "unix"));
    proxies_free(none);
}

static void test_what_is_no_network(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",          "localhost",   "10.0.0.0/33",   "10.0.0.0/",  "10.0.0.0/-1", "10.0.0.0/8 ",
        "10.0.0",    "10.0.0.0/08x", "::1/129",      "[::1]",      "10.1.2.3/8",  "2001:db8::1/64",
        "unix:/x",   "10.0.0.0/8,::1", "10.0.0.0//8", "192.0.2.1:80",
        "11111111111111111111111111111111111111111111111111111111111111111111111111111111111111111",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *list[] = { "10.0.0.0/8", bad[i], NULL };
        char error[PROXIES_ERROR_MAX] = "";
        assert_null(proxies_parse(list, error, sizeof error));
        if (!strchr(error, '"'))
            fail_msg("%s: %s", bad[i], error);
    }
}

static void test_clients(void **state)
{
    (void)state;
    static const char *const trusted[] = { "10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1", NULL };
    static const struct {
        const char *values[4];
        const char *want; /* NULL: nobody */
    } cases[] = {
        { { "203.0.113.5" }, "203.0.113.5" },
        { { "203.0.113.5, 10.0.0.1" }, "203.0.113.5" },
        /* What a client has put there itself stands before whom the first proxy saw. */
        { { "127.0.0.1, 198.51.100.1,203.0.113.5 ,\t10.0.0.1, 10.0.0.2" }, "203.0.113.5" },
        { { "198.51.100.1", "203.0.113.5", "10.0.0.1" }, "203.0.113.5" },
        { { "203.0.113.5", "10.0.0.1, 10.0.0.2", "10.0.0.3" }, "203.0.113.5" },
        /* All are proxies: the first. */
        { { "10.0.0.1, 10.0.0.2" }, "10.0.0.1" },
        /* Nonsense, and what stands before it. */
        { { "203.0.113.5, unknown" }, NULL },
        { { "203.0.113.5, unknown, 10.0.0.2" }, "10.0.0.2" },
        { { "203.0.113.5, , 10.0.0.2" }, "10.0.0.2" },
        { { "203.0.113.5,," }, NULL },
        { { "203.0.113.5", "", "10.0.0.2" }, "10.0.0.2" },
        { { "" }, NULL },
        { { NULL }, NULL },
        { { "10.0.0.1 10.0.0.2" }, NULL },
        { { "unix" }, NULL },
        /* As it may be written. */
        { { "203.0.113.5:4711" }, "203.0.113.5" },
        { { "203.0.113.5:port" }, NULL },
        { { "203.0.113.5:" }, NULL },
        { { "[2001:DB8:2::1]:443, 10.0.0.1:1" }, "2001:db8:2::1" },
        { { "[2001:db8:2::1]" }, "2001:db8:2::1" },
        { { "[2001:db8:2::1" }, NULL },
        { { "[2001:db8:2::1]x" }, NULL },
        { { "[203.0.113.5]" }, NULL },
        { { "2001:db8:2::1, 2001:db8:1::7" }, "2001:db8:2::1" },
        { { "::ffff:203.0.113.5, ::ffff:10.0.0.1" }, "203.0.113.5" },
        { { "fe80::1%eth0" }, NULL },
        { { "0x7f.1" }, NULL },
    };
    struct proxies *p = parse(trusted);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char client[CLIENT_MAX] = "";
        size_t count = 0;
        while (cases[i].values[count]) count++;
        bool any = proxies_client(p, cases[i].values, count, client);
        if (any != (cases[i].want != NULL) || (any && strcmp(client, cases[i].want) != 0))
            fail_msg("row %zu: %s, not %s", i, client, cases[i].want ? cases[i].want : "nobody");
    }
    proxies_free(p);
}

static void test_https(void **state)
{
    (void)state;
    static const char *const yes[] = { "http", "HTTPS " }, *const list[] = { "http, https" };
    static const char *const no[] = { "https", "http" }, *const ends[] = { "https, " };
    static const char *const longer[] = { "https2" };
    assert_true(proxies_say_https(yes, 2));
    assert_true(proxies_say_https(list, 1));
    assert_false(proxies_say_https(no, 2));
    assert_false(proxies_say_https(ends, 1));
    assert_false(proxies_say_https(longer, 1));
    assert_false(proxies_say_https(no, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_what_is_no_network),
        cmocka_unit_test(test_clients),
        cmocka_unit_test(test_https),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
