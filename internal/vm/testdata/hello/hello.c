// SPDX-License-Identifier: GPL-2.0 OR MIT
/* A module that misbehaves on request, to see whether package vm notices. */
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>

static char *fault = "";
module_param(fault, charp, 0);
MODULE_PARM_DESC(fault, "what to do wrong on loading: refuse, warn, oops, bug, pin, stuck, sleep");

/* Takes a pin on a page of the loading process and never gives it back. */
static int leak_a_pin(void)
{
	struct page *page;
	long n;

	n = pin_user_pages_unlocked(current->mm->arg_start & PAGE_MASK, 1, &page, 0);
	return n == 1 ? 0 : -EFAULT;
}

static int sleep_in_atomic(void)
{
	preempt_disable();
	schedule_timeout_uninterruptible(1);
	preempt_enable();
	return 0;
}

static int __init hello_init(void)
{
	pr_info("hello: fault=%s\n", fault);
	if (!strcmp(fault, "refuse"))
		return -EINVAL;
	if (!strcmp(fault, "warn"))
		WARN(1, "hello: a warning on request\n");
	if (!strcmp(fault, "oops"))
		return READ_ONCE(*(int *)8);
	if (!strcmp(fault, "bug"))
		BUG();
	if (!strcmp(fault, "pin"))
		return leak_a_pin();
	if (!strcmp(fault, "stuck"))
		__module_get(THIS_MODULE);
	if (!strcmp(fault, "sleep"))
		return sleep_in_atomic();
	return 0;
}

static void __exit hello_exit(void)
{
	pr_info("hello: bye\n");
}

module_init(hello_init);
module_exit(hello_exit);
MODULE_DESCRIPTION("Misbehaves on request");
MODULE_LICENSE("Dual MIT/GPL");
