/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What is in a record that loop makes, and what it does with one it gets. */
#ifndef LOOP_RECORD_LINUX_H
#define LOOP_RECORD_LINUX_H

#include <linux/compiler.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include "loop.h"

/* The fast clock may step back by a little; the ring's, last_ns, must not. */
static inline u64 loop_now(u64 *last_ns)
{
	*last_ns = max(*last_ns, ktime_get_mono_fast_ns());
	return *last_ns;
}

/* Fills size bytes. */
static inline void loop_fill(struct loop_record *rec, u32 size, u64 source, u64 sequence,
			     u64 *last_ns)
{
	u64 *word = (u64 *)(rec + 1);
	u64 *end = (void *)rec + size;

	rec->ns = loop_now(last_ns);
	rec->source = source;
	rec->sequence = sequence;
	while (word < end)
		*word++ = sequence;
}

/* How many records of this size are made at one go, with interrupts off. */
static inline u32 loop_section(u32 size)
{
	return clamp(32768u / size, 1u, 32u);
}

/* The words of a record; the program may change them meanwhile. */
static inline u64 loop_sum(const void *rec, u32 length)
{
	const u64 *word = rec;
	u64 sum = 0;

	for (; length >= sizeof(*word); length -= sizeof(*word))
		sum += READ_ONCE(*word++);
	return sum;
}

#endif /* LOOP_RECORD_LINUX_H */
