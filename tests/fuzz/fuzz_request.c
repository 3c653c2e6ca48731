/* A request line with its headers: target, version and key, each on a line of its own. */
#include <string.h>

#include <provost/eas.h>

#include "tests/fuzz/fuzz.h"

#define SPACE (1 << 18)
#define INPUT_MAX 16384
#define TARGET_MAX 8192

/* What a client would send for it means the same. */
static void law_of_the_target(struct pv_arena *arena, const struct pv_request *req)
{
    static char target[4 * INPUT_MAX];
    struct pv_request_head head = {.target = target};
    struct pv_request again;
    struct pv_request_fault fault;
    char key[12] = "";
    enum pv_err err = pv_request_target(req, NULL, target, sizeof target);

    if (req->form == PV_QUERY_BASE64 && req->version < PV_V12_1) {
        LAW(err == PV_E_UNSUPPORTED || req->key.kind == PV_KEY_BAD);
        return;
    }
    if (req->form == PV_QUERY_BASE64 && req->key.kind == PV_KEY_BAD) {
        LAW(err == PV_E_USAGE); /* came from a header */
        return;
    }
    LAW(err == PV_OK);
    if (strlen(target) > TARGET_MAX) return;
    if (req->form == PV_QUERY_PLAIN) {
        if (req->key.kind == PV_KEY_NUMBER) snprintf(key, sizeof key, "%u", req->key.value);
        else if (req->key.kind == PV_KEY_ZERO) key[0] = '0';
        else if (req->key.kind == PV_KEY_BAD) key[0] = 'x';
        head.policy_key = key;
        head.protocol_version = pv_version_text(req->version);
        if (req->accept_multipart) head.accept_multipart = "T";
    }
    LAW(pv_request_parse(arena, &head, &again, &fault) == PV_OK);
    LAW(again.form == req->form && again.version == req->version && again.cmd == req->cmd);
    LAW(again.key.kind == req->key.kind && again.key.value == req->key.value);
    LAW(strcmp(again.user, req->user) == 0);
    LAW(strcmp(again.device_id, req->device_id) == 0);
    LAW(strcmp(again.device_type, req->device_type) == 0);
    LAW(strcmp(again.attachment_name, req->attachment_name) == 0);
    LAW(strcmp(again.collection_id, req->collection_id) == 0);
    LAW(strcmp(again.item_id, req->item_id) == 0);
    LAW(strcmp(again.long_id, req->long_id) == 0);
    LAW(strcmp(again.occurrence, req->occurrence) == 0);
    LAW(again.save_in_sent == req->save_in_sent);
    LAW(again.accept_multipart == req->accept_multipart);
    LAW(again.locale == (req->form == PV_QUERY_BASE64 ? req->locale : 0));
}

static void law_of_faults(enum pv_err err, const struct pv_request *req,
                          const struct pv_request_fault *fault)
{
    LAW(err == PV_E_MALFORMED || err == PV_E_UNKNOWN || err == PV_E_UNSUPPORTED
        || err == PV_E_RANGE);
    LAW((fault->http == 200) == (fault->status != 0));
    LAW(fault->http == 200 || fault->http == 400 || fault->http == 404 || fault->http == 501);
    LAW(fault->text && *fault->text);
    LAW(req->user && req->device_id && req->device_type && req->attachment_name);
    LAW(req->collection_id && req->item_id && req->long_id && req->occurrence);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pv_arena arena;
    static char text[INPUT_MAX + 1];
    struct pv_request_head head = {.target = text};
    struct pv_request req;
    struct pv_request_fault fault;

    if (size > INPUT_MAX) return 0;
    if (!arena.base && pv_arena_create(&arena, SPACE)) abort();
    pv_arena_reset(&arena);
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    char *line = strchr(text, '\n');
    if (line) {
        *line++ = '\0';
        head.protocol_version = line;
        line = strchr(line, '\n');
    }
    if (line) {
        *line++ = '\0';
        head.policy_key = line;
    }
    enum pv_err err = pv_request_parse(&arena, &head, &req, &fault);
    LAW(err != PV_E_NOMEM || strlen(text) > 1000);
    if (err == PV_OK) law_of_the_target(&arena, &req);
    else if (err != PV_E_NOMEM) law_of_faults(err, &req, &fault);
    return 0;
}
