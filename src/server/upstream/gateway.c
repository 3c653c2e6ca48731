/* The gateway's place at the gate. */
#include <stdio.h>
#include <stdlib.h>

#include "src/server/upstream/forward_inner.h"

/* The gate calls a command with the call alone, and a process has one gateway. Set before the first call
 * is served. */
static struct gateway *the_gateway;

static void serve(struct call *c)
{
    forward_command(the_gateway, c);
}

static void options(struct call *c)
{
    forward_options(the_gateway, c);
}

/* Everything but Provision, which is the gate's own. */
static void register_all(struct gate *g)
{
    for (int cmd = 0; cmd < PV_CMD_COUNT; cmd++)
        if (cmd != PV_CMD_Provision)
            gate_register(
                g, &(struct command){.cmd = (enum pv_cmd)cmd, .serve = serve, .raw = true}, 1);
}

struct gateway *gateway_create(struct gate *g, struct upstreams *u, const struct config *c,
                               char *error, size_t error_cap)
{
    struct gateway *w = malloc(sizeof *w);
    if (!w) {
        snprintf(error, error_cap, "no memory for the gateway");
        return NULL;
    }
    *w = (struct gateway){.gate = g, .upstreams = u, .config = c};
    w->demands = demands_create(g, u);
    if (!w->demands) snprintf(error, error_cap, "no memory for the gateway");
    if (!w->demands || !upstreams_follow(u, g, error, error_cap)) {
        gateway_destroy(w);
        return NULL;
    }
    the_gateway = w;
    register_all(g);
    gate_on_options(g, options);
    return w;
}

struct demands *gateway_demands(struct gateway *w)
{
    return w->demands;
}

void gateway_destroy(struct gateway *w)
{
    if (!w) return;
    demands_destroy(w->demands);
    free(w);
}
