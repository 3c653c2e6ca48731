/* The client's machine: every reaction, and that no server keeps it busy or takes its key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <provost/provision.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Three times command and poll; twice ask, acknowledge, inform; once more for 165. */
enum { OLD = 77, MOST_REQUESTS = 3 * 2 + 2 * 3 + 1 };
#define FINAL 3942919513u

/* Answers by name; a name with digits is built on the fly: 449, s142, 449s140. */
static const struct { const char *name; struct pv_provision_answer a; } answers[] = {
    {"offer", {.status = 1, .has_policy = true, .policy_status = 1, .key = "1307199584"}},
    {"offer-notop", {.has_policy = true, .policy_status = 1, .key = "1307199584"}},
    {"offer-text", {.status = 1, .has_policy = true, .policy_status = 1, .key = "{a-b}"}},
    {"offer-wap", {.status = 1, .has_policy = true, .policy_status = 1, .key = "1",
                   .policy_type = "MS-WAP-Provisioning-XML"}},
    {"nokey", {.status = 1, .has_policy = true, .policy_status = 1}},
    {"key0", {.status = 1, .has_policy = true, .policy_status = 1, .key = "0"}},
    {"keyx", {.status = 1, .has_policy = true, .policy_status = 1, .key = "1307199584x"}},
    {"keybig", {.status = 1, .has_policy = true, .policy_status = 1, .key = "4294967296"}},
    {"final", {.status = 1, .has_policy = true, .policy_status = 1, .key = "3942919513"}},
    {"final-notop", {.has_policy = true, .key = "3942919513"}},
    {"p2", {.status = 1, .has_policy = true, .policy_status = 2}},
    {"p3", {.status = 1, .has_policy = true, .policy_status = 3}},
    {"p4", {.status = 1, .has_policy = true, .policy_status = 4}},
    {"p5", {.status = 1, .has_policy = true, .policy_status = 5}},
    {"plain", {.status = 1}},
    {"empty", {0}},
    {"t2", {.status = 2}},
    {"t3", {.status = 3}},
    {"t139", {.status = 139}},
    {"t140", {.status = 140}},
    {"t142", {.status = 142}},
    {"t145", {.status = 145}},
    {"t165", {.status = 165}},
    {"t129", {.status = 129}},
    {"wipe", {.status = 1, .wipe = PV_WIPE_DEVICE}},
    {"wipe-failed", {.status = 2, .wipe = PV_WIPE_DEVICE}},
    {"wipe-offer", {.status = 1, .has_policy = true, .policy_status = 1, .key = "5",
                    .wipe = PV_WIPE_DEVICE}},
    {"account", {.status = 1, .wipe = PV_WIPE_ACCOUNT}},
    {"account-offer", {.status = 1, .has_policy = true, .policy_status = 1, .key = "5",
                       .wipe = PV_WIPE_ACCOUNT}},
};

static const char *const action_names[] = {
    "COMMAND", "ASK", "ACK", "INFORM", "POLL", "WIPE", "WIPE_ACK", "DONE", "FAIL"};
static const char *const failure_names[] = {
    "NONE", "CREDENTIALS", "REFUSED", "BLOCKED", "CANNOT_KEEP", "WIPED", "PROTOCOL", "LOOP",
    "BUSY", "REDIRECT"};

static struct pv_client_in named(const char *name, unsigned judgement)
{
    struct pv_client_in in = {.http = 200, .judgement = judgement};
    const char *status;

    for (size_t i = 0; i < COUNT(answers); i++)
        if (!strcmp(name, answers[i].name)) in.provision = &answers[i].a;
    if (in.provision || !strcmp(name, "ok") || !strcmp(name, "garbage")) return in;
    status = strchr(name, 's');
    if (status != name) in.http = (unsigned)strtoul(name, NULL, 10);
    if (status) in.status = (unsigned)strtoul(status + 1, NULL, 10);
    return in;
}

static void give(struct pv_client *c, const char *name, unsigned judgement,
                 struct pv_client_out *out)
{
    struct pv_client_in in;

    if (!strcmp(name, "start")) {
        pv_client_command(c, out);
    } else if (!strncmp(name, "hook", 4)) {
        pv_client_wiped(c, (unsigned)name[4] - '0', out);
    } else {
        in = named(name, judgement);
        pv_client_answer(c, &in, out);
    }
}

/* What must hold of every decision. */
static void check_out(const struct pv_client *c, const struct pv_client_out *out)
{
    assert_in_range(out->action, 0, PV_CLIENT_ACTION_COUNT - 1);
    assert_non_null(out->why);
    assert_int_equal(out->action == PV_DO_FAIL, out->failure != PV_FAIL_NONE);
    assert_int_equal(out->action == PV_DO_FAIL, c->state == PV_CLIENT_FAILED);
    assert_int_equal(out->action == PV_DO_DONE, c->state == PV_CLIENT_DONE);
    assert_ptr_equal(out->temp_key, c->temp_key);
    assert_int_equal(out->action == PV_DO_ACK, out->temp_key[0] != '\0');
    assert_true(out->key == 0 || out->key == c->key);
    assert_true(c->handshakes <= PV_CLIENT_HANDSHAKES);
    if (out->action == PV_DO_ACK) assert_in_range(out->ack_status, 1, 4);
    if (out->action == PV_DO_ASK) assert_int_equal(out->key, 0);
    if (out->action == PV_DO_ASK) assert_int_equal(out->device_info, c->device_info);
    if (out->action == PV_DO_INFORM) assert_int_equal(out->key, c->key);
    if (out->action == PV_DO_WIPE || out->action == PV_DO_WIPE_ACK)
        assert_int_not_equal(out->wipe, PV_WIPE_NONE);
}

struct course {
    const char *name;
    enum pv_version version;
    uint32_t key;
    unsigned judgement;
    const char *steps;      /* answer=action ... */
    uint32_t key_after;
    unsigned status;        /* out.status at the end */
};

static void run(const struct course *course)
{
    struct pv_client c = {.version = course->version, .key = course->key,
                          .proactive = strstr(course->name, "proactive") != NULL};
    struct pv_client_out out = {0};
    char copy[512], *save, *pair;

    print_message("# %s\n", course->name);
    snprintf(copy, sizeof copy, "%s", course->steps);
    for (pair = strtok_r(copy, " ", &save); pair; pair = strtok_r(NULL, " ", &save)) {
        char *want = strchr(pair, '=');
        *want++ = '\0';
        give(&c, pair, course->judgement, &out);
        check_out(&c, &out);
        assert_string_equal(out.action == PV_DO_FAIL ? failure_names[out.failure]
                                                     : action_names[out.action], want);
        if (out.action == PV_DO_ACK) assert_int_equal(out.ack_status, course->judgement);
    }
    assert_int_equal(c.key, course->key_after);
    assert_int_equal(out.status, course->status);
}

#define V PV_V14_1
static const struct course courses[] = {
    {"in order", V, OLD, 1, "start=COMMAND ok=DONE", OLD, 0},
    {"first contact", V, 0, 1, "start=COMMAND s142=ASK offer=ACK final=COMMAND ok=DONE",
     FINAL, 0},
    {"449 at 14.1", V, 0, 1, "start=COMMAND 449=ASK offer=ACK final=COMMAND ok=DONE",
     FINAL, 0},
    {"449 with Status", V, OLD, 1, "start=COMMAND 449s142=ASK offer=ACK", OLD, 0},
    {"Status 141", V, 0, 1, "start=COMMAND s141=ASK", 0, 0},
    {"Status 143", V, OLD, 1, "start=COMMAND s143=ASK offer=ACK final=COMMAND ok=DONE",
     FINAL, 0},
    {"Status 144", V, OLD, 1, "start=COMMAND s144=ASK", OLD, 0},
    {"12.0 informs", PV_V12_0, 0, 1,
     "start=COMMAND 449=ASK offer=ACK final=INFORM ok=COMMAND ok=DONE", FINAL, 0},
    {"14.0 informs, which may fail", PV_V14_0, 0, 1,
     "start=COMMAND s142=ASK offer=ACK final=INFORM 501=COMMAND ok=DONE", FINAL, 0},
    {"a refused information changes nothing", PV_V12_1, 0, 1,
     "start=COMMAND 449=ASK offer=ACK final=INFORM 449=COMMAND ok=DONE", FINAL, 0},
    {"2.5 does not", PV_V2_5, 0, 1, "start=COMMAND 449=ASK offer-wap=ACK final=COMMAND ok=DONE",
     FINAL, 0},
    {"top Status is missing", V, 0, 1,
     "start=COMMAND s142=ASK offer-notop=ACK final-notop=COMMAND ok=DONE", FINAL, 0},
    {"the temporary key is any text", V, 0, 1, "start=COMMAND s142=ASK offer-text=ACK", 0, 0},
    {"proactive", V, 0, 1, "start=ASK offer=ACK final=COMMAND ok=DONE start=COMMAND ok=DONE",
     FINAL, 0},
    {"proactive with a key", V, OLD, 1, "start=COMMAND ok=DONE", OLD, 0},
    {"proactive, no Provision there", V, 0, 1, "start=ASK 501=PROTOCOL", 0, 501},
    {"asked again later", V, 0, 1, "start=COMMAND s142=ASK offer=ACK final=COMMAND ok=DONE "
     "start=COMMAND s143=ASK offer=ACK final=COMMAND ok=DONE", FINAL, 0},

    {"refused with a fresh key: once more, then enough", V, OLD, 1, "start=COMMAND s142=ASK "
     "offer=ACK final=COMMAND s142=ASK offer=ACK final=COMMAND s142=LOOP", FINAL, 142},
    {"the same with 449", PV_V12_1, 0, 1, "start=COMMAND 449=ASK offer=ACK final=INFORM "
     "ok=COMMAND 449=ASK offer=ACK final=INFORM ok=COMMAND 449=LOOP", FINAL, 449},
    {"wrong key: anew, once", V, OLD, 1,
     "start=COMMAND s142=ASK offer=ACK p5=ASK offer=ACK final=COMMAND ok=DONE", FINAL, 0},
    {"wrong key twice", V, OLD, 1, "start=COMMAND s142=ASK offer=ACK p5=ASK offer=ACK p5=LOOP",
     OLD, 5},
    {"no policy: on without a key", V, OLD, 1, "start=COMMAND s142=ASK p2=COMMAND ok=DONE", OLD, 0},
    {"no policy and asks again", V, 0, 1, "start=COMMAND s142=ASK p2=COMMAND s142=LOOP", 0, 142},
    {"no policy at the acknowledgement", V, 0, 1,
     "start=COMMAND s142=ASK offer=ACK p2=COMMAND ok=DONE", 0, 0},

    {"165: once more, with it", PV_V14_0, 0, 1,
     "start=COMMAND s142=ASK t165=ASK offer=ACK final=INFORM", FINAL, 0},
    {"165 although it was sent", V, 0, 1, "start=COMMAND s142=ASK t165=PROTOCOL", 0, 165},
    {"165 twice", PV_V12_1, 0, 1, "start=COMMAND 449=ASK t165=ASK t165=PROTOCOL", 0, 165},
    {"165 to a command", PV_V12_1, 0, 1, "start=COMMAND s165=ASK offer=ACK", 0, 0},
    {"165 to the acknowledgement", PV_V14_0, 0, 1,
     "start=COMMAND s142=ASK offer=ACK t165=ASK offer=ACK", 0, 0},

    {"partial, and let in", V, OLD, 2, "start=COMMAND s142=ASK offer=ACK final=COMMAND ok=DONE",
     FINAL, 0},
    {"partial: 139", V, OLD, 2, "start=COMMAND s142=ASK offer=ACK t139=CANNOT_KEEP", OLD, 139},
    {"partial: no key", V, OLD, 2, "start=COMMAND s142=ASK offer=ACK nokey=CANNOT_KEEP", OLD, 1},
    {"partial: Policy Status 4", V, OLD, 2, "start=COMMAND s142=ASK offer=ACK p4=CANNOT_KEEP",
     OLD, 4},
    {"nothing applied: key 0", V, OLD, 3, "start=COMMAND s142=ASK offer=ACK key0=CANNOT_KEEP",
     OLD, 1},
    {"managed elsewhere: 145", V, OLD, 4, "start=COMMAND s142=ASK offer=ACK t145=REFUSED",
     OLD, 145},
    {"all applied, yet no key", V, OLD, 1, "start=COMMAND s142=ASK offer=ACK plain=REFUSED",
     OLD, 1},
    {"all applied, yet 139", V, OLD, 1, "start=COMMAND s142=ASK offer=ACK t139=REFUSED", OLD, 139},
    {"139 to a command", V, OLD, 1, "start=COMMAND s139=REFUSED", OLD, 139},
    {"139 to the request", V, OLD, 2, "start=COMMAND s142=ASK t139=REFUSED", OLD, 139},

    {"final key with more than digits", V, OLD, 1,
     "start=COMMAND s142=ASK offer=ACK keyx=PROTOCOL", OLD, 1},
    {"final key beyond 32 bits", V, OLD, 1, "start=COMMAND s142=ASK offer=ACK keybig=PROTOCOL",
     OLD, 1},
    {"offer without key", V, OLD, 1, "start=COMMAND s142=ASK nokey=PROTOCOL", OLD, 1},
    {"offer whose policy cannot be read", V, OLD, 0, "start=COMMAND s142=ASK offer=PROTOCOL",
     OLD, 1},
    {"offer of another type", V, OLD, 1, "start=COMMAND s142=ASK offer-wap=PROTOCOL", OLD, 1},
    {"Policy Status 3", V, OLD, 1, "start=COMMAND s142=ASK p3=PROTOCOL", OLD, 3},
    {"Policy Status 4", V, OLD, 1, "start=COMMAND s142=ASK p4=PROTOCOL", OLD, 4},
    {"Policy Status 5 to a request", V, OLD, 1, "start=COMMAND s142=ASK p5=PROTOCOL", OLD, 5},
    {"Provision Status 2", V, OLD, 1, "start=COMMAND s142=ASK t2=PROTOCOL", OLD, 2},
    {"Provision Status 3", V, OLD, 1, "start=COMMAND s142=ASK t3=BUSY", OLD, 3},
    {"an empty answer", V, OLD, 1, "start=COMMAND s142=ASK empty=PROTOCOL", OLD, 200},
    {"an answer that cannot be decoded", V, OLD, 1, "start=COMMAND s142=ASK garbage=PROTOCOL",
     OLD, 200},
    {"provisioning inside provisioning", V, OLD, 1, "start=COMMAND s142=ASK t142=PROTOCOL",
     OLD, 142},
    {"449 to Provision", V, OLD, 1, "start=COMMAND 449=ASK 449=PROTOCOL", OLD, 449},
    {"500 to the acknowledgement", V, OLD, 1, "start=COMMAND s142=ASK offer=ACK 500=PROTOCOL",
     OLD, 500},
    {"an answer that nobody waits for", V, OLD, 1, "start=COMMAND ok=DONE ok=PROTOCOL", OLD, 200},

    {"401", V, OLD, 1, "start=COMMAND 401=CREDENTIALS", OLD, 401},
    {"401 to Provision", V, OLD, 1, "start=COMMAND s142=ASK 401=CREDENTIALS", OLD, 401},
    {"password expired", V, OLD, 1, "start=COMMAND 457=CREDENTIALS", OLD, 457},
    {"503", V, OLD, 1, "start=COMMAND 503=BUSY", OLD, 503},
    {"503 to the acknowledgement", V, OLD, 1, "start=COMMAND s142=ASK offer=ACK 503=BUSY",
     OLD, 503},
    {"Status 111", V, OLD, 1, "start=COMMAND s111=BUSY", OLD, 111},
    {"451", V, OLD, 1, "start=COMMAND 451=REDIRECT", OLD, 451},
    {"129", V, OLD, 1, "start=COMMAND s129=BLOCKED", OLD, 129},
    {"126", V, OLD, 1, "start=COMMAND s126=BLOCKED", OLD, 126},
    {"177", V, OLD, 1, "start=COMMAND s177=BLOCKED", OLD, 177},
    {"129 to Provision", V, OLD, 1, "start=COMMAND s142=ASK t129=BLOCKED", OLD, 129},
    {"a Status of the command", V, OLD, 1, "start=COMMAND s9=DONE", OLD, 0},
    {"404 is the caller's", V, OLD, 1, "start=COMMAND 404=DONE", OLD, 0},

    {"403: blocked", PV_V12_1, OLD, 1, "start=COMMAND 403=POLL plain=BLOCKED", OLD, 403},
    {"403 everywhere", PV_V12_1, OLD, 1, "start=COMMAND 403=POLL 403=BLOCKED", OLD, 403},
    {"403, then nonsense", PV_V12_1, OLD, 1, "start=COMMAND 403=POLL garbage=BLOCKED", OLD, 403},
    {"403 means provision", PV_V12_1, 0, 1, "start=COMMAND 403=POLL 449=ASK offer=ACK", 0, 0},
    {"403 hides a wipe", PV_V12_1, 0, 1,
     "start=COMMAND 403=POLL wipe=WIPE hook1=WIPE_ACK plain=WIPED", 0, 200},
    {"403 to the request", V, OLD, 1, "start=COMMAND s142=ASK 403=BLOCKED", OLD, 403},

    {"140", V, OLD, 1, "start=COMMAND s140=POLL wipe=WIPE hook1=WIPE_ACK plain=WIPED", OLD, 200},
    {"140 with 449", V, OLD, 1, "start=COMMAND 449s140=POLL wipe=WIPE hook2=WIPE_ACK "
     "wipe-failed=WIPED", OLD, 200},
    {"the hook did nothing", V, OLD, 1, "start=COMMAND s140=POLL wipe=WIPE hook0=WIPED", OLD, 0},
    {"the acknowledgement gets no good answer", V, OLD, 1,
     "start=COMMAND s140=POLL wipe=WIPE hook1=WIPE_ACK 500=WIPED", OLD, 500},
    {"140, directive only in a full request", V, OLD, 1,
     "start=COMMAND s140=POLL plain=ASK wipe-offer=WIPE hook1=WIPE_ACK wipe=WIPED", OLD, 200},
    {"140 again and again", V, OLD, 1,
     "start=COMMAND s140=POLL plain=ASK t140=POLL plain=ASK t140=POLL plain=LOOP", OLD, 1},
    {"directive beside a policy", PV_V12_1, OLD, 1, "start=COMMAND 449=ASK wipe-offer=WIPE",
     OLD, 0},
    {"directive at the acknowledgement", V, OLD, 1,
     "start=COMMAND s142=ASK offer=ACK wipe-offer=WIPE", OLD, 0},
    {"account-only at 16.1", PV_V16_1, OLD, 1,
     "start=COMMAND s140=POLL account=WIPE hook1=WIPE_ACK plain=WIPED", OLD, 200},
    {"account-only below is not there", PV_V16_0, OLD, 1,
     "start=COMMAND s142=ASK account-offer=ACK", OLD, 0},
    {"account-only below, polled after 403", PV_V12_1, OLD, 1,
     "start=COMMAND 403=POLL account=BLOCKED", OLD, 403},
    {"a hook that nobody asked", V, OLD, 1, "start=COMMAND hook1=PROTOCOL", OLD, 0},
};

static void every_reaction(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(courses); i++) run(&courses[i]);
}

static void what_goes_into_each_request(void **state)
{
    struct pv_client c = {.version = PV_V14_1, .key = OLD};
    struct pv_client_out out;

    (void)state;
    pv_client_command(&c, &out);
    assert_int_equal(out.key, OLD);
    give(&c, "s144", 1, &out);
    assert_true(out.device_info);
    give(&c, "offer", 2, &out);
    assert_string_equal(out.temp_key, "1307199584");
    assert_int_equal(out.ack_status, 2);
    assert_int_equal(c.key, OLD);
    give(&c, "final", 0, &out);
    assert_int_equal(out.key, FINAL);
    assert_string_equal(c.temp_key, "");
    give(&c, "s143", 1, &out);
    give(&c, "p2", 1, &out); /* on without a key, which is kept all the same */
    assert_int_equal(out.action, PV_DO_COMMAND);
    assert_int_equal(out.key, 0);
    assert_int_equal(c.key, FINAL);
    pv_client_command(&c, &out);
    assert_int_equal(out.key, FINAL);

    c = (struct pv_client){.version = PV_V14_0};
    pv_client_command(&c, &out);
    give(&c, "s142", 1, &out);
    assert_false(out.device_info);
    give(&c, "t165", 1, &out);
    assert_true(out.device_info);
    pv_client_command(&c, &out); /* and from now on always */
    give(&c, "s142", 1, &out);
    assert_true(out.device_info);
}

static void the_longest_temporary_key(void **state)
{
    struct pv_provision_answer a = {.status = 1, .has_policy = true, .policy_status = 1};
    struct pv_client c = {.version = PV_V14_1};
    struct pv_client_out out;

    (void)state;
    memset(a.key, '9', sizeof a.key - 1);
    pv_client_command(&c, &out);
    give(&c, "s142", 1, &out);
    pv_client_answer(&c, &(struct pv_client_in){.http = 200, .provision = &a, .judgement = 1},
                     &out);
    assert_int_equal(out.action, PV_DO_ACK);
    assert_string_equal(out.temp_key, a.key);
}

/* ---- servers that answer anything --------------------------------------------------------- */

static uint64_t seed = 0x9E3779B97F4A7C15u;
static unsigned any(unsigned below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % below);
}

/* The answer that keeps a client going for longest. */
static struct pv_client_in patient(const struct pv_client_out *out)
{
    static const char *const by_action[] = {
        [PV_DO_COMMAND] = "s140", [PV_DO_ASK] = "offer", [PV_DO_ACK] = "final",
        [PV_DO_INFORM] = "ok", [PV_DO_POLL] = "plain", [PV_DO_WIPE_ACK] = "ok"};
    bool info = out->action == PV_DO_ASK && !out->device_info;

    return named(info ? "t165" : by_action[out->action], 1);
}

static struct pv_client_in any_answer(struct pv_provision_answer *a)
{
    static const unsigned https[] = {200, 200, 200, 200, 200, 449, 403, 401, 451, 500, 503, 0};
    static const unsigned statuses[] = {0, 1, 1, 1, 2, 3, 111, 129, 139, 140, 142, 145, 165};
    static const char *const keys[] = {"", "0", "1", "3942919513", "4294967295", "text", "007"};
    struct pv_client_in in = {.http = https[any(COUNT(https))], .judgement = any(6)};

    in.status = statuses[any(COUNT(statuses))];
    if (any(4) == 0) return in;
    *a = (struct pv_provision_answer){.status = statuses[any(COUNT(statuses))],
        .has_policy = any(8) != 0, .policy_status = any(3) ? 1 : any(7)};
    a->wipe = any(12) ? PV_WIPE_NONE : (enum pv_wipe_kind)any(3);
    snprintf(a->key, sizeof a->key, "%s", keys[any(COUNT(keys))]);
    in.provision = a;
    return in;
}

static void no_server_keeps_it_busy_or_takes_its_key(void **state)
{
    unsigned longest = 0, ends[PV_FAILURE_COUNT + 1] = {0};

    (void)state;
    for (int course = 0; course < 200000; course++) {
        struct pv_client c = {.version = (enum pv_version)any(PV_VERSION_COUNT),
                              .proactive = any(4) == 0, .key = any(2) ? OLD : 0};
        struct pv_client_out out;
        unsigned requests = 0;

        pv_client_command(&c, &out);
        while (out.action != PV_DO_DONE && out.action != PV_DO_FAIL) {
            struct pv_provision_answer a = {0};
            struct pv_client before = c;
            struct pv_client_in in;

            check_out(&c, &out);
            /* At the very end a wipe may come: the hook and its acknowledgement. */
            assert_in_range(++requests, 1, MOST_REQUESTS + 2);
            if (out.action == PV_DO_WIPE) {
                pv_client_wiped(&c, any(4), &out);
                continue;
            }
            in = any(8) ? patient(&out) : any_answer(&a);
            pv_client_answer(&c, &in, &out);
            if (c.key != before.key) { /* nothing but an accepted acknowledgement */
                assert_int_equal(before.state, PV_CLIENT_ACKED);
                assert_int_equal(in.http, 200);
                assert_true(in.provision && in.provision->status <= 1);
                assert_true(c.key == strtoul(in.provision->key, NULL, 10) && c.key != 0);
            }
        }
        check_out(&c, &out);
        if (requests > longest) longest = requests;
        ends[out.action == PV_DO_DONE ? PV_FAILURE_COUNT : out.failure]++;
    }
    print_message("# at most %u requests\n", longest);
    for (int i = PV_FAIL_NONE + 1; i <= PV_FAILURE_COUNT; i++) assert_true(ends[i] > 0);
}

/* A server that refuses a command for ever, whatever else it answers, is left after a few. */
static void the_most_patient_course_is_bounded(void **state)
{
    struct pv_client c = {.version = PV_V14_0};
    struct pv_client_out out;
    unsigned requests = 0;

    (void)state;
    pv_client_command(&c, &out);
    while (out.action != PV_DO_FAIL) {
        struct pv_client_in in = patient(&out);
        requests++;
        pv_client_answer(&c, &in, &out);
    }
    assert_int_equal(out.failure, PV_FAIL_LOOP);
    assert_int_equal(requests, MOST_REQUESTS);
}

/* Calls that the last decision did not ask for, and a state that is none. */
static void out_of_turn(void **state)
{
    const struct pv_client_in fine = {.http = 200, .status = 1};
    struct pv_client_out out;

    (void)state;
    for (unsigned s = 0; s <= PV_CLIENT_STATE_COUNT; s++) {
        struct pv_client c = {.version = PV_V14_1, .key = OLD, .state = (enum pv_client_state)s};
        pv_client_wiped(&c, 1, &out);
        assert_true(s == PV_CLIENT_WIPING || out.failure == PV_FAIL_PROTOCOL);
        c.state = (enum pv_client_state)s;
        pv_client_answer(&c, &fine, &out);
        if (s == PV_CLIENT_IDLE || s == PV_CLIENT_WIPING || s >= PV_CLIENT_DONE)
            assert_int_equal(out.failure, PV_FAIL_PROTOCOL);
        assert_int_equal(c.key, OLD);
    }
}

static void it_prints_itself(void **state)
{
    static char table[1 << 14], small[1 << 14];
    size_t len;

    (void)state;
    assert_int_equal(pv_client_table(table, sizeof table, &len), PV_OK);
    assert_int_equal(strlen(table), len);
    assert_non_null(strstr(table, "| acked | a final key | informing |"));
    assert_null(strchr(table, '?'));
    for (unsigned s = PV_CLIENT_IDLE; s < PV_CLIENT_DONE; s++) {
        char row[40];
        snprintf(row, sizeof row, "\n| %s |", pv_client_state_text((enum pv_client_state)s));
        assert_non_null(strstr(table, row));
    }
    for (size_t cap = 0; cap <= len; cap += cap < 200 ? 1 : 97)
        assert_int_equal(pv_client_table(small, cap, &len), PV_E_NOMEM);
    assert_string_equal(pv_client_state_text(PV_CLIENT_STATE_COUNT), "?");
    assert_string_equal(pv_failure_text(PV_FAILURE_COUNT), "?");
    assert_string_equal(pv_failure_text(PV_FAIL_WIPED), "a wipe was ordered");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reaction),
        cmocka_unit_test(what_goes_into_each_request),
        cmocka_unit_test(the_longest_temporary_key),
        cmocka_unit_test(no_server_keeps_it_busy_or_takes_its_key),
        cmocka_unit_test(the_most_patient_course_is_bounded),
        cmocka_unit_test(out_of_turn),
        cmocka_unit_test(it_prints_itself),
    };

    return cmocka_run_group_tests_name("client-machine", tests, NULL, NULL);
}
