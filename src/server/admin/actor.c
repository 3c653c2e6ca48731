/* Who calls, for the audit. */
#include <pwd.h>
#include <stdio.h>

#include "src/server/admin/internal.h"

/* From the file alone: the name service may ask a directory over the network, and a worker does not
 * wait for that. */
static void name_of_uid(uint32_t uid, char *name, size_t cap)
{
    char buf[1024];
    struct passwd entry, *found;
    FILE *f = fopen("/etc/passwd", "re");
    name[0] = '\0';
    while (f && fgetpwent_r(f, &entry, buf, sizeof buf, &found) == 0)
        if (entry.pw_uid == uid) {
            snprintf(name, cap, " (%s)", entry.pw_name);
            break;
        }
    if (f) fclose(f);
}

const char *admin_actor(struct admin_call *c)
{
    char name[64];
    uint32_t uid;
    if (c->actor[0] != '\0') return c->actor;
    if (c->token.name[0] != '\0') {
        snprintf(c->actor, sizeof c->actor, "token %s", c->token.name);
    } else if (http_peer_uid(c->http, &uid)) {
        name_of_uid(uid, name, sizeof name);
        snprintf(c->actor, sizeof c->actor, "uid %u%s", (unsigned)uid, name);
    } else {
        snprintf(c->actor, sizeof c->actor, "unknown");
    }
    return c->actor;
}
