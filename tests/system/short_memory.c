/* Preloaded into a server: while a number stands in the file that SHORT_MEMORY names, one of so
 * many allocations fails, wherever it is asked for: in the server or in a library. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The file. Only one_in is written by the test. */
struct control {
    _Atomic uint32_t one_in; /* 0: none fails */
    _Atomic uint32_t asked, refused;
};
static struct control at_rest, *control = &at_rest;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("SHORT_MEMORY");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *at = MAP_FAILED;
    if (fd >= 0)
        at = mmap(NULL, sizeof at_rest, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        abort();
    close(fd);
    control = at;
}

/* By chance rather than by turns, so that no rhythm of the server keeps an allocation safe. */
static bool refuse(void)
{
    uint32_t one_in = control->one_in;
    if (!one_in)
        return false;
    uint32_t chance = ++control->asked * 2654435761u;
    chance ^= chance >> 15;
    chance *= 2246822519u;
    chance ^= chance >> 13;
    if (chance % one_in)
        return false;
    control->refused++;
    errno = ENOMEM;
    return true;
}

#define FAILING(type, name, parameters, arguments)                                               \
    type name parameters                                                                         \
    {                                                                                            \
        static type(*_Atomic next) parameters;                                                   \
        if (!next)                                                                               \
            next = (type(*) parameters)dlsym(RTLD_NEXT, #name);                                  \
        return refuse() ? NULL : next arguments;                                                 \
    }
FAILING(void *, malloc, (size_t n), (n))
FAILING(void *, calloc, (size_t n, size_t size), (n, size))
FAILING(void *, realloc, (void *p, size_t n), (p, n))
FAILING(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size))
FAILING(void *, aligned_alloc, (size_t alignment, size_t n), (alignment, n))
FAILING(char *, strdup, (const char *text), (text))
FAILING(char *, strndup, (const char *text, size_t n), (text, n))
