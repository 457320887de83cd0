// SPDX-License-Identifier: GPL-2.0 OR MIT
/* What drivers call, and what of it must be put off to a calmer context. */
#include "internal.h"

/* Any context, NMI included: has poke_work() look at the bits. */
static void poke(struct kshm_session *ses, int bit)
{
	/*
	 * Pairs with the full barrier of test_and_clear_bit() in poke_work(): who
	 * sees the bit sees that somebody is inside the gate, and why it shuts.
	 */
	smp_mb__before_atomic();
	set_bit(KSHM_POKED, &ses->poke);
	set_bit(bit, &ses->poke);
	irq_work_queue(&ses->poke_work);
}

static void poke_work(struct irq_work *work)
{
	struct kshm_session *ses = container_of(work, struct kshm_session, poke_work);

	if (test_and_clear_bit(KSHM_POKE_WAKE, &ses->poke)) {
		atomic64_inc(&ses->wakes);
		wake_up_poll(&ses->wait, KSHM_POLL_EVENT);
	}
	if (test_and_clear_bit(KSHM_POKE_REVOKE, &ses->poke))
		queue_work(kshm_end_wq, &ses->end_work);
}

static void idle_work(struct irq_work *work)
{
	struct kshm_session *ses = container_of(work, struct kshm_session, idle_work);

	complete(&ses->users.idle);
}

static void end_work(struct work_struct *work)
{
	struct kshm_session *ses = container_of(work, struct kshm_session, end_work);

	kshm_finish_end(ses);
}

static void driver_work(struct work_struct *work)
{
	struct kshm_session *ses = container_of(work, struct kshm_session, work);

	ses->share.driver->work(&ses->share);
}

void kshm_session_init(struct kshm_session *ses)
{
	kref_init(&ses->kref);
	INIT_LIST_HEAD(&ses->of_device);
	INIT_LIST_HEAD(&ses->of_owner);
	kshm_gate_init(&ses->calls);
	kshm_gate_init(&ses->users);
	INIT_WORK(&ses->work, driver_work);
	INIT_WORK(&ses->end_work, end_work);
	init_completion(&ses->ended);
	init_irq_work(&ses->poke_work, poke_work);
	init_irq_work(&ses->idle_work, idle_work);
	init_waitqueue_head(&ses->wait);
}

/* Inside the gate calls, whose draining lets the end see queued. */
void kshm_queue_work(struct kshm_session *ses)
{
	WRITE_ONCE(ses->queued, true);
	queue_work(kshm_wq, &ses->work);
}

bool kshm_enter(struct kshm_share *s)
{
	return kshm_gate_enter(&kshm_session_of(s)->users);
}
EXPORT_SYMBOL_GPL(kshm_enter);

void kshm_exit(struct kshm_share *s)
{
	struct kshm_session *ses = kshm_session_of(s);

	/*
	 * complete() takes locks that whatever was interrupted may hold. The end
	 * cannot see idle_work before this CPU is done here, and syncs with it.
	 */
	if (kshm_gate_leave(&ses->users))
		irq_work_queue(&ses->idle_work);
}
EXPORT_SYMBOL_GPL(kshm_exit);

bool kshm_ending(struct kshm_share *s)
{
	return atomic_read(&kshm_session_of(s)->reason) != KSHM_LIVE;
}
EXPORT_SYMBOL_GPL(kshm_ending);

void kshm_notify(struct kshm_share *s)
{
	struct kshm_session *ses = kshm_session_of(s);

	atomic64_inc(&ses->events);
	/* Pairs with session_ready(): it sees the event, or this sees armed. */
	smp_mb__after_atomic();
	if (READ_ONCE(ses->armed) && xchg(&ses->armed, 0))
		poke(ses, KSHM_POKE_WAKE);
}
EXPORT_SYMBOL_GPL(kshm_notify);

void kshm_queue(struct kshm_share *s)
{
	struct kshm_session *ses = kshm_session_of(s);

	if (WARN_ON_ONCE(!s->driver->work) || !kshm_gate_enter(&ses->calls))
		return;
	kshm_queue_work(ses);
	kshm_gate_exit(&ses->calls);
}
EXPORT_SYMBOL_GPL(kshm_queue);

void kshm_revoke(struct kshm_share *s)
{
	struct kshm_session *ses = kshm_session_of(s);

	if (kshm_begin_end(ses, KSHM_END_REVOKED))
		poke(ses, KSHM_POKE_REVOKE);
}
EXPORT_SYMBOL_GPL(kshm_revoke);

void kshm_corrupt(struct kshm_share *s, u64 offset, u32 why)
{
	struct kshm_session *ses = kshm_session_of(s);

	if (!kshm_begin_end(ses, KSHM_END_CORRUPT))
		return;
	/* Only the first comes here, and nobody finishes the end before the poke. */
	WRITE_ONCE(ses->corrupt_offset, offset);
	WRITE_ONCE(ses->corrupt_why, why);
	poke(ses, KSHM_POKE_REVOKE);
}
EXPORT_SYMBOL_GPL(kshm_corrupt);
