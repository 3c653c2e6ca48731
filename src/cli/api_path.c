/* Paths of the administration interface. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/api.h"
#include "src/lib/base/text.h"

/* All but the unreserved characters of RFC 3986 2.3; a name of dots alone must not look like a step
 * up, whoever reads it on the way. @return behind what was written */
static char *put_escaped(char *to, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    bool dots = text[strspn(text, ".")] == '\0';
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (pv__is_alnum(c) || c == '-' || c == '_' || c == '~' || (c == '.' && !dots)) {
            *to++ = *p;
        } else {
            *to++ = '%';
            *to++ = hex[c >> 4];
            *to++ = hex[c & 15];
        }
    }
    return to;
}

char *api_path(const char *format, ...)
{
    va_list list;
    size_t room = strlen(format) + 1;
    va_start(list, format);
    for (const char *p = format; (p = strstr(p, "%s")) != NULL; p += 2)
        room += 3 * strlen(va_arg(list, const char *));
    va_end(list);
    char *path = malloc(room), *to = path;
    if (path == NULL) return NULL;
    va_start(list, format);
    for (const char *p = format; *p; p++) {
        if (*p == '%') {
            to = put_escaped(to, va_arg(list, const char *));
            p++;
        } else {
            *to++ = *p;
        }
    }
    va_end(list);
    *to = '\0';
    return path;
}

char *api_query(char *path, const char *name, const char *value)
{
    if (path == NULL || value == NULL) return path;
    size_t len = strlen(path);
    char *longer = realloc(path, len + strlen(name) + 3 * strlen(value) + 3);
    if (longer == NULL) {
        free(path);
        return NULL;
    }
    char *to = longer + len;
    *to = strchr(longer, '?') ? '&' : '?';
    to = stpcpy(to + 1, name);
    *to++ = '=';
    *put_escaped(to, value) = '\0';
    return longer;
}
