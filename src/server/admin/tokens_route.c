/* Tokens: made, listed, removed; in the store and in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "src/json_text.h"
#include "src/server/admin/internal.h"
#include "src/server/gate/note.h"
#include "src/server/observe/log.h"

#define ITEM_KIND "token"

/* ---- loading ---- */

/* Those that the store has. */
struct reading {
    size_t count;
    struct token all[TOKENS_MAX];
};

static void *begin(void *ctx)
{
    (void)ctx;
    return calloc(1, sizeof(struct reading));
}

static void read_item(void *reading, const struct item_record *item)
{
    struct reading *r = reading;
    if (strcmp(item->kind, ITEM_KIND) != 0) return;
    /* Nothing is opened by a token that cannot be read: that is no reason not to start. */
    if (r->count < TOKENS_MAX && token_of_json(item->name, item->json, &r->all[r->count]))
        r->count++;
    else
        LOG(LOG_ERROR, 0, "token-lost", KV_TEXT("name", item->name),
            KV_TEXT("why", "its record is damaged, or there are too many"));
}

static void end(void *ctx, void *reading, bool take)
{
    const struct admin *a = ctx;
    const struct reading *r = reading;
    if (take) tokens_take(a->tokens, r->all, r->count);
    free(reading);
}

bool admin_load_tokens(struct admin *a, char *error, size_t error_cap)
{
    a->token_list = (struct lists_part){begin, read_item, end, a};
    return gate_add_lists(a->gate, &a->token_list, error, error_cap);
}

/* ---- answers ---- */

static json_t *view_json(const struct token *t)
{
    return json_pack("{s:s,s:o,s:o,s:o,s:o}", "name", t->name, "scopes", scopes_to_json(t->scopes),
                     "created_at", admin_time(t->created_at), "expires_at",
                     admin_time(t->expires_at), "last_used_at", admin_time(t->last_used_at));
}

static void list_one(void *ctx, const struct token *t)
{
    struct admin_call *c = ctx;
    if (json_array_append_new(c->list, view_json(t)) != 0) c->out_of_memory = true;
}

void admin_tokens(struct admin_call *c)
{
    c->list = json_array();
    tokens_each(c->admin->tokens, list_one, c);
    if (c->out_of_memory)
        admin_no_memory(c);
    else
        admin_reply(c, 200, json_incref(c->list));
}

/* ---- changes: two, with the line that tells of them ---- */

/* change goes with the line that tells of it; texts live as long as the call. */
static bool submit(struct admin_call *c, const struct store_change *change, const char *act,
                   json_t *before, json_t *after,
                   void (*done)(struct lists_submit *, enum gate_result))
{
    c->line = note_act(admin_actor(c), act, time(NULL), json_pack("{s:s}", "token", c->made.name),
                       before, after);
    if (!c->line) return false;
    c->changes[0] = *change;
    c->changes[1] = (struct store_change){.kind = STORE_ADD_AUDIT, .u.log.json = c->line};
    c->lists.changes = c->changes;
    c->lists.count = 2;
    c->lists.done = done;
    http_wait(c->http, NULL);
    gate_submit_lists(c->admin->gate, &c->lists);
    return true;
}

static struct admin_call *call_of_lists(struct lists_submit *s)
{
    return CONTAINER_OF(s, struct admin_call, lists);
}

static void changed_elsewhere(struct admin_call *c)
{
    admin_error(c, 409, "conflict", LISTS_CONFLICT);
}

static void log_change(struct admin_call *c, const char *verb)
{
    LOG(LOG_INFO, http_session(c->http), verb, KV_TEXT("name", c->made.name),
        KV_TEXT("by", admin_actor(c)));
}

static void not_added(struct admin_call *c)
{
    tokens_settle(c->admin->tokens, c->made.name, false);
    admin_not_stored(c, &c->lists.write);
}

static void keep_added(struct lists_submit *s)
{
    struct admin_call *c = call_of_lists(s);
    tokens_settle(c->admin->tokens, c->made.name, true);
}

static void added(struct lists_submit *s, enum gate_result result)
{
    struct admin_call *c = call_of_lists(s);
    if (result == GATE_CONFLICT) {
        tokens_settle(c->admin->tokens, c->made.name, false);
        changed_elsewhere(c);
        return;
    }
    if (result != GATE_OK) {
        not_added(c);
        return;
    }
    log_change(c, "token-add");
    json_t *answer = view_json(&c->made);
    if (json_object_set_new(answer, "token", json_string(c->made_text)) != 0) {
        json_decref(answer);
        answer = NULL;
    }
    admin_reply(c, 201, answer);
}

/* What the body says; false: answered. */
static bool read_token(struct admin_call *c, struct token *t)
{
    const char *name = admin_body_text(c, "name"), *expires = admin_body_text(c, "expires");
    t->created_at = time(NULL);
    if (!token_name_good(name)) {
        char sentence[128];
        snprintf(sentence, sizeof sentence,
                 "The name of a token is 1 to %d letters, digits, dots, dashes and underscores.",
                 TOKEN_NAME_MAX - 1);
        admin_error(c, 400, "bad_name", sentence);
    } else if (!scopes_of_json(admin_body(c, "scopes"), &t->scopes)) {
        admin_error(c, 400, "bad_value", "scopes must be one or more of read, operate and wipe.");
    } else if (expires && !admin_until(expires, t->created_at, &t->expires_at)) {
        admin_error(c, 400, "bad_value",
                    "expires must be a time from now, such as 90d or 12h, or a date to come.");
    } else {
        memcpy(t->name, name, strlen(name) + 1);
        return true;
    }
    return false;
}

/* Reserved in memory first, so that two of one name cannot both be stored. */
static bool reserve(struct admin_call *c)
{
    switch (tokens_add(c->admin->tokens, &c->made)) {
    case TOKENS_OK: return true;
    case TOKENS_EXISTS:
        admin_error(c, 409, "token_exists", "There is a token of that name already.");
        return false;
    default: break;
    }
    admin_error(c, 409, "too_many_tokens", "There are too many tokens; remove some.");
    return false;
}

void admin_token_add(struct admin_call *c)
{
    uint8_t random[32];
    if (!read_token(c, &c->made)) return;
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        admin_error(c, 500, "random", "The system has no random bytes.");
        return;
    }
    token_make(&c->made, random, c->made_text);
    explicit_bzero(random, sizeof random);
    if (!reserve(c)) return;
    json_t *kept = token_to_json(&c->made);
    c->kept = text_of_json(kept, JSON_COMPACT);
    const struct store_change put = {.kind = STORE_PUT_ITEM,
                                     .u.item = {ITEM_KIND, c->made.name, c->kept}};
    json_decref(kept);
    c->lists.keep = keep_added;
    if (!c->kept || !submit(c, &put, "token.add", NULL, view_json(&c->made), added)) not_added(c);
}

static void not_removed(struct admin_call *c)
{
    tokens_forget(c->admin->tokens, c->made.name, false);
    admin_error(
        c, 503, "store",
        "The store is out of reach: the token is refused here now, but it may be back after "
        "a restart, and another server may take it. Remove it once more.");
}

static void keep_removed(struct lists_submit *s)
{
    struct admin_call *c = call_of_lists(s);
    tokens_forget(c->admin->tokens, c->made.name, true);
}

static void removed(struct lists_submit *s, enum gate_result result)
{
    struct admin_call *c = call_of_lists(s);
    if (result == GATE_CONFLICT) {
        tokens_reopen(c->admin->tokens, c->made.name);
        changed_elsewhere(c);
        return;
    }
    if (result != GATE_OK) {
        not_removed(c);
        return;
    }
    log_change(c, "token-remove");
    admin_reply(c, 200, json_pack("{s:s,s:b}", "name", c->made.name, "removed", 1));
}

/* What it was, for the audit log. */
static void take_known(void *ctx, const struct token *t)
{
    struct admin_call *c = ctx;
    if (strcmp(t->name, admin_arg(c, "token")) == 0) c->made = *t;
}

void admin_token_remove(struct admin_call *c)
{
    const char *name = admin_arg(c, "token");
    tokens_each(c->admin->tokens, take_known, c);
    json_t *before = c->made.scopes ? view_json(&c->made) : NULL; /* none: it is closed already */
    if (!token_name_good(name) || tokens_close(c->admin->tokens, name) != TOKENS_OK) {
        json_decref(before);
        admin_error(c, 404, "unknown_token", "There is no token of that name.");
        return;
    }
    memcpy(c->made.name, name, strlen(name) + 1);
    c->lists.keep = keep_removed;
    const struct store_change remove = {.kind = STORE_REMOVE_ITEM,
                                        .u.item = {ITEM_KIND, c->made.name, NULL}};
    if (!submit(c, &remove, "token.remove", before, NULL, removed)) not_removed(c);
}
