/* What the responses say that this server asks for: capabilities, folders, counts, namespaces. Pure
 * functions. */
#ifndef PROVOSTD_IMAP_FACTS_H
#define PROVOSTD_IMAP_FACTS_H

#include "src/server/imap/response.h"

#define IMAP_NAME_MAX 1024  /* bytes of a folder's name as the server says it */
#define IMAP_PREFIX_MAX 127 /* of a namespace */
#define IMAP_ID_MAX 255     /* RFC 8474 */
#define IMAP_NAMESPACES_MAX 8

/* ---- capabilities ---- */
#define IMAP_CAPS(X)                                                                              \
    X(REV2, "IMAP4rev2") X(IDLE, "IDLE") X(NOTIFY, "NOTIFY") X(LIST_EXTENDED, "LIST-EXTENDED")    \
    X(LIST_STATUS, "LIST-STATUS") X(SPECIAL_USE, "SPECIAL-USE") X(NAMESPACE, "NAMESPACE")         \
    X(ENABLE, "ENABLE") X(UTF8_ACCEPT, "UTF8=ACCEPT") X(UTF8_ONLY, "UTF8=ONLY")                   \
    X(CONDSTORE, "CONDSTORE") X(QRESYNC, "QRESYNC") X(OBJECTID, "OBJECTID")                       \
    X(SASL_IR, "SASL-IR") X(LOGINDISABLED, "LOGINDISABLED") X(AUTH_PLAIN, "AUTH=PLAIN")           \
    X(AUTH_XOAUTH2, "AUTH=XOAUTH2") X(AUTH_OAUTHBEARER, "AUTH=OAUTHBEARER")
#define IMAP_CAP_BIT(id, text) IMAP_BIT_##id,
enum { IMAP_CAPS(IMAP_CAP_BIT) IMAP_CAP_COUNT };
#undef IMAP_CAP_BIT
#define IMAP_CAP(id) (UINT32_C(1) << IMAP_BIT_##id)
/* Words from a CAPABILITY response or code, as bits; unknown ones are passed over. What IMAP4rev2 holds
 * within it is set with it. */
uint32_t imap_caps_read(struct imap_cursor words);

/* ---- LIST, LSUB ---- */
enum imap_use { IMAP_USE_NONE, IMAP_USE_DRAFTS, IMAP_USE_SENT, IMAP_USE_TRASH };
struct imap_listed {
    char name[IMAP_NAME_MAX + 1];  /* as the server says it, to be said to it again; "": too long, or it
                                      cannot be said */
    size_t name_len;
    char delimiter;                /* between levels; 0: the name has none */
    bool selectable;               /* neither \Noselect nor \NonExistent */
    enum imap_use use;             /* RFC 6154 */
};
/* false: malformed. */
bool imap_listed_read(struct imap_cursor rest, struct imap_listed *out);

/* ---- STATUS ---- */
enum {
    IMAP_TOLD_VALIDITY = 1, IMAP_TOLD_NEXT = 2, IMAP_TOLD_MESSAGES = 4, IMAP_TOLD_UNSEEN = 8,
    IMAP_TOLD_MODSEQ = 16
};
struct imap_counts {
    char name[IMAP_NAME_MAX + 1];
    size_t name_len;
    unsigned told;                 /* IMAP_TOLD_... of the numbers below; what is not told is 0 */
    uint32_t validity;             /* UIDVALIDITY */
    uint32_t next;                 /* UIDNEXT */
    uint32_t messages, unseen;
    uint64_t modseq;               /* HIGHESTMODSEQ */
    char id[IMAP_ID_MAX + 1];      /* MAILBOXID (RFC 8474); "": not told */
};
bool imap_counts_read(struct imap_cursor rest, struct imap_counts *out);

/* ---- NAMESPACE ---- */
struct imap_namespace {
    char prefix[IMAP_PREFIX_MAX + 1];
    size_t len;
    bool own;                      /* personal; else of others, or shared */
};
struct imap_namespaces { struct imap_namespace at[IMAP_NAMESPACES_MAX]; size_t count; };
/* What is beyond the limit is left out. */
bool imap_namespaces_read(struct imap_cursor rest, struct imap_namespaces *out);
/* The namespace with the longest prefix of the name; NULL: none. */
const struct imap_namespace *imap_namespace_of(const struct imap_namespaces *n, const char *name);

/* ---- what is said to a server ---- */
/* A name in quotes, terminated. false: it cannot be said so, or there is no room. */
bool imap_quote(const char *name, char *buf, size_t cap, size_t *len_out);
#define IMAP_QUOTED_MAX (2 * IMAP_NAME_MAX + 3)

#endif
