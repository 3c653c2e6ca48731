#include "src/server/auth/expand.h"

#include <stdio.h>
#include <string.h>

struct out {
    char *to;
    size_t cap, len;
    bool full;
};

static void put(struct out *o, const char *bytes, size_t len)
{
    o->full = o->full || len >= o->cap - o->len;
    if (o->full) return;
    memcpy(o->to + o->len, bytes, len);
    o->len += len;
}

static bool is_special(enum expand_as as, const char *value, size_t len, size_t i)
{
    unsigned char c = (unsigned char)value[i];
    switch (as) {
    case EXPAND_PLAIN: return false;
    //= RFC 4515 3: the assertion value
    case EXPAND_FILTER: return c < 0x20 || c == 0x7f || strchr("*()\\", c);
    //= RFC 4514 2.4: what is escaped anywhere, at the beginning, at the end
    case EXPAND_DN:
        return c < 0x20 || c == 0x7f || strchr("\"+,;<>\\=", c) ||
               (i == 0 && (c == '#' || c == ' ')) || (i + 1 == len && c == ' ');
    }
    return true;
}

static void put_value(struct out *o, enum expand_as as, const char *value, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char hex[4];
        if (!is_special(as, value, len, i)) {
            put(o, value + i, 1);
            continue;
        }
        snprintf(hex, sizeof hex, "\\%02x", (unsigned char)value[i]);
        put(o, hex, 3);
    }
}

bool expand_user(const char *text, const char *user, const char *domain, enum expand_as as,
                 char *out, size_t cap)
{
    struct out o = {.to = out, .cap = cap, .full = cap == 0};
    const char *at = strrchr(user, '@');
    if (expand_wrong(text)) return false;
    for (; *text; text++) {
        if (*text != '%') {
            put(&o, text, 1);
            continue;
        }
        switch (*++text) {
        case 'u': put_value(&o, as, user, strlen(user)); break;
        case 'n': put_value(&o, as, user, at ? (size_t)(at - user) : strlen(user)); break;
        case 'd': put_value(&o, as, at ? at + 1 : domain, strlen(at ? at + 1 : domain)); break;
        default: put(&o, "%", 1);
        }
    }
    if (!o.full) out[o.len] = '\0';
    return !o.full;
}

const char *expand_wrong(const char *text)
{
    for (const char *p = strchr(text, '%'); p; p = strchr(p + 2, '%'))
        if (p[1] == '\0' || !strchr("und%", p[1])) return p;
    return NULL;
}
