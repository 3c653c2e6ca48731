/* The table of routes, and finding one. */
#include <stdio.h>
#include <string.h>

#include "src/lib/base/text.h"
#include "src/server/admin/internal.h"

const struct admin_route admin_routes[] = {
    {"GET", "/v1/status", "What the server is doing, in numbers.", false, admin_status},
    {"GET", "/v1/users", "Every user of the users file.", false, admin_users},
    {"POST", "/v1/users", "Add a user: name, password.", true, admin_user_add},
    {"PUT", "/v1/users/{user}/password", "Give a user a new password.", true, admin_user_password},
    {"POST", "/v1/users/{user}/enable", "Let a user use the server.", false, admin_user_enable},
    {"POST", "/v1/users/{user}/disable", "Keep a user out.", false, admin_user_disable},
    {"DELETE", "/v1/users/{user}", "Forget a user, with all devices and keys.", false,
     admin_user_remove},
    {"GET", "/v1/policies", "Every policy with its current revision.", false, admin_policies},
    {"GET", "/v1/policies/{name}", "A policy: the settings that are set.", false, admin_policy},
    {"PATCH", "/v1/policies/{name}", "Change settings of a policy: settings, null unsets.", true,
     admin_policy_set},
    {"GET", "/v1/devices", "Every device that has been seen.", false, admin_devices},
};
const size_t admin_route_count = sizeof admin_routes / sizeof *admin_routes;

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    int l = pv__lower((unsigned char)c);
    return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

/* Percent-decode one segment. false: broken escape, NUL, empty or too long. */
static bool decode_segment(const char *from, size_t len, char *to, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = from[i];
        if (c == '%') {
            if (len - i < 3) return false;
            int high = hex_digit(from[i + 1]), low = hex_digit(from[i + 2]);
            if (high < 0 || low < 0) return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (c == '\0' || n + 1 >= cap) return false;
        to[n++] = c;
    }
    to[n] = '\0';
    return n > 0;
}

static bool path_fits(const char *pattern, const char *path, size_t len, char *arg, size_t arg_cap)
{
    const char *end = path + len;
    while (*pattern != '\0') {
        if (*pattern == '{') {
            const char *slash = memchr(path, '/', (size_t)(end - path));
            const char *stop = slash ? slash : end;
            if (!decode_segment(path, (size_t)(stop - path), arg, arg_cap)) return false;
            path = stop;
            pattern = strchr(pattern, '}') + 1;
        } else {
            if (path == end || *path != *pattern) return false;
            path++;
            pattern++;
        }
    }
    return path == end;
}

const struct admin_route *admin_route_find(const char *method, const char *target, char *arg,
                                           size_t arg_cap, char *allow_out, size_t allow_cap)
{
    size_t len = strcspn(target, "?");
    size_t used = 0;
    allow_out[0] = '\0';
    for (size_t i = 0; i < admin_route_count; i++) {
        const struct admin_route *r = &admin_routes[i];
        if (!path_fits(r->path, target, len, arg, arg_cap)) continue;
        if (strcmp(r->method, method) == 0) return r;
        int n = snprintf(allow_out + used, allow_cap - used, "%s%s", used ? ", " : "", r->method);
        if (n > 0 && (size_t)n < allow_cap - used) used += (size_t)n;
    }
    allow_out[used] = '\0';
    return NULL;
}
