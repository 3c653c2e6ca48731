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
#include "src/server/config_inner.h"

#define PATH_OF_KEY_MAX 128
#define DEPTH_MAX 8 /* more than keys have */

const struct key config_keys[] = {
#include "src/server/config_table.h"
};
const size_t config_key_count = sizeof config_keys / sizeof *config_keys;
#define KEY_COUNT (sizeof config_keys / sizeof *config_keys)

struct reading {
    struct config *c;
    struct config_private *p;
    config_t file;
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
    return config_lookup(&r->file, path) != NULL;
}

void config_complain(struct reading *r, const char *path, const char *format, ...)
{
    char part[PATH_OF_KEY_MAX];
    const config_setting_t *at = NULL;
    va_list args;
    for (size_t len = strlen(path); !at && len > 0;) {
        snprintf(part, sizeof part, "%.*s", (int)len, path);
        at = config_lookup(&r->file, part);
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

/* What libconfig has read goes when the file is closed. */
static const char *copy_of(struct reading *r, const char *text)
{
    return own(r, strdup(text));
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
    if (*path == '/') return copy_of(r, path);
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
                                                         "\"...\"; url = \"...\"; }, ... )"};
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

/* A URL may hold a password, before an @ or among its parameters. */
static void not_among(struct reading *r, const config_setting_t *s, const struct key *k,
                      const char *value)
{
    bool secret = strpbrk(value, "@?");
    complain(r, s, "%s is \"%.*s%s\"; allowed: %s", k->name,
             (int)(secret ? strcspn(value, ":@?") : strlen(value)), value, secret ? "..." : "",
             k->allowed);
}

static void read_text(struct reading *r, const config_setting_t *s, const struct key *k)
{
    const char *value = config_setting_get_string(s);
    if (!value)
        wrong_type(r, s, k);
    else if (k->kind == KEY_CHOICE && !is_among(k->allowed, value))
        not_among(r, s, k, value);
    else if (k->kind == KEY_PATH && *value == '\0')
        complain(r, s, "%s must not be empty", k->name);
    else
        *(const char **)member(r, k) = k->kind == KEY_PATH ? absolute(r, value) : copy_of(r, value);
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
            names->name[names->count++] = copy_of(r, value);
    }
}

/* The bytes that a group takes beside its entry: names of users and what points to them. 0: it is no
 * list of texts. */
static size_t room_for_group(const config_setting_t *list)
{
    bool fits = config_setting_is_array(list) || config_setting_is_list(list);
    size_t count = fits ? (size_t)config_setting_length(list) : 0;
    size_t bytes = fits ? strlen(config_setting_name(list)) + 1 : 0;
    for (size_t i = 0; i < count; i++) {
        const char *user = config_setting_get_string_elem(list, (int)i);
        if (!user) return 0;
        bytes += sizeof user + strlen(user) + 1;
    }
    return bytes;
}

/* Pointers grow from the front of the room, texts from the end of all pointers. */
struct room {
    const char **users;
    char *text;
};

static const char *put_text(struct room *room, const char *text)
{
    const char *at = room->text;
    room->text = stpcpy(room->text, text) + 1;
    return at;
}

static void put_group(struct room *room, const config_setting_t *list, struct config_group *g)
{
    g->name = put_text(room, config_setting_name(list));
    g->user = room->users;
    g->count = (size_t)config_setting_length(list);
    for (size_t i = 0; i < g->count; i++)
        *room->users++ = put_text(room, config_setting_get_string_elem(list, (int)i));
}

/* All in one block, which goes when nobody uses the groups any more. */
static void read_groups(struct reading *r, const config_setting_t *s, const struct key *k)
{
    struct config_groups *groups = member(r, k);
    size_t bytes = sizeof(max_align_t), users = 0;
    if (!config_setting_is_group(s)) {
        wrong_type(r, s, k);
        return;
    }
    size_t count = (size_t)config_setting_length(s);
    for (size_t i = 0; i < count; i++) {
        const config_setting_t *list = config_setting_get_elem(s, (unsigned)i);
        size_t room = room_for_group(list);
        if (!room) {
            wrong_type(r, list, k);
            return;
        }
        bytes += sizeof *groups->group + room;
        users += (size_t)config_setting_length(list);
    }
    groups->block = calloc(1, bytes);
    if (!groups->block) {
        complain(r, s, "out of memory");
        return;
    }
    groups->block->holders = 1;
    groups->group = (struct config_group *)((char *)groups->block + sizeof(max_align_t));
    struct room room = {(const char **)(groups->group + count), NULL};
    room.text = (char *)(room.users + users);
    for (; groups->count < count; groups->count++)
        put_group(&room, config_setting_get_elem(s, (unsigned)groups->count),
                  &groups->group[groups->count]);
}

/* false: it is no group of the two texts. */
static bool read_domain(struct reading *r, const config_setting_t *group, struct config_domain *d)
{
    bool both = config_setting_is_group(group) && config_setting_length(group) == 2 &&
                config_setting_lookup_string(group, "domain", &d->domain) &&
                config_setting_lookup_string(group, "url", &d->url);
    if (!both) return false;
    d->domain = copy_of(r, d->domain);
    d->url = copy_of(r, d->url);
    return true;
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
        if (!read_domain(r, group, &domains->at[i])) {
            wrong_type(r, group, k);
            return;
        }
        domains->count++;
    }
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
    default: read_text(r, s, k);
    }
}

static void set_default(struct reading *r, const struct key *k)
{
    void *to = member(r, k);
    if (!k->fallback) return;
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
        if (strncmp(config_keys[i].name, prefix, skip) != 0) continue;
        const char *name = config_keys[i].name + skip;
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
        if (strcmp(config_keys[i].name, path) == 0) return &config_keys[i];
    return NULL;
}

static bool is_group_of_keys(const char *path)
{
    size_t len = strlen(path);
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strncmp(config_keys[i].name, path, len) == 0 && config_keys[i].name[len] == '.')
            return true;
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

static void mark(struct reading *r, const char *path)
{
    struct config_private *p = r->p;
    struct config_mark *grown = realloc(p->marks, (p->mark_count + 1) * sizeof *grown);
    struct config_mark m;
    if (grown) p->marks = grown;
    if (grown && config_mark_make(path, &m))
        p->marks[p->mark_count++] = m;
    else
        p->marks_missing = true;
}

static bool is_marked(const struct config_private *p, const char *path)
{
    for (size_t i = 0; i < p->mark_count; i++)
        if (strcmp(p->marks[i].path, path) == 0) return true;
    return false;
}

/* As it stands in @include, it counts from the configuration file. */
static void mark_included(struct reading *r, const char *file)
{
    char *joined = NULL;
    if (*file != '/' && asprintf(&joined, "%s/%s", r->dir, file) < 0) joined = NULL;
    if (*file != '/' && !joined)
        r->p->marks_missing = true;
    else if (!is_marked(r->p, joined ? joined : file))
        mark(r, joined ? joined : file);
    free(joined);
}

/* Files that were included: where settings stand. */
static void mark_files_of(struct reading *r, const config_setting_t *s, unsigned depth)
{
    const char *last = NULL;
    for (int i = 0; config_setting_is_aggregate(s) && i < config_setting_length(s); i++) {
        const config_setting_t *e = config_setting_get_elem(s, (unsigned)i);
        const char *file = config_setting_source_file(e);
        if (file && file != last && strcmp(file, r->c->file) != 0) mark_included(r, file);
        last = file;
        if (depth > 0) mark_files_of(r, e, depth - 1);
    }
}

static bool parse(struct reading *r)
{
    config_t *f = &r->file;
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
    mark(r, r->c->file);
    if (config_read_file(f, r->c->file)) return true;
    const char *file = config_error_file(f);
    if (config_error_type(f) == CONFIG_ERR_FILE_IO && config_error_line(f) == 0)
        complain(r, NULL, "%s", strerror(errno));
    else
        add(r, "%s:%d: %s", file ? file : r->c->file, config_error_line(f), config_error_text(f));
    r->failed = true;
    return false;
}

/* The same ones are known by their block. */
static void share_groups(struct config *c, const struct config *over)
{
    config_groups_release(&c->groups);
    c->groups = over->groups;
    config_groups_hold(&c->groups);
}

/* What takes a restart stays as it is; the file was checked with all that it says. Whether a listener
 * speaks TLS is decided when it is opened; with which certificate, at any time. */
static void take_over(struct config *c, const struct config *over, struct config_text *waiting)
{
    const bool tls_turns = !c->tls_certificate != !over->tls_certificate;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct key *k = &config_keys[i];
        if (k->kind == KEY_GROUPS && !key_differs(k, c, over)) share_groups(c, over);
        if (!k->restart && !(tls_turns && strncmp(k->name, "tls.", 4) == 0)) continue;
        if (key_differs(k, c, over)) config_text_add(waiting, k->name);
        key_copy(k, c, over);
    }
}

/* false: something is wrong. */
static bool read_all(struct reading *r, const struct config *over, struct config_text *waiting)
{
    struct config *c = r->c;
    c->file = copy_of(r, c->file);
    r->dir = directory(r);
    if (r->failed || !parse(r)) return false;
    for (size_t i = 0; i < KEY_COUNT; i++) set_default(r, &config_keys[i]);
    read_group(r, config_root_setting(&r->file), "");
    mark_files_of(r, config_root_setting(&r->file), DEPTH_MAX);
    /* A value may be missing only because it was wrong. */
    if (r->failed) return false;
    const struct config said = *c;
    config_complete(c);
    config_check(c, r);
    if (r->failed || !over) return !r->failed;
    *c = said;
    take_over(c, over, waiting);
    config_complete(c);
    return true;
}

struct config *config_make(const char *path, const struct config *over, struct config_text *waiting,
                           char *error, size_t error_cap)
{
    struct config *c = calloc(1, sizeof *c);
    struct config_private *p = calloc(1, sizeof *p);
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
    config_init(&r.file);
    bool good = read_all(&r, over, waiting);
    config_destroy(&r.file);
    if (good) return c;
    config_free_one(c);
    return NULL;
}

void config_free_one(struct config *c)
{
    struct config_private *p = c->priv;
    config_groups_release(&c->groups);
    for (size_t i = 0; i < p->owned_count; i++) free(p->owned[i]);
    for (size_t i = 0; i < p->mark_count; i++) free(p->marks[i].path);
    free(p->owned);
    free(p->marks);
    free(p);
    free(c);
}
