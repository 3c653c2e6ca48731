/* WBXML bytes of a peer. */
#include "tests/fuzz/wbxml_laws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pv_arena arena;
    const struct pv_node *root = NULL;
    size_t at = SIZE_MAX, at_small = SIZE_MAX;

    if (size > INPUT_MAX) return 0;
    if (!arena.base && pv_arena_create(&arena, SPACE)) abort();
    pv_arena_reset(&arena);
    enum pv_err small = pv_wbxml_decode(&arena, data, size, &pv_wbxml_limits_small, &root,
                                        &at_small);
    pv_arena_reset(&arena);
    enum pv_err err = pv_wbxml_decode(&arena, data, size, NULL, &root, &at);
    LAW(at <= size && at_small <= at);
    LAW(small == err || small == PV_E_TOOBIG);
    LAW(err != PV_E_USAGE && pv_err_blame(err) != PV_CALLER);
    if (err) return 0;
    check_tree(root);

    /* Nothing behind the root has a say; anything less is short. */
    const struct pv_node *same;
    size_t at_again;
    LAW(pv_wbxml_decode(&arena, data, at, NULL, &same, &at_again) == PV_OK && at_again == at);
    LAW(pv_wbxml_decode(&arena, data, at - 1, NULL, &same, NULL) == PV_E_SHORT);
    return 0;
}
