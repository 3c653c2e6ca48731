/* When something is to end, or since when it is so. */
#include <string.h>

#include "src/lib/base/text.h"
#include "src/lib/policy/settings.h"
#include "src/server/admin/internal.h"

#define SPAN_MOST ((uint64_t)100 * 365 * 86400) /* seconds; far from where times overflow */

static bool span_parse(const char *text, uint64_t *seconds_out)
{
    static const struct {
        char letter;
        unsigned seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    size_t len = strlen(text);
    uint64_t n;
    for (size_t i = 0; len > 0 && i < sizeof units / sizeof *units; i++)
        if (text[len - 1] == units[i].letter) {
            if (!pv__parse_u64(text, len - 1, SPAN_MOST / units[i].seconds, false, &n))
                return false;
            *seconds_out = n * units[i].seconds;
            return true;
        }
    return false;
}

bool admin_since(const char *text, int64_t now, int64_t *at_out)
{
    uint64_t span;
    if (!span_parse(text, &span)) return pv__date_parse(text, strlen(text), at_out) == PV_OK;
    *at_out = now - (int64_t)span;
    return true;
}

bool admin_until(const char *text, int64_t now, int64_t *at_out)
{
    uint64_t span;
    if (span_parse(text, &span))
        *at_out = now + (int64_t)span;
    else if (pv__date_parse(text, strlen(text), at_out) != PV_OK)
        return false;
    return *at_out > now;
}
