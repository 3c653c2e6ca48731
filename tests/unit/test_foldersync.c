/* FolderSync apart from I/O: ServerIds, differences, SyncKeys, the request and the answer. And what
 * Ping reads and keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/mailbox/ping_request.h"
#include "src/server/mailbox/sync_state.h"
#include "src/server/mailbox/tree.h"

/* ---- ServerIds ---- */

#define FOLDERS_MOST 6
struct disk { const char *name; uint64_t identity; }; /* 0: unknown */

static struct folder_list list_of(struct folder *at, const struct disk *disk)
{
    struct folder_list l = {.at = at};
    for (; l.count < FOLDERS_MOST && disk[l.count].name; l.count++) {
        const struct disk *d = &disk[l.count];
        at[l.count] = (struct folder){
            .name = (char *)(uintptr_t)d->name,
            .display = (char *)(uintptr_t)d->name,
            .identity = {d->identity, d->identity},
            .type = l.count ? FOLDER_MAIL : FOLDER_INBOX,
            .parent = SIZE_MAX,
        };
    }
    return l;
}

/* One life of a mailbox; each step goes through the stored form. */
static const struct {
    const char *name;
    struct disk disk[FOLDERS_MOST];
    uint32_t ids[FOLDERS_MOST];
    bool changed;
} steps[] = {
    {"first", {{"INBOX", 0}, {"A", 10}, {"B", 11}}, {1, 2, 3}, true},
    {"again", {{"INBOX", 0}, {"A", 10}, {"B", 11}}, {1, 2, 3}, false},
    {"renamed", {{"INBOX", 0}, {"B", 11}, {"C", 10}}, {1, 3, 2}, true},
    {"swapped", {{"INBOX", 0}, {"B", 10}, {"C", 11}}, {1, 2, 3}, true},
    {"removed", {{"INBOX", 0}, {"B", 10}}, {1, 2}, true},
    {"never used twice", {{"INBOX", 0}, {"B", 10}, {"C", 12}}, {1, 2, 4}, true},
    {"renamed, and another one in its place", {{"INBOX", 0}, {"B", 13}, {"D", 10}, {"C", 12}},
     {1, 5, 2, 4}, true},
    {"restored elsewhere", {{"INBOX", 0}, {"B", 21}, {"C", 22}, {"D", 23}}, {1, 5, 4, 2}, true},
    {"identities unknown", {{"INBOX", 0}, {"B", 0}, {"C", 0}, {"D", 0}}, {1, 5, 4, 2}, true},
    {"known again", {{"INBOX", 0}, {"B", 21}, {"C", 22}, {"D", 23}}, {1, 5, 4, 2}, true},
    {"one identity twice", {{"INBOX", 0}, {"B", 21}, {"C", 21}, {"D", 23}}, {1, 5, 4, 2}, true},
    {"last one gone", {{"INBOX", 0}}, {1}, true},
    {"all new", {{"INBOX", 0}, {"B", 21}, {"C", 22}, {"D", 23}}, {1, 6, 7, 8}, true},
};

static void test_ids(void **state)
{
    char *stored = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct folder folders[FOLDERS_MOST];
        struct folder_list l = list_of(folders, steps[i].disk);
        struct folder_ids ids;
        uint32_t got[FOLDERS_MOST];
        bool changed;
        print_message("# %s\n", steps[i].name);
        assert_true(folder_ids_read(stored, &ids));
        assert_true(folder_ids_assign(&ids, &l, got, &changed));
        assert_int_equal(changed, steps[i].changed);
        assert_memory_equal(got, steps[i].ids, l.count * sizeof *got);
        free(stored);
        stored = folder_ids_write(&ids);
        assert_non_null(stored);
        folder_ids_free(&ids);
    }
    free(stored);
}

static void test_ids_damaged(void **state)
{
    static const char *const bad[] = {
        "", "x", "[]", "{}", "{\"next\": 0, \"folders\": []}", "{\"next\": 1}",
        "{\"next\": 4294967296, \"folders\": []}", "{\"next\": 2, \"folders\": {}}",
        "{\"next\": 2, \"folders\": [[2, 0, 0, \"A\"]]}",
        "{\"next\": 2, \"folders\": [[0, 0, 0, \"A\"]]}",
        "{\"next\": 2, \"folders\": [[1, 0, \"A\"]]}", "{\"next\": 2, \"folders\": [[1, 0, 0, 0]]}",
        "{\"next\": 2, \"folders\": [[1, 0, 0, \"A\", 1]]}",
    };
    struct folder folders[FOLDERS_MOST];
    struct folder_list l = list_of(folders, (struct disk[FOLDERS_MOST]){{"INBOX", 0}, {"A", 1}});
    struct folder_ids ids;
    uint32_t got[FOLDERS_MOST];
    bool changed;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        print_message("# %s\n", bad[i]);
        assert_false(folder_ids_read(bad[i], &ids));
        assert_int_equal(ids.count, 0);
    }
    /* No number is left: told, never wrapped around. */
    assert_true(folder_ids_read("{\"next\":4294967294,\"folders\":[]}", &ids));
    assert_false(folder_ids_assign(&ids, &l, got, &changed));
    folder_ids_free(&ids);
}

/* ---- differences ---- */

/* A tree in the stored form; read, or the test fails. */
static struct tree tree_of(const char *json)
{
    struct tree t;
    assert_true(tree_read(json, &t));
    return t;
}

static void test_tree_text(void **state)
{
    static const char *const good[] = {
        "[]",
        "[[1,0,2,\"Inbox\"]]",
        "[[1,0,2,\"Inbox\"],[4294967295,1,12,\"\xd0\x9f \\\"x\\\"\"]]",
    };
    static const char *const bad[] = {
        "", "{}", "[1]", "[[1,0,2]]", "[[0,0,2,\"A\"]]", "[[1,-1,2,\"A\"]]", "[[1,0,13,\"A\"]]",
        "[[4294967296,0,2,\"A\"]]", "[[1,0,2,\"A\",0]]", "[[1,0,2,\"A\"]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct tree t = tree_of(good[i]);
        char *text = tree_write(&t);
        assert_string_equal(text, good[i]);
        free(text);
        tree_free(&t);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tree t;
        print_message("# %s\n", bad[i]);
        assert_false(tree_read(bad[i], &t));
        assert_int_equal(t.count, 0);
    }
}

#define T_INBOX "[1,0,2,\"Inbox\"]"
static const struct {
    const char *name, *from, *to, *want; /* want: U update, D delete, A add with ids */
} diffs[] = {
    {"nothing", "[]", "[]", ""},
    {"first", "[]", "[" T_INBOX ",[2,0,12,\"A\"],[3,2,12,\"B\"]]", "A1 A2 A3 "},
    {"same", "[" T_INBOX "]", "[" T_INBOX "]", ""},
    {"renamed", "[" T_INBOX ",[2,0,12,\"A\"]]", "[" T_INBOX ",[2,0,12,\"B\"]]", "U2 "},
    {"moved", "[" T_INBOX ",[2,0,12,\"A\"]]", "[" T_INBOX ",[2,1,12,\"A\"]]", "U2 "},
    {"other type", "[" T_INBOX ",[2,0,1,\"A\"]]", "[" T_INBOX ",[2,0,12,\"A\"]]", "U2 "},
    {"order alone", "[" T_INBOX ",[2,0,12,\"A\"],[3,0,12,\"B\"]]",
     "[" T_INBOX ",[3,0,12,\"B\"],[2,0,12,\"A\"]]", ""},
    {"children go first", "[" T_INBOX ",[2,0,12,\"A\"],[3,2,12,\"B\"],[4,3,12,\"C\"]]",
     "[" T_INBOX "]", "D4 D3 D2 "},
    {"all at once", "[" T_INBOX ",[2,0,12,\"A\"],[3,0,12,\"B\"]]",
     "[" T_INBOX ",[9,0,12,\"N\"],[3,0,12,\"C\"],[10,9,12,\"M\"]]", "U3 D2 A9 A10 "},
    {"all gone", "[" T_INBOX "]", "[]", "D1 "},
};

static void test_diff(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof diffs / sizeof *diffs; i++) {
        struct tree from = tree_of(diffs[i].from), to = tree_of(diffs[i].to);
        struct tree_change *changes;
        size_t count, at = 0;
        char got[128] = "";
        print_message("# %s\n", diffs[i].name);
        assert_true(tree_diff(&from, &to, &changes, &count));
        for (size_t j = 0; j < count; j++) {
            at += (size_t)snprintf(got + at, sizeof got - at, "%c%u ", "UDA"[changes[j].kind],
                                   changes[j].node->id);
        }
        assert_string_equal(got, diffs[i].want);
        free(changes);
        tree_free(&from);
        tree_free(&to);
    }
}

static void test_make(void **state)
{
    struct folder folders[FOLDERS_MOST];
    struct folder_list l =
        list_of(folders, (struct disk[FOLDERS_MOST]){{"INBOX", 0}, {"A", 1}, {"B", 2}});
    const uint32_t ids[] = {7, 9, 8};
    struct tree t;
    (void)state;
    folders[2].parent = 1;
    uint64_t hash = folder_list_hash(&l);
    assert_true(tree_make(&l, ids, false, &t));
    char *text = tree_write(&t);
    assert_string_equal(text, "[[7,0,2,\"INBOX\"],[9,0,12,\"A\"],[8,9,12,\"B\"]]");
    free(text);
    tree_free(&t);
    assert_true(tree_make(&l, ids, true, &t));
    text = tree_write(&t);
    assert_string_equal(text, "[[7,0,2,\"INBOX\"]]");
    free(text);
    tree_free(&t);
    folders[2].identity[0]++;
    assert_int_not_equal(folder_list_hash(&l), hash);
    folders[2].identity[0]--;
    assert_int_equal(folder_list_hash(&l), hash);
    l.count--;
    assert_int_not_equal(folder_list_hash(&l), hash);
}

/* ---- SyncKeys ---- */

#define T1 "[" T_INBOX "]"
#define T2 "[" T_INBOX ",[2,0,12,\"A\"]]"
#define T3 "[" T_INBOX ",[2,0,12,\"B\"]]"
static const struct {
    const char *name;
    uint32_t key, previous_key;
    const char *tree, *previous; /* "" none */
    uint32_t sent;
    const char *now;
    bool known;
    const char *from;            /* NULL: from nothing */
    uint32_t answer;
    bool store;
    uint32_t store_previous;
} keys[] = {
    {"first", 0, 0, "", "", 0, T1, true, NULL, 1, true, 0},
    {"no state", 0, 0, "", "", 1, T1, false, NULL, 0, false, 0},
    {"nothing changed", 1, 0, T1, "", 1, T1, true, T1, 1, false, 0},
    {"changed", 1, 0, T1, "", 1, T2, true, T1, 2, true, 1},
    {"changed again", 2, 1, T2, T1, 2, T3, true, T2, 3, true, 2},
    {"answer lost, asked again", 2, 1, T2, T1, 1, T2, true, T1, 2, false, 0},
    {"answer lost, changed since", 2, 1, T2, T1, 1, T3, true, T1, 3, true, 1},
    {"answer lost, and all as before", 2, 1, T2, T1, 1, T1, true, T1, 1, false, 0},
    {"older key", 3, 2, T3, T2, 1, T3, false, NULL, 0, false, 0},
    {"key to come", 2, 1, T2, T1, 3, T2, false, NULL, 0, false, 0},
    {"from the start", 2, 1, T2, T1, 0, T3, true, NULL, 3, true, 0},
    {"from the start, answer lost", 3, 0, T3, "", 0, T3, true, NULL, 3, false, 0},
    {"key before a new start", 3, 0, T3, "", 2, T3, false, NULL, 0, false, 0},
    {"damaged", 5, 4, "x", T1, 5, T1, false, NULL, 0, false, 0},
    {"damaged before", 5, 4, T1, "x", 4, T1, false, NULL, 0, false, 0},
    {"keys at their end", UINT32_MAX, 0, T1, "", UINT32_MAX, T2, true, T1, 1, true, UINT32_MAX},
};

static void test_decide(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct folder_state_record r = {
            .key = keys[i].key,
            .previous_key = keys[i].previous_key,
            .tree_json = keys[i].tree,
            .previous_tree_json = keys[i].previous,
        };
        struct sync_state s;
        struct tree now = tree_of(keys[i].now);
        print_message("# %s\n", keys[i].name);
        assert_true(sync_state_read(&r, &s));
        struct sync_step step = sync_decide(&s, keys[i].sent, &now);
        assert_int_equal(step.known, keys[i].known);
        if (step.known) {
            assert_int_equal(step.key, keys[i].answer);
            assert_int_equal(step.store, keys[i].store);
            if (step.store) assert_int_equal(step.previous_key, keys[i].store_previous);
            assert_int_equal(step.from != NULL, keys[i].from != NULL);
            struct tree from = tree_of(keys[i].from ? keys[i].from : "[]");
            if (step.from) assert_true(tree_equal(step.from, &from));
            tree_free(&from);
        }
        tree_free(&now);
        sync_state_free(&s);
    }
}

/* ---- request and answer ---- */

static const struct pv_node *xml(struct pv_arena *a, const char *text)
{
    const struct pv_node *root;
    assert_int_equal(pv_xml_read(a, text, strlen(text), NULL, &root, NULL), PV_OK);
    return root;
}

#define FS(inner) "<FolderSync xmlns=\"FolderHierarchy:\">" inner "</FolderSync>"
static void test_request(void **state)
{
    static const struct { const char *xml; unsigned want; uint32_t key; } cases[] = {
        {FS("<SyncKey>0</SyncKey>"), FOLDERSYNC_OK, 0},
        {FS("<SyncKey>4294967295</SyncKey>"), FOLDERSYNC_OK, UINT32_MAX},
        {FS("<SyncKey>4294967296</SyncKey>"), FOLDERSYNC_BAD_KEY, 0},
        {FS("<SyncKey/>"), FOLDERSYNC_BAD_KEY, 0},
        {FS("<SyncKey>{1c2a}3</SyncKey>"), FOLDERSYNC_BAD_KEY, 0},
        {FS("<SyncKey>-1</SyncKey>"), FOLDERSYNC_BAD_KEY, 0},
        {FS(""), FOLDERSYNC_BAD_REQUEST, 0},
        {FS("0"), FOLDERSYNC_BAD_REQUEST, 0},
        {FS("<SyncKey>0</SyncKey><SyncKey>0</SyncKey>"), FOLDERSYNC_BAD_REQUEST, 0},
        {FS("<SyncKey><Count>0</Count></SyncKey>"), FOLDERSYNC_BAD_REQUEST, 0},
        {FS("<SyncKey>0</SyncKey><Count>1</Count>"), COMMON_INVALID_WBXML, 0},
        {FS("<FileReference xmlns=\"AirSyncBase:\">x</FileReference><SyncKey"
            " xmlns=\"FolderHierarchy:\">0</SyncKey>"), COMMON_INVALID_WBXML, 0},
        {"<Sync xmlns=\"AirSync:\"/>", COMMON_INVALID_WBXML, 0},
    };
    struct pv_arena a;
    uint32_t key;
    (void)state;
    assert_int_equal(pv_arena_create(&a, 65536), PV_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %s\n", cases[i].xml);
        assert_int_equal(foldersync_read(xml(&a, cases[i].xml), &key), cases[i].want);
        if (cases[i].want == FOLDERSYNC_OK) assert_int_equal(key, cases[i].key);
        pv_arena_reset(&a);
    }
    assert_int_equal(foldersync_read(NULL, &key), FOLDERSYNC_BAD_REQUEST);
    pv_arena_destroy(&a);
}

/* tests/data/examples/02: byte for byte. */
static void test_answer(void **state)
{
    static const uint8_t want[] =
        "\x03\x01\x6a\x00\x00\x07\x56\x4c\x03\x31\x00\x01\x52\x03\x31\x00\x01\x4e\x57\x03\x33\x00"
        "\x01\x4f\x48\x03\x35\x00\x01\x49\x03\x30\x00\x01\x47\x03Inbox\x00\x01\x4a\x03\x32\x00\x01"
        "\x01\x4f\x48\x03\x31\x00\x01\x49\x03\x30\x00\x01\x47\x03" "Calendar\x00\x01"
        "\x4a\x03\x38\x00\x01\x01\x4f\x48\x03\x32\x00\x01\x49\x03\x30\x00\x01"
        "\x47\x03" "Contacts\x00\x01\x4a\x03\x39\x00\x01\x01\x01\x01";
    struct tree now = tree_of("[[5,0,2,\"Inbox\"],[1,0,8,\"Calendar\"],[2,0,9,\"Contacts\"]]");
    struct tree then = tree_of("[[5,0,2,\"Inbox\"],[1,0,12,\"X\"],[7,5,12,\"Y\"]]");
    struct pv_arena a;
    const struct pv_node *root;
    char text[1024];
    size_t len, changes;
    (void)state;
    uint8_t *got = foldersync_write(1, NULL, &now, &len, &changes);
    assert_int_equal(changes, 3);
    assert_int_equal(len, sizeof want - 1);
    assert_memory_equal(got, want, len);
    free(got);

    got = foldersync_write(2, &then, &now, &len, &changes);
    assert_int_equal(pv_arena_create(&a, 65536), PV_OK);
    assert_int_equal(pv_wbxml_decode(&a, got, len, NULL, &root, NULL), PV_OK);
    assert_int_equal(pv_xml_write(root, 0, text, sizeof text, NULL), PV_OK);
    assert_string_equal(text, FS("<Status>1</Status><SyncKey>2</SyncKey><Changes><Count>3</Count>"
        "<Update><ServerId>1</ServerId><ParentId>0</ParentId><DisplayName>Calendar</DisplayName>"
        "<Type>8</Type></Update><Delete><ServerId>7</ServerId></Delete>"
        "<Add><ServerId>2</ServerId><ParentId>0</ParentId><DisplayName>Contacts</DisplayName>"
        "<Type>9</Type></Add></Changes>"));
    free(got);
    pv_arena_reset(&a);

    got = foldersync_write(3, &now, &now, &len, &changes);
    assert_int_equal(pv_wbxml_decode(&a, got, len, NULL, &root, NULL), PV_OK);
    assert_int_equal(pv_xml_write(root, 0, text, sizeof text, NULL), PV_OK);
    assert_string_equal(text, FS("<Status>1</Status><SyncKey>3</SyncKey>"
                                 "<Changes><Count>0</Count></Changes>"));
    free(got);
    pv_arena_destroy(&a);
    tree_free(&now);
    tree_free(&then);
}

/* A tree at its limit, with names at theirs, fits its buffer. */
static void test_answer_large(void **state)
{
    struct tree_node *nodes = calloc(FOLDER_COUNT_MAX, sizeof *nodes);
    struct tree t = {nodes, FOLDER_COUNT_MAX};
    static char name[1001];
    size_t len, changes;
    (void)state;
    memset(name, 'x', sizeof name - 1);
    for (size_t i = 0; i < t.count; i++)
        nodes[i] = (struct tree_node){UINT32_MAX - (uint32_t)i, UINT32_MAX, 12, name};
    uint8_t *got = foldersync_write(UINT32_MAX, NULL, &t, &len, &changes);
    assert_non_null(got);
    assert_int_equal(changes, FOLDER_COUNT_MAX);
    free(got);
    free(nodes);
}

/* ---- Ping ---- */

#define PING(inner) "<Ping xmlns=\"Ping:\">" inner "</Ping>"
#define FOLDER(id) "<Folder><Id>" id "</Id><Class>Email</Class></Folder>"
static void test_ping_request(void **state)
{
    static const struct {
        const char *xml;
        unsigned want;
        bool has_heartbeat;
        uint32_t heartbeat, folders[3];
        size_t count;
    } cases[] = {
        {PING("<HeartbeatInterval>480</HeartbeatInterval>"
              "<Folders>" FOLDER("1") FOLDER("7") "</Folders>"),
         0, true, 480, {1, 7}, 2},
        {PING("<Folders>" FOLDER("7") FOLDER("1") FOLDER("7") "</Folders>"),
         0, false, 0, {7, 1}, 2},
        {PING("<Folders><Folder><Class>Email</Class><Id>7</Id></Folder></Folders>"),
         0, false, 0, {7}, 1},
        {PING("<Folders><Folder><Id>7</Id></Folder></Folders>"), 0, false, 0, {7}, 1},
        {PING("<HeartbeatInterval>0</HeartbeatInterval>"), 0, true, 0, {0}, 0},
        {PING("<Folders/>"), 0, false, 0, {0}, 0},
        {PING(""), 0, false, 0, {0}, 0},
        {PING("<HeartbeatInterval>x</HeartbeatInterval>"), PING_SYNTAX},
        {PING("<HeartbeatInterval>-1</HeartbeatInterval>"), PING_SYNTAX},
        {PING("<HeartbeatInterval/>"), PING_SYNTAX},
        {PING("<HeartbeatInterval>99</HeartbeatInterval><HeartbeatInterval>99</HeartbeatInterval>"),
         PING_SYNTAX},
        {PING("<Folders><Folder><Class>Email</Class></Folder></Folders>"), PING_SYNTAX},
        {PING("<Folders><Folder><Id/></Folder></Folders>"), PING_SYNTAX},
        {PING("<Folders><Folder><Id>1</Id><Id>2</Id></Folder></Folders>"), PING_SYNTAX},
        {PING("<Folders><Id>1</Id></Folders>"), PING_SYNTAX},
        {PING("<Folders/><Folders/>"), PING_SYNTAX},
        {PING("<Status>1</Status>"), PING_SYNTAX},
        {PING("text"), PING_SYNTAX},
        {"<Sync xmlns=\"AirSync:\"/>", PING_SYNTAX},
        {PING("<Folders>" FOLDER("inbox") "</Folders>"), PING_FOLDERSYNC},
        {PING("<Folders>" FOLDER("1") FOLDER("2") FOLDER("3") FOLDER("4") "</Folders>"),
         PING_TOO_MANY_FOLDERS},
    };
    struct pv_arena a;
    struct ping_params p;
    (void)state;
    assert_int_equal(pv_arena_create(&a, 65536), PV_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %s\n", cases[i].xml);
        assert_int_equal(ping_read(xml(&a, cases[i].xml), 3, &p), cases[i].want);
        if (!cases[i].want) {
            assert_int_equal(p.has_heartbeat, cases[i].has_heartbeat);
            assert_int_equal(p.heartbeat, cases[i].heartbeat);
            assert_int_equal(p.folder_count, cases[i].count);
            size_t size = p.folder_count * sizeof *p.folders;
            if (size) assert_memory_equal(p.folders, cases[i].folders, size);
        }
        ping_params_free(&p);
        pv_arena_reset(&a);
    }
    assert_int_equal(ping_read(NULL, 3, &p), 0);
    assert_int_equal(p.folder_count + p.has_heartbeat, 0);
    pv_arena_destroy(&a);
    assert_int_equal(ping_nearest(59, 60, 900), 60);
    assert_int_equal(ping_nearest(60, 60, 900), 60);
    assert_int_equal(ping_nearest(900, 60, 900), 900);
    assert_int_equal(ping_nearest(901, 60, 900), 900);
}

static void test_ping_params(void **state)
{
    static const char *const bad[] = {
        "", "x", "{}", "{\"heartbeat\": 60}", "{\"heartbeat\": 0, \"folders\": [1]}",
        "{\"heartbeat\": 60, \"folders\": []}", "{\"heartbeat\": 60, \"folders\": [0]}",
        "{\"heartbeat\": 60, \"folders\": [\"1\"]}",
        "{\"heartbeat\": 4294967296, \"folders\": [1]}",
    };
    uint32_t folders[] = {3, 1};
    struct ping_params p = {true, 480, folders, 2}, again;
    (void)state;
    char *text = ping_params_write(&p);
    assert_string_equal(text, "{\"heartbeat\":480,\"folders\":[3,1]}");
    assert_true(ping_params_read(text, &again));
    assert_true(ping_params_equal(&p, &again));
    again.folders[1] = 2;
    assert_false(ping_params_equal(&p, &again));
    ping_params_free(&again);
    free(text);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        print_message("# %s\n", bad[i]);
        assert_false(ping_params_read(bad[i], &again));
        assert_int_equal(again.folder_count + again.has_heartbeat, 0);
    }
    assert_false(ping_params_read(NULL, &again));
}

static void test_ping_answer(void **state)
{
    static const uint32_t folders[] = {UINT32_MAX, UINT32_MAX, UINT32_MAX};
    static const struct { struct ping_answer a; const char *want; } cases[] = {
        {{.status = 1}, PING("<Status>1</Status>")},
        {{.status = 2, .folders = folders, .folder_count = 3},
         PING("<Status>2</Status><Folders><Folder>4294967295</Folder><Folder>4294967295</Folder>"
              "<Folder>4294967295</Folder></Folders>")},
        {{.status = 5, .limit = UINT32_MAX},
         PING("<Status>5</Status><HeartbeatInterval>4294967295</HeartbeatInterval>")},
        {{.status = 6, .limit = UINT32_MAX},
         PING("<Status>6</Status><MaxFolders>4294967295</MaxFolders>")},
    };
    uint8_t buf[PING_ANSWER_SIZE(3)];
    char text[512];
    struct pv_arena a;
    const struct pv_node *root;
    size_t len;
    (void)state;
    assert_int_equal(pv_arena_create(&a, 8192), PV_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t cap = PING_ANSWER_SIZE(cases[i].a.folder_count);
        assert_int_equal(ping_write(&cases[i].a, buf, cap, &len), PV_OK);
        assert_int_equal(pv_wbxml_decode(&a, buf, len, NULL, &root, NULL), PV_OK);
        assert_int_equal(pv_xml_write(root, 0, text, sizeof text, NULL), PV_OK);
        assert_string_equal(text, cases[i].want);
        pv_arena_reset(&a);
    }
    pv_arena_destroy(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_ids_damaged),
        cmocka_unit_test(test_tree_text),
        cmocka_unit_test(test_diff),
        cmocka_unit_test(test_make),
        cmocka_unit_test(test_decide),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_answer_large),
        cmocka_unit_test(test_ping_request),
        cmocka_unit_test(test_ping_params),
        cmocka_unit_test(test_ping_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
