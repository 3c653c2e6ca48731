/* Whom policies are assigned to. */
#include "src/server/admin/internal.h"
#include "src/server/gate/note.h"

static void list_one(void *ctx, const struct gate_assignee *to, const char *policy)
{
    struct admin_call *c = ctx;
    json_t *o = note_assignee(to);
    if (json_object_set_new(o, "policy", admin_text(policy)) != 0) {
        json_decref(o);
        o = NULL;
    }
    if (json_array_append_new(c->list, o) != 0) c->out_of_memory = true;
}

void admin_assignments(struct admin_call *c)
{
    c->list = json_array();
    gate_each_assignment(c->admin->gate, list_one, c);
    if (c->out_of_memory)
        admin_no_memory(c);
    else
        admin_reply(c, 200, json_incref(c->list));
}

/* false: answered. */
static bool take_assignee(struct admin_call *c)
{
    static const struct {
        bool group, user, device;
    } wanted[] = {
        [GATE_SCOPE_DEFAULT] = {false, false, false},
        [GATE_SCOPE_GROUP] = {true, false, false},
        [GATE_SCOPE_USER] = {false, true, false},
        [GATE_SCOPE_DEVICE] = {false, true, true},
    };
    struct gate_assignee *to = &c->policy.to;
    to->group = admin_body_text(c, "group");
    to->user = admin_body_text(c, "user");
    to->device_id = admin_body_text(c, "device_id");
    if (gate_scope_parse(admin_body_text(c, "scope"), &to->scope) &&
        wanted[to->scope].group == (to->group != NULL) &&
        wanted[to->scope].user == (to->user != NULL) &&
        wanted[to->scope].device == (to->device_id != NULL))
        return true;
    admin_error(c, 400, "bad_value",
                "The scope default takes nothing else, group a group, user a user, device a user "
                "and a device_id.");
    return false;
}

/* A user gets it by the name that a login has, however it was typed here. */
void admin_assign(struct admin_call *c)
{
    struct gate_assignee *to = &c->policy.to;
    c->policy.name = admin_body_text(c, "policy");
    if (!take_assignee(c)) return;
    if (to->user && auth_user_name(gate_auth(c->admin->gate), to->user, c->name))
        to->user = c->name;
    admin_policy_change(c, POLICY_ASSIGN);
}

void admin_unassign(struct admin_call *c)
{
    c->policy.name = admin_body_text(c, "policy");
    if (take_assignee(c)) admin_policy_change(c, POLICY_UNASSIGN);
}
