#include "src/server/admin/wipe.h"

#include <jansson.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static void wipe_and_free(void *block)
{
    if (block == NULL) return;
    explicit_bzero(block, malloc_usable_size(block));
    free(block);
}

void wipe_json_when_freed(void)
{
    json_set_alloc_funcs(malloc, wipe_and_free);
}
