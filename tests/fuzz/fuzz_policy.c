/* A policy in a server's answer. */
#include "tests/fuzz/policy_laws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pv_arena arena;
    const struct pv_node *node;

    if (!arena.base && pv_arena_create(&arena, POLICY_SPACE)) abort();
    pv_arena_reset(&arena);
    if (pv_wbxml_decode(&arena, data, size, &pv_wbxml_limits_small, &node, NULL)) return 0;
    node = pv_node_child(pv_node_child(node, PV_Provision_Policies), PV_Provision_Policy);
    node = pv_node_child(node, PV_Provision_Data);
    if (node) check_read(node);
    return 0;
}
