/* The table of routes, made from data/api.tsv. */
#include "src/server/admin/internal.h"

#define ADMIN_TABLE
#include "src/server/admin/api_table.h"

const size_t admin_route_count = sizeof admin_routes / sizeof *admin_routes;
