/* provost-auth: verifies logins with LDAP or PAM for provostd, which starts it. Both block, and bring
 * libraries that the server should not hold; here they hold nothing but a socket, and may crash. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "src/server/auth/helper/message.h"
#include "src/server/auth/helper/way.h"

#define SOCKET STDIN_FILENO
#define DESCRIPTORS 256 /* some modules close all that may be, one by one */

static const struct way *const ways[] = {&way_ldap, &way_pam};

uint64_t way_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void nothing(int signal)
{
    (void)signal;
}

/* Who stops the server stops its whole group or all of its unit: logins under way still end. It ends
 * with the socket. Handlers, because what is ignored stays ignored in what modules start. */
static void prepare(void)
{
    static const int left[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGALRM};
    const struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    const struct rlimit descriptors = {DESCRIPTORS, DESCRIPTORS}, none = {0, 0};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) sigaction(left[i], &action, NULL);
    setrlimit(RLIMIT_NOFILE, &descriptors);
    setrlimit(RLIMIT_CORE, &none);
    /* The server is gone, however it went, and nobody waits for an answer. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* false: the server has gone, or says what cannot be understood. */
static bool receive(char packet[MESSAGE_MAX], enum message_kind kind, struct message *out)
{
    ssize_t len;
    do len = recv(SOCKET, packet, MESSAGE_MAX, MSG_TRUNC);
    while (len < 0 && errno == EINTR);
    return len > 0 && (size_t)len <= MESSAGE_MAX && message_read(packet, (size_t)len, out) &&
           out->kind == kind;
}

static bool tell(const struct message *m)
{
    char packet[MESSAGE_MAX];
    ssize_t n;
    size_t len = message_write(m, packet, sizeof packet);
    do n = len ? send(SOCKET, packet, len, MSG_NOSIGNAL) : 0;
    while (n < 0 && errno == EINTR);
    return n > 0;
}

/* ---- settings ---- */

static bool set(struct way_settings *s, const char *name, const char *value)
{
    const struct {
        const char *name, **to;
    } texts[] = {
        {"way", &s->way},
        {"domain", &s->domain},
        {"url", &s->url},
        {"ca_file", &s->ca_file},
        {"user_dn", &s->user_dn},
        {"bind_dn", &s->bind_dn},
        {"base", &s->base},
        {"filter", &s->filter},
        {"name", &s->name},
        {"service", &s->service},
        {"bind_password_file", &s->bind_password_file},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(texts[i].name, name) != 0) continue;
        *texts[i].to = value;
        return true;
    }
    if (strcmp(name, "timeout_ms") != 0) return false;
    s->timeout_ms = (unsigned)strtoul(value, NULL, 10);
    return true;
}

static const struct way *find_way(const char *name)
{
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (strcmp(ways[i]->name, name) == 0) return ways[i];
    return NULL;
}

static const struct way *begin(const struct message *m, struct way_settings *s,
                               char why[WAY_WHY_MAX])
{
    *s = (struct way_settings){"", "", 0, "", "", "", "", "", "", "", "", ""};
    for (size_t i = 0; i + 1 < m->count; i += 2) {
        if (set(s, m->text[i], m->text[i + 1])) continue;
        snprintf(why, WAY_WHY_MAX,
                 "the login helper does not know the setting %.32s: is it of "
                 "another version?",
                 m->text[i]);
        return NULL;
    }
    const struct way *w = find_way(s->way);
    if (w) return w->begin(s, why) ? w : NULL;
    snprintf(why, WAY_WHY_MAX, "the login helper does not know \"%.32s\"", s->way);
    return NULL;
}

/* ---- questions ---- */

static bool answer(const struct way_answer *a)
{
    static const char *const verdicts[] = {
        [WAY_OK] = SAID_OK, [WAY_BAD] = SAID_BAD, [WAY_FAILED] = SAID_FAILED};
    struct message m = {.kind = MESSAGE_SAYS, .count = SAID_COUNT};
    m.text[SAID_VERDICT] = verdicts[a->verdict];
    m.text[SAID_USER] = a->verdict == WAY_OK ? a->user : "";
    m.text[SAID_WHY] = a->why;
    return tell(&m);
}

static void serve(const struct way *w, unsigned timeout_ms)
{
    char packet[MESSAGE_MAX];
    struct message m;
    bool going = true;
    while (going && receive(packet, MESSAGE_ASK, &m) && m.count == ASKED_COUNT) {
        struct way_answer a = {.verdict = WAY_FAILED};
        const struct way_question q = {.user = m.text[ASKED_USER],
                                       .password = m.text[ASKED_PASSWORD],
                                       .peer = m.text[ASKED_PEER],
                                       .until_ms = way_now_ms() + timeout_ms};
        /* An empty password makes a bind of nobody, which servers call a success: RFC 4513 5.1.2. */
        if (!*q.user || !*q.password)
            a.verdict = WAY_BAD;
        else
            w->ask(&q, &a);
        explicit_bzero(packet, sizeof packet);
        going = answer(&a);
    }
    explicit_bzero(packet, sizeof packet);
}

int main(void)
{
    static char settings_packet[MESSAGE_MAX]; /* the settings point into it */
    struct way_settings settings;
    struct message m;
    char why[WAY_WHY_MAX] = "";
    prepare();
    if (!receive(settings_packet, MESSAGE_SETTINGS, &m)) {
        fputs("provost-auth is started by provostd, and by nobody else.\n", stderr);
        return EXIT_FAILURE;
    }
    const struct way *w = begin(&m, &settings, why);
    bool told = tell(&(struct message){.kind = MESSAGE_READY, .count = 1, .text = {why}});
    if (!w || !told) return EXIT_FAILURE;
    serve(w, settings.timeout_ms);
    w->end();
    return EXIT_SUCCESS;
}
