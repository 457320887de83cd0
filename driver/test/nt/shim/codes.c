// SPDX-License-Identifier: MIT
/*
 * codes.c - every control code with every kind of wrong argument: the documented status, and
 * nothing changed.
 */
#include "tests.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct nt_proc program = {.pid = (HANDLE)100, .user = 1};
static struct nt_file *file; /* may do everything; carries share 1 */
static struct nt_memory *memory, *spare, *constant;
static bool of_32_bits; /* the program, for the call that is refused */
static long rows;

/* The codes, their commands, and what a good one of each answers. */
static const struct code {
	const char *name;
	ULONG code, size, room;
	int access;
	NTSTATUS good;
} codes[] = {
	{"INFO", KSHM_CTL_INFO, sizeof(struct kshm_info), sizeof(struct kshm_info), 0,
	 STATUS_SUCCESS},
	{"SHARE", KSHM_CTL_SHARE, sizeof(struct kshm_share_args), 0, 0, STATUS_PENDING},
	{"SHARE_READ", KSHM_CTL_SHARE_READ, sizeof(struct kshm_share_args), 0, 0,
	 STATUS_PENDING},
	{"DONE", KSHM_CTL_DONE, sizeof(struct kshm_share_cmd), sizeof(kshm_u32), 0,
	 STATUS_SUCCESS},
	{"KICK", KSHM_CTL_KICK, sizeof(struct kshm_share_cmd), 0, KSHM_FILE_WRITE_ACCESS,
	 STATUS_SUCCESS},
	{"STATS", KSHM_CTL_STATS, KSHM_STATS_1_0, KSHM_STATS_1_0, KSHM_FILE_READ_ACCESS,
	 STATUS_SUCCESS},
	{"WAIT", KSHM_CTL_WAIT, sizeof(struct kshm_wait), sizeof(struct kshm_wait),
	 KSHM_FILE_READ_ACCESS, STATUS_PENDING},
};
#define CODES (sizeof(codes) / sizeof(*codes))

/* A command of any code, with room for one that is longer than it should be. */
union command {
	struct {
		kshm_u32 size, flags;
	} head;
	struct kshm_info info;
	struct kshm_share_args share;
	struct kshm_share_cmd cmd;
	struct kshm_stats stats;
	struct kshm_wait wait;
	UCHAR bytes[512];
};

static bool is_share(const struct code *c)
{
	return (c->code & 3) != METHOD_BUFFERED;
}

static void good(const struct code *c, union command *command, struct nt_call *call)
{
	struct nt_memory *m = c->code == KSHM_CTL_SHARE_READ ? constant : spare;

	memset(command, 0, sizeof(*command));
	if (is_share(c)) {
		share_args(&command->share, call, m, 2);
		return;
	}
	command->head.size = c->size;
	command->cmd.share = 1;
	if (c->code == KSHM_CTL_WAIT)
		command->wait.events = ~0ull;
	*call = (struct nt_call){.code = c->code,
				 .in = command,
				 .in_length = c->size,
				 .out = command->bytes,
				 .out_length = c->room};
}

struct state {
	long pool, handles, references, items, locked, irps;
	struct kshm_stats stats;
};

static struct state state(void)
{
	struct state s;

	settle();
	memset(&s, 0, sizeof(s));
	s.pool = nt_pool;
	s.handles = nt_kernel_handles;
	s.references = nt_references;
	s.items = nt_items;
	s.locked = nt_locked;
	s.irps = nt_irps;
	CHECK(call_stats(file, 1, &s.stats) == STATUS_SUCCESS);
	return s;
}

/* The call answers at once, with that status, and leaves everything as it was. */
static void refuse(struct nt_file *f, const struct nt_call *call, NTSTATUS expected,
		   const char *code, const char *what)
{
	struct state before = state(), after;
	struct nt_req *req = NULL;
	NTSTATUS status;

	rows++;
	program.wow64 = of_32_bits;
	status = nt_ioctl(f, call, &req);
	program.wow64 = false;
	if (status != expected)
		nt_bug("status", "%s, %s: %#x instead of %#x", code, what, (unsigned)status,
		       (unsigned)expected);
	if (req) {
		CHECK(nt_done(req) && req->status == expected && req->information == 0);
		nt_reap(req);
	}
	after = state();
	if (memcmp(&before, &after, sizeof(after)))
		nt_bug("state", "%s, %s: something changed", code, what);
}

/* The call is taken; what it began is undone. */
static void take(struct nt_file *f, const struct nt_call *call, NTSTATUS expected,
		 const char *code, const char *what)
{
	struct nt_req *req = NULL;
	NTSTATUS status = nt_ioctl(f, call, &req);

	rows++;
	if (status != expected)
		nt_bug("status", "%s, %s: %#x instead of %#x", code, what, (unsigned)status,
		       (unsigned)expected);
	if (status == STATUS_PENDING)
		nt_cancel(req);
	nt_reap(req);
	settle();
}

static void share_one(void)
{
	static struct nt_req *req;

	if (req)
		nt_reap(req); /* ended by a DONE */
	CHECK(share_begin(file, memory, 1, &req) == STATUS_PENDING);
}

/* The shape of the command: what KshmCommand looks at. */
static void test_shape(const struct code *c)
{
	union command command;
	struct nt_call call;
	ULONG i;

	good(c, &command, &call);
	call.in = NULL;
	call.in_length = 0;
	refuse(file, &call, STATUS_INFO_LENGTH_MISMATCH, c->name, "in-buffer absent");
	if (!is_share(c)) {
		call.out = NULL;
		call.out_length = 0;
		refuse(file, &call, STATUS_INFO_LENGTH_MISMATCH, c->name, "no buffer at all");
	}
	for (i = 0; i < c->size; i++) {
		good(c, &command, &call);
		call.in_length = i;
		refuse(file, &call, STATUS_INFO_LENGTH_MISMATCH, c->name, "in-buffer short");
	}
	for (i = 0; i < c->size; i += 4) {
		good(c, &command, &call);
		command.head.size = i;
		refuse(file, &call, STATUS_INFO_LENGTH_MISMATCH, c->name, "size too small");
	}
	good(c, &command, &call);
	command.head.size = c->size + 8;
	refuse(file, &call, STATUS_INFO_LENGTH_MISMATCH, c->name, "size beyond the in-buffer");
	good(c, &command, &call);
	command.head.size = 0xffffffff;
	refuse(file, &call, STATUS_INFO_LENGTH_MISMATCH, c->name, "size all ones");
	good(c, &command, &call);
	call.in_length = c->size + 8;
	refuse(file, &call, STATUS_INFO_LENGTH_MISMATCH, c->name, "in-buffer beyond size");
	for (i = 0; i < 32; i++) {
		good(c, &command, &call);
		command.head.flags = 1u << i;
		refuse(file, &call, STATUS_INVALID_PARAMETER, c->name, "unknown flag");
	}
	for (i = c->size; i < c->size + 16; i++) {
		good(c, &command, &call);
		command.head.size = call.in_length = c->size + 16;
		command.bytes[i] = 1;
		refuse(file, &call, STATUS_INVALID_PARAMETER, c->name, "unknown field");
	}
	for (i = 0; i < c->room; i++) {
		good(c, &command, &call);
		call.out_length = i;
		if (c->code != KSHM_CTL_DONE || i != 0)
			refuse(file, &call, STATUS_BUFFER_TOO_SMALL, c->name,
			       "out-buffer short");
	}
}

/* An out-buffer with room for more is taken, and gets the answer alone. */
static void test_room(const struct code *c)
{
	union command command;
	struct nt_call call;
	size_t i;

	if (is_share(c))
		return;
	good(c, &command, &call);
	memset(command.bytes + c->size, 0xa5, sizeof(command) - c->size);
	call.out = command.bytes;
	call.out_length = sizeof(command);
	take(file, &call, c->good, c->name, "out-buffer long");
	for (i = c->size > c->room ? c->size : c->room; i < sizeof(command); i++)
		CHECK(command.bytes[i] == 0xa5);
	if (c->code == KSHM_CTL_DONE)
		share_one();
}

static void test_taken(const struct code *c)
{
	union command command, moved;
	struct nt_call call;

	good(c, &command, &call);
	take(file, &call, c->good, c->name, "as it should be");
	if (c->code == KSHM_CTL_DONE)
		share_one();
	good(c, &command, &call);
	command.head.size = call.in_length = c->size + 64;
	take(file, &call, c->good, c->name, "longer, the rest zero");
	if (c->code == KSHM_CTL_DONE)
		share_one();
	good(c, &command, &call);
	memcpy(moved.bytes + 1, &command, sizeof(command) - 1);
	call.in = moved.bytes + 1;
	if (call.out)
		call.out = moved.bytes + 257;
	take(file, &call, c->good, c->name, "parameters at odd addresses");
	if (c->code == KSHM_CTL_DONE)
		share_one();
}

/* Whose handle it is, and what it allows. */
static void test_handles(const struct code *c)
{
	union command command;
	struct nt_file *f;
	struct nt_call call;
	int access;

	for (access = 0; access < 4; access++) {
		CHECK(NT_SUCCESS(nt_open(access, 0, NULL, &f)));
		good(c, &command, &call);
		if ((access & c->access) != c->access)
			refuse(f, &call, STATUS_ACCESS_DENIED, c->name, "wrong access");
		else if (!is_share(c) && c->code != KSHM_CTL_INFO)
			refuse(f, &call, STATUS_NOT_FOUND, c->name, "share of another handle");
		nt_reference(f);
		nt_close(f);
		refuse(f, &call, STATUS_INVALID_HANDLE, c->name, "closed handle");
		nt_release(f);
	}
	of_32_bits = true;
	good(c, &command, &call);
	refuse(file, &call, STATUS_NOT_SUPPORTED, c->name, "program of 32 bits");
	of_32_bits = false;
	if (is_share(c) || c->code == KSHM_CTL_INFO)
		return;
	good(c, &command, &call);
	command.cmd.share = 99;
	refuse(file, &call, STATUS_NOT_FOUND, c->name, "no such share");
}

static void test_share(const struct code *c)
{
	union command command;
	struct nt_call call;
	struct nt_file *f;
	kshm_u64 i;

#define BAD(change, status, what)                                                              \
	do {                                                                                   \
		good(c, &command, &call);                                                      \
		change;                                                                        \
		refuse(file, &call, status, c->name, what);                                    \
	} while (0)
	for (i = 0; i < 32; i++)
		BAD(command.share.access ^= 1u << i, STATUS_INVALID_PARAMETER, "access");
	BAD(command.share.reserved = 1, STATUS_INVALID_PARAMETER, "reserved");
	for (i = 0; i < sizeof(command.share.rings); i++)
		BAD(((UCHAR *)command.share.rings)[i] = 1, STATUS_NOT_SUPPORTED, "ring table");
	BAD((call.memory = NULL, call.out_length = 0), STATUS_INVALID_PARAMETER, "no memory");
	BAD(command.share.length--, STATUS_INVALID_PARAMETER, "length differs");
	BAD(command.share.length = 0, STATUS_INVALID_PARAMETER, "length 0");
	BAD(command.share.length |= 1ull << 32, STATUS_INVALID_PARAMETER,
	    "length beyond 32 bits");
	BAD(command.share.address += PAGE_SIZE, STATUS_INVALID_PARAMETER, "address differs");
	BAD(command.share.address |= 1ull << 63, STATUS_INVALID_PARAMETER,
	    "a kernel's address");
	for (i = 1; i < PAGE_SIZE; i *= 2) {
		BAD(command.share.address += i, STATUS_MAPPED_ALIGNMENT, "address misaligned");
		BAD((call.offset = i, call.out_length -= i, command.share.length -= i),
		    STATUS_MAPPED_ALIGNMENT, "memory misaligned");
	}
	BAD(command.share.cookie = 1, STATUS_OBJECT_NAME_COLLISION, "cookie of a live share");
	BAD(command.share.event = 4, STATUS_INVALID_HANDLE, "event: no such handle");
	BAD(command.share.event = 3, STATUS_INVALID_HANDLE, "event: no handle at all");
	BAD(command.share.event = (kshm_u64)-2, STATUS_OBJECT_TYPE_MISMATCH,
	    "event: pseudo handle");
	i = (uintptr_t)nt_other_handle(&program);
	BAD(command.share.event = i, STATUS_OBJECT_TYPE_MISMATCH, "event: not an event");
	nt_close_handle(&program, (HANDLE)i);
	i = (uintptr_t)nt_event_handle(&program, ~(ACCESS_MASK)EVENT_MODIFY_STATE);
	BAD(command.share.event = i, STATUS_ACCESS_DENIED, "event: may not be set");
	nt_close_handle(&program, (HANDLE)i);
	drv.MinLength = spare->size + 1;
	BAD((void)0, STATUS_INVALID_BUFFER_SIZE, "below the driver's minimum");
	drv.MinLength = 0;
	drv.MaxLength = spare->size - 1;
	BAD((void)0, STATUS_INVALID_BUFFER_SIZE, "beyond the driver's maximum");
	drv.MaxLength = 1 << 20;
	drv_share_status = STATUS_DATA_ERROR;
	BAD((void)0, STATUS_DATA_ERROR, "refused by the driver");
	drv_share_status = STATUS_SUCCESS;
	CHECK(NT_SUCCESS(nt_open(3, FO_SYNCHRONOUS_IO, NULL, &f)));
	good(c, &command, &call);
	refuse(f, &call, STATUS_INVALID_DEVICE_STATE, c->name, "synchronous handle");
	nt_close(f);
#undef BAD
}

/* Memory that the program may not write is refused by the I/O manager, for SHARE alone. */
static void test_access(void)
{
	union command command;
	struct nt_call call;

	good(&codes[1], &command, &call);
	call.memory = constant;
	refuse(file, &call, STATUS_ACCESS_VIOLATION, "SHARE", "memory that cannot be written");
	good(&codes[2], &command, &call);
	call.memory = spare;
	command.share.address = (uintptr_t)spare->user;
	take(file, &call, STATUS_PENDING, "SHARE_READ", "memory that could be written");
}

static void test_limits(void)
{
	struct nt_memory *m[8];
	struct nt_req *req[8] = {0};
	struct kshm_share_args args;
	struct nt_call call;
	struct nt_file *f;
	int i;

	for (i = 0; i < 8; i++)
		m[i] = nt_memory(PAGE_SIZE, true);
	for (i = 0; i < 3; i++) /* with share 1, four: MaxOpenShares */
		CHECK(share_begin(file, m[i], 10 + i, &req[i]) == STATUS_PENDING);
	share_args(&args, &call, m[3], 13);
	refuse(file, &call, STATUS_QUOTA_EXCEEDED, "SHARE", "shares of one open");
	CHECK(NT_SUCCESS(nt_open(3, 0, NULL, &f)));
	for (i = 3; i < 5; i++) /* six: MaxUserShares */
		CHECK(share_begin(f, m[i], 10 + i, &req[i]) == STATUS_PENDING);
	share_args(&args, &call, m[5], 15);
	refuse(f, &call, STATUS_QUOTA_EXCEEDED, "SHARE", "shares of one user");
	program.user = 2;
	CHECK(share_begin(f, m[5], 15, &req[5]) == STATUS_PENDING);
	program.user = 1;
	nt_cancel(req[4]);
	nt_wait(req[4]);
	/* Bytes: pages count whole, and an ended share not at all. */
	drv.MaxUserBytes = nt_locked * PAGE_SIZE - 1;
	share_args(&args, &call, m[6], 16);
	args.length = call.out_length = 1;
	refuse(f, &call, STATUS_QUOTA_EXCEEDED, "SHARE", "bytes of one user");
	drv.MaxUserBytes = nt_locked * PAGE_SIZE;
	take(f, &call, STATUS_PENDING, "SHARE", "the last byte of one user");
	drv.MaxUserBytes = 1 << 20;
	nt_close(f);
	for (i = 0; i < 3; i++)
		nt_cancel(req[i]);
	for (i = 0; i < 6; i++)
		nt_reap(req[i]);
}

/* STOP takes no command, and more than a handle. It is the last that the device does. */
static void test_stop(void)
{
	struct nt_call call = {.code = KSHM_CTL_STOP};
	char in[16] = "", out[8] = "unread";
	ULONG_PTR written = 1;
	kshm_u32 reason;
	struct nt_file *f;
	int access;

	call.in = in;
	for (call.in_length = 1; call.in_length <= sizeof(in); call.in_length++)
		refuse(file, &call, STATUS_INFO_LENGTH_MISMATCH, "STOP", "with an in-buffer");
	call = (struct nt_call){.code = KSHM_CTL_STOP};
	refuse(file, &call, STATUS_PRIVILEGE_NOT_HELD, "STOP", "without the privilege");
	program.load_driver = NT_DISABLED; /* as in an administrator's token, until it asks */
	refuse(file, &call, STATUS_PRIVILEGE_NOT_HELD, "STOP", "with the privilege disabled");
	program.load_driver = NT_ENABLED;
	of_32_bits = true;
	refuse(file, &call, STATUS_NOT_SUPPORTED, "STOP", "program of 32 bits");
	of_32_bits = false;
	for (access = 0; access < 4; access++) {
		CHECK(NT_SUCCESS(nt_open(access, 0, NULL, &f)));
		if (access != 3)
			refuse(f, &call, STATUS_ACCESS_DENIED, "STOP", "wrong access");
		nt_reference(f);
		nt_close(f);
		refuse(f, &call, STATUS_INVALID_HANDLE, "STOP", "closed handle");
		nt_release(f);
	}
	CHECK(call_now(file, KSHM_CTL_STOP, NULL, 0, out, sizeof(out), &written) ==
	      STATUS_SUCCESS);
	CHECK(written == 0 && !strcmp(out, "unread"));
	CHECK(call_done(file, 1, &reason) == STATUS_SUCCESS && reason == KSHM_END_GONE);
	CHECK(nt_open(3, 0, NULL, &f) == STATUS_DELETE_PENDING);
}

static void test_others(void)
{
	struct nt_call call = {.code = 0x222400};
	char in[] = "echo", out[8] = "";
	ULONG_PTR written;
	struct nt_file *f;
	ULONG i;

	CHECK(nt_open(3, 0, L"\\below", &f) == STATUS_OBJECT_NAME_NOT_FOUND);
	CHECK(call_now(file, 0x222400, in, 5, out, 8, &written) == STATUS_SUCCESS);
	CHECK(written == 5 && !memcmp(in, out, 5));
	for (i = 1; i < 4; i++) {
		call.code = 0x222400 | i;
		refuse(file, &call, STATUS_INVALID_DEVICE_REQUEST, "unknown", "direct code");
	}
	drv.Control = NULL;
	call.code = 0x222400;
	refuse(file, &call, STATUS_INVALID_DEVICE_REQUEST, "unknown", "no codes of its own");
	of_32_bits = true;
	refuse(file, &call, STATUS_NOT_SUPPORTED, "unknown", "program of 32 bits");
	of_32_bits = false;
}

/* Ended shares can be asked for; the oldest are forgotten, and a cookie is free again. */
static void test_ended(void)
{
	struct kshm_stats stats;
	struct kshm_wait wait = {0};
	struct nt_req *req = NULL;
	kshm_u32 reason = 0;
	int i;

	for (i = 0; i < 200; i++) {
		CHECK(share_begin(file, spare, 1000 + i, &req) == STATUS_PENDING);
		CHECK(call_done(file, 1000 + i, &reason) == STATUS_SUCCESS);
		CHECK(reason == KSHM_END_DONE && nt_done(req));
		CHECK(req->information == spare->size);
		nt_reap(req);
		CHECK(call_done(file, 1000 + i, &reason) == STATUS_SUCCESS); /* again */
		CHECK(call_kick(file, 1000 + i) == STATUS_FILE_CLOSED);
		CHECK(wait_begin(file, 1000 + i, &wait, &req) == STATUS_FILE_CLOSED);
		nt_reap(req);
		CHECK(call_stats(file, 1000 + i, &stats) == STATUS_SUCCESS);
		CHECK(stats.reason == KSHM_END_DONE && stats.pinned == 0);
		CHECK(call_stats(file, 1000, &stats) ==
		      (i < 4 ? STATUS_SUCCESS : STATUS_NOT_FOUND));
	}
	CHECK(share_begin(file, spare, 1199, &req) == STATUS_PENDING);
	CHECK(call_stats(file, 1199, &stats) == STATUS_SUCCESS && stats.reason == KSHM_LIVE);
	CHECK(stats.pinned == spare->size && stats.length == spare->size);
	CHECK(call_done(file, 1199, &reason) == STATUS_SUCCESS);
	nt_reap(req);
}

/* Live in both directions; the event object is set; the numbers add up. */
static void test_live(void)
{
	HANDLE event = nt_event_handle(&program, EVENT_MODIFY_STATE);
	struct kshm_share_args args;
	struct nt_call call;
	struct kshm_stats stats;
	struct kshm_wait wait = {0};
	struct nt_req *req, *waiting;
	PKEVENT set = nt_event_of(&program, event);
	char *last = spare->user + spare->size - 1;
	kshm_u32 reason;

	share_args(&args, &call, spare, 7);
	args.event = (uintptr_t)event;
	*last = 40;
	CHECK(nt_ioctl(file, &call, &req) == STATUS_PENDING);
	nt_reference_event(set);
	nt_close_handle(&program, event); /* the driver holds its own reference */
	CHECK(*last == 41);
	CHECK(wait_begin(file, 7, &wait, &waiting) == STATUS_PENDING);
	CHECK(call_kick(file, 7) == STATUS_SUCCESS);
	CHECK(nt_wait(waiting) == STATUS_SUCCESS && wait.events >= 1);
	nt_reap(waiting);
	settle();
	CHECK(*last == 44); /* twice in Kick, once in Work */
	CHECK(call_stats(file, 7, &stats) == STATUS_SUCCESS);
	CHECK(stats.kicks == 1 && stats.events == 3 && stats.wakes >= 1);
	CHECK(nt_event_peek(set));
	nt_release_event(set);
	wait.events = 2;
	CHECK(wait_begin(file, 7, &wait, &waiting) == STATUS_SUCCESS && wait.events == 3);
	nt_reap(waiting);
	drv_call(spare, drv_corrupt);
	CHECK(nt_wait(req) == STATUS_DATA_ERROR);
	nt_reap(req);
	CHECK(call_stats(file, 7, &stats) == STATUS_SUCCESS);
	CHECK(stats.reason == KSHM_END_CORRUPT && stats.corrupt_offset == 64 &&
	      stats.corrupt_why == 7);
	CHECK(call_done(file, 7, &reason) == STATUS_SUCCESS && reason == KSHM_END_CORRUPT);
}

/* Who may open the device is set before anybody could, whatever the registry holds. */
static void test_security(void)
{
	static const UCHAR admins[] = {1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0};

	for (nt_registry_kind = 0; nt_registry_kind < 4; nt_registry_kind++) {
		NTSTATUS status = nt_load(DriverEntry);

		rows++;
		if (nt_registry_kind == 3) {
			CHECK(status == STATUS_INVALID_SECURITY_DESCR);
		} else {
			CHECK(status == STATUS_SUCCESS);
			CHECK(nt_descriptor_length == (nt_registry_kind == 2 ? 28 : 72));
			CHECK(nt_registry_kind == 2 ||
			      !memcmp(nt_descriptor + 56, admins, sizeof(admins)));
			nt_unload();
		}
		nt_check_leaks("after an unload");
	}
	nt_registry_kind = 0;
}

void test_codes(void)
{
	size_t i;

	nt_start_processors(2);
	memory = nt_memory(3 * PAGE_SIZE, true);
	spare = nt_memory(2 * PAGE_SIZE, true);
	constant = nt_memory(2 * PAGE_SIZE, false);
	test_security();
	nt_me->proc = &program;
	CHECK(NT_SUCCESS(nt_load(DriverEntry)));
	CHECK(NT_SUCCESS(nt_open(3, 0, NULL, &file)));
	share_one();
	for (i = 0; i < CODES; i++) {
		test_shape(&codes[i]);
		test_taken(&codes[i]);
		test_room(&codes[i]);
		test_handles(&codes[i]);
		if (is_share(&codes[i]))
			test_share(&codes[i]);
	}
	test_access();
	test_limits();
	test_ended();
	test_live();
	test_others();
	test_stop();
	nt_close(file);
	printf("codes: %ld calls\n", rows);
}
