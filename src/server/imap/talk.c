/* A connection: what is to be done over it next, and when. */
#include "src/server/imap/talk.h"

#include <stdlib.h>
#include <string.h>

#define SETTLE_MS 100                       /* a delivery may be several pieces of news */
#define RENEW_MS (UINT64_C(27) * 60 * 1000) /* RFC 2177: servers hang up after 30 minutes */
#define REST_MS 30000                       /* a FolderSync is followed by a Ping */
#define RARELY 5               /* polls: the tree, and what the server should tell by itself */
#define FRESH_MS 2000          /* a Ping has looked before it waits */
#define LOGIN_TRUSTED_MS 60000 /* a login this young need not be tried again */

bool talk_knows(const struct talk *t, const struct place *p)
{
    bool fresh = hub_now(t->account->hub) - p->seen_ms < FRESH_MS;
    return p->looked && !p->stirred && (p->watches || fresh);
}

void talk_places_changed(struct talk *t)
{
    t->notifies = false;
}

void talk_forget_place(struct talk *t, const struct place *p)
{
    for (unsigned i = 0; i < t->looking_count; i++)
        if (t->looking_at[i] == p) t->looking_at[i] = NULL;
}

/* ---- when ---- */

static uint64_t rarely(const struct talk *t)
{
    return (uint64_t)RARELY * t->account->hub->settings.poll_ms;
}

static uint64_t poll_every(const struct talk *t)
{
    return t->way == WAY_NOTIFY ? rarely(t) : t->account->hub->settings.poll_ms;
}

static void earliest(uint64_t *at, uint64_t when)
{
    if (when && (!*at || when < *at)) *at = when;
}

static void time_is_up(struct timer *t);

static void sleep_on(struct talk *t)
{
    uint64_t at = 0, now = hub_now(t->account->hub);
    earliest(&at, t->settle_ms);
    if (t->held) {
        earliest(&at, t->renew_ms);
        earliest(&at, t->poll_ms);
        earliest(&at, t->tree_ms);
    }
    if (t->rests) earliest(&at, t->rest_ms);
    if (at)
        timer_set(t->account->hub->worker, &t->timer, at > now ? at - now : 0, time_is_up);
    else
        timer_stop(t->account->hub->worker, &t->timer);
}

/* All but what is selected: of that every server tells. Of the others it may hear late itself, when mail is
 * put into its folders behind its back. */
static void stir_all(struct talk *t)
{
    bool selects = t->way != WAY_POLL && t->examined;
    for (struct place *p = t->account->places; p; p = p->next)
        if (p->watches && !(selects && strcmp(t->examined, p->name) == 0)) p->stirred = true;
}

static void time_is_up(struct timer *timer)
{
    struct talk *t = CONTAINER_OF(timer, struct talk, timer);
    uint64_t now = hub_now(t->account->hub);
    if (t->rests && t->rest_ms <= now) {
        talk_close(t, true, IMAP_ANSWER_LATER, 0);
        return;
    }
    if (t->settle_ms && t->settle_ms <= now) t->settle_ms = 0;
    if (t->poll_ms && t->poll_ms <= now) {
        t->poll_ms = now + poll_every(t);
        stir_all(t);
    }
    if (t->tree_ms && t->tree_ms <= now) {
        t->tree_ms = now + rarely(t);
        if (t->account->tree) t->account->tree->stirred = true;
    }
    talk_poke(t);
}

void talk_stir(struct talk *t, struct place *p)
{
    if (!p) return;
    p->stirred = true;
    if (t->settle_ms || !p->watches) return;
    t->settle_ms = hub_now(t->account->hub) + SETTLE_MS;
    if (t->step == STEP_NONE || t->step == STEP_IDLE) sleep_on(t);
}

/* ---- what next ---- */

static void lose(struct talk *t)
{
    hub_lost(t, IMAP_END_BROKEN, "the connection is lost, or no memory");
}

/* true: something was said, or t is gone. */
static bool say(struct talk *t, enum said (*what)(struct talk *))
{
    switch (what(t)) {
    case SAID: return true;
    case SAID_LOST: lose(t); return true;
    default: return false;
    }
}

/* From now on the server tells, or it is asked at intervals. */
static void begin_to_watch(struct talk *t)
{
    uint64_t now = hub_now(t->account->hub);
    t->renew_ms = now + RENEW_MS;
    if (!t->poll_ms) t->poll_ms = now + poll_every(t);
    if (!t->tree_ms) t->tree_ms = now + rarely(t);
}

static void rest(struct talk *t)
{
    hub_unhold(t);
    if (t->rests) return;
    t->rest_ms = hub_now(t->account->hub) + REST_MS;
    hub_rest(t);
    sleep_on(t);
}

static bool has_time_come(const struct talk *t, uint64_t when)
{
    return when && when <= hub_now(t->account->hub);
}

/* Nothing is under way. */
static void go_on(struct talk *t)
{
    struct account *a = t->account;
    if (say(t, talk_say_errand)) return;
    if (a->watch_count == 0) {
        rest(t);
        return;
    }
    if (!t->held && hub_hold(t)) begin_to_watch(t);
    if (t->held && say(t, talk_say_watch)) return;
    if (!t->settle_ms && (say(t, talk_say_tree) || say(t, talk_say_looks))) return;
    if (!t->held) { /* it was his turn */
        uint64_t now = hub_now(a->hub);
        if (a->turn_ms) a->hub->turn_ms = (unsigned)(now - a->turn_ms);
        a->turn_ms = now;
        a->polled = true;
        a->due_ms = now + a->hub->settings.poll_ms;
        talk_close(t, true, IMAP_ANSWER_LATER, 0);
        return;
    }
    if (has_time_come(t, t->renew_ms)) {
        begin_to_watch(t);
        if (!talk_idles(t) && say(t, talk_say_noop)) return;
    }
    begin_to_watch(t);
    sleep_on(t);
    if (talk_idles(t)) (void)say(t, talk_say_idle);
}

static bool is_stirred(const struct place *p)
{
    return p->watches && p->stirred;
}

/* Something that IDLE must be left for. */
static bool has_work(const struct talk *t)
{
    const struct account *a = t->account;
    if (a->errands.first || !t->held || has_time_come(t, t->renew_ms)) return true;
    if (t->settle_ms) return false;
    if (a->tree && is_stirred(a->tree)) return true;
    for (const struct place *p = a->places; p; p = p->next)
        if (is_stirred(p)) return true;
    return false;
}

void talk_poke(struct talk *t)
{
    const struct account *a = t->account;
    bool wanted = a->errands.first || a->watch_count;
    if (!t->ready) return;
    if (t->rests && wanted) hub_unrest(t);
    if (t->step == STEP_NONE)
        go_on(t);
    else if (t->step != STEP_IDLE)
        return;
    else if (!wanted)
        rest(t); /* the server may go on telling meanwhile */
    else if (!has_work(t))
        sleep_on(t);
    else if (!imap_leave_idle(&t->session))
        lose(t);
}

void talk_poke_soon(struct talk *t)
{
    timer_set(t->account->hub->worker, &t->timer, 0, time_is_up);
}

/* ---- the session ---- */

static void ready(struct imap_session *s)
{
    struct talk *t = CONTAINER_OF(s, struct talk, session);
    struct account *a = t->account, *twin = NULL;
    uint64_t now = hub_now(a->hub);
    t->ready = true;
    if (!a->polled) a->turn_ms = 0;
    a->polled = false;
    a->due_ms = now;
    t->way = s->caps & IMAP_CAP(NOTIFY) ? WAY_NOTIFY
             : s->caps & IMAP_CAP(IDLE) ? WAY_IDLE
                                        : WAY_POLL;
    hub_ready(t);
    /* Another password is good: perhaps it has taken the place of the one before. Whoever waits with
     * that must hear of it. */
    while ((twin = account_twin(a, twin))) {
        struct talk *old = twin->talk;
        if (!old || !old->ready || now - old->begun_ms < LOGIN_TRUSTED_MS) continue;
        talk_close(old, true, IMAP_ANSWER_LATER, 0);
        twin = NULL; /* it may be freed */
    }
    talk_poke(t);
}

static void data(struct imap_session *s, const struct imap_response *r)
{
    talk_take(CONTAINER_OF(s, struct talk, session), r);
}

/* A look at one place has ended. */
static void look_done(struct talk *t, unsigned what)
{
    struct place *p = what < t->looking_count ? t->looking_at[what] : NULL;
    if (!p) return;
    t->looking_at[what] = NULL; /* nothing was told: it may have gone */
    place_unreadable(p);
    if (t->account->tree) t->account->tree->stirred = true;
}

static void done(struct imap_session *s, unsigned what, const struct imap_response *r)
{
    struct talk *t = CONTAINER_OF(s, struct talk, session);
    if (t->step == STEP_WATCH_LOOK)
        look_done(t, what);
    else if (t->step != STEP_LOOK && t->step != STEP_IDENTIFY)
        t->failed = r->status != IMAP_OK;
    if (!imap_is_idle(s)) return;
    switch (talk_say_more(t)) {
    case SAID: return;
    case SAID_LOST: lose(t); return;
    case SAID_NOTHING: break;
    }
    talk_step_ended(t);
    t->step = STEP_NONE;
    t->failed = false;
    go_on(t);
}

static void ended(struct imap_session *s, enum imap_end how, const char *why)
{
    hub_lost(CONTAINER_OF(s, struct talk, session), how, why);
}

/* ---- open, close ---- */

struct talk *talk_open(struct account *a)
{
    struct talk *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->account = a;
    t->session.ready = ready;
    t->session.data = data;
    t->session.done = done;
    t->session.ended = ended;
    t->listing_for.end = &t->listing_for.first;
    t->begun_ms = hub_now(a->hub);
    if (imap_session_open(&t->session, a->hub->net, &a->login, a->hub->settings.quiet_ms)) {
        a->talk = t;
        return t;
    }
    free(t);
    return NULL;
}

void talk_close(struct talk *t, bool polite, enum imap_answer answer, unsigned retry_after)
{
    struct account *a = t->account;
    imap_session_close(&t->session, polite);
    timer_stop(a->hub->worker, &t->timer);
    a->talk = NULL;
    account_forget_looks(a);
    hub_closed(t);
    while (t->listing_for.first) {
        struct imap_errand *e = t->listing_for.first;
        t->listing_for.first = e->next;
        errand_end(e, answer, retry_after);
    }
    if (t->looking_for) errand_end(t->looking_for, answer, retry_after);
    imap_listing_release(t->listing);
    free(t->examined);
    free(t);
    if (a->errands.first || a->watch_count)
        hub_want(a);
    else
        account_settle(a);
}

static void ask_again(struct talk *t, struct imap_errand *e)
{
    struct errands *queue = &t->account->errands;
    e->again = true;
    e->next = queue->first;
    if (!queue->first) queue->end = &e->next;
    queue->first = e;
}

void talk_ask_again(struct talk *t)
{
    for (struct imap_errand **at = &t->listing_for.first; *at;) {
        struct imap_errand *e = *at;
        if (e->again) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        ask_again(t, e);
    }
    if (!t->looking_for || t->looking_for->again) return;
    ask_again(t, t->looking_for);
    t->looking_for = NULL;
}

bool talk_is_asked(const struct talk *t)
{
    return t->listing_for.first || t->looking_for;
}
