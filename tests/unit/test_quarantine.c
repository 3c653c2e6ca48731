/* What a device in quarantine is told, apart from I/O: folders, the message, its keys, and the answers
 * to Sync, GetItemEstimate and ItemOperations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/lib/base/text.h"
#include "src/server/mailbox/quarantine.h"
#include "tests/unit/failing_malloc.h"

static const struct quarantine_facts facts = {
    .subject = "Wait, %u", .text = "%t %d.\n100%%", .user = "ann", .device_id = "DEV1",
    .device_type = "Phone", .domain = "example.org", .since = 1700000000, .inbox = 4};

static struct quarantine_mail mail_of(const struct quarantine_facts *f)
{
    struct quarantine_mail m;
    quarantine_mail_make(f, &m);
    return m;
}

/* ---- folders ---- */
static void the_inbox_keeps_its_id(void **unused)
{
    (void)unused;
    struct folder_ids known;
    uint32_t id, again;
    bool changed;
    assert_true(folder_ids_read(NULL, &known));
    assert_true(quarantine_inbox_id(&known, &id, &changed));
    assert_true(changed);
    assert_true(id > 0);
    assert_true(quarantine_inbox_id(&known, &again, &changed));
    assert_false(changed);
    assert_int_equal(again, id);
    /* Let out: the real Inbox takes the same id over, the others get theirs. */
    struct folder_list real;
    assert_true(quarantine_list(&real));
    real.at[0].identity[0] = 77;
    uint32_t ids[1];
    assert_true(folder_ids_assign(&known, &real, ids, &changed));
    assert_int_equal(ids[0], id);
    known.next = UINT32_MAX;
    free(known.at[0].name);
    known.at[0].name = strdup("Other");
    assert_false(quarantine_inbox_id(&known, &id, &changed)); /* no number is left */
    folder_ids_free(&known);
    for (size_t i = 0; i < real.count; i++) {
        assert_null(real.at[i].path);
        assert_int_equal(real.at[i].type, FOLDER_INBOX);
        assert_string_equal(real.at[i].display, "Inbox");
        free(real.at[i].name);
        free(real.at[i].display);
    }
    free(real.at);
}

/* ---- the message ---- */
static void the_message_is_filled_in(void **unused)
{
    (void)unused;
    struct quarantine_mail m = mail_of(&facts);
    assert_string_equal(m.subject, "Wait, ann");
    assert_string_equal(m.text, "Phone DEV1.\r\n100%");
    assert_string_equal(m.from, "postmaster@example.org");
    assert_string_equal(m.to, "ann@example.org");
    assert_string_equal(m.date, "2023-11-14T22:13:20.000Z");
    assert_string_equal(m.server_id, "4:1");
    struct quarantine_facts f = facts;
    f.user = "bob@other.org";
    f.domain = "";
    f.subject = "%u\n%";
    m = mail_of(&f);
    assert_string_equal(m.from, "postmaster@other.org");
    assert_string_equal(m.to, "bob@other.org");
    assert_string_equal(m.subject, "bob@other.org%");
    f.user = "b\xff";
    m = mail_of(&f);
    assert_string_equal(m.to, "b\\xff");
    assert_string_equal(m.from, "postmaster");

    static char longest[4001]; /* twice as long when it is filled in, and cut between characters */
    for (size_t i = 0; i < 4000; i += 4) memcpy(longest + i, "%u\xc3\xa4", 5);
    f.user = "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac";
    f.text = longest;
    m = mail_of(&f);
    size_t len = strlen(m.text);
    assert_true(len > QUARANTINE_TEXT_MAX - 8 && len < QUARANTINE_TEXT_MAX);
    assert_true(pv__utf8_valid((const uint8_t *)m.text, len));
}

static void keys_follow_from_what_is_told(void **unused)
{
    (void)unused;
    struct quarantine_facts f[6];
    for (size_t i = 0; i < 6; i++) f[i] = facts;
    f[1].device_id = "DEV2";
    f[2].user = "bob";
    f[3].text = "Other";
    f[4].subject = "Other";
    f[5].inbox = 5;
    for (size_t a = 0; a < 6; a++) {
        struct quarantine_mail m = mail_of(&f[a]), same = mail_of(&f[a]);
        assert_memory_equal(&m, &same, sizeof m);
        assert_true(m.primed > 0 && m.told > 0 && m.primed != m.told);
        for (size_t b = 0; b < a; b++) {
            struct quarantine_mail other = mail_of(&f[b]);
            assert_true(m.primed != other.primed && m.told != other.told);
        }
    }
}

/* ---- answers ---- */
static unsigned char space[1 << 20] __attribute__((aligned(16)));
static struct quarantine_mail mail;
static const struct quarantine_limits limits = {60, 3540};

typedef void answer_fn(const struct pv_node *root, enum pv_version version,
                       struct quarantine_answer *out);

static void sync_of(const struct pv_node *root, enum pv_version version,
                    struct quarantine_answer *out)
{
    quarantine_sync_answer(root, version, &mail, &limits, out);
}

static void estimate_of(const struct pv_node *root, enum pv_version version,
                        struct quarantine_answer *out)
{
    quarantine_estimate_answer(root, version, &mail, out);
}

static void items_of(const struct pv_node *root, enum pv_version version,
                     struct quarantine_answer *out)
{
    quarantine_items_answer(root, version, &mail, out);
}

static const struct pv_node *request_of(struct pv_arena *arena, const char *xml)
{
    const struct pv_node *root;
    pv_arena_init(arena, space, sizeof space);
    if (!*xml) return NULL;
    assert_int_equal(pv_xml_read(arena, xml, strlen(xml), NULL, &root, NULL), PV_OK);
    return root;
}

#define SYNC(x) "<Sync xmlns=\"AirSync:\"><Collections>" x "</Collections></Sync>"
#define COLLECTION(key, id, more) "<Collection><SyncKey>" key "</SyncKey><CollectionId>" id \
                                  "</CollectionId>" more "</Collection>"
#define TOLD(key, id, status, more) "<Collection><SyncKey>" key "</SyncKey><CollectionId>" id \
                                    "</CollectionId><Status>" status "</Status>" more "</Collection>"
#define HEAD_2_5 "<To xmlns=\"Email:\">ann@example.org</To><From>postmaster@example.org</From>" \
    "<Subject>Wait, ann</Subject><DateReceived>2023-11-14T22:13:20.000Z</DateReceived>" \
    "<DisplayTo>ann@example.org</DisplayTo><ThreadTopic>Wait, ann</ThreadTopic>" \
    "<Importance>1</Importance><Read>0</Read>"

static const struct {
    const char *name;
    answer_fn *answer;
    enum pv_version version;
    const char *request, *answered; /* answered: part of it */
    unsigned status, wait;
} cases[] = {
    {"from the start", sync_of, PV_V14_1, SYNC(COLLECTION("0", "4", "")),
     SYNC(TOLD("8", "4", "1", "")), 0, 0},
    {"with its class", sync_of, PV_V12_0, SYNC(COLLECTION("0", "4", "")),
     "<Collection><Class>Email</Class><SyncKey>8</SyncKey>", 0, 0},
    {"the message", sync_of, PV_V2_5, SYNC(COLLECTION("8", "4", "")),
     "<SyncKey>9</SyncKey><CollectionId>4</CollectionId><Status>1</Status><Commands><Add>"
     "<ServerId>4:1</ServerId><ApplicationData>" HEAD_2_5
     "<BodyTruncated>0</BodyTruncated><BodySize>17</BodySize><Body>Phone DEV1.", 0, 0},
    {"the message at 16.1", sync_of, PV_V16_1, SYNC(COLLECTION("8", "4", "")),
     "<Read>0</Read><Body xmlns=\"AirSyncBase:\"><Type>1</Type><EstimatedDataSize>17"
     "</EstimatedDataSize><Data>Phone DEV1.", 0, 0},
    {"cut", sync_of, PV_V16_1,
     SYNC(COLLECTION("8", "4", "<Options><BodyPreference xmlns=\"AirSyncBase:\"><Type>1</Type>"
                               "<TruncationSize>5</TruncationSize></BodyPreference></Options>")),
     "<EstimatedDataSize>17</EstimatedDataSize><Truncated>1</Truncated><Data>Phone</Data>", 0, 0},
    {"cut to nothing", sync_of, PV_V16_1,
     SYNC(COLLECTION("8", "4", "<Options><BodyPreference xmlns=\"AirSyncBase:\"><Type>1</Type>"
                               "<TruncationSize>0</TruncationSize></BodyPreference></Options>")),
     "<Truncated>1</Truncated></Body>", 0, 0},
    {"not wanted", sync_of, PV_V14_1, SYNC(COLLECTION("8", "4", "<GetChanges>0</GetChanges>")),
     SYNC(TOLD("8", "4", "1", "")), 0, 0},
    {"wanted", sync_of, PV_V14_1, SYNC(COLLECTION("8", "4", "<GetChanges/>")), "<Commands><Add>", 0, 0},
    {"nothing new", sync_of, PV_V14_1, SYNC(COLLECTION("9", "4", "")), SYNC(TOLD("9", "4", "1", "")),
     0, 0},
    {"a key that is none", sync_of, PV_V14_1, SYNC(COLLECTION("10", "4", "")),
     SYNC(TOLD("0", "4", "3", "")), 0, 0},
    {"another folder", sync_of, PV_V14_1, SYNC(COLLECTION("9", "5", "")),
     SYNC(TOLD("9", "5", "12", "")), 0, 0},
    {"two folders", sync_of, PV_V14_1, SYNC(COLLECTION("9", "5", "") COLLECTION("9", "4", "")),
     SYNC(TOLD("9", "5", "12", "") TOLD("9", "4", "1", "")), 0, 0},
    {"one folder twice", sync_of, PV_V14_1, SYNC(COLLECTION("9", "4", "") COLLECTION("9", "4", "")),
     "", 4, 0},
    {"its message is read", sync_of, PV_V14_1,
     SYNC(COLLECTION("9", "4", "<Commands><Change><ServerId>4:1</ServerId></Change></Commands>")),
     SYNC(TOLD("9", "4", "1", "")), 0, 0},
    {"fetched twice", sync_of, PV_V14_1,
     SYNC(COLLECTION("9", "4", "<Commands><Fetch><ServerId>4:1</ServerId></Fetch><Fetch>"
                               "<ServerId>4:1</ServerId></Fetch></Commands>")),
     "<Fetch xmlns=\"AirSync:\"><ServerId>4:1</ServerId><Status>8</Status></Fetch></Responses>", 0, 0},
    {"an unknown word", sync_of, PV_V14_1,
     SYNC(COLLECTION("9", "4", "<Commands><SoftDelete><ServerId>4:1</ServerId></SoftDelete>"
                               "</Commands>")), "", 4, 0},
    {"an Add without an id", sync_of, PV_V14_1,
     SYNC(COLLECTION("9", "4", "<Commands><Add/></Commands>")), "", 4, 0},
    {"wait", sync_of, PV_V14_1, "<Sync xmlns=\"AirSync:\"><Collections>" COLLECTION("9", "4", "")
     "</Collections><Wait>2</Wait></Sync>", SYNC(TOLD("9", "4", "1", "")), 0, 120},
    {"no wait for news", sync_of, PV_V14_1, "<Sync xmlns=\"AirSync:\"><Collections>"
     COLLECTION("8", "4", "") "</Collections><HeartbeatInterval>60</HeartbeatInterval></Sync>",
     "<Add>", 0, 0},
    {"no wait for a bad key", sync_of, PV_V14_1, "<Sync xmlns=\"AirSync:\"><Collections>"
     COLLECTION("7", "4", "") "</Collections><HeartbeatInterval>60</HeartbeatInterval></Sync>",
     "<Status>3</Status>", 0, 0},
    {"wait too short", sync_of, PV_V14_1, "<Sync xmlns=\"AirSync:\"><Collections>"
     COLLECTION("9", "4", "") "</Collections><HeartbeatInterval>59</HeartbeatInterval></Sync>",
     "", 14, 0},
    {"empty", sync_of, PV_V12_1, "", "", 13, 0},
    {"empty at 12.0", sync_of, PV_V12_0, "", "", 4, 0},
    {"estimate", estimate_of, PV_V14_1,
     "<GetItemEstimate xmlns=\"GetItemEstimate:\"><Collections><Collection><SyncKey "
     "xmlns=\"AirSync:\">8</SyncKey><CollectionId xmlns=\"GetItemEstimate:\">4</CollectionId>"
     "</Collection></Collections></GetItemEstimate>",
     "<Response><Status>1</Status><Collection><CollectionId>4</CollectionId><Estimate>1</Estimate>",
     0, 0},
    {"estimate of nothing", estimate_of, PV_V14_1,
     "<GetItemEstimate xmlns=\"GetItemEstimate:\"><Collections/></GetItemEstimate>", "", 2, 0},
    {"item", items_of, PV_V14_0,
     "<ItemOperations xmlns=\"ItemOperations:\"><Fetch><Store>Mailbox</Store><CollectionId "
     "xmlns=\"AirSync:\">4</CollectionId><ServerId xmlns=\"AirSync:\">4:1</ServerId></Fetch></ItemOperations>",
     "<Fetch><Status>1</Status><CollectionId xmlns=\"AirSync:\">4</CollectionId><ServerId>4:1"
     "</ServerId><Class>Email</Class><Properties xmlns=\"ItemOperations:\"><To", 0, 0},
    {"item of another folder", items_of, PV_V14_0,
     "<ItemOperations xmlns=\"ItemOperations:\"><Fetch><CollectionId xmlns=\"AirSync:\">5"
     "</CollectionId><ServerId xmlns=\"AirSync:\">4:1</ServerId></Fetch></ItemOperations>",
     "<Fetch><Status>6</Status>", 0, 0},
    {"another operation", items_of, PV_V14_0,
     "<ItemOperations xmlns=\"ItemOperations:\"><Move/></ItemOperations>", "", 2, 0},
};
static size_t turn; /* row under test */

/* Where a name belongs is for the system tests to see. */
static const char *without_namespaces(const char *xml, char buf[65536])
{
    char *to = buf;
    for (const char *p = xml; *p; p++) {
        if (strncmp(p, " xmlns=\"", 8) == 0) p = strchr(p + 8, '"') + 1;
        *to++ = *p;
    }
    *to = '\0';
    return buf;
}

static void check_answer(const struct quarantine_answer *a)
{
    static char xml[65536], told[65536], wanted[65536];
    static unsigned char back[1 << 20] __attribute__((aligned(16)));
    struct pv_arena arena;
    const struct pv_node *root;
    size_t len, at;
    assert_int_equal(a->status, cases[turn].status);
    assert_int_equal(a->wait, cases[turn].wait);
    assert_int_equal(a->body == NULL, a->status != 0);
    if (!a->body) return;
    pv_arena_init(&arena, back, sizeof back);
    assert_int_equal(pv_wbxml_decode(&arena, a->body, a->len, NULL, &root, &at), PV_OK);
    assert_int_equal(at, a->len);
    assert_int_equal(pv_xml_write(root, 0, xml, sizeof xml, &len), PV_OK);
    without_namespaces(xml, told);
    if (!strstr(told, without_namespaces(cases[turn].answered, wanted))) fail_msg("%s", told);
}

static void set_mail(void)
{
    mail = mail_of(&facts);
    mail.primed = 8;
    mail.told = 9;
}

static struct quarantine_answer answered;

static bool answer_run(void)
{
    struct pv_arena arena;
    const struct pv_node *root = request_of(&arena, cases[turn].request);
    cases[turn].answer(root, cases[turn].version, &answered);
    return answered.body || answered.status;
}

static void answer_check(void)
{
    check_answer(&answered);
}

static void answer_end(void)
{
    free(answered.body);
}

static void answers(void **unused)
{
    (void)unused;
    set_mail();
    for (turn = 0; turn < sizeof cases / sizeof *cases; turn++) {
        print_message("# %s\n", cases[turn].name);
        assert_true(answer_run());
        check_answer(&answered);
        bool has_body = answered.body != NULL;
        answer_end();
        if (has_body)
            failing_malloc_sweep(&(struct sweep){cases[turn].name, NULL, answer_run, NULL,
                                                 answer_check, answer_end});
    }
    mail.inbox = 0; /* no FolderSync has told of an Inbox yet */
    turn = 10;
    assert_string_equal(cases[turn].name, "another folder");
    assert_true(answer_run());
    check_answer(&answered);
    answer_end();
}

/* The longest texts and the most elements have room. */
static void the_longest_answer_has_room(void **unused)
{
    (void)unused;
    static char xml[400000];
    struct pv_arena arena;
    struct quarantine_answer a;
    char id[65];
    set_mail();
    memset(mail.text, 'x', sizeof mail.text - 1);
    memset(mail.subject, 'x', sizeof mail.subject - 1);
    memset(mail.to, 'x', sizeof mail.to - 1);
    memset(mail.from, 'x', sizeof mail.from - 1);
    memset(id, '9', 64);
    id[64] = '\0';
    size_t len = (size_t)snprintf(xml, sizeof xml, "<Sync xmlns=\"AirSync:\"><Collections>"
                                  "<Collection><SyncKey>8</SyncKey><CollectionId>4</CollectionId>"
                                  "<Commands><Fetch><ServerId>4:1</ServerId></Fetch>");
    for (int i = 0; i < 500; i++)
        len += (size_t)snprintf(xml + len, sizeof xml - len, "<Delete><ServerId>%s</ServerId></Delete>",
                                id);
    len += (size_t)snprintf(xml + len, sizeof xml - len, "</Commands></Collection>");
    for (int i = 0; i < 500; i++)
        len += (size_t)snprintf(xml + len, sizeof xml - len, COLLECTION("%s", "%s", ""), id, id);
    snprintf(xml + len, sizeof xml - len, "</Collections></Sync>");
    sync_of(request_of(&arena, xml), PV_V12_0, &a);
    assert_non_null(a.body);
    free(a.body);
    sync_of(request_of(&arena, xml), PV_V2_5, &a);
    assert_non_null(a.body);
    free(a.body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_inbox_keeps_its_id),
        cmocka_unit_test(the_message_is_filled_in),
        cmocka_unit_test(keys_follow_from_what_is_told),
        cmocka_unit_test(answers),
        cmocka_unit_test(the_longest_answer_has_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
