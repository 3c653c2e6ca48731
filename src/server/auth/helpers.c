#include "src/server/auth/helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/server/child.h"
#include "src/server/observe/log.h"

#define HELPERS_MAX 64
#define KILLED_WAIT_MS 500 /* for the end of what was killed: it may hang in the kernel */
#define FAMILY_MAX 64      /* of one helper, itself and all that it has started */
#define FREE_ENDS 2        /* in a row after which it is started anew at once; then it must wait */
#define WAIT_MOST_MS 30000

extern char **environ;

struct helper {
    pid_t pid; /* 0: none */
    int socket;
    unsigned generation;
    bool busy;
};

struct helpers {
    char *program;
    char method[16];
    unsigned count, timeout_ms;
    size_t settings_len;
    char settings[MESSAGE_MAX];
    atomic_uint generation;
    pthread_mutex_t lock; /* busy, ends, not_before_ms */
    unsigned ends;        /* without an answer in between */
    uint64_t not_before_ms;
    struct helper helper[HELPERS_MAX];
};

/* ---- one process ---- */

/* Has it gone? */
static bool reap(struct helper *p)
{
    pid_t ended = waitpid(p->pid, NULL, WNOHANG);
    if (ended == 0) return false;
    p->pid = 0;
    return true;
}

/* Processes that it has started, behind pids[count - 1]. @return how many there are then. */
static size_t add_children(pid_t parent, pid_t *pids, size_t count)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    text[len > 0 ? len : 0] = '\0';
    for (char *at = text, *next; count < FAMILY_MAX; at = next) {
        long pid = strtol(at, &next, 10);
        if (next == at || pid <= 0) break;
        pids[count++] = (pid_t)pid;
    }
    return count;
}

/* With all that it has started, wherever modules have put it (pam_exec begins a new session). Each is
 * stopped before it is asked for its children: so these numbers stay theirs until it is killed. */
static void kill_family(pid_t pid)
{
    pid_t pids[FAMILY_MAX] = {pid};
    size_t count = 1;
    for (size_t i = 0; i < count; i++) {
        kill(pids[i], SIGSTOP);
        count = add_children(pids[i], pids, count);
    }
    while (count > 0) kill(pids[--count], SIGKILL);
}

static void end(struct helper *p)
{
    if (p->socket >= 0) close(p->socket);
    p->socket = -1;
    if (!p->pid) return;
    kill_family(p->pid);
    struct pollfd ended = {.fd = pidfd_open(p->pid, 0), .events = POLLIN};
    if (ended.fd >= 0) {
        poll(&ended, 1, KILLED_WAIT_MS);
        close(ended.fd);
    }
    reap(p);
}

/* One packet within the time that is left. false with why. */
static bool receive(const struct helper *p, uint64_t until_ms, char *packet, struct message *out,
                    char why[AUTH_WHY_MAX])
{
    for (;;) {
        uint64_t now = auth_now_ms();
        struct pollfd readable = {.fd = p->socket, .events = POLLIN};
        int n = now < until_ms ? poll(&readable, 1, (int)(until_ms - now)) : 0;
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            snprintf(why, AUTH_WHY_MAX, "no answer in time");
            return false;
        }
        /* Longer than asked for: the real length comes back. */
        ssize_t len = recv(p->socket, packet, MESSAGE_MAX, MSG_TRUNC | MSG_DONTWAIT);
        if (len < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (len <= 0)
            snprintf(why, AUTH_WHY_MAX, "the login helper has ended");
        else if ((size_t)len > MESSAGE_MAX || !message_read(packet, (size_t)len, out))
            snprintf(why, AUTH_WHY_MAX, "the login helper says what cannot be understood");
        else
            return true;
        return false;
    }
}

static bool deliver(const struct helper *p, const char *packet, size_t len)
{
    ssize_t n;
    do n = send(p->socket, packet, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)len;
}

/* Started, told its settings, and content with them. false with why. */
static bool start(struct helpers *h, struct helper *p, char why[AUTH_WHY_MAX])
{
    char packet[MESSAGE_MAX];
    struct message m;
    int ends[2];
    uint64_t until = auth_now_ms() + h->timeout_ms;
    if (p->pid && !reap(p)) {
        snprintf(why, AUTH_WHY_MAX, "the login helper before cannot be ended");
        return false;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        snprintf(why, AUTH_WHY_MAX, "socketpair: %s", strerror(errno));
        return false;
    }
    p->generation = atomic_load(&h->generation);
    int rc = child_start(h->program, ends[1], &p->pid);
    close(ends[1]);
    p->socket = ends[0];
    if (rc) {
        p->pid = 0;
        snprintf(why, AUTH_WHY_MAX, "%s: %s", h->program, strerror(rc));
    } else if (!deliver(p, h->settings, h->settings_len)) {
        snprintf(why, AUTH_WHY_MAX, "the login helper has ended");
    } else if (receive(p, until, packet, &m, why)) {
        if (m.kind == MESSAGE_READY && m.count == 1 && !*m.text[0]) return true;
        bool says = m.kind == MESSAGE_READY && m.count == 1;
        snprintf(why, AUTH_WHY_MAX, "%s", says ? m.text[0] : "the login helper is not ready");
    }
    end(p);
    return false;
}

/* ---- all of them ---- */

static struct helper *take(struct helpers *h)
{
    struct helper *p = NULL;
    pthread_mutex_lock(&h->lock);
    for (unsigned i = 0; i < h->count && !p; i++)
        if (!h->helper[i].busy) p = &h->helper[i];
    if (p) p->busy = true;
    pthread_mutex_unlock(&h->lock);
    return p;
}

static void give_back(struct helpers *h, struct helper *p)
{
    pthread_mutex_lock(&h->lock);
    p->busy = false;
    pthread_mutex_unlock(&h->lock);
}

static bool may_start(struct helpers *h)
{
    pthread_mutex_lock(&h->lock);
    bool may = auth_now_ms() >= h->not_before_ms;
    pthread_mutex_unlock(&h->lock);
    return may;
}

/* A program that ends again and again is not started for every login. */
static void note_end(struct helpers *h, const char *why)
{
    pthread_mutex_lock(&h->lock);
    unsigned more = h->ends++ < FREE_ENDS ? 0 : h->ends - FREE_ENDS;
    uint64_t wait = !more ? 0 : more < 6 ? 500u << more : WAIT_MOST_MS;
    h->not_before_ms = auth_now_ms() + wait;
    pthread_mutex_unlock(&h->lock);
    LOG(LOG_ERROR, 0, "login-helper-ended", KV_TEXT("method", h->method), KV_TEXT("why", why),
        KV_UINT("again_in_ms", wait));
}

static void note_answer(struct helpers *h)
{
    pthread_mutex_lock(&h->lock);
    h->ends = 0;
    pthread_mutex_unlock(&h->lock);
}

/* Runs, and has seen the settings as they are. */
static bool is_up(struct helpers *h, struct helper *p)
{
    if (p->socket < 0) return false;
    struct pollfd ended = {.fd = p->socket, .events = POLLIN};
    /* Nothing was asked: whatever it says, or its end, is no answer to the next question. */
    if (p->generation == atomic_load(&h->generation) && poll(&ended, 1, 0) == 0) return true;
    end(p);
    return false;
}

/* false: it is no answer. */
static bool read_answer(const struct message *m, struct auth_try *t)
{
    if (m->kind != MESSAGE_SAYS || m->count != SAID_COUNT) return false;
    const char *verdict = m->text[SAID_VERDICT];
    bool ok = strcmp(verdict, SAID_OK) == 0, bad = strcmp(verdict, SAID_BAD) == 0;
    if (!ok && !bad && strcmp(verdict, SAID_FAILED) != 0) return false;
    if (ok && (!*m->text[SAID_USER] || strlen(m->text[SAID_USER]) >= sizeof t->user)) return false;
    t->verdict = ok ? AUTH_OK : bad ? AUTH_BAD : AUTH_FAILED;
    if (ok) snprintf(t->user, sizeof t->user, "%s", m->text[SAID_USER]);
    snprintf(t->why, sizeof t->why, "%s", m->text[SAID_WHY]);
    return true;
}

static bool ask(struct helpers *h, struct helper *p, struct auth_try *t)
{
    char packet[MESSAGE_MAX];
    struct message m = {.kind = MESSAGE_ASK, .count = ASKED_COUNT};
    m.text[ASKED_USER] = t->user;
    m.text[ASKED_PASSWORD] = t->login.password;
    m.text[ASKED_PEER] = t->peer;
    size_t len = message_write(&m, packet, sizeof packet);
    bool told = len && deliver(p, packet, len);
    explicit_bzero(packet, len);
    if (!told) {
        snprintf(t->why, sizeof t->why, "the login helper has ended");
        return false;
    }
    if (!receive(p, auth_now_ms() + h->timeout_ms, packet, &m, t->why)) return false;
    if (read_answer(&m, t)) return true;
    snprintf(t->why, sizeof t->why, "the login helper says what cannot be understood");
    return false;
}

void helpers_ask(struct helpers *h, struct auth_try *t)
{
    struct helper *p = take(h);
    t->verdict = AUTH_FAILED;
    if (!p || (!is_up(h, p) && !may_start(h))) {
        snprintf(t->why, sizeof t->why, "the login helper ends again and again; the log says why");
    } else if (p->socket < 0 && !start(h, p, t->why)) {
        note_end(h, t->why);
    } else if (ask(h, p, t)) {
        note_answer(h);
    } else {
        end(p);
        note_end(h, t->why);
    }
    if (p) give_back(h, p);
}

void helpers_renew(struct helpers *h)
{
    atomic_fetch_add(&h->generation, 1);
}

struct helpers *helpers_create(const struct helpers_setup *setup, char *error, size_t error_cap)
{
    char why[AUTH_WHY_MAX] = "out of memory";
    struct helpers *h = calloc(1, sizeof *h);
    if (h) {
        pthread_mutex_init(&h->lock, NULL);
        for (unsigned i = 0; i < HELPERS_MAX; i++) h->helper[i].socket = -1;
        h->program = strdup(setup->program);
        snprintf(h->method, sizeof h->method, "%s", setup->method);
        h->count = setup->count < HELPERS_MAX ? setup->count : HELPERS_MAX;
        h->timeout_ms = setup->timeout_ms;
        h->settings_len = message_write(&setup->settings, h->settings, sizeof h->settings);
        if (!h->settings_len) snprintf(why, sizeof why, "its settings are too long");
        if (h->settings_len && h->program && start(h, &h->helper[0], why)) return h;
        helpers_destroy(h);
    }
    snprintf(error, error_cap, "auth.method \"%s\": %s", setup->method, why);
    return NULL;
}

void helpers_destroy(struct helpers *h)
{
    if (!h) return;
    for (unsigned i = 0; i < HELPERS_MAX; i++) end(&h->helper[i]);
    pthread_mutex_destroy(&h->lock);
    free(h->program);
    explicit_bzero(h->settings, sizeof h->settings);
    free(h);
}
