#include "src/server/upstream/fields.h"

#include <string.h>
#include <strings.h>

#include "src/lib/base/text.h"

bool field_name_fits(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!pv__is_alnum((unsigned char)name[i]) &&
            (name[i] == '\0' || !strchr("!#$%&'*+-.^_`|~", name[i])))
            return false;
    return len > 0;
}

bool field_value_fits(const char *value, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)value[i];
        if ((c < ' ' && c != '\t') || c == 0x7F) return false;
    }
    return true;
}

static int folded(char c)
{
    return pv__is_alnum((unsigned char)c) ? pv__lower((unsigned char)c) : c ? '-' : 0;
}

bool field_has_prefix(const char *name, const char *prefix)
{
    while (*prefix && folded(*name) == folded(*prefix)) name++, prefix++;
    return *prefix == '\0';
}

bool field_same_name(const char *a, const char *b)
{
    while (*a && folded(*a) == folded(*b)) a++, b++;
    return *a == '\0' && *b == '\0';
}

bool field_list_has(const char *list, const char *name)
{
    size_t name_len = strlen(name);
    for (const char *p = list; *p;) {
        p += strspn(p, ", \t");
        size_t len = strcspn(p, ", \t;");
        if (pv__equal_nocase(p, len, name, name_len)) return true;
        p += strcspn(p, ",");
    }
    return false;
}

bool field_is_hop(const char *name)
{
    static const char *const names[] = {
        "Connection",          "Content-Length",   "Keep-Alive", "Proxy-Authenticate",
        "Proxy-Authorization", "Proxy-Connection", "TE",         "Trailer",
        "Transfer-Encoding",   "Upgrade"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(names[i], name) == 0) return true;
    return false;
}
