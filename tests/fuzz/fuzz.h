/* What every fuzz target includes. A target asserts laws, not only that nothing crashes. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A law that must hold for every input; the message names it. */
#define LAW(holds)                                                            \
    do {                                                                      \
        if (holds) break;                                                     \
        fprintf(stderr, "%s:%d: law broken: %s\n", __FILE__, __LINE__, #holds); \
        abort();                                                              \
    } while (0)

#endif
