/* May what memory says of devices and lists be believed? */
#include "src/server/gate/inner.h"
#include "src/server/gate/lists.h"
#include "src/server/observe/log.h"

/* One line when it begins and one when it is over, however many ask meanwhile. */
static void note(struct gate *g, bool heard)
{
    if (atomic_exchange_explicit(&g->unheard, !heard, memory_order_relaxed) == !heard) return;
    if (heard)
        LOG(LOG_INFO, 0, "store-heard");
    else
        LOG(LOG_ERROR, 0, "store-unheard",
            KV_TEXT("why",
                    "nothing was heard of the store for the time of store_lease; who would be "
                    "let in is told to come again"));
}

bool gate_is_heard(struct gate *g)
{
    bool heard = store_is_heard(g->store);
    if (heard == atomic_load_explicit(&g->unheard, memory_order_relaxed)) note(g, heard);
    return heard;
}
