/* Who may come in at all: the administrator's word for a device. */
#include "src/server/gate/inner.h"

void device_judge_access(struct device *d)
{
    static const uint8_t by_word[PV_PERSONAL_COUNT] = {
        [PV_PERSONAL_BLOCK] = PV_ACCESS_BLOCKED,
        [PV_PERSONAL_QUARANTINE] = PV_ACCESS_QUARANTINED,
    };
    d->access = by_word[d->personal];
}
