// SPDX-License-Identifier: MIT
/*
 * seam_test.h - what follows struct kshm_share_args in the in-buffer of SHARE for a driver of
 * the test build (KSHM_TEST_SECTION). The program maps the section and offers that view.
 */
#ifndef KSHM_SEAM_TEST_H
#define KSHM_SEAM_TEST_H

#define KSHM_TEST_NAME 64 /* characters with the terminating zero */

/* UTF-16 names as the kernel sees them: \BaseNamedObjects\X for CreateFileMapping("Global\X").
 */
struct kshm_test_tail {
	unsigned short section[KSHM_TEST_NAME]; /* empty: the request's own memory */
	unsigned short event[KSHM_TEST_NAME];   /* empty: none */
	unsigned long long offset; /* of the offered memory in the section, bytes */
};
_Static_assert(sizeof(struct kshm_test_tail) == 264, "layout of kshm_test_tail");

#endif /* KSHM_SEAM_TEST_H */
