#include "src/server/mailbox/folders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/lib/base/text.h"
#include "src/server/mailbox/utf7.h"

#define INBOX "INBOX"
#define LEVEL_MAX (2 * UTF7_MAX) /* bytes of a level in UTF-8 */
#define UNIQUE_ROUNDS 8

void folder_list_free(struct folder_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->at[i].name);
        free(l->at[i].display);
        free(l->at[i].path);
    }
    free(l->at);
    *l = (struct folder_list){0};
}

/* ---- names ---- */

/* A level as text that can be shown and cannot be mistaken for two levels. */
static void put_shown(struct pv__out *out, const char *text, size_t len)
{
    for (size_t at = 0, n; at < len; at += n) {
        uint32_t code;
        char escaped[5];
        n = pv__utf8_next((const uint8_t *)text + at, len - at, &code);
        if (n == 0) {
            n = 1;
            pv__escape(text + at, 1, escaped, sizeof escaped);
            pv__out_text(out, escaped);
        } else if (code == '/') {
            pv__out_text(out, "\u2215");
        } else if (code < 0x20 || (code >= 0x7f && code < 0xa0)) {
            pv__out_text(out, "\ufffd");
        } else {
            pv__out_bytes(out, text + at, n);
        }
    }
}

static void put_level(struct pv__out *out, const char *level, size_t len, bool utf8)
{
    char plain[LEVEL_MAX];
    size_t plain_len;
    if (!utf8 && utf7_decode(level, len, plain, sizeof plain, &plain_len))
        put_shown(out, plain, plain_len);
    else
        put_shown(out, level, len);
}

bool folder_name_of(const char *raw, char delimiter, bool utf8, char **name_out)
{
    char buf[4 * (UTF7_MAX + 1)];
    const char stop[] = {delimiter, '\0'};
    struct pv__out out;
    unsigned depth = 0;
    *name_out = NULL;
    pv__out_init(&out, buf, sizeof buf);
    for (const char *level = raw;; depth++) {
        size_t len = strcspn(level, stop);
        bool last = !level[len];
        if (len == 0 || depth >= FOLDER_DEPTH_MAX) return true;
        /* RFC 3501 5.1. Some Maildirs have the Inbox's children as .INBOX.Child. */
        bool inbox = depth == 0 && len == strlen(INBOX) && strncasecmp(level, INBOX, len) == 0;
        if (inbox && last) return true;
        if (depth > 0) pv__out_text(&out, "/");
        if (inbox)
            pv__out_text(&out, INBOX);
        else
            put_level(&out, level, len, utf8);
        if (last) break;
        level += len + 1;
    }
    if (pv__out_end(&out, NULL) != PV_OK) return true;
    *name_out = strdup(buf);
    return *name_out != NULL;
}

bool folder_name(const char *file_name, char **name_out)
{
    *name_out = NULL;
    return file_name[0] != '.' || folder_name_of(file_name + 1, '.', false, name_out);
}

/* ---- order ---- */

static bool is_below_inbox(const char *name)
{
    size_t len = strlen(INBOX);
    return strncmp(name, INBOX, len) == 0 && (!name[len] || name[len] == '/');
}

/* '/' sorts before every other byte, so that a folder's children follow it at once. */
static int by_name(const void *one, const void *two)
{
    const struct folder *a = one, *b = two;
    int inbox = is_below_inbox(b->name) - is_below_inbox(a->name);
    if (inbox) return inbox;
    const unsigned char *p = (const unsigned char *)a->name, *q = (const unsigned char *)b->name;
    while (*p && *p == *q) p++, q++;
    if (*p == *q) return strcmp(a->path, b->path);
    unsigned x = *p == '/' ? 1 : *p, y = *q == '/' ? 1 : *q;
    return x < y ? -1 : 1;
}

/* Two directories may show as one name (a slash and U+2215): the later ones get a number. */
static bool number_twins(struct folder_list *l, bool *found)
{
    unsigned number = 1;
    const char *first = l->count ? l->at[0].name : NULL;
    *found = false;
    for (size_t i = 1; i < l->count; i++) {
        struct folder *f = &l->at[i];
        if (strcmp(first, f->name) != 0) {
            first = f->name;
            number = 1;
            continue;
        }
        char *name;
        if (asprintf(&name, "%s (%u)", f->name, ++number) < 0) return false;
        free(f->name);
        f->name = name;
        *found = true;
    }
    return true;
}

static bool sort_unique(struct folder_list *l)
{
    for (int round = 0; round < UNIQUE_ROUNDS; round++) {
        bool twins;
        if (l->count) qsort(l->at, l->count, sizeof *l->at, by_name);
        if (!number_twins(l, &twins)) return false;
        if (!twins) return true;
    }
    return false; /* somebody plays with us: no list rather than a confusing one */
}

/* ---- tree ---- */

/* The folders from the top down to the one that was added last. */
struct branch {
    size_t at[FOLDER_DEPTH_MAX];
    unsigned depth;
};

static bool is_named(const struct folder *f, const char *name, size_t len)
{
    return strncmp(f->name, name, len) == 0 && !f->name[len];
}

static bool append(struct folder_list *l, struct branch *b, struct folder f)
{
    struct folder *at = realloc(l->at, (l->count + 1) * sizeof *at);
    if (at) l->at = at;
    const char *slash = f.name ? strrchr(f.name, '/') : NULL;
    if (f.name) f.display = strdup(slash ? slash + 1 : f.name);
    if (!at || !f.name || !f.display || l->count >= FOLDER_COUNT_MAX) {
        free(f.name);
        free(f.display);
        free(f.path);
        return false;
    }
    f.type = f.path ? FOLDER_MAIL : FOLDER_GENERIC;
    f.parent = b->depth ? b->at[b->depth - 1] : SIZE_MAX;
    b->at[b->depth++] = l->count;
    l->at[l->count++] = f;
    return true;
}

/* Walk down to the parent of name; make what is missing on the way. */
static bool descend(struct folder_list *l, struct branch *b, const char *name)
{
    unsigned depth = 0;
    for (const char *slash = name; (slash = strchr(slash, '/')); slash++, depth++) {
        size_t len = (size_t)(slash - name);
        if (depth < b->depth && is_named(&l->at[b->at[depth]], name, len)) continue;
        b->depth = depth;
        if (!append(l, b, (struct folder){.name = strndup(name, len)})) return false;
    }
    b->depth = depth;
    return true;
}

bool folders_arrange(struct folder_list *l)
{
    struct folder_list tree = {0};
    struct branch branch = {0};
    if (!sort_unique(l)) return false;
    for (size_t i = 0; i < l->count; i++) {
        struct folder f = l->at[i];
        if (!descend(&tree, &branch, f.name)) goto fail;
        l->at[i] = (struct folder){0};
        if (!append(&tree, &branch, f)) goto fail;
        struct folder *added = &tree.at[tree.count - 1];
        if (strcmp(added->name, INBOX) != 0) continue;
        memcpy(added->display, "Inbox", sizeof "Inbox");
        added->type = FOLDER_INBOX;
    }
    folder_list_free(l);
    *l = tree;
    return true;
fail:
    folder_list_free(&tree);
    return false;
}

/* ---- special folders ---- */

/* As the mailbox itself says. Only one folder can be the one for a purpose. */
static bool mark_said(struct folder_list *l, enum folder_type type)
{
    for (size_t i = 0; i < l->count; i++) {
        struct folder *f = &l->at[i];
        if (f->said != type || f->type != FOLDER_MAIL) continue;
        f->type = type;
        return true;
    }
    return false;
}

static bool mark(struct folder_list *l, const char *name, enum folder_type type)
{
    for (size_t i = 0; i < l->count; i++) {
        struct folder *f = &l->at[i];
        if (f->parent != SIZE_MAX || f->type != FOLDER_MAIL) continue;
        if (strcasecmp(f->name, name) != 0) continue;
        f->type = type;
        return true;
    }
    return false;
}

void folders_mark_special(struct folder_list *l, const struct config *c)
{
    const struct {
        const struct config_names *names;
        enum folder_type type;
    } special[] = {
        {&c->mailbox.drafts, FOLDER_DRAFTS},     {&c->mailbox.trash, FOLDER_TRASH},
        {&c->mailbox.sent, FOLDER_SENT},         {&c->mailbox.outbox, FOLDER_OUTBOX},
        {&c->mailbox.tasks, FOLDER_TASKS},       {&c->mailbox.calendar, FOLDER_CALENDAR},
        {&c->mailbox.contacts, FOLDER_CONTACTS}, {&c->mailbox.notes, FOLDER_NOTES},
        {&c->mailbox.journal, FOLDER_JOURNAL},
    };
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        if (mark_said(l, special[i].type)) continue;
        for (size_t j = 0; j < special[i].names->count; j++) {
            if (mark(l, special[i].names->name[j], special[i].type)) break;
        }
    }
}
