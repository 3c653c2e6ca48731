/* The interface, told by itself. */
#include "src/server/admin/internal.h"

static const char document[] =
#include "src/server/admin/api_openapi.h"
    ;

void admin_openapi(struct admin_call *c)
{
    admin_reply_text(c, 200, document);
}
