/* A policy in a server's answer. */
#include "tests/fuzz/policy_laws.h"

/* A date that is taken can be told, in one way only, and means the same. */
static void check_date(const uint8_t *data, size_t size)
{
    const enum pv_setting s = PV_SET_AllowNonProvisionableUntil;
    struct pv_policy policy = {0}, again = {0};
    char text[24], told[24], told_again[24];

    if (size >= sizeof text || memchr(data, 0, size)) return;
    memcpy(text, data, size);
    text[size] = 0;
    if (pv_policy_set(&policy, NULL, pv_setting_info(s)->name, text, NULL, 0)) return;
    LAW(pv_policy_text(&policy, s, told, sizeof told) == PV_OK);
    LAW(pv_policy_set(&again, NULL, pv_setting_info(s)->name, told, NULL, 0) == PV_OK);
    LAW(pv_policy_value(&again, s) == pv_policy_value(&policy, s));
    LAW(pv_policy_text(&again, s, told_again, sizeof told_again) == PV_OK);
    LAW(!strcmp(told, told_again));
    LAW(!size || !strncmp(told, text, 10));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pv_arena arena;
    const struct pv_node *node;

    if (!arena.base && pv_arena_create(&arena, POLICY_SPACE)) abort();
    check_date(data, size);
    pv_arena_reset(&arena);
    if (pv_wbxml_decode(&arena, data, size, &pv_wbxml_limits_small, &node, NULL)) return 0;
    node = pv_node_child(pv_node_child(node, PV_Provision_Policies), PV_Provision_Policy);
    node = pv_node_child(node, PV_Provision_Data);
    if (node) check_read(node);
    return 0;
}
