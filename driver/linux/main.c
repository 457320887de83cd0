// SPDX-License-Identifier: GPL-2.0 OR MIT
/* kshm.ko: the kit that other drivers stand on. It has no device of its own. */
#include <linux/init.h>
#include "internal.h"

struct workqueue_struct *kshm_wq, *kshm_end_wq;

static int __init kshm_init(void)
{
	/* Unbound: work() and stop() may be long, and no CPU is the right one. */
	kshm_wq = alloc_workqueue("kshm", WQ_UNBOUND, 0);
	if (!kshm_wq)
		return -ENOMEM;
	kshm_end_wq = alloc_workqueue("kshm_end", WQ_UNBOUND, 0);
	if (!kshm_end_wq)
		goto destroy_wq;
	return 0;

destroy_wq:
	destroy_workqueue(kshm_wq);
	return -ENOMEM;
}

static void __exit kshm_exit_module(void)
{
	destroy_workqueue(kshm_end_wq);
	destroy_workqueue(kshm_wq);
	kshm_owner_wait();
}

module_init(kshm_init);
module_exit(kshm_exit_module);
MODULE_DESCRIPTION("Shared memory between programs and drivers");
MODULE_AUTHOR("The kshm authors");
MODULE_LICENSE("Dual MIT/GPL");
