/* Pages of a listing: where it goes on stands in the field Link. */
#include <stdlib.h>
#include <string.h>

#include "src/lib/base/text.h"
#include "src/server/admin/internal.h"

void admin_on_walks(struct admin_call *c, void (*run)(struct job *), void (*done)(struct job *))
{
    c->job.run = run;
    c->job.done = done;
    if (gate_on_walks(c->admin->gate, &c->job))
        http_wait(c->http, NULL);
    else
        admin_error(c, 503, "busy", "Too many listings are waiting; try again.");
}

void admin_unreachable(struct admin_call *c)
{
    admin_error(c, 503, "store", "The store or memory is out of reach.");
}

bool admin_is_device_id(const char *id)
{
    size_t len = strlen(id);
    bool good = len > 0 && len <= PV_DEVICE_ID_MAX;
    for (size_t i = 0; i < len; i++) good = good && pv__is_alnum((unsigned char)id[i]);
    return good;
}

/* Behind to; what is no letter or digit is escaped. @return the end. */
static char *put_escaped(char *to, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (pv__is_alnum(*p)) {
            *to++ = (char)*p;
            continue;
        }
        *to++ = '%';
        *to++ = hex[*p >> 4];
        *to++ = hex[*p & 15];
    }
    return to;
}

static char *put_pair(char *to, char before, const char *name, const char *value)
{
    *to++ = before;
    to = stpcpy(to, name);
    *to++ = '=';
    return put_escaped(to, value);
}

bool admin_next(struct admin_call *c, const char *after)
{
    static const char end[] = ">; rel=\"next\"";
    const struct admin_route *r = c->route;
    size_t size = sizeof "<?after=>; rel=\"next\"" + strlen(r->path) + 3 * strlen(after);
    for (size_t i = 0; i < r->query_count; i++)
        if (c->target.query[i])
            size += sizeof "&=" + strlen(r->query[i].name) + 3 * strlen(c->target.query[i]);
    char *to = c->next = malloc(size);
    if (!to) return false;
    *to++ = '<';
    to = put_pair(stpcpy(to, r->path), '?', "after", after);
    for (size_t i = 0; i < r->query_count; i++)
        if (c->target.query[i] && strcmp(r->query[i].name, "after") != 0)
            to = put_pair(to, '&', r->query[i].name, c->target.query[i]);
    memcpy(to, end, sizeof end);
    return true;
}
