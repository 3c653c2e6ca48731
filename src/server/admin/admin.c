/* One request to the administration: route, body, answer. */
#include "src/server/admin/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "src/json_text.h"
#include "src/server/admin/internal.h"
#include "src/server/admin/store_jobs.h"
#include "src/server/observe/log.h"
#include "src/server/observe/when.h"

enum { POOL_THREADS = 1, POOL_QUEUE = 64 }; /* the users file is edited by one at a time anyway */

static void call_free(void *data)
{
    struct admin_call *c = data;
    free(c->rules);
    admin_free_settings(c);
    policy_change_finish(&c->policy);
    json_decref(c->revisions.row[0]);
    json_decref(c->revisions.row[1]);
    free(c->groups);
    free(c->kept);
    free(c->line);
    admin_target_finish(&c->target);
    json_decref(c->body);
    json_decref(c->list);
    json_decref(c->others);
    free(c->next);
    explicit_bzero(c->password, sizeof c->password);
    explicit_bzero(c->made_text, sizeof c->made_text);
    free(c);
}

static void reply_text(struct http_exchange *x, unsigned http, const char *text,
                       struct http_field field, unsigned retry_after)
{
    struct http_field fields[] = {{"Cache-Control", "no-store"}, field, {NULL, NULL}};
    http_reply(x, &(struct http_reply){.status = http,
                                       .type = "application/json",
                                       .body = text,
                                       .len = strlen(text),
                                       .fields = fields,
                                       .retry_after = retry_after});
}

void admin_refuse(struct http_exchange *x, const struct admin_refusal *r)
{
    char text[256];
    snprintf(text, sizeof text, "{\"error\":\"%s\",\"code\":\"%s\"}", r->sentence, r->code);
    reply_text(x, r->http, text, r->field, r->retry_after);
}

static void no_memory(struct http_exchange *x)
{
    admin_refuse(x, &(struct admin_refusal){503, "no_memory", "The server is out of memory.",
                                            .retry_after = 10});
}

void admin_no_memory(struct admin_call *c)
{
    no_memory(c->http);
}

void admin_reply(struct admin_call *c, unsigned http, json_t *json)
{
    char *text = text_of_json(json, JSON_COMPACT);
    json_decref(json);
    if (text == NULL) {
        admin_no_memory(c);
        return;
    }
    reply_text(c->http, http, text, (struct http_field){0}, 0);
    free(text);
}

void admin_reply_page(struct admin_call *c, json_t *json)
{
    char *text = text_of_json(json, JSON_COMPACT);
    json_decref(json);
    if (text == NULL) {
        admin_no_memory(c);
        return;
    }
    reply_text(c->http, 200, text, (struct http_field){c->next ? "Link" : NULL, c->next}, 0);
    free(text);
}

void admin_reply_text(struct admin_call *c, unsigned http, const char *text)
{
    reply_text(c->http, http, text, (struct http_field){0}, 0);
}

void admin_error(struct admin_call *c, unsigned http, const char *code, const char *sentence)
{
    admin_reply(c, http, json_pack("{s:s,s:s}", "error", sentence, "code", code));
}

void admin_on_pool(struct admin_call *c, void (*run)(struct job *), void (*done)(struct job *))
{
    c->job.run = run;
    c->job.done = done;
    if (pool_submit(c->admin->pool, &c->job))
        http_wait(c->http, NULL);
    else
        admin_error(c, 503, "busy", "Too many changes are waiting; try again.");
}

json_t *admin_text(const char *text)
{
    return json_of_peer(text);
}

json_t *admin_time(int64_t at)
{
    char text[WHEN_TEXT];
    return at && when_text(at, text) ? json_string(text) : json_null();
}

/* The body, if any, is an object with what the route's rows name; false: answered. */
static bool read_body(struct admin_call *c)
{
    char sentence[ADMIN_SENTENCE_MAX];
    size_t len;
    const uint8_t *body = http_body(c->http, &len);
    bool memory = true;
    if (len == 0) {
        c->body = json_object();
        memory = c->body != NULL;
    } else {
        memory = json_of_text((const char *)body, len, JSON_REJECT_DUPLICATES, &c->body);
        explicit_bzero((void *)(uintptr_t)body, len); /* ours alone, and a password may be in it */
    }
    http_drop_body(c->http);
    if (!memory)
        admin_no_memory(c);
    else if (!json_is_object(c->body))
        admin_error(c, 400, "bad_json",
                    "The body must be one JSON object without duplicate names.");
    else if (!admin_body_check(c->route, c->body, sentence))
        admin_error(c, 400, "bad_value", sentence);
    else
        return true;
    return false;
}

/* Everything that can be said before the body is there. */
static void head(struct http_exchange *x, void *ctx)
{
    const struct admin_door *door = ctx;
    char allow[ADMIN_ALLOW_MAX], sentence[ADMIN_SENTENCE_MAX];
    struct admin_call *c = calloc(1, sizeof *c);
    if (c == NULL) {
        no_memory(x);
        return;
    }
    c->admin = door->admin;
    c->http = x;
    http_set_data(x, c, call_free);
    if (!admin_let_in(c, door)) return;
    switch (admin_target_find(http_method(x), http_target(x), &c->target, allow)) {
    case ADMIN_FOUND: break;
    case ADMIN_NO_METHOD:
        admin_refuse(x, &(struct admin_refusal){405, "bad_method",
                                                "This path does not know that method.",
                                                .field = {"Allow", allow}});
        return;
    case ADMIN_NO_PATH:
        admin_refuse(
            x, &(struct admin_refusal){404, "unknown_path", "There is nothing at this path."});
        return;
    case ADMIN_FIND_NO_MEMORY: admin_no_memory(c); return;
    }
    c->route = c->target.route;
    if (admin_may(c) && !admin_target_query(&c->target, sentence))
        admin_error(c, 400, "bad_query", sentence);
}

static void serve(struct http_exchange *x, void *ctx)
{
    struct admin_call *c = http_data(x);
    if (!admin_still_in(c, ctx) || !read_body(c)) return;
    LOG(LOG_DEBUG, http_session(x), "admin", KV_TEXT("method", c->route->method),
        KV_TEXT("path", c->route->path), KV_TEXT("of", c->target.arg[0] ? c->target.arg[0] : ""));
    c->route->serve(c);
}

struct admin *admin_create(struct gate *g, struct audit_mover *audit, char *error, size_t error_cap)
{
    struct admin *a = calloc(1, sizeof *a);
    snprintf(error, error_cap, "administration: no memory or threads");
    if (a == NULL) return NULL;
    a->gate = g;
    a->audit = audit;
    a->started = (int64_t)time(NULL);
    a->doors[0] = (struct admin_door){a, false};
    a->doors[1] = (struct admin_door){a, true};
    a->tokens = tokens_create();
    a->calls = limiter_create(ADMIN_CALLS_BURST, ADMIN_CALLS_EVERY_MS);
    a->failures = limiter_create(ADMIN_FAILURES_BURST, ADMIN_FAILURES_EVERY_MS);
    a->pool = pool_create("admin", POOL_THREADS, POOL_QUEUE);
    a->store_jobs = store_jobs_create(gate_store(g));
    if (a->tokens && a->calls && a->failures && a->pool && a->store_jobs &&
        getrandom(a->secret, sizeof a->secret, 0) == (ssize_t)sizeof a->secret &&
        admin_load_tokens(a, error, error_cap))
        return a;
    admin_destroy(a);
    return NULL;
}

void admin_on_status(struct admin *a, bool (*add)(void *ctx, json_t *status), void *ctx)
{
    a->add_status = add;
    a->add_status_ctx = ctx;
}

void admin_destroy(struct admin *a)
{
    if (a == NULL) return;
    store_jobs_destroy(a->store_jobs);
    pool_destroy(a->pool);
    gate_drop_lists(a->gate, &a->token_list); /* nobody looks at lists here any more */
    limiter_destroy(a->calls);
    limiter_destroy(a->failures);
    tokens_destroy(a->tokens);
    free(a);
}

struct http_handler admin_handler(struct admin *a, bool wants_token)
{
    return (struct http_handler){.head = head,
                                 .serve = serve,
                                 .ctx = &a->doors[wants_token],
                                 .body_max = ADMIN_BODY_MAX,
                                 .json = true};
}
