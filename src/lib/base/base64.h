#ifndef PV_BASE_BASE64_H
#define PV_BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include <provost/error.h>

/* Decode: standard and url-safe alphabet (also mixed), padding may be missing (all of it); no
 * blanks, no stray bits. PV_OK, E_MALFORMED, E_NOMEM. */
PV_MUST_CHECK enum pv_err pv__base64_decode(const char *text, size_t len, uint8_t *buf, size_t cap,
                                            size_t *len_out);
/* Encode: standard alphabet with padding, terminated. PV_OK, E_NOMEM. */
PV_MUST_CHECK enum pv_err pv__base64_encode(const uint8_t *data, size_t len, char *buf, size_t cap);

#endif
