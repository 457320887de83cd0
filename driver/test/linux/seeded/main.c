// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * seeded: a module that is broken on purpose, to show that the alarms of the
 * debug kernels ring. The name of a bug, written to
 * /sys/module/seeded/parameters/bug, commits it. Never load it where anything
 * matters.
 */
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/string.h>
#include "seeded.h"

static int commit(const struct seeded_bug *bug, const char *name)
{
	for (; bug->name; bug++) {
		if (sysfs_streq(name, bug->name)) {
			pr_info("seeded: begin %s\n", bug->name);
			bug->commit();
			pr_info("seeded: end %s\n", bug->name);
			return 0;
		}
	}
	return -ENOENT;
}

static int set_bug(const char *name, const struct kernel_param *kp)
{
	int err;

	err = commit(seeded_memory, name);
	if (err)
		err = commit(seeded_context, name);
	if (err)
		err = commit(seeded_race, name);
	return err;
}

static const struct kernel_param_ops bug_ops = { .set = set_bug };
module_param_cb(bug, &bug_ops, NULL, 0200);
MODULE_PARM_DESC(bug, "name of the bug to commit");

static int __init seeded_init(void)
{
	return 0;
}

static void __exit seeded_exit(void)
{
}

module_init(seeded_init);
module_exit(seeded_exit);
MODULE_DESCRIPTION("Bugs for the alarms of debug kernels");
MODULE_AUTHOR("The kshm authors");
MODULE_LICENSE("Dual MIT/GPL");
