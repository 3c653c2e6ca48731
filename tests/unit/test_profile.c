/* What a device can keep, and the honest acknowledgement. */
#include "policy_help.h"

#include <provost/provision.h>

/* ---- what a device can keep ------------------------------------------------------------------ */

static void profiles(void **state)
{
    static const struct { const char *profile, *settings; unsigned want; } cases[] = {
        {"", "", 1},
        {"", "DevicePasswordEnabled=1 AllowCamera=0", 1},
        {"AllowCamera = no", "", 1},
        {"AllowCamera = no", "AllowCamera=1", 1},
        {"AllowCamera = no", "AllowCamera=0", 3}, /* nothing of it is applied */
        {"AllowCamera = no", "AllowCamera=0 AllowWiFi=0", 2},
        {"AllowCamera = no", "AllowCamera=0 DevicePasswordEnabled=1", 2},
        {"MinDevicePasswordLength = 8", "DevicePasswordEnabled=1 MinDevicePasswordLength=8", 1},
        {"MinDevicePasswordLength = 8", "DevicePasswordEnabled=1 MinDevicePasswordLength=9", 3},
        {"MinDevicePasswordLength = 8", "MinDevicePasswordLength=9", 1}, /* no password asked for */
        {"DevicePasswordEnabled = no", "DevicePasswordEnabled=1 AllowWiFi=0", 3},
        {"MaxInactivityTimeDeviceLock = 60", "MaxInactivityTimeDeviceLock=60", 1},
        {"MaxInactivityTimeDeviceLock = 60", "MaxInactivityTimeDeviceLock=59 AllowWiFi=0", 2},
        {"MaxEmailAgeFilter = 0", "MaxEmailAgeFilter=5 AllowWiFi=0", 2}, /* no limit at all */
        {"MaxEmailAgeFilter = 3", "MaxEmailAgeFilter=5", 1},
        {"MaxEmailAgeFilter = 3", "MaxEmailAgeFilter=2", 3},
        {"RequireSignedSMIMEAlgorithm = 0", "RequireSignedSMIMEAlgorithm=1", 3},
        {"RequireSignedSMIMEAlgorithm = 1", "RequireSignedSMIMEAlgorithm=1", 1},
        {"ApprovedApplicationList = no", "ApprovedApplicationList=a AllowWiFi=0", 2},
        {"ExternallyManaged = yes", "AllowCamera=0", 4},
        {"ExternallyManaged = yes\nExternallyManaged = no", "AllowCamera=0", 1},
        {"Nothing = yes", "", 3},
        {"Nothing = yes", "AllowCamera=0", 3},
        {"# a comment\n\n \t\r\n AllowCamera=no # why\r\nAllowWiFi\t=\tyes",
         "AllowCamera=0 AllowWiFi=0", 2},
        {"AllowCamera = no\nAllowCamera = yes", "AllowCamera=0", 1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pv_policy p = policy_of(cases[i].settings);
        struct pv_profile profile;
        enum pv_kept kept[PV_SETTING_COUNT];
        char message[200];

        print_message("# %s | %s\n", cases[i].profile, cases[i].settings);
        assert_int_equal(pv_profile_read(cases[i].profile, strlen(cases[i].profile), &profile,
                                         message, sizeof message), PV_OK);
        assert_string_equal(message, "");
        assert_int_equal(pv_profile_judge(&profile, &p, kept), cases[i].want);
        assert_int_equal(pv_profile_judge(&profile, &p, NULL), cases[i].want);
        assert_int_equal(kept[PV_SET_AllowDesktopSync], PV_NOT_DEMANDED);
        assert_int_equal(kept[PV_SET_AllowPartial], PV_NOT_DEMANDED);
    }
}

static void profiles_with_mistakes(void **state)
{
    static const struct { const char *text; enum pv_err want; const char *message; } cases[] = {
        {"\nAllowCamera", PV_E_MALFORMED, "line 2: \"AllowCamera\" is no line NAME = VALUE"},
        {"=", PV_E_UNKNOWN, "line 1: \"\" is no setting of a device"},
        {"AllowPartial = yes", PV_E_UNKNOWN, "line 1: \"AllowPartial\" is no setting of a device"},
        {"allowcamera = yes", PV_E_UNKNOWN, "line 1: \"allowcamera\" is no setting of a device"},
        {"AllowCamera =", PV_E_MALFORMED,
         "line 1: \"AllowCamera =\" has neither yes, no nor a number"},
        {"AllowCamera = maybe\x1b", PV_E_MALFORMED,
         "line 1: \"AllowCamera = maybe\\x1b\" has neither yes, no nor a number"},
        {"MinDevicePasswordLength = 17", PV_E_RANGE,
         "line 1: \"MinDevicePasswordLength = 17\" has a value out of range"},
        {"ApprovedApplicationList = 1", PV_E_MALFORMED,
         "line 1: \"ApprovedApplicationList = 1\" has neither yes, no nor a number"},
        {"Nothing = 1", PV_E_MALFORMED, "line 1: \"1\" is neither yes nor no"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pv_profile profile = {.limited = 5}, before = profile;
        char message[200];
        print_message("# %s\n", cases[i].text);
        assert_int_equal(pv_profile_read(cases[i].text, strlen(cases[i].text), &profile, message,
                                         sizeof message), cases[i].want);
        assert_string_equal(message, cases[i].message);
        assert_memory_equal(&profile, &before, sizeof profile);
    }
    struct pv_profile profile;
    assert_int_equal(pv_profile_read("Allow\0Camera = no", 17, &profile, NULL, 0), PV_E_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(profiles, fresh),
        cmocka_unit_test_setup(profiles_with_mistakes, fresh),
    };

    return cmocka_run_group_tests_name("profile", tests, NULL, NULL);
}
