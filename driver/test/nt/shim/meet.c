// SPDX-License-Identifier: MIT
/*
 * meet.c - whatever can end a share meets whatever can happen to it, at every pair of marked
 * points. Each run loads the driver, makes a share, lets two actors and the work items loose
 * under one plan of hand-overs, unloads the driver and looks for what was left behind.
 */
#include "tests.h"
#include "explore.h"
#include <stdio.h>
#include <string.h>

static struct nt_proc owner = {.pid = (HANDLE)100, .user = 1, .load_driver = NT_ENABLED};
static struct nt_proc other = {.pid = (HANDLE)200, .user = 1};
static struct nt_memory *memory;
static struct nt_file *file;
static struct nt_req *share; /* once it has been issued */
static NTSTATUS share_status;
static bool share_returned, handle_open;
static int left; /* actors that have not finished */

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

static bool share_over(void)
{
	return !share || nt_done(share);
}

/* The actors. */
static void do_done(void)
{
	kshm_u32 reason = 99;
	NTSTATUS status = call_done(file, 1, &reason);

	CHECK(status == STATUS_SUCCESS || status == STATUS_NOT_FOUND ||
	      status == STATUS_INVALID_HANDLE);
	if (status != STATUS_SUCCESS)
		return;
	if (!share_over())
		nt_bug("late unlock", "DONE came back before the request had completed");
	CHECK(share->status == status_of(reason));
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
	if (share_returned && !share_over())
		nt_bug("late unlock", "CLEANUP came back before the request had completed");
}

static void do_exit(void)
{
	nt_process_exit(&owner);
}

static void do_revoke(void)
{
	drv_call(memory, KshmRevoke);
}

static void do_corrupt(void)
{
	drv_call(memory, drv_corrupt);
}

static void do_stop(void)
{
	NTSTATUS status = call_now(file, KSHM_CTL_STOP, NULL, 0, NULL, 0, NULL);

	CHECK(status == STATUS_SUCCESS || status == STATUS_INVALID_HANDLE);
	if (status == STATUS_SUCCESS && share_returned && !share_over())
		nt_bug("late unlock", "STOP came back before the request had completed");
}

static void do_kick(void)
{
	NTSTATUS status = call_kick(file, 1);

	CHECK(status == STATUS_SUCCESS || status == STATUS_FILE_CLOSED ||
	      status == STATUS_NOT_FOUND || status == STATUS_INVALID_HANDLE);
}

static void do_wait(void)
{
	struct kshm_wait wait = {.events = ~0ull}; /* only the end can answer it */
	struct nt_req *req = NULL;
	NTSTATUS status = wait_begin(file, 1, &wait, &req);

	if (!req)
		return;
	if (status == STATUS_PENDING)
		status = nt_wait(req);
	CHECK(status == STATUS_FILE_CLOSED || status == STATUS_NOT_FOUND);
	nt_reap(req);
}

static void do_give_up(void)
{
	struct kshm_wait wait = {.events = 1};
	struct nt_req *req = NULL;
	NTSTATUS status = wait_begin(file, 1, &wait, &req);

	if (!req)
		return;
	nt_cancel(req);
	status = nt_wait(req);
	CHECK(status == STATUS_CANCELLED || status == STATUS_FILE_CLOSED ||
	      status == STATUS_NOT_FOUND);
	nt_reap(req);
}

/* A wait and the only event that will come: it must not be lost. */
static struct kshm_wait one;

static void do_event(void)
{
	struct nt_req *req = NULL;
	NTSTATUS status;

	one.events = 0;
	status = wait_begin(file, 1, &one, &req);
	if (!req)
		return;
	drv_call(memory, KshmNotify);
	status = nt_wait(req);
	CHECK(status == STATUS_SUCCESS || status == STATUS_FILE_CLOSED ||
	      status == STATUS_NOT_FOUND);
	CHECK(status != STATUS_SUCCESS || one.events == 1);
	nt_reap(req);
}

/* The only event there will be comes at any time: before, while or after it is waited for. */
static void do_wait_done(void)
{
	struct nt_req *req = NULL;

	one.events = 0;
	CHECK(NT_SUCCESS(wait_begin(file, 1, &one, &req)));
	CHECK(nt_wait(req) == STATUS_SUCCESS && one.events >= 1);
	nt_reap(req);
	do_done();
}

static void do_notify(void)
{
	drv_call(memory, KshmNotify);
}

static void do_isr(void)
{
	drv_call(memory, drv_notify_from_isr);
}

static void do_work(void)
{
	drv_call(memory, KshmQueue);
}

static void do_use(void)
{
	struct drv_share *d = drv_enter(memory);

	if (d)
		drv_leave(d);
}

static void do_stats(void)
{
	struct kshm_stats stats;
	NTSTATUS status = call_stats(file, 1, &stats);

	CHECK(status == STATUS_SUCCESS || status == STATUS_NOT_FOUND ||
	      status == STATUS_INVALID_HANDLE);
}

static void do_again(void)
{
	static struct nt_memory *second;
	struct nt_req *req = NULL;
	NTSTATUS status;

	if (!second)
		second = nt_memory(PAGE_SIZE, true);
	status = share_begin(file, second, 2, &req);
	if (!req)
		return;
	if (status == STATUS_PENDING)
		nt_cancel(req);
	nt_reap(req);
}

struct actor {
	const char *name;
	void (*act)(void);
	struct nt_proc *proc;
	int reason; /* of the end it brings; 0: none */
};

static const struct actor actors[] = {
	{"done", do_done, &owner, KSHM_END_DONE},
	{"cancel", do_cancel, &owner, KSHM_END_CANCELLED},
	{"close", do_close, &owner, KSHM_END_CLOSED},
	{"exit", do_exit, &owner, KSHM_END_EXIT},
	{"revoke", do_revoke, &nt_system, KSHM_END_REVOKED},
	{"corrupt", do_corrupt, &nt_system, KSHM_END_CORRUPT},
	{"stop", do_stop, &owner, KSHM_END_GONE},
	/* From here on: they end nothing. */
	{"done by another", do_done, &other, KSHM_END_DONE},
	{"kick", do_kick, &owner, 0},
	{"wait", do_wait, &owner, 0},
	{"wait, give up", do_give_up, &owner, 0},
	{"wait, event", do_event, &owner, 0},
	{"notify", do_notify, &nt_system, 0},
	{"notify from an ISR", do_isr, &nt_system, 0},
	{"work", do_work, &nt_system, 0},
	{"use", do_use, &nt_system, 0},
	{"stats", do_stats, &owner, 0},
	{"share again", do_again, &owner, 0},
};
#define ACTORS ((int)(sizeof(actors) / sizeof(*actors)))
#define ENDERS 7

static const struct actor waiter = {"wait, then done", do_wait_done, &owner, KSHM_END_DONE};

static void make_share(void *unused)
{
	(void)unused;
	share_status = share_begin(file, memory, 1, &share);
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

static bool files_gone(void *unused)
{
	(void)unused;
	return nt_files == 0;
}

/* Takes the completion, and closes what is open: the file may vanish under the kit's feet. */
static void reap(void *unused)
{
	(void)unused;
	sched_block(share_completed, NULL);
	if (share)
		share_status = share->status;
	sched_block(actors_gone, NULL);
	if (share)
		nt_reap(share);
	if (handle_open)
		nt_close(file);
	nt_release(file);
}

static void unload(void *unused)
{
	(void)unused;
	sched_block(files_gone, NULL);
	nt_unload();
}

static void load(void *live)
{
	struct nt_file *f;

	CHECK(NT_SUCCESS(nt_load(DriverEntry)));
	nt_me->proc = &owner;
	CHECK(NT_SUCCESS(nt_open(3, 0, NULL, &f)));
	file = f;
	handle_open = true;
	share = NULL;
	share_returned = false;
	left = 1;
	if (live) {
		make_share(NULL);
		CHECK(share_status == STATUS_PENDING);
	}
}

/* The share ended, once, for the reason of one of the two. */
static void check_end(const struct actor *a, const struct actor *b, bool live)
{
	if (share_status == status_of((enum kshm_reason)a->reason) ||
	    (b->reason && share_status == status_of((enum kshm_reason)b->reason)))
		return;
	if (!live &&
	    (share_status == STATUS_INVALID_HANDLE || share_status == STATUS_FILE_CLOSED ||
	     share_status == STATUS_DELETE_PENDING))
		return;
	nt_bug("reason", "%s meets %s: %#x", a->name, b->name, (unsigned)share_status);
}

/* Live: the share exists before. Else it is made meanwhile, and cancelled if nobody ends it. */
static void meet(const struct actor *a, const struct actor *b, bool live,
		 const struct sched_switch *plan, int switches, struct sched_trace *trace)
{
	sched_plan(NULL, 0, NULL);
	sched_do(load, live ? &owner : NULL);
	left = live ? 2 : 3;
	nt_reference(file);
	nt_reference(file);
	nt_reference(file);
	sched_spawn("unload", &nt_system, unload, NULL);
	sched_spawn("reap", &owner, reap, NULL);
	sched_spawn(b->name, b->proc, act, (void *)b);
	sched_spawn(a->name, a->proc, act, (void *)a);
	if (!live)
		sched_spawn("share", &owner, make_share, NULL);
	trace->steps = 0;
	sched_plan(plan, switches, trace);
	sched_run(true);
	sched_plan(plan, switches, NULL);
	check_end(a, b, live);
	nt_check_leaks("after the run");
}

struct pair {
	const struct actor *a, *b;
	bool live;
};

static void meet_once(void *arg, const struct sched_switch *plan, int switches,
		      struct sched_trace *trace)
{
	const struct pair *p = arg;

	meet(p->a, p->b, p->live, plan, switches, trace);
}

static long meet_all(const struct actor *a, const struct actor *b, bool live, int switches,
		     int stride)
{
	struct pair p = {a, b, live};

	return explore(meet_once, &p, switches, stride);
}

static const char *only_actor; /* if set, one of the two */

/* There is one handle; and a program that exits has no thread left that could share. */
static bool can_meet(const struct actor *a, const struct actor *b, bool live)
{
	if (only_actor && strcmp(only_actor, a->name) && strcmp(only_actor, b->name))
		return false;
	if (a->act == do_close && b->act == do_close)
		return false;
	if (a->act == do_exit || b->act == do_exit)
		return live && a->act != do_again && b->act != do_again;
	return true;
}

/* Every pair; and while the share is being made and cancelled, every other. */
void test_meet(int switches, int stride, const char *only)
{
	const struct actor *cancel = &actors[1];
	long runs = 0;
	int i, j;

	only_actor = only;
	sched_init();
	memory = nt_memory(2 * PAGE_SIZE, true);
	for (j = 0; j < ACTORS; j++)
		if ((actors[j].act == do_notify || actors[j].act == do_isr) &&
		    can_meet(&waiter, &actors[j], true))
			runs += meet_all(&waiter, &actors[j], true, switches, stride);
	for (j = 0; j < ACTORS; j++)
		if (can_meet(cancel, &actors[j], false))
			runs += meet_all(cancel, &actors[j], false, switches, stride);
	for (i = 0; i < ENDERS; i++)
		for (j = i; j < ACTORS; j++)
			if (can_meet(&actors[i], &actors[j], true))
				runs += meet_all(&actors[i], &actors[j], true, switches,
						 stride);
	printf("meet: %ld runs\n", runs);
}
