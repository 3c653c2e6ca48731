/* provostd: starts the parts in order, waits for signals, ends them in the opposite order. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "src/server/admin/admin.h"
#include "src/server/admin/version.h"
#include "src/server/admin/wipe.h"
#include "src/server/auth/auth.h"
#include "src/server/autodiscover/autodiscover.h"
#include "src/server/config.h"
#include "src/server/gate/gate.h"
#include "src/server/http/http.h"
#include "src/server/mailbox/mailbox.h"
#include "src/server/observe/audit_mover.h"
#include "src/server/observe/heart.h"
#include "src/server/observe/log.h"
#include "src/server/observe/notify_store.h"
#include "src/server/parts.h"
#include "src/server/store/store.h"
#include "src/server/upstream/ping.h"
#include "src/server/upstream/upstream.h"

#define DEFAULT_FILE "/etc/provost/provost.conf"
#define SETTLE_S 5 /* of the end, after draining: writing what is to be written, closing */
#define DRAIN_LOOK_MS 10
#define FAREWELL_MS 500 /* between two requests of one command of administration */
#define ADMIN_CONNECTIONS_MAX 64
#define ADMIN_HTTPS_CONNECTIONS_MAX 512 /* strangers may hold some of them */
#define ADMIN_SOCKET_MODE 0600
#define TICK_MS 5000   /* how often it is looked whether all threads go on, without a watchdog */
#define STUCK_MS 30000 /* at one piece of work, without a watchdog */
#define STATUS_MAX 256

enum { EXIT_START = 1, EXIT_USAGE = 2, EXIT_CUT = 3 };

static void usage(FILE *to)
{
    fputs("usage: provostd [-t] [-c FILE]\n"
          "  -c FILE        configuration (" DEFAULT_FILE ")\n"
          "  -t             check the configuration and leave\n"
          "  -h, --help     show this and leave\n"
          "  --version      show the version and leave\n",
          to);
}

enum log_level level_of(const char *name)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return (enum log_level)i;
    return LOG_INFO;
}

/* Each waiting phone is a descriptor. */
static void raise_descriptor_limit(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur == l.rlim_max) return;
    l.rlim_cur = l.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &l) != 0)
        LOG(LOG_WARN, 0, "descriptors", KV_TEXT("why", strerror(errno)));
}

static unsigned worker_count(const struct config *c)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (c->workers > 0) return c->workers;
    return n > 0 ? (unsigned)n : 1;
}

size_t make_listens(struct server *s, const struct config *c,
                    const char *proxies[CONFIG_LIST_MAX + 1],
                    struct http_listen listens[LISTENS_MAX])
{
    struct http_handler devices = router_handler(&s->router);
    struct http_listen common = {.head_ms = c->head_timeout * 1000,
                                 .body_ms = c->body_timeout * 1000,
                                 .idle_ms = c->idle_timeout * 1000};
    size_t n = 0;
    devices.body_max = gate_body_max(c);
    for (size_t i = 0; i < c->proxies.count; i++) proxies[i] = c->proxies.name[i];
    proxies[c->proxies.count] = NULL;
    for (; n < c->listen.count; n++) {
        listens[n] = common;
        listens[n].address = c->listen.name[n];
        listens[n].inherited = service_sockets_take(&s->sockets, c->listen.name[n]);
        listens[n].tls_certificate = c->tls_certificate;
        listens[n].tls_key = c->tls_key;
        listens[n].client_ca = c->tls_client_ca;
        listens[n].client_crl = c->tls_client_crl;
        listens[n].connections_max = c->connections_max;
        listens[n].socket_mode = 0666; /* for a proxy: whoever gets there must still log in */
        listens[n].proxies = proxies;
        listens[n].handler = devices;
    }
    common.connections_max = ADMIN_CONNECTIONS_MAX;
    common.farewell_ms = FAREWELL_MS;
    listens[n] = common;
    listens[n].address = c->admin.socket;
    listens[n].inherited = service_sockets_take(&s->sockets, c->admin.socket);
    listens[n].socket_mode = ADMIN_SOCKET_MODE;
    listens[n++].handler = admin_handler(s->admin, false);
    for (size_t i = 0; i < c->admin.listen.count; i++, n++) {
        listens[n] = common;
        listens[n].address = c->admin.listen.name[i];
        listens[n].inherited = service_sockets_take(&s->sockets, c->admin.listen.name[i]);
        listens[n].tls_certificate = c->admin.certificate;
        listens[n].tls_key = c->admin.key;
        listens[n].connections_max = ADMIN_HTTPS_CONNECTIONS_MAX;
        listens[n].proxies = proxies;
        listens[n].handler = admin_handler(s->admin, true);
    }
    return n;
}

static bool start_http(struct server *s, char *error, size_t cap)
{
    struct http_listen listens[LISTENS_MAX];
    s->router.otherwise = gate_handler(s->gate);
    autodiscover_routes(s->gate, &s->router);
    if (s->config->forward_auth.path)
        router_add(&s->router, s->config->forward_auth.path, false, gate_forward_handler(s->gate));
    const char *proxies[CONFIG_LIST_MAX + 1];
    size_t n = make_listens(s, s->config, proxies, listens);
    if (!service_sockets_all_taken(&s->sockets, error, cap)) return false;
    s->http = http_start(listens, n, worker_count(s->config), error, cap);
    if (!s->http) return false;
    gate_begin(s->gate, http_worker(s->http, 0));
    if (s->upstreams) upstreams_begin(s->upstreams, http_worker(s->http, 0));
    return true;
}

static bool start_audit(struct server *s, char *error, size_t cap)
{
    char dir[PATH_MAX];
    const struct config *c = s->config;
    if ((size_t)snprintf(dir, sizeof dir, "%s/audit", c->state) >= sizeof dir) {
        snprintf(error, cap, "the name of the state directory is too long");
        return false;
    }
    s->audit = audit_mover_start(s->store, dir, c->audit.rotate_size, c->audit.keep, error, cap);
    return s->audit != NULL;
}

static bool start_upstreams(struct server *s, char *error, size_t cap)
{
    if (!config_is_gateway(s->config)) return true;
    s->upstreams = upstreams_create(s->config, error, cap);
    return s->upstreams && upstreams_load(s->upstreams, s->store, error, cap);
}

static bool start_auth(struct server *s, char *error, size_t cap)
{
    struct auth_method *made[] = {s->upstreams ? upstreams_auth(s->upstreams) : NULL, NULL};
    s->auth = auth_create(s->config, made, error, cap);
    return s->auth != NULL;
}

/* A gateway holds Pings itself, unless it is told not to. */
static bool start_pings(struct server *s, char *error, size_t cap)
{
    if (!s->gateway || strcmp(s->config->upstream.ping.mode, "hold") != 0) return true;
    s->pings =
        pings_create(s->gate, s->upstreams, gateway_demands(s->gateway), s->config, error, cap);
    return s->pings != NULL;
}

static bool add_backend(void *ctx, json_t *status)
{
    struct server *s = ctx;
    if (!reload_status(s, status)) return false;
    if (!s->upstreams) return mailbox_status(s->mailbox, status);
    json_t *list = upstreams_status(s->upstreams);
    if (list && pings_status(s->pings, list))
        return json_object_set_new(status, "upstreams", list) == 0;
    json_decref(list);
    return false;
}

static bool start_admin(struct server *s, char *error, size_t cap)
{
    s->admin = admin_create(s->gate, s->audit, error, cap);
    if (s->admin) admin_on_status(s->admin, add_backend, s);
    return s->admin != NULL;
}

/* What stands behind the gate: other servers, or a mailbox of our own. */
static bool start_backend(struct server *s, char *error, size_t cap)
{
    const struct config *c = s->config;
    if (s->upstreams)
        s->gateway = gateway_create(s->gate, s->upstreams, c, error, cap);
    else
        s->mailbox = mailbox_open(c, error, cap);
    return (s->gateway || s->mailbox) && start_pings(s, error, cap) &&
           (s->commands = commands_create(s->gate, s->mailbox, c, error, cap));
}

static bool start_store(struct server *s, char *error, size_t cap)
{
    char host[HOST_NAME_MAX + 1] = "";
    const struct config *c = s->config;
    (void)gethostname(host, sizeof host - 1);
    const struct store_options o = {.url = c->store,
                                    .state = c->state,
                                    .node = c->node ? c->node : host,
                                    .lease_s = c->store_lease,
                                    .connections = c->store_connections};
    s->store = store_open(&o, error, cap);
    return s->store != NULL;
}

static bool start(struct server *s, char *error, size_t cap)
{
    return start_store(s, error, cap) && start_audit(s, error, cap) &&
           (s->notify = notify_from_store(s->config, s->store, error, cap)) &&
           start_upstreams(s, error, cap) && start_auth(s, error, cap) &&
           (s->gate = gate_create(s->config, s->auth, s->store, error, cap)) &&
           start_backend(s, error, cap) && gate_start(s->gate, error, cap) &&
           start_admin(s, error, cap) && start_http(s, error, cap);
}

/* Requests under way end. What takes longer than the limit, at an IMAP server or over the whole fleet,
 * is given up. */
static void drain(struct server *s)
{
    gate_rest(s->gate);
    const uint64_t limit_ms = s->config->drain_timeout * UINT64_C(1000);
    const uint64_t begin = heart_now_ms(), watchdog_ms = service_watchdog_ms();
    uint64_t told_at = begin;
    bool over = false;
    http_drain(s->http, (unsigned)limit_ms);
    while (!http_drained(s->http)) {
        uint64_t now = heart_now_ms();
        if (!over && now - begin >= limit_ms) {
            over = true;
            mailbox_stop(s->mailbox);
            gate_stop(s->gate);
        }
        if (watchdog_ms && now - told_at >= watchdog_ms / 4) {
            service_alive();
            told_at = now;
        }
        usleep(DRAIN_LOOK_MS * 1000);
    }
}

/* What was started, as far as it came. */
static void stop(struct server *s)
{
    if (s->http) drain(s);
    http_stop(s->http, 0);
    admin_destroy(s->admin);
    commands_destroy(s->commands);
    mailbox_close(s->mailbox);
    gateway_destroy(s->gateway);
    gate_destroy(s->gate);
    auth_destroy(s->auth);
    upstreams_destroy(s->upstreams);
    pings_destroy(s->pings);
    audit_mover_stop(s->audit);
    notify_stop(s->notify);
    store_close(s->store);
    notify_destroy(s->notify);
    audit_mover_destroy(s->audit);
    service_sockets_finish(&s->sockets);
}

static void tell_serving(const struct server *s)
{
    char status[STATUS_MAX];
    snprintf(status, sizeof status, "Serving devices at %s%s", http_address(s->http, 0),
             s->config->listen.count > 1 ? " and elsewhere" : "");
    service_ready(status);
}

static void tell_ready(const struct server *s)
{
    const struct config *c = s->config;
    struct kv fields[LISTENS_MAX + 2] = {0};
    size_t n = 0, admin = c->listen.count + 1; /* behind the socket */
    for (; n < c->listen.count; n++)
        fields[n] = (struct kv)KV_TEXT("listen", http_address(s->http, n));
    fields[n++] = (struct kv)KV_TEXT("admin", c->admin.socket);
    for (size_t i = 0; i < c->admin.listen.count; i++)
        fields[n++] = (struct kv)KV_TEXT("admin-https", http_address(s->http, admin + i));
    fields[n++] = (struct kv)KV_UINT("workers", http_worker_count(s->http));
    fields[n].kind = KV_END;
    /* At any level: whoever has started us waits for it. */
    log_write(LOG_INFO, 0, "ready", fields);
    tell_serving(s);
}

/* ---- do all threads go on? ---- */

/* The name of one that is at the same piece of work for that long; NULL: there is none. */
static const char *find_stuck(const struct server *s, uint64_t limit_ms)
{
    if (heart_busy_ms(&s->store->heart) >= limit_ms) return "store";
    if (heart_busy_ms(gate_heart(s->gate)) >= limit_ms) return "gate";
    for (unsigned i = 0; i < http_worker_count(s->http); i++)
        if (heart_busy_ms(worker_heart(http_worker(s->http, i))) >= limit_ms) return "worker";
    return NULL;
}

/* The watchdog hears nothing while one of them hangs, and ends the server if that lasts. */
static void look_after_threads(struct server *s, uint64_t watchdog_ms)
{
    const char *stuck = find_stuck(s, watchdog_ms ? watchdog_ms / 2 : STUCK_MS);
    if (stuck && !s->stuck) LOG(LOG_ERROR, 0, "thread-stuck", KV_TEXT("thread", stuck));
    if (!stuck && s->stuck) LOG(LOG_WARN, 0, "thread-goes-on", KV_TEXT("thread", s->stuck));
    s->stuck = stuck;
    if (!stuck && watchdog_ms) service_alive();
}

/* A password that takes minutes to verify, a disk that does not answer: whoever stops the server
 * does not wait for that. What was told to a device is on the disk already. */
static void cut(int signal)
{
    (void)signal;
    _exit(EXIT_CUT);
}

/* For all of the end. */
static unsigned stop_s(const struct server *s)
{
    return s->config->drain_timeout + SETTLE_S;
}

static void serve_until_told(struct server *s, const sigset_t *signals)
{
    const uint64_t watchdog_ms = service_watchdog_ms();
    const uint64_t tick_ms = watchdog_ms ? watchdog_ms / 4 : TICK_MS;
    const struct timespec tick = {.tv_sec = (time_t)(tick_ms / 1000),
                                  .tv_nsec = (long)(tick_ms % 1000) * 1000000};
    int which;
    do {
        look_after_threads(s, watchdog_ms);
        which = sigtimedwait(signals, NULL, &tick);
        if (which == SIGHUP) {
            service_reloading();
            reload(s);
            tell_serving(s);
        } else if (which < 0) {
            reload_look_after(s);
        }
    } while (which < 0 || which == SIGHUP);
    service_stopping(stop_s(s) * UINT64_C(1000));
    LOG(LOG_INFO, 0, "draining", KV_TEXT("signal", sigabbrev_np(which)));
    /* A second one ends the process at once. */
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &ends, NULL);
    signal(SIGALRM, cut);
    alarm(stop_s(s));
}

static int run(struct config *c)
{
    struct server s = {.config = c};
    char error[ERROR_MAX] = "";
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    /* Before the first thread: all of them inherit it. */
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a write beyond a limit of file size is an error like any other */
    log_open(level_of(c->log_level));
    raise_descriptor_limit();
    wipe_json_when_freed();
    reload_init(&s);
    bool ok =
        service_sockets_get(&s.sockets, error, sizeof error) && start(&s, error, sizeof error);
    if (ok) {
        tell_ready(&s);
        serve_until_told(&s, &signals);
    } else {
        LOG(LOG_ERROR, 0, "start-failed", KV_TEXT("why", error));
    }
    stop(&s);
    reload_finish(&s);
    LOG(LOG_INFO, 0, "stopped");
    log_close();
    return ok ? EXIT_SUCCESS : EXIT_START;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0}};
    const char *file = DEFAULT_FILE;
    bool check = false;
    char error[ERROR_MAX];
    for (int o; (o = getopt_long(argc, argv, "c:th", options, NULL)) != -1;) {
        if (o == 'c') {
            file = optarg;
        } else if (o == 't') {
            check = true;
        } else if (o == 'h') {
            usage(stdout);
            return EXIT_SUCCESS;
        } else if (o == 'V') {
            puts("provostd " PROVOST_VERSION);
            return EXIT_SUCCESS;
        } else {
            usage(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind != argc) {
        usage(stderr);
        return EXIT_USAGE;
    }
    struct config *c = config_load(file, error, sizeof error);
    if (!c) {
        fprintf(stderr, "%s\n", error);
        return EXIT_USAGE;
    }
    if (check) printf("%s: good\n", c->file);
    int rc = check ? EXIT_SUCCESS : run(c);
    config_free(c);
    return rc;
}
