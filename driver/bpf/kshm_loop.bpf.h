/* SPDX-License-Identifier: MIT */
/*
 * kshm_loop.bpf.h - loops whose end the verifier cannot see. For programs that
 * copy or fill records of any length; included on demand.
 */
#ifndef KSHM_LOOP_BPF_H
#define KSHM_LOOP_BPF_H

/*
 * The condition of a loop: the kernel counts the turns and ends the loop after
 * some millions or a quarter of a second, whatever the condition says: who
 * needs all turns looks at what is left. Counters start from values that the
 * verifier does not know, or it looks at each turn.
 */
#define KSHM_MAY(condition)                                                      \
	({                                                                       \
		__label__ over_, on_;                                            \
		int may_ = 1;                                                    \
		__asm__ volatile goto("may_goto %l[over_]" : : : : over_);       \
		goto on_;                                                        \
over_:                                                                           \
		may_ = 0;                                                        \
on_:                                                                             \
		may_ && (condition);                                             \
	})

/* Write count words, a line at a time while there is one. Returns how many are left. */
KSHM_ONCE kshm_u32 kshm_fill_at(kshm_u64 at, kshm_u32 count, kshm_u64 value)
{
	kshm_u64 KSHM_SHARED *to = (kshm_u64 KSHM_SHARED *)at;

	kshm_use_arena();
	while (count >= 8 && KSHM_MAY(1)) {
		to[0] = value;
		to[1] = value;
		to[2] = value;
		to[3] = value;
		to[4] = value;
		to[5] = value;
		to[6] = value;
		to[7] = value;
		to += 8;
		count -= 8;
	}
	while (count && KSHM_MAY(1)) {
		*to++ = value;
		count--;
	}
	return count;
}

#define kshm_fill(to, count, value) kshm_fill_at((kshm_u64)(to), count, value)

/* Copy count words within the arena. Returns how many are left. */
KSHM_ONCE kshm_u32 kshm_copy_at(kshm_u64 at, kshm_u64 source, kshm_u32 count)
{
	kshm_u64 KSHM_SHARED *to = (kshm_u64 KSHM_SHARED *)at;
	const kshm_u64 KSHM_SHARED *from = (const kshm_u64 KSHM_SHARED *)source;

	kshm_use_arena();
	while (count && KSHM_MAY(1)) {
		*to++ = kshm_read(from);
		from++;
		count--;
	}
	return count;
}

#define kshm_copy(to, from, count) kshm_copy_at((kshm_u64)(to), (kshm_u64)(from), count)

#endif /* KSHM_LOOP_BPF_H */
