/* A step of a trail as JSON, and back. */
#include <string.h>

#include "src/server/gate/trail/trail.h"
#include "src/server/observe/when.h"

static const char *step_text(unsigned n)
{
    static const char *const names[] = {
#define STEP_NAME(id, name, says) name,
        TRAIL_STEPS(STEP_NAME)
#undef STEP_NAME
    };
    return names[n];
}

static const char *cmd_text(unsigned n)
{
    return pv_cmd_info((enum pv_cmd)n)->name;
}

static const char *event_text(unsigned n)
{
    static const char *const names[] = {
#define EVENT_NAME(id, text) text,
        PV_EVENTS(EVENT_NAME)
#undef EVENT_NAME
    };
    return names[n];
}

static const char *reason_text(unsigned n)
{
    return pv_reason_name((enum pv_reason)n);
}

static const char *version_text(unsigned n)
{
    return pv_version_text((enum pv_version)n);
}

/* Members that are words of a table. */
static const struct {
    const char *name;
    size_t at; /* of a uint8_t in the entry */
    unsigned count;
    const char *(*text)(unsigned n);
} words[] = {
    {"step", offsetof(struct trail_entry, step), TRAIL_STEP_COUNT, step_text},
    {"command", offsetof(struct trail_entry, cmd), PV_CMD_COUNT, cmd_text},
    {"event", offsetof(struct trail_entry, event), PV_EVENT_COUNT, event_text},
    {"reason", offsetof(struct trail_entry, reason), PV_REASON_COUNT, reason_text},
    {"protocol_version", offsetof(struct trail_entry, version), PV_VERSION_COUNT, version_text},
};
#define WORDS (sizeof words / sizeof *words)

/* Members that are keys. */
static const struct {
    const char *name;
    size_t at; /* of a uint16_t in the entry */
} keys[] = {
    {"sent", offsetof(struct trail_entry, sent)},
    {"expected", offsetof(struct trail_entry, expected)},
    {"given", offsetof(struct trail_entry, given)},
};
#define KEYS (sizeof keys / sizeof *keys)

static json_t *when_json(uint32_t at)
{
    char text[WHEN_TEXT];
    when_text(at, text);
    return json_string(text);
}

json_t *trail_entry_json(const struct trail_entry *e)
{
    json_t *all = json_object();
    bool ok = all != NULL;
    for (size_t i = 0; i < WORDS; i++)
        ok = ok && json_object_set_new(
                       all, words[i].name,
                       json_string(words[i].text(*((const uint8_t *)e + words[i].at)))) == 0;
    for (size_t i = 0; i < KEYS; i++) {
        uint16_t key;
        char text[12];
        memcpy(&key, (const char *)e + keys[i].at, sizeof key);
        trail_key_text(key, text);
        ok = ok && json_object_set_new(all, keys[i].name, json_string(text)) == 0;
    }
    json_t *rest =
        json_pack("{s:o,s:o,s:I,s:i,s:i,s:i,s:I}", "first", when_json(e->first), "last",
                  when_json(e->last), "times", (json_int_t)e->times, "said", (int)e->said, "status",
                  (int)e->status, "http", (int)e->http, "revision", (json_int_t)e->revision);
    ok = ok && rest && json_object_update(all, rest) == 0;
    json_decref(rest);
    if (ok) return all;
    json_decref(all);
    return NULL;
}

/* ---- back ---- */
static bool read_word(const json_t *json, size_t i, struct trail_entry *e)
{
    const char *text = json_string_value(json_object_get(json, words[i].name));
    for (unsigned n = 0; text && n < words[i].count; n++)
        if (strcmp(words[i].text(n), text) == 0) {
            *((uint8_t *)e + words[i].at) = (uint8_t)n;
            return true;
        }
    return false;
}

/* "13xxxxxxxx": as many digits as it has characters. */
static bool read_key(const json_t *json, size_t i, struct trail_entry *e)
{
    const char *text = json_string_value(json_object_get(json, keys[i].name));
    size_t len = text ? strlen(text) : 0;
    uint16_t key = 0;
    char back[12];
    if (len == 0 || len > 10) return false;
    if (strcmp(text, "0") == 0)
        key = 1;
    else if (strcmp(text, "bad") == 0)
        key = 2;
    else if (strcmp(text, "none") != 0)
        key = (uint16_t)(100 * len + (text[0] - '0') * (len > 1 ? 10u : 1u) +
                         (len > 1 ? (unsigned)(text[1] - '0') : 0u));
    trail_key_text(key, back);
    memcpy((char *)e + keys[i].at, &key, sizeof key);
    return strcmp(text, back) == 0;
}

static bool read_number(const json_t *json, const char *name, uint32_t most, uint32_t *out)
{
    const json_t *v = json_object_get(json, name);
    json_int_t n = json_integer_value(v);
    *out = (uint32_t)n;
    return json_is_integer(v) && n >= 0 && n <= (json_int_t)most;
}

static bool read_when(const json_t *json, const char *name, uint32_t *out)
{
    const char *text = json_string_value(json_object_get(json, name));
    struct tm utc = {0};
    if (!text || !strptime(text, "%Y-%m-%dT%H:%M:%SZ", &utc)) return false;
    *out = (uint32_t)timegm(&utc);
    return true;
}

bool trail_entry_read(const json_t *json, struct trail_entry *out)
{
    uint32_t said, status, http;
    bool ok = true;
    *out = (struct trail_entry){0};
    for (size_t i = 0; i < WORDS; i++) ok = ok && read_word(json, i, out);
    for (size_t i = 0; i < KEYS; i++) ok = ok && read_key(json, i, out);
    ok = ok && read_when(json, "first", &out->first) && read_when(json, "last", &out->last) &&
         read_number(json, "times", UINT32_MAX, &out->times) &&
         read_number(json, "revision", UINT32_MAX, &out->revision) &&
         read_number(json, "said", UINT8_MAX, &said) &&
         read_number(json, "status", UINT16_MAX, &status) &&
         read_number(json, "http", UINT16_MAX, &http);
    if (!ok) return false;
    out->said = (uint8_t)said;
    out->status = (uint16_t)status;
    out->http = (uint16_t)http;
    return true;
}
