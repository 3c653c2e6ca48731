#ifndef PV_BASE_SHA256_H
#define PV_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

/* SHA-256 (FIPS 180-4): the library may link nothing but libc. */
void pv__sha256(const uint8_t *data, size_t len, uint8_t out[32]);

#endif
