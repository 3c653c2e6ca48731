#include "src/server/imap/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/imap/sasl.h"

#define COMMAND_MS 120000           /* a command that is answered for ever */
#define A_TURN ((size_t)128 * 1024) /* then others have their turn */
#define ASKED_MAX 2                 /* questions about one login */

/* The session's own commands; the owner's are below. */
enum { WHAT_FIRST = 1u << 16, WHAT_CAPABILITY, WHAT_LOGIN, WHAT_ENABLE, WHAT_NAMESPACE };

static struct worker *worker_of(const struct imap_session *s)
{
    return imap_net_worker(s->link.net);
}

static void forget_answer(struct imap_session *s)
{
    if (s->answer) explicit_bzero(s->answer, strlen(s->answer));
    free(s->answer);
    s->answer = NULL;
}

void imap_session_close(struct imap_session *s, bool polite)
{
    if (!s->open) return;
    static const char bye[] = "DONE\r\nP0 LOGOUT\r\n";
    const char *text = s->in_idle ? bye : strchr(bye, 'P');
    if (polite && (!s->in_idle || (s->idles && !s->leaves_idle)))
        (void)imap_link_write(&s->link, text, strlen(text));
    s->open = false;
    timer_stop(worker_of(s), &s->silence);
    timer_stop(worker_of(s), &s->more);
    imap_link_close(&s->link);
    imap_reader_finish(&s->reader);
    forget_answer(s);
    if (s->gone) *s->gone = true;
}

static void end(struct imap_session *s, enum imap_end how, const char *why)
{
    imap_session_close(s, false);
    s->ended(s, how, why);
}

static void break_off(struct imap_session *s, const char *why)
{
    end(s, s->logged_in ? IMAP_END_BROKEN : IMAP_END_UNREACHABLE, why);
}

static void hang_up(struct imap_session *s, const char *why)
{
    end(s, s->logged_in ? IMAP_END_CLOSED : IMAP_END_UNREACHABLE, why);
}

/* ---- silence ---- */

static void is_silent(struct timer *t)
{
    struct imap_session *s = CONTAINER_OF(t, struct imap_session, silence);
    break_off(s, "the server does not answer");
}

/* Somebody waits for an answer, or nobody does. */
static void listen_on(struct imap_session *s)
{
    if (s->pending_count == 0 || (s->idles && !s->leaves_idle))
        timer_stop(worker_of(s), &s->silence);
    else
        timer_set(worker_of(s), &s->silence, s->quiet_ms, is_silent);
}

/* ---- commands ---- */

bool imap_is_idle(const struct imap_session *s)
{
    return s->pending_count == 0;
}

static bool put(struct imap_session *s, const char *text)
{
    return imap_link_write(&s->link, text, strlen(text));
}

bool imap_say(struct imap_session *s, unsigned what, const char *text)
{
    char tag[16];
    if (!s->open || s->pending_count == IMAP_PIPELINE_MAX) return false;
    snprintf(tag, sizeof tag, "P%u ", ++s->last_number);
    if (!put(s, tag) || !put(s, text) || !put(s, "\r\n")) return false;
    if (s->pending_count == 0) s->since_ms = worker_now_ms(worker_of(s));
    s->pending[s->pending_count++] = (struct imap_command){s->last_number, what};
    listen_on(s);
    return true;
}

bool imap_idle(struct imap_session *s, unsigned what)
{
    s->in_idle = true;
    s->idles = s->leaves_idle = false;
    return imap_say(s, what, "IDLE");
}

bool imap_leave_idle(struct imap_session *s)
{
    if (!s->in_idle || s->leaves_idle) return true;
    s->leaves_idle = true;
    listen_on(s);
    /* Before the server has agreed, nothing may be said. */
    return !s->idles || put(s, "DONE\r\n");
}

/* ---- login ---- */

static void say_or_break(struct imap_session *s, unsigned what, const char *text)
{
    if (!imap_say(s, what, text)) break_off(s, "the connection is lost");
}

static void log_in(struct imap_session *s)
{
    struct imap_saying say;
    enum imap_sasl way = imap_sasl_make(s->login, s->caps, &say);
    if (way == IMAP_SASL_NONE) {
        end(s, IMAP_END_LATER, "the server offers no login that can be used");
        return;
    }
    if (way == IMAP_SASL_IMPOSSIBLE) {
        end(s, IMAP_END_REFUSED, "no name or password that can be sent");
        return;
    }
    if (way == IMAP_SASL_NO_MEMORY) {
        end(s, IMAP_END_BROKEN, "no memory");
        return;
    }
    s->answer = say.answer;
    bool said = imap_say(s, WHAT_LOGIN, say.command);
    imap_saying_free(&say);
    if (!said) break_off(s, "the connection is lost");
}

/* RFC 5530: what has nothing to do with the name and the password. */
static bool is_passing(const struct imap_response *r)
{
    static const char *const codes[] = {"UNAVAILABLE", "SERVERBUG",    "INUSE",
                                        "LIMIT",       "CONTACTADMIN", "PRIVACYREQUIRED"};
    if (r->status == IMAP_REJECTED) return true;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (imap_code_is(r, codes[i])) return true;
    return false;
}

static void greet(struct imap_session *s)
{
    bool utf8 = s->caps & (IMAP_CAP(UTF8_ACCEPT) | IMAP_CAP(UTF8_ONLY));
    if (utf8 && s->caps & IMAP_CAP(ENABLE)) {
        if (!imap_say(s, WHAT_ENABLE, "ENABLE UTF8=ACCEPT")) {
            break_off(s, "the connection is lost");
            return;
        }
    }
    if (s->caps & IMAP_CAP(NAMESPACE)) {
        say_or_break(s, WHAT_NAMESPACE, "NAMESPACE");
        return;
    }
    if (s->pending_count == 0) s->ready(s);
}

static void login_done(struct imap_session *s, const struct imap_response *r)
{
    forget_answer(s);
    if (r->status != IMAP_OK) {
        char why[80];
        snprintf(why, sizeof why, "the server says %s%.*s", r->status == IMAP_NO ? "NO " : "BAD ",
                 (int)(r->code.len < 40 ? r->code.len : 40), r->code.len ? r->code.at : "");
        end(s, is_passing(r) ? IMAP_END_LATER : IMAP_END_REFUSED, why);
        return;
    }
    s->logged_in = true;
    if (s->told_caps)
        greet(s);
    else
        say_or_break(s, WHAT_CAPABILITY, "CAPABILITY");
}

static void own_done(struct imap_session *s, unsigned what, const struct imap_response *r)
{
    switch (what) {
    case WHAT_CAPABILITY:
        if (r->status != IMAP_OK)
            break_off(s, "the server does not say what it can do");
        else
            greet(s);
        return;
    case WHAT_LOGIN: login_done(s, r); return;
    default: break; /* whether they were good shows in what they have brought */
    }
    if (s->pending_count == 0) s->ready(s);
}

/* ---- what comes in ---- */

static void take_caps(struct imap_session *s, struct imap_cursor words)
{
    s->caps = imap_caps_read(words);
    s->told_caps = true;
}

static void take_data(struct imap_session *s, const struct imap_response *r)
{
    struct imap_item item;
    if (imap_span_is(r->name, "CAPABILITY")) {
        take_caps(s, r->rest);
    } else if (imap_span_is(r->name, "NAMESPACE")) {
        if (!imap_namespaces_read(r->rest, &s->spaces)) s->spaces.count = 0;
    } else if (imap_span_is(r->name, "ENABLED")) {
        struct imap_cursor words = r->rest;
        while ((item = imap_next(&words)).kind == IMAP_ATOM)
            if (imap_span_is(item.text, "UTF8=ACCEPT")) s->utf8 = true;
    } else if (s->logged_in) {
        s->data(s, r);
    }
}

/* What libcurl has asked for itself. With STARTTLS only what came after it counts: it comes last. */
static void heard(struct imap_link *l, const char *line, size_t len)
{
    struct imap_session *s = CONTAINER_OF(l, struct imap_session, link);
    struct imap_response r;
    imap_parse(line, len, &r);
    if (r.kind == IMAP_DATA && imap_span_is(r.name, "CAPABILITY")) take_caps(s, r.rest);
    if (r.kind == IMAP_CONDITION && r.status == IMAP_PREAUTH) s->preauth = true;
}

static void opened(struct imap_link *l, const char *error)
{
    struct imap_session *s = CONTAINER_OF(l, struct imap_session, link);
    if (error) {
        end(s, IMAP_END_UNREACHABLE, error);
        return;
    }
    if (s->preauth) {
        end(s, IMAP_END_LATER, "the server takes everybody for logged in");
        return;
    }
    bool gone = false;
    s->gone = &gone;
    log_in(s);
    if (gone) return;
    s->gone = NULL;
    l->readable(l);
}

/* "CAPABILITY ..." in a code is as good as the response. */
static void take_code(struct imap_session *s, const struct imap_response *r)
{
    static const char word[] = "CAPABILITY ";
    size_t len = sizeof word - 1;
    if (r->code.len > len && imap_code_is(r, "CAPABILITY"))
        take_caps(s, imap_cursor(r->code.at + len, r->code.len - len));
}

static void take_end(struct imap_session *s, const struct imap_response *r)
{
    char tag[16];
    for (unsigned i = 0; i < s->pending_count; i++) {
        snprintf(tag, sizeof tag, "P%u", s->pending[i].number);
        if (!imap_span_is(r->tag, tag)) continue;
        unsigned what = s->pending[i].what;
        memmove(&s->pending[i], &s->pending[i + 1], (--s->pending_count - i) * sizeof *s->pending);
        s->since_ms = worker_now_ms(worker_of(s));
        s->in_idle = s->idles = false;
        if (what == WHAT_LOGIN) s->told_caps = false;
        take_code(s, r);
        if (what >= WHAT_FIRST)
            own_done(s, what, r);
        else
            s->done(s, what, r);
        return;
    }
    break_off(s, "the server answers what nobody has asked");
}

static void go_on(struct imap_session *s)
{
    bool said = false;
    if (s->in_idle) {
        s->idles = true;
        said = !s->leaves_idle || put(s, "DONE\r\n");
    } else if (s->answer && ++s->asked <= ASKED_MAX) {
        said = put(s, s->answer) && put(s, "\r\n");
        forget_answer(s);
        /* A token that is not taken is followed by the reasons, which must be waved through: RFC 7628
         * 3.2.3. */
        s->answer = strdup(IMAP_SASL_DUMMY);
        said = said && s->answer;
    }
    if (!said) break_off(s, "the connection is lost");
}

static void take(struct imap_session *s, const char *text, size_t len)
{
    struct imap_response r;
    imap_parse(text, len, &r);
    switch (r.kind) {
    case IMAP_CONTINUE: go_on(s); return;
    case IMAP_TAGGED: take_end(s, &r); return;
    case IMAP_DATA: take_data(s, &r); return;
    case IMAP_CONDITION:
        take_code(s, &r);
        if (r.status == IMAP_BYE)
            hang_up(s, "the server says BYE");
        else if (s->logged_in)
            s->data(s, &r);
        return;
    case IMAP_NOISE: break_off(s, "what the server says is no IMAP"); return;
    }
}

/* What is in the reader. false: the session is closed. */
static bool take_all(struct imap_session *s)
{
    bool gone = false;
    const char *text;
    size_t len;
    enum imap_cut cut;
    s->gone = &gone;
    while ((cut = imap_reader_next(&s->reader, &text, &len)) == IMAP_CUT_RESPONSE) {
        take(s, text, len);
        if (gone) return false;
    }
    if (cut == IMAP_CUT_BROKEN) {
        break_off(s, "a response is longer than any may be");
        return false;
    }
    s->gone = NULL;
    return true;
}

static void readable(struct imap_link *l);

static void read_more(struct timer *t)
{
    readable(&CONTAINER_OF(t, struct imap_session, more)->link);
}

static void readable(struct imap_link *l)
{
    struct imap_session *s = CONTAINER_OF(l, struct imap_session, link);
    size_t total = 0, room, len;
    for (;;) {
        char *at = imap_reader_room(&s->reader, &room);
        enum imap_io io = at ? imap_link_read(l, at, room, &len) : IMAP_IO_END;
        if (io == IMAP_IO_END) {
            if (at)
                hang_up(s, "the server has closed the connection");
            else
                end(s, IMAP_END_BROKEN, "no memory");
            return;
        }
        if (io == IMAP_IO_NONE) break;
        imap_reader_filled(&s->reader, len);
        if (!take_all(s)) return;
        total += len;
        if (total >= A_TURN) {
            timer_set(worker_of(s), &s->more, 0, read_more);
            break;
        }
    }
    if (total == 0) return;
    if (s->pending_count > 0 && !s->idles &&
        worker_now_ms(worker_of(s)) - s->since_ms > COMMAND_MS) {
        break_off(s, "the server answers for ever");
        return;
    }
    listen_on(s);
}

bool imap_session_open(struct imap_session *s, struct imap_net *n, const struct imap_login *login,
                       unsigned quiet_ms)
{
    s->login = login;
    s->quiet_ms = quiet_ms;
    s->link.heard = heard;
    s->link.opened = opened;
    s->link.readable = readable;
    s->open = imap_link_open(n, &s->link);
    return s->open;
}
