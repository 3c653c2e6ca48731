/* A server with a handler for tests, and a client that says what it likes. */
#ifndef TESTS_HTTP_BENCH_H
#define TESTS_HTTP_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/server/http/http.h"

#define BODY_MAX 65536
#define ANSWER_CAP (256 * 1024)

enum { PLAIN, UNIX_SOCKET, TLS, LISTENERS };

/* Targets that the handler knows: /empty, /big, /huge, /fields, /forget, /no (answered at the
 * head), and those that wait N ms: /waitN (told when the peer goes away, ends at once), /slowN
 * (told, ends in time), /shortN (not told), /untilN (answered when the server stops, /waitN hangs up
 * then), /pool (a job). Others are echoed. */
extern struct http_server *server;
extern char socket_path[64], cert_path[64], key_path[64], ca_path[64];
extern atomic_uint gone_count, stop_count, freed_count, served_count, waiting_count;
void serve(struct http_exchange *x, void *ctx);

struct talk {
    int fd;
    char *buf;
    size_t len;
};

#define GET(target) "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"

int connect_to(unsigned listener);
struct talk begin_on(int fd);
struct talk begin(void); /* on PLAIN */
void end(struct talk *t);
void say_bytes(struct talk *t, const char *bytes, size_t len);
void say(struct talk *t, const char *text);
/* 1: something came; 0: closed; -1: nothing within ms. */
int hear(struct talk *t, int ms);
/* Takes one answer; its text stays in *out until the next. The status; 0: closed before. */
unsigned answer(struct talk *t, const char **out);
bool closes_within(struct talk *t, int ms);
const char *body_of(const char *text);
/* A byte every 100 ms; returns the milliseconds until the server had enough. */
uint64_t drip(struct talk *t, const char *bytes);
uint64_t now_ms(void);
void until(atomic_uint *count, unsigned want);

void make_certificate(const char *name);
/* A pair in the files' folder, NAME.pem and NAME-key.pem. by: NAME of who signs, NULL for itself. */
void make_pair(const char *name, const char *by, const char *templ);
/* Path of a file of theirs; valid until the next call. */
const char *file_of(const char *name);
/* How the server is started. */
void make_listens(struct http_listen listens[LISTENERS]);
/* Other terms; NULL: the usual ones, with the files read again. */
bool change(const struct http_listen *listens, char *error, size_t error_cap);
/* For cmocka: a server for each test, files for all of them. */
int start(void **state);
int stop(void **state);
int make_files(void **state);
int remove_files(void **state);

#endif
