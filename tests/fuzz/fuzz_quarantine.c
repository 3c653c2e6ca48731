/* Sync, GetItemEstimate or ItemOperations of a device in quarantine: a byte for version and key, then
 * WBXML. */
#include <string.h>

#include "src/server/mailbox/quarantine.h"
#include "tests/fuzz/fuzz.h"

#define SPACE (4 << 20)

static struct quarantine_mail mail;

static void make_mail(void)
{
    static const struct quarantine_facts facts = {
        .subject = "Wait, %u", .text = "Your %t\n%d waits.", .user = "ann@example.org",
        .device_id = "DEV1", .device_type = "Phone", .domain = "example.org", .since = 1700000000,
        .inbox = 1};
    quarantine_mail_make(&facts, &mail);
    mail.primed = 2; /* keys that a fuzzer finds */
    mail.told = 3;
}

static size_t count_of(const uint8_t *body, size_t len, const char *text)
{
    size_t count = 0;
    for (const uint8_t *at = body; (at = memmem(at, len - (size_t)(at - body), text, strlen(text)));
         at++)
        count++;
    return count;
}

/* A Status or a document of that command; the message at most as often as it was asked for. */
static void laws(const struct quarantine_answer *a, const struct pv_node *request, uint16_t root,
                 struct pv_arena *arena)
{
    const struct pv_node *answer;
    size_t at;
    LAW((a->body != NULL) != (a->status != 0));
    if (!a->body) return;
    pv_arena_reset(arena);
    LAW(pv_wbxml_decode(arena, a->body, a->len, NULL, &answer, &at) == PV_OK);
    LAW(at == a->len && answer->tag == root);
    size_t most = root == PV_ItemOperations_ItemOperations ? pv_node_count(request, 0) : 2;
    LAW(count_of(a->body, a->len, "waits.") <= most);
    LAW(!a->wait || count_of(a->body, a->len, "waits.") == 0);
    free(a->body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char request_space[SPACE] __attribute__((aligned(16)));
    static unsigned char answer_space[SPACE] __attribute__((aligned(16)));
    static const struct quarantine_limits limits = {60, 3540};
    struct pv_arena request, answer;
    struct quarantine_answer a;
    const struct pv_node *root;
    if (size < 1) return 0;
    enum pv_version version = data[0] % PV_VERSION_COUNT;
    pv_arena_init(&request, request_space, sizeof request_space);
    if (pv_wbxml_decode(&request, data + 1, size - 1, &pv_wbxml_limits_small, &root, NULL) != PV_OK)
        return 0;
    make_mail();
    pv_arena_init(&answer, answer_space, sizeof answer_space);
    quarantine_sync_answer(root, version, &mail, &limits, &a);
    laws(&a, root, PV_AirSync_Sync, &answer);
    quarantine_estimate_answer(root, version, &mail, &a);
    laws(&a, root, PV_GetItemEstimate_GetItemEstimate, &answer);
    quarantine_items_answer(root, version, &mail, &a);
    laws(&a, root, PV_ItemOperations_ItemOperations, &answer);
    return 0;
}
