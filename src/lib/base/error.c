#include <stdbool.h>

#include <provost/error.h>

#define ENTRY(code, blame, text) [PV_##code] = {#code, text, PV_##blame},
static const struct {
    const char *name, *text;
    enum pv_blame blame;
} errors[PV_ERR_COUNT] = {PV_ERRORS(ENTRY)};
#undef ENTRY

static bool known(enum pv_err err)
{
    return (unsigned)err < PV_ERR_COUNT;
}

const char *pv_err_name(enum pv_err err)
{
    return known(err) ? errors[err].name : "?";
}

const char *pv_err_text(enum pv_err err)
{
    return known(err) ? errors[err].text : "unknown error";
}

enum pv_blame pv_err_blame(enum pv_err err)
{
    return known(err) ? errors[err].blame : PV_CALLER;
}
