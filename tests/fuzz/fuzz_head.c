/* Request heads. Laws: a prefix of a head that is taken is not; what libmicrohttpd writes into it
 * can be taken back; and nothing that was refused is taken after that. */
#include <string.h>

#include "src/server/http/head.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/overwrite.h"

/* The one thing that overwriting hides: a bare LF with a NUL beside it looks like CR LF afterwards.
 * Both readings give the same fields. */
static bool has_nul_beside_lf(const char *head, size_t len)
{
    return memmem(head, len, "\0\n", 2) || memmem(head, len, "\n\0", 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *head = (const char *)data;
    struct head_facts facts, again;
    struct overwritten o;
    enum head_fault fault = head_check(head, size, &facts);
    LAW(fault < HEAD_FAULT_COUNT);
    if (fault == HEAD_NONE) {
        LAW(head_check(head, size - 1, &again) != HEAD_NONE);
        LAW(!(facts.chunked && (facts.has_length || facts.http_1_0)));
    }
    if (!overwrite(&o, head, size))
        return 0;
    char *out = malloc(o.remains.len);
    size_t len = out ? head_restore(&o.remains, out, o.remains.len) : 0;
    if (fault == HEAD_NONE)
        LAW(len == size && memcmp(out, head, size) == 0);
    else if (len == size && !has_nul_beside_lf(head, size))
        LAW(head_check(out, len, &again) != HEAD_NONE);
    free(out);
    overwritten_free(&o);
    return 0;
}
