/* What is wanted, made so: look, tell, ask, do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/api.h"
#include "src/cli/policy_plan.h"

static const char *text_in(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* ---- look ---- */

static enum cli_exit read_policies(struct cli *cli, json_t **out)
{
    json_t *list = NULL, *all = json_array(), *one, *policy;
    size_t i;
    enum cli_exit code = api_call(cli, "GET", api_path("/v1/policies"), NULL, &list);
    json_array_foreach(list, i, one)
    {
        const char *name = text_in(one, "name");
        if (code != CLI_DONE) break;
        if (name == NULL) continue;
        code = api_call(cli, "GET", api_path("/v1/policies/%s", name), NULL, &policy);
        if (code == CLI_DONE && json_array_append_new(all, policy) != 0)
            code = cli_fail(CLI_FAILED, "no memory");
    }
    json_decref(list);
    *out = all;
    return code;
}

enum cli_exit policy_read_server(struct cli *cli, json_t **policies_out, json_t **assignments_out)
{
    *assignments_out = NULL;
    enum cli_exit code = read_policies(cli, policies_out);
    if (code != CLI_DONE) return code;
    return api_call(cli, "GET", api_path("/v1/assignments"), NULL, assignments_out);
}

/* Behind a refusal: somebody else was there since the server was read. */
#define AGAIN "; run the same command again to see what differs by now"

static bool is_there(const struct plan *p, const char *name)
{
    const json_t *policy;
    size_t i;
    if (name == NULL) return true;
    json_array_foreach(p->policies, i, policy)
    {
        const char *is = text_in(policy, "name");
        if (is && strcmp(is, name) == 0) return true;
    }
    return false;
}

/* ---- revisions ---- */

/* {name: {"revision", "parent"}} as the server was read; what a run does is noted in it. NULL: no
 * memory. */
static json_t *seen_create(const json_t *policies)
{
    json_t *seen = json_object(), *policy;
    size_t i;
    bool good = seen != NULL;
    json_array_foreach(policies, i, policy)
    {
        json_t *one = json_pack("{s:O?,s:O?}", "revision", json_object_get(policy, "revision"),
                                "parent", json_object_get(policy, "parent"));
        good = good && json_object_set_new(seen, text_in(policy, "name"), one) == 0;
        if (!good) break;
    }
    if (good) return seen;
    json_decref(seen);
    return NULL;
}

static bool seen_inherits(const json_t *seen, const char *name, const char *from)
{
    const char *parent = name;
    for (size_t steps = json_object_size(seen); steps > 0; steps--) {
        parent = text_in(json_object_get(seen, parent), "parent");
        if (parent == NULL || strcmp(parent, from) == 0) return parent != NULL;
    }
    return false;
}

/* What the answer to a PUT says is so by now: a change is a new revision of all below as well. */
static bool seen_note(json_t *seen, const json_t *step, const json_t *answer)
{
    const char *changed = text_in(step, "policy"), *name;
    json_t *revision = json_object_get(answer, "revision"), *one;
    json_t *parent = json_object_get(json_object_get(step, "body"), "parent");
    if (!json_is_true(json_object_get(answer, "changed"))) return true;
    one = json_pack("{s:O,s:O?}", "revision", revision, "parent", parent);
    bool good = json_object_set_new(seen, changed, one) == 0;
    json_object_foreach(seen, name, one)
    {
        if (good && seen_inherits(seen, name, changed))
            good = json_object_set(one, "revision", revision) == 0;
    }
    return good;
}

/* Body of the PUT of a step, only if the policy is as it was seen. NULL: no memory. */
static json_t *seen_body(const json_t *seen, const json_t *step)
{
    json_t *body = json_copy(json_object_get(step, "body"));
    const json_t *is = json_object_get(seen, text_in(step, "policy"));
    json_int_t revision = json_integer_value(json_object_get(is, "revision"));
    if (body && json_object_set_new(body, "if_revision", json_integer(revision)) == 0) return body;
    json_decref(body);
    return NULL;
}

/* A copy with dry_run, or as it is. NULL: no memory, which api_call tells of an empty path only. */
static enum cli_exit send(struct cli *cli, const char *method, char *path, const json_t *body,
                          bool dry, json_t **answer_out)
{
    json_t *copy = body ? json_deep_copy(body) : NULL;
    *answer_out = NULL;
    if ((body && !copy) || (dry && json_object_set_new(copy, "dry_run", json_true()) != 0)) {
        json_decref(copy);
        free(path);
        return cli_fail(CLI_FAILED, "no memory");
    }
    return api_call(cli, method, path, copy, answer_out);
}

static enum cli_exit put_policy(struct cli *cli, const json_t *seen, const json_t *step, bool dry,
                                json_t **answer_out)
{
    json_t *body = seen_body(seen, step);
    *answer_out = NULL;
    if (body == NULL) return cli_fail(CLI_FAILED, "no memory");
    enum cli_exit code = send(cli, "PUT", api_path("/v1/policies/%s", text_in(step, "policy")),
                              body, dry, answer_out);
    json_decref(body);
    return code;
}

/* What the server says that a step would do, as its "would". A policy whose parent is not there yet
 * cannot be asked about, nor one that others must leave first. */
static enum cli_exit ask_server(struct cli *cli, struct plan *p, const json_t *seen)
{
    json_t *step, *answer;
    size_t i;
    json_array_foreach(p->steps, i, step)
    {
        const json_t *body = json_object_get(step, "body");
        if (body == NULL || !is_there(p, text_in(body, "parent"))) continue;
        enum cli_exit code = put_policy(cli, seen, step, true, &answer);
        if (code != CLI_DONE)
            return cli_fail(code, "policy %s; nothing was changed%s", text_in(step, "policy"),
                            api_conflict(cli) ? AGAIN : "");
        if (json_object_set_new(step, "would", answer) != 0)
            return cli_fail(CLI_FAILED, "no memory");
    }
    json_array_foreach(p->moves, i, step)
    {
        const json_t *assignment = json_object_get(step, "assignment");
        bool removed = strcmp(text_in(step, "change"), "removed") == 0;
        if (!is_there(p, text_in(assignment, "policy"))) continue;
        enum cli_exit code = send(cli, removed ? "DELETE" : "PUT", api_path("/v1/assignments"),
                                  assignment, true, &answer);
        if (code != CLI_DONE) return cli_fail(code, "an assignment; nothing was changed");
        if (json_object_set_new(step, "would", answer) != 0)
            return cli_fail(CLI_FAILED, "no memory");
    }
    return CLI_DONE;
}

/* ---- tell ---- */

static void tell_would(const json_t *step)
{
    const json_t *would = json_object_get(step, "would");
    long long asked = json_integer_value(json_object_get(would, "devices_to_ask"));
    long long cannot = json_integer_value(json_object_get(would, "cannot_keep"));
    if (asked > 0) printf(", %lld device%s to be asked again", asked, asked == 1 ? "" : "s");
    if (asked > 0 && cannot > 0) printf(" (%lld cannot keep all of it)", cannot);
    putchar('\n');
}

static void tell_step(const json_t *step)
{
    const json_t *settings = json_object_get(step, "settings"), *one;
    const json_t *parent = json_object_get(step, "parent");
    size_t i;
    text_print(stdout, text_in(step, "policy"));
    printf(": %s", text_in(step, "change"));
    tell_would(step);
    if (parent) {
        fputs("    parent ", stdout);
        text_print(stdout, json_is_null(parent) ? "none" : json_string_value(parent));
        putchar('\n');
    }
    json_array_foreach(settings, i, one)
    {
        printf("    %s=", text_in(one, "name"));
        text_print(stdout, text_in(one, "new"));
        if (*text_in(one, "old")) {
            fputs(" (was ", stdout);
            text_print(stdout, text_in(one, "old"));
            putchar(')');
        }
        putchar('\n');
    }
}

static void tell_move(const json_t *move)
{
    const json_t *assignment = json_object_get(move, "assignment");
    char *whom = policy_scope_text(assignment);
    text_print(stdout, whom ? whom : "?");
    fputs(": ", stdout);
    if (strcmp(text_in(move, "change"), "removed") == 0) fputs("no longer ", stdout);
    text_print(stdout, text_in(assignment, "policy"));
    if (text_in(move, "was")) {
        fputs(" (was ", stdout);
        text_print(stdout, text_in(move, "was"));
        putchar(')');
    }
    tell_would(move);
    free(whom);
}

static enum cli_exit tell_json(const struct plan *p, const struct policy_wish *wish, bool dry)
{
    json_t *doc = json_pack("{s:b,s:O,s:O,s:O*}", "dry_run", (int)dry, "policies", p->steps,
                            "assignments", p->moves, "notes", wish->notes);
    int printed = doc ? json_print(doc) : -1;
    json_decref(doc);
    return printed == 0 ? CLI_DONE : cli_fail(CLI_FAILED, "the answer cannot be printed");
}

static void tell(const struct plan *p, bool dry)
{
    const json_t *step;
    size_t i;
    json_array_foreach(p->steps, i, step) tell_step(step);
    json_array_foreach(p->moves, i, step) tell_move(step);
    if (json_array_size(p->steps) + json_array_size(p->moves) == 0)
        puts("Everything is so already.");
    else if (dry)
        puts("Nothing was changed yet.");
}

/* ---- do ---- */

static enum cli_exit do_step(struct cli *cli, json_t *seen, const json_t *step)
{
    json_t *answer = NULL;
    const char *name = text_in(step, "policy");
    bool removes = json_object_get(step, "body") == NULL;
    enum cli_exit code =
        removes ? send(cli, "DELETE", api_path("/v1/policies/%s", name), NULL, false, &answer)
                : put_policy(cli, seen, step, false, &answer);
    const char *hint = text_in(answer, "hint");
    if (hint) cli_fail(CLI_DONE, "warning: %s: %s", name, hint);
    if (code == CLI_DONE && !removes && !seen_note(seen, step, answer))
        code = cli_fail(CLI_FAILED, "no memory");
    json_decref(answer);
    return code;
}

static enum cli_exit do_move(struct cli *cli, const json_t *move)
{
    json_t *answer = NULL;
    bool removed = strcmp(text_in(move, "change"), "removed") == 0;
    enum cli_exit code = send(cli, removed ? "DELETE" : "PUT", api_path("/v1/assignments"),
                              json_object_get(move, "assignment"), false, &answer);
    json_decref(answer);
    return code;
}

/* What is made, then who gets it, then what nobody needs any more. */
static enum cli_exit carry_out(struct cli *cli, const struct plan *p, json_t *seen)
{
    size_t done = 0, all = json_array_size(p->steps) + json_array_size(p->moves), i;
    enum cli_exit code = CLI_DONE;
    const json_t *step;
    for (int removing = 0; removing < 2; removing++) {
        json_array_foreach(p->steps, i, step)
        {
            if ((json_object_get(step, "body") == NULL) != removing || code != CLI_DONE) continue;
            code = do_step(cli, seen, step);
            done += code == CLI_DONE;
        }
        json_array_foreach(p->moves, i, step)
        {
            if (removing || code != CLI_DONE) continue;
            code = do_move(cli, step);
            done += code == CLI_DONE;
        }
    }
    if (code != CLI_DONE)
        cli_fail(code, "stopped after %zu of %zu changes%s", done, all,
                 api_conflict(cli) ? AGAIN : "; the same command goes on");
    else if (!cli->json && all > 0)
        printf("Done: %zu change%s.\n", all, all == 1 ? "" : "s");
    return code;
}

enum cli_exit policy_make_so(struct cli *cli, const struct policy_wish *wish)
{
    json_t *policies = NULL, *assignments = NULL;
    struct plan p = {0};
    bool dry = cli_has(cli, CLI_OPT_DRY_RUN);
    enum cli_exit code = policy_read_server(cli, &policies, &assignments);
    if (code == CLI_DONE && !plan_make(&p, wish, policies, assignments))
        code = cli_fail(CLI_FAILED, "%s", p.no_memory ? "no memory" : p.error);
    size_t changes = json_array_size(p.steps) + json_array_size(p.moves);
    json_t *seen = seen_create(policies);
    if (code == CLI_DONE && seen == NULL) code = cli_fail(CLI_FAILED, "no memory");
    if (code == CLI_DONE) code = ask_server(cli, &p, seen);
    if (code == CLI_DONE && !cli->json) tell(&p, dry);
    if (code == CLI_DONE && !dry && changes > 0)
        code = cli_sure(cli, "Make these changes?") ? carry_out(cli, &p, seen) : CLI_FAILED;
    if (code == CLI_DONE && cli->json) code = tell_json(&p, wish, dry);
    plan_finish(&p);
    json_decref(seen);
    json_decref(policies);
    json_decref(assignments);
    return code;
}
