// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * probe: a driver that does what a test asks it for, by cookie, through codes
 * of its own. For tests alone: it lets any opener end anybody's share. The way
 * it finds shares shows the rule for everything that is not a callback: look
 * under a lock that stop() takes, and kshm_enter() before the lock is dropped.
 */
#include <linux/delay.h>
#include <linux/irq_work.h>
#include <linux/kprobes.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>
#include "kshm_kit.h"
#include "probe.h"

struct probe_state {
	struct list_head list;
	struct kshm_share *share;
	bool stopped;
	bool primed; /* for a bug */
};

static LIST_HEAD(shares);
static DEFINE_SPINLOCK(shares_lock);
static atomic64_t agreed, stops, kicks, works, late;
static atomic_t inside;
static u32 last_reason;
static u64 slow_stop_ms;
static atomic_t slow_stops;
static DECLARE_WAIT_QUEUE_HEAD(slow_over);

static int probe_share(struct kshm_share *s)
{
	struct probe_state *state = s->priv;

	if (s->cookie == PROBE_COOKIE_REFUSE)
		return -EPERM;
	if (s->cookie == PROBE_COOKIE_REVOKE)
		kshm_revoke(s);
	state->share = s;
	spin_lock_irq(&shares_lock);
	list_add(&state->list, &shares);
	spin_unlock_irq(&shares_lock);
	atomic64_inc(&agreed);
	return 0;
}

static void note_late(struct kshm_share *s)
{
	struct probe_state *state = s->priv;

	if (READ_ONCE(state->stopped))
		atomic64_inc(&late);
}

/* Bugs on demand: see probe.h. */
struct leak {
	struct list_head list;
	struct page *page;
	void *base;
};

static u64 bug;
static LIST_HEAD(leaks);
static DEFINE_MUTEX(leaks_lock);

static int leak_mapping(void)
{
	struct leak *l = kzalloc(sizeof(*l), GFP_KERNEL);

	if (!l)
		return 0;
	l->page = alloc_page(GFP_KERNEL);
	if (l->page)
		l->base = vmap(&l->page, 1, VM_MAP, PAGE_KERNEL);
	mutex_lock(&leaks_lock);
	list_add(&l->list, &leaks);
	mutex_unlock(&leaks_lock);
	return 0;
}

static void clean_up(void)
{
	struct leak *l, *next;

	mutex_lock(&leaks_lock);
	list_for_each_entry_safe(l, next, &leaks, list) {
		list_del(&l->list);
		vunmap(l->base);
		if (l->page)
			__free_page(l->page);
		kfree(l);
	}
	mutex_unlock(&leaks_lock);
}

static int misbehave(const struct probe_state *state)
{
	if (!READ_ONCE(state->primed))
		return 0;
	if (READ_ONCE(bug) == PROBE_BUG_ANSWER)
		return -EILSEQ;
	return READ_ONCE(bug) == PROBE_BUG_LEAK ? leak_mapping() : 0;
}

/* Every kick answers with an event and has work() run too. */
static int probe_kick(struct kshm_share *s)
{
	note_late(s);
	atomic64_inc(&kicks);
	kshm_notify(s);
	kshm_queue(s);
	return misbehave(s->priv);
}

static void probe_work(struct kshm_share *s)
{
	note_late(s);
	atomic64_inc(&works);
}

static void probe_stop(struct kshm_share *s, enum kshm_reason reason)
{
	struct probe_state *state = s->priv;
	u64 ms;

	spin_lock_irq(&shares_lock);
	list_del(&state->list);
	spin_unlock_irq(&shares_lock);
	WRITE_ONCE(state->stopped, true);
	WRITE_ONCE(last_reason, reason);
	if (atomic_dec_if_positive(&slow_stops) >= 0) {
		ms = READ_ONCE(slow_stop_ms);
		wait_event_timeout(slow_over, !READ_ONCE(slow_stop_ms), msecs_to_jiffies(ms));
	}
	atomic64_inc(&stops);
}

/* The share with this cookie, entered. */
static struct kshm_share *find(u64 cookie)
{
	struct kshm_share *found = NULL;
	struct probe_state *state;
	unsigned long flags;

	spin_lock_irqsave(&shares_lock, flags);
	list_for_each_entry(state, &shares, list) {
		if (state->share->cookie == cookie && kshm_enter(state->share)) {
			found = state->share;
			break;
		}
	}
	spin_unlock_irqrestore(&shares_lock, flags);
	return found;
}

/* A request that is carried out in an interrupt. */
struct deferred {
	struct irq_work hardirq;
	struct timer_list softirq;
	struct completion done;
	struct kshm_share *share;
	u32 code;
	u64 value;
};

static void signal_share(struct kshm_share *s, u32 code, u64 value)
{
	struct probe_state *state = s->priv;

	if (code == PROBE_REVOKE)
		return kshm_revoke(s);
	WRITE_ONCE(state->primed, true);
	while (value--)
		kshm_notify(s);
}

static void run_hardirq(struct irq_work *work)
{
	struct deferred *d = container_of(work, struct deferred, hardirq);

	signal_share(d->share, d->code, d->value);
	complete(&d->done);
}

static void run_softirq(struct timer_list *timer)
{
	struct deferred *d = container_of(timer, struct deferred, softirq);

	signal_share(d->share, d->code, d->value);
	complete(&d->done);
}

static int signal_from(u32 context, struct kshm_share *s, u32 code, u64 value)
{
	struct deferred *d;

	if (context == PROBE_TASK) {
		signal_share(s, code, value);
		return 0;
	}
	d = kmalloc(sizeof(*d), GFP_KERNEL);
	if (!d)
		return -ENOMEM;
	d->hardirq = IRQ_WORK_INIT_HARD(run_hardirq);
	timer_setup(&d->softirq, run_softirq, 0);
	init_completion(&d->done);
	d->share = s;
	d->code = code;
	d->value = value;
	if (context == PROBE_HARDIRQ)
		irq_work_queue(&d->hardirq);
	else
		mod_timer(&d->softirq, jiffies);
	wait_for_completion(&d->done);
	irq_work_sync(&d->hardirq);
	kfree(d);
	return 0;
}

/*
 * Holds up whoever has claimed the end of a share before anything else is done
 * about it, as an interrupt or a preemption may.
 */
static u64 stall_ms;
static bool stall_over;

static int stall(struct kprobe *probe, struct pt_regs *regs)
{
	u64 ms;

	for (ms = xchg(&stall_ms, 0); ms && !READ_ONCE(stall_over); ms--)
		mdelay(1);
	return 0;
}

static struct kprobe stall_probe = {
	.symbol_name = "kshm_gate_shut",
	.pre_handler = stall,
	.flags = KPROBE_FLAG_DISABLED,
};

static int stall_next_end(u64 ms)
{
	if (!stall_probe.addr) /* a kernel without kprobes */
		return -EOPNOTSUPP;
	WRITE_ONCE(stall_over, !ms);
	WRITE_ONCE(stall_ms, ms);
	return ms ? enable_kprobe(&stall_probe) : disable_kprobe(&stall_probe);
}

/* Adds to *sum what has passed since *since, and goes on from there. */
static void lap(u64 *since, u64 *sum)
{
	u64 now = ktime_get_ns();

	*sum += now - *since;
	*since = now;
}

/* Pinning and mapping with nothing around it: what a share cannot be under. */
static int bare_round(const struct probe_command *c, struct page **pages, unsigned long n,
		      struct probe_bare *times)
{
	u64 since = ktime_get_ns();
	long pinned;
	void *base;

	pinned = pin_user_pages_fast(c->offset, n, FOLL_WRITE | FOLL_LONGTERM, pages);
	if (pinned < 0)
		return pinned;
	lap(&since, &times->pin);
	base = pinned == n ? vmap(pages, n, VM_MAP, PAGE_KERNEL) : NULL;
	lap(&since, &times->map);
	vunmap(base);
	lap(&since, &times->unmap);
	unpin_user_pages_dirty_lock(pages, pinned, true);
	lap(&since, &times->unpin);
	return base ? 0 : -EFAULT;
}

static ssize_t bare(const struct probe_command *c, struct probe_bare *times)
{
	unsigned long n = DIV_ROUND_UP(c->length, PAGE_SIZE), i;
	struct page **pages;
	int err = 0;

	pages = kvmalloc_array(n, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	*times = (struct probe_bare){};
	for (i = 0; i < c->value && !err; i++)
		err = bare_round(c, pages, n, times);
	kvfree(pages);
	return err ?: sizeof(*times);
}

static ssize_t counts(struct probe_counts *answer)
{
	*answer = (struct probe_counts){
		.shares = atomic64_read(&agreed),
		.stops = atomic64_read(&stops),
		.kicks = atomic64_read(&kicks),
		.works = atomic64_read(&works),
		.late = atomic64_read(&late),
		.reason = READ_ONCE(last_reason),
		.inside = atomic_read(&inside),
	};
	return sizeof(*answer);
}

/* A store that the page tables may forbid. User-mode Linux maps all for writing. */
static int try_poke(u8 *at, u8 value)
{
#ifdef CONFIG_UML /* whose modules cannot catch faults */
	return -EOPNOTSUPP;
#else
	int err = 0;

	pagefault_disable();
	__put_kernel_nofault(at, &value, u8, fault);
	goto out;
fault:
	err = -EFAULT;
out:
	pagefault_enable();
	return err;
#endif
}

static ssize_t on_share(struct kshm_share *s, u32 code, const struct probe_command *c,
			void *buffer, size_t out)
{
	size_t room = s->length - min_t(u64, c->offset, s->length);

	switch (code) {
	case PROBE_PEEK:
		if (c->length > out || c->length > room)
			return -ERANGE;
		memcpy(buffer, s->base + c->offset, c->length);
		return c->length;
	case PROBE_POKE:
		if (c->length > room || !(s->access & KSHM_ACCESS_WRITE))
			return -ERANGE;
		memset(s->base + c->offset, c->value, c->length);
		return 0;
	case PROBE_TRY_POKE:
		return room ? try_poke(s->base + c->offset, c->value) : -ERANGE;
	case PROBE_CORRUPT:
		kshm_corrupt(s, c->offset, c->value);
		return 0;
	case PROBE_HOLD:
		msleep(c->value);
		return 0;
	}
	return signal_from(c->context, s, code, c->value);
}

static ssize_t probe_control(u32 code, void *buffer, size_t in, size_t out)
{
	struct probe_command c;
	struct kshm_share *s;
	ssize_t n;

	if (code < PROBE_PEEK || code > PROBE_TRY_POKE)
		return -ENOTTY;
	if (in != sizeof(c))
		return -EINVAL;
	memcpy(&c, buffer, sizeof(c));
	if (code == PROBE_COUNTS)
		return out < sizeof(struct probe_counts) ? -ERANGE : counts(buffer);
	if (code == PROBE_BARE)
		return out < sizeof(struct probe_bare) ? -ERANGE : bare(&c, buffer);
	if (code == PROBE_SLOW_STOP) {
		WRITE_ONCE(slow_stop_ms, c.value);
		atomic_set(&slow_stops, c.value ? max(c.length, 1) : 0);
		wake_up_all(&slow_over);
		return 0;
	}
	if (code == PROBE_STALL_END)
		return stall_next_end(c.value);
	if (code == PROBE_BUG) {
		WRITE_ONCE(bug, c.value);
		if (c.value == PROBE_BUG_NONE)
			clean_up();
		return 0;
	}
	s = find(c.cookie);
	if (!s)
		return -ENOENT;
	atomic_inc(&inside);
	n = on_share(s, code, &c, buffer, out);
	atomic_dec(&inside);
	kshm_exit(s);
	return n;
}

static struct kshm_driver probe = {
	.name = "probe",
	.version = 1,
	.priv_size = sizeof(struct probe_state),
	.share = probe_share,
	.kick = probe_kick,
	.work = probe_work,
	.stop = probe_stop,
	.control = probe_control,
};

/* A second device, to be removed by a test while the first goes on. */
static struct kshm_driver removable;

static int __init probe_init(void)
{
	int err;

	err = kshm_register_driver(&probe);
	if (err)
		return err;
	removable = probe;
	removable.name = "probe-removable";
	removable.device = NULL;
	err = kshm_register_driver(&removable);
	if (err)
		kshm_unregister_driver(&probe);
	else if (register_kprobe(&stall_probe))
		stall_probe.addr = NULL;
	return err;
}

static void __exit probe_exit(void)
{
	if (stall_probe.addr)
		unregister_kprobe(&stall_probe);
	kshm_unregister_driver(&removable);
	kshm_unregister_driver(&probe);
	clean_up();
}

module_init(probe_init);
module_exit(probe_exit);
MODULE_DESCRIPTION("Test driver for the kshm kit");
MODULE_AUTHOR("The kshm authors");
MODULE_LICENSE("Dual MIT/GPL");
