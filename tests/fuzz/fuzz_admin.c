/* Request lines of the administration: "METHOD target". Law: what is taken can be said again, with
 * every byte of its names and values escaped, and means the same; and where the method is wrong,
 * those that are told are right. */
#include <string.h>

#include "src/server/admin/internal.h"
#include "tests/fuzz/fuzz.h"

#define TARGET_MAX 4096

#define HANDLER(name)               \
    void name(struct admin_call *c) \
    {                               \
        (void)c;                    \
    }
ADMIN_HANDLERS(HANDLER)

static char *put_escaped(char *to, const char *text)
{
    for (const char *p = text; *p; p++) to += sprintf(to, "%%%02x", (unsigned char)*p);
    return to;
}

static void say_again(const struct admin_target *t, char *to)
{
    unsigned arg = 0;
    char sign = '?';
    for (const char *p = t->route->path; *p; p++) {
        if (*p == '{') {
            to = put_escaped(to, t->arg[arg++]);
            p = strchr(p, '}');
        } else {
            *to++ = *p;
        }
    }
    for (size_t i = t->route->query_count; i-- > 0;) { /* in another order */
        if (!t->query[i]) continue;
        to += sprintf(to, "%c%s=", sign, t->route->query[i].name);
        to = put_escaped(to, t->query[i]);
        sign = '&';
    }
    *to = '\0';
}

static void check_again(const struct admin_target *t)
{
    static char again[4 * TARGET_MAX];
    char allow[ADMIN_ALLOW_MAX], sentence[ADMIN_SENTENCE_MAX];
    struct admin_target u = {0};
    say_again(t, again);
    LAW(admin_target_find(t->route->method, again, &u, allow) == ADMIN_FOUND);
    LAW(u.route == t->route && admin_target_query(&u, sentence));
    for (size_t i = 0; i < ADMIN_ARGS_MAX; i++)
        LAW(!t->arg[i] == !u.arg[i] && (!t->arg[i] || strcmp(t->arg[i], u.arg[i]) == 0));
    for (size_t i = 0; i < t->route->query_count; i++)
        LAW(!t->query[i] == !u.query[i] && (!t->query[i] || strcmp(t->query[i], u.query[i]) == 0));
    admin_target_finish(&u);
}

static void check_allowed(char *methods, const char *target)
{
    char allow[ADMIN_ALLOW_MAX], *next;
    LAW(*methods != '\0');
    for (char *m = strtok_r(methods, ", ", &next); m; m = strtok_r(NULL, ", ", &next)) {
        struct admin_target t = {0};
        LAW(admin_target_find(m, target, &t, allow) == ADMIN_FOUND);
        admin_target_finish(&t);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[TARGET_MAX + 1], allow[ADMIN_ALLOW_MAX], sentence[ADMIN_SENTENCE_MAX] = "";
    struct admin_target t = {0};
    if (size > TARGET_MAX) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *blank = strchr(text, ' ');
    if (!blank) return 0;
    *blank = '\0';
    char *target = strdup(blank + 1); /* exactly so long: reading beyond is seen */
    if (!target) return 0;
    switch (admin_target_find(text, target, &t, allow)) {
    case ADMIN_FOUND:
        if (admin_target_query(&t, sentence))
            check_again(&t);
        else
            LAW(strlen(sentence) > 0 && sentence[strlen(sentence) - 1] == '.');
        break;
    case ADMIN_NO_METHOD: check_allowed(allow, target); break;
    case ADMIN_NO_PATH: LAW(allow[0] == '\0'); break;
    case ADMIN_FIND_NO_MEMORY: break;
    }
    admin_target_finish(&t);
    free(target);
    return 0;
}
