/* What a phone's Ping asks for: read, completed, said again; what an upstream answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing_malloc.h"
#include "src/server/upstream/ping_wish.h"

static const struct ping_limits limits = {60, 900, 3};
static struct pv_arena arena;

static const struct pv_node *node(const char *xml)
{
    const struct pv_node *root;
    if (!xml) return NULL;
    assert_int_equal(pv_xml_read(&arena, xml, strlen(xml), NULL, &root, NULL), PV_OK);
    return root;
}

static int make_arena(void **unused)
{
    (void)unused;
    return pv_arena_create(&arena, 1 << 20) == PV_OK ? 0 : -1;
}

static int free_arena(void **unused)
{
    (void)unused;
    pv_arena_destroy(&arena);
    return 0;
}

/* "A/Email B/" */
static char *folders_of(const struct ping_wish *w)
{
    static char text[256];
    char *to = text;
    const char *at = w->folders;
    for (uint32_t i = 0; i < 2 * w->folder_count; i++) {
        to = stpcpy(to, at);
        *to++ = i % 2 ? ' ' : '/';
        at += strlen(at) + 1;
    }
    assert_int_equal(at - w->folders, w->size);
    if (to > text) to--;
    *to = '\0';
    return text;
}

#define PING(inner) "<Ping xmlns=\"Ping:\">" inner "</Ping>"
#define BEAT(n) "<HeartbeatInterval>" n "</HeartbeatInterval>"
#define FOLDER(id) "<Folder><Id>" id "</Id><Class>Email</Class></Folder>"
#define FOLDERS(inner) "<Folders>" inner "</Folders>"

static struct ping_wish *made(const char *xml, const struct ping_limits *lim)
{
    struct ping_wish *w = NULL;
    uint32_t limit;
    assert_int_equal(ping_wish_read(node(xml), lim, NULL, &w, &limit), 0);
    return w;
}

static void requests(void **unused)
{
    static const struct {
        const char *xml;
        bool known;         /* the last one asked for X, with 5000 seconds */
        unsigned want;
        uint32_t number;    /* heartbeat or limit */
        const char *folders;
    } cases[] = {
        {PING(BEAT("480") FOLDERS(FOLDER("mail/1") FOLDER("7"))), false, 0, 480,
         "mail/1/Email 7/Email"},
        {PING(BEAT("60") FOLDERS("<Folder><Id>a</Id></Folder>" FOLDER("a"))), false, 0, 60, "a/"},
        {PING(BEAT("900") FOLDERS("<Folder><Class>Email</Class><Id>a</Id></Folder>" FOLDER("ab"))),
         true, 0, 900, "a/Email ab/Email"},
        {NULL, false, PING_MISSING, 0, NULL},
        {PING(""), false, PING_MISSING, 0, NULL},
        {PING(BEAT("480")), false, PING_MISSING, 0, NULL},
        {PING(FOLDERS(FOLDER("a"))), false, PING_MISSING, 0, NULL},
        {NULL, true, 0, 900, "X/Email"},
        {PING(""), true, 0, 900, "X/Email"},
        {PING(BEAT("99") "<Folders/>"), true, 0, 99, "X/Email"},
        {PING(FOLDERS(FOLDER("a"))), true, 0, 900, "a/Email"},
        {PING(BEAT("59") FOLDERS(FOLDER("a"))), true, PING_BAD_HEARTBEAT, 60, NULL},
        {PING(BEAT("901") FOLDERS(FOLDER("a"))), false, PING_BAD_HEARTBEAT, 900, NULL},
        {PING(BEAT("60") FOLDERS(FOLDER("1") FOLDER("2") FOLDER("3") FOLDER("4"))), true,
         PING_TOO_MANY_FOLDERS, 3, NULL},
        {PING(BEAT("x") FOLDERS(FOLDER("a"))), true, PING_SYNTAX, 0, NULL},
        {PING(BEAT("99") BEAT("99")), true, PING_SYNTAX, 0, NULL},
        {PING(FOLDERS("<Folder><Class>Email</Class></Folder>")), true, PING_SYNTAX, 0, NULL},
        {PING(FOLDERS("<Folder><Id/></Folder>")), true, PING_SYNTAX, 0, NULL},
        {PING(FOLDERS("<Folder><Id>1</Id><Id>2</Id></Folder>")), true, PING_SYNTAX, 0, NULL},
        {PING(FOLDERS("<Folder><Id opaque=\"YQBi\"/></Folder>")), true, PING_SYNTAX, 0, NULL},
        {PING(FOLDERS("<Folder><Id>1</Id><Class><Id>2</Id></Class></Folder>")), true, PING_SYNTAX,
         0, NULL},
        {PING(FOLDERS("<Id>1</Id>")), true, PING_SYNTAX, 0, NULL},
        {PING("<Folders/><Folders/>"), true, PING_SYNTAX, 0, NULL},
        {PING("<Status>1</Status>"), true, PING_SYNTAX, 0, NULL},
        {"<Sync xmlns=\"AirSync:\"/>", true, PING_SYNTAX, 0, NULL},
    };
    static const struct ping_limits wide = {1, 9999, 9};
    struct ping_wish *last = made(PING(BEAT("5000") FOLDERS(FOLDER("X"))), &wide);
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ping_wish *w = NULL;
        uint32_t limit = 0;
        print_message("# %s\n", cases[i].xml ? cases[i].xml : "empty");
        unsigned got =
            ping_wish_read(node(cases[i].xml), &limits, cases[i].known ? last : NULL, &w, &limit);
        assert_int_equal(got, cases[i].want);
        if (!got) {
            assert_int_equal(w->heartbeat, cases[i].number);
            assert_string_equal(folders_of(w), cases[i].folders);
        } else if (cases[i].number) {
            assert_int_equal(limit, cases[i].number);
        }
        free(w);
        pv_arena_reset(&arena);
    }
    free(last);
}

static void more_than_is_allowed_now(void **unused)
{
    static const struct ping_limits wide = {1, 9999, 9};
    struct ping_wish *w, *last = made(
        PING(BEAT("60") FOLDERS(FOLDER("1") FOLDER("2") FOLDER("3") FOLDER("4"))), &wide);
    uint32_t limit;
    (void)unused;
    assert_int_equal(ping_wish_read(NULL, &limits, last, &w, &limit), PING_MISSING);
    free(last);
}

static void folders_have_a_size(void **unused)
{
    static const struct ping_limits wide = {1, 9999, 1000};
    static char xml[64 * 1024 + 1000];
    char *to = stpcpy(xml, "<Ping xmlns=\"Ping:\"><Folders>");
    struct ping_wish *w;
    uint32_t limit;
    (void)unused;
    for (unsigned i = 0; i < 12; i++) { /* of 4000 bytes each */
        to = stpcpy(to, "<Folder><Id>");
        memset(to, 'a' + (int)i, 4000);
        to = stpcpy(to + 4000, "</Id></Folder>");
    }
    strcpy(to, "</Folders></Ping>");
    struct ping_wish *last = made(PING(BEAT("60") FOLDERS(FOLDER("1"))), &wide);
    assert_int_equal(ping_wish_read(node(xml), &wide, last, &w, &limit), PING_TOO_MANY_FOLDERS);
    assert_int_equal(limit, 8); /* as many as had room */
    free(last);
}

static void said_again(void **unused)
{
    struct ping_wish *w =
        made(PING(BEAT("480") FOLDERS(FOLDER("mail/1") "<Folder><Id>7</Id></Folder>")), &limits);
    const struct pv_node *root;
    uint8_t buf[512];
    char xml[512];
    size_t len, room = ping_wish_room(w);
    (void)unused;
    assert_in_range(room, 1, sizeof buf);
    for (size_t cap = 0; ping_wish_write(w, 1, buf, cap, &len) != PV_OK; cap++)
        assert_in_range(cap, 0, room - 1);
    assert_int_equal(pv_wbxml_decode(&arena, buf, len, NULL, &root, NULL), PV_OK);
    assert_int_equal(pv_xml_write(root, 0, xml, sizeof xml, &len), PV_OK);
    assert_string_equal(
        xml, PING(BEAT("1") FOLDERS(FOLDER("mail/1") "<Folder><Id>7</Id></Folder>")));
    free(w);
}

static void answers(void **unused)
{
    static const struct {
        const char *xml;
        bool good;
        unsigned status;
        uint32_t heartbeat;
    } cases[] = {
        {PING("<Status>1</Status>"), true, 1, 0},
        {PING("<Status>2</Status><Folders><Folder>7</Folder></Folders>"), true, 2, 0},
        {PING("<Folders><Folder>7</Folder></Folders><Status>2</Status>"), true, 2, 0},
        {PING("<Status>5</Status>" BEAT("60")), true, 5, 60},
        {PING("<Status>5</Status>" BEAT("x")), true, 5, 0},
        {PING("<Status>142</Status>"), true, 142, 0},
        {PING("<Status>0</Status>"), false, 0, 0},
        {PING("<Status/>"), false, 0, 0},
        {PING(""), false, 0, 0},
        {"<Sync xmlns=\"AirSync:\"><Status>1</Status></Sync>", false, 0, 0},
    };
    struct ping_said said;
    uint8_t buf[512];
    size_t len;
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pv_wbxml_writer w;
        print_message("# %s\n", cases[i].xml);
        pv_wbxml_begin(&w, buf, sizeof buf);
        pv_wbxml_node(&w, node(cases[i].xml));
        assert_int_equal(pv_wbxml_finish(&w, &len), PV_OK);
        assert_int_equal(ping_said_read(buf, len, &said), cases[i].good);
        if (cases[i].good) {
            assert_int_equal(said.status, cases[i].status);
            assert_int_equal(said.heartbeat, cases[i].heartbeat);
        }
        for (size_t cut = 0; cut < len; cut++) assert_false(ping_said_read(buf, cut, &said));
        pv_arena_reset(&arena);
    }
    assert_false(ping_said_read("<html>", 6, &said));
    static uint8_t big[PING_SAID_MAX + 1];
    assert_false(ping_said_read(big, sizeof big, &said));
}

/* ---- no memory ---- */

static struct ping_wish *wish, *last_wish;
static const struct pv_node *full;

static void before_reading(void)
{
    wish = NULL;
    last_wish = made(PING(BEAT("60") FOLDERS(FOLDER("1"))), &limits);
    full = node(PING(BEAT("60") FOLDERS(FOLDER("2"))));
}

static bool run_read(void)
{
    uint32_t limit;
    return ping_wish_read(full, &limits, last_wish, &wish, &limit) == 0;
}

static bool run_complete(void)
{
    uint32_t limit;
    return ping_wish_read(NULL, &limits, last_wish, &wish, &limit) == 0;
}

static void nothing_read(void)
{
    assert_null(wish);
}

static void is_read(void)
{
    assert_int_equal(wish->folder_count, 1);
}

static void after_reading(void)
{
    free(wish);
    free(last_wish);
    pv_arena_reset(&arena);
}

static void reading_without_memory(void **unused)
{
    (void)unused;
    failing_malloc_sweep(&(struct sweep){"ping_wish_read", before_reading, run_read, nothing_read,
                                         is_read, after_reading});
    failing_malloc_sweep(&(struct sweep){"ping_wish_read, empty", before_reading, run_complete,
                                         nothing_read, is_read, after_reading});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(more_than_is_allowed_now),
        cmocka_unit_test(folders_have_a_size),
        cmocka_unit_test(said_again),
        cmocka_unit_test(answers),
        cmocka_unit_test(reading_without_memory),
    };
    return cmocka_run_group_tests(tests, make_arena, free_arena);
}
