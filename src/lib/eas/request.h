/* What the two forms of the query share. */
#ifndef PV_EAS_REQUEST_H
#define PV_EAS_REQUEST_H

#include <provost/eas.h>

#define PV__TARGET_MAX 8192 /* bytes of a request target */

/* A text of the request: its name in the plain query, its tag in the base64 one. */
struct pv__field {
    const char *name;
    int tag;       /* -1: not a parameter of the base64 query */
    size_t offset; /* of a const char * in struct pv_request */
};
#define PV__FIELD_COUNT 8
extern const struct pv__field pv__fields[PV__FIELD_COUNT];
#define PV__TAG_OPTIONS 7
#define PV__OPTION_SAVE_IN_SENT 0x01
#define PV__OPTION_MULTIPART 0x02

static inline const char **pv__field_of(struct pv_request *req, const struct pv__field *f)
{
    return (const char **)(void *)((char *)req + f->offset);
}

static inline const char *pv__field_text(const struct pv_request *req, const struct pv__field *f)
{
    const char *text = *(const char *const *)(const void *)((const char *)req + f->offset);

    return text ? text : "";
}

/* The parts of a target, in the origin form or the absolute one; one slash at the end of the path is
 * left out. They point into target. */
struct pv__target {
    const char *path, *query; /* query NULL without '?' */
    size_t path_len, query_len;
};
void pv__target_split(const char *target, struct pv__target *out);

/* Undo percent-encoding in place. PV_OK or PV_E_MALFORMED (a broken escape). */
PV_MUST_CHECK enum pv_err pv__percent_decode(char *text, size_t len, size_t *len_out);

/* Both fill what they can read and leave the rest as it is: version PV_VERSION_COUNT and command
 * PV_CMD_COUNT if unknown, texts NULL if absent. PV_OK, PV_E_MALFORMED, PV_E_NOMEM. */
PV_MUST_CHECK enum pv_err pv__query_plain(struct pv_arena *arena, const char *query, size_t len,
                                          struct pv_request *out);
PV_MUST_CHECK enum pv_err pv__query_base64(struct pv_arena *arena, const char *query, size_t len,
                                           struct pv_request *out);

#endif
