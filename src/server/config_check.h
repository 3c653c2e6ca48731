/* What the table of keys cannot say: what must fit together, and how a value is written. */
#ifndef PROVOSTD_CONFIG_CHECK_H
#define PROVOSTD_CONFIG_CHECK_H

#include "src/server/config.h"

struct reading;

/* path: of the key that is wrong, "admin.listen"; where it is not set the nearest group above tells the
 * line. Adds one to the errors; the configuration is refused. */
__attribute__((format(printf, 3, 4))) void config_complain(struct reading *r, const char *path,
                                                           const char *format, ...);
/* Is it set in the file? A key, or a group of them. */
bool config_stands(const struct reading *r, const char *path);
/* Defaults that hang on other keys. */
void config_complete(struct config *c);
/* Every value by itself is as the table has it. */
void config_check(const struct config *c, struct reading *r);

#endif
