// SPDX-License-Identifier: MIT
/*
 * storm.c - many threads do anything at any time, in rounds from loading to unloading.
 */
#include "tests.h"
#include <stdio.h>
#include <stdlib.h>

#define FILES 4
#define PROCS 3
#define SHARES 12
#define ROUNDS 20
#define THREADS 16

/* A program: its threads hold the lock for reading, its end for writing. */
static struct program {
	struct nt_proc proc;
	pthread_rwlock_t alive;
} programs[PROCS];

static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;
static struct nt_file *files[FILES];

/* A share, from the claim of its memory to the reaping of its request. */
static struct slot {
	pthread_mutex_t lock;
	struct nt_memory *memory;
	struct nt_req *req;
	bool claimed;
} slots[SHARES];

static _Atomic long shares, refused, ends;
static int last_pid = 100;
static _Atomic bool stop_allowed;

static HANDLE new_pid(void)
{
	return (HANDLE)(uintptr_t)__atomic_add_fetch(&last_pid, 4, __ATOMIC_RELAXED);
}

static struct nt_file *borrow(unsigned i)
{
	struct nt_file *file;

	pthread_mutex_lock(&files_lock);
	file = files[i % FILES];
	if (file)
		nt_reference(file);
	pthread_mutex_unlock(&files_lock);
	return file;
}

static struct nt_file *swap_file(unsigned i, struct nt_file *file)
{
	struct nt_file *old;

	pthread_mutex_lock(&files_lock);
	old = files[i % FILES];
	files[i % FILES] = file;
	pthread_mutex_unlock(&files_lock);
	return old;
}

static void op_open(unsigned i)
{
	struct nt_file *file, *old;

	if (!NT_SUCCESS(nt_open(3, 0, NULL, &file)))
		return;
	if (nt_random() % 4 == 0)
		nt_duplicate(file), nt_close(file);
	old = swap_file(i, file);
	if (old)
		nt_close(old);
}

static void op_close(unsigned i)
{
	struct nt_file *old = swap_file(i, NULL);

	if (old)
		nt_close(old);
}

static void reap_slot(struct slot *s)
{
	if (!s->req || !nt_done(s->req))
		return;
	nt_reap(s->req);
	s->req = NULL;
	s->claimed = false;
	ends++;
}

static void op_share(unsigned i, struct nt_file *file)
{
	struct slot *s = &slots[nt_random() % SHARES];
	struct nt_req *req = NULL;
	bool mine;

	pthread_mutex_lock(&s->lock);
	reap_slot(s);
	mine = !s->claimed;
	s->claimed = true;
	pthread_mutex_unlock(&s->lock);
	if (!mine)
		return;
	if (share_begin(file, s->memory, i % 4, &req) == STATUS_PENDING)
		shares++;
	else if (req)
		refused++;
	pthread_mutex_lock(&s->lock);
	s->req = req;
	s->claimed = req != NULL;
	pthread_mutex_unlock(&s->lock);
}

static void op_cancel(unsigned i)
{
	struct slot *s = &slots[i % SHARES];

	pthread_mutex_lock(&s->lock);
	if (s->req)
		nt_cancel(s->req);
	reap_slot(s);
	pthread_mutex_unlock(&s->lock);
}

/* A wait that is given up, answered, or ended with its share. */
static void op_wait(unsigned i, struct nt_file *file)
{
	struct kshm_wait wait = {.events = nt_random() % 3};
	struct nt_req *req = NULL;

	if (wait_begin(file, i % 4, &wait, &req) == STATUS_PENDING) {
		if (nt_random() % 2)
			drv_call(slots[i % SHARES].memory, KshmNotify);
		nt_cancel(req);
	}
	if (req)
		nt_reap(req);
}

static void op_driver(unsigned i)
{
	static VOID (*const calls[])(PKSHM_SHARE) = {
		KshmNotify,          drv_notify_from_isr, KshmQueue,  KshmNotify,
		drv_notify_from_isr, KshmQueue,           KshmRevoke, drv_corrupt,
	};
	struct nt_proc *was = nt_me->proc;

	nt_me->proc = &nt_system;
	drv_call(slots[i % SHARES].memory, calls[nt_random() % 8]);
	nt_me->proc = was;
}

static void op_control(unsigned i, struct nt_file *file)
{
	struct kshm_info info = {.size = sizeof(info)};
	struct kshm_stats stats;
	kshm_u32 reason;

	switch (nt_random() % 8) {
	case 0:
		call_now(file, KSHM_CTL_INFO, &info, sizeof(info), &info, sizeof(info), NULL);
		break;
	case 1:
		call_stats(file, i % 4, &stats);
		break;
	case 2:
		if (stop_allowed)
			call_now(file, KSHM_CTL_STOP, NULL, 0, NULL, 0, NULL);
		break;
	case 3:
	case 4:
		call_done(file, i % 4, &reason);
		break;
	case 5:
		op_wait(i, file);
		break;
	default:
		call_kick(file, i % 4);
	}
}

/* The end of a program waits for its threads, then for nothing. */
static void op_exit(struct program *p)
{
	if (pthread_rwlock_trywrlock(&p->alive))
		return;
	nt_process_exit(&p->proc);
	p->proc.pid = new_pid();
	pthread_rwlock_unlock(&p->alive);
}

static void one(void)
{
	uint64_t dice = nt_random();
	unsigned i = (unsigned)(dice >> 32);
	struct program *p = &programs[i % PROCS];
	struct nt_file *file;

	if (dice % 64 == 0) {
		op_exit(p);
		return;
	}
	pthread_rwlock_rdlock(&p->alive);
	nt_me->proc = &p->proc;
	if (dice % 16 == 1) {
		dice % 64 < 24 ? op_close(i) : op_open(i);
	} else if (dice % 8 == 2) {
		op_cancel(i);
	} else if (dice % 8 == 3) {
		op_driver(i);
	} else if ((file = borrow(i)) != NULL) {
		dice % 4 == 0 ? op_share(i, file) : op_control(i, file);
		nt_release(file);
	} else {
		op_open(i);
	}
	nt_me->proc = &nt_system;
	pthread_rwlock_unlock(&p->alive);
}

struct part {
	pthread_t thread;
	struct nt_cpu cpu;
	long operations;
};

static void *thread_main(void *arg)
{
	struct part *part = arg;

	nt_me = &part->cpu;
	while (part->operations-- > 0)
		one();
	return NULL;
}

static void clear(void)
{
	int i;

	for (i = 0; i < FILES; i++)
		op_close(i);
	for (i = 0; i < SHARES; i++) {
		if (slots[i].req)
			nt_wait(slots[i].req); /* a hang is a bug of its own name */
		reap_slot(&slots[i]);
	}
	CHECK(nt_files == 0);
	nt_unload();
	settle();
	nt_check_leaks("after a round");
}

static void round_of(long operations, int threads)
{
	static struct part parts[THREADS];
	int i;

	CHECK(NT_SUCCESS(nt_load(DriverEntry)));
	for (i = 0; i < threads; i++) {
		nt_cpu_init(&parts[i].cpu, "thread", &nt_system);
		parts[i].operations = operations / threads;
		pthread_create(&parts[i].thread, NULL, thread_main, &parts[i]);
	}
	for (i = 0; i < threads; i++)
		pthread_join(parts[i].thread, NULL);
	clear();
}

void test_storm(long operations, int threads)
{
	int i;

	CHECK(threads > 0 && threads <= THREADS);
	nt_start_processors(3);
	drv.MaxUserShares = SHARES;
	for (i = 0; i < PROCS; i++) {
		programs[i].proc = (struct nt_proc){
			.pid = new_pid(), .user = i, .load_driver = NT_ENABLED};
		pthread_rwlock_init(&programs[i].alive, NULL);
	}
	for (i = 0; i < SHARES; i++) {
		pthread_mutex_init(&slots[i].lock, NULL);
		slots[i].memory = nt_memory(PAGE_SIZE, i % 4 != 0);
	}
	for (i = 0; i < ROUNDS; i++) {
		round_of(operations / ROUNDS * 49 / 50, threads);
		stop_allowed = true;
		round_of(operations / ROUNDS / 50, threads);
		stop_allowed = false;
	}
	printf("storm: %ld operations, %ld shares, %ld ends, %ld refused\n", operations,
	       (long)shares, (long)ends, (long)refused);
	CHECK(shares + refused == ends);
	CHECK(shares > operations / 100);
}
