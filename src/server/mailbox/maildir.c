#include "src/server/mailbox/maildir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "src/lib/base/text.h"
#include "src/server/mailbox/folders.h"
#include "src/server/mailbox/map.h"
#include "src/server/observe/log.h"

/* A time stamp younger than this may stay the same over a further change (coarse clocks of file
 * systems). */
#define SETTLED_SECONDS 2

const char *const maildir_parts[] = {"new", "cur", NULL};

/* ---- where ---- */

static bool is_safe_part(const char *text, size_t len)
{
    if (len == 0 || text[0] == '.') return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '/' || (unsigned char)text[i] < 0x20 || text[i] == 0x7f) return false;
    }
    return true;
}

bool maildir_pattern_valid(const char *pattern, char *at_out)
{
    for (const char *p = pattern; (p = strchr(p, '%')); p += 2) {
        *at_out = p[1];
        if (!p[1] || !strchr("und%", p[1])) return false;
    }
    return true;
}

bool maildir_root(const char *pattern, const char *user, const char *domain, char *buf, size_t cap)
{
    struct pv__out out;
    const char *at = strchr(user, '@');
    size_t name_len = at ? (size_t)(at - user) : strlen(user);
    if (at) domain = at + 1;
    pv__out_init(&out, buf, cap);
    for (const char *p = pattern; *p; p++) {
        const char *part = user;
        size_t len;
        if (*p != '%' || p[1] == '%') {
            pv__out_bytes(&out, p, 1);
            p += *p == '%';
            continue;
        }
        switch (*++p) {
        case 'u': len = strlen(user); break;
        case 'n': len = name_len; break;
        case 'd':
            part = domain;
            len = strlen(domain);
            break;
        default: return false;
        }
        if (!is_safe_part(part, len)) return false;
        pv__out_bytes(&out, part, len);
    }
    return pv__out_end(&out, NULL) == PV_OK;
}

bool maildir_home(const struct config *c, const char *user, char *buf, size_t cap)
{
    return maildir_root(c->mailbox.path, user, c->domain ? c->domain : "", buf, cap);
}

/* ---- folders ---- */

/* What cannot be looked at now may well be one: a folder that somebody has locked, or on a disk
 * with errors, must not be deleted on the phones. */
static bool is_directory(int at, const char *name)
{
    struct stat st;
    if (fstatat(at, name, &st, 0) == 0) return S_ISDIR(st.st_mode);
    return errno != ENOENT && errno != ENOTDIR && errno != ELOOP;
}

static bool holds_messages(int root_fd, const char *name)
{
    char path[NAME_MAX + 8];
    for (size_t i = 0; maildir_parts[i]; i++) {
        snprintf(path, sizeof path, "%s/%s", name, maildir_parts[i]);
        if (is_directory(root_fd, path)) return true;
    }
    return false;
}

/* Inode and birth: a rename keeps both, and a new directory that gets an old inode has another
 * birth. Nothing is known of a symbolic link (two may lead to one directory) and on file systems
 * that keep no birth time. */
static void identify(int root_fd, const char *name, uint64_t identity[2])
{
    struct statx sx;
    unsigned wanted = STATX_TYPE | STATX_INO | STATX_BTIME;
    identity[0] = identity[1] = 0;
    if (statx(root_fd, name, AT_SYMLINK_NOFOLLOW, wanted, &sx) != 0) return;
    if ((sx.stx_mask & wanted) != wanted || !S_ISDIR(sx.stx_mode)) return;
    identity[0] = sx.stx_ino;
    identity[1] = (uint64_t)sx.stx_btime.tv_sec * 1000000000u + sx.stx_btime.tv_nsec;
}

static bool add(struct folder_list *l, const char *root_path, const char *file_name, char *name)
{
    struct folder f = {.name = name};
    struct folder *at = realloc(l->at, (l->count + 1) * sizeof *at);
    if (at) l->at = at;
    if (!file_name)
        f.path = strdup(root_path);
    else if (asprintf(&f.path, "%s/%s", root_path, file_name) < 0)
        f.path = NULL;
    if (!at || !f.name || !f.path) {
        free(f.name);
        free(f.path);
        return false;
    }
    l->at[l->count++] = f;
    return true;
}

/* false: no memory, or too many. */
static bool consider(struct folder_list *l, int root_fd, const char *root_path,
                     const struct dirent *e)
{
    char *name;
    bool maybe = e->d_type == DT_DIR || e->d_type == DT_LNK || e->d_type == DT_UNKNOWN;
    if (!maybe || e->d_name[0] != '.' || !holds_messages(root_fd, e->d_name)) return true;
    if (!folder_name(e->d_name, &name)) return false;
    if (!name) return true;
    if (l->count >= FOLDER_COUNT_MAX) {
        free(name);
        return false;
    }
    if (!add(l, root_path, e->d_name, name)) return false;
    identify(root_fd, e->d_name, l->at[l->count - 1].identity);
    return true;
}

static enum mailbox_result scan(DIR *d, const char *root_path, struct folder_list *l)
{
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(d);
        if (!e) return errno ? MAILBOX_UNREACHABLE : MAILBOX_OK;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        if (!consider(l, dirfd(d), root_path, e)) {
            LOG(LOG_WARN, 0, "mailbox-not-listed", KV_TEXT("path", root_path),
                KV_UINT("folders", l->count), KV_UINT("limit", FOLDER_COUNT_MAX));
            return MAILBOX_UNREACHABLE;
        }
    }
}

enum mailbox_result maildir_list(const struct config *c, const char *user, struct folder_list *out)
{
    char path[PATH_MAX];
    enum mailbox_result result = MAILBOX_OK;
    *out = (struct folder_list){0};
    if (!maildir_home(c, user, path, sizeof path)) {
        LOG(LOG_WARN, 0, "mailbox-no-path", KV_TEXT("user", user));
        return MAILBOX_UNREACHABLE;
    }
    bool begun = add(out, path, NULL, strdup("INBOX"));
    DIR *d = begun ? opendir(path) : NULL;
    if (!begun) {
        result = MAILBOX_UNREACHABLE;
    } else if (d) {
        result = scan(d, path, out);
        closedir(d);
    } else if (errno == ENOENT) {
        result = MAILBOX_NONE;
    } else {
        LOG(LOG_WARN, 0, "mailbox-unreachable", KV_TEXT("path", path),
            KV_TEXT("error", strerrordesc_np(errno)));
        result = MAILBOX_UNREACHABLE;
    }
    if (result == MAILBOX_UNREACHABLE || !folders_arrange(out)) {
        folder_list_free(out);
        return MAILBOX_UNREACHABLE;
    }
    folders_mark_special(out, c);
    return result;
}

/* ---- messages ---- */

/* Adds the directory's state to the stamp; 0 once it is too young to be trusted. */
static bool stamp_part(int folder_fd, const char *part, time_t now, uint64_t *stamp)
{
    struct stat st;
    uint64_t facts[3] = {0};
    if (fstatat(folder_fd, part, &st, 0) == 0) {
        facts[0] = st.st_ino;
        facts[1] = (uint64_t)st.st_mtim.tv_sec;
        facts[2] = (uint64_t)st.st_mtim.tv_nsec;
        if (st.st_mtim.tv_sec > now - SETTLED_SECONDS) *stamp = 0;
    } else if (errno != ENOENT) {
        return false;
    }
    if (*stamp) *stamp = map_hash(facts, sizeof facts, *stamp) | 1;
    return true;
}

/* A message is its unique name with its flags, wherever it lies: the move from new/ to cur/ alone
 * changes nothing. */
static uint64_t message_hash(const char *file_name)
{
    size_t len = strcspn(file_name, ":");
    const char *info = file_name + len;
    const char *flags = strncmp(info, ":2,", 3) == 0 ? info + 3 : info;
    return map_hash(flags, strlen(flags), map_hash(file_name, len, 0));
}

static bool sum_part(int folder_fd, const char *part, uint64_t *sum)
{
    int fd = openat(folder_fd, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT;
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return false;
    }
    struct dirent *e;
    errno = 0;
    while ((e = readdir(d))) {
        /* Added up, so that the order on the disk does not matter. */
        if (e->d_name[0] != '.') *sum += message_hash(e->d_name);
    }
    bool whole = errno == 0;
    closedir(d);
    return whole;
}

static bool look_into(int fd, struct look *look)
{
    struct look now = {.stamp = 1};
    time_t clock = time(NULL);
    /* Stamps first: what comes in while names are read makes the next stamp another one. */
    for (size_t i = 0; maildir_parts[i]; i++) {
        if (!stamp_part(fd, maildir_parts[i], clock, &now.stamp)) return false;
    }
    if (now.stamp && now.stamp == look->stamp) return true;
    for (size_t i = 0; maildir_parts[i]; i++) {
        if (!sum_part(fd, maildir_parts[i], &now.sum)) return false;
    }
    *look = now;
    return true;
}

bool maildir_look(const char *path, struct look *at)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        if (errno != ENOENT) return false;
        *at = (struct look){0}; /* an Inbox that is still to come holds nothing */
        return true;
    }
    bool whole = look_into(fd, at);
    close(fd);
    return whole;
}
