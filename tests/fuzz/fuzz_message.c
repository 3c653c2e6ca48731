/* Messages between server and login helper: what is read can be written, and is the same then. */
#include <string.h>

#include "src/server/auth/helper/message.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char again[MESSAGE_MAX];
    struct message m;

    if (!message_read((const char *)data, size, &m)) return 0;
    LAW(m.count <= MESSAGE_TEXTS_MAX);
    LAW(message_write(&m, again, sizeof again) == size);
    LAW(memcmp(again, data, size) == 0);
    for (size_t i = 0; i < m.count; i++)
        LAW(m.text[i] > (const char *)data && m.text[i] < (const char *)data + size);
    return 0;
}
