/* A server whose handler takes bodies and gives answers piece by piece, for tests. */
#ifndef TESTS_HTTP_STREAMS_H
#define TESTS_HTTP_STREAMS_H

#include "tests/unit/http_bench.h"

#define WHOLE ((size_t)65536)
#define STREAM_MAX ((size_t)60 * 1024 * 1024)
#define BODY_MS 1200

/* Targets: /up takes the body and says what it was; how, after it: "?hold=MS" waits before it looks at
 * the body, "?rest=MS" rests so long after each 8 MiB, "?early" answers 403 at once, "?after=N" answers
 * 500 after N bytes. /down?N and /chunks?N answer N bytes with and without a length; further: "&cut=M"
 * ends broken after M, "&rest=MS" rests after M bytes, "&status=S", "&direct" without http_wait. */
struct seen {
    atomic_uint gone, freed, served, under_way;
    atomic_size_t taken, written; /* bytes, of the last one */
    atomic_size_t most; /* that one exchange has kept at a time */
};
extern struct seen seen;

char pattern(uint64_t at);
/* The pattern from `at` on. */
void fill(char *buf, size_t len, uint64_t at);
int start_streams(void **state);
/* Resident memory of this process. */
size_t resident(void);

#endif
