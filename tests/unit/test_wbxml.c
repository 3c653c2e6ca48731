/* WBXML: what is accepted, what is refused and where, what is written. */
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
enum { ARENA = 1 << 16 };

static struct pv_arena arena;
static uint8_t bytes[1 << 12];
static char xml[1 << 12];

static int set_up(void **state)
{
    (void)state;
    return pv_arena_create(&arena, ARENA);
}

static int tear_down(void **state)
{
    (void)state;
    pv_arena_destroy(&arena);
    return 0;
}

/* Blanks in hex are for the reader's eye. */
static size_t unhex(const char *hex, uint8_t *out)
{
    size_t n = 0;

    while (*hex) {
        const char digits[3] = {hex[0], hex[1], '\0'};
        if (*hex == ' ') {
            hex++;
            continue;
        }
        out[n++] = (uint8_t)strtoul(digits, NULL, 16);
        hex += 2;
    }
    return n;
}

/* In a block of exactly its size, so that a sanitizer sees a read past the end. */
static enum pv_err decode(const uint8_t *in, size_t len, const struct pv_wbxml_limits *lim,
                          const struct pv_node **root, size_t *at)
{
    static uint8_t *exact;

    free(exact);
    exact = malloc(len ? len : 1);
    assert_non_null(exact);
    if (len) memcpy(exact, in, len);
    pv_arena_reset(&arena);
    return pv_wbxml_decode(&arena, exact, len, lim, root, at);
}

#define HEAD "03 01 6a 00 "
#define PROV HEAD "00 0e "

static const struct {
    const char *name, *hex, *xml;
    size_t spare; /* bytes behind the root */
} accepted[] = {
    {"empty element", PROV "05", "<Provision xmlns=\"Provision:\"/>", 0},
    {"content bit, then END at once", PROV "45 01", "<Provision xmlns=\"Provision:\"/>", 0},
    {"content bit and empty text", PROV "45 03 00 01", "<Provision xmlns=\"Provision:\"/>", 0},
    {"version 1.1", "01 01 6a 00 05", "<Sync xmlns=\"AirSync:\"/>", 0},
    {"version 1.2", "02 01 6a 00 05", "<Sync xmlns=\"AirSync:\"/>", 0},
    {"US-ASCII", "03 01 03 00 05", "<Sync xmlns=\"AirSync:\"/>", 0},
    {"charset not told", "03 01 00 00 05", "<Sync xmlns=\"AirSync:\"/>", 0},
    {"another public id", "03 9f 01 6a 00 05", "<Sync xmlns=\"AirSync:\"/>", 0},
    {"public id in the table", "03 00 01 6a 04 78 2d 2f 00 05", "<Sync xmlns=\"AirSync:\"/>", 0},
    {"header with long numbers", "03 80 01 80 80 6a 80 80 80 80 00 05",
     "<Sync xmlns=\"AirSync:\"/>", 0},
    {"text", HEAD "45 03 3c 26 3e 22 00 01", "<Sync xmlns=\"AirSync:\">&lt;&amp;&gt;\"</Sync>", 0},
    {"text that is no UTF-8", HEAD "45 03 ff c3 a9 00 01",
     "<Sync xmlns=\"AirSync:\">\xEF\xBF\xBD\xC3\xA9</Sync>", 0},
    {"text from the table", "03 01 6a 06 68 69 00 79 6f 00 45 83 03 01",
     "<Sync xmlns=\"AirSync:\">yo</Sync>", 0},
    {"end of a text from the table", "03 01 6a 06 68 69 00 79 6f 00 45 83 01 01",
     "<Sync xmlns=\"AirSync:\">i</Sync>", 0},
    {"empty text from the table", "03 01 6a 03 68 69 00 45 83 02 01",
     "<Sync xmlns=\"AirSync:\"/>", 0},
    {"text in pieces is one", "03 01 6a 03 68 69 00 45 03 61 00 03 00 83 00 00 00 03 62 00 01",
     "<Sync xmlns=\"AirSync:\">ahib</Sync>", 0},
    {"opaque", HEAD "45 c3 02 ff 00 01", "<Sync xmlns=\"AirSync:\" opaque=\"/wA=\"/>", 0},
    {"empty opaque", HEAD "45 c3 00 01", "<Sync xmlns=\"AirSync:\" opaque=\"\"/>", 0},
    {"opaque is no text", HEAD "45 03 61 00 c3 01 62 03 63 00 01",
     "<Sync xmlns=\"AirSync:\">a<_ opaque=\"Yg==\"/>c</Sync>", 0},
    {"opaque of 129 bytes", HEAD "45 c3 81 01"
     "0000000000000000000000000000000000000000000000000000000000000000"
     "0000000000000000000000000000000000000000000000000000000000000000"
     "0000000000000000000000000000000000000000000000000000000000000000"
     "0000000000000000000000000000000000000000000000000000000000000000"
     "00" "01",
     "<Sync xmlns=\"AirSync:\" opaque=\""
     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" "\"/>", 0},
    {"a switch before every token", HEAD "00 0e 00 0e 45 00 0e 4b 00 0e 03 31 00 00 0e 01 00 0e 01",
     "<Provision xmlns=\"Provision:\"><Status>1</Status></Provision>", 0},
    {"the page stays across END", PROV "45 00 12 56 01 00 0e 06 01",
     "<Provision xmlns=\"Provision:\"><DeviceInformation xmlns=\"Settings:\"/><Policies/>"
     "</Provision>", 0},
    {"unknown token", HEAD "7f 3f 01", "<_003F xmlns=\"AirSync:\"><_003F/></_003F>", 0},
    {"unknown page", HEAD "00 1a 45 00 ff 3f 01",
     "<_1A05 xmlns=\"_1A:\"><_FF3F xmlns=\"_FF:\"/></_1A05>", 0},
    {"legacy token", HEAD "45 11 01", "<Sync xmlns=\"AirSync:\"><Version/></Sync>", 0},
    {"last page", HEAD "00 19 05", "<Find xmlns=\"Find:\"/>", 0},
    {"bytes behind the root", PROV "05 01 ff 00", "<Provision xmlns=\"Provision:\"/>", 3},
};

/* What was read can be written, and then says the same. */
static void assert_can_be_said_again(const struct pv_node *root)
{
    struct pv_arena other;
    const struct pv_node *again;
    struct pv_wbxml_writer w;
    uint8_t buf[512];
    size_t len;

    pv_wbxml_begin(&w, buf, sizeof buf);
    pv_wbxml_node(&w, root);
    assert_int_equal(pv_wbxml_finish(&w, &len), PV_OK);
    assert_int_equal(pv_arena_create(&other, ARENA), PV_OK);
    assert_int_equal(pv_wbxml_decode(&other, buf, len, NULL, &again, NULL), PV_OK);
    assert_true(same_tree(root, again));
    pv_arena_destroy(&other);
}

static void accepts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(accepted); i++) {
        const struct pv_node *root = NULL;
        size_t at, used, len = unhex(accepted[i].hex, bytes);

        print_message("# %s\n", accepted[i].name);
        assert_int_equal(decode(bytes, len, NULL, &root, &at), PV_OK);
        assert_int_equal(len - at, accepted[i].spare);
        used = arena.used;
        assert_int_equal(pv_xml_write(root, 0, xml, sizeof xml, &len), PV_OK);
        assert_string_equal(xml, accepted[i].xml);
        assert_can_be_said_again(root);
        for (size_t cut = 0; cut < at; cut++)
            assert_int_equal(decode(bytes, cut, NULL, &root, NULL), PV_E_SHORT);
        for (arena.cap = 0; arena.cap < used; arena.cap++)
            assert_int_equal(decode(bytes, at, NULL, &root, NULL), PV_E_NOMEM);
        arena.cap = ARENA;
    }
}

static const struct {
    const char *name, *hex;
    enum pv_err want;
    size_t at;
} refused[] = {
    {"nothing", "", PV_E_SHORT, 0},
    {"version 1.0", "00 01 6a 00 05", PV_E_UNSUPPORTED, 0},
    {"version 1.4", "04 01 6a 00 05", PV_E_UNSUPPORTED, 0},
    {"XML", "3c 3f 78 6d 6c", PV_E_UNSUPPORTED, 0},
    {"public id of 6 bytes", "03 80 80 80 80 80 01 6a 00 05", PV_E_MALFORMED, 1},
    {"public id of 33 bits", "03 90 80 80 80 00 6a 00 05", PV_E_MALFORMED, 1},
    {"public id outside the table", "03 00 03 6a 02 61 00 05", PV_E_MALFORMED, 1},
    {"public id in no table", "03 00 00 6a 00 05", PV_E_MALFORMED, 1},
    {"public id without end", "03 00 00 6a 02 61 61 05", PV_E_MALFORMED, 1},
    {"ISO 8859-1", "03 01 04 00 05", PV_E_UNSUPPORTED, 2},
    {"charset of 6 bytes", "03 01 80 80 80 80 80 6a 00 05", PV_E_MALFORMED, 2},
    {"table over the limit", "03 01 6a a0 01", PV_E_TOOBIG, 3},
    {"table of 4 GiB", "03 01 6a 8f ff ff ff 7f", PV_E_TOOBIG, 3},
    {"table cut short", "03 01 6a a0 00 05 01", PV_E_SHORT, 3},
    {"END before the root", HEAD "01", PV_E_MALFORMED, 4},
    {"text before the root", HEAD "03 61 00 05", PV_E_MALFORMED, 4},
    {"empty text before the root", HEAD "03 00 05", PV_E_MALFORMED, 4},
    {"opaque before the root", HEAD "c3 01 61 05", PV_E_MALFORMED, 4},
    {"page without number", HEAD "00", PV_E_SHORT, 4},
    {"attributes", HEAD "85 01", PV_E_UNSUPPORTED, 4},
    {"attributes and content", HEAD "c5 01 01", PV_E_UNSUPPORTED, 4},
    {"last tag with all bits", HEAD "ff", PV_E_UNSUPPORTED, 4},
    {"ENTITY", HEAD "45 02 20 01", PV_E_UNSUPPORTED, 5},
    {"LITERAL", HEAD "45 04 00 01", PV_E_UNSUPPORTED, 5},
    {"LITERAL_C", HEAD "45 44 00 01 01", PV_E_UNSUPPORTED, 5},
    {"LITERAL_A", HEAD "45 84 00 01 01", PV_E_UNSUPPORTED, 5},
    {"LITERAL_AC", HEAD "45 c4 00 01 01", PV_E_UNSUPPORTED, 5},
    {"EXT_I_0", HEAD "45 40 00 01", PV_E_UNSUPPORTED, 5},
    {"EXT_T_2", HEAD "45 82 00 01", PV_E_UNSUPPORTED, 5},
    {"EXT_1", HEAD "45 c1 01", PV_E_UNSUPPORTED, 5},
    {"PI", HEAD "43 00 01 05", PV_E_UNSUPPORTED, 4},
    {"missing END", HEAD "45 46 01", PV_E_SHORT, 7},
    {"text without end", HEAD "45 03 61 62", PV_E_SHORT, 5},
    {"text in no table", HEAD "45 83 00 01", PV_E_MALFORMED, 5},
    {"text behind the table", "03 01 6a 02 61 00 45 83 02 01", PV_E_MALFORMED, 7},
    {"text far behind the table", "03 01 6a 02 61 00 45 83 8f ff ff ff 7f 01", PV_E_MALFORMED, 7},
    {"table text without end", "03 01 6a 02 61 61 45 83 00 01", PV_E_MALFORMED, 7},
    {"table offset of 6 bytes", "03 01 6a 02 61 00 45 83 80 80 80 80 80 00 01", PV_E_MALFORMED, 7},
    {"opaque length of 6 bytes", HEAD "45 c3 80 80 80 80 80 01 61 01", PV_E_MALFORMED, 5},
    {"opaque of 4 GiB", HEAD "45 c3 8f ff ff ff 7f", PV_E_TOOBIG, 5},
    {"opaque cut short", HEAD "45 c3 03 61 62", PV_E_SHORT, 5},
};

static void refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        const struct pv_node *root = NULL;
        size_t at = 99, len = unhex(refused[i].hex, bytes);

        print_message("# %s\n", refused[i].name);
        assert_int_equal(decode(bytes, len, NULL, &root, &at), refused[i].want);
        assert_int_equal(at, refused[i].at);
        assert_null(root);
    }
}

static const struct pv_wbxml_limits tiny = {
    .document = 24, .depth = 3, .elements = 4, .text = 4, .opaque = 3, .string_table = 6,
};

static const struct {
    const char *name, *hex;
    enum pv_err want;
    size_t at;
} limited[] = {
    {"depth as allowed", HEAD "45 46 07 01 01", PV_OK, 9},
    {"too deep, and empty", HEAD "45 46 47 08 01 01 01", PV_E_TOOBIG, 7},
    {"elements as allowed", HEAD "45 06 06 06 01", PV_OK, 9},
    {"one element more", HEAD "45 06 06 06 06 01", PV_E_TOOBIG, 8},
    {"text as allowed", HEAD "45 03 61 61 61 61 00 01", PV_OK, 12},
    {"longer text", HEAD "45 03 61 61 61 61 61 00 01", PV_E_TOOBIG, 5},
    {"longer text without end", HEAD "45 03 61 61 61 61 61", PV_E_TOOBIG, 5},
    {"text may yet end", HEAD "45 03 61 61 61 61", PV_E_SHORT, 5},
    {"longer in pieces", HEAD "45 03 61 61 00 03 61 61 00 03 61 00 01", PV_E_TOOBIG, 13},
    {"two texts as allowed", HEAD "45 03 61 61 61 61 00 06 03 61 61 61 61 00 01", PV_OK, 19},
    {"longer from the table", "03 01 6a 06 61 61 61 61 61 00 45 83 00 01", PV_E_TOOBIG, 11},
    {"opaque as allowed", HEAD "45 c3 03 61 61 61 01", PV_OK, 11},
    {"longer opaque", HEAD "45 c3 04 61 61 61 61 01", PV_E_TOOBIG, 5},
    {"longer table", "03 01 6a 07 61 61 61 61 61 61 00 05", PV_E_TOOBIG, 3},
    {"document as allowed, with what follows", HEAD "05 00000000 00000000 00000000 00000000 000000",
     PV_OK, 5},
    {"longer document", HEAD "05 00000000 00000000 00000000 00000000 00000000", PV_E_TOOBIG, 24},
};

static void keeps_limits(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(limited); i++) {
        const struct pv_node *root = NULL;
        size_t at = 99, len = unhex(limited[i].hex, bytes);

        print_message("# %s\n", limited[i].name);
        assert_int_equal(decode(bytes, len, &tiny, &root, &at), limited[i].want);
        assert_int_equal(at, limited[i].at);
    }
}

static void survives_bombs(void **state)
{
    static uint8_t bomb[1 << 20];
    const struct pv_node *root;
    size_t at;

    (void)state;
    memcpy(bomb, (const uint8_t[]){3, 1, 106, 0}, 4);
    memset(bomb + 4, 0x45, sizeof bomb - 4); /* ever deeper */
    assert_int_equal(decode(bomb, sizeof bomb, NULL, &root, &at), PV_E_TOOBIG);
    assert_int_equal(at, 4 + pv_wbxml_limits_default.depth);
    memset(bomb + 5, 0x06, sizeof bomb - 5); /* ever wider, with an arena that could hold it */
    tear_down(NULL);
    assert_int_equal(pv_arena_create(&arena, 8 << 20), PV_OK);
    assert_int_equal(decode(bomb, sizeof bomb, NULL, &root, &at), PV_E_TOOBIG);
    assert_int_equal(at, 4 + pv_wbxml_limits_default.elements);
    for (size_t i = 5; i + 3 <= sizeof bomb; i += 3) /* one text in a great many pieces */
        memcpy(bomb + i, "\x03\x61", 3);
    assert_int_equal(decode(bomb, sizeof bomb, NULL, &root, &at), PV_E_TOOBIG);
    assert_int_equal(at, 5 + 3 * pv_wbxml_limits_default.text);
    assert_true(arena.used < 2 * pv_wbxml_limits_default.text);
    tear_down(NULL);
    assert_int_equal(pv_arena_create(&arena, ARENA), PV_OK);
}

static void refuses_bad_calls(void **state)
{
    static const struct pv_wbxml_limits deep = {.document = 9, .depth = PV_WBXML_DEPTH_MAX + 1};
    const struct pv_node *root;
    size_t at = 99;

    (void)state;
    assert_int_equal(pv_wbxml_decode(NULL, bytes, 5, NULL, &root, &at), PV_E_USAGE);
    assert_int_equal(at, 0);
    assert_int_equal(pv_wbxml_decode(&arena, NULL, 5, NULL, &root, NULL), PV_E_USAGE);
    assert_int_equal(pv_wbxml_decode(&arena, bytes, 5, NULL, NULL, NULL), PV_E_USAGE);
    assert_int_equal(pv_wbxml_decode(&arena, bytes, 5, &deep, &root, NULL), PV_E_USAGE);
    assert_int_equal(pv_wbxml_decode(&arena, NULL, 0, NULL, &root, NULL), PV_E_SHORT);
}

static void answers_questions_about_nodes(void **state)
{
    const struct pv_node *root, *node;
    const char *text;
    uint32_t value;
    size_t len, at;

    (void)state;
    /* Status 1, Status 2^32-1, text, Policies with empty PolicyType, opaque Data, mixed, 2^32 */
    len = unhex(PROV "45 4b 03 31 00 01 4b 03 34323934393637323935 00 01 03 78 00 46 08 01"
                "4a c3 02 6869 01 4b 03 61 00 c3 01 62 01 4b 03 34323934393637323936 00 01 01",
                bytes);
    assert_int_equal(decode(bytes, len, NULL, &root, &at), PV_OK);
    assert_int_equal(pv_node_count(root, 0), 6);
    assert_int_equal(pv_node_count(root, PV_Provision_Status), 4);
    assert_int_equal(pv_node_count(NULL, 0), 0);

    node = pv_node_child(root, PV_Provision_Status);
    assert_true(pv_node_u32(node, &value) && value == 1);
    assert_true(pv_node_text_is(node, "1"));
    assert_false(pv_node_text_is(node, "11") || pv_node_text_is(node, ""));
    node = pv_node_next(node, PV_Provision_Status);
    assert_true(pv_node_u32(node, &value) && value == UINT32_MAX);
    node = pv_node_next(node, PV_Provision_Status); /* text beside opaque */
    assert_false(pv_node_text(node, &text, &len));
    node = pv_node_next(node, PV_Provision_Status); /* one more than 32 bits */
    assert_true(pv_node_text(node, &text, &len) && len == 10);
    assert_false(pv_node_u32(node, &value));
    assert_null(pv_node_next(node, PV_Provision_Status));

    assert_false(pv_node_text(root, &text, &len));
    assert_false(pv_node_text(NULL, &text, &len));
    assert_false(pv_node_text(root->child->child, &text, &len));
    assert_false(pv_node_u32(NULL, &value) || pv_node_text_is(NULL, ""));
    node = pv_node_child(pv_node_child(root, PV_Provision_Policies), PV_Provision_PolicyType);
    assert_true(pv_node_text(node, &text, &len));
    assert_string_equal(text, "");
    assert_true(pv_node_text_is(node, ""));
    assert_false(pv_node_u32(node, &value));
    assert_true(pv_node_text_is(pv_node_child(root, PV_Provision_Data), "hi"));
    assert_null(pv_node_child(root, PV_Settings_Status));
    assert_null(pv_node_child(NULL, PV_Provision_Status));
    assert_null(pv_node_next(NULL, PV_Provision_Status));
}

static void knows_names(void **state)
{
    (void)state;
    assert_string_equal(pv_page_name(0), "AirSync");
    assert_string_equal(pv_page_name(25), "Find");
    assert_null(pv_page_name(26));
    assert_null(pv_page_name(0x10000));
    assert_string_equal(pv_tag_name(PV_Provision_PolicyKey), "PolicyKey");
    assert_string_equal(pv_tag_name(0x0E10), "RequireStorageCardEncryption");
    assert_string_equal(pv_tag_name(0x0011), "Version");
    assert_null(pv_tag_name(0x0004));
    assert_null(pv_tag_name(0x0045));
    assert_null(pv_tag_name(0x1A05));
    assert_int_equal(pv_tag_find("Provision", "PolicyKey"), PV_Provision_PolicyKey);
    assert_int_equal(pv_tag_find("Provision", "policykey"), 0);
    assert_int_equal(pv_tag_find("Provision:", "PolicyKey"), 0);
    assert_int_equal(pv_tag_find("Provisio", "PolicyKey"), 0);
    assert_int_equal(pv_tag_find("_1A", "_1A05"), 0);
    assert_int_equal(pv_tag_find("AirSync", "_003F"), 0);
    assert_int_equal(pv_tag_find("", ""), 0);
    assert_int_equal(pv_tag_find(NULL, "Sync"), 0);
    assert_int_equal(pv_tag_find("AirSync", NULL), 0);
    for (unsigned tag = 0; tag < 0x1A00; tag++) {
        const char *name = pv_tag_name((uint16_t)tag);
        if (name) assert_int_equal(pv_tag_find(pv_page_name(tag >> 8), name), tag);
    }
}

static void writes_leaves(void **state)
{
    static const char want[] =
        PROV "45 4b 03 31 00 01 0a 0a 49 03 34323934393637323935 00 01"
        "00 12 57 03 2d39323233333732303336383534373735383038 00 01 00 0e 4a c3 81 00";
    struct pv_wbxml_writer w;
    uint8_t buf[512], blob[128] = {0};
    size_t len;

    (void)state;
    for (size_t cap = 0; cap < sizeof buf; cap++) {
        pv_wbxml_begin(&w, buf, cap);
        pv_wbxml_start(&w, PV_Provision_Provision);
        pv_wbxml_leaf(&w, PV_Provision_Status, "1");
        pv_wbxml_leaf(&w, PV_Provision_Data, NULL);
        pv_wbxml_leaf(&w, PV_Provision_Data, "");
        pv_wbxml_leaf_u32(&w, PV_Provision_PolicyKey, UINT32_MAX);
        pv_wbxml_leaf_int(&w, PV_Settings_Model, INT64_MIN);
        pv_wbxml_start(&w, PV_Provision_Data);
        pv_wbxml_opaque(&w, blob, sizeof blob);
        pv_wbxml_end(&w);
        pv_wbxml_end(&w);
        enum pv_err err = pv_wbxml_finish(&w, &len);
        if (err) assert_int_equal(err, PV_E_NOMEM);
        assert_int_equal(err == PV_OK, cap >= unhex(want, bytes) + sizeof blob + 2);
    }
    assert_int_equal(len, unhex(want, bytes) + sizeof blob + 2);
    assert_memory_equal(buf, bytes, len - sizeof blob - 2);
    assert_memory_equal(buf + len - 2, "\x01\x01", 2);
}

static void root_only(struct pv_wbxml_writer *w)
{
    pv_wbxml_start(w, PV_AirSync_Sync);
    pv_wbxml_end(w);
}

static void no_root(struct pv_wbxml_writer *w)
{
    (void)w;
}

static void two_roots(struct pv_wbxml_writer *w)
{
    root_only(w);
    root_only(w);
}

static void left_open(struct pv_wbxml_writer *w)
{
    pv_wbxml_start(w, PV_AirSync_Sync);
}

static void closed_twice(struct pv_wbxml_writer *w)
{
    root_only(w);
    pv_wbxml_end(w);
}

static void text_outside(struct pv_wbxml_writer *w)
{
    pv_wbxml_text(w, "a", 1);
}

static void opaque_outside(struct pv_wbxml_writer *w)
{
    root_only(w);
    pv_wbxml_opaque(w, "a", 1);
}

static void nul_in_text(struct pv_wbxml_writer *w)
{
    pv_wbxml_start(w, PV_AirSync_Sync);
    pv_wbxml_text(w, "a\0b", 3);
    pv_wbxml_end(w);
}

static void low_token(struct pv_wbxml_writer *w)
{
    pv_wbxml_start(w, 0x0004);
}

static void high_token(struct pv_wbxml_writer *w)
{
    pv_wbxml_start(w, 0x0045);
}

static void no_node(struct pv_wbxml_writer *w)
{
    pv_wbxml_node(w, NULL);
}

static void too_deep(struct pv_wbxml_writer *w)
{
    for (int i = 0; i <= PV_WBXML_DEPTH_MAX; i++) pv_wbxml_start(w, PV_AirSync_Sync);
}

static void just_deep_enough(struct pv_wbxml_writer *w)
{
    for (int i = 0; i < PV_WBXML_DEPTH_MAX; i++) pv_wbxml_start(w, PV_AirSync_Sync);
    for (int i = 0; i < PV_WBXML_DEPTH_MAX; i++) pv_wbxml_end(w);
}

static void writer_says_what_is_wrong(void **state)
{
    static const struct {
        void (*write)(struct pv_wbxml_writer *w);
        enum pv_err want;
    } cases[] = {
        {root_only, PV_OK},           {just_deep_enough, PV_OK},    {no_root, PV_E_USAGE},
        {two_roots, PV_E_USAGE},      {left_open, PV_E_USAGE},      {closed_twice, PV_E_USAGE},
        {text_outside, PV_E_USAGE},   {opaque_outside, PV_E_USAGE}, {nul_in_text, PV_E_USAGE},
        {low_token, PV_E_USAGE},      {high_token, PV_E_USAGE},     {no_node, PV_E_USAGE},
        {too_deep, PV_E_TOOBIG},
    };
    struct pv_wbxml_writer w;
    size_t len;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("# row %zu\n", i);
        pv_wbxml_begin(&w, bytes, sizeof bytes);
        cases[i].write(&w);
        assert_int_equal(pv_wbxml_finish(&w, &len), cases[i].want);
        pv_wbxml_leaf(&w, PV_AirSync_Sync, "later calls change nothing");
        if (cases[i].want) assert_int_equal(pv_wbxml_finish(&w, &len), cases[i].want);
    }
}

static void a_part_of_a_tree_can_be_written(void **state)
{
    const struct pv_node *root;
    struct pv_wbxml_writer w;
    size_t len = unhex(PROV "45 46 08 01 4b 03 31 00 01 01", bytes), out_len;
    uint8_t out[64];

    (void)state;
    assert_int_equal(decode(bytes, len, NULL, &root, NULL), PV_OK);
    pv_wbxml_begin(&w, out, sizeof out);
    pv_wbxml_node(&w, pv_node_child(root, PV_Provision_Policies));
    assert_int_equal(pv_wbxml_finish(&w, &out_len), PV_OK);
    len = unhex(PROV "46 08 01", bytes);
    assert_int_equal(out_len, len);
    assert_memory_equal(out, bytes, len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),
        cmocka_unit_test(refuses),
        cmocka_unit_test(keeps_limits),
        cmocka_unit_test(survives_bombs),
        cmocka_unit_test(refuses_bad_calls),
        cmocka_unit_test(answers_questions_about_nodes),
        cmocka_unit_test(knows_names),
        cmocka_unit_test(writes_leaves),
        cmocka_unit_test(writer_says_what_is_wrong),
        cmocka_unit_test(a_part_of_a_tree_can_be_written),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
