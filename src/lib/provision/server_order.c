/* What administrators order, and how a wipe ends. */
#include "src/lib/provision/server.h"

#include <string.h>

void pv__wipe_end(struct pv_partnership *p, enum pv_wipe_state how, int64_t now)
{
    p->wipe_state = (uint8_t)how;
    p->wipe_ended_at = now;
    /* Once wiped, always wiped: a later wipe that expires does not take that back. */
    if (p->shut != PV_SHUT_WIPED)
        p->shut = how == PV_WIPE_STATE_ACKNOWLEDGED ? PV_SHUT_WIPED : PV_SHUT_EXPIRED;
    p->key = p->acked_offer = 0;
    p->acked_status = 0;
    memset(p->offers, 0, sizeof p->offers);
}

bool pv__wipe_expire(struct pv_partnership *p, int64_t now)
{
    if (!pv__wipe_pending(p) || !pv__wipe_over(p, now)) return false;
    pv__wipe_end(p, PV_WIPE_STATE_EXPIRED, p->wipe_expires_at);
    return true;
}
