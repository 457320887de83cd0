/* SPDX-License-Identifier: MIT */
/*
 * loop.h - what a program and the loop driver agree on. The driver sends each
 * record of the n-th TO_KERNEL ring of a share back through its n-th TO_USER
 * ring; one that does not fit there it drops, and without such a ring it adds
 * up the record's words. By code, it produces records of its own into a TO_USER
 * ring that has no TO_KERNEL partner.
 */
#ifndef LOOP_H
#define LOOP_H

#include "kshm.h"

/*
 * struct loop_produce in, struct loop_result out. Runs on the caller's CPU,
 * which must stay the same: a ring belongs to the CPU that first produces into
 * it. Any number of callers at once. A call ends after LOOP_SECONDS with what
 * it has got done, so that nobody has to wait for a program that does not read.
 */
#define LOOP_PRODUCE 1
#define LOOP_SECONDS 20
#define LOOP_COUNTS 2 /* cookie in, struct loop_counts out */

/*
 * The same on Windows, where a lock takes the place of the CPU: any number of
 * callers on any CPUs, into the same ring if need be. Contexts are LOOP_TASK and
 * LOOP_SOFTIRQ, which is a DPC.
 */
#define LOOP_CTL(function)                                                         \
	KSHM_CTL_CODE(KSHM_FILE_DEVICE_UNKNOWN, 0x900 + (function), KSHM_METHOD_BUFFERED, \
		      KSHM_FILE_READ_ACCESS | KSHM_FILE_WRITE_ACCESS)
#define LOOP_CTL_PRODUCE LOOP_CTL(LOOP_PRODUCE)
#define LOOP_CTL_COUNTS LOOP_CTL(LOOP_COUNTS)

#define LOOP_TASK 0    /* contexts: the caller's own */
#define LOOP_MAX_BATCH 4096
#define LOOP_MAX_SIZE 65536 /* bytes per record */
#define LOOP_MAX_TIMER 65536 /* bytes per batch in a timer, on Linux */

#define LOOP_SOFTIRQ 1 /* a high-resolution timer's, batch by batch */
#define LOOP_HARDIRQ 2
#define LOOP_NMI 3     /* the caller's own, and from within each record of it an
			* NMI-like one (a breakpoint) that tries to produce too
			*/

#define LOOP_WAIT 0x1   /* for space, instead of dropping; not in a timer */
#define LOOP_NESTED 0x80000000u /* added to the source of the NMI's records */

struct loop_produce {
	kshm_u64 cookie;  /* which share; the oldest that has it */
	kshm_u64 records; /* to produce or drop; 0 brings the watermark, which each
			   * call leaves behind on Linux, up to date
			   */
	kshm_u32 ring;    /* number among the share's TO_USER rings */
	kshm_u32 size;    /* bytes per record, multiple of 8 */
	kshm_u32 batch;   /* records per flush, 1 to LOOP_MAX_BATCH */
	kshm_u32 context; /* LOOP_TASK and so on */
	kshm_u32 source;  /* the caller's name for this one, below LOOP_NESTED */
	kshm_u32 flags;   /* LOOP_WAIT */
};

struct loop_result {
	kshm_u64 produced; /* of them; the rest was dropped */
	kshm_u64 dropped;
	kshm_u64 nested;   /* tries of the NMI */
	kshm_u64 nested_dropped;
	kshm_u64 ns;       /* that it took */
};

struct loop_counts {
	kshm_u64 drops;   /* of all TO_USER rings, now */
	kshm_u64 records; /* that came through all TO_KERNEL rings */
	kshm_u64 sum;     /* of the words of records without a way back */
};

/* The start of a produced record; the rest is filled with sequence. */
struct loop_record {
	kshm_u64 ns; /* monotonic clock, never falling within a ring */
	kshm_u64 source;
	kshm_u64 sequence; /* of its source, from 0; a gap is a drop */
};

_Static_assert(sizeof(struct loop_produce) == 40, "layout of loop_produce");
_Static_assert(sizeof(struct loop_result) == 40, "layout of loop_result");
_Static_assert(sizeof(struct loop_record) == 24, "layout of loop_record");

#endif /* LOOP_H */
