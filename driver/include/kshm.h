/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT */
/*
 * kshm.h - the control ABI between a program and a kshm driver.
 *
 * The one source of truth for every kernel and for Go (internal/abi/zabi.go is
 * generated from it). Rules that keep it stable:
 *
 *  - fixed-width fields, naturally aligned, no hidden padding, sizes that are
 *    multiples of 8: one layout for 32- and 64-bit callers;
 *  - addresses travel as 64-bit integers;
 *  - the first field of each command is the size that the caller knows. A
 *    shorter command than version 1.0's is refused; a longer one is accepted
 *    only if all that the kernel does not know is zero;
 *  - unknown flags and reserved fields that are not zero are refused;
 *  - major changes when old meaning changes, minor when something is added.
 */
#ifndef KSHM_H
#define KSHM_H

#if defined(__linux__) || defined(__KERNEL__)
#include <linux/types.h>
#include <linux/ioctl.h>
typedef __u32 kshm_u32;
typedef __u64 kshm_u64;
#elif defined(_KERNEL_MODE) || defined(KSHM_NT)
typedef unsigned int kshm_u32;
typedef unsigned long long kshm_u64;
#else
#include <stdint.h>
typedef uint32_t kshm_u32;
typedef uint64_t kshm_u64;
#endif

#define KSHM_ABI_MAJOR 1
#define KSHM_ABI_MINOR 1

#define KSHM_NAME_SIZE 32  /* driver name with its terminating zero */
#define KSHM_RING_GROUPS 8 /* entries of the ring table of a share */
#define KSHM_CONTROL_MAX 65536 /* bytes each way in one KSHM_CONTROL */

/* Feature bits of struct kshm_info. */
#define KSHM_FEATURE_SHARE_READ 0x1 /* read-only shares */
#define KSHM_FEATURE_CONTROL 0x2    /* the driver has codes of its own */
#define KSHM_FEATURE_RINGS 0x4      /* the ring table is understood */

/* What the kernel may do with the memory: struct kshm_share.access. */
#define KSHM_ACCESS_READ 0x1
#define KSHM_ACCESS_WRITE 0x2 /* only together with KSHM_ACCESS_READ */

/*
 * State of a share and the reason for its end: the result of DONE, the field
 * "reason" of STATS and the argument of a driver's stop(). Reasons never
 * change their numbers; a program treats an unknown one as KSHM_END_REVOKED.
 */
enum kshm_reason {
	KSHM_LIVE = 0,
	KSHM_END_DONE = 1,      /* the program said DONE */
	KSHM_END_CLOSED = 2,    /* the last handle was closed without DONE */
	KSHM_END_EXIT = 3,      /* the address space that made it is gone */
	KSHM_END_REVOKED = 4,   /* the driver took it back */
	KSHM_END_GONE = 5,      /* the driver or its device was removed */
	KSHM_END_CORRUPT = 6,   /* shared words broke the protocol */
	KSHM_END_CANCELLED = 7, /* the pended request was cancelled (Windows) */
};

/* Direction of a ring group. */
#define KSHM_RING_TO_KERNEL 0x0
#define KSHM_RING_TO_USER 0x1

/*
 * One entry of a share's ring table: count rings of the same capacity that
 * follow each other from offset on. An entry that is all zero is unused.
 */
struct kshm_ring_group {
	kshm_u64 offset;   /* from the start of the share, bytes, page aligned */
	kshm_u32 capacity; /* bytes of record space per ring, a power of two */
	kshm_u32 count;    /* rings in this group */
	kshm_u32 flags;    /* KSHM_RING_* */
	kshm_u32 reserved;
};

/* INFO: on a device. Called once at open, before anything else. */
struct kshm_info {
	kshm_u32 size;
	kshm_u32 flags; /* must be 0 */
	kshm_u32 abi_major;
	kshm_u32 abi_minor;
	kshm_u64 features;         /* KSHM_FEATURE_* */
	kshm_u64 min_length;       /* bytes, per share */
	kshm_u64 max_length;       /* bytes, per share */
	kshm_u64 max_user_bytes;   /* pinned bytes per user, all drivers */
	kshm_u32 max_open_shares;  /* live shares per open of the device */
	kshm_u32 max_user_shares;  /* live shares per user, all drivers */
	kshm_u32 page_size;        /* alignment of a share's address, bytes */
	kshm_u32 driver_version;   /* the driver's own number */
	char driver_name[KSHM_NAME_SIZE];
};

/*
 * SHARE: on a device. Linux: the share's file descriptor is the return value.
 * Windows: the request pends and is the share; the memory is the request's
 * out-buffer, of SHARE_READ as well, and address and length repeat it.
 */
struct kshm_share_args {
	kshm_u32 size;
	kshm_u32 flags;   /* must be 0 */
	kshm_u64 address; /* page aligned */
	kshm_u64 length;  /* bytes, 1 and up; need not be a multiple of a page */
	kshm_u64 cookie;  /* the program's own name for the share */
	kshm_u32 access;  /* KSHM_ACCESS_* */
	kshm_u32 reserved;
	kshm_u64 event; /* Windows: handle of an event object, or 0; Linux: 0 */
	struct kshm_ring_group rings[KSHM_RING_GROUPS];
};

/*
 * DONE, KICK: on a share. share says which one where a handle carries several
 * (Windows: its cookie); where the descriptor itself says it, share is 0.
 * DONE returns the enum kshm_reason with which the share ended.
 */
struct kshm_share_cmd {
	kshm_u32 size;
	kshm_u32 flags; /* must be 0 */
	kshm_u64 share;
};

/* WAIT: Windows only; pends until the share has more than seen events. */
struct kshm_wait {
	kshm_u32 size;
	kshm_u32 flags; /* must be 0 */
	kshm_u64 share;
	kshm_u64 events; /* in: seen; out: events so far */
};

/*
 * What one side of a ring has counted since it attached; also the form of the
 * statistics page, where each side shows a copy of its own.
 */
struct kshm_ring_counters {
	kshm_u64 records;    /* committed, or released */
	kshm_u64 bytes;      /* of payload in them */
	kshm_u64 drops;      /* records given up for want of space or context */
	kshm_u64 high_water; /* most bytes that this side has seen in the ring */
	kshm_u64 wakes;      /* publications that asked for a kick or event */
	kshm_u64 suppressed; /* publications that did not need one */
	kshm_u64 sleeps;     /* times that this side went to sleep */
	kshm_u64 spurious;   /* times that it woke for nothing */
	kshm_u64 stall_ns;   /* longest time that it had to wait */
	kshm_u64 reserved[7];
};

/*
 * STATS: on a share, live or ended. All counters start at 0 with the share and
 * come from the kernel's own memory. Version 1.0's ends before rings.
 */
struct kshm_stats {
	kshm_u32 size;
	kshm_u32 flags; /* must be 0 */
	kshm_u64 share; /* as in struct kshm_share_cmd */
	kshm_u32 reason; /* enum kshm_reason */
	kshm_u32 access; /* KSHM_ACCESS_* */
	kshm_u64 length; /* bytes offered */
	kshm_u64 pinned; /* bytes pinned now; 0 once the share has ended */
	kshm_u64 kicks;  /* kicks that reached the driver */
	kshm_u64 events; /* events that the driver raised */
	kshm_u64 wakes;  /* events that woke whoever had asked for it */
	kshm_u64 pin_ns; /* time that SHARE spent on pinning and charging */
	kshm_u64 map_ns; /* time that SHARE spent on mapping */
	kshm_u64 corrupt_offset; /* of the first broken shared word, bytes */
	kshm_u32 corrupt_why;    /* what was wrong with it */
	kshm_u32 reserved;
	/*
	 * Since 1.1. The kernel's ends of all rings of one direction, added up;
	 * high_water and stall_ns are the largest. [KSHM_RING_TO_KERNEL] has
	 * consumers, [KSHM_RING_TO_USER] producers.
	 */
	struct kshm_ring_counters rings[2];
};

#define KSHM_STATS_1_0 96 /* bytes of version 1.0's */

/*
 * CONTROL: on a device. The driver's own codes, buffered: in is copied before
 * the driver runs, out after it. Linux: the bytes written to out are the
 * return value. Windows has DeviceIoControl itself for that.
 */
struct kshm_control {
	kshm_u32 size;
	kshm_u32 flags; /* must be 0 */
	kshm_u32 code;
	kshm_u32 reserved;
	kshm_u64 in;
	kshm_u64 out;
	kshm_u32 in_length;  /* bytes, at most KSHM_CONTROL_MAX */
	kshm_u32 out_length; /* bytes, at most KSHM_CONTROL_MAX */
};

/*
 * Linux. The number carries no size, as the command itself does, so that it
 * stays the same when a command grows. Type 0xd5 is free in the kernel's
 * Documentation/userspace-api/ioctl/ioctl-number.rst.
 *
 * read() of 8 bytes or more on a share gives its events so far as a u64 once
 * they exceed what this open file has read before; 0 bytes when it has ended.
 */
#if defined(__linux__) || defined(__KERNEL__)
#define KSHM_IOC_TYPE 0xd5
#define KSHM_INFO _IO(KSHM_IOC_TYPE, 0x00)
#define KSHM_SHARE _IO(KSHM_IOC_TYPE, 0x01)
#define KSHM_DONE _IO(KSHM_IOC_TYPE, 0x02)
#define KSHM_KICK _IO(KSHM_IOC_TYPE, 0x03)
#define KSHM_STATS _IO(KSHM_IOC_TYPE, 0x04)
#define KSHM_CONTROL _IO(KSHM_IOC_TYPE, 0x05)
#endif

/*
 * Windows. The parts of a control code are those of CTL_CODE in <devioctl.h>:
 * device type, access, function, method. SHARE and DONE are the numbers of the
 * classic recipe; the others come from the range left to vendors.
 */
#define KSHM_CTL_CODE(device, function, method, access) \
	(((device) << 16) | ((access) << 14) | ((function) << 2) | (method))
#define KSHM_METHOD_BUFFERED 0
#define KSHM_METHOD_IN_DIRECT 1
#define KSHM_METHOD_OUT_DIRECT 2
#define KSHM_METHOD_NEITHER 3
#define KSHM_FILE_ANY_ACCESS 0
#define KSHM_FILE_READ_ACCESS 1
#define KSHM_FILE_WRITE_ACCESS 2
#define KSHM_FILE_DEVICE_UNKNOWN 0x22

#define KSHM_CTL_SHARE \
	KSHM_CTL_CODE(KSHM_FILE_DEVICE_UNKNOWN, 1, KSHM_METHOD_OUT_DIRECT, KSHM_FILE_ANY_ACCESS)
#define KSHM_CTL_DONE \
	KSHM_CTL_CODE(KSHM_FILE_DEVICE_UNKNOWN, 2, KSHM_METHOD_BUFFERED, KSHM_FILE_ANY_ACCESS)
#define KSHM_CTL_INFO \
	KSHM_CTL_CODE(KSHM_FILE_DEVICE_UNKNOWN, 0x800, KSHM_METHOD_BUFFERED, KSHM_FILE_ANY_ACCESS)
#define KSHM_CTL_SHARE_READ \
	KSHM_CTL_CODE(KSHM_FILE_DEVICE_UNKNOWN, 0x801, KSHM_METHOD_IN_DIRECT, KSHM_FILE_ANY_ACCESS)
#define KSHM_CTL_KICK \
	KSHM_CTL_CODE(KSHM_FILE_DEVICE_UNKNOWN, 0x802, KSHM_METHOD_BUFFERED, KSHM_FILE_WRITE_ACCESS)
#define KSHM_CTL_STATS \
	KSHM_CTL_CODE(KSHM_FILE_DEVICE_UNKNOWN, 0x803, KSHM_METHOD_BUFFERED, KSHM_FILE_READ_ACCESS)
#define KSHM_CTL_WAIT \
	KSHM_CTL_CODE(KSHM_FILE_DEVICE_UNKNOWN, 0x804, KSHM_METHOD_BUFFERED, KSHM_FILE_READ_ACCESS)
#define KSHM_CTL_STOP                                                           \
	KSHM_CTL_CODE(KSHM_FILE_DEVICE_UNKNOWN, 0x805, KSHM_METHOD_BUFFERED, \
		      KSHM_FILE_READ_ACCESS | KSHM_FILE_WRITE_ACCESS)

_Static_assert(sizeof(struct kshm_ring_group) == 24, "layout of kshm_ring_group");
_Static_assert(sizeof(struct kshm_info) == 96, "layout of kshm_info");
_Static_assert(sizeof(struct kshm_share_args) == 48 + 24 * KSHM_RING_GROUPS,
	       "layout of kshm_share_args");
_Static_assert(sizeof(struct kshm_share_cmd) == 16, "layout of kshm_share_cmd");
_Static_assert(sizeof(struct kshm_wait) == 24, "layout of kshm_wait");
_Static_assert(sizeof(struct kshm_ring_counters) == 128, "layout of kshm_ring_counters");
_Static_assert(sizeof(struct kshm_stats) == KSHM_STATS_1_0 + 2 * 128, "layout of kshm_stats");
_Static_assert(sizeof(struct kshm_control) == 40, "layout of kshm_control");
_Static_assert(KSHM_CTL_SHARE == 0x00220006, "the classic SHARE code");
_Static_assert(KSHM_CTL_DONE == 0x00220008, "the classic DONE code");

#endif /* KSHM_H */
