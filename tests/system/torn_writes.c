/* Preloaded into a server: writing, forcing to the disk and reading of the store's file and its log
 * fail, break off in the middle, or are the last that the process does, as the file that TORN_WRITES
 * names says. A loss of power takes some of what was not forced to the disk with it. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FDS 4096 /* what is above is none of the store */

/* The file. The test writes what is above, the library what is below. */
struct control {
    _Atomic uint32_t write_one_in, sync_one_in, read_one_in; /* one in so many fails; 0: none */
    _Atomic uint32_t code;    /* errno of what fails */
    _Atomic uint32_t torn;    /* what fails to be written is written in part */
    _Atomic uint32_t kill_in; /* the process ends at this of the writes and syncs; 0: not */
    _Atomic uint32_t data;    /* of those of the file itself alone: in a checkpoint */
    _Atomic uint32_t power;   /* and what was not forced to the disk may be lost */
    _Atomic uint32_t seed;
    _Atomic uint32_t operations, failed, rolled_back;
};
static struct control *control;

static ssize_t (*next_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*next_pread)(int, void *, size_t, off_t);
static int (*next_truncate)(int, off_t);

/* ---- the store's files ---- */
enum { OTHER, DATA, LOG, KINDS };
static _Atomic uint8_t kinds[FDS]; /* 1 + the kind of what is open there; 0: not known */
static char paths[KINDS][4096];

static unsigned kind_of(int fd)
{
    char link[32], path[4096];
    if (fd < 0 || fd >= FDS)
        return OTHER;
    if (kinds[fd])
        return kinds[fd] - 1u;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    path[len < 0 ? 0 : len] = '\0';
    const char *name = strrchr(path, '/');
    unsigned kind = !name                                ? OTHER
                    : strcmp(name, "/provost.db") == 0     ? DATA
                    : strcmp(name, "/provost.db-wal") == 0 ? LOG
                                                           : OTHER;
    if (kind)
        memcpy(paths[kind], path, sizeof path);
    kinds[fd] = (uint8_t)(kind + 1);
    return kind;
}

/* ---- what was not forced to the disk yet: how to take it back ---- */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct undo {
    struct undo *older;
    ino_t file;
    off_t at, size_before; /* of the file */
    size_t written, len;   /* of what was written, of what was there */
    char was[];
} *undo[KINDS], *doomed[KINDS]; /* a sync that fails is not made good by the next one, which finds
                                     the pages clean: what it should have forced is doomed */

static uint32_t chance(void)
{
    uint32_t x = control->seed + 0x9e3779b9u;
    control->seed = x;
    x = (x ^ x >> 16) * 0x85ebca6bu;
    x = (x ^ x >> 13) * 0xc2b2ae35u;
    return x ^ x >> 16;
}

/* What is written anew is not doomed any more. */
static void redeem(unsigned kind, size_t len, off_t at)
{
    for (struct undo **p = &doomed[kind], *u; (u = *p) != NULL;) {
        if (u->at < at || u->at + (off_t)u->written > at + (off_t)len) {
            p = &u->older;
            continue;
        }
        *p = u->older;
        free(u);
    }
}

static void doom(unsigned kind)
{
    struct undo **end = &undo[kind];
    while (*end)
        end = &(*end)->older;
    *end = doomed[kind];
    doomed[kind] = undo[kind];
    undo[kind] = NULL;
}

static void remember(unsigned kind, int fd, size_t len, off_t at)
{
    struct stat st;
    struct undo *u = fstat(fd, &st) == 0 ? malloc(sizeof *u + len) : NULL;
    if (!u)
        abort();
    ssize_t got = next_pread(fd, u->was, len, at);
    *u = (struct undo){undo[kind], st.st_ino, at, st.st_size, len, got < 0 ? 0 : (size_t)got};
    undo[kind] = u;
    redeem(kind, len, at);
}

static void forget(struct undo **list)
{
    for (struct undo *u; (u = *list) != NULL; free(u))
        *list = u->older;
}

/* What it had made longer is shorter again, if it is the end still; else it is a hole. */
static bool shorten(int fd, const struct undo *u, off_t size)
{
    static const char zeros[65536];
    off_t end = u->at + (off_t)u->written, hole = u->at > u->size_before ? u->at : u->size_before;
    if (end <= u->size_before)
        return true;
    return size <= end ? next_truncate(fd, hole) == 0
                       : next_pwrite(fd, zeros, (size_t)(end - hole), hole) == end - hole;
}

/* Newest first; each may be there or not, as the disk liked. */
static void lose(unsigned kind)
{
    struct stat st;
    doom(kind);
    int fd = doomed[kind] ? open(paths[kind], O_RDWR | O_CLOEXEC) : -1;
    for (struct undo *u = doomed[kind]; u && fd >= 0; u = u->older) {
        if (chance() % 2 || fstat(fd, &st) != 0 || st.st_ino != u->file)
            continue;
        control->rolled_back++;
        if (next_pwrite(fd, u->was, u->len, u->at) != (ssize_t)u->len || !shorten(fd, u, st.st_size))
            abort();
    }
}

static void end(void)
{
    if (control->power) {
        lose(LOG);
        lose(DATA);
    }
    kill(getpid(), SIGKILL);
    pause();
}

/* ---- what happens now ---- */
/* Is it this one's turn to end the process? */
static bool last_one(unsigned kind)
{
    control->operations++;
    return control->kill_in && (kind == DATA || !control->data) && --control->kill_in == 0;
}

static bool fails(uint32_t one_in)
{
    if (!one_in || chance() % one_in)
        return false;
    control->failed++;
    errno = (int)control->code;
    return true;
}

static ssize_t write_at(unsigned kind, int fd, const void *data, size_t len, off_t at)
{
    bool last = last_one(kind), failing = !last && fails(control->write_one_in);
    size_t part = last || control->torn ? chance() % (len + 1) : 0;
    if ((last || failing) && part) {
        remember(kind, fd, part, at);
        (void)!next_pwrite(fd, data, part, at);
    }
    if (last)
        end();
    if (failing) {
        errno = (int)control->code;
        return -1;
    }
    remember(kind, fd, len, at);
    return next_pwrite(fd, data, len, at);
}

static int sync_file(unsigned kind, int fd, int (*next)(int))
{
    bool last = last_one(kind);
    if (!last && fails(control->sync_one_in)) {
        doom(kind);
        errno = (int)control->code;
        return -1;
    }
    if (last && chance() % 2)
        end();
    int rc = next(fd);
    if (rc == 0)
        forget(&undo[kind]);
    if (last)
        end();
    return rc;
}

/* ---- the calls ---- */
__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("TORN_WRITES");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *at = MAP_FAILED;
    if (fd >= 0)
        at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        abort();
    close(fd);
    control = at;
}

static void find(void *out, const char *name)
{
    *(void **)out = dlsym(RTLD_NEXT, name);
    if (!*(void **)out)
        abort();
}

__attribute__((constructor)) static void find_all(void)
{
    find(&next_pwrite, "pwrite64");
    find(&next_pread, "pread64");
    find(&next_truncate, "ftruncate64");
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t at)
{
    unsigned kind = control ? kind_of(fd) : OTHER;
    if (!kind)
        return next_pwrite(fd, data, len, at);
    pthread_mutex_lock(&mutex);
    ssize_t rc = write_at(kind, fd, data, len, at);
    int why = errno;
    pthread_mutex_unlock(&mutex);
    errno = why;
    return rc;
}

ssize_t pread64(int fd, void *data, size_t len, off_t at)
{
    if (!next_pread)
        find(&next_pread, "pread64");
    if (control && kind_of(fd) && control->read_one_in) {
        pthread_mutex_lock(&mutex);
        bool failing = fails(control->read_one_in);
        pthread_mutex_unlock(&mutex);
        if (failing) {
            errno = (int)control->code;
            return -1;
        }
    }
    return next_pread(fd, data, len, at);
}

int ftruncate64(int fd, off_t size)
{
    unsigned kind = control ? kind_of(fd) : OTHER;
    if (!kind)
        return next_truncate(fd, size);
    pthread_mutex_lock(&mutex);
    forget(&undo[kind]);
    forget(&doomed[kind]);
    int rc = next_truncate(fd, size), why = errno;
    pthread_mutex_unlock(&mutex);
    errno = why;
    return rc;
}

int fdatasync(int fd)
{
    static int (*next)(int);
    if (!next)
        find(&next, "fdatasync");
    unsigned kind = control ? kind_of(fd) : OTHER;
    if (!kind)
        return next(fd);
    pthread_mutex_lock(&mutex);
    int rc = sync_file(kind, fd, next), why = errno;
    pthread_mutex_unlock(&mutex);
    errno = why;
    return rc;
}

int close(int fd)
{
    static int (*next)(int);
    if (!next)
        find(&next, "close");
    if (fd >= 0 && fd < FDS)
        kinds[fd] = 0;
    return next(fd);
}
