/* The XML form of a document. */
#include "tests/fuzz/wbxml_laws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pv_arena arena;
    const struct pv_node *root;
    size_t at = SIZE_MAX;

    if (size > INPUT_MAX) return 0;
    if (!arena.base && pv_arena_create(&arena, SPACE)) abort();
    pv_arena_reset(&arena);
    enum pv_err err = pv_xml_read(&arena, (const char *)data, size, NULL, &root, &at);
    LAW(at <= size);
    LAW(pv_err_blame(err) != PV_CALLER);
    if (err == PV_OK) check_tree(root);
    return 0;
}
