// SPDX-License-Identifier: GPL-2.0 OR MIT
/* kshm.ko: the kit that other drivers stand on. It has no device of its own. */
#include <linux/init.h>
#include "internal.h"

struct workqueue_struct *kshm_wq;

static int __init kshm_init(void)
{
	/* Unbound: work() and stop() may be long, and no CPU is the right one. */
	kshm_wq = alloc_workqueue("kshm", WQ_UNBOUND, 0);
	return kshm_wq ? 0 : -ENOMEM;
}

static void __exit kshm_exit_module(void)
{
	destroy_workqueue(kshm_wq);
	/* The notifiers are freed by callbacks that are code of this module. */
	mmu_notifier_synchronize();
}

module_init(kshm_init);
module_exit(kshm_exit_module);
MODULE_DESCRIPTION("Shared memory between programs and drivers");
MODULE_AUTHOR("The kshm authors");
MODULE_LICENSE("Dual MIT/GPL");
