// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Misuse of locks, contexts, timers and processors. */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/workqueue.h>
#include "seeded.h"

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);

/* No two tasks are needed: that the orders exist is enough. */
static void lock_inversion(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);
	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
}

static DEFINE_SPINLOCK(irq_lock);

/* A lock that a timer takes, taken with interrupts on. */
static void in_timer(struct timer_list *timer)
{
	spin_lock(&irq_lock);
	spin_unlock(&irq_lock);
}

static void lock_in_interrupt(void)
{
	static struct timer_list timer;

	spin_lock(&irq_lock);
	spin_unlock(&irq_lock);
	timer_setup(&timer, in_timer, 0);
	mod_timer(&timer, jiffies + 1);
	msleep(50);
	timer_delete_sync(&timer);
}

static void sleep_in_atomic(void)
{
	void *p;

	spin_lock(&irq_lock);
	p = kmalloc(64, GFP_KERNEL);
	spin_unlock(&irq_lock);
	kfree(p);
}

static void nothing(struct timer_list *timer)
{
}

static void free_active_timer(void)
{
	struct timer_list *timer = kmalloc(sizeof(*timer), GFP_KERNEL);

	if (!timer)
		return;
	timer_setup(timer, nothing, 0);
	mod_timer(timer, jiffies + 1000 * HZ);
	kfree(timer);
}

static void slow_work(struct work_struct *work)
{
	msleep(500);
}

static void no_work(struct work_struct *work)
{
}

/* Queued behind a slow one, so that it is still queued when it is freed. */
static void free_active_work(void)
{
	struct workqueue_struct *queue = alloc_ordered_workqueue("seeded", 0);
	struct work_struct *work = kmalloc(sizeof(*work), GFP_KERNEL);
	static DECLARE_WORK(slow, slow_work);

	if (queue && work) {
		INIT_WORK(work, no_work);
		queue_work(queue, &slow);
		queue_work(queue, work);
	}
	kfree(work);
	if (queue)
		destroy_workqueue(queue);
}

static void no_callback(struct rcu_head *head)
{
}

static void call_rcu_twice(void)
{
	static struct rcu_head head;

	call_rcu(&head, no_callback);
	call_rcu(&head, no_callback);
	rcu_barrier();
}

static int nobody;
static int __rcu *protected = (int __rcu *)&nobody;

static void rcu_unprotected(void)
{
	READ_ONCE(*rcu_dereference(protected));
}

static void processor_unprotected(void)
{
	pr_info("seeded: on processor %u, perhaps\n", smp_processor_id());
}

/* The test has had the watchdog told to bark after a second or two. */
static void hung_task(void)
{
	unsigned long end = jiffies + 6 * HZ;

	while (time_before(jiffies, end)) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		schedule_timeout(6 * HZ);
	}
}

static void soft_lockup(void)
{
	unsigned long end = jiffies + 8 * HZ;

	preempt_disable();
	while (time_before(jiffies, end))
		cpu_relax();
	preempt_enable();
}

const struct seeded_bug seeded_context[] = {
	{ "lock-inversion", lock_inversion },
	{ "lock-in-interrupt", lock_in_interrupt },
	{ "sleep-in-atomic", sleep_in_atomic },
	{ "free-active-timer", free_active_timer },
	{ "free-active-work", free_active_work },
	{ "call-rcu-twice", call_rcu_twice },
	{ "rcu-unprotected", rcu_unprotected },
	{ "processor-unprotected", processor_unprotected },
	{ "hung-task", hung_task },
	{ "soft-lockup", soft_lockup },
	{}
};
