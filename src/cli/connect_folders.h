/* The folder tree that a server tells by FolderSync. */
#ifndef PROVOST_CLI_CONNECT_FOLDERS_H
#define PROVOST_CLI_CONNECT_FOLDERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <provost/wbxml.h>

#define FOLDERS_MAX 10000
#define FOLDER_TEXT_MAX 1024 /* bytes of a name or id */

struct folder {
    char *id, *parent, *name; /* parent "0": at the top */
    unsigned type;
};
struct folders {
    struct folder *at;
    size_t count, room;
    char sync_key[65]; /* "0" at first */
};

/* What one FolderSync answer changed. */
struct folder_changes {
    unsigned added, updated, deleted;
};

enum folders_result { FOLDERS_OK, FOLDERS_MALFORMED, FOLDERS_TOO_MANY, FOLDERS_NO_MEMORY };

/* Forget everything and begin at SyncKey 0. */
void folders_reset(struct folders *f);
/* Apply a FolderSync answer with Status 1. An Add of a known folder is an Update; a Delete of an
 * unknown one is nothing. told (may be NULL) is called for each change: '+', '~', '-'. On another
 * result than FOLDERS_OK the tree may be half changed: reset it. */
enum folders_result folders_apply(struct folders *f, const struct pv_node *root,
                                  struct folder_changes *changes_out,
                                  void (*told)(void *ctx, char sign, const struct folder *folder),
                                  void *ctx);
const struct folder *folders_find(const struct folders *f, const char *id);
/* Indented by depth, parents first, in the server's order. Folders whose parent is not there (or
 * that are their own ancestors) stand at the top. each: depth from 0. @return false: no memory */
bool folders_walk(const struct folders *f,
                  void (*each)(void *ctx, const struct folder *folder, unsigned depth), void *ctx);
/* "inbox", "mail", ...; "unknown". */
const char *folder_type_name(unsigned type);
/* Class for Ping; NULL for a folder that cannot be watched. */
const char *folder_class(unsigned type);
/* NULL: no memory. */
json_t *folders_json(const struct folders *f);

#endif
