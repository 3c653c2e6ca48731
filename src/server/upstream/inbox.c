#include "src/server/upstream/inbox.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/auth/url.h"
#include "src/server/imap/hub.h"
#include "src/server/imap/secret.h"

#define ASK_MS 30000  /* an answer of the IMAP server */
#define POLL_MS 60000 /* where it does not tell by itself */

struct inboxes {
    const struct config *config;
    struct imap_hub *hub;
    pthread_mutex_t lock; /* of what the hub's thread and a worker share of an inbox */
};

struct inbox {
    struct imap_watch imap;
    struct imap_secret secret;
    struct inboxes *all;
    struct worker *home;
    struct task told;
    void (*news)(void *ctx);
    void *ctx;
    /* Under the lock: */
    bool known; /* sum is what it was */
    uint64_t sum;
    bool on_its_way, left;
};

static void told_run(struct task *t)
{
    struct inbox *i = CONTAINER_OF(t, struct inbox, told);
    pthread_mutex_lock(&i->all->lock);
    i->on_its_way = false;
    pthread_mutex_unlock(&i->all->lock);
    i->news(i->ctx); /* i may be on its way out */
}

/* On the hub's thread. The first word of it says what is there already, which the device's first look finds. */
static void seen(struct imap_watch *w)
{
    struct inbox *i = CONTAINER_OF(w, struct inbox, imap);
    pthread_mutex_lock(&i->all->lock);
    bool changed = !w->refused && i->known && i->sum != w->sum;
    if (!w->refused) {
        i->known = true;
        i->sum = w->sum;
    }
    bool post = changed && !i->on_its_way && !i->left;
    i->on_its_way = i->on_its_way || post;
    pthread_mutex_unlock(&i->all->lock);
    if (post) worker_post(i->home, &i->told);
}

static void stopped(struct imap_watch *w)
{
    struct inbox *i = CONTAINER_OF(w, struct inbox, imap);
    imap_secret_free(&i->secret);
    free(i);
}

struct inbox *inbox_watch(struct inboxes *b, const char *user, const char *authorization,
                          void (*news)(void *ctx), void *ctx)
{
    struct inbox *i = calloc(1, sizeof *i);
    if (!i || !imap_secret_make(&i->secret, config_now(b->config)->upstream.ping.imap.user, user,
                                config_now(b->config)->domain, authorization)) {
        free(i);
        return NULL;
    }
    if (!*i->secret.text) {
        stopped(&i->imap);
        return NULL;
    }
    i->all = b;
    i->home = worker_self();
    i->told.fn = told_run;
    i->news = news;
    i->ctx = ctx;
    i->imap.login = i->secret.login;
    i->imap.name = "INBOX";
    i->imap.seen = seen;
    i->imap.stopped = stopped;
    imap_watch_start(b->hub, &i->imap);
    return i;
}

bool inbox_leave(struct inbox *i)
{
    if (!i) return true;
    pthread_mutex_lock(&i->all->lock);
    i->left = !i->on_its_way;
    bool left = i->left;
    pthread_mutex_unlock(&i->all->lock);
    if (left) imap_watch_stop(&i->imap);
    return left;
}

struct inboxes *inboxes_open(const struct config *c, char *error, size_t error_cap)
{
    *error = '\0';
    if (!c->upstream.ping.imap.url) return NULL;
    const struct imap_settings settings = {
        .peer = {.url = c->upstream.ping.imap.url,
                 .ca_file = c->upstream.ping.imap.ca_file,
                 .starttls = !urls_are_loopback(c->upstream.ping.imap.url),
                 .connect_ms = c->upstream.connect_timeout * 1000},
        .connections = c->upstream.ping.imap.connections,
        .quiet_ms = ASK_MS,
        .poll_ms = POLL_MS,
    };
    struct inboxes *b = calloc(1, sizeof *b);
    if (!b) {
        snprintf(error, error_cap, "no memory for watching Inboxes");
        return NULL;
    }
    pthread_mutex_init(&b->lock, NULL);
    b->config = c;
    b->hub = imap_hub_open(&settings, error, error_cap);
    if (b->hub) return b;
    inboxes_close(b);
    return NULL;
}

void inboxes_close(struct inboxes *b)
{
    if (!b) return;
    imap_hub_close(b->hub);
    pthread_mutex_destroy(&b->lock);
    free(b);
}
