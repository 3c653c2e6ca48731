/* A connection: what is said in each step, and what the answers mean. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/lib/base/text.h"
#include "src/server/imap/talk.h"
#include "src/server/observe/log.h"

#define COMMAND_MAX ((size_t)8192) /* bytes of a command: what servers take (RFC 7162 4) */
#define NAMES_MAX 100              /* folders that NOTIFY names; beyond, all are asked for */
#define OVERFLOWS_MAX 3
#define LIST_PATIENCE \
    3 /* times quiet_ms: Dovecot reads thousands of folders before it says a word */

#define NEEDED (IMAP_TOLD_VALIDITY | IMAP_TOLD_NEXT | IMAP_TOLD_MESSAGES | IMAP_TOLD_UNSEEN)

static bool can(const struct talk *t, uint32_t cap)
{
    return (t->session.caps & cap) != 0;
}

static enum said say(struct talk *t, enum step step, const char *text)
{
    t->step = step;
    return imap_say(&t->session, step, text) ? SAID : SAID_LOST;
}

/* ---- looks ---- */

static enum said say_status(struct talk *t, unsigned what, const char *name, const char *items)
{
    char text[IMAP_QUOTED_MAX + 128], quoted[IMAP_QUOTED_MAX];
    size_t len;
    if (!imap_quote(name, quoted, sizeof quoted, &len)) return SAID_NOTHING;
    snprintf(text, sizeof text, "STATUS %s (%s)", quoted, items);
    return imap_say(&t->session, what, text) ? SAID : SAID_LOST;
}

static const char *look_items(const struct talk *t)
{
    return can(t, IMAP_CAP(CONDSTORE)) ? "MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ"
                                       : "MESSAGES UIDNEXT UIDVALIDITY UNSEEN";
}

static uint64_t sum_of(const struct imap_counts *c)
{
    uint64_t facts[] = {c->validity, c->next, c->messages, c->unseen, c->modseq};
    return map_hash(facts, sizeof facts, 0);
}

static enum said look_on(struct talk *t)
{
    struct imap_errand *e = t->looking_for;
    enum said said = SAID_NOTHING;
    for (unsigned n = 0; e && n < IMAP_PIPELINE_MAX && e->looked < e->look_count; e->looked++) {
        enum said one = say_status(t, STEP_LOOK, e->looks[e->looked].name, look_items(t));
        if (one == SAID_LOST) return SAID_LOST;
        if (one == SAID) said = SAID;
        n += one == SAID;
    }
    return said;
}

enum said talk_say_looks(struct talk *t)
{
    enum said said = SAID_NOTHING;
    t->looking_count = 0;
    for (struct place *p = t->account->places; p; p = p->next) {
        if (!p->watches || !p->stirred) continue;
        if (t->looking_count == IMAP_PIPELINE_MAX) break;
        p->stirred = false;
        said = say_status(t, t->looking_count, p->name, look_items(t));
        if (said == SAID_LOST) return SAID_LOST;
        if (said == SAID)
            t->looking_at[t->looking_count++] = p;
        else
            place_unreadable(p);
    }
    if (t->looking_count == 0) return SAID_NOTHING;
    t->step = STEP_WATCH_LOOK;
    return SAID;
}

static void take_look(struct talk *t, const struct imap_counts *c)
{
    struct imap_errand *e = t->looking_for;
    for (size_t i = 0; e && i < e->looked; i++) {
        struct imap_look *l = &e->looks[i];
        if (strcmp(l->name, c->name) != 0 && !(imap_is_inbox(l->name) && imap_is_inbox(c->name)))
            continue;
        l->good = true;
        l->sum = sum_of(c);
    }
    struct place *p = account_place(t->account, c->name);
    if (!p || (!p->watches && !p->looked)) return;
    bool is_another = p->looked && p->validity && p->validity != c->validity;
    talk_forget_place(t, p);
    p->validity = c->validity;
    /* Made anew under the same name: another folder, with another ServerId. That is told first. */
    if (is_another) account_stir_tree(t->account);
    place_seen(p, sum_of(c), hub_now(t->account->hub));
}

/* ---- lists ---- */

static const char *identity_items(const struct talk *t)
{
    return can(t, IMAP_CAP(OBJECTID)) ? "UIDVALIDITY MAILBOXID" : "UIDVALIDITY";
}

/* With a selection, or with something to be returned. */
static bool lists_extended(const struct talk *t)
{
    return can(t, IMAP_CAP(LIST_EXTENDED)) && !t->plain_list;
}

/* identities: of a list for somebody; the tree alone is compared by names. */
static enum said say_list(struct talk *t, bool identities)
{
    char text[256], status[64] = "";
    bool subscribed = t->account->hub->settings.subscribed;
    t->session.quiet_ms = LIST_PATIENCE * t->account->hub->settings.quiet_ms;
    imap_listing_release(t->listing);
    t->listing = imap_listing_create();
    if (!t->listing) return SAID_LOST;
    t->listing->utf8 = t->session.utf8;
    if (t->account->tree) t->account->tree->stirred = false;
    if (!lists_extended(t)) return say(t, STEP_LIST, "LIST \"\" \"*\"");
    if (identities && can(t, IMAP_CAP(LIST_STATUS)))
        snprintf(status, sizeof status, " STATUS (%s)", identity_items(t));
    snprintf(text, sizeof text, "LIST %s\"\" \"*\" RETURN (SUBSCRIBED%s%s)",
             subscribed ? "(SUBSCRIBED) " : "", can(t, IMAP_CAP(SPECIAL_USE)) ? " SPECIAL-USE" : "",
             status);
    return say(t, STEP_LIST, text);
}

static enum said identify_on(struct talk *t)
{
    enum said said = SAID_NOTHING;
    for (unsigned n = 0; t->unidentified && n < IMAP_PIPELINE_MAX;
         t->unidentified = t->unidentified->next) {
        enum said one = say_status(t, STEP_IDENTIFY, t->unidentified->name, identity_items(t));
        if (one == SAID_LOST) return SAID_LOST;
        if (one == SAID) said = SAID;
        n += one == SAID;
    }
    if (said == SAID) t->step = STEP_IDENTIFY;
    return said;
}

enum said talk_say_errand(struct talk *t)
{
    struct errands *errands = &t->account->errands;
    while (errands->first && errands->first->looks) {
        struct imap_errand *e = errands->first;
        errands->first = e->next;
        if (!errands->first) errands->end = &errands->first;
        t->looking_for = e;
        e->looked = 0;
        enum said said = look_on(t);
        t->step = STEP_LOOK;
        if (said != SAID_NOTHING) return said;
        t->looking_for = NULL;
        t->step = STEP_NONE;
        errand_end(e, IMAP_ANSWER_OK, 0); /* none of the names can be said */
    }
    if (!errands->first) return SAID_NOTHING;
    /* One list for all who wait for one now. */
    for (struct imap_errand **at = &errands->first; *at;) {
        struct imap_errand *e = *at;
        if (e->looks) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        if (!*at) errands->end = at;
        e->next = NULL;
        *t->listing_for.end = e;
        t->listing_for.end = &e->next;
    }
    return say_list(t, true);
}

enum said talk_say_tree(struct talk *t)
{
    const struct place *tree = t->account->tree;
    if (!tree || !tree->watches || !tree->stirred) return SAID_NOTHING;
    return say_list(t, false);
}

/* The list is whole, or there is none. */
static void listing_ended(struct talk *t)
{
    struct imap_listing *l = t->listing;
    struct account *a = t->account;
    t->listing = NULL;
    t->unidentified = NULL;
    t->session.quiet_ms = a->hub->settings.quiet_ms;
    if (l->failed)
        LOG(LOG_WARN, 0, "mailbox-not-listed", KV_TEXT("user", a->login.user),
            KV_UINT("folders", l->count), KV_UINT("limit", IMAP_FOLDERS_MAX));
    bool good = !l->failed && !t->failed;
    if (good && a->tree) place_seen(a->tree, imap_listing_sum(l), hub_now(a->hub));
    if (!good && a->tree && !a->tree->looked) place_unreadable(a->tree);
    while (t->listing_for.first) {
        struct imap_errand *e = t->listing_for.first;
        t->listing_for.first = e->next;
        if (good) e->listing = imap_listing_hold(l);
        errand_end(e, good ? IMAP_ANSWER_OK : IMAP_ANSWER_NO, 0);
    }
    t->listing_for.end = &t->listing_for.first;
    imap_listing_release(l);
}

/* ---- steps that take more than one round ---- */

static enum said list_on(struct talk *t)
{
    bool subscribed = t->account->hub->settings.subscribed;
    bool extended = lists_extended(t);
    if (t->failed && t->step == STEP_LIST && extended) {
        t->plain_list = true; /* it has promised more than it keeps */
        t->failed = false;
        return say_list(t, t->listing_for.first);
    }
    if (t->failed) return SAID_NOTHING;
    if (t->step == STEP_LIST && subscribed && !extended)
        return say(t, STEP_SUBSCRIBED, "LSUB \"\" \"*\"");
    if (t->step == STEP_SUBSCRIBED) imap_listing_keep_subscribed(t->listing);
    imap_listing_end(t->listing, &t->session.spaces);
    if (!t->listing_for.first || (extended && can(t, IMAP_CAP(LIST_STATUS)))) return SAID_NOTHING;
    t->unidentified = t->listing->first;
    return identify_on(t);
}

enum said talk_say_more(struct talk *t)
{
    switch (t->step) {
    case STEP_LIST:
    case STEP_SUBSCRIBED: return list_on(t);
    case STEP_IDENTIFY: return identify_on(t);
    case STEP_LOOK: return look_on(t);
    default: return SAID_NOTHING;
    }
}

/* ---- the server tells by itself ---- */

#define MESSAGES "MessageNew MessageExpunge FlagChange"

/* What is watched in quotes; false: it does not fit, or there is nothing. */
static bool name_places(struct talk *t, char *buf, size_t cap)
{
    char quoted[IMAP_QUOTED_MAX];
    struct pv__out out;
    size_t count = 0, len;
    pv__out_init(&out, buf, cap);
    for (const struct place *p = t->account->places; p; p = p->next) {
        if (!imap_quote(p->name, quoted, sizeof quoted, &len)) continue;
        if (count++) pv__out_text(&out, " ");
        pv__out_bytes(&out, quoted, len);
    }
    return pv__out_end(&out, NULL) == PV_OK && count > 0 && count <= NAMES_MAX;
}

/* NOTIFY (RFC 5465) of what is selected, of the other folders that are watched, and of folders that come
 * and go. */
static enum said say_notify(struct talk *t)
{
    char text[COMMAND_MAX], names[COMMAND_MAX - 512];
    bool subscribed = t->account->hub->settings.subscribed;
    const char *tree = subscribed ? "MailboxName SubscriptionChange" : "MailboxName";
    const char *selected = t->examined ? "(selected-delayed (" MESSAGES ")) " : "";
    account_purge_places(t->account);
    if (name_places(t, names, sizeof names))
        snprintf(text, sizeof text,
                 "NOTIFY SET %s(mailboxes (%s) (MailboxName " MESSAGES ")) (personal (%s))",
                 selected, names, tree);
    else
        snprintf(text, sizeof text, "NOTIFY SET %s(personal (%s " MESSAGES "))", selected, tree);
    t->notifies = true;
    /* What has happened between two NOTIFYs is told by neither. */
    for (struct place *p = t->account->places; p; p = p->next) p->stirred = true;
    if (t->account->tree) t->account->tree->stirred = true;
    return say(t, STEP_NOTIFY, text);
}

/* The Inbox if somebody waits for it, else what is selected already, else any folder. */
static const struct place *place_for_idle(const struct talk *t)
{
    const struct place *best = NULL;
    for (const struct place *p = t->account->places; p; p = p->next) {
        if (!p->watches) continue;
        if (imap_is_inbox(p->name)) return p;
        if (!best || (t->examined && strcmp(t->examined, p->name) == 0)) best = p;
    }
    return best;
}

/* Read only, so that nothing counts as seen. */
static enum said say_examine(struct talk *t)
{
    char text[IMAP_QUOTED_MAX + 16], quoted[IMAP_QUOTED_MAX];
    size_t len;
    const struct place *p = place_for_idle(t);
    if (!p || (t->examined && strcmp(t->examined, p->name) == 0)) return SAID_NOTHING;
    free(t->examined);
    t->examined = strdup(p->name);
    if (!t->examined) return SAID_LOST;
    t->notifies = false; /* it has another part for what is selected */
    if (!imap_quote(p->name, quoted, sizeof quoted, &len)) return SAID_NOTHING;
    snprintf(text, sizeof text, "EXAMINE %s", quoted);
    return say(t, STEP_EXAMINE, text);
}

enum said talk_say_watch(struct talk *t)
{
    if (t->way == WAY_POLL) return SAID_NOTHING;
    enum said said = say_examine(t);
    if (said != SAID_NOTHING || t->way != WAY_NOTIFY || t->notifies) return said;
    return say_notify(t);
}

/* With NOTIFY, too: Dovecot tells of what is selected then only. */
bool talk_idles(const struct talk *t)
{
    return t->way != WAY_POLL && t->examined && can(t, IMAP_CAP(IDLE));
}

enum said talk_say_idle(struct talk *t)
{
    t->step = STEP_IDLE;
    return imap_idle(&t->session, STEP_IDLE) ? SAID : SAID_LOST;
}

enum said talk_say_noop(struct talk *t)
{
    return say(t, STEP_NOOP, "NOOP");
}

/* It cannot be done so: the next best way. */
static void fall_back(struct talk *t)
{
    bool idle = t->way == WAY_NOTIFY && can(t, IMAP_CAP(IDLE));
    t->way = idle ? WAY_IDLE : WAY_POLL;
    t->notifies = false;
    free(t->examined);
    t->examined = NULL;
}

/* ---- the end of a step ---- */

void talk_step_ended(struct talk *t)
{
    switch (t->step) {
    case STEP_NOTIFY:
    case STEP_EXAMINE:
    case STEP_IDLE:
        if (t->failed) fall_back(t);
        break;
    case STEP_LIST:
    case STEP_SUBSCRIBED:
    case STEP_IDENTIFY: listing_ended(t); break;
    case STEP_LOOK: {
        struct imap_errand *e = t->looking_for;
        t->looking_for = NULL;
        if (e) errand_end(e, IMAP_ANSWER_OK, 0);
        break;
    }
    default: break;
    }
}

/* ---- what comes in ---- */

static bool is_one_of(struct imap_span name, const char *const *words)
{
    for (; *words; words++)
        if (imap_span_is(name, *words)) return true;
    return false;
}

static bool take_list(struct talk *t, const struct imap_response *r)
{
    struct imap_listed f;
    if (!imap_listed_read(r->rest, &f)) return false;
    if (t->step == STEP_SUBSCRIBED && imap_span_is(r->name, "LSUB")) {
        imap_listing_subscribe(t->listing, f.name);
    } else if (t->step == STEP_LIST && imap_span_is(r->name, "LIST")) {
        if (f.selectable)
            imap_listing_add(t->listing, &f, &t->session.spaces);
        else
            imap_listing_remove(t->listing, f.name); /* it goes while it is listed */
    } else if (t->account->tree) {
        talk_stir(t, t->account->tree); /* NOTIFY */
    }
    return true;
}

static bool take_status(struct talk *t, const struct imap_response *r)
{
    struct imap_counts c;
    if (!imap_counts_read(r->rest, &c)) return false;
    if (t->listing) imap_listing_identify(t->listing, &c);
    bool asked = t->step == STEP_LOOK || t->step == STEP_WATCH_LOOK;
    if (asked && (c.told & NEEDED) == NEEDED)
        take_look(t, &c);
    else if (c.told & ~(unsigned)IMAP_TOLD_VALIDITY) /* NOTIFY */
        talk_stir(t, account_place(t->account, c.name));
    return true;
}

/* The server cannot keep up with telling. */
static void take_overflow(struct talk *t)
{
    t->notifies = false;
    if (++t->overflows > OVERFLOWS_MAX) fall_back(t);
    for (struct place *p = t->account->places; p; p = p->next) talk_stir(t, p);
    talk_stir(t, t->account->tree);
}

void talk_take(struct talk *t, const struct imap_response *r)
{
    static const char *const lists[] = {"LIST", "LSUB", NULL};
    static const char *const news[] = {"EXISTS", "EXPUNGE", "FETCH", "VANISHED", NULL};
    bool good = true;
    if (r->kind == IMAP_CONDITION) {
        if (imap_code_is(r, "NOTIFICATIONOVERFLOW") && t->way == WAY_NOTIFY) take_overflow(t);
    } else if (is_one_of(r->name, lists)) {
        good = take_list(t, r);
    } else if (imap_span_is(r->name, "STATUS")) {
        good = take_status(t, r);
    } else if (is_one_of(r->name, news)) {
        if (t->examined && t->step != STEP_EXAMINE)
            talk_stir(t, account_place(t->account, t->examined));
    }
    if (!good) hub_lost(t, IMAP_END_BROKEN, "the server says something malformed");
}
