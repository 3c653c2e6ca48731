/* Which route a request line wants. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/lib/base/text.h"
#include "src/server/admin/route.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    int l = pv__lower((unsigned char)c);
    return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

size_t admin_percent_decode(const char *from, size_t len, bool plus, char *to)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = from[i];
        if (c == '%') {
            if (len - i < 3) return SIZE_MAX;
            int high = hex_digit(from[i + 1]), low = hex_digit(from[i + 2]);
            if (high < 0 || low < 0) return SIZE_MAX;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c == '\0') return SIZE_MAX;
        to[n++] = c;
    }
    to[n] = '\0';
    return n;
}

/* One segment for a placeholder. Each takes no more room than it has in the target, with the slash
 * before it for the terminator. */
static bool take_arg(struct admin_target *t, unsigned index, const char *segment, size_t len)
{
    char *to = t->text + t->used;
    size_t n = admin_percent_decode(segment, len, false, to);
    if (n == 0 || n == SIZE_MAX || n >= ADMIN_NAME_MAX) return false;
    t->arg[index] = to;
    t->used += n + 1;
    return true;
}

/* Segment by segment: literally, or into an argument. */
static bool path_fits(struct admin_target *t, const char *pattern, const char *path, size_t len)
{
    const char *end = path + len;
    unsigned args = 0;
    t->used = 0;
    for (;;) {
        size_t want = strcspn(pattern, "/");
        const char *slash = memchr(path, '/', (size_t)(end - path));
        size_t have = (size_t)((slash ? slash : end) - path);
        if (*pattern == '{' ? !take_arg(t, args++, path, have)
                            : want != have || memcmp(pattern, path, have) != 0)
            return false;
        if (!slash || pattern[want] == '\0') return !slash && pattern[want] == '\0';
        pattern += want + 1;
        path = slash + 1;
    }
}

enum admin_find admin_target_find(const char *method, const char *target, struct admin_target *t,
                                  char allow_out[ADMIN_ALLOW_MAX])
{
    size_t len = strcspn(target, "?"), used = 0;
    allow_out[0] = '\0';
    t->text = malloc(strlen(target) + 1);
    if (t->text == NULL) return ADMIN_FIND_NO_MEMORY;
    for (size_t i = 0; i < admin_route_count; i++) {
        const struct admin_route *r = &admin_routes[i];
        if (!path_fits(t, r->path, target, len)) continue;
        if (strcmp(r->method, method) == 0) {
            t->route = r;
            t->rest = target[len] ? target + len + 1 : "";
            return ADMIN_FOUND;
        }
        int n =
            snprintf(allow_out + used, ADMIN_ALLOW_MAX - used, "%s%s", used ? ", " : "", r->method);
        if (n > 0 && (size_t)n < ADMIN_ALLOW_MAX - used) used += (size_t)n;
    }
    allow_out[used] = '\0';
    return used ? ADMIN_NO_METHOD : ADMIN_NO_PATH;
}

void admin_target_finish(struct admin_target *t)
{
    free(t->text);
    *t = (struct admin_target){0};
}
