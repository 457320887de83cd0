// SPDX-License-Identifier: GPL-2.0 OR MIT
/* A module that is never loaded: a bug for each analyzer to find. */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

struct thing {
	int value;
};

/* sparse: memory of a program is not to be read like one's own. */
static int __maybe_unused seeded_sparse(int __user *p)
{
	return *p;
}

/* clang: on one path, there is nothing behind the pointer. */
static int __maybe_unused seeded_clang(struct thing *t, int wanted)
{
	struct thing *found = NULL;

	if (wanted == 1)
		found = t;
	return found->value;
}

/* Coccinelle: what has been given back is read. */
static int __maybe_unused seeded_coccinelle(struct thing *t)
{
	kfree(t);
	return t->value;
}

MODULE_DESCRIPTION("Bugs that static analyzers find");
MODULE_AUTHOR("The kshm authors");
MODULE_LICENSE("Dual MIT/GPL");
