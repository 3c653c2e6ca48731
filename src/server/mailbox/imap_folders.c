/* A listing of an IMAP server as the folders of a mailbox. */
#include <stdlib.h>
#include <string.h>

#include "src/server/mailbox/folders.h"
#include "src/server/mailbox/imap_box.h"

#define INBOX "INBOX"

/* Where all folders of a user stand below one name ("INBOX."), that name says nothing. */
static const char *without_prefix(const struct imap_listing *l, const struct imap_folder *f)
{
    size_t len = strlen(l->prefix);
    bool has = len > 0 && f->name_len > len && strncmp(f->name, l->prefix, len) == 0;
    return has ? f->name + len : f->name;
}

static enum folder_type type_of(enum imap_use use)
{
    switch (use) {
    case IMAP_USE_DRAFTS: return FOLDER_DRAFTS;
    case IMAP_USE_SENT: return FOLDER_SENT;
    case IMAP_USE_TRASH: return FOLDER_TRASH;
    default: return 0;
    }
}

/* *name_out NULL: nothing that can be shown. */
static bool name_of(const struct imap_listing *l, const struct imap_folder *f, char **name_out)
{
    if (!imap_is_inbox(f->name))
        return folder_name_of(without_prefix(l, f), f->delimiter, l->utf8, name_out);
    *name_out = strdup(INBOX);
    return *name_out != NULL;
}

bool imap_folders(const struct imap_listing *l, const struct config *c, struct folder_list *out)
{
    bool good = true;
    *out = (struct folder_list){.at = calloc(l->count + 1, sizeof *out->at), .by_validity = true};
    if (!out->at) return false;
    for (const struct imap_folder *f = l->first; f && good; f = f->next) {
        struct folder *to = &out->at[out->count];
        good = name_of(l, f, &to->name);
        if (!to->name) continue;
        out->count++;
        to->path = strdup(f->name);
        memcpy(to->identity, f->identity, sizeof to->identity);
        to->said = type_of(f->use);
        good = to->path != NULL;
    }
    good = good && folders_arrange(out);
    if (!good) {
        folder_list_free(out);
        return false;
    }
    out->by_validity = true;
    folders_mark_special(out, c);
    return true;
}
