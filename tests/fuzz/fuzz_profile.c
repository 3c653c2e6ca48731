/* A profile of what a device can do. */
#include <string.h>

#include <provost/provision.h>

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const demands[] = {"", "DevicePasswordEnabled", "AllowCamera",
                                          "MaxInactivityTimeDeviceLock"};
    struct pv_profile profile;
    char message[200] = "";
    enum pv_err err = pv_profile_read((const char *)data, size, &profile, message,
                                      sizeof message);

    LAW(memchr(message, 0, sizeof message));
    LAW((err != PV_OK) == !strncmp(message, "line ", 5));
    for (const char *p = message; *p; p++) LAW(*p >= ' ' && *p < 0x7F);
    if (err) return 0;
    LAW(!(profile.unsupported & profile.limited));
    for (size_t i = 0; i < sizeof demands / sizeof *demands; i++) {
        enum pv_kept kept[PV_SETTING_COUNT];
        struct pv_policy policy = {0};
        size_t broken = 0;
        unsigned status;

        if (*demands[i] && pv_policy_set(&policy, NULL, demands[i], i == 1 ? "1" : "0", NULL, 0))
            abort();
        status = pv_profile_judge(&profile, &policy, kept);
        LAW(status >= 1 && status <= 4);
        for (size_t s = 0; s < PV_SETTING_COUNT; s++) broken += kept[s] == PV_NOT_KEPT;
        LAW((status == 4) == profile.externally_managed);
        LAW(status != 1 || broken == 0); /* never more than the truth */
        LAW(broken || status == 1 || profile.externally_managed || profile.nothing);
    }
    return 0;
}
