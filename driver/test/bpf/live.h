/* SPDX-License-Identifier: MIT */
/*
 * live.h - which events of the running kernel the test programs look at:
 * those of threads that are called "kshmlive", so that all programs see the
 * same ones whenever they are attached.
 */
#ifndef LIVE_H
#define LIVE_H

/* No kernel has a system call of this number: entering it is all there is. */
#define LIVE_SYSCALL 27507
#define LIVE_NAME 0x6576696c6d68736bull /* "kshmlive", little endian */

static long (*const live_comm)(void *to, unsigned int size) = (void *)16;

static inline __attribute__((always_inline)) int live_ours(void)
{
	unsigned long long name[2] = {};

	live_comm(name, sizeof(name));
	return name[0] == LIVE_NAME;
}

#endif /* LIVE_H */
