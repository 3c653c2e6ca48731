/* Lines of an IMAP server: who has said once that he cannot say is not believed any more, and only a
 * tagged NO denies. */
#include <string.h>

#include "src/server/auth/imap_login.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum imap_login said = IMAP_SILENT;
    for (size_t at = 0; at < size;) {
        /* A copy of exactly its length: a byte beyond would be seen. */
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t len = end ? (size_t)(end - data) + 1 - at : size - at;
        char *line = malloc(len);
        if (!line) return 0;
        memcpy(line, data + at, len);
        enum imap_login next = imap_login_read(said, line, len);
        if (said == IMAP_UNABLE) LAW(next == IMAP_UNABLE);
        if (next == IMAP_DENIED && said != next) {
            const char *space = memchr(line, ' ', len);
            LAW(*line != '*' && *line != '+' && space && len - (size_t)(space - line) >= 3);
            LAW((space[1] | 0x20) == 'n' && (space[2] | 0x20) == 'o');
        }
        said = next;
        free(line);
        at += len;
    }
    return 0;
}
