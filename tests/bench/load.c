/* Load for `make bench`: devices that provision, devices that wait, and what the disk itself can
 * do. Blocking sockets, a thread for each connection: simple enough to trust the figures. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "src/lib/base/base64.h"

#define ANSWER_MAX 16384
#define USERS 100 /* u0 to u99, all with the password "secret"; the devices are dealt out */
#define KEY_MAX 11
#define THREADS_MAX 256

static const char usage[] =
    "usage: bench_load handshakes PORT SECONDS CONNECTIONS   provision again and again\n"
    "       bench_load enrolments PORT SECONDS CONNECTIONS   each time as a new device\n"
    "       bench_load syncs SECONDS CONNECTIONS PORT...    FolderSync, each with the next server\n"
    "       bench_load logins PORT CONNECTIONS DEVICES STRIDE   of those whom visits brings\n"
    "       bench_load visits PORT CONNECTIONS DEVICES STRIDE SECONDS   each once, then any\n"
    "       bench_load provision PORT DEVICES               provision and FolderSync once each\n"
    "       bench_load pings PORT DEVICES FOLDER            wait until standard input ends\n"
    "       bench_load commits DIRECTORY SECONDS            write and fsync\n";

/* Provision with DeviceInformation, its acknowledgement (the key goes in the middle), and what
 * comes afterwards. */
#define HEAD "\x03\x01\x6a\x00"
#define TYPE "H\x03MS-EAS-Provisioning-WBXML\0\x01"
static const char ask[] = HEAD "\0\x0e" "E" "\0\x12" "VHW\x03" "Bench\0\x01\x01\x01"
                          "\0\x0e" "FG" TYPE "\x01\x01\x01";
static const char ack_start[] = HEAD "\0\x0e" "EFG" TYPE "I\x03";
static const char ack_end[] = "\0\x01" "K\x03" "1\0\x01\x01\x01\x01";
static const char folder_sync[] = HEAD "\0\x07" "VR\x03" "0\0\x01\x01";
static const char sync_start[] = HEAD "\0\x07" "VR\x03";
static const char sync_end[] = "\0\x01\x01";
static const char settings[] = HEAD "\0\x12" "E\x5d\x07\x01\x01"; /* whose mailbox is it? */
static const char ping_start[] = HEAD "\0\x0d" "EH\x03" "900\0\x01" "IJK\x03";
static const char ping_end[] = "\0\x01" "L\x03" "Email\0\x01\x01\x01\x01";
#define LEN(text) (sizeof(text) - 1)

#define PORTS_MAX 8

static int port, ports[PORTS_MAX];
static unsigned port_count;
static _Atomic unsigned next_device, done;
static unsigned devices, users = USERS, stride;
static double seconds;
static bool enrol;
static const char *folder;

_Noreturn static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int dial_port(int where) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)where),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (s < 0 || connect(s, (struct sockaddr *)&to, sizeof to) != 0) fail("connect");
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return s;
}

static int dial(void) {
    return dial_port(port);
}

/* cmd: NULL asks what there is, of nobody but the user. */
static void post(int s, const char *cmd, unsigned device, const char *key, const char *body,
                 size_t len) {
    char request[2048], login[32], coded[64];
    unsigned user = device % users;
    int n = snprintf(login, sizeof login, "u%u:secret", user);
    if (pv__base64_encode((const uint8_t *)login, (size_t)n, coded, sizeof coded) != PV_OK)
        fail("login");
    n = snprintf(request, sizeof request,
                 "%s /Microsoft-Server-ActiveSync?Cmd=%s&User=u%u&DeviceId=BENCH%u"
                 "&DeviceType=Bench HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %s\r\n"
                 "MS-ASProtocolVersion: 14.1\r\nX-MS-PolicyKey: %s\r\n"
                 "Content-Type: application/vnd.ms-sync.wbxml\r\nContent-Length: %zu\r\n\r\n",
                 cmd ? "POST" : "OPTIONS", cmd ? cmd : "Ping", user, device, coded, key, len);
    if (n < 0 || (size_t)n + len > sizeof request) fail("request");
    memcpy(request + n, body, len);
    for (size_t at = 0, all = (size_t)n + len; at < all;) {
        ssize_t sent = write(s, request + at, all - at);
        if (sent <= 0) fail("write");
        at += (size_t)sent;
    }
}

/* Read one answer. @return its body, of *len_out bytes, in buf */
static const char *answer(int s, char buf[ANSWER_MAX], size_t *len_out) {
    size_t have = 0, body = 0, length = 0;
    while (body == 0 || have < body + length) {
        ssize_t got = read(s, buf + have, ANSWER_MAX - 1 - have);
        if (got <= 0) fail("read");
        have += (size_t)got;
        buf[have] = '\0';
        char *end = body ? NULL : strstr(buf, "\r\n\r\n");
        if (!end) continue;
        char *field = strcasestr(buf, "\r\nContent-Length:");
        if (strncmp(buf, "HTTP/1.1 200", 12) != 0 || !field) {
            fprintf(stderr, "unexpected answer: %.60s\n", buf);
            exit(1);
        }
        body = (size_t)(end + 4 - buf);
        length = strtoul(field + 17, NULL, 10);
        if (length > ANSWER_MAX - 1 - body) fail("answer too long");
    }
    *len_out = length;
    return buf + body;
}

/* PolicyKey of a Provision answer. */
static void take_key(int s, char key[KEY_MAX]) {
    char buf[ANSWER_MAX];
    size_t len;
    const char *body = answer(s, buf, &len), *at = memmem(body, len, "I\x03", 2);
    if (!at) {
        fputs("no key in the answer\n", stderr);
        exit(1);
    }
    snprintf(key, KEY_MAX, "%s", at + 2);
}

/* Phases 2 and 3 of one device. */
static void handshake(int s, unsigned device, char key[KEY_MAX]) {
    char body[256];
    post(s, "Provision", device, "0", ask, LEN(ask));
    take_key(s, key);
    size_t key_len = strlen(key);
    memcpy(body, ack_start, LEN(ack_start));
    memcpy(body + LEN(ack_start), key, key_len);
    memcpy(body + LEN(ack_start) + key_len, ack_end, LEN(ack_end));
    post(s, "Provision", device, key, body, LEN(ack_start) + key_len + LEN(ack_end));
    take_key(s, key);
}

static void *again_and_again(void *unused) {
    unsigned device = next_device++;
    char key[KEY_MAX];
    int s = dial();
    for (double end = now() + seconds; now() < end; done++) {
        if (enrol) device = next_device++;
        handshake(s, device, key);
    }
    close(s);
    return unused;
}

static void *each_once(void *unused) {
    char key[KEY_MAX], buf[ANSWER_MAX];
    size_t len;
    int s = dial();
    for (unsigned d = next_device++; d < devices; d = next_device++) {
        handshake(s, d, key);
        post(s, "FolderSync", d, key, folder_sync, LEN(folder_sync));
        answer(s, buf, &len);
    }
    close(s);
    return unused;
}

/* ---- steady commands with the right key ---- */

/* Value of the first element of that token; what gets so far is a small positive number. */
static void take(const char *body, size_t len, char token, char *out, size_t cap) {
    const char mark[2] = {token, 3}, *at = memmem(body, len, mark, 2);
    if (!at) fail("unexpected body");
    snprintf(out, cap, "%s", at + 2);
}

/* One FolderSync. @return whether it was let in, with the SyncKey that was told */
static bool sync_once(int s, unsigned device, const char *key, char sync_key[KEY_MAX]) {
    char body[64], buf[ANSWER_MAX], status[8];
    size_t len, n = strlen(sync_key);
    memcpy(body, sync_start, LEN(sync_start));
    memcpy(body + LEN(sync_start), sync_key, n);
    memcpy(body + LEN(sync_start) + n, sync_end, LEN(sync_end));
    post(s, "FolderSync", device, key, body, LEN(sync_start) + n + LEN(sync_end));
    const char *got = answer(s, buf, &len);
    take(got, len, 'L', status, sizeof status);
    if (strcmp(status, "1") == 0) take(got, len, 'R', sync_key, KEY_MAX);
    return strcmp(status, "1") == 0;
}

static void *syncs(void *unused) {
    unsigned device = next_device++;
    int s[PORTS_MAX];
    char key[KEY_MAX], sync_key[KEY_MAX] = "0";
    for (unsigned i = 0; i < port_count; i++) s[i] = dial_port(ports[i]);
    handshake(s[0], device, key);
    if (!sync_once(s[0], device, key, sync_key)) fail("FolderSync");
    double end = now() + seconds;
    for (unsigned i = 0; now() < end; i++, done++)
        if (!sync_once(s[i % port_count], device, key, sync_key)) fail("FolderSync");
    return unused;
}

/* ---- phones of a fleet, whose rows and keys are known ---- */
enum { LOGINS, EACH_ONCE, ANY } phase;

static void visit(int s, unsigned device) {
    char buf[ANSWER_MAX], key[KEY_MAX], status[8];
    size_t len;
    if (phase == LOGINS) {
        post(s, NULL, device, "0", "", 0);
        answer(s, buf, &len);
        return;
    }
    snprintf(key, sizeof key, "%u", device * 2246822519u | 1);
    post(s, "Settings", device, key, settings, LEN(settings));
    const char *got = answer(s, buf, &len);
    take(got, len, 'F', status, sizeof status);
    if (strcmp(status, "1") != 0) fail("Settings");
}

static void *visits(void *unused) {
    int s = dial();
    unsigned seed = next_device * 2654435761u + 1;
    double end = now() + seconds;
    if (phase == ANY) {
        for (; now() < end; done++) {
            seed = seed * 1664525u + 1013904223u;
            visit(s, (seed >> 8) % devices * stride);
        }
    } else {
        for (unsigned i = next_device++; i < devices; i = next_device++, done++)
            visit(s, i * stride);
    }
    close(s);
    return unused;
}

static void run_threads(void *(*body)(void *), unsigned count) {
    pthread_t threads[THREADS_MAX];
    if (count > THREADS_MAX) count = THREADS_MAX;
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, body, NULL) != 0) fail("pthread_create");
    for (unsigned i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

/* So many of them a second, on so many connections. */
static int rate(void *(*body)(void *), const char *connections) {
    double began = now();
    run_threads(body, (unsigned)strtoul(connections, NULL, 10));
    printf("%.0f\n", done / (now() - began));
    return 0;
}

static int pings(void) {
    struct rlimit most = {devices + 100, devices + 100};
    char body[256], c;
    size_t n = strlen(folder);
    if (setrlimit(RLIMIT_NOFILE, &most) != 0) fail("setrlimit");
    if (n > 64) fail("folder");
    memcpy(body, ping_start, LEN(ping_start));
    memcpy(body + LEN(ping_start), folder, n);
    memcpy(body + LEN(ping_start) + n, ping_end, LEN(ping_end));
    for (unsigned d = 0; d < devices; d++)
        post(dial(), "Ping", d, "0", body, LEN(ping_start) + n + LEN(ping_end));
    puts("sent");
    fflush(stdout);
    while (read(STDIN_FILENO, &c, 1) > 0) continue;
    return 0;
}

static int commits(const char *directory) {
    char path[4096], page[4096] = {0};
    unsigned count = 0;
    snprintf(path, sizeof path, "%s/commits", directory);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) fail(path);
    double began = now();
    for (; now() < began + seconds; count++)
        if (write(fd, page, sizeof page) != sizeof page || fsync(fd) != 0) fail(path);
    printf("%.0f\n", count / (now() - began));
    close(fd);
    unlink(path);
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fputs(usage, stderr);
        return 2;
    }
    if (strcmp(argv[1], "commits") == 0) {
        seconds = strtod(argv[3], NULL);
        return commits(argv[2]);
    }
    if (strcmp(argv[1], "syncs") == 0) {
        seconds = strtod(argv[2], NULL);
        for (int i = 4; i < argc && port_count < PORTS_MAX; i++)
            ports[port_count++] = (int)strtol(argv[i], NULL, 10);
        if (port_count) return rate(syncs, argv[3]);
    }
    port = (int)strtol(argv[2], NULL, 10);
    enrol = strcmp(argv[1], "enrolments") == 0;
    if ((enrol || strcmp(argv[1], "handshakes") == 0) && argc == 5) {
        seconds = strtod(argv[3], NULL);
        return rate(again_and_again, argv[4]);
    }
    if (argc >= 6 && (strcmp(argv[1], "logins") == 0 || strcmp(argv[1], "visits") == 0)) {
        devices = (unsigned)strtoul(argv[4], NULL, 10);
        stride = (unsigned)strtoul(argv[5], NULL, 10);
        seconds = argc > 6 ? strtod(argv[6], NULL) : 0;
        users = UINT_MAX;
        phase = seconds > 0 ? EACH_ONCE : LOGINS;
        rate(visits, argv[3]);
        if (phase == LOGINS) return 0;
        phase = ANY;
        next_device = done = 0;
        return rate(visits, argv[3]);
    }
    devices = (unsigned)strtoul(argv[3], NULL, 10);
    if (strcmp(argv[1], "provision") == 0) {
        run_threads(each_once, 32);
        return 0;
    }
    if (strcmp(argv[1], "pings") == 0 && argc == 5) {
        folder = argv[4];
        return pings();
    }
    fputs(usage, stderr);
    return 2;
}
