/* Reading the configuration again: what has changed, what waits for a restart, and which is in force. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "src/server/config_inner.h"

/* ---- single keys ---- */

static const void *value_of(const struct key *k, const struct config *c)
{
    return (const char *)c + k->member;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_names(const struct config_names *a, const struct config_names *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) same = strcmp(a->name[i], b->name[i]) == 0;
    return same;
}

static bool same_group(const struct config_group *a, const struct config_group *b)
{
    bool same = a->count == b->count && strcmp(a->name, b->name) == 0;
    for (size_t i = 0; same && i < a->count; i++) same = strcmp(a->user[i], b->user[i]) == 0;
    return same;
}

static bool same_groups(const struct config_groups *a, const struct config_groups *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) same = same_group(&a->group[i], &b->group[i]);
    return same;
}

static bool same_domains(const struct config_domains *a, const struct config_domains *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = strcmp(a->at[i].domain, b->at[i].domain) == 0 &&
               strcmp(a->at[i].url, b->at[i].url) == 0;
    return same;
}

bool key_differs(const struct key *k, const struct config *a, const struct config *b)
{
    const void *x = value_of(k, a), *y = value_of(k, b);
    switch (k->kind) {
    case KEY_NUMBER: return *(const unsigned *)x != *(const unsigned *)y;
    case KEY_SIZE: return *(const size_t *)x != *(const size_t *)y;
    case KEY_FLAG: return *(const bool *)x != *(const bool *)y;
    case KEY_LIST: return !same_names(x, y);
    case KEY_GROUPS: return !same_groups(x, y);
    case KEY_DOMAINS: return !same_domains(x, y);
    default: return !same_text(*(const char *const *)x, *(const char *const *)y);
    }
}

void key_copy(const struct key *k, struct config *to, const struct config *from)
{
    static const size_t sizes[] = {[KEY_TEXT] = sizeof(char *),
                                   [KEY_PATH] = sizeof(char *),
                                   [KEY_CHOICE] = sizeof(char *),
                                   [KEY_LIST] = sizeof(struct config_names),
                                   [KEY_NUMBER] = sizeof(unsigned),
                                   [KEY_SIZE] = sizeof(size_t),
                                   [KEY_FLAG] = sizeof(bool),
                                   [KEY_GROUPS] = sizeof(struct config_groups),
                                   [KEY_DOMAINS] = sizeof(struct config_domains)};
    memcpy((char *)to + k->member, value_of(k, from), sizes[k->kind]);
}

/* ---- names ---- */

void config_text_add(struct config_text *t, const char *name)
{
    static const char more[] = ", ...";
    size_t room = sizeof t->text - t->len - sizeof more;
    if (t->len + sizeof more > sizeof t->text) return; /* it ends with them already */
    int n = snprintf(t->text + t->len, room, "%s%s", t->len ? ", " : "", name);
    if ((size_t)n < room) {
        t->len += (size_t)n;
        return;
    }
    memcpy(t->text + t->len, more, sizeof more);
    t->len = sizeof t->text;
}

bool config_differs(const struct config *a, const struct config *b, const char *prefix)
{
    bool differs = false;
    for (size_t i = 0; i < config_key_count && !differs; i++)
        differs = strncmp(config_keys[i].name, prefix, strlen(prefix)) == 0 &&
                  key_differs(&config_keys[i], a, b);
    return differs;
}

void config_changes(const struct config *a, const struct config *b, struct config_text *out)
{
    *out = (struct config_text){0};
    for (size_t i = 0; i < config_key_count; i++)
        if (key_differs(&config_keys[i], a, b)) config_text_add(out, config_keys[i].name);
}

/* ---- the files ---- */

static bool stamp(const char *path, struct config_mark *m)
{
    struct stat st;
    if (stat(path, &st) != 0) return false;
    m->device = st.st_dev;
    m->inode = st.st_ino;
    m->size = st.st_size;
    m->changed = st.st_mtim;
    return true;
}

bool config_mark_make(const char *path, struct config_mark *out)
{
    if (!stamp(path, out)) return false;
    out->path = strdup(path);
    return out->path != NULL;
}

static bool is_changed(const struct config_mark *was)
{
    struct config_mark is;
    return !stamp(was->path, &is) || is.device != was->device || is.inode != was->inode ||
           is.size != was->size || is.changed.tv_sec != was->changed.tv_sec ||
           is.changed.tv_nsec != was->changed.tv_nsec;
}

bool config_is_outdated(const struct config *c)
{
    const struct config_private *p = c->priv;
    bool changed = p->marks_missing;
    for (size_t i = 0; i < p->mark_count && !changed; i++) changed = is_changed(&p->marks[i]);
    return changed;
}

/* ---- one after the other ---- */

struct config *config_load(const char *path, char *error, size_t error_cap)
{
    struct config_line *line = calloc(1, sizeof *line);
    struct config *c = config_make(path, NULL, NULL, error, error_cap);
    if (!line || !c) {
        if (c) snprintf(error, error_cap, "%s: out of memory", path);
        if (c) config_free_one(c);
        free(line);
        return NULL;
    }
    pthread_mutex_init(&line->lock, NULL);
    c->line = line;
    line->newest = c;
    atomic_store(&line->now, c);
    return c;
}

struct config *config_reload(const struct config *c, struct config_text *waiting, char *error,
                             size_t error_cap)
{
    struct config_line *line = c->line;
    *waiting = (struct config_text){0};
    if (line->changes >= CONFIG_CHANGES_MAX) {
        snprintf(error, error_cap,
                 "%s: it was changed %d times since the start; restart the server", c->file,
                 CONFIG_CHANGES_MAX);
        return NULL;
    }
    struct config *fresh = config_make(c->file, line->newest, waiting, error, error_cap);
    if (fresh) fresh->line = line;
    return fresh;
}

void config_drop(struct config *fresh)
{
    if (fresh) config_free_one(fresh);
}

void config_put_in_force(struct config *fresh)
{
    struct config_line *line = fresh->line;
    struct config *before = line->newest;
    pthread_mutex_lock(&line->lock);
    fresh->priv->before = before;
    line->newest = fresh;
    line->changes++;
    config_groups_release(&before->groups);
    before->groups = (struct config_groups){0};
    pthread_mutex_unlock(&line->lock);
    atomic_store_explicit(&line->now, fresh, memory_order_release);
}

void config_confirm(const struct config *c, struct config *fresh)
{
    struct config_private *to = c->line->newest->priv, *from = fresh->priv;
    const struct config_private were = *to;
    to->marks = from->marks;
    to->mark_count = from->mark_count;
    to->marks_missing = from->marks_missing;
    from->marks = were.marks;
    from->mark_count = were.mark_count;
    config_free_one(fresh);
}

void config_free(struct config *c)
{
    struct config_line *line = c ? c->line : NULL;
    if (!line) return;
    for (struct config *one = line->newest, *before; one; one = before) {
        before = one->priv->before;
        config_free_one(one);
    }
    pthread_mutex_destroy(&line->lock);
    free(line);
}
