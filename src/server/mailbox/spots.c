#include "src/server/mailbox/spots.h"

#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "src/server/mailbox/maildir.h"
#include "src/server/mailbox/map.h"
#include "src/server/mailbox/tree.h"
#include "src/server/observe/log.h"

#define SETTLE_MS 100 /* a delivery is several steps: look when they are over */
#define SETTLE_MAX_MS 5000
#define RECHECK_MS 2000 /* a new folder gets its cur/ a little later */
#define RETRY_MS 1000   /* the lookers are busy */
#define POLL_MS 5000    /* where inotify does not help */
#define PART_MAX 2      /* new and cur */

#define EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)

/* One watched directory of a spot. */
struct mark {
    struct map_node by_wd;
    struct spot *spot;
    int wd; /* -1: not watched */
};

struct spot {
    struct map_node by_path;
    struct spots *home;
    struct spot_user *users;
    struct mark marks[PART_MAX];
    struct timer timer; /* the next look */
    struct job job;
    struct look seen, found;         /* what is found is the looker's until it is done */
    unsigned cost_ms, found_cost_ms; /* of the last look */
    enum spot_kind kind;
    bool is_seen, looking, again, recheck, polled, calling;
    bool found_good;
    char *user;
    char path[];
};

struct spots {
    struct worker *worker;
    const struct config *config;
    struct pool *lookers;
    struct watch watch; /* fd of inotify, -1 without */
    struct map by_path, by_wd;
    struct timer poll;
    bool warned;
};

static void warn(struct spots *s, const char *what, int error)
{
    if (s->warned) return;
    s->warned = true;
    LOG(LOG_WARN, 0, "mailbox-polling", KV_TEXT("cause", what),
        KV_TEXT("error", strerrordesc_np(error)), KV_UINT("every_ms", POLL_MS));
}

/* ---- looking ---- */

static void look_soon(struct spot *spot, uint64_t in_ms);

static unsigned elapsed_ms(const struct timespec *from)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ms = (now.tv_sec - from->tv_sec) * 1000 + (now.tv_nsec - from->tv_nsec) / 1000000;
    return ms > SETTLE_MAX_MS ? SETTLE_MAX_MS : (unsigned)ms;
}

/* On a looker's thread. */
static void look_run(struct job *j)
{
    struct spot *spot = CONTAINER_OF(j, struct spot, job);
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    if (spot->kind == SPOT_FOLDER) {
        spot->found_good = maildir_look(spot->path, &spot->found);
    } else {
        struct folder_list list;
        const struct config *c = config_now(spot->home->config);
        spot->found_good = maildir_list(c, spot->user, &list) != MAILBOX_UNREACHABLE;
        if (spot->found_good) {
            spot->found = (struct look){.sum = folder_list_hash(&list)};
            folder_list_free(&list);
        }
    }
    spot->found_cost_ms = elapsed_ms(&start);
}

static void spot_free(struct spot *spot)
{
    struct spots *s = spot->home;
    timer_stop(s->worker, &spot->timer);
    for (size_t i = 0; i < PART_MAX; i++) {
        if (spot->marks[i].wd < 0) continue;
        map_remove(&s->by_wd, &spot->marks[i].by_wd);
        inotify_rm_watch(s->watch.fd, spot->marks[i].wd);
    }
    map_remove(&s->by_path, &spot->by_path);
    free(spot->user);
    free(spot);
}

static void look_done(struct job *j)
{
    struct spot *spot = CONTAINER_OF(j, struct spot, job);
    spot->looking = false;
    spot->cost_ms = spot->found_cost_ms;
    if (spot->found_good) spot->seen = spot->found;
    spot->is_seen = true;
    if (spot->again)
        look_soon(spot, SETTLE_MS);
    else if (spot->recheck)
        look_soon(spot, RECHECK_MS);
    spot->recheck = spot->again && spot->recheck;
    spot->again = false;
    spot->calling = true;
    for (struct spot_user *u = spot->users, *next; u; u = next) {
        next = u->next;
        u->looked(u);
    }
    spot->calling = false;
    if (!spot->users) spot_free(spot);
}

static void look_start(struct timer *t)
{
    struct spot *spot = CONTAINER_OF(t, struct spot, timer);
    spot->found = spot->seen;
    spot->looking = pool_submit(spot->home->lookers, &spot->job);
    if (!spot->looking) look_soon(spot, RETRY_MS);
}

static void look_soon(struct spot *spot, uint64_t in_ms)
{
    if (spot->looking)
        spot->again = true;
    else if (!spot->timer.set)
        timer_set(spot->home->worker, &spot->timer, in_ms, look_start);
}

/* Something stirs. The longer a look takes, the rarer it is: at most a tenth of the time goes into
 * looking at one place. */
static void stir(struct spot *spot)
{
    uint64_t in_ms = SETTLE_MS + 10ull * spot->cost_ms;
    if (spot->kind == SPOT_TREE) spot->recheck = true;
    look_soon(spot, in_ms > SETTLE_MAX_MS ? SETTLE_MAX_MS : in_ms);
}

/* ---- inotify ---- */

/* Where other machines write too, inotify is silent about them. */
static bool is_remote(const char *path)
{
    static const uint32_t remote[] = {
        NFS_SUPER_MAGIC, SMB_SUPER_MAGIC,  SMB2_SUPER_MAGIC, CIFS_SUPER_MAGIC, AFS_SUPER_MAGIC,
        V9FS_MAGIC,      CEPH_SUPER_MAGIC, FUSE_SUPER_MAGIC, CODA_SUPER_MAGIC,
    };
    struct statfs fs;
    if (statfs(path, &fs) != 0) return false;
    for (size_t i = 0; i < sizeof remote / sizeof *remote; i++) {
        if ((uint32_t)fs.f_type == remote[i]) return true;
    }
    return false;
}

/* false: it must be polled. */
static bool mark_watch(struct mark *m, const char *directory)
{
    struct spots *s = m->spot->home;
    /* A directory that another spot watches already (a symbolic link) is polled: a watch can have
     * only one owner. */
    m->wd = inotify_add_watch(s->watch.fd, directory, EVENTS | IN_ONLYDIR | IN_MASK_CREATE);
    if (m->wd < 0) {
        if (errno == ENOSPC || errno == ENOMEM) warn(s, "inotify watches are used up", errno);
        return false;
    }
    uint32_t key = (uint32_t)m->wd;
    if (map_put(&s->by_wd, &m->by_wd, map_hash(&key, sizeof key, 0))) return true;
    inotify_rm_watch(s->watch.fd, m->wd);
    m->wd = -1;
    return false;
}

/* Watch what is not watched yet; sets polled when that does not work for all. */
static void watch_parts(struct spot *spot)
{
    char directory[PATH_MAX];
    static const char *const itself[] = {"", NULL};
    const char *const *parts = spot->kind == SPOT_TREE ? itself : maildir_parts;
    spot->polled = spot->home->watch.fd < 0 || is_remote(spot->path);
    for (size_t i = 0; parts[i] && i < PART_MAX && !spot->polled; i++) {
        if (spot->marks[i].wd >= 0) continue;
        int n = snprintf(directory, sizeof directory, "%s/%s", spot->path, parts[i]);
        bool fits = n > 0 && (size_t)n < sizeof directory;
        if (!fits || !mark_watch(&spot->marks[i], directory)) spot->polled = true;
    }
}

static struct mark *find_mark(struct spots *s, int wd)
{
    uint32_t key = (uint32_t)wd;
    struct map_node *n = map_first(&s->by_wd, map_hash(&key, sizeof key, 0));
    for (; n; n = map_next(n)) {
        struct mark *m = CONTAINER_OF(n, struct mark, by_wd);
        if (m->wd == wd) return m;
    }
    return NULL;
}

static void poll_later(struct spots *s);

static void stir_each(void *ctx, struct map_node *n)
{
    (void)ctx;
    stir(CONTAINER_OF(n, struct spot, by_path));
}

static void take_event(struct spots *s, const struct inotify_event *e)
{
    if (e->mask & IN_Q_OVERFLOW) {
        map_each(&s->by_path, stir_each, NULL);
        return;
    }
    struct mark *m = find_mark(s, e->wd);
    if (!m) return;
    if (e->mask & IN_IGNORED) { /* the directory is gone; it may come again */
        map_remove(&s->by_wd, &m->by_wd);
        m->wd = -1;
        m->spot->polled = true;
        poll_later(s);
    }
    /* Beside the folders lie index files that change all the time. */
    if (m->spot->kind == SPOT_TREE && e->len && e->name[0] != '.') return;
    stir(m->spot);
}

static void take_events(struct watch *h, uint32_t epoll_events)
{
    struct spots *s = CONTAINER_OF(h, struct spots, watch);
    char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
    (void)epoll_events;
    ssize_t len = read(h->fd, buf, sizeof buf);
    for (ssize_t at = 0; at < len;) {
        const struct inotify_event *e = (const struct inotify_event *)(buf + at);
        take_event(s, e);
        at += (ssize_t)(sizeof *e + e->len);
    }
}

/* ---- polling ---- */

static void poll_each(void *ctx, struct map_node *n)
{
    struct spot *spot = CONTAINER_OF(n, struct spot, by_path);
    if (!spot->polled) return;
    *(bool *)ctx = true;
    watch_parts(spot);
    look_soon(spot, 0);
}

static void poll_now(struct timer *t)
{
    struct spots *s = CONTAINER_OF(t, struct spots, poll);
    bool any = false;
    map_each(&s->by_path, poll_each, &any);
    if (any) poll_later(s);
}

static void poll_later(struct spots *s)
{
    if (!s->poll.set) timer_set(s->worker, &s->poll, POLL_MS, poll_now);
}

/* ---- join, leave ---- */

static uint64_t key_of(enum spot_kind kind, const char *path)
{
    return map_hash(path, strlen(path), kind);
}

static struct spot *find_spot(struct spots *s, enum spot_kind kind, const char *path)
{
    struct map_node *n = map_first(&s->by_path, key_of(kind, path));
    for (; n; n = map_next(n)) {
        struct spot *spot = CONTAINER_OF(n, struct spot, by_path);
        if (spot->kind == kind && strcmp(spot->path, path) == 0) return spot;
    }
    return NULL;
}

static struct spot *make_spot(struct spots *s, enum spot_kind kind, const char *path,
                              const char *user, const struct look *seed)
{
    struct spot *spot = calloc(1, sizeof *spot + strlen(path) + 1);
    if (!spot) return NULL;
    spot->home = s;
    spot->kind = kind;
    spot->seen = *seed;
    spot->job.run = look_run;
    spot->job.done = look_done;
    spot->user = strdup(user);
    memcpy(spot->path, path, strlen(path) + 1);
    for (size_t i = 0; i < PART_MAX; i++) spot->marks[i] = (struct mark){.spot = spot, .wd = -1};
    if (!spot->user || !map_put(&s->by_path, &spot->by_path, key_of(kind, path))) {
        free(spot->user);
        free(spot);
        return NULL;
    }
    /* First the watch, then the look: what comes in between is seen twice rather than never. */
    watch_parts(spot);
    if (spot->polled) poll_later(s);
    look_soon(spot, 0);
    return spot;
}

bool spot_join(struct spots *s, struct spot_user *u, enum spot_kind kind, const char *path,
               const char *user, const struct look *seed)
{
    struct spot *spot = find_spot(s, kind, path);
    if (!spot) spot = make_spot(s, kind, path, user, seed);
    if (!spot) return false;
    u->spot = spot;
    u->next = spot->users;
    u->link = &spot->users;
    if (u->next) u->next->link = &u->next;
    spot->users = u;
    return true;
}

const struct look *spot_seen(const struct spot_user *u)
{
    const struct spot *spot = u->spot;
    return spot && spot->is_seen ? &spot->seen : NULL;
}

bool spot_leave(struct spot_user *u)
{
    struct spot *spot = u->spot;
    if (!spot) return true;
    if (spot->looking && spot->users == u && !u->next) return false;
    *u->link = u->next;
    if (u->next) u->next->link = u->link;
    u->spot = NULL;
    if (!spot->users && !spot->calling) spot_free(spot);
    return true;
}

struct spots *spots_create(struct worker *w, const struct config *c, struct pool *lookers)
{
    struct spots *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->worker = w;
    s->config = c;
    s->lookers = lookers;
    s->watch.fn = take_events;
    s->watch.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (s->watch.fd < 0) warn(s, "no inotify", errno);
    if (s->watch.fd >= 0 && !watch_start(w, &s->watch, EPOLLIN)) {
        close(s->watch.fd);
        s->watch.fd = -1;
        warn(s, "no descriptor to watch", ENOMEM);
    }
    return s;
}

void spots_destroy(struct spots *s)
{
    if (!s) return;
    if (s->watch.fd >= 0) close(s->watch.fd);
    map_finish(&s->by_path);
    map_finish(&s->by_wd);
    free(s);
}
