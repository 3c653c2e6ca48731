/* The WAP document of 2.5. */
#include "tests/fuzz/policy_laws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_node text = {.kind = PV_NODE_TEXT, .data = data, .len = size};
    struct pv_node parent = {.kind = PV_NODE_ELEMENT, .tag = PV_Provision_Data, .child = &text};

    text.parent = &parent;
    check_read(&parent);
    return 0;
}
