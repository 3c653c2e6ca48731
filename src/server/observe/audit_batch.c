/* Lines of the store on their way into the chain. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/observe/audit_carrier.h"
#include "src/server/observe/log.h"

/* What comes behind the last that is taken is read the next time. */
static void take_line(void *ctx, const struct log_record *r)
{
    struct audit_batch *b = ctx;
    if (b->full || b->out_of_memory) return;
    char *json = strdup(r->json);
    b->out_of_memory = !json;
    if (!json) return;
    b->lines[b->count].id = r->id;
    b->lines[b->count++].json = json;
    b->bytes += strlen(json);
    b->full = b->count == AUDIT_AT_ONCE || b->bytes >= AUDIT_KEPT_BYTES;
}

void audit_batch_free(struct audit_batch *b)
{
    for (size_t i = 0; b && i < b->count; i++) free(b->lines[i].json);
    free(b);
}

struct audit_batch *audit_batch_read(struct store *s, uint64_t after, unsigned most, char *why,
                                     size_t cap)
{
    struct audit_batch *b = calloc(1, sizeof *b);
    bool ok = b && store_read_log(s, STORE_LOG_AUDIT, after, most, take_line, b);
    snprintf(why, cap, "%s", b && !ok ? "the store cannot be read" : "out of memory");
    if (ok && !b->out_of_memory) {
        b->full = b->full || b->count == most;
        return b;
    }
    audit_batch_free(b);
    return NULL;
}

bool audit_seal_any(const struct audit_head *prev, uint64_t id, uint64_t seq, const char *json,
                    char **line_out, struct audit_head *head_out, char *why, size_t cap)
{
    char instead[128];
    enum audit_sealing rc = audit_seal(prev, seq, json, line_out, head_out);
    if (rc == AUDIT_UNFIT || rc == AUDIT_TOO_LONG) {
        LOG(LOG_ERROR, 0, "audit-line-unfit", KV_UINT("id", id));
        snprintf(instead, sizeof instead,
                 "{\"actor\":\"server\",\"act\":\"audit.unfit\",\"bytes\":%zu}", strlen(json));
        rc = audit_seal(prev, seq, instead, line_out, head_out);
    }
    if (rc != AUDIT_SEALED) snprintf(why, cap, "out of memory");
    return rc == AUDIT_SEALED;
}
