/* SPDX-License-Identifier: MIT */
/*
 * rival.h - what a program and the rival driver agree on. It is no kshm driver:
 * it does the old way what loop does through a share, to be measured beside it.
 *
 * Each open file is a first-in-first-out of its own in kernel memory. read()
 * copies out as many whole records as fit, at least one, and waits for it;
 * write() copies records in and adds up their words. A record is a u64 with its
 * length and its bytes, a multiple of 8.
 */
#ifndef RIVAL_H
#define RIVAL_H

#include <linux/ioctl.h>
#include "kshm.h"

#define RIVAL_MAX_RECORD 65536
#define RIVAL_MAX_WRITE (32 * (RIVAL_MAX_RECORD + 8))

struct rival_job {
	kshm_u64 records;
	kshm_u32 size;  /* bytes per record, as of loop_produce */
	kshm_u32 batch; /* records per publication */
	kshm_u64 ns;    /* answer: the time that it took, from the first record on */
};

/* How large the file's ring is; before everything else, and once. */
#define RIVAL_CAPACITY _IOW('r', 1, kshm_u64)
/* Make records as loop does, and wait for space. */
#define RIVAL_PRODUCE _IOWR('r', 2, struct rival_job)
/* Take them in the kernel and add up their words: what C alone can do. */
#define RIVAL_CONSUME _IOWR('r', 3, struct rival_job)
/*
 * One side of a bare ping-pong of one cache line with another thread in here:
 * size is 1 for the side that begins and 2 for the other, records the rounds.
 */
#define RIVAL_PING _IOWR('r', 4, struct rival_job)

#endif /* RIVAL_H */
