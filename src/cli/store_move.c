/* provost store move: from the state directory of a server that is stopped into an empty PostgreSQL
 * database. Killed at any moment it goes on where it was; in the end both sides are read again. */
#include <inttypes.h>
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/cli/move.h"
#include "src/cli/store_job.h"
#include "src/cli/text.h"
#include "src/server/observe/when.h"

#define BATCH_ROWS 1000
#define BATCH_BYTES (8u << 20)
#define SHOW_EVERY 500 /* rows */

struct moving {
    const char *dir;
    struct source *from;
    struct target *to;
    const struct move_table *table;
    struct move_progress at;
    uint64_t total;
    unsigned batch; /* rows of the transaction under way; 0: there is none */
    size_t batch_bytes;
    /* While both are read again. */
    uint64_t looked;
    uint8_t ours[32], theirs[32]; /* of all rows until now */
    struct move_text text, other;
    bool failed;
    char error[MOVE_ERROR_MAX];
};

static bool fail(struct moving *m, const char *why)
{
    snprintf(m->error, sizeof m->error, "%s", why);
    m->failed = true;
    return false;
}

static void show(const char *what, uint64_t done, uint64_t of)
{
    if (done % SHOW_EVERY == 0 || done == of) progress_show(what, done, of);
}

/* For who has no terminal: a line for each table. */
static void tell(const struct cli *cli, const char *what, const char *table, uint64_t rows)
{
    if (cli->json || isatty(STDERR_FILENO) == 1) return;
    fprintf(stderr, "%s %s: %" PRIu64 " rows\n", table, what, rows);
}

/* ---- there ---- */
static bool commit(struct moving *m)
{
    if (m->batch == 0) return true;
    m->batch = 0;
    m->batch_bytes = 0;
    m->failed = !target_commit(m->to, m->table, &m->at, m->error);
    return !m->failed;
}

static size_t bytes_of(const struct move_table *t, const struct move_row *r)
{
    size_t n = 0;
    for (unsigned i = 0; i < t->count; i++)
        n += t->columns[i].kind == MOVE_NUMBER ? sizeof(int64_t) : r->values[i].len;
    return n;
}

static bool move_row(void *ctx, const struct move_row *r)
{
    struct moving *m = ctx;
    m->failed = (m->batch == 0 && !target_begin(m->to, m->table, m->error)) ||
                !target_put(m->to, m->table, r, m->error);
    if (m->failed) return false;
    if (!move_key_take(&m->at.at, m->table, r)) return fail(m, "out of memory");
    m->at.rows++;
    m->batch++;
    m->batch_bytes += bytes_of(m->table, r);
    show("moving", m->at.rows, m->total);
    return (m->batch < BATCH_ROWS && m->batch_bytes < BATCH_BYTES) || commit(m);
}

static bool move_all(struct cli *cli, struct moving *m)
{
    for (; m->at.step < move_table_count; m->at.step++) {
        uint64_t before = m->at.rows;
        m->table = &move_tables[m->at.step];
        if (!source_each(m->from, m->table, &m->at.at, move_row, m, m->error) || m->failed ||
            !commit(m))
            return false;
        tell(cli, "moved", m->table->to, m->at.rows - before);
        move_key_free(&m->at.at);
    }
    return true;
}

/* ---- and are they the same ---- */
static bool differs(struct moving *m, const struct move_row *r, const char *how)
{
    char key[200];
    const struct move_value *v = r->values;
    bool is_number = m->table->columns[0].kind == MOVE_NUMBER;
    if (is_number)
        snprintf(key, sizeof key, "%" PRId64, v[0].number);
    else
        snprintf(key, sizeof key, "%.*s%s%.*s", (int)(v[0].len < 80 ? v[0].len : 80), v[0].bytes,
                 m->table->key == 2 ? "/" : "",
                 m->table->key == 2 ? (int)(v[1].len < 80 ? v[1].len : 80) : 0, v[1].bytes);
    snprintf(m->error, sizeof m->error,
             "the two are not the same: table %s, row %s %s; --restart begins anew", m->table->to,
             key, how);
    m->failed = true;
    return false;
}

static bool compare_row(void *ctx, const struct move_row *r)
{
    struct moving *m = ctx;
    struct move_row back;
    int got = target_next(m->to, m->table, &back, m->error);
    if (got < 0) m->failed = true;
    if (got <= 0) return got == 0 && differs(m, r, "is not there");
    if (!move_row_text(m->table, r, &m->text) || !move_row_text(m->table, &back, &m->other))
        return fail(m, "out of memory");
    move_hash(m->ours, &m->text);
    move_hash(m->theirs, &m->other);
    m->looked++;
    show("verifying", m->looked, m->total);
    return memcmp(m->ours, m->theirs, sizeof m->ours) == 0 || differs(m, r, "is another");
}

static bool verify_table(struct moving *m)
{
    static const struct move_key start;
    struct move_row more;
    if (!target_read(m->to, m->table, m->error) ||
        !source_each(m->from, m->table, &start, compare_row, m, m->error) || m->failed)
        return false;
    int got = target_next(m->to, m->table, &more, m->error);
    if (got > 0) return differs(m, &more, "is one too many");
    return got == 0 && target_read_end(m->to, m->error);
}

static bool verify_all(struct cli *cli, struct moving *m)
{
    for (unsigned i = 0; i < move_table_count; i++) {
        uint64_t before = m->looked;
        m->table = &move_tables[i];
        if (!verify_table(m)) return false;
        tell(cli, "verified", m->table->to, m->looked - before);
    }
    return m->looked == m->total ||
           fail(m, "there are more or fewer rows than were counted; --restart "
                   "begins anew");
}

/* ---- the end ---- */
/* Of the audit log over there. */
static char *audit_line(const struct moving *m)
{
    char when[WHEN_TEXT], actor[96];
    const struct passwd *who = getpwuid(getuid());
    when_text(time(NULL), when);
    snprintf(actor, sizeof actor, who ? "uid %u (%.60s)" : "uid %u", (unsigned)getuid(),
             who ? who->pw_name : "");
    json_t *line =
        json_pack("{s:s,s:s,s:s,s:o,s:I}", "at", when, "actor", actor, "act", "store.move", "from",
                  text_json(m->dir), "rows", (json_int_t)m->looked);
    char *text = line ? json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(line);
    return text;
}

static bool finish(struct moving *m)
{
    char *head = source_audit_head(m->from, m->error);
    char *line = audit_line(m);
    bool ok = head && line && target_finish(m->to, head, line, m->error);
    if (head && !line) fail(m, "out of memory");
    free(head);
    free(line);
    return ok;
}

static void hex(const uint8_t hash[32], char out[65])
{
    for (size_t i = 0; i < 32; i++) snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static enum cli_exit tell_end(const struct cli *cli, const struct moving *m)
{
    char sum[65] = "";
    if (!m->at.done) hex(m->ours, sum);
    if (cli->json) {
        json_t *json = json_pack("{s:I,s:i,s:o,s:o}", "rows", (json_int_t)m->looked, "tables",
                                 (int)move_table_count, "sha256", text_json(sum[0] ? sum : NULL),
                                 "to", text_json(target_name(m->to)));
        int rc = json ? json_print(json) : -1;
        json_decref(json);
        return rc == 0 ? CLI_DONE : cli_fail(CLI_FAILED, "the answer cannot be printed");
    }
    printf("%" PRIu64 " rows moved to ", m->looked);
    text_print(stdout, target_name(m->to));
    if (sum[0]) printf(", read again on both sides and the same (SHA-256 %s)", sum);
    printf(
        ".\nThe setting store names the database from now on; on the old file no server starts.\n");
    return CLI_DONE;
}

/* One that was killed behind the last commit has only the mark left to make. */
static bool carry_out(struct cli *cli, struct moving *m)
{
    if (!source_count(m->from, &m->total, m->error) ||
        !target_prepare(m->to, source_id(m->from), cli_has(cli, CLI_OPT_RESTART), &m->at, m->error))
        return false;
    if (m->at.rows && !m->at.done && !cli->json)
        fprintf(stderr, "%" PRIu64 " rows are there already.\n", m->at.rows);
    if (!m->at.done && !(move_all(cli, m) && verify_all(cli, m) && finish(m))) return false;
    if (m->at.done) m->looked = m->total;
    return source_mark(m->from, target_name(m->to), m->error);
}

static enum cli_exit move(struct cli *cli, const char *dir, const char *url)
{
    struct moving m = {.dir = dir};
    enum cli_exit code = CLI_FAILED;
    m.from = source_open(dir, m.error);
    if (m.from && source_moved_to(m.from))
        snprintf(m.error, sizeof m.error, "%s was moved to %s already", dir,
                 source_moved_to(m.from));
    else if (m.from && (m.to = target_open(url, m.error)) && carry_out(cli, &m))
        code = CLI_DONE;
    progress_end();
    code = code == CLI_DONE ? tell_end(cli, &m) : cli_fail(CLI_FAILED, "%s", m.error);
    move_key_free(&m.at.at);
    free(m.text.at);
    free(m.other.at);
    target_close(m.to);
    source_close(m.from);
    return code;
}

static enum cli_exit undo(struct cli *cli, const char *dir)
{
    char error[MOVE_ERROR_MAX];
    if (!cli_sure(
            cli,
            "What has happened since the move is not in the old store: keys, blocks, wipes. Go "
            "back to it?"))
        return CLI_FAILED;
    if (!source_unmark(dir, error)) return cli_fail(CLI_FAILED, "%s", error);
    if (!cli->json) puts("Servers start on it again.");
    return CLI_DONE;
}

enum cli_exit upkeep_move(struct cli *cli)
{
    const char *dir = cli_value(cli, CLI_OPT_FROM), *url = cli_value(cli, CLI_OPT_TO);
    bool back = cli_has(cli, CLI_OPT_UNDO);
    if (!dir) return cli_fail(CLI_USAGE, "--from DIR is wanted: the state directory of the server");
    if (back == (url != NULL) || (back && cli_has(cli, CLI_OPT_RESTART)))
        return cli_fail(CLI_USAGE, "either --to URL is wanted, or --undo");
    if (url && strncmp(url, "postgresql://", 13) != 0 && strncmp(url, "postgres://", 11) != 0)
        return cli_fail(CLI_USAGE, "--to: a store moves to postgresql://...");
    return back ? undo(cli, dir) : move(cli, dir, url);
}
