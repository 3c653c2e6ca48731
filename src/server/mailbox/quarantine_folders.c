/* The folders of a device in quarantine. */
#include <stdlib.h>
#include <string.h>

#include "src/server/mailbox/folders.h"
#include "src/server/mailbox/quarantine.h"

#define INBOX "INBOX"

bool quarantine_list(struct folder_list *out)
{
    *out = (struct folder_list){.at = calloc(1, sizeof *out->at)};
    if (!out->at) return false;
    out->at[0].name = strdup(INBOX);
    if (!out->at[0].name) return false;
    out->count = 1;
    return folders_arrange(out);
}

/* Found by its name, as after a restore: what identifies it on the disk is not looked at here. */
bool quarantine_inbox_id(struct folder_ids *known, uint32_t *id_out, bool *changed_out)
{
    *changed_out = false;
    for (size_t i = 0; i < known->count; i++)
        if (strcmp(known->at[i].name, INBOX) == 0) {
            *id_out = known->at[i].id;
            return true;
        }
    if (known->next == UINT32_MAX) return false;
    struct known_folder *at = realloc(known->at, (known->count + 1) * sizeof *at);
    if (!at) return false;
    known->at = at;
    at[known->count] = (struct known_folder){.id = known->next, .name = strdup(INBOX)};
    if (!at[known->count].name) return false;
    known->count++;
    *id_out = known->next++;
    *changed_out = true;
    return true;
}
