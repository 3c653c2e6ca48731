#include "src/server/http/encoding.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

/* Small answers: a window of 8 KiB and little state serve as well as zlib's defaults and cost a
 * quarter of the memory. */
#define GZIP_WINDOW_BITS (13 + 16) /* 16: a gzip frame */
#define GZIP_MEMORY 6
#define GZIP_LEVEL 5

//= RFC 9110 12.4.2: a weight of 0 means "not acceptable"
static bool weight_is_zero(const char *params, size_t len)
{
    const char *end = params + len, *p = params;
    while (p < end && (*p == ';' || *p == ' ' || *p == '\t')) p++;
    if (end - p < 3 || (*p | 0x20) != 'q' || p[1] != '=' || p[2] != '0') return false;
    for (p += 3; p < end; p++)
        if (*p >= '1' && *p <= '9') return false;
    return true;
}

bool encoding_allows_gzip(const char *accept_encoding)
{
    bool any = false;
    const char *p = accept_encoding;
    while (p && *p) {
        p += strspn(p, ", \t");
        size_t item = strcspn(p, ","), name = strcspn(p, ",; \t");
        bool zero = weight_is_zero(p + name, item - name);
        if ((name == 4 && strncasecmp(p, "gzip", 4) == 0) ||
            (name == 6 && strncasecmp(p, "x-gzip", 6) == 0))
            return !zero;
        if (name == 1 && *p == '*') any = !zero;
        p += item;
    }
    return any;
}

void *encoding_gzip(const void *data, size_t len, size_t *len_out)
{
    z_stream z = {0};
    if (len > UINT_MAX || deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW_BITS, GZIP_MEMORY,
                                       Z_DEFAULT_STRATEGY) != Z_OK)
        return NULL;
    unsigned char *out = malloc(len);
    z.next_in = (z_const Bytef *)data;
    z.avail_in = (uInt)len;
    z.next_out = out;
    z.avail_out = (uInt)len; /* what does not become smaller does not fit */
    bool smaller = out && deflate(&z, Z_FINISH) == Z_STREAM_END;
    *len_out = z.total_out;
    deflateEnd(&z);
    if (!smaller) {
        free(out);
        return NULL;
    }
    return out;
}
