/* Values as PowerShell's ConvertTo-Json writes them. */
#ifndef PROVOST_CLI_IMPORT_VALUES_H
#define PROVOST_CLI_IMPORT_VALUES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* false: no such value. Where something may be unlimited: *unlimited_out, and *out is 0 then. */
bool value_yes_no(const json_t *value, int64_t *out);
/* words: ended by NULL; a word's place is its number. */
bool value_choice(const json_t *value, const char *const *words, int64_t *out);
bool value_number(const json_t *value, int64_t *out, bool *unlimited_out);
/* Bytes: 4096, "4KB", "10 MB (10,485,760 bytes)". */
bool value_size(const json_t *value, int64_t *out, bool *unlimited_out);
/* Whole seconds of a time span: "00:15:00", "90.00:00:00", {"Ticks": ...}. */
bool value_seconds(const json_t *value, int64_t *out, bool *unlimited_out);

#endif
