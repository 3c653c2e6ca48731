#include "src/server/config.h"

#include <errno.h>
#include <libconfig.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/server/config_check.h"

#define NOWHERE SIZE_MAX
#define PATH_OF_KEY_MAX 128

enum kind {
    KEY_TEXT,
    KEY_PATH,
    KEY_CHOICE,
    KEY_LIST,
    KEY_NUMBER,
    KEY_SIZE,
    KEY_FLAG,
    KEY_GROUPS,
    KEY_DOMAINS,
    KEY_LATER
};

struct key {
    const char *name;
    enum kind kind;
    size_t member;        /* offset in struct config */
    const char *fallback; /* default, as text; lists by '|'; NULL: none */
    long long least, most;
    const char *unit, *allowed, *later;
};

static const struct key keys[] = {
#include "src/server/config_table.h"
};
#define KEY_COUNT (sizeof keys / sizeof *keys)

struct private
{
    config_t file;
    void **owned; /* what is not the file's */
    size_t owned_count;
};

struct reading {
    struct config *c;
    struct private *p;
    const char *dir; /* of the file, from the root */
    char *error;
    size_t cap, len;
    bool failed;
};

/* ---- errors: all of them, one a line ---- */

__attribute__((format(printf, 2, 0))) static void add_text(struct reading *r, const char *format,
                                                           va_list args)
{
    if (r->len + 1 >= r->cap) return;
    int n = vsnprintf(r->error + r->len, r->cap - r->len, format, args);
    r->len += n < 0 ? 0 : (size_t)n;
    if (r->len >= r->cap) r->len = r->cap - 1;
}

__attribute__((format(printf, 2, 3))) static void add(struct reading *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_text(r, format, args);
    va_end(args);
}

/* at: where it stands; NULL: in the file as a whole. */
static void begin_line(struct reading *r, const config_setting_t *at)
{
    if (r->failed) add(r, "\n");
    r->failed = true;
    if (at) {
        const char *file = config_setting_source_file(at);
        add(r, "%s:%u: ", file ? file : r->c->file, config_setting_source_line(at));
    } else {
        add(r, "%s: ", r->c->file);
    }
}

__attribute__((format(printf, 3, 4))) static void
complain(struct reading *r, const config_setting_t *at, const char *format, ...)
{
    va_list args;
    begin_line(r, at);
    va_start(args, format);
    add_text(r, format, args);
    va_end(args);
}

bool config_stands(const struct reading *r, const char *path)
{
    return config_lookup(&r->p->file, path) != NULL;
}

void config_complain(struct reading *r, const char *path, const char *format, ...)
{
    char part[PATH_OF_KEY_MAX];
    const config_setting_t *at = NULL;
    va_list args;
    for (size_t len = strlen(path); !at && len > 0;) {
        snprintf(part, sizeof part, "%.*s", (int)len, path);
        at = config_lookup(&r->p->file, part);
        while (len > 0 && path[--len] != '.')
            ;
    }
    begin_line(r, at);
    va_start(args, format);
    add_text(r, format, args);
    va_end(args);
}

/* ---- strings ---- */

/* Takes a block over; NULL is passed on as out of memory, which is told. */
static void *own_block(struct reading *r, void *block)
{
    void **grown = block ? realloc(r->p->owned, (r->p->owned_count + 1) * sizeof *grown) : NULL;
    if (!grown) {
        free(block);
        complain(r, NULL, "out of memory");
        return NULL;
    }
    r->p->owned = grown;
    return r->p->owned[r->p->owned_count++] = block;
}

static const char *own(struct reading *r, char *text)
{
    const char *owned = own_block(r, text);
    return owned ? owned : "";
}

static const char *directory(struct reading *r)
{
    const char *file = r->c->file, *slash = strrchr(file, '/');
    char *here = *file == '/' ? NULL : getcwd(NULL, 0), *dir = NULL;
    if (asprintf(&dir, "%s%s%.*s", here ? here : "", here && slash ? "/" : "",
                 slash ? (int)(slash - file) : 0, file) < 0)
        dir = NULL;
    free(here);
    return own(r, dir);
}

/* A relative path counts from the directory of the configuration file. */
static const char *absolute(struct reading *r, const char *path)
{
    char *joined = NULL;
    if (*path == '/') return path;
    if (asprintf(&joined, "%s/%s", r->dir, path) < 0) joined = NULL;
    return own(r, joined);
}

/* ---- values ---- */

static void *member(const struct reading *r, const struct key *k)
{
    return (char *)r->c + k->member;
}

static void wrong_type(struct reading *r, const config_setting_t *s, const struct key *k)
{
    static const char *const wanted[] = {[KEY_TEXT] = "a text in quotes",
                                         [KEY_PATH] = "a path in quotes",
                                         [KEY_CHOICE] = "a text in quotes",
                                         [KEY_LIST] = "a text in quotes or a list of them",
                                         [KEY_NUMBER] = "a number",
                                         [KEY_SIZE] = "a number",
                                         [KEY_FLAG] = "true or false",
                                         [KEY_GROUPS] = "a group of lists: { name = [ ... ]; }",
                                         [KEY_DOMAINS] = "a list of groups: ( { domain = "
                                                         "\"...\"; url = \"...\"; }, ... )",
                                         [KEY_LATER] = ""};
    complain(r, s, "%s must be %s", k->name, wanted[k->kind]);
}

static void read_number(struct reading *r, const config_setting_t *s, const struct key *k)
{
    int type = config_setting_type(s);
    if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) {
        wrong_type(r, s, k);
        return;
    }
    long long n = config_setting_get_int64(s);
    if (n < k->least || n > k->most)
        complain(r, s, "%s is %lld; allowed: %lld to %lld %s", k->name, n, k->least, k->most,
                 k->unit);
    else if (k->kind == KEY_SIZE)
        *(size_t *)member(r, k) = (size_t)n;
    else
        *(unsigned *)member(r, k) = (unsigned)n;
}

/* Is value one of the blank-separated words? One that ends with '*' stands for what begins so. */
static bool is_among(const char *words, const char *value)
{
    for (const char *w = words; w && *w;) {
        size_t len = strcspn(w, " ");
        bool open = w[len - 1] == '*';
        if (strncmp(w, value, open ? len - 1 : len) == 0 && (open || value[len] == '\0'))
            return true;
        w += len + strspn(w + len, " ");
    }
    return false;
}

static void read_text(struct reading *r, const config_setting_t *s, const struct key *k)
{
    const char *value = config_setting_get_string(s);
    if (!value)
        wrong_type(r, s, k);
    else if (k->kind == KEY_CHOICE && is_among(k->later, value))
        complain(r, s, "%s \"%s\" is not available in this version; allowed: %s", k->name, value,
                 k->allowed);
    else if (k->kind == KEY_CHOICE && !is_among(k->allowed, value))
        complain(r, s, "%s is \"%s\"; allowed: %s", k->name, value, k->allowed);
    else if (k->kind == KEY_PATH && *value == '\0')
        complain(r, s, "%s must not be empty", k->name);
    else
        *(const char **)member(r, k) = k->kind == KEY_PATH ? absolute(r, value) : value;
}

static void read_list(struct reading *r, const config_setting_t *s, const struct key *k)
{
    struct config_names *names = member(r, k);
    bool single = config_setting_type(s) == CONFIG_TYPE_STRING;
    int count = single ? 1 : config_setting_length(s);
    if (!single && !config_setting_is_aggregate(s)) {
        wrong_type(r, s, k);
        return;
    }
    if (count < 1 || count > CONFIG_LIST_MAX) {
        complain(r, s, "%s has %d entries; allowed: 1 to %d", k->name, count, CONFIG_LIST_MAX);
        return;
    }
    names->count = 0;
    for (int i = 0; i < count; i++) {
        const config_setting_t *e = single ? s : config_setting_get_elem(s, (unsigned)i);
        const char *value = config_setting_get_string(e);
        if (!value)
            wrong_type(r, e, k);
        else if (k->allowed && !is_among(k->allowed, value))
            complain(r, e, "%s has \"%s\"; allowed: %s", k->name, value, k->allowed);
        else
            names->name[names->count++] = value;
    }
}

/* false: it is no list of texts. */
static bool read_group_of_users(struct reading *r, const config_setting_t *list,
                                struct config_group *g)
{
    size_t count = (size_t)config_setting_length(list);
    if (!config_setting_is_array(list) && !config_setting_is_list(list)) return false;
    g->name = config_setting_name(list);
    g->user = own_block(r, calloc(count + 1, sizeof *g->user));
    for (size_t i = 0; g->user && i < count; i++) {
        const char *user = config_setting_get_string_elem(list, (int)i);
        if (!user) return false;
        g->user[g->count++] = user;
    }
    return true;
}

static void read_groups(struct reading *r, const config_setting_t *s, const struct key *k)
{
    struct config_groups *groups = member(r, k);
    if (!config_setting_is_group(s)) {
        wrong_type(r, s, k);
        return;
    }
    size_t count = (size_t)config_setting_length(s);
    groups->group = own_block(r, calloc(count + 1, sizeof *groups->group));
    for (size_t i = 0; groups->group && i < count; i++) {
        const config_setting_t *list = config_setting_get_elem(s, (unsigned)i);
        if (!read_group_of_users(r, list, &groups->group[i])) {
            wrong_type(r, list, k);
            return;
        }
        groups->count++;
    }
}

/* false: it is no group of the two texts. */
static bool read_domain(const config_setting_t *group, struct config_domain *d)
{
    return config_setting_is_group(group) && config_setting_length(group) == 2 &&
           config_setting_lookup_string(group, "domain", &d->domain) &&
           config_setting_lookup_string(group, "url", &d->url);
}

static void read_domains(struct reading *r, const config_setting_t *s, const struct key *k)
{
    struct config_domains *domains = member(r, k);
    if (!config_setting_is_list(s)) {
        wrong_type(r, s, k);
        return;
    }
    size_t count = (size_t)config_setting_length(s);
    domains->at = own_block(r, calloc(count + 1, sizeof *domains->at));
    for (size_t i = 0; domains->at && i < count; i++) {
        const config_setting_t *group = config_setting_get_elem(s, (unsigned)i);
        if (!read_domain(group, &domains->at[i])) {
            wrong_type(r, group, k);
            return;
        }
        domains->count++;
    }
}

/* Known, so that a file for a later version is understood, but never silently without effect. */
static void read_later(struct reading *r, const config_setting_t *s, const struct key *k)
{
    complain(r, s, "%s is not available in this version", k->name);
}

static void read_key(struct reading *r, const config_setting_t *s, const struct key *k)
{
    switch (k->kind) {
    case KEY_NUMBER:
    case KEY_SIZE: read_number(r, s, k); break;
    case KEY_FLAG:
        if (config_setting_type(s) == CONFIG_TYPE_BOOL)
            *(bool *)member(r, k) = config_setting_get_bool(s);
        else
            wrong_type(r, s, k);
        break;
    case KEY_LIST: read_list(r, s, k); break;
    case KEY_GROUPS: read_groups(r, s, k); break;
    case KEY_DOMAINS: read_domains(r, s, k); break;
    case KEY_LATER: read_later(r, s, k); break;
    default: read_text(r, s, k);
    }
}

static void set_default(struct reading *r, const struct key *k)
{
    void *to = k->member == NOWHERE ? NULL : member(r, k);
    if (!to || !k->fallback) return;
    if (k->kind == KEY_NUMBER) {
        *(unsigned *)to = (unsigned)strtoul(k->fallback, NULL, 10);
    } else if (k->kind == KEY_SIZE) {
        *(size_t *)to = strtoul(k->fallback, NULL, 10);
    } else if (k->kind == KEY_FLAG) {
        *(bool *)to = strcmp(k->fallback, "true") == 0;
    } else if (k->kind == KEY_LIST) {
        struct config_names *names = to;
        for (const char *p = k->fallback; *p && names->count < CONFIG_LIST_MAX;) {
            size_t len = strcspn(p, "|");
            names->name[names->count++] = own(r, strndup(p, len));
            p += len + (p[len] == '|');
        }
    } else {
        *(const char **)to = k->kind == KEY_PATH ? absolute(r, k->fallback) : k->fallback;
    }
}

/* ---- the file ---- */

/* The keys, or groups of keys, that may stand below prefix. */
static void tell_allowed(struct reading *r, const char *prefix)
{
    size_t skip = strlen(prefix), last_len = 0;
    const char *last = NULL;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strncmp(keys[i].name, prefix, skip) != 0) continue;
        const char *name = keys[i].name + skip;
        size_t len = strcspn(name, ".");
        if (last && len == last_len && strncmp(name, last, len) == 0) continue;
        add(r, "%s%.*s", last ? ", " : "; allowed: ", (int)len, name);
        last = name;
        last_len = len;
    }
}

static const struct key *find_key(const char *path)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strcmp(keys[i].name, path) == 0) return &keys[i];
    return NULL;
}

static bool is_group_of_keys(const char *path)
{
    size_t len = strlen(path);
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strncmp(keys[i].name, path, len) == 0 && keys[i].name[len] == '.') return true;
    return false;
}

/* prefix: "", or a group's path with a dot. Goes no deeper than the table's groups. */
static void read_group(struct reading *r, const config_setting_t *group, const char *prefix)
{
    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
        char path[PATH_OF_KEY_MAX], below[PATH_OF_KEY_MAX + 1];
        snprintf(path, sizeof path, "%s%s", prefix, config_setting_name(s));
        const struct key *k = find_key(path);
        if (k) {
            read_key(r, s, k);
        } else if (!is_group_of_keys(path)) {
            complain(r, s, "unknown key %s", path);
            tell_allowed(r, prefix);
        } else if (!config_setting_is_group(s)) {
            complain(r, s, "%s must be a group: { ... }", path);
        } else {
            snprintf(below, sizeof below, "%s.", path);
            read_group(r, s, below);
        }
    }
}

static bool parse(struct reading *r)
{
    config_t *f = &r->p->file;
    struct stat st;
    const char *slash = strrchr(r->c->file, '/');
    if (stat(r->c->file, &st) != 0) {
        complain(r, NULL, "%s", strerror(errno));
        return false;
    }
    if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode)) {
        complain(r, NULL, "not a file"); /* libconfig would end the process on a directory */
        return false;
    }
    if (slash) /* @include counts from the file, too */
        config_set_include_dir(f, own(r, strndup(r->c->file, (size_t)(slash - r->c->file))));
    if (r->failed) return false;
    if (config_read_file(f, r->c->file)) return true;
    const char *file = config_error_file(f);
    if (config_error_type(f) == CONFIG_ERR_FILE_IO && config_error_line(f) == 0)
        complain(r, NULL, "%s", strerror(errno));
    else
        add(r, "%s:%d: %s", file ? file : r->c->file, config_error_line(f), config_error_text(f));
    r->failed = true;
    return false;
}

struct config *config_load(const char *path, char *error, size_t error_cap)
{
    struct config *c = calloc(1, sizeof *c);
    struct private *p = calloc(1, sizeof *p);
    struct reading r = {.c = c, .p = p, .error = error, .cap = error_cap};
    if (error_cap) error[0] = '\0';
    if (!c || !p) {
        free(c);
        free(p);
        add(&r, "%s: out of memory", path);
        return NULL;
    }
    c->priv = p;
    c->file = path;
    config_init(&p->file);
    c->file = own(&r, strdup(path));
    r.dir = directory(&r);
    if (r.failed || !parse(&r)) {
        config_free(c);
        return NULL;
    }
    for (size_t i = 0; i < KEY_COUNT; i++) set_default(&r, &keys[i]);
    read_group(&r, config_root_setting(&p->file), "");
    /* A value may be missing only because it was wrong. */
    if (!r.failed) {
        config_complete(c);
        config_check(c, &r);
    }
    if (r.failed) {
        config_free(c);
        return NULL;
    }
    return c;
}

void config_free(struct config *c)
{
    if (!c) return;
    struct private *p = c->priv;
    config_destroy(&p->file);
    for (size_t i = 0; i < p->owned_count; i++) free(p->owned[i]);
    free(p->owned);
    free(p);
    free(c);
}
