/* SPDX-License-Identifier: MIT */
/*
 * kshm_command.bpf.h - how package kshm/bpf starts and ends a share, and the
 * timer. Included by kshm.bpf.h.
 *
 * One program, kshm_command, does one small step per run: nothing here loops
 * over what user space says. Whoever holds its descriptor may run it at any
 * time with any arguments; what does not fit is refused.
 */
#ifndef KSHM_COMMAND_BPF_H
#define KSHM_COMMAND_BPF_H

enum {
	KSHM_OP_SHARE = 1,  /* base, length, cookie: what the share will be */
	KSHM_OP_OUTPUT = 2, /* slot index gets the ring at offset */
	KSHM_OP_INPUT = 3,  /* input index gets the ring at offset */
	KSHM_OP_LIVE = 4,   /* programs may begin */
	KSHM_OP_STOP = 5,   /* no program begins any more */
	KSHM_OP_TAKE = 6,   /* take slot index for good; EBUSY while it is used */
	KSHM_OP_TAKE_INPUT = 7,
	KSHM_OP_TICK = 8,   /* start the timer */
	KSHM_OP_CANCEL = 9, /* cancel it, and wait for it */
};

struct kshm_command {
	kshm_u32 op;
	kshm_u32 index;
	kshm_u64 base;	 /* SHARE: address in user space, in the arena */
	kshm_u64 length; /* SHARE: bytes */
	kshm_u64 cookie;
	kshm_u64 offset;   /* of a ring, in the share */
	kshm_u32 capacity; /* of the ring, or 0: the slot has none */
	kshm_u32 reserved;
};

/* A timer of the kernel; the members are its own. */
struct bpf_timer {
	kshm_u64 opaque[2];
} __attribute__((aligned(8)));

struct kshm_timer {
	struct bpf_timer timer;
};

/* Not for tracepoint, raw tracepoint, kprobe and perf event programs. */
struct {
	KSHM_FIELD(type, KSHM_MAP_ARRAY);
	KSHM_FIELD(map_flags, KSHM_MAP_RDONLY);
	KSHM_FIELD(max_entries, 1);
	kshm_u32 *key;
	struct kshm_timer *value;
} kshm_timer SEC(".maps");

/* One round of the timer. */
struct kshm_round {
	kshm_u64 ns;	/* when it began */
	kshm_u64 found; /* whether it has found something to do */
};

/*
 * One slot: publish what it holds. A busy one is looked at again next time, and
 * one that holds nothing is not taken, or a program would find it busy. That is
 * a promise to who merges the rings: the next record is of after this round
 * began, if its time is taken between kshm_enter() and kshm_exit().
 */
static long kshm_tick_slot(void *map, kshm_u32 *key, struct kshm_slot *s, struct kshm_round *round)
{
	struct kshm_ring *r = &s->producer.ring;
	kshm_u32 state = kshm_read_acquire(&s->state);

	(void)map;
	(void)key;
	if (state == KSHM_SLOT_CLOSED || !r->capacity)
		return 0;
	/* As the reader sees it: published is set before that. */
	if (state == KSHM_SLOT_FREE && !s->again &&
	    kshm_read(&r->own->position) == kshm_read(&r->position)) {
		kshm_producer_watermark(&s->producer, round->ns);
		return 0;
	}
	round->found = 1;
	if (!kshm_take(&s->state))
		return 0;
	kshm_flush(s);
	kshm_producer_watermark(&s->producer, round->ns);
	kshm_producer_show(&s->producer);
	kshm_give(&s->state);
	return 0;
}

/*
 * The timer. It goes on as long as a round finds records that waited for it. A
 * round that finds none says that it stops, and comes once more for whoever
 * did not see that: see kshm_due().
 */
static int kshm_tick(void *map, kshm_u32 *key, struct kshm_timer *t)
{
	struct kshm_state *c = kshm_share();
	struct kshm_round round = { .ns = kshm_bpf_ktime() };

	(void)map;
	(void)key;
	if (!c || !kshm_read(&c->live))
		return 0;
	kshm_add(&c->ticks, 1); /* a full barrier: slots are looked at after the clock */
	kshm_bpf_for_each(&kshm_slots, kshm_tick_slot, &round, 0);
	if (!round.found) {
		if (!kshm_read(&c->ticking))
			return 0;
		kshm_publish(&c->ticking, 0);
	} else if (!kshm_read(&c->ticking)) {
		kshm_publish(&c->ticking, 1);
	}
	if (kshm_bpf_timer_start(&t->timer, kshm_flush_ns, 0))
		kshm_publish(&c->ticking, 0);
	return 0;
}

/*
 * Let records wait for others from now on. For programs of all types that may
 * have timers.
 */
KSHM_INLINE int kshm_tick_start(struct kshm_state *c)
{
	kshm_u32 zero = 0;
	struct kshm_timer *t = kshm_bpf_lookup(&kshm_timer, &zero);

	if (!t || !kshm_flush_ns || kshm_xchg(&c->ticking, 1))
		return 0;
	if (kshm_bpf_timer_start(&t->timer, kshm_flush_ns, 0))
		kshm_publish(&c->ticking, 0);
	return 0;
}

KSHM_INLINE int kshm_op_share(struct kshm_state *c, const struct kshm_command *cmd)
{
	kshm_u32 zero = 0;
	struct kshm_timer *t = kshm_bpf_lookup(&kshm_timer, &zero);

	if (!t || !cmd->length || cmd->base < kshm_arena_start ||
	    cmd->length > kshm_arena_size ||
	    cmd->base - kshm_arena_start > kshm_arena_size - cmd->length)
		return KSHM_EINVAL;
	if (c->version)
		return KSHM_EBUSY; /* maps serve one share */
	c->version = KSHM_BPF_VERSION;
	c->base = cmd->base;
	c->length = cmd->length;
	c->cookie = cmd->cookie;
	if (kshm_bpf_timer_init(&t->timer, &kshm_timer, 1 /* CLOCK_MONOTONIC */))
		return KSHM_EINVAL;
	return kshm_bpf_timer_callback(&t->timer, kshm_tick);
}

/* The ring of the command as a group of one; valid in the share, or none. */
KSHM_INLINE int kshm_op_group(const struct kshm_state *c, const struct kshm_command *cmd,
			      struct kshm_ring_group *g)
{
	*g = (struct kshm_ring_group){
		.offset = cmd->offset, .capacity = cmd->capacity, .count = 1,
	};
	return kshm_ring_group_valid(g, c->length);
}

KSHM_INLINE int kshm_op_output(struct kshm_state *c, const struct kshm_command *cmd)
{
	kshm_u32 index = cmd->index;
	struct kshm_slot *s = kshm_bpf_lookup(&kshm_slots, &index);
	struct kshm_ring_group g;

	if (!s || c->live || kshm_read(&s->state) != KSHM_SLOT_CLOSED)
		return KSHM_EINVAL;
	if (cmd->capacity) {
		if (!kshm_op_group(c, cmd, &g))
			return KSHM_EINVAL;
		kshm_producer_init(&s->producer, kshm_memory(c), &g, 0);
	}
	kshm_give(&s->state);
	return 0;
}

KSHM_INLINE int kshm_op_input(struct kshm_state *c, const struct kshm_command *cmd)
{
	kshm_u32 index = cmd->index;
	struct kshm_input *in = kshm_bpf_lookup(&kshm_inputs, &index);
	struct kshm_ring_group g;

	if (!in || c->live || kshm_read(&in->state) != KSHM_SLOT_CLOSED ||
	    !kshm_op_group(c, cmd, &g))
		return KSHM_EINVAL;
	kshm_consumer_init(&in->consumer, kshm_memory(c), &g, 0);
	/* It sleeps until the first kick. */
	kshm_ring_arm(&in->consumer.ring);
	kshm_give(&in->state);
	return 0;
}

KSHM_INLINE int kshm_op_take(kshm_u32 *state)
{
	kshm_u32 was = kshm_cas(state, KSHM_SLOT_FREE, KSHM_SLOT_CLOSED);

	return was & KSHM_SLOT_BUSY ? KSHM_EBUSY : 0;
}

/* The slot's last records and counters are shown before it closes. */
KSHM_INLINE int kshm_op_take_slot(struct kshm_state *c, kshm_u32 index)
{
	struct kshm_slot *s = kshm_bpf_lookup(&kshm_slots, &index);

	if (!s || c->live)
		return KSHM_EINVAL;
	if (kshm_take(&s->state)) {
		if (s->producer.ring.capacity) {
			kshm_flush(s);
			kshm_producer_show(&s->producer);
		}
		kshm_give(&s->state);
	}
	return kshm_op_take(&s->state);
}

KSHM_INLINE int kshm_op_take_input(struct kshm_state *c, kshm_u32 index)
{
	struct kshm_input *in = kshm_bpf_lookup(&kshm_inputs, &index);

	if (!in || c->live)
		return KSHM_EINVAL;
	return kshm_op_take(&in->state);
}

KSHM_INLINE int kshm_op_cancel(void)
{
	kshm_u32 zero = 0;
	struct kshm_timer *t = kshm_bpf_lookup(&kshm_timer, &zero);

	return t ? kshm_bpf_timer_cancel(&t->timer) : KSHM_EINVAL;
}

SEC("syscall")
int kshm_command(struct kshm_command *cmd)
{
	struct kshm_state *c = kshm_share();

	if (!c)
		return KSHM_EINVAL;
	if (cmd->op == KSHM_OP_SHARE)
		return kshm_op_share(c, cmd);
	if (!c->version)
		return KSHM_EINVAL;
	switch (cmd->op) {
	case KSHM_OP_OUTPUT:
		return kshm_op_output(c, cmd);
	case KSHM_OP_INPUT:
		return kshm_op_input(c, cmd);
	case KSHM_OP_LIVE:
		kshm_publish(&c->live, 1);
		return 0;
	case KSHM_OP_STOP:
		kshm_publish(&c->live, 0);
		return 0;
	case KSHM_OP_TAKE:
		return kshm_op_take_slot(c, cmd->index);
	case KSHM_OP_TAKE_INPUT:
		return kshm_op_take_input(c, cmd->index);
	case KSHM_OP_TICK:
		return c->live ? kshm_tick_start(c) : KSHM_EINVAL;
	case KSHM_OP_CANCEL:
		return kshm_op_cancel();
	}
	return KSHM_EINVAL;
}

#endif /* KSHM_COMMAND_BPF_H */
