/* Dates of a policy: 2027-01-31, or 2027-01-31T12:00:00Z (RFC 3339, UTC), as seconds since 1970. */
#include "src/lib/base/text.h"
#include "src/lib/policy/settings.h"

#define DAY 86400

static bool leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int64_t days_in(int64_t year, int64_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && leap(year));
}

/* Days from 1970-01-01 to the first of January; year is at least 1970. */
static int64_t days_before(int64_t year)
{
    int64_t y = year - 1;

    return (year - 1970) * 365 + (y / 4 - 1969 / 4) - (y / 100 - 1969 / 100) +
           (y / 400 - 1969 / 400);
}

enum pv_err pv__date_parse(const char *text, size_t len, int64_t *out)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
    enum { YEAR, MONTH, DAY_OF_MONTH, HOUR, MINUTE, SECOND, FIELDS };
    int64_t n[FIELDS] = {0}, days;
    size_t field = 0;

    if (len != 10 && len != sizeof form - 1) return PV_E_MALFORMED;
    for (size_t i = 0; i < len; i++) {
        if (form[i] != 'd') {
            if (text[i] != form[i]) return PV_E_MALFORMED;
            field++;
        } else if (!pv__is_digit((unsigned char)text[i])) {
            return PV_E_MALFORMED;
        } else {
            n[field] = n[field] * 10 + (text[i] - '0');
        }
    }
    if (n[MONTH] < 1 || n[MONTH] > 12 || n[DAY_OF_MONTH] < 1 ||
        n[DAY_OF_MONTH] > days_in(n[YEAR], n[MONTH]) || n[HOUR] > 23 || n[MINUTE] > 59 ||
        n[SECOND] > 59)
        return PV_E_MALFORMED;
    if (n[YEAR] < 1970) return PV_E_RANGE;
    days = days_before(n[YEAR]) + n[DAY_OF_MONTH] - 1;
    for (int64_t m = 1; m < n[MONTH]; m++) days += days_in(n[YEAR], m);
    *out = days * DAY + n[HOUR] * 3600 + n[MINUTE] * 60 + n[SECOND];
    return PV_OK;
}

static void two(struct pv__out *o, int64_t n, const char *after)
{
    if (n < 10) pv__out_text(o, "0");
    pv__out_i64(o, n);
    pv__out_text(o, after);
}

void pv__date_text(struct pv__out *o, int64_t seconds)
{
    int64_t days = seconds / DAY, rest = seconds % DAY, year = 1970 + days / 366, month = 1;

    while (days >= days_before(year + 1)) year++;
    days -= days_before(year);
    for (; days >= days_in(year, month); month++) days -= days_in(year, month);
    pv__out_i64(o, year);
    pv__out_text(o, "-");
    two(o, month, "-");
    two(o, days + 1, "");
    if (rest == 0) return;
    pv__out_text(o, "T");
    two(o, rest / 3600, ":");
    two(o, rest / 60 % 60, ":");
    two(o, rest % 60, "Z");
}
