/* SPDX-License-Identifier: MIT */
/*
 * digest.h - what a program and the digest driver agree on: the first page of
 * the share. The data follows at DIGEST_DATA. A message of any length goes
 * through in pieces: the program fills the data, sets length and flags, raises
 * request by one and kicks; the driver hashes, raises progress as it goes, and
 * answers with reply = request and an event.
 */
#ifndef DIGEST_H
#define DIGEST_H

#include "kshm.h"

#define DIGEST_DATA 4096 /* offset of the data in the share, bytes */
#define DIGEST_FIRST 0x1 /* this piece starts a message */
#define DIGEST_LAST 0x2  /* this piece ends it: digest is wanted */

/* What was wrong, with KSHM_END_CORRUPT. */
#define DIGEST_BAD_LENGTH 1
#define DIGEST_BAD_FLAGS 2

struct digest_page {
	/* Written by the program. */
	kshm_u64 request;
	kshm_u32 length; /* bytes of data in this piece */
	kshm_u32 flags;  /* DIGEST_* */
	unsigned char unused[112];
	/* Written by the driver, a cache-line pair away. */
	kshm_u64 reply;
	kshm_u64 progress; /* bytes hashed since the share began */
	unsigned char digest[32]; /* SHA-256, valid after a DIGEST_LAST */
};

_Static_assert(sizeof(struct digest_page) == 176, "layout of digest_page");

#endif /* DIGEST_H */
