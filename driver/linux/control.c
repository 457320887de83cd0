// SPDX-License-Identifier: GPL-2.0 OR MIT
/* How commands come in and answers go out, and the driver's own codes. */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "internal.h"

/*
 * Fetches a command whose first word is the size that the program knows, and
 * leaves there what of it this kernel knows, too. -EINVAL: shorter than oldest,
 * that of version 1.0; -E2BIG: longer than size, and the rest is not zero.
 */
int kshm_copy_grown(void *command, size_t oldest, size_t size, void __user *arg)
{
	u32 known;
	int err;

	if (get_user(known, (u32 __user *)arg))
		return -EFAULT;
	if (known < oldest)
		return -EINVAL;
	if (known > PAGE_SIZE)
		return -E2BIG;
	err = copy_struct_from_user(command, size, arg, known);
	if (err)
		return err;
	/* The first word came twice; only the checked one counts. */
	*(u32 *)command = min_t(size_t, known, size);
	return 0;
}

/* Writes as much of the answer as the command had room for. */
int kshm_copy_answer(void __user *arg, void *answer, size_t size)
{
	u32 room = *(u32 *)answer;

	return copy_to_user(arg, answer, min_t(size_t, room, size)) ? -EFAULT : 0;
}

static ssize_t call_driver(struct kshm_device *device, const struct kshm_control *c,
			   void *buffer)
{
	ssize_t n = -EOPNOTSUPP;

	if (!kshm_gate_enter(&device->calls))
		return -ENODEV;
	if (device->driver->control)
		n = device->driver->control(c->code, buffer, c->in_length, c->out_length);
	kshm_gate_exit(&device->calls);
	/* A longer answer than there is room for is the driver's mistake. */
	return WARN_ON_ONCE(n > (ssize_t)c->out_length) ? -EIO : n;
}

int kshm_control(struct kshm_device *device, void __user *arg)
{
	struct kshm_control c;
	void *buffer;
	ssize_t n;
	int err;

	err = kshm_copy_command(&c, sizeof(c), arg);
	if (err)
		return err;
	if (c.flags || c.reserved)
		return -EINVAL;
	if (c.in_length > KSHM_CONTROL_MAX || c.out_length > KSHM_CONTROL_MAX)
		return -ERANGE;
	buffer = kvzalloc(max(c.in_length, c.out_length) ?: 1, GFP_KERNEL_ACCOUNT);
	if (!buffer)
		return -ENOMEM;
	n = -EFAULT;
	if (copy_from_user(buffer, u64_to_user_ptr(c.in), c.in_length))
		goto free_buffer;
	n = call_driver(device, &c, buffer);
	if (n > 0 && copy_to_user(u64_to_user_ptr(c.out), buffer, n))
		n = -EFAULT;
free_buffer:
	kvfree(buffer);
	return n;
}
