/* The bodies that a device sends. */
#include "src/cli/connect.h"

enum pv_err body_folder_sync(const char *sync_key, uint8_t *buf, size_t cap, size_t *len_out)
{
    struct pv_wbxml_writer w;
    pv_wbxml_begin(&w, buf, cap);
    pv_wbxml_start(&w, PV_FolderHierarchy_FolderSync);
    pv_wbxml_leaf(&w, PV_FolderHierarchy_SyncKey, sync_key);
    pv_wbxml_end(&w);
    return pv_wbxml_finish(&w, len_out);
}

enum pv_err body_settings(enum pv_version version, const struct pv_device_info *info, uint8_t *buf,
                          size_t cap, size_t *len_out)
{
    struct pv_wbxml_writer w;
    pv_wbxml_begin(&w, buf, cap);
    pv_wbxml_start(&w, PV_Settings_Settings);
    pv_device_info_write(info, version, &w);
    pv_wbxml_end(&w);
    return pv_wbxml_finish(&w, len_out);
}

enum pv_err body_ping(const struct folders *f, unsigned heartbeat, unsigned most, uint8_t *buf,
                      size_t cap, size_t *len_out, unsigned *folders_out)
{
    struct pv_wbxml_writer w;
    *folders_out = 0;
    pv_wbxml_begin(&w, buf, cap);
    pv_wbxml_start(&w, PV_Ping_Ping);
    pv_wbxml_leaf_u32(&w, PV_Ping_HeartbeatInterval, heartbeat);
    pv_wbxml_start(&w, PV_Ping_Folders);
    for (size_t i = 0; i < f->count && *folders_out < most; i++) {
        const char *class = folder_class(f->at[i].type);
        if (class == NULL) continue;
        pv_wbxml_start(&w, PV_Ping_Folder);
        pv_wbxml_leaf(&w, PV_Ping_Id, f->at[i].id);
        pv_wbxml_leaf(&w, PV_Ping_Class, class);
        pv_wbxml_end(&w);
        ++*folders_out;
    }
    pv_wbxml_end(&w);
    pv_wbxml_end(&w);
    return pv_wbxml_finish(&w, len_out);
}
