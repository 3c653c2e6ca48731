/* JSON and text where memory may be short. jansson 2.14 leaves names out of an object when its
 * buffer cannot grow (its issue 655), and does not tell damaged text from missing memory. */
#ifndef PROVOST_JSON_TEXT_H
#define PROVOST_JSON_TEXT_H

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>

/* The whole text, to be freed; NULL: no memory. json may be NULL. */
static inline char *text_of_json(const json_t *json, size_t flags)
{
    size_t len = json ? json_dumpb(json, NULL, 0, flags) : 0;
    char *text = len ? malloc(len + 1) : NULL;
    if (!text || json_dumpb(json, text, len, flags) != len) {
        free(text);
        return NULL;
    }
    text[len] = '\0';
    return text;
}

/* false: no memory. *json_out NULL: the text is no JSON. */
static inline bool json_of_text(const char *text, size_t len, size_t flags, json_t **json_out)
{
    errno = 0; /* which malloc sets */
    *json_out = json_loadb(text, len, flags, NULL);
    return *json_out || errno != ENOMEM;
}

#endif
