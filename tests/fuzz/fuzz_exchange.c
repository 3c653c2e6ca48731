/* Policies of Exchange. */
#include "tests/fuzz/import_laws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    import_holds(import_exchange, data, size);
    return 0;
}
