/* Content coding of answers: gzip, and only for those who ask for it. */
#ifndef PROVOSTD_ENCODING_H
#define PROVOSTD_ENCODING_H

#include <stdbool.h>
#include <stddef.h>

/* Does a field value of Accept-Encoding allow gzip? NULL: no. */
bool encoding_allows_gzip(const char *accept_encoding);
/* Compress into a block for free(). NULL: no memory, or it would not be smaller. */
void *encoding_gzip(const void *data, size_t len, size_t *len_out);

#endif
