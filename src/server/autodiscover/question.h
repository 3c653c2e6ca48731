/* What an Autodiscover request asks for. Pure functions over foreign bytes. */
#ifndef PROVOSTD_AUTODISCOVER_QUESTION_H
#define PROVOSTD_AUTODISCOVER_QUESTION_H

#include <stdbool.h>
#include <stddef.h>

#define QUESTION_BODY_MAX (16 * 1024) /* real ones have less than 1 KiB */
#define QUESTION_EMAIL_MAX 257        /* bytes, terminator included (RFC 5321: 254, and room) */

/* The numbers are ErrorCodes of the protocol. */
enum question_fault {
    QUESTION_OK = 0,
    QUESTION_NO_MEMORY = 1,
    QUESTION_INVALID = 600, /* not to be understood */
    QUESTION_NO_PROVIDER = 601 /* it wants an answer of another kind than ActiveSync */
};

/* Version 1: a document. Element names count without their namespaces, since clients mix them up;
 * what is asked for is told by AcceptableResponseSchema alone. A document type is refused, and with
 * it every entity. email_out: UTF-8, blanks around it cut; set on QUESTION_OK. */
enum question_fault question_read(const void *body, size_t len,
                                  char email_out[QUESTION_EMAIL_MAX]);

/* Version 2: a query, raw, without its '?'; NULL: none. Who it is for does not matter, but it must be
 * told: in Email, or has_email is true as the path has it. */
enum question_v2 {
    QUESTION_V2_ACTIVESYNC,
    QUESTION_V2_AUTODISCOVER, /* where version 1 is */
    QUESTION_V2_NO_EMAIL,
    QUESTION_V2_NO_PROTOCOL,
    QUESTION_V2_OTHER_PROTOCOL
};
enum question_v2 question_query(const char *query, bool has_email);

#endif
