/* JSON and text where memory may be short. jansson 2.14 leaves names out of an object when its
 * buffer cannot grow (its issue 655), and does not tell damaged text from missing memory. */
#ifndef PROVOST_JSON_TEXT_H
#define PROVOST_JSON_TEXT_H

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "src/lib/base/text.h"

#define JSON_TEXT_BRIEF 1024 /* bytes of a text that is written once, not measured before */

/* The whole text, to be freed; NULL: no memory. json may be NULL. */
static inline char *text_of_json(const json_t *json, size_t flags)
{
    char brief[JSON_TEXT_BRIEF];
    size_t len = json ? json_dumpb(json, brief, sizeof brief, flags) : 0;
    char *text = len ? malloc(len + 1) : NULL;
    if (!text) return NULL;
    if (len <= sizeof brief) {
        memcpy(text, brief, len);
    } else if (json_dumpb(json, text, len, flags) != len) {
        free(text);
        return NULL;
    }
    text[len] = '\0';
    return text;
}

/* false: no memory. *json_out NULL: the text is no JSON. When its buffer cannot grow, jansson may
 * drop a character and go on: what it made then is thrown away. */
static inline bool json_of_text(const char *text, size_t len, size_t flags, json_t **json_out)
{
    errno = 0; /* which malloc sets */
    *json_out = json_loadb(text, len, flags, NULL);
    if (errno != ENOMEM) return true;
    json_decref(*json_out);
    *json_out = NULL;
    return false;
}

#define JSON_PEER_TEXT_MAX 1024 /* bytes of a text that is no UTF-8 */

/* Text that came from a peer at some time: bytes that are no UTF-8 are escaped, so that one odd
 * device does not spoil a whole document. NULL counts as "". */
static inline json_t *json_of_peer(const char *text)
{
    char escaped[JSON_PEER_TEXT_MAX];
    size_t len = text ? strlen(text) : 0;
    if (pv__utf8_valid((const uint8_t *)text, len)) return json_stringn(text ? text : "", len);
    pv__escape(text, len, escaped, sizeof escaped);
    return json_string(escaped);
}

#endif
