/* One connection: parameters, deadlines, what went wrong. libpq never blocks here but while it connects,
 * which has a time limit of its own. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "src/server/store/pg.h"

#define PG_WRITE(id, sql) {PG_WRITER, #id, sql},
#define PG_READ(id, sql) {PG_READER, #id, sql},
#define PG_NEWS(id, sql) {PG_FEED, #id, sql},
static const struct {
    enum pg_role role;
    const char *name, *sql;
} statements[PG_STATEMENTS] = {PG_WRITES(PG_WRITE) PG_READS(PG_READ) PG_FEEDS(PG_NEWS)};

/* Which servers a role may stand on, if the URL does not say. */
static const char *const session_attributes[PG_ROLES] = {
    [PG_WRITER] = "read-write", [PG_READER] = "primary", [PG_FEED] = "primary"};

/* ---- parameters and numbers ---- */
void pg_bytes(struct pg_args *a, const char *bytes, size_t len)
{
    a->values[a->count] = bytes;
    a->lengths[a->count++] = (int)len;
}

void pg_text(struct pg_args *a, const char *text)
{
    pg_bytes(a, text, strlen(text));
}

void pg_int(struct pg_args *a, int64_t v)
{
    uint64_t wire = htobe64((uint64_t)v);
    memcpy(a->numbers[a->count], &wire, sizeof wire);
    pg_bytes(a, a->numbers[a->count], sizeof wire);
}

void pg_null(struct pg_args *a)
{
    pg_bytes(a, NULL, 0);
}

int64_t pg_number(const PGresult *r, int row, int column)
{
    uint64_t wire = 0;
    if (PQgetlength(r, row, column) == sizeof wire)
        memcpy(&wire, PQgetvalue(r, row, column), sizeof wire);
    return (int64_t)be64toh(wire);
}

/* ---- what went wrong ---- */
/* libpq's sentences have several lines. */
static void say_why(struct pg_link *l, const char *text)
{
    size_t n = 0;
    l->state[0] = '\0';
    for (; *text && n < sizeof l->why - 1; text++) {
        bool blank = *text == '\n' || *text == '\t' || *text == ' ';
        if (!blank || (n && l->why[n - 1] != ' ')) l->why[n++] = blank ? ' ' : *text;
    }
    while (n && l->why[n - 1] == ' ') n--;
    l->why[n] = '\0';
}

void pg_note(struct pg_link *l, const PGresult *r)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    say_why(l, text ? text : PQresultErrorMessage(r));
    snprintf(l->state, sizeof l->state, "%s", state ? state : "");
}

static bool link_broke(struct pg_link *l)
{
    say_why(l, PQerrorMessage(l->conn));
    if (!l->why[0]) say_why(l, "the connection is closed");
    return false;
}

void pg_failed(struct pg_store *s, enum trouble_doing doing, const struct pg_link *l)
{
    trouble_failed(&s->trouble, doing, l->state, l->why);
}

/* ---- waiting ---- */
/* Until a result can be had without waiting, or the time is over. */
static bool wait_result(struct pg_link *l)
{
    uint64_t end = queue_now_ms() + (l->patience_ms ? l->patience_ms : PG_ANSWER_MS);
    for (;;) {
        int unsent = PQflush(l->conn);
        if (unsent < 0) return link_broke(l);
        if (!PQisBusy(l->conn)) return true;
        struct pollfd p = {PQsocket(l->conn), (short)(POLLIN | (unsent ? POLLOUT : 0)), 0};
        uint64_t now = queue_now_ms();
        if (now >= end) {
            say_why(l, "the server does not answer");
            return false;
        }
        if (poll(&p, 1, (int)(end - now)) < 0 && errno != EINTR) {
            say_why(l, strerror(errno));
            return false;
        }
        if (p.revents & ~POLLOUT && !PQconsumeInput(l->conn)) return link_broke(l);
    }
}

/* The last words of a server's process, although its end of the connection may still look open. */
static bool is_farewell(const PGresult *r)
{
    const char *severity = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);
    return severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

static bool next_result(struct pg_link *l, PGresult **out)
{
    *out = NULL;
    if (!wait_result(l)) return false;
    *out = PQgetResult(l->conn);
    if (PQstatus(l->conn) == CONNECTION_OK && !is_farewell(*out)) return true;
    if (*out && PQresultErrorField(*out, PG_DIAG_SQLSTATE))
        pg_note(l, *out);
    else
        link_broke(l);
    PQclear(*out);
    *out = NULL;
    return false;
}

/* ---- in a pipeline ---- */
static const struct pg_args no_args;

/* All of them. */
static const int binary[PG_ARGS_MAX] = {
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
};

bool pg_send(struct pg_link *l, enum pg_statement which, const struct pg_args *a)
{
    if (!a) a = &no_args;
    return PQsendQueryPrepared(l->conn, statements[which].name, a->count, a->values, a->lengths,
                               binary, 1) ||
           link_broke(l);
}

bool pg_sync(struct pg_link *l)
{
    return PQpipelineSync(l->conn) || link_broke(l);
}

bool pg_take(struct pg_link *l, PGresult **out)
{
    PGresult *end;
    if (!next_result(l, out)) return false;
    if (*out && next_result(l, &end)) {
        if (!end) return true;
        PQclear(end);
        say_why(l, "an answer that nobody has asked for");
    }
    PQclear(*out);
    *out = NULL;
    return false;
}

bool pg_take_sync(struct pg_link *l)
{
    PGresult *r;
    if (!next_result(l, &r)) return false;
    bool ok = PQresultStatus(r) == PGRES_PIPELINE_SYNC;
    if (!ok) say_why(l, "an answer that nobody has asked for");
    PQclear(r);
    return ok;
}

bool pg_good(const PGresult *r)
{
    return PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK;
}

/* What was sent, up to its end. */
static bool finish_run(struct pg_link *l, bool sent, PGresult **out)
{
    *out = NULL;
    if (!sent || !pg_sync(l) || !pg_take(l, out)) {
        pg_disconnect(l);
        return false;
    }
    bool good = pg_good(*out);
    if (!good) pg_note(l, *out);
    if (!pg_take_sync(l)) {
        pg_disconnect(l);
        good = false;
    }
    if (good) return true;
    PQclear(*out);
    *out = NULL;
    return false;
}

bool pg_run(struct pg_link *l, enum pg_statement which, const struct pg_args *a, PGresult **out)
{
    return finish_run(l, pg_send(l, which, a), out);
}

bool pg_run_planned(struct pg_link *l, const char *sql, const struct pg_args *a, PGresult **out)
{
    bool sent = PQsendQueryParams(l->conn, sql, a->count, NULL, a->values, a->lengths, binary, 1) ||
                link_broke(l);
    return finish_run(l, sent, out);
}

/* ---- setting up ---- */
bool pg_exec(struct pg_link *l, const char *sql, PGresult **out)
{
    PGresult *r, *last = NULL;
    if (!PQsendQuery(l->conn, sql)) return link_broke(l);
    for (;;) {
        if (!next_result(l, &r)) {
            PQclear(last);
            return false;
        }
        if (!r) break;
        if (!last || pg_good(last)) {
            PQclear(last);
            last = r;
        } else {
            PQclear(r); /* what comes behind an error says less */
        }
    }
    bool good = last && pg_good(last);
    if (!good) pg_note(l, last);
    if (good && out) {
        *out = last;
        return true;
    }
    PQclear(last);
    return good;
}

static void take_notice(void *arg, const PGresult *r)
{
    struct pg_link *l = arg;
    const char *severity = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (severity && strcmp(severity, "WARNING") == 0) l->warned = true;
}

/* Also of the server's side: a server that is cut off from us must not hold our locks for long. What
 * is committed must be on the disk, whatever the default of the role is. */
static bool set_session(struct pg_link *l)
{
    char sql[700];
    unsigned lease_ms = l->store->lease_ms;
    snprintf(sql, sizeof sql,
             "SET statement_timeout = %d; SET lock_timeout = %d;"
             "SET idle_in_transaction_session_timeout = %d; SET idle_session_timeout = %u;"
             "SET default_transaction_isolation = 'read committed';"
             "SET client_min_messages = warning;"
             "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5;"
             "SET tcp_keepalives_count = 3; SET tcp_user_timeout = 15000;"
             "SELECT set_config('synchronous_commit', 'on', false)"
             " WHERE current_setting('synchronous_commit') = 'off'",
             l->role == PG_READER ? PG_READ_MS : PG_STATEMENT_MS, PG_LOCK_MS, PG_IDLE_MS,
             l->role == PG_FEED ? lease_ms + PG_LEAD_MARGIN_MS : 0);
    return pg_exec(l, sql, NULL);
}

static bool prepare_all(struct pg_link *l)
{
    PGresult *r;
    bool ok = true;
    if (!PQenterPipelineMode(l->conn)) return link_broke(l);
    for (size_t i = 0; i < PG_STATEMENTS; i++)
        if (statements[i].role == l->role &&
            !PQsendPrepare(l->conn, statements[i].name, statements[i].sql, 0, NULL))
            return link_broke(l);
    if (!pg_sync(l)) return false;
    for (size_t i = 0; i < PG_STATEMENTS; i++) {
        if (statements[i].role != l->role) continue;
        if (!pg_take(l, &r)) return false;
        if (ok && !pg_good(r)) {
            pg_note(l, r);
            ok = false;
        }
        PQclear(r);
    }
    return pg_take_sync(l) && ok;
}

/* What the URL says, and what we choose where it is silent. */
static PGconn *connect_target(const PQconninfoOption *target, enum pg_role role)
{
    const struct {
        const char *keyword, *value;
    } ours[] = {
        {"connect_timeout", PG_CONNECT_S},
        {"tcp_user_timeout", "5000"},
        {"keepalives_idle", "10"},
        {"keepalives_interval", "5"},
        {"keepalives_count", "3"},
        {"application_name", "provost"},
        {"target_session_attrs", session_attributes[role]},
    };
    const char *keywords[64], *values[64];
    size_t n = 0;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        keywords[n] = ours[i].keyword;
        values[n++] = ours[i].value;
    }
    for (const PQconninfoOption *o = target; o->keyword && n < 63; o++) {
        if (!o->val) continue;
        keywords[n] = o->keyword; /* the later one counts */
        values[n++] = o->val;
    }
    keywords[n] = values[n] = NULL;
    return PQconnectdbParams(keywords, values, 0);
}

bool pg_dial(struct pg_link *l)
{
    l->why[0] = l->state[0] = '\0';
    l->conn = connect_target(l->store->target, l->role);
    if (!l->conn) {
        say_why(l, "out of memory");
        return false;
    }
    if (PQstatus(l->conn) != CONNECTION_OK) return link_broke(l);
    PQsetNoticeReceiver(l->conn, take_notice, l);
    if (PQsetnonblocking(l->conn, 1) != 0) return link_broke(l);
    return set_session(l);
}

/* Half of it by chance, so that servers that lost the same database do not come back in step. */
static unsigned jittered(unsigned ms)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) < 0) random = 0;
    return ms / 2 + random % (ms / 2 + 1);
}

bool pg_connect(struct pg_link *l)
{
    if (l->conn && PQstatus(l->conn) == CONNECTION_OK) return true;
    pg_disconnect(l);
    if (queue_now_ms() < l->not_before_ms) return false;
    if (pg_dial(l) && pg_schema_fits(l) && prepare_all(l)) {
        l->pause_ms = 0;
        if (l->role == PG_WRITER) atomic_store(&l->store->writer_pid, PQbackendPID(l->conn));
        return true;
    }
    pg_disconnect(l);
    l->pause_ms = l->pause_ms ? l->pause_ms * 2 : PG_PAUSE_MS;
    if (l->pause_ms > PG_PAUSE_MOST_MS) l->pause_ms = PG_PAUSE_MOST_MS;
    l->not_before_ms = queue_now_ms() + jittered(l->pause_ms);
    return false;
}

/* What is still unsent must not arrive later, when we have gone on without it. */
void pg_disconnect(struct pg_link *l)
{
    if (!l->conn) return;
    int fd = PQsocket(l->conn);
    const struct linger at_once = {.l_onoff = 1};
    if (fd >= 0 && PQtransactionStatus(l->conn) != PQTRANS_IDLE)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    PQfinish(l->conn);
    l->conn = NULL;
}
