/* A name in a search filter or an entry's name is one value there, and exactly that name. */
#include <string.h>

#include "src/server/auth/expand.h"
#include "tests/fuzz/fuzz.h"

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The value as a directory reads it; what ends one must not be left in it. */
static size_t unescape(const char *text, const char *ends, char *out)
{
    size_t n = 0;
    for (; *text; text++) {
        if (*text != '\\') {
            LAW(!strchr(ends, *text));
            out[n++] = *text;
            continue;
        }
        LAW(hex(text[1]) >= 0 && hex(text[2]) >= 0);
        out[n++] = (char)(hex(text[1]) << 4 | hex(text[2]));
        text += 2;
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char name[513], out[2048], back[2048];
    size_t len = strnlen((const char *)data, size < 512 ? size : 512);
    memcpy(name, data, len);
    name[len] = '\0';
    LAW(expand_user("%u", name, "", EXPAND_FILTER, out, sizeof out));
    LAW(unescape(out, "()*", back) == len && memcmp(back, name, len) == 0);
    LAW(expand_user("%u", name, "", EXPAND_DN, out, sizeof out));
    LAW(unescape(out, "\"+,;<>=", back) == len && memcmp(back, name, len) == 0);
    //= RFC 4514 2.4
    LAW(*out != ' ' && *out != '#' && (len == 0 || out[strlen(out) - 1] != ' '));
    return 0;
}
