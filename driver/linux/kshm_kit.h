/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * kshm_kit.h - what a Linux driver needs to share memory with programs.
 *
 * Fill in a struct kshm_driver and register it. The kit makes the device node
 * /dev/kshm/NAME and does pinning, mapping, accounting, death, revocation,
 * events and statistics; the driver gets a kernel address.
 *
 * A struct kshm_share is valid from share() until stop() returns. Whatever
 * reaches it from elsewhere than a callback (an interrupt, a timer, another
 * thread) is stopped by stop(), or brackets its use with kshm_enter() and
 * kshm_exit() and finds the pointer under a lock of the driver's that stop()
 * takes to hide it.
 *
 * The program may change any byte at any time. Read a shared word once, with
 * READ_ONCE() or smp_load_acquire(), check it, and only then use it.
 */
#ifndef KSHM_KIT_H
#define KSHM_KIT_H

#include <linux/cache.h>
#include <linux/device/driver.h>
#include <linux/module.h>
#include <linux/types.h>
#include "kshm.h"
#include "kshm_ring.h"

struct kshm_device;
struct kshm_driver;

/*
 * The driver's side of a ring, in kernel memory. kshm_ring.h says how to use
 * it and who may: one context at a time, so a producer in interrupts is one of
 * this CPU alone, from reserve to flush in a section with interrupts off.
 */
struct kshm_share_ring {
	union {
		struct kshm_producer producer; /* with KSHM_RING_TO_USER */
		struct kshm_consumer consumer; /* with KSHM_RING_TO_KERNEL */
	};
	u32 flags; /* KSHM_RING_* */
	u32 group; /* entry of the program's table that it comes from */
	u32 index; /* in that group */
} ____cacheline_aligned_in_smp;

struct kshm_share {
	void *base; /* kernel address of the program's first byte */
	size_t length; /* bytes; nothing behind them is the driver's */
	u64 cookie; /* the program's own name for the share */
	u32 access; /* KSHM_ACCESS_*; without WRITE the mapping is read-only */
	void *priv; /* priv_size bytes of the driver's, zeroed */
	struct kshm_share_ring *rings; /* in the order of the program's table */
	u32 nrings; /* 0: the program asked for none */
	const struct kshm_driver *driver;
};

struct kshm_driver {
	const char *name; /* of the node; letters, digits, '-' and '_' */
	u32 version; /* shown to programs */
	umode_t mode; /* of the node; 0 means 0600 */
	size_t priv_size; /* bytes per share, for priv */
	u64 min_length; /* bytes per share; 0 means 1 */
	u64 max_length; /* bytes per share; 0 means the kit's cap */
	u32 max_rings; /* per share; 0 means that the driver knows no rings */

	/*
	 * A program offers memory. In its process, may sleep, killably. An error
	 * refuses the share, and stop() is not called; whatever could reach the
	 * share by then, kshm_queue() included, comes last. Optional.
	 */
	int (*share)(struct kshm_share *s);

	/*
	 * A program kicks. In its process, may sleep, but not for ever, and
	 * killably; concurrently with itself; never after ending has begun.
	 * Answers 0 or an error of the driver's own, not -ESHUTDOWN.
	 * Optional: without it a kick queues work().
	 */
	int (*kick)(struct kshm_share *s);

	/*
	 * In a worker, may sleep; one at a time per share; has finished when
	 * stop() is called, so a long one watches kshm_ending(). Optional.
	 */
	void (*work)(struct kshm_share *s);

	/*
	 * The share ends. Once, in an unknown task: no access to user memory, no
	 * waiting for a program, bounded (the kit warns of one that took more
	 * than 5 seconds). After it, the kit waits for what is between
	 * kshm_enter() and kshm_exit(). Optional.
	 */
	void (*stop)(struct kshm_share *s, enum kshm_reason reason);

	/*
	 * A program sends a code of the driver's own. buffer holds in bytes of
	 * its data and has room for out bytes of answer. Returns the length of
	 * the answer, or an error, -ENOTTY for an unknown code. In the program's
	 * process, may sleep, killably; not tied to a share. Optional.
	 */
	ssize_t (*control)(u32 code, void *buffer, size_t in, size_t out);

	struct kshm_device *device; /* the kit's */
};

/* Makes the node; the driver is called from here on. May sleep. */
int kshm_register_driver(struct kshm_driver *driver);

/*
 * Removes the node, ends all shares with KSHM_END_GONE and waits for running
 * callbacks. Programs keep descriptors that have ended.
 */
void kshm_unregister_driver(struct kshm_driver *driver);

#define module_kshm_driver(driver) \
	module_driver(driver, kshm_register_driver, kshm_unregister_driver)

/*
 * Take and give back the right to use the memory, in any context, NMI
 * included. kshm_enter() fails once ending has begun; ending waits for the
 * matching kshm_exit().
 */
bool kshm_enter(struct kshm_share *s);
void kshm_exit(struct kshm_share *s);

/* Ending has begun; a long-running callback should return soon. Any context. */
bool kshm_ending(struct kshm_share *s);

/* Raises an event for the program. Any context, NMI included. */
void kshm_notify(struct kshm_share *s);

/*
 * Has work() called, once more if it runs now. Any context that may queue work:
 * hard interrupts, but not NMIs and not under the scheduler's own locks.
 */
void kshm_queue(struct kshm_share *s);

/* Ends the share from the driver's side, soon after. Any context. */
void kshm_revoke(struct kshm_share *s);

/*
 * The same for shared words that broke a protocol: offset says where in the
 * share the first one lies, why is the driver's number for what was wrong.
 */
void kshm_corrupt(struct kshm_share *s, u64 offset, u32 why);

/*
 * True while the ring is good. Else ends the share with what was wrong, an
 * enum kshm_corrupt. To be asked after a call that got no record or no space.
 * Any context that may use the ring.
 */
static inline bool kshm_ring_good(struct kshm_share *s, const struct kshm_ring *r)
{
	if (likely(!r->corrupt_why))
		return true;
	kshm_corrupt(s, r->corrupt_offset, r->corrupt_why);
	return false;
}

#endif /* KSHM_KIT_H */
