#include "src/cli/import_values.h"

#include <string.h>

#include "src/lib/base/text.h"

#define TICKS INT64_C(10000000) /* of .NET, in a second */
#define MOST (INT64_C(1) << 53)

/* What an object wraps: {"value": 2, "Value": "Allow"}, {"IsUnlimited": false, "Value": 8}. Once:
 * nothing wraps twice. */
static const json_t *unwrapped(const json_t *value, bool *unlimited_out)
{
    *unlimited_out = false;
    if (json_is_object(value)) {
        *unlimited_out = json_is_true(json_object_get(value, "IsUnlimited"));
        const json_t *inner = json_object_get(value, "Value");
        if (inner == NULL) inner = json_object_get(value, "value");
        if (inner) value = inner;
    }
    const char *text = json_string_value(value);
    if (text && pv__equal_nocase(text, strlen(text), "Unlimited", 9)) *unlimited_out = true;
    return value;
}

static bool is_word(const char *text, const char *word)
{
    return text && pv__equal_nocase(text, strlen(text), word, strlen(word));
}

bool value_yes_no(const json_t *value, int64_t *out)
{
    const char *text = json_string_value(value);
    bool yes = json_is_true(value) || is_word(text, "true") || is_word(text, "$true");
    *out = yes;
    return yes || json_is_false(value) || is_word(text, "false") || is_word(text, "$false");
}

bool value_choice(const json_t *value, const char *const *words, int64_t *out)
{
    bool unlimited;
    value = unwrapped(value, &unlimited);
    for (int64_t i = 0; words[i]; i++)
        if (is_word(json_string_value(value), words[i])) {
            *out = i;
            return true;
        }
    *out = json_integer_value(value);
    return json_is_integer(value);
}

/* Digits with commas between, as PowerShell shows numbers. @return what follows, NULL: none */
static const char *digits(const char *text, int64_t *out)
{
    const char *p = text;
    *out = 0;
    for (; pv__is_digit((unsigned char)*p) || (*p == ',' && p > text); p++) {
        if (*p == ',') continue;
        *out = *out * 10 + (*p - '0');
        if (*out > MOST) return NULL;
    }
    return p > text ? p : NULL;
}

bool value_number(const json_t *value, int64_t *out, bool *unlimited_out)
{
    const char *end;
    *out = 0;
    value = unwrapped(value, unlimited_out);
    if (*unlimited_out) return true;
    *out = json_integer_value(value);
    if (json_is_integer(value)) return true;
    end = json_is_string(value) ? digits(json_string_value(value), out) : NULL;
    return end && *end == '\0';
}

static bool size_text(const char *text, int64_t *out)
{
    static const struct {
        const char *unit;
        int shift;
    } units[] = {{"", 0}, {"B", 0}, {"bytes", 0}, {"KB", 10}, {"MB", 20}, {"GB", 30}, {"TB", 40}};
    /* "10 MB (10,485,760 bytes)": what stands in brackets is exact. */
    const char *exact = strchr(text, '(');
    const char *p = digits(exact ? exact + 1 : text, out);
    if (p == NULL) return false;
    while (*p == ' ') p++;
    size_t len = strcspn(p, ")");
    if ((p[len] == ')') != (exact != NULL) || (exact && p[len + 1])) return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (pv__equal_nocase(p, len, units[i].unit, strlen(units[i].unit))) {
            if (*out > MOST >> units[i].shift) return false;
            *out <<= units[i].shift;
            return true;
        }
    return false;
}

bool value_size(const json_t *value, int64_t *out, bool *unlimited_out)
{
    if (value_number(value, out, unlimited_out)) return true;
    value = unwrapped(value, unlimited_out);
    return json_is_string(value) && size_text(json_string_value(value), out);
}

/* [days.]hours:minutes[:seconds[.fraction]], or days alone; a fraction is cut off. */
static bool span_text(const char *text, int64_t *out)
{
    int64_t days = 0, part[3] = {0}, fraction; /* hours, minutes, seconds */
    const char *p = digits(text, &part[0]);
    if (p && (*p == '.' || *p == '\0')) {
        days = part[0];
        part[0] = 0;
        if (*p == '.' && ((p = digits(p + 1, &part[0])) == NULL || *p != ':')) return false;
    }
    for (int i = 1; p && i < 3 && *p == ':'; i++) p = digits(p + 1, &part[i]);
    if (p && *p == '.') p = digits(p + 1, &fraction);
    if (p == NULL || *p || days > 100000000 || part[0] > 23 || part[1] > 59 || part[2] > 59)
        return false;
    *out = ((days * 24 + part[0]) * 60 + part[1]) * 60 + part[2];
    return true;
}

bool value_seconds(const json_t *value, int64_t *out, bool *unlimited_out)
{
    *out = 0;
    value = unwrapped(value, unlimited_out);
    if (*unlimited_out) return true;
    const json_t *ticks = json_object_get(value, "Ticks");
    const json_t *total = json_object_get(value, "TotalSeconds");
    if (json_is_integer(ticks))
        *out = json_integer_value(ticks) / TICKS;
    else if (json_is_number(total) && json_number_value(total) < (double)MOST &&
             json_number_value(total) > -1)
        *out = (int64_t)json_number_value(total);
    else
        return json_is_string(value) && span_text(json_string_value(value), out);
    return *out >= 0;
}
