/* What is said of the store: by `provost status`, and when it has not taken a change. */
#include <limits.h>
#include <unistd.h>

#include "src/server/admin/internal.h"
#include "src/server/gate/lists.h"
#include "src/server/store/store.h"

static json_t *heard_json(const struct store *s)
{
    int64_t ms = store_heard_ms(s);
    return ms < 0 ? json_null() : json_real((double)ms / 1000);
}

json_t *admin_store_json(const struct gate *g)
{
    const struct store *s = gate_store(g);
    const char *node = gate_config(g)->node;
    char host[HOST_NAME_MAX + 1] = "";
    if (!node && gethostname(host, sizeof host - 1) == 0) node = host;
    if (!store_is_shared(s)) return json_pack("{s:s}", "kind", s->ops->name);
    return json_pack("{s:s,s:s,s:b,s:o,s:b,s:b}", "kind", s->ops->name, "node", node ? node : "",
                     "heard", (int)store_is_heard(s), "heard_seconds_ago", heard_json(s),
                     "lists_known", (int)lists_are_known(g), "leader", (int)store_is_leader(s));
}

void admin_not_stored(struct admin_call *c, const struct store_write *w)
{
    if (w->lost)
        admin_error(c, 503, "unknown",
                    "The connection to the store went while it was written: it was done, or it was "
                    "not. Look at it before you try again.");
    else
        admin_error(c, 503, "store", "The store or memory is out of reach; nothing was changed.");
}
