/* What comes with a call, held against the rows of its route: query and body. */
#include <stdio.h>
#include <string.h>

#include "src/lib/base/text.h"
#include "src/server/admin/route.h"

#define SHOWN_MAX 64 /* of a name that a peer has made up */

bool admin_is_word(const char *words, const char *value)
{
    size_t value_len = strlen(value);
    for (const char *w = words; *w;) {
        size_t len = strcspn(w, "|");
        if (len == value_len && memcmp(w, value, len) == 0) return true;
        w += len + (w[len] == '|');
    }
    return false;
}

static const struct admin_field *find(const struct admin_field *fields, size_t count,
                                      const char *name, size_t len)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(fields[i].name) == len && memcmp(fields[i].name, name, len) == 0)
            return &fields[i];
    return NULL;
}

static bool unknown(char sentence[ADMIN_SENTENCE_MAX], const char *what, const char *name,
                    size_t len)
{
    char shown[SHOWN_MAX];
    pv__escape(name, len, shown, sizeof shown);
    snprintf(sentence, ADMIN_SENTENCE_MAX, "This call has no %s \"%s\".", what, shown);
    return false;
}

static bool wrong(char sentence[ADMIN_SENTENCE_MAX], const struct admin_field *f)
{
    static const char *const wanted[] = {
        [ADMIN_TEXT] = "a text",          [ADMIN_NUMBER] = "a whole number, 0 or more",
        [ADMIN_FLAG] = "true or false",   [ADMIN_OBJECT] = "an object",
        [ADMIN_LIST] = "a list of texts", [ADMIN_WORD] = "one of ",
        [ADMIN_NAME] = "a name"};
    snprintf(sentence, ADMIN_SENTENCE_MAX, "%s must be %s%s%s.", f->name, wanted[f->type],
             f->words ? f->words : "", f->null ? ", or null" : "");
    return false;
}

static bool missing(char sentence[ADMIN_SENTENCE_MAX], const char *what,
                    const struct admin_field *f)
{
    snprintf(sentence, ADMIN_SENTENCE_MAX, "The %s %s is missing.", what, f->name);
    return false;
}

/* ---- query ---- */

static bool is_clean(const char *text)
{
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f) return false;
    return pv__utf8_valid((const uint8_t *)text, strlen(text));
}

static bool value_fits(const struct admin_field *f, const char *value)
{
    uint64_t n;
    switch (f->type) {
    case ADMIN_NUMBER: return pv__parse_u64(value, strlen(value), INT64_MAX, false, &n);
    case ADMIN_FLAG: return admin_is_word("true|false", value);
    case ADMIN_WORD: return admin_is_word(f->words, value);
    default: return true;
    }
}

/* One name=value. */
static bool take_pair(struct admin_target *t, const char *pair, size_t len,
                      char sentence[ADMIN_SENTENCE_MAX])
{
    const struct admin_route *r = t->route;
    const char *equals = memchr(pair, '=', len);
    size_t name_len = equals ? (size_t)(equals - pair) : len;
    const struct admin_field *f = find(r->query, r->query_count, pair, name_len);
    if (!f) return unknown(sentence, "query parameter", pair, name_len);
    if (!equals) return wrong(sentence, f);
    char *to = t->text + t->used; /* there is room, as for what stands in the path */
    size_t n = admin_percent_decode(equals + 1, len - name_len - 1, true, to);
    if (n == SIZE_MAX || (f->type != ADMIN_NAME && !is_clean(to))) {
        snprintf(sentence, ADMIN_SENTENCE_MAX,
                 "%s is not well encoded, or has control characters in it.", f->name);
        return false;
    }
    if (!value_fits(f, to)) return wrong(sentence, f);
    if (t->query[f - r->query]) {
        snprintf(sentence, ADMIN_SENTENCE_MAX, "%s is there twice.", f->name);
        return false;
    }
    t->query[f - r->query] = to;
    t->used += n + 1;
    return true;
}

bool admin_target_query(struct admin_target *t, char sentence[ADMIN_SENTENCE_MAX])
{
    const struct admin_route *r = t->route;
    for (const char *p = t->rest; *p;) {
        size_t len = strcspn(p, "&");
        if (!take_pair(t, p, len, sentence)) return false;
        p += len + (p[len] == '&');
    }
    for (size_t i = 0; i < r->query_count; i++)
        if (r->query[i].required && !t->query[i])
            return missing(sentence, "query parameter", &r->query[i]);
    return true;
}

/* ---- body ---- */

static bool is_list_of_texts(const json_t *v)
{
    const json_t *item;
    size_t i;
    json_array_foreach(v, i, item) if (!json_is_string(item)) return false;
    return json_is_array(v);
}

static bool member_fits(const struct admin_field *f, const json_t *v)
{
    if (json_is_null(v)) return f->null;
    switch (f->type) {
    case ADMIN_NAME:
    case ADMIN_TEXT: return json_is_string(v);
    case ADMIN_NUMBER: return json_is_integer(v) && json_integer_value(v) >= 0;
    case ADMIN_FLAG: return json_is_boolean(v);
    case ADMIN_OBJECT: return json_is_object(v);
    case ADMIN_LIST: return is_list_of_texts(v);
    case ADMIN_WORD: return json_is_string(v) && admin_is_word(f->words, json_string_value(v));
    }
    return false;
}

bool admin_body_check(const struct admin_route *r, const json_t *body,
                      char sentence[ADMIN_SENTENCE_MAX])
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)body, name, value)
    {
        const struct admin_field *f = find(r->body, r->body_count, name, strlen(name));
        if (!f) return unknown(sentence, "member", name, strlen(name));
        if (!member_fits(f, value)) return wrong(sentence, f);
    }
    for (size_t i = 0; i < r->body_count; i++)
        if (r->body[i].required && !json_object_get(body, r->body[i].name))
            return missing(sentence, "member", &r->body[i]);
    return true;
}
