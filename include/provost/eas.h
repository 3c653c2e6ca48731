/** @file eas.h  ActiveSync over HTTP (MS-ASHTTP): versions, commands, request line, refusals.
 *  Pure functions, no hidden state. */
#ifndef PROVOST_EAS_H
#define PROVOST_EAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <provost/arena.h>
#include <provost/error.h>
#include <provost/wbxml.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PV_EAS_PATH "/Microsoft-Server-ActiveSync"
#define PV_EAS_CONTENT_TYPE "application/vnd.ms-sync.wbxml"

/* Ascending, so that < compares. */
#define PV_VERSIONS(X) \
    X(V2_5, "2.5", 25) X(V12_0, "12.0", 120) X(V12_1, "12.1", 121) X(V14_0, "14.0", 140) \
    X(V14_1, "14.1", 141) X(V16_0, "16.0", 160) X(V16_1, "16.1", 161)
#define PV_VERSION_ENUM(id, text, byte) PV_##id,
enum pv_version { PV_VERSIONS(PV_VERSION_ENUM) PV_VERSION_COUNT };
#undef PV_VERSION_ENUM

/** "14.1"; static storage, "?" for a number that is no version. */
PV_API const char *pv_version_text(enum pv_version version);
/** Version byte of the base64 query (141 for 14.1); 0 for a number that is no version. */
PV_API uint8_t pv_version_byte(enum pv_version version);
/** Exact text, surrounding blanks allowed. @return false if it is none of the seven. */
PV_API bool pv_version_parse(const char *text, size_t len, enum pv_version *version_out);
/** Highest version of a comma-separated list (MS-ASProtocolVersions; blanks and any order allowed)
 *  not above `most`.
 *  @return false if there is none. */
PV_API bool pv_version_highest(const char *list, enum pv_version most,
                               enum pv_version *version_out);

/* The commands are the rows of data/commands.tsv; provost/commands.h is made from it:
 * enum pv_cmd { PV_CMD_Sync, ... PV_CMD_COUNT }. */
#include <provost/commands.h>

/** When a command is judged by the policy key. */
enum pv_key_rule {
    PV_KEY_NEEDED,    /**< default: everything else */
    PV_KEY_PARTNERSHIP, /**< Ping: carries no key, judged by the state of the partnership */
    PV_KEY_EXEMPT     /**< Provision */
};

struct pv_cmd_info {
    const char *name;           /**< value of Cmd= */
    int code;                   /**< of the base64 query, -1 if it has none */
    enum pv_key_rule key_rule;
    uint16_t root;              /**< root element of the refusal, 0 if the answer is no WBXML */
    uint16_t status;            /**< Status element of the refusal, 0 with root 0 */
    enum pv_version first;      /**< first version that has the command */
    bool empty_body;            /**< an empty body has a meaning (Ping, Sync: last parameters) */
};
/** NULL for a number that is no command. */
PV_API const struct pv_cmd_info *pv_cmd_info(enum pv_cmd cmd);
/** By name, without regard to case. @return false if no command has it. */
PV_API bool pv_cmd_find(const char *name, size_t len, enum pv_cmd *cmd_out);
/** By command code of the base64 query. @return false if no command has it. */
PV_API bool pv_cmd_from_code(unsigned code, enum pv_cmd *cmd_out);

/** A policy key as a peer sent it. Leading zeros, signs, blanks, more than 32 bits or other bytes
 *  make it PV_KEY_BAD, which equals no key; "0" is PV_KEY_ZERO. */
enum pv_key_kind { PV_KEY_ABSENT, PV_KEY_ZERO, PV_KEY_NUMBER, PV_KEY_BAD };
struct pv_sent_key {
    enum pv_key_kind kind;
    uint32_t value; /**< with PV_KEY_NUMBER */
};
/** From text (header, PolicyKey element). NULL or len 0 is PV_KEY_ABSENT. */
PV_API struct pv_sent_key pv_key_parse(const char *text, size_t len);
/** Constant-time: is it that key? Never true unless kind is PV_KEY_NUMBER and key is not 0. */
PV_API bool pv_key_is(struct pv_sent_key sent, uint32_t key);
/** Keys for people: first two digits, then as many x as digits follow ("13xxxxxxxx"), "0",
 *  "none", "bad". buf is terminated. */
PV_API void pv_key_mask(struct pv_sent_key sent, char buf[12]);

enum pv_query_form { PV_QUERY_PLAIN, PV_QUERY_BASE64 };

#define PV_DEVICE_ID_MAX 32   /* MS-ASHTTP: 1..32 letters and digits */
#define PV_DEVICE_TYPE_MAX 32

/** One request, as told by request line and headers. Strings are NUL-terminated, in the arena,
 *  "" when absent. */
struct pv_request {
    enum pv_query_form form;
    enum pv_version version;
    enum pv_cmd cmd;
    const char *user;        /**< User=, for logs only */
    const char *device_id;
    const char *device_type;
    struct pv_sent_key key;
    uint16_t locale;         /**< LCID, 0 if absent */
    bool save_in_sent, accept_multipart;
    const char *attachment_name, *collection_id, *item_id, *long_id, *occurrence;
};

/** What the caller found in request line and headers; NULL for a header that is absent. */
struct pv_request_head {
    const char *target;           /**< raw request target, percent-encoding kept */
    const char *protocol_version; /**< MS-ASProtocolVersion */
    const char *policy_key;       /**< X-MS-PolicyKey */
    const char *accept_multipart; /**< MS-ASAcceptMultiPart */
};

/** Why a request is no ActiveSync request; http is the status to answer with, or 200 with
 *  `status` in the refusal. */
struct pv_request_fault {
    /** 400, 404, 501; 200 when `status` says it in the body (14.0 and later: 108, 109) */
    unsigned http;
    unsigned status;    /**< 0, 108 or 109 */
    const char *text;   /**< one sentence, static storage */
};

/** Parse request line and headers of a POST.
 *
 *  Plain query: parameters in any order, names without regard to case, percent-decoded ("+"
 *  stays), the first of a duplicate counts. Base64 query (MS-ASHTTP 2.2.1.1.1.1, and what real
 *  clients make of it): both alphabets, percent-encoded, padding may be missing; the version
 *  header wins over the version byte; a key length other than 4, 0 included, falls back to the
 *  header; a device id of other bytes than letters and digits is kept as upper-case hex; a type
 *  where the key belongs is taken as the type.
 *  @param out       set on PV_OK. On other results everything that could be read is set too (for
 *    the log and for a refusal).
 *  @param fault_out set on PV_E_MALFORMED, E_UNKNOWN (command: 501), E_UNSUPPORTED (version: 400),
 *    E_RANGE (108, 109, or 400 below 14.0).
 *  @return those, PV_OK, or PV_E_NOMEM. */
PV_API PV_MUST_CHECK enum pv_err
pv_request_parse(struct pv_arena *arena, const struct pv_request_head *head, struct pv_request *out,
                 struct pv_request_fault *fault_out);

/** Write the request target (path and query) for a client, in either form. path may be NULL for
 *  PV_EAS_PATH. The key goes into the query only with PV_QUERY_BASE64 (with plain it is a header).
 *  @return PV_OK, E_NOMEM, E_USAGE, E_RANGE (a field too long), E_UNSUPPORTED (base64 below 12.1,
 *    or a command that it has no code for). */
PV_API PV_MUST_CHECK enum pv_err
pv_request_target(const struct pv_request *req, const char *path, char *buf, size_t cap);

/** What a refused request is answered with. */
struct pv_refusal {
    unsigned http;       /**< 200 with a body, else 449, 403, 400, ... without */
    uint8_t body[24];    /**< root element with Status */
    size_t len;
};

/** Turn a common Status (101 and above, MS-ASCMD 2.2.2) into the answer for that version and
 *  command: from 14.0 on 200 with the command's root and Status; below, the HTTP code of the
 *  status table. A command without WBXML answer gets the HTTP code in every version.
 *  @param key_sent for Status 140 below 14.0: 449 with, 403 without a key. */
PV_API void pv_refuse(enum pv_version version, enum pv_cmd cmd, unsigned status, bool key_sent,
                      struct pv_refusal *out);

/** HTTP code that stands in for a common Status below 14.0. 400 for one that names none. */
PV_API unsigned pv_status_http(unsigned status, bool key_sent);
/** Name of a common Status such as "DeviceNotProvisioned"; "?" if unknown. */
PV_API const char *pv_status_name(unsigned status);
/** One sentence for a person; static storage, never NULL. */
PV_API const char *pv_status_text(unsigned status);

#ifdef __cplusplus
}
#endif
#endif
