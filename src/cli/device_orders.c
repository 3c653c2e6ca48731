/* provost device show, and the orders on one device */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/cli/api.h"
#include "src/cli/text.h"

static const char *text_at(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static void print_names(FILE *to, const json_t *names)
{
    size_t i;
    const json_t *name;
    json_array_foreach((json_t *)names, i, name)
    {
        fputs(i ? ", " : "", to);
        text_print(to, json_string_value(name) ? json_string_value(name) : "?");
    }
}

/* ---- show ---- */
struct row {
    const char *label, *member;
};

static void print_rows(const json_t *object, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = text_at(object, rows[i].member);
        if (!text || !*text) continue;
        printf("%-18s", rows[i].label);
        text_print(stdout, text);
        putchar('\n');
    }
}

static void print_wipe(const json_t *wipe)
{
    static const struct row rows[] = {
        {"  request", "id"},   {"  of the", "kind"},    {"  state", "state"},
        {"  by", "by"},        {"  reason", "reason"},  {"  requested", "requested_at"},
        {"  told", "sent_at"}, {"  ended", "ended_at"}, {"  expires", "expires_at"},
    };
    if (!json_is_object(wipe)) return;
    puts("Remote wipe");
    print_rows(wipe, rows, sizeof rows / sizeof *rows);
}

static void print_information(const json_t *information)
{
    const char *name;
    json_t *value;
    if (json_object_size(information) == 0) return;
    puts("It says of itself");
    json_object_foreach((json_t *)information, name, value)
    {
        printf("  ");
        text_print(stdout, name);
        printf(": ");
        text_print(stdout, json_string_value(value) ? json_string_value(value) : "-");
        putchar('\n');
    }
}

/* "2026-11-25T22:00:00Z  OS: old -> new", oldest first. */
static void print_history(const json_t *history)
{
    size_t i;
    const json_t *entry;
    const char *name;
    json_t *pair;
    if (json_array_size(history) == 0) return;
    puts("Before that");
    json_array_foreach((json_t *)history, i, entry) json_object_foreach((json_t *)entry, name, pair)
    {
        const char *old = json_string_value(json_array_get(pair, 0));
        const char *new_ = json_string_value(json_array_get(pair, 1));
        if (!json_is_array(pair)) continue;
        printf("  ");
        text_print(stdout, name);
        printf(": ");
        text_print(stdout, old ? old : "-");
        printf(" -> ");
        text_print(stdout, new_ ? new_ : "-");
        putchar('\n');
    }
}

static void print_upstream(const json_t *upstream)
{
    if (!json_is_object(upstream)) return;
    printf("%-18s", "Upstream");
    text_print(stdout, text_at(upstream, "url"));
    if (json_is_true(json_object_get(upstream, "conflict")))
        printf(": its policy and ours cannot be kept together, so the device is kept out");
    else if (json_is_true(json_object_get(upstream, "policy")))
        printf(": its policy applies too, and the device has %s",
               json_is_true(json_object_get(upstream, "key")) ? "its key" : "no key of it yet");
    else
        printf(": it demands nothing");
    putchar('\n');
}

enum cli_exit device_show(struct cli *cli)
{
    static const struct row rows[] = {
        {"User", "user"},
        {"Device", "device_id"},
        {"Type", "device_type"},
        {"User-Agent", "user_agent"},
        {"Protocol version", "protocol_version"},
        {"State", "state"},
        {"Access", "access"},
        {"  decided by", "access_by"},
        {"Policy", "policy"},
        {"Outcome", "outcome"},
        {"First seen", "first_seen"},
        {"Last seen", "last_seen"},
        {"Confirmed", "key_at"},
    };
    json_t *d;
    enum cli_exit code =
        api_show(cli, "GET", api_path("/v1/devices/%s/%s", cli->words[0], cli->words[1]), NULL, &d);
    if (code != CLI_DONE || d == NULL) return code;
    print_rows(d, rows, sizeof rows / sizeof *rows);
    print_upstream(json_object_get(d, "upstream"));
    print_wipe(json_object_get(d, "wipe"));
    print_information(json_object_get(d, "information"));
    print_history(json_object_get(d, "information_history"));
    const json_t *others = json_object_get(d, "other_users");
    if (json_array_size(others) > 0) {
        printf("%-18s", "Other users");
        print_names(stdout, others);
        putchar('\n');
    }
    json_decref(d);
    return CLI_DONE;
}

/* ---- orders ---- */
/* {"reason"}; NULL: told. */
static json_t *body_of(const struct cli *cli)
{
    json_t *body = json_pack("{s:s*}", "reason", cli_value(cli, CLI_OPT_REASON));
    if (!body) cli_fail(CLI_USAGE, "--reason is no UTF-8 text");
    return body;
}

static void print_device(const struct cli *cli)
{
    printf("Device ");
    text_print(stdout, cli->words[1]);
    printf(" of ");
    text_print(stdout, cli->words[0]);
}

/* What was ordered, and what one must know of it. The answer is taken over. */
static void print_done(const struct cli *cli, json_t *answer, const char *did)
{
    size_t i;
    const json_t *warning;
    const char *state = text_at(answer, "state");
    print_device(cli);
    printf(json_is_false(json_object_get(answer, "changed")) ? " %s already" : " %s", did);
    if (state) {
        printf("; its state is ");
        text_print(stdout, state);
    }
    printf(".\n");
    json_array_foreach(json_object_get(answer, "warnings"), i, warning)
        cli_fail(CLI_DONE, "%s", json_string_value(warning) ? json_string_value(warning) : "?");
    json_decref(answer);
}

/* did: what is then said of the device. */
static enum cli_exit order(struct cli *cli, const char *method, const char *what, const char *did)
{
    json_t *answer, *body = body_of(cli);
    if (!body) return CLI_USAGE;
    char *path = *what ? api_path("/v1/devices/%s/%s/%s", cli->words[0], cli->words[1], what)
                       : api_path("/v1/devices/%s/%s", cli->words[0], cli->words[1]);
    enum cli_exit code = api_show(cli, method, path, body, &answer);
    if (code == CLI_DONE && answer) print_done(cli, answer, did);
    return code;
}

enum cli_exit device_allow(struct cli *cli)
{
    return order(cli, "POST", "allow", "is allowed");
}

enum cli_exit device_block(struct cli *cli)
{
    return order(cli, "POST", "block", "is blocked");
}

enum cli_exit device_quarantine(struct cli *cli)
{
    return order(cli, "POST", "quarantine", "is in quarantine");
}

enum cli_exit device_clear(struct cli *cli)
{
    return order(cli, "POST", "clear", "is left to the rules");
}

enum cli_exit device_cancel_wipe(struct cli *cli)
{
    return order(cli, "DELETE", "wipe", "is not wiped");
}

enum cli_exit device_remove(struct cli *cli)
{
    if (!cli_sure(cli, "Forget this device, with its keys, and a block or wipe of it, too?"))
        return CLI_FAILED;
    return order(cli, "DELETE", "",
                 "is forgotten: its keys, what it has said, a block and a wipe of it, too");
}

/* ---- wipe ---- */
/* Shows for whom it would be, and asks. */
static enum cli_exit ask_for_whole_device(struct cli *cli)
{
    json_t *d;
    enum cli_exit code =
        api_call(cli, "GET", api_path("/v1/devices/%s/%s", cli->words[0], cli->words[1]), NULL, &d);
    if (code != CLI_DONE) return code;
    if (json_is_false(json_object_get(d, "device_wipe"))) {
        json_decref(d);
        return cli_fail(CLI_FAILED, "Device wipe is forbidden for this user.");
    }
    const json_t *others = json_object_get(d, "other_users");
    fprintf(stderr, "This deletes everything on the device, not only mail.\n");
    if (json_array_size(others) > 0) {
        fprintf(stderr,
                "These users have a device of the same id, and lose what they have on it: ");
        print_names(stderr, others);
        fputc('\n', stderr);
    }
    json_decref(d);
    return cli_sure(cli, "Wipe the whole device?") ? CLI_DONE : CLI_FAILED;
}

static enum cli_exit send_wipe(struct cli *cli, bool whole)
{
    json_t *answer, *body = json_pack("{s:s,s:s*,s:s*,s:b}", "scope", whole ? "device" : "account",
                                      "reason", cli_value(cli, CLI_OPT_REASON), "expires",
                                      cli_value(cli, CLI_OPT_EXPIRES), "confirm", (int)whole);
    if (!body) return cli_fail(CLI_USAGE, "--reason or --expires is no UTF-8 text");
    enum cli_exit code =
        api_show(cli, "POST", api_path("/v1/devices/%s/%s/wipe", cli->words[0], cli->words[1]),
                 body, &answer);
    if (code != CLI_DONE || !answer) return code;
    const json_t *wipe = json_object_get(answer, "wipe");
    const char *id = text_at(wipe, "id");
    bool waits = !whole && json_array_size(json_object_get(answer, "warnings")) > 0;
    printf("Request ");
    text_print(stdout, id ? id : "?");
    printf(".\n");
    print_done(cli, answer,
               whole ? "is to be wiped as a whole" : "is to be wiped of this account alone");
    if (waits) fputs("--whole-device reaches devices of every version.\n", stderr);
    return CLI_DONE;
}

enum cli_exit device_wipe(struct cli *cli)
{
    bool whole = cli_has(cli, CLI_OPT_WHOLE_DEVICE);
    if (whole && !cli_has(cli, CLI_OPT_YES) && !isatty(STDIN_FILENO))
        return cli_fail(CLI_USAGE, "--whole-device without a terminal wants --yes");
    enum cli_exit code = whole ? ask_for_whole_device(cli)
                         : cli_sure(cli, "Wipe the account on this device?") ? CLI_DONE
                                                                             : CLI_FAILED;
    return code == CLI_DONE ? send_wipe(cli, whole) : code;
}
