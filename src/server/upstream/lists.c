#include "src/server/upstream/lists.h"

#include <stdbool.h>
#include <string.h>

#include "src/server/upstream/fields.h"

#define WORD_MAX 64

void list_common(const char *ours, const char *theirs, const char *always, char *out, size_t cap)
{
    size_t at = 0;
    out[0] = '\0';
    for (const char *p = ours; *p;) {
        char word[WORD_MAX];
        size_t len = strcspn(p, ",");
        if (len < sizeof word) {
            memcpy(word, p, len);
            word[len] = '\0';
            bool stays = (always && strcmp(word, always) == 0) || field_list_has(theirs, word);
            if (stays && at + len + 2 > cap) {
                out[0] = '\0';
                return;
            }
            if (stays && at > 0) out[at++] = ',';
            if (stays) memcpy(out + at, word, len + 1);
            if (stays) at += len;
        }
        p += len;
        p += *p == ',';
    }
}
