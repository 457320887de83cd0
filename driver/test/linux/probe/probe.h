/* SPDX-License-Identifier: MIT */
/* probe.h - the codes of the test driver: what a test tells it to do. */
#ifndef PROBE_H
#define PROBE_H

#include "kshm.h"

#define PROBE_PEEK 1     /* answer: length bytes at offset, seen by the kernel */
#define PROBE_POKE 2     /* the kernel writes value, length bytes of it, at offset */
#define PROBE_NOTIFY 3   /* value events, from context */
#define PROBE_REVOKE 4   /* from context */
#define PROBE_CORRUPT 5  /* offset and value as why */
#define PROBE_HOLD 6     /* stays between enter and exit for value ms */
#define PROBE_COUNTS 7   /* answer: struct probe_counts; needs no share */
#define PROBE_BARE 8     /* answer: struct probe_bare, for value rounds on length
			  * bytes at offset; needs no share
			  */
#define PROBE_SLOW_STOP 9 /* the next length calls of stop(), at least one, take
			   * value ms; 0: and those that run return; needs no share
			   */
#define PROBE_BUG 10      /* be wrong in the way of value; needs no share */
#define PROBE_STALL_END 11 /* whoever begins the next end of a share stalls for
			    * value ms; 0: nobody does any more; needs no share
			    */
#define PROBE_TRY_POKE 12 /* as PROBE_POKE of one byte, whatever the share allows:
			   * -EFAULT if the kernel's page tables do not
			   */

/*
 * Bugs, to see whether a test finds them: what is wrong with a kick of a share
 * that was notified before.
 */
#define PROBE_BUG_NONE 0   /* nothing; what the others left is cleaned up */
#define PROBE_BUG_ANSWER 1 /* it answers -EILSEQ */
#define PROBE_BUG_LEAK 2   /* it leaves a kernel mapping behind */

#define PROBE_TASK 0    /* contexts: the caller's own */
#define PROBE_HARDIRQ 1 /* an irq_work's, on this CPU */
#define PROBE_SOFTIRQ 2 /* a timer's */

/* Cookies with a meaning of their own. */
#define PROBE_COOKIE_REFUSE 0xdead /* share() answers -EPERM */
#define PROBE_COOKIE_REVOKE 0xbeef /* share() revokes, and agrees */

struct probe_command {
	kshm_u64 cookie; /* which share */
	kshm_u64 offset;
	kshm_u64 value;
	kshm_u32 length;
	kshm_u32 context;
};

struct probe_counts {
	kshm_u64 shares; /* that share() agreed to */
	kshm_u64 stops;
	kshm_u64 kicks;
	kshm_u64 works;
	kshm_u64 late;   /* callbacks that ran after stop(): must stay 0 */
	kshm_u32 reason; /* of the latest stop() */
	kshm_u32 inside; /* commands between kshm_enter() and kshm_exit(), now */
};

/* What the steps took, in ns, with nothing around them. */
struct probe_bare {
	kshm_u64 pin;
	kshm_u64 map;
	kshm_u64 unmap;
	kshm_u64 unpin;
};

#endif /* PROBE_H */
