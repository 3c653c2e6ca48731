/* What both importers share. */
#include "src/cli/import.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/policy_json.h"
#include "src/lib/base/text.h"

bool import_begin(struct import *m)
{
    *m = (struct import){.policies = json_array(), .notes = json_array()};
    m->no_memory = !m->policies || !m->notes || pv_arena_create(&m->arena, SETTINGS_ARENA) != PV_OK;
    return !m->no_memory;
}

void import_finish(struct import *m)
{
    json_decref(m->policies);
    json_decref(m->notes);
    pv_arena_destroy(&m->arena);
}

/* What stands in a file may be anything; a note is plain text. */
static json_t *plain_text(const char *text)
{
    char shown[IMPORT_TEXT_MAX];
    if (pv__utf8_valid((const uint8_t *)text, strlen(text))) return json_string(text);
    pv__escape(text, strlen(text), shown, sizeof shown);
    return json_string(shown);
}

void import_note(struct import *m, unsigned line, bool skipped, const char *format, ...)
{
    char text[IMPORT_TEXT_MAX];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    m->skipped += skipped;
    if (json_array_size(m->notes) >= IMPORT_NOTES_MAX) {
        m->notes_lost++;
        return;
    }
    json_t *note = json_object();
    if (!note || (line && json_object_set_new(note, "line", json_integer(line)) != 0) ||
        (m->name[0] && json_object_set_new(note, "policy", json_string(m->name)) != 0) ||
        json_object_set_new(note, "skipped", json_boolean(skipped)) != 0 ||
        json_object_set_new(note, "says", plain_text(text)) != 0 ||
        json_array_append(m->notes, note) != 0)
        m->no_memory = true;
    json_decref(note);
}

/* As the server has it. */
static bool is_name(const char *text)
{
    size_t len = strlen(text);
    if (len == 0 || text[0] == '.' || text[0] == ' ' || text[len - 1] == ' ') return false;
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f || strchr("/\\\"", *p)) return false;
    return pv__utf8_valid((const uint8_t *)text, len);
}

static bool is_taken(const struct import *m, const char *name)
{
    const json_t *policy;
    size_t i;
    json_array_foreach(m->policies, i,
                       policy) if (strcmp(json_string_value(json_object_get(policy, "name")),
                                          name) == 0) return true;
    return false;
}

bool import_begin_policy(struct import *m, unsigned line, const char *prefix, const char *name)
{
    char shown[80], whole[IMPORT_NAME_MAX + 1];
    const char *why = NULL;
    m->name[0] = '\0';
    m->policy = (struct pv_policy){0};
    pv_arena_reset(&m->arena);
    pv__escape(name, strlen(name), shown, sizeof shown);
    if (json_array_size(m->policies) >= IMPORT_POLICIES_MAX)
        why = "one policy too many";
    else if (snprintf(whole, sizeof whole, "%s%s", prefix, name) > IMPORT_NAME_MAX)
        why = "a policy's name has at most 63 bytes";
    else if (name[0] == '\0' || !is_name(whole))
        why = "that is no name for a policy";
    else if (is_taken(m, whole))
        why = "a second policy of that name";
    if (why) {
        import_note(m, line, true, "policy \"%s\": %s", shown, why);
        return false;
    }
    memcpy(m->name, whole, sizeof whole);
    return true;
}

bool import_set(struct import *m, unsigned line, const char *what, enum pv_setting setting,
                const char *value)
{
    char why[SETTINGS_MESSAGE_MAX];
    enum pv_err err = pv_policy_set(&m->policy, &m->arena, pv_setting_info(setting)->name, value,
                                    why, sizeof why);
    if (err != PV_OK) import_note(m, line, true, "%s: %s", what, why);
    return err == PV_OK;
}

void import_end_policy(struct import *m, const char *parent, bool is_default)
{
    static const char *const lists[] = {"UnapprovedInROMApplicationList",
                                        "ApprovedApplicationList"};
    char why[SETTINGS_MESSAGE_MAX];
    json_t *policy = NULL;
    if (pv_policy_check(&m->policy, why, sizeof why) != PV_OK) {
        import_note(m, 0, true, "%s", why);
        for (int i = 0; i < 2; i++)
            if (pv_policy_set(&m->policy, &m->arena, lists[i], "", NULL, 0) != PV_OK)
                m->no_memory = true; /* unsetting has no other reason */
    }
    policy = json_pack("{s:s}", "name", m->name);
    if (!policy || (parent && json_object_set_new(policy, "parent", json_string(parent)) != 0) ||
        json_object_set_new(policy, "settings", settings_json(&m->policy)) != 0 ||
        (is_default && json_object_set_new(policy, "is_default", json_true()) != 0) ||
        json_array_append(m->policies, policy) != 0)
        m->no_memory = true;
    json_decref(policy);
    m->name[0] = '\0';
}

/* ---- encodings ---- */

static size_t put_utf8(uint32_t code, char *to)
{
    static const unsigned char lead[] = {0, 0xC0, 0xE0, 0xF0};
    size_t more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    to[0] = (char)(lead[more] | code >> (6 * more));
    for (size_t i = 1; i <= more; i++) to[i] = (char)(0x80 | (code >> (6 * (more - i)) & 0x3F));
    return more + 1;
}

static uint32_t unit_at(const unsigned char *p, bool big)
{
    return big ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

static size_t utf8_of_utf16(const unsigned char *p, size_t len, bool big, char *to)
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < len; i += 2) {
        uint32_t code = unit_at(p + i, big), low = 0;
        if (code >= 0xD800 && code < 0xDC00 && i + 3 < len) low = unit_at(p + i + 2, big);
        if (low >= 0xDC00 && low < 0xE000) {
            code = 0x10000 + ((code & 0x3FF) << 10 | (low & 0x3FF));
            i += 2;
        } else if (code >= 0xD800 && code < 0xE000)
            code = 0xFFFD;
        n += put_utf8(code, to + n);
    }
    return n;
}

char *import_utf8(const void *data, size_t len, size_t *len_out)
{
    const unsigned char *p = data;
    bool big = len >= 2 && p[0] == 0xFE && p[1] == 0xFF;
    bool little = len >= 2 && p[0] == 0xFF && p[1] == 0xFE;
    size_t mark = big || little ? 2 : len >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    char *text = malloc(2 * len + 1); /* two bytes become three at most */
    if (text == NULL) return NULL;
    if (big || little)
        *len_out = utf8_of_utf16(p + 2, len - 2, big, text);
    else {
        memcpy(text, p + mark, len - mark);
        *len_out = len - mark;
    }
    text[*len_out] = '\0';
    return text;
}
