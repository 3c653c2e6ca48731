/* Policies of Z-Push. */
#include "tests/fuzz/import_laws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    import_holds(import_zpush, data, size);
    return 0;
}
