/* What holds for every tree that a parser of ours accepts, whatever form it came in. */
#ifndef TESTS_FUZZ_WBXML_LAWS_H
#define TESTS_FUZZ_WBXML_LAWS_H

#include <provost/wbxml.h>

#include "src/lib/base/text.h"
#include "src/lib/wbxml/xml.h"
#include "tests/fuzz/fuzz.h"
#include "tests/tree.h"

enum { INPUT_MAX = 16 << 10, SPACE = 4 << 20 };

/* What is written may be longer than what was read: an entry of a string table is said again. */
static const struct pv_wbxml_limits wide = {
    .document = SPACE, .depth = 32, .elements = SPACE, .text = SPACE, .opaque = SPACE,
};

static inline bool is_xml_text(const struct pv_node *node)
{
    uint32_t code;

    for (size_t at = 0, n; at < node->len; at += n) {
        n = pv__utf8_next(node->data + at, node->len - at, &code);
        if (n == 0 || !pv__xml_char(code)) return false;
    }
    return true;
}

/* Bytes of all texts; *plain_out tells whether XML can carry each of them. */
static inline size_t text_size(const struct pv_node *root, bool *plain_out)
{
    struct pv__walk walk = {.root = root};
    size_t size = 0;

    *plain_out = true;
    while (pv__walk_next(&walk)) {
        if (walk.at->kind == PV_NODE_TEXT && !is_xml_text(walk.at)) *plain_out = false;
        size += walk.at->len;
    }
    return size;
}

static inline void check_wbxml(const struct pv_node *root, struct pv_arena *arena, uint8_t *buf,
                               uint8_t *again)
{
    const struct pv_node *back;
    struct pv_wbxml_writer w;
    size_t len, again_len, at;

    pv_wbxml_begin(&w, buf, SPACE);
    pv_wbxml_node(&w, root);
    LAW(pv_wbxml_finish(&w, &len) == PV_OK);
    pv_arena_reset(arena);
    LAW(pv_wbxml_decode(arena, buf, len, &wide, &back, &at) == PV_OK);
    LAW(at == len);
    LAW(same_tree(root, back));
    pv_wbxml_begin(&w, again, SPACE);
    pv_wbxml_node(&w, back);
    LAW(pv_wbxml_finish(&w, &again_len) == PV_OK);
    LAW(again_len == len && memcmp(buf, again, len) == 0);
}

static inline void check_xml(const struct pv_node *root, struct pv_arena *arena, char *buf,
                             bool plain)
{
    for (unsigned indent = 0; indent < 2; indent++) {
        const struct pv_node *back;
        size_t len, at;

        LAW(pv_xml_write(root, indent, buf, SPACE, &len) == PV_OK);
        LAW(pv__utf8_valid((const uint8_t *)buf, len) && buf[len] == '\0');
        pv_arena_reset(arena);
        LAW(pv_xml_read(arena, buf, len, &wide, &back, &at) == PV_OK);
        LAW(at == len);
        if (plain) LAW(same_tree(root, back));
    }
}

/* Both forms say the whole tree. */
static inline void check_tree(const struct pv_node *root)
{
    static struct pv_arena arena;
    static uint8_t *buf, *again;
    bool plain;

    if (!arena.base && pv_arena_create(&arena, SPACE)) abort();
    if (!buf) buf = malloc(SPACE);
    if (!again) again = malloc(SPACE);
    if (!buf || !again) abort();
    if (text_size(root, &plain) > SPACE / 16) return;
    check_wbxml(root, &arena, buf, again);
    check_xml(root, &arena, (char *)buf, plain);
}

#endif
