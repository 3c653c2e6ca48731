/* Header fields as a gateway sees them (RFC 9110, RFC 9112). */
#ifndef PROVOSTD_FIELDS_H
#define PROVOSTD_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

/* A token, RFC 9110 5.6.2. */
bool field_name_fits(const char *name, size_t len);
/* No control character but the tab. */
bool field_value_fits(const char *value, size_t len);
/* The same field, or one that some servers take for it: they hand fields on as variables, where every
 * character but letters and digits becomes one. No regard to case. */
bool field_same_name(const char *a, const char *b);
bool field_has_prefix(const char *name, const char *prefix);
/* Is a name among those of a list such as Connection's? No regard to case. */
bool field_list_has(const char *list, const char *name);
/* Belongs to one connection, or frames the body: made anew for each (RFC 9110 7.6.1). */
bool field_is_hop(const char *name);

#endif
