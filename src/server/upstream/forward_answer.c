/* The head of an answer on its way to the device. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/server/upstream/forward_inner.h"
#include "src/server/upstream/lists.h"

/* Where a device finds what the upstream has at that address; NULL: elsewhere, or it does not fit. */
static const char *own_address(struct told_fields *t, const char *value)
{
    const struct call *c = t->call;
    const struct public_url own = {config_now(t->gateway->config)->url, http_secure(c->http),
                                   http_field(c->http, "Host")};
    char *out = t->location[t->locations], base[PUBLIC_URL_ROOM];
    size_t eas = strlen(t->place), host = (size_t)(strstr(t->place, "://") + 3 - t->place);
    size_t origin = host + strcspn(t->place + host, "/");
    bool of_eas = strncasecmp(value, t->place, eas) == 0 && strchr("/?#", value[eas]);
    const char *rest = value + (of_eas ? eas : origin);
    if (!of_eas && (strncasecmp(value, t->place, origin) != 0 || !strchr("/?#", *rest)))
        return NULL;
    if (t->locations == sizeof t->location / sizeof *t->location) return NULL;
    if (!(of_eas ? public_url_eas(&own, base) : public_url_at(&own, "", base))) return NULL;
    int len = snprintf(out, sizeof t->location[0], "%s%s", base, rest);
    if (len < 0 || (size_t)len >= sizeof t->location[0]) return NULL;
    t->locations++;
    return out;
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcasecmp(name, *names) == 0) return true;
    return false;
}

static const char *told_value(struct told_fields *t, const char *name, const char *value)
{
    static const char *const ours[] = {"WWW-Authenticate", "Authentication-Info", "X-MS-Location",
                                       "Alt-Svc", /* the way round the gate */
                                       NULL};
    static const char *const addresses[] = {"Location", "Content-Location", NULL};
    const struct gate *g = t->gateway->gate;
    if (is_one_of(name, ours)) return NULL;
    if (strcasecmp(name, "MS-ASProtocolVersions") == 0) {
        list_common(gate_versions(g), value, NULL, t->versions, sizeof t->versions);
        return *t->versions ? t->versions : NULL;
    }
    if (strcasecmp(name, "MS-ASProtocolCommands") == 0) {
        list_common(gate_commands(g), value, "Provision", t->commands, sizeof t->commands);
        return *t->commands ? t->commands : NULL;
    }
    if (!is_one_of(name, addresses)) return value;
    const char *own = own_address(t, value);
    /* An address elsewhere would lead past the gate. */
    return own ? own : *value == '/' && value[1] != '/' ? value : NULL;
}

static void each(void *ctx, const char *name, const char *value)
{
    struct told_fields *t = ctx;
    const char *told = told_value(t, name, value);
    if (told && t->count < TOLD_FIELDS_MAX) t->at[t->count++] = (struct http_field){name, told};
}

void told_fields_make(struct told_fields *t, const struct gateway *w, const struct call *c,
                      const struct upstream *u, const struct fetch *f)
{
    t->count = t->locations = 0;
    t->gateway = w;
    t->call = c;
    (void)upstream_place(u, c->user, t->place);
    fetch_each_field(f, each, t);
    t->at[t->count] = (struct http_field){0};
}
