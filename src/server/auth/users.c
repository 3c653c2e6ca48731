#include "src/server/auth/users.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/server/observe/log.h"

struct entry {
    const char *name, *hash;
};

/* What the file said when it was read. Never changed afterwards. */
struct snapshot {
    char *text; /* the file with its separators cut; entries point into it */
    struct entry *entries;
    size_t count;
    struct stat st;
};

struct users {
    char *file;
    pthread_rwlock_t lock;  /* snapshot */
    pthread_mutex_t writer; /* one who reads or changes the file at a time */
    struct snapshot now;
};

static void snapshot_free(struct snapshot *s)
{
    if (s->text) explicit_bzero(s->text, (size_t)s->st.st_size);
    free(s->text);
    free(s->entries);
    *s = (struct snapshot){0};
}

static char *read_all(int fd, const struct stat *st)
{
    size_t size = (size_t)st->st_size, have = 0;
    char *text = malloc(size + 1);
    if (!text) return NULL;
    while (have < size) {
        ssize_t n = read(fd, text + have, size - have);
        if (n < 0 && errno == EINTR) continue;
        /* Changed while it was read: an error now, the next try will see the new one. */
        if (n <= 0) break;
        have += (size_t)n;
    }
    if (have < size) {
        free(text);
        errno = errno ? errno : EAGAIN;
        return NULL;
    }
    text[size] = '\0';
    return text;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* Mail servers write the scheme in front of the hash; what crypt(3) knows stands behind it. */
static const char *strip_scheme(const char *hash)
{
    static const char *const schemes[] = {"{CRYPT}", "{SHA512-CRYPT}", "{SHA256-CRYPT}",
                                          "{BLF-CRYPT}", "{MD5-CRYPT}"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t len = strlen(schemes[i]);
        if (!strncasecmp(hash, schemes[i], len)) return hash + len;
    }
    return hash;
}

bool users_name_ok(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len >= AUTH_USER_MAX || name[0] == '.' || name[0] == '#') return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c <= ' ' || c == 0x7f || c == ':' || c == '/' || c == '\\') return false;
    }
    return true;
}

/* Cut one line into an entry. 0: nothing on it, 1: an entry, -1: wrong. */
static int parse_line(char *line, struct entry *out)
{
    size_t len = strlen(line);
    if (len && line[len - 1] == '\r') line[len - 1] = '\0';
    if (!*line || *line == '#') return 0;
    char *colon = strchr(line, ':');
    if (!colon) return -1;
    *colon = '\0';
    char *hash = colon + 1;
    hash[strcspn(hash, ":")] = '\0';
    *out = (struct entry){line, strip_scheme(hash)};
    return users_name_ok(line) && strlen(out->hash) < USERS_HASH_MAX ? 1 : -1;
}

static bool parse(const char *file, struct snapshot *s, char *error, size_t error_cap)
{
    size_t lines = 1;
    for (const char *p = s->text; (p = strchr(p, '\n')); p++) lines++;
    s->entries = calloc(lines, sizeof *s->entries);
    if (!s->entries) {
        snprintf(error, error_cap, "%s: out of memory", file);
        return false;
    }
    size_t number = 0;
    for (char *line = s->text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        number++;
        int got = parse_line(line, &s->entries[s->count]);
        if (got < 0) {
            snprintf(error, error_cap, "%s:%zu: not a line of the form name:hash", file, number);
            return false;
        }
        s->count += (size_t)got;
    }
    qsort(s->entries, s->count, sizeof *s->entries, by_name);
    for (size_t i = 1; i < s->count; i++) {
        if (!by_name(&s->entries[i - 1], &s->entries[i])) {
            snprintf(error, error_cap, "%s: the user %s stands there twice", file,
                     s->entries[i].name);
            return false;
        }
    }
    return true;
}

static bool load(const char *file, struct snapshot *out, char *error, size_t error_cap)
{
    struct snapshot s = {0};
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &s.st) < 0) {
        snprintf(error, error_cap, "%s: %s", file, strerror(errno));
        if (fd >= 0) close(fd);
        return false;
    }
    bool ok = false;
    if (!S_ISREG(s.st.st_mode) || s.st.st_size > (off_t)USERS_FILE_MAX)
        snprintf(error, error_cap, "%s: not a file of at most %u bytes", file, USERS_FILE_MAX);
    else if (!(s.text = read_all(fd, &s.st)))
        snprintf(error, error_cap, "%s: %s", file, strerror(errno));
    else if (memchr(s.text, '\0', (size_t)s.st.st_size))
        snprintf(error, error_cap, "%s: holds a NUL byte", file);
    else
        ok = parse(file, &s, error, error_cap);
    close(fd);
    if (ok)
        *out = s;
    else
        snapshot_free(&s);
    return ok;
}

/* From here on users are found in it. */
static void put_in_force(struct users *u, const struct snapshot *fresh)
{
    pthread_rwlock_wrlock(&u->lock);
    struct snapshot old = u->now;
    u->now = *fresh;
    pthread_rwlock_unlock(&u->lock);
    snapshot_free(&old);
    if (fresh->st.st_mode & S_IROTH)
        LOG(LOG_WARN, 0, "users-file-readable-by-all", KV_TEXT("file", u->file));
}

struct users *users_open(const char *file, char *error, size_t error_cap)
{
    struct snapshot s;
    struct users *u = calloc(1, sizeof *u);
    if (!u || !(u->file = strdup(file))) {
        snprintf(error, error_cap, "%s: out of memory", file);
        free(u);
        return NULL;
    }
    if (!load(file, &s, error, error_cap)) {
        free(u->file);
        free(u);
        return NULL;
    }
    pthread_rwlock_init(&u->lock, NULL);
    pthread_mutex_init(&u->writer, NULL);
    put_in_force(u, &s);
    return u;
}

void users_close(struct users *u)
{
    if (!u) return;
    snapshot_free(&u->now);
    pthread_rwlock_destroy(&u->lock);
    pthread_mutex_destroy(&u->writer);
    free(u->file);
    free(u);
}

/* With the writer's lock: who has read an older state of the file must not come after who has
 * changed it. */
static bool read_anew(struct users *u, char *error, size_t error_cap)
{
    struct snapshot fresh;
    if (!load(u->file, &fresh, error, error_cap)) return false;
    put_in_force(u, &fresh);
    return true;
}

bool users_reload(struct users *u, char *error, size_t error_cap)
{
    pthread_mutex_lock(&u->writer);
    bool ok = read_anew(u, error, error_cap);
    pthread_mutex_unlock(&u->writer);
    return ok;
}

bool users_stale(struct users *u)
{
    struct stat st;
    if (stat(u->file, &st) < 0) return true;
    pthread_rwlock_rdlock(&u->lock);
    const struct stat *was = &u->now.st;
    bool stale = st.st_ino != was->st_ino || st.st_dev != was->st_dev ||
                 st.st_size != was->st_size || st.st_mtim.tv_sec != was->st_mtim.tv_sec ||
                 st.st_mtim.tv_nsec != was->st_mtim.tv_nsec;
    pthread_rwlock_unlock(&u->lock);
    return stale;
}

bool users_find(struct users *u, const char *name, char hash[USERS_HASH_MAX])
{
    struct entry key = {.name = name};
    pthread_rwlock_rdlock(&u->lock);
    const struct entry *e =
        bsearch(&key, u->now.entries, u->now.count, sizeof *u->now.entries, by_name);
    if (e && hash) snprintf(hash, USERS_HASH_MAX, "%s", e->hash);
    pthread_rwlock_unlock(&u->lock);
    return e;
}

bool users_any_hash(struct users *u, char hash[USERS_HASH_MAX])
{
    pthread_rwlock_rdlock(&u->lock);
    bool any = u->now.count > 0;
    if (any) snprintf(hash, USERS_HASH_MAX, "%s", u->now.entries[0].hash);
    pthread_rwlock_unlock(&u->lock);
    return any;
}

/* The first name behind that one. */
static size_t place_behind(const struct snapshot *s, const char *after)
{
    const struct entry key = {.name = after};
    size_t low = 0, high = s->count;
    while (after && low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_name(&s->entries[middle], &key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void users_each(struct users *u, const char *after, size_t most,
                void (*each)(void *ctx, const char *user), void *ctx)
{
    pthread_rwlock_rdlock(&u->lock);
    for (size_t i = place_behind(&u->now, after); i < u->now.count && most > 0; i++, most--)
        each(ctx, u->now.entries[i].name);
    pthread_rwlock_unlock(&u->lock);
}

/* ---- changes ---- */

static bool line_is(const char *line, size_t len, const char *name)
{
    size_t n = strlen(name);
    return len > n && line[n] == ':' && !memcmp(line, name, n);
}

/* Copy the file with the line of name replaced, dropped or added; comments and further fields stay
 * as they are. */
static bool write_edited(FILE *out, const char *text, const char *name, const char *hash,
                         bool exists)
{
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        if (!line_is(line, len, name)) {
            fprintf(out, "%.*s\n", (int)len, line);
        } else if (hash) {
            const char *old = line + strlen(name) + 1;
            size_t skip = strcspn(old, ":\r\n"); /* further fields follow a second colon */
            fprintf(out, "%s:%s%.*s\n", name, hash, (int)(line + len - (old + skip)), old + skip);
        }
        line += len + (line[len] == '\n');
    }
    if (hash && !exists) fprintf(out, "%s:%s\n", name, hash);
    return !fflush(out) && !ferror(out) && !fsync(fileno(out));
}

static bool sync_folder(const char *file)
{
    char folder[4096];
    const char *slash = strrchr(file, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - file + 1) : 1,
             slash ? file : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && !fsync(fd);
    if (fd >= 0) close(fd);
    return ok;
}

struct change {
    const char *text; /* the file as it is */
    const struct stat *st;
    const char *name, *hash;
    bool exists;
};

/* The file as it shall be, on the disk. */
static bool write_temporary(int fd, const struct change *c)
{
    bool ok = !fchmod(fd, c->st->st_mode & 07777);
    if (fchown(fd, c->st->st_uid, c->st->st_gid) < 0) /* only root can keep another owner */
        ok = ok && errno == EPERM && c->st->st_uid == geteuid();
    FILE *out = fdopen(fd, "w");
    ok = ok && out && write_edited(out, c->text, c->name, c->hash, c->exists);
    if (out) return !fclose(out) && ok;
    close(fd);
    return false;
}

/* Read before it takes the file's place: afterwards nothing is left that needs memory, so what is
 * on the disk and what users are judged by are never two things. */
static bool replace_file(struct users *u, const struct change *c, char *error, size_t error_cap)
{
    char temporary[4096];
    struct snapshot fresh;
    int n = snprintf(temporary, sizeof temporary, "%s.XXXXXX", u->file);
    int fd = n > 0 && (size_t)n < sizeof temporary ? mkostemp(temporary, O_CLOEXEC) : -1;
    if (fd < 0) return false;
    bool written = write_temporary(fd, c);
    if (!written || !load(temporary, &fresh, error, error_cap)) {
        unlink(temporary);
        return false;
    }
    if (rename(temporary, u->file) != 0) {
        unlink(temporary);
        snapshot_free(&fresh);
        return false;
    }
    put_in_force(u, &fresh);
    return sync_folder(u->file);
}

enum auth_edit users_edit(struct users *u, const char *name, const char *hash, bool must_exist)
{
    if (!users_name_ok(name)) return AUTH_EDIT_BAD_NAME;
    enum auth_edit result = AUTH_EDIT_FAILED;
    char error[256] = "";
    struct stat st;
    char *text = NULL;
    pthread_mutex_lock(&u->writer);
    int fd = open(u->file, O_RDONLY | O_CLOEXEC);
    /* What was edited by hand since the last look counts too. */
    if (fd >= 0 && !fstat(fd, &st) && st.st_size <= (off_t)USERS_FILE_MAX &&
        read_anew(u, error, sizeof error) && (text = read_all(fd, &st))) {
        const struct change c = {text, &st, name, hash, users_find(u, name, NULL)};
        if (c.exists != must_exist)
            result = c.exists ? AUTH_EDIT_EXISTS : AUTH_EDIT_UNKNOWN;
        else if (replace_file(u, &c, error, sizeof error))
            result = AUTH_EDIT_OK;
    }
    if (result == AUTH_EDIT_FAILED)
        LOG(LOG_ERROR, 0, "users-file-not-written", KV_TEXT("file", u->file),
            KV_TEXT("error", *error ? error : strerror(errno)));
    if (fd >= 0) close(fd);
    if (text) explicit_bzero(text, (size_t)st.st_size);
    free(text);
    pthread_mutex_unlock(&u->writer);
    return result;
}
