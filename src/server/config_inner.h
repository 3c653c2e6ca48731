/* What config.c and config_reload.c share: the table of keys, and what belongs to a configuration. */
#ifndef PROVOSTD_CONFIG_INNER_H
#define PROVOSTD_CONFIG_INNER_H

#include <stdint.h>
#include <time.h>

#include "src/server/config.h"

enum kind {
    KEY_TEXT,
    KEY_PATH,
    KEY_CHOICE,
    KEY_LIST,
    KEY_NUMBER,
    KEY_SIZE,
    KEY_FLAG,
    KEY_GROUPS,
    KEY_DOMAINS
};

struct key {
    const char *name;
    enum kind kind;
    size_t member;        /* offset in struct config */
    const char *fallback; /* default, as text; lists by '|'; NULL: none */
    long long least, most;
    const char *unit, *allowed;
    bool restart;         /* another value waits for one */
};

extern const struct key config_keys[];
extern const size_t config_key_count;

/* A file as it was when it was read; those that @include names too. */
struct config_mark { char *path; uint64_t device, inode; int64_t size; struct timespec changed; };

struct config_private
{
    void **owned;                /* everything that the configuration points to */
    size_t owned_count;
    struct config_mark *marks;
    size_t mark_count;
    bool marks_missing;          /* no memory for one of them */
    struct config *before;       /* what was in force before it */
};

/* config.c: as config_load. over: values of keys that take a restart are those of that one; names of
 * those that the file has otherwise go to waiting, separated by ", ". NULL: of none. */
struct config *config_make(const char *path, const struct config *over, struct config_text *waiting,
                           char *error, size_t error_cap);
void config_free_one(struct config *c);

/* config_reload.c */
/* May the two configurations differ in what that key says? */
bool key_differs(const struct key *k, const struct config *a, const struct config *b);
/* Take over the value; it stays that one's. */
void key_copy(const struct key *k, struct config *to, const struct config *from);
/* false: no memory, or it cannot be looked at. */
bool config_mark_make(const char *path, struct config_mark *out);
void config_text_add(struct config_text *t, const char *name);

#endif
