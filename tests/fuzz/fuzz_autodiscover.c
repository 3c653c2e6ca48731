/* Autodiscover. Laws: what was read of a document can be asked again and is read again; a document
 * type is never taken; a host that is taken stands in an address that is taken as well. */
#include <string.h>

#include "src/lib/base/text.h"
#include "src/server/autodiscover/question.h"
#include "src/server/public_url.h"
#include "tests/fuzz/fuzz.h"

#define SCHEMA "http://schemas.microsoft.com/exchange/autodiscover/mobilesync/responseschema/2006"

/* In UTF-8, and where the letters can mean nothing else. */
static bool has_doctype(const uint8_t *data, size_t size)
{
    return memmem(data, size, "<!DOCTYPE", 9) && !memchr(data, '\0', size) &&
           !memmem(data, size, "<!--", 4) && !memmem(data, size, "<![CDATA[", 9) &&
           !memmem(data, size, "<?", 2);
}

static void ask_again(const char *email)
{
    char body[512 + 6 * QUESTION_EMAIL_MAX], again[QUESTION_EMAIL_MAX];
    size_t n = (size_t)snprintf(body, sizeof body, "<Autodiscover><Request><EMailAddress>");
    for (const char *p = email; *p; p++)
        if (*p == '\r' || strchr("&<>", *p))
            n += (size_t)sprintf(body + n, "&#%d;", *p);
        else
            body[n++] = *p;
    n += (size_t)snprintf(body + n, sizeof body - n,
                          "</EMailAddress><AcceptableResponseSchema>" SCHEMA
                          "</AcceptableResponseSchema></Request></Autodiscover>");
    LAW(question_read(body, n, again) == QUESTION_OK);
    LAW(strcmp(email, again) == 0);
}

static void host(const char *text)
{
    char url[PUBLIC_URL_ROOM];
    const struct public_url asked = {.host = text};
    bool ok = public_host_ok(text);
    LAW(public_url_at(&asked, "", url) == ok);
    if (!ok) return;
    LAW(public_url_ok(url));
    LAW(!strpbrk(text, "/?#@<>&\"' \r\n"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char email[QUESTION_EMAIL_MAX];
    enum question_fault fault = question_read(data, size, email);
    LAW(fault == QUESTION_OK || fault == QUESTION_INVALID || fault == QUESTION_NO_PROVIDER);
    if (fault == QUESTION_OK) {
        LAW(*email && pv__utf8_valid((const uint8_t *)email, strlen(email)));
        LAW(!has_doctype(data, size));
        ask_again(email);
    }
    char *text = strndup((const char *)data, size);
    if (!text) return 0;
    enum question_v2 v2 = question_query(text, false);
    LAW(v2 == QUESTION_V2_NO_EMAIL || v2 == question_query(text, true));
    host(text);
    free(text);
    return 0;
}
