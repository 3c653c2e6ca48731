/* Lines of the audit log. Laws: what is sealed verifies, is one line, is JSON and gives the same
 * bytes again; a byte that is changed is found in its line; what was never sealed does not verify. */
#include <jansson.h>
#include <string.h>

#include "src/server/observe/audit.h"
#include "tests/fuzz/fuzz.h"

static void check_sealed(const struct audit_head *prev, const char *json, char *line,
                         const struct audit_head *head)
{
    struct audit_head own, next = *prev;
    char *again;
    uint64_t seq;
    size_t len = strlen(line);
    LAW(len <= AUDIT_LINE_MAX && !memchr(line, '\n', len));
    LAW(audit_line_seq(line, len) == head->seq);
    LAW(audit_line_head(line, len, &own) == AUDIT_FAULT_NONE);
    LAW(own.seq == head->seq && strcmp(own.hash, head->hash) == 0);
    LAW(audit_line_follows(&next, line, len, &seq) == AUDIT_FAULT_NONE);
    LAW(seq == head->seq && strcmp(next.hash, head->hash) == 0);
    json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    LAW(json_is_object(object) && json_integer_value(json_object_get(object, "seq")) == (json_int_t)seq);
    json_decref(object);
    LAW(audit_seal(prev, head->seq, json, &again, &own) == AUDIT_SEALED);
    LAW(strcmp(line, again) == 0);
    free(again);
}

/* Any other byte at any place. */
static void check_changed(const struct audit_head *prev, char *line, uint8_t where, uint8_t flip)
{
    struct audit_head next = *prev;
    uint64_t seq;
    size_t len = strlen(line), at = where * len / 256;
    line[at] = (char)(line[at] ^ (flip ? flip : 1));
    LAW(audit_line_follows(&next, line, len, &seq) != AUDIT_FAULT_NONE);
    LAW(next.seq == prev->seq && seq == prev->seq + 1);
}

static void seal_lines(char *text, uint8_t where, uint8_t flip)
{
    struct audit_head head = {0}, next;
    char *rest = text, *line;
    for (const char *json; (json = strsep(&rest, "\n")) != NULL;) {
        if (audit_seal(&head, head.seq + 1, json, &line, &next) != AUDIT_SEALED)
            continue;
        check_sealed(&head, json, line, &next);
        check_changed(&head, line, where, flip);
        free(line);
        head = next;
    }
}

static void judge_garbage(const uint8_t *data, size_t size)
{
    struct audit_head head = {0};
    uint64_t seq;
    const char *at = (const char *)data, *end = at + size;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((stop ? stop : end) - at);
        struct audit_head before = head;
        /* Either it is refused and nothing has moved, or its own hash is right. */
        if (audit_line_follows(&head, at, len, &seq) == AUDIT_FAULT_NONE)
            LAW(audit_line_head(at, len, &before) == AUDIT_FAULT_NONE && before.seq == head.seq);
        else
            LAW(head.seq == before.seq);
        at += len + (stop != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    judge_garbage(data, size);
    if (size < 2) return 0;
    char *text = strndup((const char *)data + 2, size - 2);
    LAW(text);
    seal_lines(text, data[0], data[1]);
    free(text);
    return 0;
}
