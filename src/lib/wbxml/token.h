/* The numbers of WBXML 1.3 that ActiveSync uses (MS-ASWBXML 2.1). */
#ifndef PV_WBXML_TOKEN_H
#define PV_WBXML_TOKEN_H

enum {
    PV__WBXML_1_1 = 0x01,
    PV__WBXML_1_3 = 0x03,
    PV__PUBLIC_UNKNOWN = 0x01,
    PV__CHARSET_ASCII = 3,  /* IANA MIBenum */
    PV__CHARSET_UTF8 = 106,

    PV__SWITCH_PAGE = 0x00,
    PV__END = 0x01,
    PV__STR_I = 0x03,
    PV__STR_T = 0x83,
    PV__OPAQUE = 0xC3,
    PV__CONTENT = 0x40,    /* bit of a tag: content follows, up to END */
    PV__ATTRIBUTES = 0x80, /* bit of a tag */
};

#endif
