/* SPDX-License-Identifier: MIT */
/*
 * kshm.bpf.h - the kernel side of a share as eBPF programs.
 *
 * An object that includes this file can be opened by package kshm/bpf: the
 * shared pages belong to an arena, the rings in them are those of
 * kshm_ring.h, and the programs below start and end the share. docs/bpf.md
 * says how each clause of the contract is met.
 *
 * Programs of any type that may touch an arena produce records so:
 *
 *	struct kshm_slot *s = kshm_enter();
 *
 *	if (s) {
 *		struct event KSHM_SHARED *e = kshm_reserve(s, sizeof(*e));
 *
 *		if (e) {
 *			e->pid = ...;
 *			kshm_commit(s, sizeof(*e));
 *		} else {
 *			kshm_drop(s);
 *		}
 *		kshm_exit(s);
 *	}
 *
 * Slots. A program touches shared memory only while it holds a slot, of which
 * each CPU has one per nesting level: a program that interrupts another one,
 * or runs while another one is preempted, takes the next. Each has a ring of
 * its own, so that producers never meet; if all are taken, the record is
 * dropped and counted. Ending a share takes all slots for good, so a slot is
 * also what says that a program is under way.
 *
 * Trust. Positions and all other state lie in maps that user space can read
 * and not write. Of the shared memory only what kshm_ring.h checks is used.
 */
#ifndef KSHM_BPF_H
#define KSHM_BPF_H

/* The port of kshm_ring.h: shared pointers point into the arena. */
#define KSHM_SHARED __attribute__((address_space(1)))
#define kshm_barrier() __asm__ volatile("" : : : "memory")
#define kshm_read(p) (*(const volatile __typeof__(*(p)) *)(p))
#define kshm_write(p, v) (*(volatile __typeof__(*(p)) *)(p) = (v))

/* What interrupts a producer takes another slot. */
#define KSHM_RING_NESTED 0

/*
 * Atomic operations that return the old value are full barriers in eBPF. The
 * compiler has none that loads with order: on x86 none is needed, elsewhere
 * such an operation on a private word stands behind the load.
 */
#define kshm_xchg(p, v)                                                        \
	({                                                                     \
		kshm_barrier();                                                \
		__typeof__(+*(p)) old_ = __sync_lock_test_and_set(p, v);       \
		kshm_barrier();                                                \
		old_;                                                          \
	})
#define kshm_cas(p, from, to)                                                  \
	({                                                                     \
		kshm_barrier();                                                \
		__typeof__(+*(p)) old_ = __sync_val_compare_and_swap(p, from, to); \
		kshm_barrier();                                                \
		old_;                                                          \
	})
#define kshm_fetch(operation, p, v)                                            \
	({                                                                     \
		kshm_barrier();                                                \
		__typeof__(+*(p)) old_ = __sync_fetch_and_##operation(p, v);   \
		__asm__ volatile("" : : "r"(old_) : "memory"); /* used, so fetched */ \
		old_;                                                          \
	})
#define kshm_add(p, v) kshm_fetch(add, p, v)
#define kshm_or(p, v) kshm_fetch(or, p, v)
#define kshm_and(p, v) kshm_fetch(and, p, v)
#define kshm_publish(p, v) ((void)kshm_xchg(p, v))
#ifdef __TARGET_ARCH_x86
#define kshm_fence() kshm_barrier()
#else
#define kshm_fence()                               \
	do {                                       \
		kshm_u64 private_ = 0;             \
		(void)kshm_xchg(&private_, 1);     \
	} while (0)
#endif
#define kshm_read_acquire(p)                       \
	({                                         \
		__typeof__(+*(p)) seen_ = kshm_read(p); \
		kshm_fence();                      \
		seen_;                             \
	})

#include "../include/kshm_ring.h"

#define KSHM_BPF_VERSION 1
#define KSHM_BPF_LEVELS 4 /* slots per CPU; those that the share does not use are closed */
#define KSHM_BPF_INPUTS 64 /* most TO_KERNEL rings */

#ifndef SEC
#define SEC(name) __attribute__((section(name), used))
#endif
#define KSHM_FIELD(name, value) int (*name)[value]
#define KSHM_INLINE static inline __attribute__((always_inline))

/*
 * A function that the verifier looks at once, and not again for every way that
 * leads to a call: loading stays fast. It returns a number, and its pointers
 * are good: the verifier holds callers to that.
 */
#define KSHM_ONCE __attribute__((noinline))
#define KSHM_GOOD __attribute__((btf_decl_tag("arg:nonnull")))

/* What programs return to package kshm/bpf: errno. */
#define KSHM_EBUSY (-16)
#define KSHM_EINVAL (-22)
#define KSHM_ESHUTDOWN (-108)

/* The numbers of <linux/bpf.h>, which a program may include as well. */
enum {
	KSHM_MAP_ARRAY = 2,
	KSHM_MAP_RINGBUF = 27,
	KSHM_MAP_ARENA = 33,
	KSHM_MAP_RDONLY = 1 << 3, /* user space does not write */
	KSHM_MAP_MMAPABLE = 1 << 10,
	KSHM_RB_FORCE_WAKEUP = 2,
};

static void *(*const kshm_bpf_lookup)(void *map, const void *key) = (void *)1;
static kshm_u64 (*const kshm_bpf_ktime)(void) = (void *)5;
static kshm_u32 (*const kshm_bpf_cpu)(void) = (void *)8;
static long (*const kshm_bpf_output)(void *ringbuf, void *data, kshm_u64 size,
				     kshm_u64 flags) = (void *)130;
static long (*const kshm_bpf_for_each)(void *map, void *fn, void *ctx,
				       kshm_u64 flags) = (void *)164;
static long (*const kshm_bpf_timer_init)(void *timer, void *map,
					 kshm_u64 flags) = (void *)169;
static long (*const kshm_bpf_timer_callback)(void *timer, void *fn) = (void *)170;
static long (*const kshm_bpf_timer_start)(void *timer, kshm_u64 ns,
					  kshm_u64 flags) = (void *)171;
static long (*const kshm_bpf_timer_cancel)(void *timer) = (void *)172;

/* Set by the loader, and constant from then on. */
const volatile kshm_u64 kshm_arena_start; /* address in user space */
const volatile kshm_u64 kshm_arena_size;  /* bytes */
const volatile kshm_u32 kshm_batch;	  /* publish at the latest with so many bytes */
const volatile kshm_u64 kshm_flush_ns;	  /* publish at the latest after so long */

/*
 * Whether a slot or an input can be taken. An input is also CALLED from when
 * somebody wants to consume from it until it has been seen to be empty.
 */
enum {
	KSHM_SLOT_CLOSED = 0, /* there is no share, or it ends */
	KSHM_SLOT_FREE = 1,
	KSHM_SLOT_BUSY = 2,
	KSHM_INPUT_CALLED = 4,
};

/* What one program at a time holds; number CPU * KSHM_BPF_LEVELS + level. */
struct kshm_slot {
	kshm_u32 state;
	kshm_u32 again;	 /* a doorbell was not accepted: try again */
	struct kshm_producer producer;
	kshm_u64 pad[8];
};

struct kshm_input {
	kshm_u32 state;
	kshm_u32 length; /* of the record that kshm_input_next() returned, bytes */
	struct kshm_consumer consumer;
	kshm_u64 pad[8];
};

/* The share as a whole. Package kshm/bpf maps it; see struct state there. */
struct kshm_state {
	kshm_u32 version; /* KSHM_BPF_VERSION, once there was a share */
	kshm_u32 live;	  /* else the share has not begun, or ends */
	kshm_u64 base;	  /* address of the share in user space */
	kshm_u64 length;  /* bytes */
	kshm_u64 cookie;
	kshm_u64 corrupt_offset; /* of the first broken word, in the share */
	kshm_u32 corrupt_why;	 /* enum kshm_corrupt */
	kshm_u32 ticking;	 /* the timer runs: records may wait for it */
	kshm_u64 pad0[8];
	kshm_u64 kicks;
	kshm_u64 events;   /* raised: doorbells that were tried */
	kshm_u64 failures; /* doorbells that were not accepted */
	kshm_u64 ticks;	   /* of the timer */
	kshm_u64 revoked;  /* by kshm_revoke() */
	kshm_u64 pad1[3];
};

struct {
	KSHM_FIELD(type, KSHM_MAP_ARENA);
	KSHM_FIELD(map_flags, KSHM_MAP_MMAPABLE);
	KSHM_FIELD(max_entries, 1); /* pages; set by the loader */
} kshm_arena SEC(".maps");

struct {
	KSHM_FIELD(type, KSHM_MAP_ARRAY);
	KSHM_FIELD(map_flags, KSHM_MAP_RDONLY);
	KSHM_FIELD(max_entries, KSHM_BPF_LEVELS); /* times CPUs; set by the loader */
	kshm_u32 *key;
	struct kshm_slot *value;
} kshm_slots SEC(".maps");

struct {
	KSHM_FIELD(type, KSHM_MAP_ARRAY);
	KSHM_FIELD(map_flags, KSHM_MAP_RDONLY);
	KSHM_FIELD(max_entries, KSHM_BPF_INPUTS);
	kshm_u32 *key;
	struct kshm_input *value;
} kshm_inputs SEC(".maps");

struct {
	KSHM_FIELD(type, KSHM_MAP_ARRAY);
	KSHM_FIELD(map_flags, KSHM_MAP_MMAPABLE); /* the loader freezes it: user space does not write */
	KSHM_FIELD(max_entries, 1);
	kshm_u32 *key;
	struct kshm_state *value;
} kshm_state SEC(".maps");

struct {
	KSHM_FIELD(type, KSHM_MAP_RINGBUF);
	KSHM_FIELD(max_entries, 4096);
} kshm_doorbell SEC(".maps");

/* The share. */

/* Says that the program uses this arena, which the verifier asks for. */
#define kshm_use_arena() __asm__ volatile("" : : "r"(&kshm_arena))

KSHM_INLINE struct kshm_state *kshm_share(void)
{
	kshm_u32 zero = 0;

	kshm_use_arena();
	return kshm_bpf_lookup(&kshm_state, &zero);
}

/* Programs may use the memory: between kshm_enter() and kshm_exit(). */
KSHM_INLINE unsigned char KSHM_SHARED *kshm_memory(const struct kshm_state *c)
{
	return (unsigned char KSHM_SHARED *)c->base;
}

/* Ring: the program looks at the state. Returns 0 if the doorbell was accepted. */
KSHM_INLINE long kshm_doorbell_ring(void)
{
	kshm_u64 nothing = 0;

	return kshm_bpf_output(&kshm_doorbell, &nothing, sizeof(nothing), KSHM_RB_FORCE_WAKEUP);
}

/*
 * Raise an event: whoever waits for one wakes. Returns 0 if the doorbell was
 * accepted.
 *
 * No event is lost even if not. The doorbell refuses when it is full, and then
 * the program has not yet looked at it and will; or, in an NMI, when another
 * one is being rung, which wakes the program after this. It then reads the
 * number of events, which was counted before.
 */
KSHM_ONCE int kshm_notify(void)
{
	struct kshm_state *c = kshm_share();

	if (!c)
		return -1;
	__sync_fetch_and_add(&c->events, 1);
	if (!kshm_doorbell_ring())
		return 0;
	__sync_fetch_and_add(&c->failures, 1);
	return -1;
}

/*
 * Take the share back, in any context: no program begins to use the memory any
 * more, and the program is told. Those that use it finish; the caller may be one.
 */
KSHM_ONCE int kshm_revoke(void)
{
	struct kshm_state *c = kshm_share();

	if (!c || !kshm_read(&c->live) || kshm_xchg(&c->revoked, 1))
		return 0;
	kshm_publish(&c->live, 0);
	kshm_doorbell_ring();
	return 0;
}

/* A ring is corrupt: the first one is reported, and the program ends the share. */
KSHM_ONCE int kshm_report(kshm_u32 why, kshm_u64 offset)
{
	struct kshm_state *c = kshm_share();

	if (!c || kshm_cas(&c->corrupt_why, 0, why))
		return 0;
	c->corrupt_offset = offset;
	kshm_doorbell_ring();
	return 0;
}

/* Slots. */

KSHM_INLINE int kshm_take(kshm_u32 *state)
{
	if (kshm_read(state) != KSHM_SLOT_FREE)
		return 0;
	return kshm_cas(state, KSHM_SLOT_FREE, KSHM_SLOT_BUSY) == KSHM_SLOT_FREE;
}

/* The release pairs with the acquire in the next kshm_take(). */
KSHM_INLINE void kshm_give(kshm_u32 *state)
{
	kshm_fence();
	kshm_write(state, KSHM_SLOT_FREE);
}

/*
 * The first slot is busy: what holds it is below us on this CPU. Returns the
 * number of the one that was taken, or a number that no slot has; drops says
 * whether that loses a record.
 */
KSHM_ONCE kshm_u32 kshm_enter_nested(kshm_u32 first, kshm_u32 drops)
{
	struct kshm_slot *s;
	kshm_u32 level, n;

#pragma unroll
	for (level = 1; level < KSHM_BPF_LEVELS; level++) {
		n = first + level;
		s = kshm_bpf_lookup(&kshm_slots, &n);
		if (s && kshm_take(&s->state))
			return n;
	}
	s = kshm_bpf_lookup(&kshm_slots, &first);
	if (drops && s && kshm_read(&s->state) != KSHM_SLOT_CLOSED)
		__sync_fetch_and_add(&s->producer.nested, 1);
	return ~0u;
}

KSHM_INLINE struct kshm_slot *kshm_enter_or(kshm_u32 drops)
{
	struct kshm_state *c = kshm_share();
	struct kshm_slot *s;
	kshm_u32 n;

	if (!c || !kshm_read(&c->live))
		return NULL;
	n = kshm_bpf_cpu() * KSHM_BPF_LEVELS;
	s = kshm_bpf_lookup(&kshm_slots, &n);
	if (!s || kshm_take(&s->state))
		return s;
	n = kshm_enter_nested(n, drops);
	return kshm_bpf_lookup(&kshm_slots, &n);
}

/*
 * Begin to use the share; NULL if there is none, if it ends, or if this CPU
 * has no slot left, which is counted as a drop. The program stays on its CPU,
 * so each successful call has its kshm_exit() there. A record's timestamp is
 * taken in between: the timer promises who merges the rings that what comes in
 * a slot that it has seen free is newer.
 */
KSHM_INLINE struct kshm_slot *kshm_enter(void)
{
	return kshm_enter_or(1);
}

/* The same for who comes again if there is no slot, as a kick does: no drop. */
KSHM_INLINE struct kshm_slot *kshm_try(void)
{
	return kshm_enter_or(0);
}

KSHM_INLINE void kshm_ring_bell(struct kshm_slot *s)
{
	s->again = 0;
	if (!kshm_notify())
		return;
	/* Not answered yet: the number is odd, and 0 is not. */
	s->producer.ring.answered = 0;
	s->again = 1;
}

/* Publish all records of the slot, and ring if the program sleeps. */
KSHM_ONCE int kshm_flush(struct kshm_slot *s KSHM_GOOD)
{
	struct kshm_ring *r = &s->producer.ring;

	kshm_use_arena();
	if (kshm_producer_flush(&s->producer))
		kshm_ring_bell(s);
	else if (s->again && (kshm_read(&r->other->need_wakeup) & 1))
		kshm_ring_bell(s);
	else
		s->again = 0; /* awake: it looks by itself before it sleeps */
	return 0;
}

/*
 * Records may wait for others while the timer runs, which publishes them after
 * kshm_flush_ns at the latest: until there are kshm_batch bytes or a quarter
 * of the ring, or the program sleeps and nobody has rung for it.
 *
 * The slot was taken with a full barrier before ticking is read here; the
 * timer clears ticking with one before it looks at the slots. One of the two
 * sees the other.
 */
KSHM_INLINE int kshm_due(struct kshm_slot *s)
{
	struct kshm_ring *r = &s->producer.ring;
	struct kshm_state *c;
	kshm_u64 armed;

	if (r->position == r->published)
		return s->again;
	if (r->position - r->published >= kshm_batch ||
	    r->position - r->published >= r->capacity / 4)
		return 1;
	armed = kshm_read(&r->other->need_wakeup);
	if ((armed & 1) && armed != r->answered)
		return 1;
	c = kshm_share();
	return !c || !kshm_read(&c->ticking);
}

/*
 * End what kshm_enter() began. A record that was reserved and not committed is
 * given up.
 */
KSHM_INLINE void kshm_exit(struct kshm_slot *s)
{
	kshm_producer_cancel(&s->producer);
	if (kshm_due(s))
		kshm_flush(s);
	kshm_give(&s->state);
}

KSHM_ONCE kshm_u64 kshm_reserve_at(struct kshm_slot *s KSHM_GOOD, kshm_u32 length)
{
	struct kshm_producer *p = &s->producer;
	void KSHM_SHARED *record = NULL;

	kshm_use_arena();
	if (p->ring.capacity)
		record = kshm_producer_reserve(p, length);
	if (!record && p->ring.corrupt_why)
		kshm_report(p->ring.corrupt_why, p->ring.corrupt_offset);
	else if (!record)
		kshm_flush(s); /* what waits takes up space that the reader could free */
	return (kshm_u64)record;
}

/*
 * Space for a record of length bytes in the slot's ring, to be filled in and
 * committed; NULL if there is none. A caller that gives the record up then
 * says so with kshm_drop().
 */
KSHM_INLINE void KSHM_SHARED *kshm_reserve(struct kshm_slot *s, kshm_u32 length)
{
	struct kshm_producer *p = &s->producer;
	struct kshm_ring *r = &p->ring;
	kshm_u64 size = KSHM_RECORD_SIZE(length);
	kshm_u64 at = r->position & (r->capacity - 1);

	/* What kshm_producer_reserve() finds in most cases, without a call. */
	if (size > r->capacity - at || size > p->limit - r->position || size > r->capacity / 2)
		return (void KSHM_SHARED *)kshm_reserve_at(s, length);
	p->busy = 1;
	p->skip = 0;
	p->reserved = length;
	return r->data + at + KSHM_RECORD_HEADER;
}

/* Count a record that found no space. */
KSHM_INLINE void kshm_drop(struct kshm_slot *s)
{
	kshm_producer_drop(&s->producer);
}

/* Make the first length bytes a record, visible after kshm_flush() or later. */
KSHM_INLINE int kshm_commit(struct kshm_slot *s, kshm_u32 length)
{
	return kshm_producer_commit(&s->producer, length);
}

/* Rings that the program produces into. */

/*
 * Begin to consume from ring number n; NULL if there is none, or if somebody
 * does: who has it then looks at it again for us. To take it and to leave the
 * call there is one step, and so is giving it and finding the call.
 */
KSHM_INLINE struct kshm_input *kshm_input_enter(kshm_u32 n)
{
	struct kshm_input *in = kshm_bpf_lookup(&kshm_inputs, &n);
	kshm_u32 was;

	if (!in || kshm_read(&in->state) == KSHM_SLOT_CLOSED)
		return NULL;
	was = kshm_or(&in->state, KSHM_SLOT_BUSY | KSHM_INPUT_CALLED);
	if (was == KSHM_SLOT_CLOSED) /* meanwhile, for good */
		kshm_publish(&in->state, KSHM_SLOT_CLOSED);
	return was == KSHM_SLOT_FREE ? in : NULL;
}

/* The next record's address, and its length in the input; 0 if there is none. */
KSHM_ONCE kshm_u64 kshm_input_at(struct kshm_input *in KSHM_GOOD)
{
	struct kshm_ring *r = &in->consumer.ring;
	const void KSHM_SHARED *record;
	kshm_u32 length = 0;

	kshm_use_arena();
	record = kshm_consumer_next(&in->consumer, &length);
	if (!record && r->corrupt_why)
		kshm_report(r->corrupt_why, r->corrupt_offset);
	in->length = length;
	return (kshm_u64)record;
}

/*
 * The next record; in->length is its length. NULL if there is none, or if the
 * ring is corrupt, which is reported.
 */
KSHM_INLINE const void KSHM_SHARED *kshm_input_next(struct kshm_input *in)
{
	return (const void KSHM_SHARED *)kshm_input_at(in);
}

KSHM_ONCE int kshm_input_release(struct kshm_input *in KSHM_GOOD)
{
	kshm_use_arena();
	if (kshm_consumer_release(&in->consumer))
		kshm_notify();
	return 0;
}

/*
 * There are no more records: ask the program for a kick with the next. Returns
 * 0 if some have come meanwhile; not if the ring is corrupt.
 *
 * Who has called before has also published before, and arming looks after that.
 */
KSHM_ONCE int kshm_input_sleep(struct kshm_input *in KSHM_GOOD)
{
	kshm_use_arena();
	if (kshm_consumer_flush(&in->consumer))
		kshm_notify();
	kshm_and(&in->state, ~KSHM_INPUT_CALLED);
	if (kshm_consumer_arm(&in->consumer) || in->consumer.ring.corrupt_why)
		return 1;
	kshm_or(&in->state, KSHM_INPUT_CALLED);
	return 0;
}

/* The program has kicked: it need not again. */
KSHM_INLINE void kshm_input_awake(struct kshm_input *in)
{
	if (in->consumer.ring.armed & 1)
		kshm_ring_disarm(&in->consumer.ring);
}

/*
 * End what kshm_input_enter() began. Returns 0, or KSHM_EBUSY if somebody has
 * called since the last kshm_input_sleep() that returned 1: then nobody else
 * will look at the ring, and the caller must enter again, now or soon.
 */
KSHM_INLINE int kshm_input_exit(struct kshm_input *in)
{
	return kshm_xchg(&in->state, KSHM_SLOT_FREE) & KSHM_INPUT_CALLED ? KSHM_EBUSY : 0;
}

/*
 * What a kick does: KSHM_KICK { ...; return 0; }
 * KSHM_EBUSY if it could not do all of it: Share.Kick then runs it again.
 */
#define KSHM_KICK                                                  \
	KSHM_INLINE int kshm_on_kick(void);                        \
	SEC("syscall")                                             \
	int kshm_kick(void *ctx)                                   \
	{                                                          \
		struct kshm_state *c = kshm_share();             \
                                                                   \
		(void)ctx;                                         \
		if (c && kshm_read(&c->revoked))                   \
			return KSHM_ESHUTDOWN;                     \
		if (!c || !kshm_read(&c->live))                    \
			return 0;                                  \
		__sync_fetch_and_add(&c->kicks, 1);                \
		return kshm_on_kick();                             \
	}                                                          \
	KSHM_INLINE int kshm_on_kick(void)

#include "kshm_command.bpf.h"

#endif /* KSHM_BPF_H */
