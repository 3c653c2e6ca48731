/* Who waits for what: accounts, their places, and who is told. */
#include <stdlib.h>
#include <string.h>

#include "src/server/imap/inner.h"

#define REFUSED_MS 10000 /* so long a login that was not taken is not tried again */
#define LINGER_MS 300000 /* a Ping that has ended comes again, mostly */

/* ---- accounts ---- */

static uint64_t hash_of(const char *user)
{
    return map_hash(user, strlen(user), 0);
}

/* Not in constant time: both were let in by the gate, and are no one's to choose. */
static bool is_same(const struct imap_login *a, const struct imap_login *b)
{
    return a->bearer == b->bearer && strcmp(a->user, b->user) == 0 &&
           strcmp(a->secret, b->secret) == 0;
}

static void free_secret(char *secret)
{
    if (secret) explicit_bzero(secret, strlen(secret));
    free(secret);
}

static struct account *create(struct imap_hub *h, const struct imap_login *login)
{
    struct account *a = calloc(1, sizeof *a);
    char *user = strdup(login->user), *secret = strdup(login->secret);
    if (!a || !user || !secret || !map_put(&h->accounts, &a->by_user, hash_of(user))) {
        free(a);
        free(user);
        free_secret(secret);
        return NULL;
    }
    a->hub = h;
    a->login = (struct imap_login){login->bearer, user, secret};
    a->errands.end = &a->errands.first;
    return a;
}

struct account *account_of(struct imap_hub *h, const struct imap_login *login)
{
    struct map_node *n = map_first(&h->accounts, hash_of(login->user));
    for (; n; n = map_next(n)) {
        struct account *a = CONTAINER_OF(n, struct account, by_user);
        if (is_same(&a->login, login)) return a;
    }
    return create(h, login);
}

struct account *account_twin(struct account *a, struct account *after)
{
    struct map_node *n =
        after ? map_next(&after->by_user) : map_first(&a->hub->accounts, hash_of(a->login.user));
    for (; n; n = map_next(n)) {
        struct account *other = CONTAINER_OF(n, struct account, by_user);
        if (other != a && strcmp(other->login.user, a->login.user) == 0) return other;
    }
    return NULL;
}

void account_free(struct account *a)
{
    timer_stop(a->hub->worker, &a->forget);
    hub_unqueue(a);
    map_remove(&a->hub->accounts, &a->by_user);
    for (struct place *p = a->places, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    free(a->tree);
    free((char *)a->login.user);
    free_secret((char *)a->login.secret);
    free(a);
}

static void forget(struct timer *t)
{
    account_settle(CONTAINER_OF(t, struct account, forget));
}

void account_settle(struct account *a)
{
    uint64_t now = hub_now(a->hub);
    if (a->talk || a->errands.first || a->watch_count) return;
    if (a->refused_until_ms <= now)
        account_free(a);
    else
        timer_set(a->hub->worker, &a->forget, a->refused_until_ms - now, forget);
}

/* ---- places ---- */

static struct place *make_place(const char *name)
{
    struct place *p = calloc(1, sizeof *p + strlen(name) + 1);
    if (!p) return NULL;
    memcpy(p->name, name, strlen(name) + 1);
    p->stirred = true;
    return p;
}

static bool is_named(const struct place *p, const char *name)
{
    return strcmp(p->name, name) == 0 || (imap_is_inbox(p->name) && imap_is_inbox(name));
}

struct place *account_place(struct account *a, const char *name)
{
    for (struct place *p = a->places; p; p = p->next)
        if (is_named(p, name)) return p;
    return NULL;
}

static struct place *need_place(struct account *a, const char *name)
{
    if (!name) {
        if (!a->tree) a->tree = make_place("");
        return a->tree;
    }
    struct place *p = account_place(a, name);
    if (p) return p;
    p = make_place(name);
    if (!p) return NULL;
    p->left_ms = hub_now(a->hub);
    p->next = a->places;
    a->places = p;
    if (a->talk) talk_places_changed(a->talk);
    return p;
}

void account_purge_places(struct account *a)
{
    uint64_t now = hub_now(a->hub);
    for (struct place **at = &a->places; *at;) {
        struct place *p = *at;
        if (p->watches || now - p->left_ms < LINGER_MS) {
            at = &p->next;
            continue;
        }
        if (a->talk) talk_forget_place(a->talk, p);
        *at = p->next;
        free(p);
    }
}

static void tell(struct imap_watch *w, uint64_t sum)
{
    w->told = true;
    w->sum = sum;
    w->seen(w);
}

void place_seen(struct place *p, uint64_t sum, uint64_t now)
{
    p->looked = true;
    p->seen_ms = now;
    p->sum = sum;
    for (struct imap_watch *w = p->watches; w; w = w->next)
        if (!w->told || w->sum != sum) tell(w, sum);
}

void place_unreadable(struct place *p)
{
    p->looked = false;
    for (struct imap_watch *w = p->watches; w; w = w->next) tell(w, w->base);
}

void account_stir_tree(struct account *a)
{
    if (a->tree && a->tree->watches) place_seen(a->tree, a->tree->sum + 1, hub_now(a->hub));
}

void account_forget_looks(struct account *a)
{
    for (struct place *p = a->places; p; p = p->next) {
        p->looked = false;
        p->stirred = true;
    }
    if (!a->tree) return;
    a->tree->looked = false;
    a->tree->stirred = true;
}

/* ---- errands ---- */

void errand_end(struct imap_errand *e, enum imap_answer answer, unsigned retry_after)
{
    e->answer = answer;
    e->retry_after = retry_after;
    e->done(e);
}

void account_end_errands(struct account *a, enum imap_answer answer, unsigned retry_after)
{
    while (a->errands.first) {
        struct imap_errand *e = a->errands.first;
        a->errands.first = e->next;
        errand_end(e, answer, retry_after);
    }
    a->errands.end = &a->errands.first;
}

void account_refuse(struct account *a)
{
    a->refused_until_ms = hub_now(a->hub) + REFUSED_MS;
    account_end_errands(a, IMAP_ANSWER_REFUSED, 0);
    for (struct place *p = a->places; p; p = p->next)
        for (struct imap_watch *w = p->watches; w; w = w->next) {
            w->refused = true;
            w->seen(w);
        }
    for (struct imap_watch *w = a->tree ? a->tree->watches : NULL; w; w = w->next) {
        w->refused = true;
        w->seen(w);
    }
}

static void ask_run(struct task *t)
{
    struct imap_errand *e = CONTAINER_OF(t, struct imap_errand, task);
    struct account *a = e->hub->stopping ? NULL : account_of(e->hub, &e->login);
    if (!a) {
        errand_end(e, IMAP_ANSWER_LATER, HUB_RETRY_AFTER);
        return;
    }
    if (a->refused_until_ms > hub_now(e->hub)) {
        errand_end(e, IMAP_ANSWER_REFUSED, 0);
        return;
    }
    e->account = a;
    e->next = NULL;
    *a->errands.end = e;
    a->errands.end = &e->next;
    if (a->talk)
        talk_poke(a->talk);
    else
        hub_want(a);
}

void imap_ask(struct imap_hub *h, struct imap_errand *e)
{
    e->hub = h;
    e->task.fn = ask_run;
    worker_post(h->worker, &e->task);
}

/* ---- watches ---- */

/* It is linked to the place. */
static void begin(struct imap_watch *w, bool known)
{
    struct account *a = w->account;
    struct imap_hub *h = w->hub;
    if (a->refused_until_ms > hub_now(h)) {
        w->refused = true;
        w->seen(w);
        return;
    }
    if (known) {
        tell(w, w->place->sum);
    } else {
        w->place->stirred = true;
        a->due_ms = hub_now(h);
    }
    if (a->talk)
        talk_poke_soon(a->talk);
    else
        hub_want(a);
}

static void start_run(struct task *t)
{
    struct imap_watch *w = CONTAINER_OF(t, struct imap_watch, start);
    struct imap_hub *h = w->hub;
    struct account *a = account_of(h, &w->login);
    struct place *p = a ? need_place(a, w->name) : NULL;
    if (!p) {
        w->refused = true; /* no memory: whoever waits comes again */
        w->seen(w);
        if (a) account_settle(a);
        return;
    }
    bool known = a->talk && talk_knows(a->talk, p);
    w->account = a;
    w->place = p;
    w->next = p->watches;
    w->link = &p->watches;
    if (w->next) w->next->link = &w->next;
    p->watches = w;
    a->watch_count++;
    begin(w, known);
}

void imap_watch_start(struct imap_hub *h, struct imap_watch *w)
{
    w->hub = h;
    w->start.fn = start_run;
    worker_post(h->worker, &w->start);
}

static void stop_run(struct task *t)
{
    struct imap_watch *w = CONTAINER_OF(t, struct imap_watch, stop);
    struct account *a = w->account;
    struct place *p = w->place;
    if (p) {
        *w->link = w->next;
        if (w->next) w->next->link = w->link;
        if (!p->watches) p->left_ms = hub_now(w->hub);
    }
    w->stopped(w);
    if (!a) return;
    if (--a->watch_count) return;
    if (a->talk) {
        talk_poke(a->talk);
        return;
    }
    if (!a->errands.first) hub_unqueue(a);
    account_settle(a);
}

void imap_watch_stop(struct imap_watch *w)
{
    w->stop.fn = stop_run;
    worker_post(w->hub->worker, &w->stop);
}
