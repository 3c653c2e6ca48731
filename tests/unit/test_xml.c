/* The XML form, and the worked examples of the protocol in both forms. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <provost/wbxml.h>

#include "tests/tree.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
enum { ARENA = 1 << 16, FILE_MAX = 4096, EXAMPLES = 23 };

static struct pv_arena arena, other;

struct example {
    char name[64];
    uint8_t wbxml[FILE_MAX];
    char xml[FILE_MAX]; /* terminated */
    size_t wbxml_len, xml_len;
    const char *body; /* of xml: behind prolog and DOCTYPE */
};
static struct example examples[EXAMPLES];

static size_t read_file(const char *name, const char *ending, void *buf)
{
    char path[1024];
    size_t len;
    FILE *f;

    snprintf(path, sizeof path, EXAMPLES_DIR "/%s%s", name, ending);
    f = fopen(path, "rb");
    if (!f) return 0;
    len = fread(buf, 1, FILE_MAX - 1, f);
    fclose(f);
    return len;
}

static int is_wbxml(const struct dirent *entry)
{
    const char *ending = strrchr(entry->d_name, '.');

    return ending && strcmp(ending, ".wbxml") == 0;
}

static int set_up(void **state)
{
    struct dirent **names;
    int n = scandir(EXAMPLES_DIR, &names, is_wbxml, alphasort), err = n != EXAMPLES;

    (void)state;
    for (int i = 0; i < n; i++) {
        if (i < EXAMPLES) {
            struct example *e = &examples[i];
            snprintf(e->name, sizeof e->name, "%.*s", (int)strlen(names[i]->d_name) - 6,
                     names[i]->d_name);
            e->wbxml_len = read_file(e->name, ".wbxml", e->wbxml);
            e->xml_len = read_file(e->name, ".xml", e->xml);
            e->body = strstr(e->xml, "microsoft.com/\">\n");
            err |= !e->wbxml_len || !e->xml_len || !e->body;
            if (e->body) e->body = strchr(e->body, '\n') + 1;
        }
        free(names[i]);
    }
    if (n >= 0) free(names);
    return err || pv_arena_create(&arena, ARENA) || pv_arena_create(&other, ARENA);
}

static int tear_down(void **state)
{
    (void)state;
    pv_arena_destroy(&arena);
    pv_arena_destroy(&other);
    return 0;
}

static const struct pv_node *decoded(const struct example *e)
{
    const struct pv_node *root = NULL;
    size_t at;

    pv_arena_reset(&arena);
    assert_int_equal(pv_wbxml_decode(&arena, e->wbxml, e->wbxml_len, &pv_wbxml_limits_small,
                                     &root, &at), PV_OK);
    assert_int_equal(at, e->wbxml_len);
    return root;
}

/* In a block of exactly its size, so that a sanitizer sees a read past the end. */
static enum pv_err read_xml(const char *text, size_t len, const struct pv_wbxml_limits *lim,
                            const struct pv_node **root, size_t *at)
{
    char *exact = malloc(len ? len : 1);

    assert_non_null(exact);
    if (len) memcpy(exact, text, len);
    pv_arena_reset(&arena);
    enum pv_err err = pv_xml_read(&arena, exact, len, lim, root, at);
    free(exact);
    return err;
}

/* Into every smaller buffer, then into one that is just right. */
static void assert_encodes(const struct pv_node *root, const uint8_t *want, size_t want_len)
{
    struct pv_wbxml_writer w;
    uint8_t buf[FILE_MAX];
    size_t len;

    for (size_t cap = 0; cap <= want_len; cap++) {
        pv_wbxml_begin(&w, buf, cap);
        pv_wbxml_node(&w, root);
        assert_int_equal(pv_wbxml_finish(&w, &len), cap < want_len ? PV_E_NOMEM : PV_OK);
    }
    assert_int_equal(len, want_len);
    assert_memory_equal(buf, want, len);
}

static void assert_renders(const struct pv_node *root, unsigned indent, const char *want)
{
    char buf[FILE_MAX];
    size_t len;

    for (size_t cap = 0; cap <= strlen(want); cap++)
        assert_int_equal(pv_xml_write(root, indent, buf, cap, &len), PV_E_NOMEM);
    assert_int_equal(pv_xml_write(root, indent, buf, strlen(want) + 1, &len), PV_OK);
    assert_string_equal(buf, want);
    assert_int_equal(len, strlen(want));
}

static void examples_decode_and_encode(void **state)
{
    (void)state;
    for (size_t i = 0; i < EXAMPLES; i++) {
        const struct example *e = &examples[i];
        const struct pv_node *root = decoded(e);

        print_message("# %s\n", e->name);
        assert_encodes(root, e->wbxml, e->wbxml_len);
        size_t used = arena.used;
        for (size_t cut = 0; cut < e->wbxml_len; cut++) {
            pv_arena_reset(&arena);
            assert_int_equal(pv_wbxml_decode(&arena, e->wbxml, cut, NULL, &root, NULL),
                             PV_E_SHORT);
        }
        for (arena.cap = 0; arena.cap < used; arena.cap++) {
            pv_arena_reset(&arena);
            assert_int_equal(pv_wbxml_decode(&arena, e->wbxml, e->wbxml_len, NULL, &root, NULL),
                             PV_E_NOMEM);
        }
        arena.cap = ARENA;
    }
}

static void examples_from_xml(void **state)
{
    (void)state;
    for (size_t i = 0; i < EXAMPLES; i++) {
        const struct example *e = &examples[i];
        const struct pv_node *root;
        size_t at;

        print_message("# %s\n", e->name);
        assert_int_equal(read_xml(e->xml, e->xml_len, NULL, &root, &at), PV_OK);
        assert_int_equal(at, e->xml_len);
        assert_encodes(root, e->wbxml, e->wbxml_len);
        size_t used = arena.used;
        size_t root_end = (size_t)(strrchr(e->xml, '>') - e->xml) + 1;
        for (size_t cut = 0; cut < root_end; cut++)
            assert_int_equal(read_xml(e->xml, cut, NULL, &root, NULL), PV_E_SHORT);
        for (arena.cap = 0; arena.cap < used; arena.cap += 7)
            assert_int_equal(read_xml(e->xml, e->xml_len, NULL, &root, NULL), PV_E_NOMEM);
        arena.cap = ARENA;
    }
}

static void examples_to_xml(void **state)
{
    static const char no_content[] = "></Provision>";
    char want[FILE_MAX];

    (void)state;
    for (size_t i = 0; i < EXAMPLES; i++) {
        print_message("# %s\n", examples[i].name);
        snprintf(want, sizeof want, "%s", examples[i].body);
        want[strcspn(want, "\n")] = '\0';
        char *empty = strstr(want, no_content); /* one example spells its empty root so */
        if (empty && empty[-1] == '"') memcpy(empty, "/>", sizeof "/>");
        assert_renders(decoded(&examples[i]), 0, want);
    }
}

static void indented_xml_reads_the_same(void **state)
{
    const struct pv_node *root;
    char buf[FILE_MAX];
    size_t len;

    (void)state;
    for (size_t i = 0; i < EXAMPLES; i++) {
        assert_int_equal(pv_xml_write(decoded(&examples[i]), 2, buf, sizeof buf, &len), PV_OK);
        assert_int_equal(read_xml(buf, len, NULL, &root, NULL), PV_OK);
        assert_encodes(root, examples[i].wbxml, examples[i].wbxml_len);
    }
    assert_renders(decoded(&examples[2]), 2, "<FolderSync xmlns=\"FolderHierarchy:\">\n"
                                             "  <Status>142</Status>\n"
                                             "</FolderSync>");
}

/* Trees that are hard to write: white space, references, opaque data among texts. */
static void odd_trees_come_back(void **state)
{
    static const struct { const char *wbxml; size_t len; const char *xml; } cases[] = {
#define DOC(bytes) "\x03\x01\x6a\x00" bytes, sizeof("\x03\x01\x6a\x00" bytes) - 1
        {DOC("\x45\x03 \x00\x01"), "<Sync xmlns=\"AirSync:\"> </Sync>"},
        {DOC("\x45\x03\n\t\x00\x01"), "<Sync xmlns=\"AirSync:\">\n\t</Sync>"},
        {DOC("\x45\x03 \x00\x06\x01"), "<Sync xmlns=\"AirSync:\">&#32;<Responses/></Sync>"},
        {DOC("\x45\x06\x03 \n\x00\x01"), "<Sync xmlns=\"AirSync:\"><Responses/>&#32;\n</Sync>"},
        {DOC("\x45\x06\x03 a \x00\x06\x01"),
         "<Sync xmlns=\"AirSync:\"><Responses/> a <Responses/></Sync>"},
        {DOC("\x45\x03 \x00\xc3\x01x\x03 \x00\x01"),
         "<Sync xmlns=\"AirSync:\">&#32;<_ opaque=\"eA==\"/>&#32;</Sync>"},
        {DOC("\x45\xc3\x01x\xc3\x00\x01"),
         "<Sync xmlns=\"AirSync:\"><_ opaque=\"eA==\"/><_ opaque=\"\"/></Sync>"},
        {DOC("\x45\x03""a\rb\r\n\x00\x01"), "<Sync xmlns=\"AirSync:\">a&#13;b&#13;\n</Sync>"},
        {DOC("\x45\x03""&#38;]]>\x00\x01"), "<Sync xmlns=\"AirSync:\">&amp;#38;]]&gt;</Sync>"},
        {DOC("\x45\x03\xf0\x9f\x93\xb1\xc3\xa9\x00\x01"),
         "<Sync xmlns=\"AirSync:\">\xf0\x9f\x93\xb1\xc3\xa9</Sync>"},
        {DOC("\x7f\x00\xee\x45\x0f\x00\x00\x06\x01\x01"),
         "<_003F xmlns=\"AirSync:\"><_EE05 xmlns=\"_EE:\"><_EE0F/><Responses xmlns=\"AirSync:\"/>"
         "</_EE05></_003F>"},
    };
    char indented[FILE_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct pv_node *root, *again;
        size_t len;

        print_message("# %s\n", cases[i].xml);
        pv_arena_reset(&other);
        assert_int_equal(pv_wbxml_decode(&other, (const uint8_t *)cases[i].wbxml, cases[i].len,
                                         NULL, &root, NULL), PV_OK);
        assert_renders(root, 0, cases[i].xml);
        assert_int_equal(read_xml(cases[i].xml, strlen(cases[i].xml), NULL, &again, NULL), PV_OK);
        assert_true(same_tree(root, again));
        assert_int_equal(pv_xml_write(root, 3, indented, sizeof indented, &len), PV_OK);
        assert_int_equal(read_xml(indented, len, NULL, &again, NULL), PV_OK);
        assert_true(same_tree(root, again));
    }
}

#define ROOT "<Sync xmlns='AirSync:'"

static void reader_is_tolerant(void **state)
{
    static const struct { const char *xml, *want; size_t spare; } cases[] = {
        {"\n<?xml version='1.0'?>\n<!-- a <b> -- --->\n"
         "<!DOCTYPE a PUBLIC \"[>\" '>'>\n" ROOT " />\n ",
         "<Sync xmlns=\"AirSync:\"/>", 0},
        {ROOT "\n></Sync\t>", "<Sync xmlns=\"AirSync:\"/>", 0},
        {ROOT ">&amp;&lt;&gt;&quot;&apos;&#x41;&#66;&#x1F4f1;&#10;</Sync>",
         "<Sync xmlns=\"AirSync:\">&amp;&lt;&gt;\"'AB\xF0\x9F\x93\xB1\n</Sync>", 0},
        {ROOT "> <!-- c --> <Add/> <!-- d --></Sync>", "<Sync xmlns=\"AirSync:\"><Add/></Sync>", 0},
        {ROOT ">a<!-- c -->b &#32;</Sync>", "<Sync xmlns=\"AirSync:\">ab  </Sync>", 0},
        {"<Sync opaque='YQ' xmlns='AirSync:'/>", "<Sync xmlns=\"AirSync:\" opaque=\"YQ==\"/>", 0},
        {ROOT "/>\n<Sync/>", "<Sync xmlns=\"AirSync:\"/>", 7},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct pv_node *root;
        size_t at, len = strlen(cases[i].xml);

        print_message("# %s\n", cases[i].xml);
        assert_int_equal(read_xml(cases[i].xml, len, NULL, &root, &at), PV_OK);
        assert_int_equal(len - at, cases[i].spare);
        assert_renders(root, 0, cases[i].want);
    }
}

static void reader_refuses(void **state)
{
    static const struct pv_wbxml_limits tiny = {
        .document = 90, .depth = 2, .elements = 3, .text = 4, .opaque = 3,
    };
    static const struct { const char *xml; enum pv_err want; size_t at; } cases[] = {
        {"", PV_E_SHORT, 0},
        {" ", PV_E_SHORT, 0},
        {"x", PV_E_SHORT, 0},
        {"x<", PV_E_MALFORMED, 0},
        {"&amp;", PV_E_MALFORMED, 0},
        {"</Sync>", PV_E_MALFORMED, 0},
        {"<Sync/>", PV_E_UNKNOWN, 0},
        {"< Sync xmlns='AirSync:'/>", PV_E_MALFORMED, 0},
        {"<Sync xmlns='AirSync'/>", PV_E_UNKNOWN, 0},
        {"<Sync xmlns=''/>", PV_E_UNKNOWN, 0},
        {"<Sync xmlns='airsync:'/>", PV_E_UNKNOWN, 0},
        {"<Sync xmlns='_19:'/>", PV_E_UNKNOWN, 0},
        {"<sync xmlns='AirSync:'/>", PV_E_UNKNOWN, 0},
        {"<_0005 xmlns='AirSync:'/>", PV_E_UNKNOWN, 0},
        {"<_013F xmlns='AirSync:'/>", PV_E_UNKNOWN, 0},
        {"<_1A04 xmlns='_1A:'/>", PV_E_UNKNOWN, 0},
        {"<_1A40 xmlns='_1A:'/>", PV_E_UNKNOWN, 0},
        {"<_1a05 xmlns='_1A:'/>", PV_E_UNKNOWN, 0},
        {"<_ opaque='YQ=='/>", PV_E_MALFORMED, 0},
        {ROOT "><_/></Sync>", PV_E_MALFORMED, 23},
        {ROOT "><_ opaque='!'/></Sync>", PV_E_MALFORMED, 23},
        {ROOT "><_ opaque='YQ=='></_></Sync>", PV_E_MALFORMED, 23},
        {ROOT " opaque='YQ=='></Sync>", PV_E_MALFORMED, 0},
        {ROOT " opaque='YWFhYQ=='/>", PV_E_TOOBIG, 0},
        {ROOT " opaque='YWFhYWFhYWFhYWFhYWFhYWFh'/>", PV_E_TOOBIG, 0},
        {ROOT " xmlns='AirSync:'/>", PV_E_MALFORMED, 0},
        {ROOT " a='b'/>", PV_E_MALFORMED, 0},
        {ROOT "opaque='YQ=='/>", PV_E_MALFORMED, 0},
        {"<Sync xmlns =''/>", PV_E_MALFORMED, 0},
        {"<Sync xmlns=AirSync:/>", PV_E_MALFORMED, 0},
        {"<Sync xmlns='<'/>", PV_E_MALFORMED, 0},
        {ROOT "/ >", PV_E_MALFORMED, 0},
        {ROOT "></Add>", PV_E_MALFORMED, 23},
        {ROOT "></Sync x>", PV_E_MALFORMED, 23},
        {ROOT ">&nbsp;</Sync>", PV_E_MALFORMED, 23},
        {ROOT ">&#0;</Sync>", PV_E_MALFORMED, 23},
        {ROOT ">&#xD800;</Sync>", PV_E_MALFORMED, 23},
        {ROOT ">&#x110000;</Sync>", PV_E_MALFORMED, 23},
        {ROOT ">&#;</Sync>", PV_E_MALFORMED, 23},
        {ROOT ">&#x;</Sync>", PV_E_MALFORMED, 23},
        {ROOT ">&#xg;</Sync>", PV_E_MALFORMED, 23},
        {ROOT ">& and more</Sync>", PV_E_MALFORMED, 23},
        {ROOT ">\x01</Sync>", PV_E_MALFORMED, 23},
        {ROOT ">\xC3</Sync>", PV_E_MALFORMED, 23},
        {ROOT "><![CDATA[a]]></Sync>", PV_E_UNSUPPORTED, 23},
        {ROOT "><?php ?></Sync>", PV_E_UNSUPPORTED, 23},
        {"<!DOCTYPE a [<!ENTITY b 'c'>]>", PV_E_UNSUPPORTED, 0},
        {"<!DOCTYPE a 'b>", PV_E_SHORT, 0},
        {ROOT "><!-- -- ></Sync>", PV_E_SHORT, 23},
        {ROOT "><Add><Add/></Add></Sync>", PV_E_TOOBIG, 28},
        {ROOT "><Add/><Add/><Add/></Sync>", PV_E_TOOBIG, 35},
        {ROOT ">abcde</Sync>", PV_E_TOOBIG, 23},
        {ROOT ">ab&#99;de</Sync>", PV_E_TOOBIG, 30},
        {ROOT "/>                                                                     ",
         PV_E_TOOBIG, 90},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct pv_node *root = NULL;
        size_t at = 99;

        print_message("# %s\n", cases[i].xml);
        assert_int_equal(read_xml(cases[i].xml, strlen(cases[i].xml), &tiny, &root, &at),
                         cases[i].want);
        assert_int_equal(at, cases[i].at);
        assert_null(root);
    }
}

static void refuses_bad_calls(void **state)
{
    const struct pv_node *root = decoded(&examples[0]), *text = root->child->child;
    char buf[8];
    size_t len;

    (void)state;
    assert_int_equal(pv_xml_write(NULL, 0, buf, sizeof buf, &len), PV_E_USAGE);
    assert_int_equal(pv_xml_write(text, 0, buf, sizeof buf, &len), PV_E_USAGE);
    assert_int_equal(pv_xml_write(root, 0, NULL, 8, &len), PV_E_USAGE);
    assert_int_equal(pv_xml_write(root, 0, NULL, 0, &len), PV_E_NOMEM);
    assert_int_equal(pv_xml_read(NULL, "a", 1, NULL, &root, NULL), PV_E_USAGE);
    assert_int_equal(pv_xml_read(&arena, NULL, 1, NULL, &root, NULL), PV_E_USAGE);
    assert_int_equal(pv_xml_read(&arena, "a", 1, NULL, NULL, NULL), PV_E_USAGE);
    assert_int_equal(pv_xml_read(&arena, NULL, 0, NULL, &root, &len), PV_E_SHORT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_decode_and_encode),
        cmocka_unit_test(examples_from_xml),
        cmocka_unit_test(examples_to_xml),
        cmocka_unit_test(indented_xml_reads_the_same),
        cmocka_unit_test(odd_trees_come_back),
        cmocka_unit_test(reader_is_tolerant),
        cmocka_unit_test(reader_refuses),
        cmocka_unit_test(refuses_bad_calls),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
