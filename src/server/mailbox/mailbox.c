#include "src/server/mailbox/mailbox.h"

#include <stdio.h>
#include <string.h>

#include "src/server/mailbox/imap_box.h"
#include "src/server/mailbox/maildir_box.h"

static const struct {
    const char *type;
    struct mailbox *(*open)(const struct config *c, char *error, size_t error_cap);
} kinds[] = {
    {"imap", imap_box_open},
    {"maildir", maildir_box_open},
};

struct mailbox *mailbox_open(const struct config *c, char *error, size_t error_cap)
{
    const char *type = c->mailbox.type ? c->mailbox.type : "";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(type, kinds[i].type) == 0) return kinds[i].open(c, error, error_cap);
    }
    snprintf(error, error_cap, "mailbox.type: \"%s\" is not known; imap and maildir are", type);
    return NULL;
}

bool mailbox_status(struct mailbox *m, json_t *status)
{
    return !m || !m->ops->status || m->ops->status(m, status);
}

bool mailbox_reconfigure(struct mailbox *m)
{
    return !m || !m->ops->reconfigure || m->ops->reconfigure(m);
}

void mailbox_stop(struct mailbox *m)
{
    if (m && m->ops->stop) m->ops->stop(m);
}

void mailbox_close(struct mailbox *m)
{
    if (m) m->ops->close(m);
}
