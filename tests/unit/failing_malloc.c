#include "tests/unit/failing_malloc.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NEVER SIZE_MAX

/* ---- what fails ---- */
static _Atomic size_t granted = NEVER; /* allocations left before one fails */
static atomic_bool lasting;            /* the ones behind it fail, too */
static _Atomic size_t refused;

bool failing_malloc_refuses(void)
{
    size_t left = atomic_load(&granted);
    if (left == NEVER)
        return false;
    if (left > 0) {
        atomic_store(&granted, left - 1);
        return false;
    }
    if (!atomic_load(&lasting))
        atomic_store(&granted, NEVER);
    atomic_fetch_add(&refused, 1);
    errno = ENOMEM;
    return true;
}

/* One row for each function that allocates and that our code calls. The names are the linker's. */
#define WRAPPED(X)                                                                               \
    X(void *, malloc, (size_t n), (n))                                                           \
    X(void *, calloc, (size_t n, size_t size), (n, size))                                        \
    X(void *, realloc, (void *p, size_t n), (p, n))                                              \
    X(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size))                      \
    X(void *, aligned_alloc, (size_t alignment, size_t n), (alignment, n))                       \
    X(char *, strdup, (const char *text), (text))                                                \
    X(char *, strndup, (const char *text, size_t n), (text, n))                                  \
    X(FILE *, fopen, (const char *path, const char *mode), (path, mode))                         \
    X(FILE *, fdopen, (int fd, const char *mode), (fd, mode))                                    \
    X(FILE *, open_memstream, (char **text, size_t *len), (text, len))                           \
    X(DIR *, opendir, (const char *path), (path))                                                \
    X(DIR *, fdopendir, (int fd), (fd))

#define WRAP(type, name, parameters, arguments)                                                  \
    type __real_##name parameters;                                                               \
    type __wrap_##name parameters;                                                               \
    type __wrap_##name parameters                                                                \
    {                                                                                            \
        return failing_malloc_refuses() ? NULL : __real_##name arguments;                        \
    }
WRAPPED(WRAP)

int __wrap_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_asprintf(char **out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = failing_malloc_refuses() ? -1 : vasprintf(out, format, args);
    va_end(args);
    return n;
}

/* ---- rounds ---- */
static bool run_with(const struct sweep *s, size_t grant, bool last)
{
    atomic_store(&refused, 0);
    atomic_store(&lasting, last);
    atomic_store(&granted, grant);
    bool said = s->run();
    atomic_store(&granted, NEVER);
    return said;
}

/* false: run needed no more than it was granted. */
static bool round_of(const struct sweep *s, size_t grant, bool last)
{
    if (s->begin)
        s->begin();
    bool said = run_with(s, grant, last), some = atomic_load(&refused) > 0;
    if (!said && !some)
        fail_msg("%s fails although memory is there", s->name);
    if (!said) {
        if (s->unchanged)
            s->unchanged();
        if (!run_with(s, NEVER, false))
            fail_msg("%s fails for good after allocation %zu failed", s->name, grant);
    }
    s->check();
    if (s->end)
        s->end();
    return some;
}

void failing_malloc_sweep(const struct sweep *s)
{
    size_t points[2];
    for (int last = 0; last < 2; last++)
        for (points[last] = 0; round_of(s, points[last], last); points[last]++)
            ;
    print_message("# %s: %zu allocations\n", s->name, points[0]);
    assert_int_not_equal(points[0], 0);
    assert_int_equal(points[1], points[0]);
}
