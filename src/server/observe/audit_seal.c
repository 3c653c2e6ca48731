/* The form of a line, and what it says of the one before. A line is judged by its bytes: seq and
 * prev stand at its beginning and hash at its end, so nothing has to be parsed to follow a chain. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"
#include "src/lib/base/sha256.h"
#include "src/lib/base/text.h"
#include "src/server/observe/audit.h"

#define SEQ "{\"seq\":"
#define PREV ",\"prev\":\""
#define HASH ",\"hash\":\""
#define LEN(literal) (sizeof(literal) - 1)
#define HASH_LEN ((size_t)AUDIT_HASH_CAP - 1)
#define SEQ_DIGITS_MAX 20
#define TAIL_LEN (LEN(HASH) + HASH_LEN + LEN("\"}"))

/* What the first line was written after. */
static const char nothing[] = "0000000000000000000000000000000000000000000000000000000000000000";

static const char *hash_of(const struct audit_head *head)
{
    return head->seq ? head->hash : nothing;
}

static void hash_text(const char *bytes, size_t len, char out[AUDIT_HASH_CAP])
{
    uint8_t hash[32];
    pv__sha256((const uint8_t *)bytes, len, hash);
    for (size_t i = 0; i < sizeof hash; i++) {
        out[2 * i] = "0123456789abcdef"[hash[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[hash[i] & 15];
    }
    out[HASH_LEN] = '\0';
}

/* ---- sealing ---- */

static enum audit_sealing compact(const char *json, char **text_out)
{
    static const char *const ours[] = {"seq", "prev", "hash"};
    json_t *object;
    if (!json_of_text(json, strlen(json), JSON_REJECT_DUPLICATES, &object)) return AUDIT_NO_MEMORY;
    bool fit = json_is_object(object);
    for (size_t i = 0; i < sizeof ours / sizeof *ours && fit; i++)
        fit = !json_object_get(object, ours[i]);
    /* ASCII: whoever looks at the file on a terminal sees no control sequence of a peer. */
    *text_out = fit ? text_of_json(object, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(object);
    if (!fit) return AUDIT_UNFIT;
    return *text_out ? AUDIT_SEALED : AUDIT_NO_MEMORY;
}

enum audit_sealing audit_seal(const struct audit_head *prev, uint64_t seq, const char *json,
                              char **line_out, struct audit_head *head_out)
{
    char *text, *line = NULL;
    enum audit_sealing rc = compact(json, &text);
    if (rc != AUDIT_SEALED) return rc;
    size_t len = strlen(text);
    size_t cap = LEN(SEQ) + SEQ_DIGITS_MAX + LEN(PREV) + HASH_LEN + LEN("\",") + len + TAIL_LEN + 1;
    if (cap > AUDIT_LINE_MAX)
        rc = AUDIT_TOO_LONG;
    else if (!(line = malloc(cap)))
        rc = AUDIT_NO_MEMORY;
    if (rc == AUDIT_SEALED) {
        bool empty = len == LEN("{}");
        text[len - 1] = '\0'; /* the brace comes behind the hash */
        int n = snprintf(line, cap, SEQ "%" PRIu64 PREV "%s\"%s%s", seq, hash_of(prev),
                         empty ? "" : ",", text + 1);
        head_out->seq = seq;
        hash_text(line, (size_t)n, head_out->hash);
        snprintf(line + n, cap - (size_t)n, HASH "%s\"}", head_out->hash);
        *line_out = line;
    }
    free(text);
    return rc;
}

/* ---- judging ---- */

const char *audit_fault_text(enum audit_fault fault)
{
    static const char *const text[] = {
#define AUDIT_FAULT_TEXT(id, says) [AUDIT_FAULT_##id] = says,
        AUDIT_FAULTS(AUDIT_FAULT_TEXT)
#undef AUDIT_FAULT_TEXT
    };
    return fault < AUDIT_FAULT_COUNT ? text[fault] : "";
}

/* Where the digits of seq end; 0: there are none. */
static size_t read_seq(const char *line, size_t len, uint64_t *seq_out)
{
    size_t at = LEN(SEQ), end = at;
    if (len < at || memcmp(line, SEQ, at) != 0) return 0;
    while (end < len && pv__is_digit((unsigned char)line[end])) end++;
    bool good = pv__parse_u64(line + at, end - at, UINT64_MAX, false, seq_out) && *seq_out > 0;
    return good ? end : 0;
}

uint64_t audit_line_seq(const char *line, size_t len)
{
    uint64_t seq;
    return read_seq(line, len, &seq) ? seq : 0;
}

struct seal {
    uint64_t seq;
    const char *prev, *hash;
    size_t sealed; /* bytes that hash is of */
};

static bool read_seal(const char *line, size_t len, struct seal *s)
{
    size_t at = read_seq(line, len, &s->seq), need = LEN(PREV) + HASH_LEN + LEN("\"");
    if (!at || len - at < need + TAIL_LEN || memcmp(line + at, PREV, LEN(PREV)) != 0) return false;
    s->prev = line + at + LEN(PREV);
    s->sealed = len - TAIL_LEN;
    s->hash = line + s->sealed + LEN(HASH);
    return s->prev[HASH_LEN] == '"' && memcmp(line + s->sealed, HASH, LEN(HASH)) == 0 &&
           memcmp(line + len - LEN("\"}"), "\"}", LEN("\"}")) == 0;
}

static bool is_object(const char *line, size_t len)
{
    json_t *json = json_loadb(line, len, 0, NULL);
    bool object = json_is_object(json);
    json_decref(json);
    return object;
}

static enum audit_fault judge(const char *line, size_t len, struct seal *s,
                              struct audit_head *head_out)
{
    if (!read_seal(line, len, s))
        return is_object(line, len) ? AUDIT_FAULT_NOT_SEALED : AUDIT_FAULT_NOT_JSON;
    head_out->seq = s->seq;
    hash_text(line, s->sealed, head_out->hash);
    if (memcmp(s->hash, head_out->hash, HASH_LEN) == 0) return AUDIT_FAULT_NONE;
    return is_object(line, len) ? AUDIT_FAULT_CHANGED : AUDIT_FAULT_NOT_JSON;
}

enum audit_fault audit_line_head(const char *line, size_t len, struct audit_head *head_out)
{
    struct seal s;
    return judge(line, len, &s, head_out);
}

enum audit_fault audit_line_follows(struct audit_head *head, const char *line, size_t len,
                                    uint64_t *seq_out)
{
    struct seal s;
    struct audit_head own;
    enum audit_fault fault = judge(line, len, &s, &own);
    *seq_out = head->seq + 1;
    if (fault != AUDIT_FAULT_NONE) return fault;
    *seq_out = s.seq;
    if (head->seq && s.seq == head->seq) return AUDIT_FAULT_TWICE;
    if (s.seq < head->seq) return AUDIT_FAULT_ORDER;
    if (head->seq && s.seq > head->seq + 1) return AUDIT_FAULT_MISSING;
    if (s.seq == head->seq + 1 && memcmp(s.prev, hash_of(head), HASH_LEN) != 0)
        return AUDIT_FAULT_UNCHAINED;
    *head = own;
    return AUDIT_FAULT_NONE;
}
