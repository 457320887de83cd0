// SPDX-License-Identifier: MIT
/*
 * recipe.c - driver/samples/mydriver in the shim: its codes, its races, its end in every way.
 *
 * recipe codes | fail | meet SWITCHES STRIDE | storm OPERATIONS THREADS
 */
#include "../nt.h"
#include "../explore.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARE 0x00220006
#define DONE 0x00220008
#define POKE 0x0022000c
#define CHECK(x) ((x) ? (void)0 : nt_bug("test", "%s:%d: %s", __FILE__, __LINE__, #x))

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry);

static struct nt_proc owner = {.pid = (HANDLE)100, .user = 1};
static struct nt_proc other = {.pid = (HANDLE)200, .user = 1};
static struct nt_memory *memory;
static struct nt_file *file;

static NTSTATUS share_at(struct nt_file *f, struct nt_memory *m, ULONG64 offset, ULONG length,
			 struct nt_req **req)
{
	struct nt_call call = {
		.code = SHARE, .memory = m, .offset = offset, .out_length = length};

	return nt_ioctl(f, &call, req);
}

static NTSTATUS call(struct nt_file *f, ULONG code)
{
	struct nt_call c = {.code = code};
	struct nt_req *req = NULL;
	NTSTATUS status = nt_ioctl(f, &c, &req);

	if (!req)
		return status;
	status = nt_wait(req);
	nt_reap(req);
	return status;
}

static bool is_refusal(NTSTATUS status)
{
	return status == STATUS_NOT_FOUND || status == STATUS_INVALID_HANDLE ||
	       status == STATUS_SHARING_VIOLATION || status == STATUS_CANCELLED ||
	       status == STATUS_FILE_CLOSED;
}

static void open_device(void)
{
	CHECK(NT_SUCCESS(nt_load(DriverEntry)));
	CHECK(NT_SUCCESS(nt_open(3, 0, NULL, &file)));
}

static void close_device(void)
{
	nt_close(file);
	nt_unload();
	nt_check_leaks("after the unload");
}

/* Any address, any length, live, and nothing beside it. */
static void test_any_address(void)
{
	static const struct {
		ULONG offset, length;
	} at[] = {{0, 1},    {1, 1},      {4095, 1},  {4095, 2},
		  {7, 4096}, {100, 8197}, {0, 12288}, {12287, 1}};
	struct nt_req *req;
	size_t i, b;

	for (i = 0; i < sizeof(at) / sizeof(*at); i++) {
		req = NULL;
		memset(memory->user, 0, memory->size);
		CHECK(share_at(file, memory, at[i].offset, at[i].length, &req) ==
		      STATUS_PENDING);
		CHECK(!nt_event_peek(nt_named_event()));
		CHECK(call(file, POKE) == STATUS_SUCCESS);
		CHECK(nt_event_peek(nt_named_event()));
		for (b = 0; b < memory->size; b++)
			CHECK(memory->user[b] == (b - at[i].offset < at[i].length));
		CHECK(call(file, DONE) == STATUS_SUCCESS);
		CHECK(nt_done(req) && req->status == STATUS_SUCCESS);
		CHECK(req->information == at[i].length);
		nt_reap(req);
		close_device();
		open_device(); /* with an event that is not set */
	}
}

static void refused(NTSTATUS status, NTSTATUS expected, struct nt_req *req, const char *what)
{
	if (status != expected)
		nt_bug("status", "%s: %#x instead of %#x", what, (unsigned)status,
		       (unsigned)expected);
	if (req)
		nt_reap(req);
}

static void test_refused(void)
{
	struct nt_memory *constant = nt_memory(PAGE_SIZE, false);
	struct nt_req *req = NULL, *second = NULL;
	struct nt_file *f;
	NTSTATUS status;

	refused(call(file, POKE), STATUS_NOT_FOUND, NULL, "POKE without a share");
	refused(call(file, DONE), STATUS_NOT_FOUND, NULL, "DONE without a share");
	refused(call(file, 0x00222000), STATUS_INVALID_DEVICE_REQUEST, NULL, "unknown code");
	status = share_at(file, NULL, 0, 0, &second);
	refused(status, STATUS_INVALID_PARAMETER, second, "no memory");
	status = share_at(file, constant, 0, 1, &second);
	refused(status, STATUS_ACCESS_VIOLATION, second, "memory that cannot be written");
	CHECK(NT_SUCCESS(nt_open(3, FO_SYNCHRONOUS_IO, NULL, &f)));
	status = share_at(f, memory, 0, 1, &second);
	refused(status, STATUS_INVALID_DEVICE_STATE, second, "synchronous handle");
	nt_close(f);
	CHECK(share_at(file, memory, 0, 1, &req) == STATUS_PENDING);
	status = share_at(file, memory, 1, 1, &second);
	refused(status, STATUS_SHARING_VIOLATION, second, "a second share");
	CHECK(NT_SUCCESS(nt_open(3, 0, NULL, &f)));
	refused(call(f, POKE), STATUS_NOT_FOUND, NULL, "POKE by a foreign handle");
	refused(call(f, DONE), STATUS_NOT_FOUND, NULL, "DONE by a foreign handle");
	nt_reference(f);
	nt_close(f);
	refused(call(f, DONE), STATUS_INVALID_HANDLE, NULL, "closed handle");
	nt_release(f);
	CHECK(!nt_done(req));
	nt_cancel(req);
	CHECK(nt_wait(req) == STATUS_CANCELLED);
	nt_reap(req);
}

/* POKE holds a spin lock while it goes over the memory: not over any amount. */
static void test_long(void)
{
	struct nt_memory *large = nt_memory((1 << 20) + PAGE_SIZE, true);
	struct nt_req *req = NULL;
	size_t b;

	CHECK(share_at(file, large, 0, 1 << 20, &req) == STATUS_PENDING);
	CHECK(call(file, POKE) == STATUS_SUCCESS);
	CHECK(large->user[0] == 1 && large->user[(1 << 20) - 1] == 1);
	CHECK(call(file, DONE) == STATUS_SUCCESS);
	nt_reap(req);
	req = NULL;
	memset(large->user, 0, large->size);
	CHECK(share_at(file, large, 0, (1 << 20) + 1, &req) == STATUS_PENDING);
	CHECK(call(file, POKE) == STATUS_INVALID_BUFFER_SIZE);
	for (b = 0; b < large->size; b++)
		CHECK(large->user[b] == 0);
	CHECK(call(file, DONE) == STATUS_SUCCESS);
	nt_reap(req);
}

static void test_codes(void)
{
	open_device();
	test_any_address();
	test_long();
	test_refused();
	close_device();
}

/* A whole life with the nth call that can fail failing. False if it did not come to that. */
static bool live(long nth)
{
	struct nt_req *req = NULL;
	NTSTATUS status;
	bool failed;

	nt_fail_in = nth;
	status = nt_load(DriverEntry);
	if (NT_SUCCESS(status)) {
		CHECK(NT_SUCCESS(nt_open(3, 0, NULL, &file)));
		status = share_at(file, memory, 3, 100, &req);
		CHECK(status == STATUS_PENDING || status == STATUS_INSUFFICIENT_RESOURCES);
		nt_close(file);
		CHECK(nt_done(req));
		nt_reap(req);
		nt_unload();
	}
	failed = nt_fail_in == 0;
	nt_fail_in = 0;
	nt_check_leaks("after a failure");
	return failed;
}

static void test_fail(void)
{
	long n = 1;

	while (live(n))
		n++;
	printf("fail: %ld points\n", n - 1);
	CHECK(n > 5);
}

/* The meetings. */
static struct nt_req *share;
static NTSTATUS share_status;
static bool share_returned, handle_open;
static bool only_share; /* nobody else makes one, which DONE might end */
static bool cancelled;  /* the share will be, whatever else happens */
static int left;

static bool share_issued(void *unused)
{
	(void)unused;
	return share != NULL || share_returned;
}

static bool share_completed(void *unused)
{
	(void)unused;
	return share_returned && (!share || nt_done(share));
}

static void do_done(void)
{
	NTSTATUS status = call(file, DONE);

	CHECK(status == STATUS_SUCCESS || is_refusal(status));
	if (status == STATUS_SUCCESS && only_share && share && !nt_done(share))
		nt_bug("late unlock", "DONE came back before the request had completed");
}

static void do_cancel(void)
{
	sched_block(share_issued, NULL);
	if (share)
		nt_cancel(share);
}

static void do_close(void)
{
	handle_open = false;
	nt_close(file);
}

static void do_exit(void)
{
	nt_process_exit(&owner);
}

static void do_poke(void)
{
	NTSTATUS status = call(file, POKE);

	CHECK(status == STATUS_SUCCESS || is_refusal(status));
}

static void do_again(void)
{
	static struct nt_memory *second;
	struct nt_req *req = NULL;

	if (!second)
		second = nt_memory(PAGE_SIZE, true);
	share_at(file, second, 1, 2, &req);
	if (!req)
		return;
	nt_cancel(req);
	nt_reap(req);
}

struct actor {
	const char *name;
	void (*act)(void);
	struct nt_proc *proc;
};

static const struct actor actors[] = {
	{"done", do_done, &owner},
	{"cancel", do_cancel, &owner},
	{"close", do_close, &owner},
	{"exit", do_exit, &owner},
	{"done by another", do_done, &other},
	{"poke", do_poke, &owner},
	{"share again", do_again, &other},
};
#define ACTORS ((int)(sizeof(actors) / sizeof(*actors)))
#define ENDERS 4

static void make_share(void *unused)
{
	(void)unused;
	share_status = share_at(file, memory, 1, 4096, &share);
	share_returned = true;
	left--;
}

static void act(void *arg)
{
	const struct actor *a = arg;

	a->act();
	left--;
	nt_release(file);
}

static bool actors_gone(void *unused)
{
	(void)unused;
	return left == 0;
}

static void reap(void *unused)
{
	(void)unused;
	sched_block(actors_gone, NULL);
	if (cancelled)
		sched_block(share_completed, NULL); /* by nothing else */
	if (handle_open)
		nt_close(file); /* whatever is left ends here */
	sched_block(share_completed, NULL);
	if (share) {
		share_status = share->status;
		nt_reap(share);
	}
	nt_release(file);
}

static bool files_gone(void *unused)
{
	(void)unused;
	return nt_files == 0;
}

static void unload(void *unused)
{
	(void)unused;
	sched_block(files_gone, NULL);
	nt_unload();
}

static void load(void *live)
{
	CHECK(NT_SUCCESS(nt_load(DriverEntry)));
	nt_me->proc = &owner;
	CHECK(NT_SUCCESS(nt_open(3, 0, NULL, &file)));
	handle_open = true;
	share = NULL;
	share_returned = false;
	left = 1;
	if (live) {
		make_share(NULL);
		CHECK(share_status == STATUS_PENDING);
	}
}

struct pair {
	const struct actor *a, *b;
	bool live;
};

static void meet(void *arg, const struct sched_switch *plan, int switches,
		 struct sched_trace *trace)
{
	const struct pair *p = arg;

	cancelled = p->a->act == do_cancel || p->b->act == do_cancel;
	only_share = p->a->act != do_again && p->b->act != do_again;
	sched_plan(NULL, 0, NULL);
	sched_do(load, p->live ? &owner : NULL);
	left = p->live ? 2 : 3;
	nt_reference(file);
	nt_reference(file);
	nt_reference(file);
	sched_spawn("unload", &nt_system, unload, NULL);
	sched_spawn("reap", &owner, reap, NULL);
	sched_spawn(p->b->name, p->b->proc, act, (void *)p->b);
	sched_spawn(p->a->name, p->a->proc, act, (void *)p->a);
	if (!p->live)
		sched_spawn("share", &owner, make_share, NULL);
	trace->steps = 0;
	sched_plan(plan, switches, trace);
	sched_run(true);
	sched_plan(plan, switches, NULL);
	CHECK(NT_SUCCESS(share_status) || is_refusal(share_status) ||
	      share_status == STATUS_PROCESS_IS_TERMINATING);
	nt_check_leaks("after the run");
}

/* A program that exits has no thread left that could share, and one handle is closed once. */
static bool can_meet(const struct pair *p)
{
	if (p->a->act == do_close && p->b->act == do_close)
		return false;
	return p->live || (p->a->act != do_exit && p->b->act != do_exit);
}

static void test_meet(int switches, int stride)
{
	long runs = 0;
	int i, j, live;

	sched_init();
	for (i = 0; i < ENDERS; i++)
		for (j = i; j < ACTORS; j++)
			for (live = 0; live < 2; live++) {
				struct pair p = {&actors[i], &actors[j], live};

				if (can_meet(&p))
					runs += explore(meet, &p, switches, stride);
			}
	printf("meet: %ld runs\n", runs);
}

/* The storm: threads share, poke, finish, cancel, close and exit, each with its own handle. */
#define THREADS 16
static _Atomic long shares, ends;

struct part {
	pthread_t thread;
	struct nt_cpu cpu;
	struct nt_proc proc;
	struct nt_memory *memory;
	long operations;
};

/* A share may be ended by anybody before, while and after it is waited for. */
static void one(struct part *p, struct nt_file *f)
{
	ULONG offset = (ULONG)(nt_random() % PAGE_SIZE);
	struct nt_req *req = NULL;
	NTSTATUS status = share_at(f, p->memory, offset, 1 + PAGE_SIZE - offset, &req);

	if (status == STATUS_PENDING) {
		shares++;
		if (nt_random() % 2)
			call(f, POKE);
		switch (nt_random() % 4) {
		case 0:
			call(f, DONE);
			break;
		case 1:
			nt_process_exit(&p->proc);
			break;
		default:
			nt_cancel(req);
		}
		ends++;
	}
	nt_reap(req);
}

static void *thread_main(void *arg)
{
	struct part *p = arg;
	struct nt_file *f;

	nt_me = &p->cpu;
	while (p->operations > 0) {
		CHECK(NT_SUCCESS(nt_open(3, 0, NULL, &f)));
		do
			one(p, f);
		while (--p->operations > 0 && nt_random() % 8);
		nt_close(f);
	}
	return NULL;
}

static void test_storm(long operations, int threads)
{
	static struct part parts[THREADS];
	int i;

	CHECK(threads > 0 && threads <= THREADS);
	CHECK(NT_SUCCESS(nt_load(DriverEntry)));
	for (i = 0; i < threads; i++) {
		struct part *p = &parts[i];

		p->proc = (struct nt_proc){.pid = (HANDLE)(ULONG_PTR)(300 + 4 * i), .user = i};
		p->memory = nt_memory(2 * PAGE_SIZE, true);
		p->operations = operations / threads;
		nt_cpu_init(&p->cpu, "thread", &p->proc);
	}
	for (i = 0; i < threads; i++)
		pthread_create(&parts[i].thread, NULL, thread_main, &parts[i]);
	for (i = 0; i < threads; i++)
		pthread_join(parts[i].thread, NULL);
	nt_unload();
	nt_check_leaks("after the storm");
	printf("storm: %ld operations, %ld shares\n", operations, (long)shares);
	CHECK(shares > operations / 100 && shares == ends);
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	nt_bug(nt_memory_at(info->si_addr) ? "touch after stop" : "fault", "at %p",
	       info->si_addr);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	static struct nt_cpu cpu;

	nt_cpu_init(&cpu, "test", &owner);
	nt_me = &cpu;
	sigaction(SIGSEGV, &action, NULL);
	memory = nt_memory(3 * PAGE_SIZE, true);
	if (argc == 2 && !strcmp(argv[1], "codes"))
		test_codes();
	else if (argc == 2 && !strcmp(argv[1], "fail"))
		test_fail();
	else if (argc == 4 && !strcmp(argv[1], "meet"))
		test_meet(atoi(argv[2]), atoi(argv[3]));
	else if (argc == 4 && !strcmp(argv[1], "storm"))
		test_storm(atol(argv[2]), atoi(argv[3]));
	else
		return fprintf(stderr, "usage: recipe codes | fail | meet SWITCHES STRIDE | "
				       "storm OPERATIONS THREADS\n"),
		       2;
	return 0;
}
