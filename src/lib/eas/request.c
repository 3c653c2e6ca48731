/* Request line and headers of a POST: which form, what it says, what is wrong with it. */
#include "src/lib/eas/request.h"

#include <string.h>

#include "src/lib/base/text.h"

/* clang-format off */
#define FIELD(Name, tag, member) {Name, tag, offsetof(struct pv_request, member)}
const struct pv__field pv__fields[PV__FIELD_COUNT] = {
    FIELD("User", 8, user),
    FIELD("DeviceId", -1, device_id),
    FIELD("DeviceType", -1, device_type),
    FIELD("AttachmentName", 0, attachment_name),
    FIELD("CollectionId", 1, collection_id),
    FIELD("ItemId", 3, item_id),
    FIELD("LongId", 4, long_id),
    FIELD("Occurrence", 6, occurrence),
};
/* clang-format on */

/* RFC 9112, 3.2.2: a server takes the absolute form too. */
static const char *skip_authority(const char *target)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(schemes[i]);
        if (strnlen(target, n) == n && pv__equal_nocase(target, n, schemes[i], n))
            return target + n + strcspn(target + n, "/?");
    }
    return target;
}

void pv__target_split(const char *target, struct pv__target *out)
{
    target = skip_authority(target);
    out->path = target;
    out->path_len = strcspn(target, "?");
    out->query = target[out->path_len] ? target + out->path_len + 1 : NULL;
    out->query_len = out->query ? strlen(out->query) : 0;
    if (out->path_len > 1 && target[out->path_len - 1] == '/') out->path_len--;
}

/* In base64 '=' stands only at the end, and '&' nowhere. */
static enum pv_query_form form_of(const char *query, size_t len)
{
    while (len && query[len - 1] == '=') len--;
    if (memchr(query, '=', len) || memchr(query, '&', len)) return PV_QUERY_PLAIN;
    return PV_QUERY_BASE64;
}

static bool all_alnum(const char *text)
{
    for (; *text; text++)
        if (!pv__is_alnum((unsigned char)*text)) return false;
    return true;
}

static bool all_visible(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text >= 0x7F) return false;
    return true;
}

static bool fits(const char *text, size_t most)
{
    return *text && strnlen(text, most + 1) <= most;
}

static enum pv_err fault(struct pv_request_fault *out, enum pv_err err, unsigned http,
                         const char *text)
{
    *out = (struct pv_request_fault){.http = http, .text = text};
    return err;
}

/* 108 and 109 are said in the body from 14.0 on (MS-ASCMD 2.2.2). */
static enum pv_err device_fault(struct pv_request_fault *out, enum pv_version version,
                                unsigned status, const char *text)
{
    bool in_body = version >= PV_V14_0;

    *out = (struct pv_request_fault){
        .http = in_body ? 200 : 400, .status = in_body ? status : 0, .text = text};
    return PV_E_RANGE;
}

static enum pv_err judge(const struct pv_request *req, struct pv_request_fault *out)
{
    if (req->version == PV_VERSION_COUNT)
        return fault(out, PV_E_UNSUPPORTED, 400, "the protocol version is missing or not known");
    if (req->cmd == PV_CMD_COUNT) return fault(out, PV_E_UNKNOWN, 501, "the command is not known");
    if (!fits(req->device_id, PV_DEVICE_ID_MAX) || !all_alnum(req->device_id))
        return device_fault(out, req->version, 108,
                            "the DeviceId is not 1 to 32 letters and digits");
    if (!fits(req->device_type, PV_DEVICE_TYPE_MAX) || !all_visible(req->device_type))
        return device_fault(out, req->version, 109,
                            "the DeviceType is not 1 to 32 visible characters");
    return PV_OK;
}

/* Headers beside the query. Their version wins over the version byte: a real client sends a wrong
 * byte (145) and a right header. A key in the query wins over the header. */
static void take_headers(const struct pv_request_head *head, struct pv_request *out)
{
    const char *version = head->protocol_version, *key = head->policy_key;

    if (out->form == PV_QUERY_PLAIN || (version && *version)) {
        out->version = PV_VERSION_COUNT;
        if (version && !pv_version_parse(version, strlen(version), &out->version))
            out->version = PV_VERSION_COUNT;
    }
    if (out->key.kind == PV_KEY_ABSENT && key) out->key = pv_key_parse(key, strlen(key));
    if (head->accept_multipart && pv__lower((unsigned char)head->accept_multipart[0]) == 't')
        out->accept_multipart = true;
}

enum pv_err pv_request_parse(struct pv_arena *arena, const struct pv_request_head *head,
                             struct pv_request *out, struct pv_request_fault *fault_out)
{
    struct pv__target line;
    enum pv_err err;

    *fault_out = (struct pv_request_fault){.text = ""};
    *out = (struct pv_request){.version = PV_VERSION_COUNT, .cmd = PV_CMD_COUNT};
    for (size_t i = 0; i < PV__FIELD_COUNT; i++) *pv__field_of(out, &pv__fields[i]) = "";
    if (strnlen(head->target, PV__TARGET_MAX + 1) > PV__TARGET_MAX)
        return fault(fault_out, PV_E_MALFORMED, 400, "the request target is too long");
    pv__target_split(head->target, &line);
    if (!pv__equal_nocase(line.path, line.path_len, PV_EAS_PATH, strlen(PV_EAS_PATH)))
        return fault(fault_out, PV_E_MALFORMED, 404, "there is nothing at this path");
    if (line.query_len == 0)
        return fault(fault_out, PV_E_MALFORMED, 400, "the request has no query");
    out->form = form_of(line.query, line.query_len);
    for (size_t i = 0; i < PV__FIELD_COUNT; i++) *pv__field_of(out, &pv__fields[i]) = NULL;
    err = out->form == PV_QUERY_PLAIN ? pv__query_plain(arena, line.query, line.query_len, out)
                                      : pv__query_base64(arena, line.query, line.query_len, out);
    for (size_t i = 0; i < PV__FIELD_COUNT; i++)
        if (!*pv__field_of(out, &pv__fields[i])) *pv__field_of(out, &pv__fields[i]) = "";
    take_headers(head, out);
    if (err == PV_E_NOMEM) return err;
    if (err != PV_OK) return fault(fault_out, err, 400, "the query cannot be read");
    return judge(out, fault_out);
}
