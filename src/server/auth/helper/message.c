#include "src/server/auth/helper/message.h"

#include <string.h>

/* A letter, then each text with a NUL behind it. */
bool message_read(const char *packet, size_t len, struct message *out)
{
    *out = (struct message){0};
    if (len == 0 || len > MESSAGE_MAX || !packet[0] || !strchr("SYAR", packet[0])) return false;
    if (len > 1 && packet[len - 1] != '\0') return false;
    out->kind = (enum message_kind)packet[0];
    for (size_t at = 1; at < len; at += strlen(packet + at) + 1) {
        if (out->count == MESSAGE_TEXTS_MAX) return false;
        out->text[out->count++] = packet + at;
    }
    return true;
}

size_t message_write(const struct message *m, char *packet, size_t cap)
{
    size_t at = 1;
    if (cap == 0 || m->count > MESSAGE_TEXTS_MAX) return 0;
    packet[0] = (char)m->kind;
    for (size_t i = 0; i < m->count; i++) {
        size_t size = strlen(m->text[i]) + 1;
        if (size > cap - at || at + size > MESSAGE_MAX) return 0;
        memcpy(packet + at, m->text[i], size);
        at += size;
    }
    return at;
}
