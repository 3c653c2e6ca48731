/* The one message that a device in quarantine sees. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/lib/base/text.h"
#include "src/server/mailbox/quarantine.h"

#define UTF8_CODE_PAGE 65001

/* A name as people may read it: bytes that are no UTF-8 are escaped. */
static void put_name(struct pv__out *o, const char *name)
{
    char shown[256];
    size_t len = strlen(name);
    bool clean = pv__utf8_valid((const uint8_t *)name, len);
    for (size_t i = 0; i < len && clean; i++) clean = (unsigned char)name[i] >= 0x20;
    if (!clean) {
        pv__escape(name, len, shown, sizeof shown);
        name = shown;
    }
    pv__out_text(o, name);
}

/* Cut to at most cap bytes without splitting a character. */
static size_t cut(const char *text, size_t len, size_t cap)
{
    if (len <= cap) return len;
    while (cap > 0 && ((unsigned char)text[cap] & 0xc0) == 0x80) cap--;
    return cap;
}

/* %u user, %d device id, %t device type, %% a percent sign; lines end with CR LF if wanted. */
static void fill_in(const char *text, const struct quarantine_facts *f, bool lines, char *buf,
                    size_t cap)
{
    struct pv__out o;
    pv__out_init(&o, buf, cap);
    for (const char *p = text; *p; p++) {
        if (*p == '%' && p[1]) {
            p++;
            if (*p == 'u')
                put_name(&o, f->user);
            else if (*p == 'd')
                put_name(&o, f->device_id);
            else if (*p == 't')
                put_name(&o, f->device_type);
            else
                pv__out_bytes(&o, p, 1);
        } else if (*p == '\n' && lines) {
            pv__out_text(&o, "\r\n");
        } else if ((unsigned char)*p >= 0x20) {
            pv__out_bytes(&o, p, 1);
        }
    }
    if (pv__out_end(&o, NULL) != PV_OK) buf[cut(buf, cap, cap - 1)] = '\0';
}

static void address(const char *name, const char *domain, char buf[QUARANTINE_ADDRESS_MAX])
{
    struct pv__out o;
    pv__out_init(&o, buf, QUARANTINE_ADDRESS_MAX);
    put_name(&o, name);
    if (!strchr(name, '@') && *domain) {
        pv__out_text(&o, "@");
        pv__out_text(&o, domain);
    }
    if (pv__out_end(&o, NULL) != PV_OK) buf[0] = '\0';
}

static uint32_t mix(uint32_t h, const char *text)
{
    do h = (h ^ (uint8_t)*text) * 16777619u;
    while (*text++);
    return h;
}

/* Another text, device or Inbox gives other keys, so that the device starts anew. */
static void make_keys(struct quarantine_mail *m, const struct quarantine_facts *f)
{
    const char *const texts[] = {f->user, f->device_id, m->subject, m->text, m->from, m->server_id};
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) h = mix(h, texts[i]);
    m->primed = h & 0x7ffffffe;
    if (m->primed == 0) m->primed = 2;
    m->told = m->primed + 1;
}

void quarantine_mail_make(const struct quarantine_facts *f, struct quarantine_mail *out)
{
    const char *at = strchr(f->user, '@');
    time_t since = (time_t)f->since;
    struct tm utc;
    *out = (struct quarantine_mail){.inbox = f->inbox};
    snprintf(out->server_id, sizeof out->server_id, "%u:1", (unsigned)f->inbox);
    address("postmaster", *f->domain ? f->domain : at ? at + 1 : "", out->from);
    address(f->user, f->domain, out->to);
    if (gmtime_r(&since, &utc))
        strftime(out->date, sizeof out->date, "%Y-%m-%dT%H:%M:%S.000Z", &utc);
    fill_in(f->subject, f, false, out->subject, sizeof out->subject);
    fill_in(f->text, f, true, out->text, sizeof out->text);
    make_keys(out, f);
}

/* ---- as the device gets it ---- */
/* MS-ASEMAIL: the body is the Email namespace's own at 2.5 ... */
static void write_body_2_5(const struct quarantine_mail *m, struct pv_wbxml_writer *w)
{
    pv_wbxml_leaf_u32(w, PV_Email_BodyTruncated, 0);
    pv_wbxml_leaf_u32(w, PV_Email_BodySize, (uint32_t)strlen(m->text));
    pv_wbxml_leaf(w, PV_Email_Body, m->text);
}

/* ... and AirSyncBase's from 12.0 on (MS-ASAIRS 2.2.2.9). */
static void write_body(const struct quarantine_mail *m, size_t most, struct pv_wbxml_writer *w)
{
    size_t len = strlen(m->text), part = cut(m->text, len, most);
    pv_wbxml_start(w, PV_AirSyncBase_Body);
    pv_wbxml_leaf_u32(w, PV_AirSyncBase_Type, 1); /* plain text */
    pv_wbxml_leaf_u32(w, PV_AirSyncBase_EstimatedDataSize, (uint32_t)len);
    if (part < len) pv_wbxml_leaf_u32(w, PV_AirSyncBase_Truncated, 1);
    if (part > 0) {
        pv_wbxml_start(w, PV_AirSyncBase_Data);
        pv_wbxml_text(w, m->text, part);
        pv_wbxml_end(w);
    }
    pv_wbxml_end(w);
}

void quarantine_mail_write(const struct quarantine_mail *m, enum pv_version version, size_t most,
                           struct pv_wbxml_writer *w)
{
    pv_wbxml_leaf(w, PV_Email_To, m->to);
    pv_wbxml_leaf(w, PV_Email_From, m->from);
    pv_wbxml_leaf(w, PV_Email_Subject, m->subject);
    pv_wbxml_leaf(w, PV_Email_DateReceived, m->date);
    pv_wbxml_leaf(w, PV_Email_DisplayTo, m->to);
    pv_wbxml_leaf(w, PV_Email_ThreadTopic, m->subject);
    pv_wbxml_leaf_u32(w, PV_Email_Importance, 1);
    pv_wbxml_leaf_u32(w, PV_Email_Read, 0);
    if (version < PV_V12_0)
        write_body_2_5(m, w);
    else
        write_body(m, most, w);
    pv_wbxml_leaf(w, PV_Email_MessageClass, "IPM.Note");
    pv_wbxml_leaf_u32(w, PV_Email_InternetCPID, UTF8_CODE_PAGE);
    if (version < PV_V12_0) return;
    pv_wbxml_leaf(w, PV_Email_ContentClass, "urn:content-classes:message");
    pv_wbxml_leaf_u32(w, PV_AirSyncBase_NativeBodyType, 1);
}

size_t quarantine_mail_most(const struct pv_node *options)
{
    const struct pv_node *p = pv_node_child(options, PV_AirSyncBase_BodyPreference);
    for (; p; p = pv_node_next(p, PV_AirSyncBase_BodyPreference)) {
        uint32_t most;
        if (pv_node_text_is(pv_node_child(p, PV_AirSyncBase_Type), "1") &&
            pv_node_u32(pv_node_child(p, PV_AirSyncBase_TruncationSize), &most))
            return most;
    }
    return SIZE_MAX;
}

bool quarantine_mail_is(const struct quarantine_mail *m, const struct pv_node *server_id)
{
    return pv_node_text_is(server_id, m->server_id);
}
