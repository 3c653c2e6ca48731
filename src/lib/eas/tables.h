/* Tables made from data/commands.tsv and data/statuses.tsv. */
#ifndef PV_EAS_TABLES_H
#define PV_EAS_TABLES_H

#include <stddef.h>

#include <provost/eas.h>

/* A common Status (MS-ASCMD 2.2.2) and the HTTP code that stands in for it below 14.0. */
struct pv__status {
    unsigned code;
    const char *name;
    unsigned http, http_without_key;
    const char *text;
};

extern const struct pv_cmd_info pv__commands[PV_CMD_COUNT];
extern const struct pv__status pv__statuses[]; /* by ascending code */
extern const size_t pv__status_count;

#endif
