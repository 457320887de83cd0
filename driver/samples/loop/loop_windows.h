/* SPDX-License-Identifier: MIT */
/*
 * loop_windows.h - what the two halves of the loop driver share.
 */
#ifndef LOOP_WINDOWS_H
#define LOOP_WINDOWS_H

#include "../../windows/kshm_kit.h"
#include "loop.h"

#define LOOP_RINGS 32 /* per share */

/* A share's Priv. Kept zeroed, a spin lock is free. */
typedef struct _LOOP_STATE {
	LIST_ENTRY List;
	PKSHM_SHARE Share;
	ULONG64 Sum; /* written by Work alone */
	struct {
		KSPIN_LOCK Lock; /* makes many callers one producer */
		ULONG64 Latest;  /* nanoseconds, of its latest record */
	} Source[LOOP_RINGS];    /* by number among the rings to the program */
} LOOP_STATE, *PLOOP_STATE;

/* The nth ring of that direction, or NULL. */
PKSHM_RING LoopRing(PKSHM_SHARE Share, ULONG Direction, ULONG n);

/* PASSIVE_LEVEL, inside a bracket. */
NTSTATUS LoopProduce(PKSHM_SHARE Share, const struct loop_produce *What,
		     struct loop_result *Result);

#endif /* LOOP_WINDOWS_H */
