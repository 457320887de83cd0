// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Data races, of two threads that run for some seconds. */
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/sched.h>
#include "seeded.h"

#define SECONDS 8
#define WORDS 64
#define PASSES 100

static struct {
	unsigned long count;
	unsigned long data[WORDS];
	int flag;
} shared;

static noinline void add_one(void)
{
	shared.count++;
}

static int count(void *unused)
{
	while (!kthread_should_stop()) {
		add_one();
		cond_resched();
	}
	return 0;
}

/*
 * The bug: flag, written without a barrier, may be seen before data. KCSAN holds
 * a store back until the function returns, and looks at it with each further
 * access, so there have to be some while the consumer is at work.
 */
static noinline void publish(unsigned long n)
{
	for (int i = 0; i < WORDS; i++)
		shared.data[i] = n;
	WRITE_ONCE(shared.flag, 1);
	while (READ_ONCE(shared.flag) && !kthread_should_stop())
		cpu_relax();
}

static noinline void consume(void)
{
	/* Pairs with nothing: see publish(). */
	if (!smp_load_acquire(&shared.flag))
		return;
	for (int i = 0; i < PASSES * WORDS; i++)
		shared.data[i % WORDS]++;
	/* Pairs with the load in publisher(). */
	smp_store_release(&shared.flag, 0);
}

static int publisher(void *unused)
{
	unsigned long n = 0;

	while (!kthread_should_stop()) {
		/* Pairs with the store in consume(). */
		if (!smp_load_acquire(&shared.flag))
			publish(n++);
		cond_resched();
	}
	return 0;
}

static int consumer(void *unused)
{
	while (!kthread_should_stop()) {
		consume();
		cond_resched();
	}
	return 0;
}

static void run(int (*a)(void *), int (*b)(void *))
{
	struct task_struct *one = kthread_run(a, NULL, "seeded/1");
	struct task_struct *two = kthread_run(b, NULL, "seeded/2");

	schedule_timeout_idle(SECONDS * HZ);
	if (!IS_ERR(one))
		kthread_stop(one);
	if (!IS_ERR(two))
		kthread_stop(two);
}

static void plain_race(void)
{
	run(count, count);
}

static void missing_barrier(void)
{
	run(publisher, consumer);
}

const struct seeded_bug seeded_race[] = {
	{ "plain-race", plain_race },
	{ "missing-barrier", missing_barrier },
	{}
};
