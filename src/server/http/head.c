#include "src/server/http/head.h"

#include <string.h>
#include <strings.h>

struct span {
    const char *at;
    size_t len;
};

struct scan {
    const char *p, *end;
    struct head_facts facts;
    unsigned hosts, lengths, codings, fields;
    unsigned once; /* a bit for each of the fields below */
};

unsigned head_fault_status(enum head_fault f)
{
#define HEAD_STATUS(name, status, text) status,
    static const unsigned short statuses[] = {HEAD_FAULTS(HEAD_STATUS)};
#undef HEAD_STATUS
    return f < HEAD_FAULT_COUNT ? statuses[f] : 400;
}

const char *head_fault_text(enum head_fault f)
{
#define HEAD_TEXT(name, status, text) text,
    static const char *const texts[] = {HEAD_FAULTS(HEAD_TEXT)};
#undef HEAD_TEXT
    return f < HEAD_FAULT_COUNT ? texts[f] : "?";
}

/* Letters, digits and what stands in others; a NUL never. */
static bool consists_of(struct span s, const char *others)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.at[i];
        bool alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!alnum && (c == '\0' || !strchr(others, c))) return false;
    }
    return true;
}

//= RFC 9110 5.6.2: tchar
static bool is_token(struct span s)
{
    return s.len > 0 && consists_of(s, "!#$%&'*+-.^_`|~");
}

/* Bytes from 0x80 on are let through: some clients put raw UTF-8 into the query and into values. */
static bool is_visible(unsigned char c)
{
    return c > 0x20 && c != 0x7f;
}

static bool is_named(struct span name, const char *want)
{
    return name.len == strlen(want) && strncasecmp(name.at, want, name.len) == 0;
}

/* Up to the next CR LF, which is consumed. A bare CR or LF, or none, is a fault. */
static enum head_fault next_line(struct scan *s, struct span *line_out)
{
    const char *p = s->p;
    while (p < s->end && *p != '\r' && *p != '\n') p++;
    if (p == s->end) return HEAD_UNFINISHED;
    if (*p == '\n' || p + 1 == s->end || p[1] != '\n') return HEAD_LINE_END;
    *line_out = (struct span){s->p, (size_t)(p - s->p)};
    s->p = p + 2;
    return HEAD_NONE;
}

//= RFC 9112 3: exactly one blank between the parts
static enum head_fault request_line(struct scan *s)
{
    struct span line, method;
    enum head_fault f = next_line(s, &line);
    if (f) return f;
    const char *end = line.at + line.len;
    const char *blank = memchr(line.at, ' ', line.len);
    if (!blank) return HEAD_REQUEST_LINE;
    method = (struct span){line.at, (size_t)(blank - line.at)};
    const char *target = blank + 1, *p = target;
    while (p < end && is_visible((unsigned char)*p)) p++;
    if (!is_token(method) || p == target || p == end || *p != ' ') return HEAD_REQUEST_LINE;
    p++;
    size_t left = (size_t)(end - p);
    if (left < 5 || memcmp(p, "HTTP/", 5) != 0) return HEAD_REQUEST_LINE;
    if (left != 8 || memcmp(p + 5, "1.", 2) != 0 || (p[7] != '0' && p[7] != '1'))
        return HEAD_VERSION;
    s->facts.http_1_0 = p[7] == '0';
    return HEAD_NONE;
}

static enum head_fault content_length(struct scan *s, struct span v)
{
    uint64_t n = 0;
    if (s->lengths++ > 0) return HEAD_TWO_LENGTHS;
    if (v.len == 0) return HEAD_BAD_LENGTH;
    for (size_t i = 0; i < v.len; i++) {
        if (v.at[i] < '0' || v.at[i] > '9') return HEAD_BAD_LENGTH;
        unsigned digit = (unsigned)(v.at[i] - '0');
        if (n > (UINT64_MAX - digit) / 10) return HEAD_HUGE_LENGTH;
        n = n * 10 + digit;
    }
    s->facts.has_length = true;
    s->facts.length = n;
    return HEAD_NONE;
}

//= RFC 3986 3.2.2: what a host and port may consist of, not how
static bool is_host(struct span v)
{
    return consists_of(v, "-._~%!$&'()*+,;=:[]");
}

/* Whoever stands behind may take the other one: who asks is the one thing that must not differ, and
 * what a proxy says of a request. */
static bool is_repeated(struct scan *s, struct span name)
{
    static const char *const names[] = {"Authorization", "X-Original-Method", "X-Original-URI",
                                        "X-Forwarded-Method", "X-Forwarded-Uri"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (!is_named(name, names[i])) continue;
        if (s->once & 1u << i) return true;
        s->once |= 1u << i;
    }
    return false;
}

static enum head_fault field(struct scan *s, struct span name, struct span value)
{
    if (++s->fields > HEAD_FIELDS_MAX) return HEAD_TOO_MANY;
    if (is_named(name, "Host")) {
        if (s->hosts++ > 0) return HEAD_TWO_HOSTS;
        return is_host(value) ? HEAD_NONE : HEAD_BAD_HOST;
    }
    if (is_repeated(s, name)) return HEAD_REPEATED;
    if (is_named(name, "Content-Length")) return content_length(s, value);
    if (is_named(name, "Transfer-Encoding")) {
        if (s->codings++ > 0 || !is_named(value, "chunked")) return HEAD_BAD_CODING;
        s->facts.chunked = true;
    } else if (is_named(name, "Expect") && is_named(value, "100-continue")) {
        s->facts.expects_continue = true;
    }
    return HEAD_NONE;
}

static enum head_fault field_line(struct scan *s, struct span line)
{
    if (line.at[0] == ' ' || line.at[0] == '\t') return HEAD_FOLDED;
    const char *colon = memchr(line.at, ':', line.len);
    if (!colon) return HEAD_FIELD_NAME;
    struct span name = {line.at, (size_t)(colon - line.at)};
    struct span value = {colon + 1, line.len - name.len - 1};
    if (!is_token(name)) return HEAD_FIELD_NAME;
    while (value.len && (value.at[0] == ' ' || value.at[0] == '\t'))
        value = (struct span){value.at + 1, value.len - 1};
    while (value.len && (value.at[value.len - 1] == ' ' || value.at[value.len - 1] == '\t'))
        value.len--;
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.at[i];
        if (!is_visible(c) && c != ' ' && c != '\t') return HEAD_CONTROL;
    }
    return field(s, name, value);
}

//= RFC 9112 6.1, 6.3: what two implementations could frame in two ways is refused
static enum head_fault framing(const struct scan *s)
{
    if (s->codings && s->lengths) return HEAD_LENGTH_AND_CODING;
    if (s->codings && s->facts.http_1_0) return HEAD_OLD_AND_CODING;
    //= RFC 9112 3.2: a Host field is due from 1.1 on
    if (!s->hosts && !s->facts.http_1_0) return HEAD_NO_HOST;
    return HEAD_NONE;
}

enum head_fault head_check(const char *head, size_t len, struct head_facts *facts_out)
{
    struct scan s = {.p = head, .end = head + len};
    struct span line;
    enum head_fault f = request_line(&s);
    while (f == HEAD_NONE) {
        f = next_line(&s, &line);
        if (f || line.len == 0) break;
        f = field_line(&s, line);
    }
    if (f == HEAD_NONE) f = framing(&s);
    if (f == HEAD_NONE && s.p != s.end) f = HEAD_TRAILING;
    if (f == HEAD_NONE) *facts_out = s.facts;
    return f;
}

/* ---- after libmicrohttpd ---- */

#define VERSION_LEN 8 /* "HTTP/1.1" */

/* One field from `at`, where a line begins. @return where its line end begins, or 0 if there is no
 * colon or no line end. */
static size_t restore_field(char *out, size_t len, size_t at)
{
    char *colon = memchr(out + at, '\0', len - at);
    if (!colon) return 0;
    *colon = ':';
    char *end = memchr(colon, '\0', len - (size_t)(colon - out));
    return end ? (size_t)(end - out) : 0;
}

size_t head_restore(const struct head_remains *r, char *out, size_t cap)
{
    size_t target_len = strlen(r->target), len = r->len, fields = 0;
    size_t p = r->version_at + VERSION_LEN;
    if (len > cap || r->version_at > len || p + 4 > len || r->target_at == 0 ||
        r->target_at + target_len >= r->version_at)
        return 0;
    memcpy(out, r->bytes, len);
    memcpy(out + r->target_at, r->target, target_len);
    char *blank = memchr(out, '\0', r->target_at);
    if (blank) *blank = ' ';
    if (r->target_at + target_len + 1 == r->version_at) out[r->target_at + target_len] = ' ';
    while (p != 0 && p + 4 <= len && out[p] == '\0' && out[p + 1] == '\0') {
        memcpy(out + p, "\r\n", 2);
        if (p + 4 == len && out[p + 2] == '\0' && out[p + 3] == '\0') {
            memcpy(out + p + 2, "\r\n", 2);
            break;
        }
        p = restore_field(out, len, p + 2);
        fields++;
    }
    return fields == r->fields ? len : 0;
}
