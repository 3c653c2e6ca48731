/* Modified UTF-7: what is accepted means one thing, and every UTF-8 name can be said. */
#include <string.h>

#include "src/lib/base/text.h"
#include "src/server/mailbox/utf7.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char utf7[4 * UTF7_MAX], text[4 * UTF7_MAX];
    const char *in = (const char *)data;
    size_t len, again;

    if (utf7_decode(in, size, text, sizeof text, &len)) {
        LAW(pv__utf8_valid((const uint8_t *)text, len));
        LAW(utf7_encode(text, len, utf7, sizeof utf7, &again));
        LAW(again == size && memcmp(utf7, in, size) == 0);
    }
    if (size <= UTF7_MAX / 4 && pv__utf8_valid(data, size) && !memchr(in, '\0', size)) {
        LAW(utf7_encode(in, size, utf7, sizeof utf7, &len));
        LAW(utf7_decode(utf7, len, text, sizeof text, &again));
        LAW(again == size && memcmp(text, in, size) == 0);
    }
    return 0;
}
