/* Times as people and programs read them: RFC 3339 in UTC. */
#ifndef PROVOSTD_WHEN_H
#define PROVOSTD_WHEN_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define WHEN_TEXT 32 /* bytes, terminator included */

/* false: a time that no calendar has; the text is then "". */
static inline bool when_text(int64_t at, char out[WHEN_TEXT])
{
    struct tm utc;
    time_t t = (time_t)at;
    if (gmtime_r(&t, &utc) && strftime(out, WHEN_TEXT, "%Y-%m-%dT%H:%M:%SZ", &utc) > 0) return true;
    out[0] = '\0';
    return false;
}

#endif
