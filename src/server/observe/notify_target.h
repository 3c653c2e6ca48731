/* Inside the notifier: somebody who is told. One attempt at a time, which never blocks. */
#ifndef PROVOSTD_NOTIFY_TARGET_H
#define PROVOSTD_NOTIFY_TARGET_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum notify_state { NOTIFY_RUNNING, NOTIFY_TAKEN, NOTIFY_REFUSED };

struct notify_why { char text[CURL_ERROR_SIZE]; };

/* ---- notify_program.c ---- */
struct notify_program {
    const char *path;
    unsigned timeout_ms;
    pid_t pid;  /* 0: it does not run */
    int pid_fd; /* readable when it has ended; -1: the kernel has no such thing */
    int64_t deadline;
    bool late; /* and killed for it */
};
/* false: why is set. */
bool notify_program_start(struct notify_program *p, const char *body, int64_t now,
                          struct notify_why *why);
enum notify_state notify_program_look(struct notify_program *p, int64_t now,
                                      struct notify_why *why);
/* Kills it and all of its process group. Waits for its end for a moment only. */
void notify_program_abort(struct notify_program *p);

/* ---- notify_post.c ---- */
struct notify_post {
    CURLM *multi; /* the notifier's */
    CURL *easy;   /* NULL: none is posted to */
    struct curl_slist *headers;
    struct notify_why why;
    bool running, ended;
    CURLcode result; /* once ended */
};
/* false: no memory. */
bool notify_post_init(struct notify_post *p, CURLM *multi, const char *url, unsigned timeout_ms);
void notify_post_finish(struct notify_post *p);
/* body is borrowed until it has ended. */
bool notify_post_start(struct notify_post *p, const char *body, struct notify_why *why);
/* After curl_multi_perform. */
enum notify_state notify_post_look(struct notify_post *p, struct notify_why *why);
void notify_post_abort(struct notify_post *p);

#endif
