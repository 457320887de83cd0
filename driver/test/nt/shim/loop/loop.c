// SPDX-License-Identifier: MIT
/*
 * loop.c - driver/samples/loop in the shim: echo, sources on several processors, refusals, ends
 * in the midst of it.
 *
 * loop sources RECORDS
 */
#include "../tests.h"
#include "../../../../samples/loop/loop.h"
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY KSHM_RING_MIN_CAPACITY
#define STRIDE KSHM_RING_STRIDE(CAPACITY)
#define CALLERS 4

static struct nt_proc program = {.pid = (HANDLE)100, .user = 1};
static struct nt_file *file;
static struct nt_memory *memory;
static long rows;

/* A ring to the kernel, its way back, and one for sources; or two in, and one way back. */
static struct kshm_ring_group table[KSHM_RING_GROUPS];
enum { IN, BACK, MADE, RINGS, ADDED = BACK };

static void share(int from_user, struct nt_req **req)
{
	struct kshm_share_args args;
	struct nt_call call;
	int i;

	for (i = 0; i < RINGS; i++)
		table[i] = (struct kshm_ring_group){
			.offset = i * STRIDE,
			.capacity = CAPACITY,
			.count = 1,
			.flags = i < from_user ? 0 : KSHM_RING_TO_USER,
		};
	share_args(&args, &call, memory, 1);
	memcpy(args.rings, table, sizeof(args.rings));
	*req = NULL;
	CHECK(nt_ioctl(file, &call, req) == STATUS_PENDING);
}

static void done(struct nt_req *req, enum kshm_reason expected)
{
	kshm_u32 reason = KSHM_LIVE;

	CHECK(call_done(file, 1, &reason) == STATUS_SUCCESS && reason == expected);
	CHECK(nt_wait(req) == status_of(expected));
	nt_reap(req);
	settle();
}

static NTSTATUS produce(const struct loop_produce *what, struct loop_result *result)
{
	ULONG_PTR written = 0;
	NTSTATUS status;

	memset(result, 0, sizeof(*result));
	status = call_now(file, LOOP_CTL_PRODUCE, what, sizeof(*what), result, sizeof(*result),
			  &written);
	CHECK(written == (status == STATUS_SUCCESS ? sizeof(*result) : 0));
	return status;
}

static const struct loop_produce good = {
	.cookie = 1, .records = 10, .ring = 1, .size = 64, .batch = 4};

/* The program's records come back whole and in order. */
static void test_echo(long records)
{
	struct kshm_producer to;
	struct kshm_consumer from;
	const kshm_u64 *got;
	struct nt_req *req;
	long sent = 0, come = 0;
	kshm_u32 length, k;
	kshm_u64 *rec;

	share(1, &req);
	kshm_producer_init(&to, memory->user, &table[IN], 0);
	kshm_consumer_init(&from, memory->user, &table[BACK], 0);
	while (come < records) {
		length = 8 * (1 + sent % 60);
		while (sent < records && (rec = kshm_producer_reserve(&to, length)) != NULL) {
			for (k = 0; k < length / 8; k++)
				rec[k] = sent;
			CHECK(kshm_producer_commit(&to, length) == 0);
			length = 8 * (1 + ++sent % 60);
		}
		if (kshm_producer_flush(&to))
			CHECK(call_kick(file, 1) == STATUS_SUCCESS);
		while ((got = kshm_consumer_next(&from, &length)) != NULL) {
			CHECK(length == 8 * (1 + come % 60));
			for (k = 0; k < length / 8; k++)
				CHECK(got[k] == (kshm_u64)come);
			come++;
			if (kshm_consumer_release(&from))
				CHECK(call_kick(file, 1) == STATUS_SUCCESS);
		}
		if (kshm_consumer_flush(&from))
			CHECK(call_kick(file, 1) == STATUS_SUCCESS);
		CHECK(to.ring.corrupt_why == 0 && from.ring.corrupt_why == 0);
		sched_yield();
	}
	done(req, KSHM_END_DONE);
	rows++;
}

/* A ring without a way back is added up. */
static void test_sum(void)
{
	struct loop_counts counts = {0};
	struct kshm_producer to;
	struct nt_req *req;
	kshm_u64 i, cookie = 1, sum = 0, *rec;

	share(2, &req);
	kshm_producer_init(&to, memory->user, &table[ADDED], 0);
	for (i = 1; i <= 20; i++) {
		rec = kshm_producer_reserve(&to, 16);
		CHECK(rec != NULL);
		rec[0] = i;
		rec[1] = 1000;
		sum += i + 1000;
		kshm_producer_commit(&to, 16);
	}
	kshm_producer_flush(&to);
	CHECK(call_kick(file, 1) == STATUS_SUCCESS);
	settle();
	CHECK(call_now(file, LOOP_CTL_COUNTS, &cookie, sizeof(cookie), &counts, sizeof(counts),
		       NULL) == STATUS_SUCCESS);
	CHECK(counts.records == 20 && counts.sum == sum && counts.drops == 0);
	done(req, KSHM_END_DONE);
	rows++;
}

static void test_refusals(void)
{
	struct loop_produce what;
	struct loop_result result;
	struct nt_req *req;
	kshm_u64 cookie = 2;

	share(1, &req);
#define BAD(change, expected)                                                                  \
	do {                                                                                   \
		what = good;                                                                   \
		change;                                                                        \
		CHECK(produce(&what, &result) == (expected));                                  \
		rows++;                                                                        \
	} while (0)
	BAD(what.cookie = 2, STATUS_NOT_FOUND);
	BAD(what.ring = 0, STATUS_NOT_FOUND); /* is a way back */
	BAD(what.ring = 2, STATUS_NOT_FOUND);
	BAD(what.ring = ~0u, STATUS_NOT_FOUND);
	BAD(what.size = 0, STATUS_INVALID_PARAMETER);
	BAD(what.size = 16, STATUS_INVALID_PARAMETER);
	BAD(what.size = 65, STATUS_INVALID_PARAMETER);
	BAD(what.size = CAPACITY / 2, STATUS_INVALID_PARAMETER);
	BAD(what.size = ~7u, STATUS_INVALID_PARAMETER);
	BAD(what.batch = 0, STATUS_INVALID_PARAMETER);
	BAD(what.batch = LOOP_MAX_BATCH + 1, STATUS_INVALID_PARAMETER);
	BAD(what.source = LOOP_NESTED, STATUS_INVALID_PARAMETER);
	BAD(what.flags = 2, STATUS_INVALID_PARAMETER);
	BAD((what.flags = LOOP_WAIT, what.context = LOOP_SOFTIRQ), STATUS_INVALID_PARAMETER);
	BAD(what.context = LOOP_HARDIRQ, STATUS_NOT_SUPPORTED);
	BAD(what.context = LOOP_NMI, STATUS_NOT_SUPPORTED);
	BAD(what.context = ~0u, STATUS_NOT_SUPPORTED);
#undef BAD
	CHECK(call_now(file, LOOP_CTL_PRODUCE, &good, sizeof(good) - 1, &result, sizeof(result),
		       NULL) == STATUS_INFO_LENGTH_MISMATCH);
	CHECK(call_now(file, LOOP_CTL_PRODUCE, &good, sizeof(good), &result, sizeof(result) - 1,
		       NULL) == STATUS_BUFFER_TOO_SMALL);
	CHECK(call_now(file, LOOP_CTL_COUNTS, &cookie, 8, &result, sizeof(result), NULL) ==
	      STATUS_NOT_FOUND);
	CHECK(call_now(file, LOOP_CTL(3), &good, sizeof(good), &result, sizeof(result), NULL) ==
	      STATUS_INVALID_DEVICE_REQUEST);
	rows += 4;
	done(req, KSHM_END_DONE);
}

/* Callers on processors of their own. */
struct caller {
	struct nt_cpu cpu;
	pthread_t thread;
	struct loop_produce what;
	struct loop_result result;
	NTSTATUS status;
	_Atomic bool over;
};
static struct caller callers[CALLERS];

static void *caller_main(void *arg)
{
	struct caller *c = arg;

	nt_me = &c->cpu;
	c->status = produce(&c->what, &c->result);
	c->over = true;
	return NULL;
}

static void start(int n, const struct loop_produce *what)
{
	struct caller *c = &callers[n];

	c->what = *what;
	c->what.source = n;
	c->over = false;
	nt_cpu_init(&c->cpu, "caller", &program);
	pthread_create(&c->thread, NULL, caller_main, c);
}

struct seen {
	kshm_u64 next[CALLERS], records[CALLERS], latest;
};

/* Takes what is there; each source's records in order, whole, at times that never fall. */
static void look(struct kshm_consumer *c, ULONG size, struct seen *seen)
{
	const struct loop_record *rec;
	kshm_u32 length, k;

	while ((rec = kshm_consumer_next(c, &length)) != NULL) {
		CHECK(length == size && rec->source < CALLERS);
		CHECK(rec->ns >= seen->latest && rec->ns > 0);
		CHECK(rec->sequence >= seen->next[rec->source]);
		for (k = 0; k < (size - sizeof(*rec)) / 8; k++)
			CHECK(((const kshm_u64 *)(rec + 1))[k] == rec->sequence);
		seen->latest = rec->ns;
		seen->next[rec->source] = rec->sequence + 1;
		seen->records[rec->source]++;
		kshm_consumer_release(c);
	}
	kshm_consumer_flush(c);
	CHECK(c->ring.corrupt_why == 0);
}

/* All callers into one ring: nothing is lost that is not counted, and nothing if they wait. */
static void test_sources(const struct loop_produce *what)
{
	struct kshm_consumer from;
	struct seen seen = {0};
	struct nt_req *req;
	kshm_u64 all = 0;
	int i, over;

	share(1, &req);
	kshm_consumer_init(&from, memory->user, &table[MADE], 0);
	for (i = 0; i < CALLERS; i++)
		start(i, what);
	do {
		for (over = i = 0; i < CALLERS; i++)
			over += callers[i].over;
		look(&from, what->size, &seen);
		sched_yield();
	} while (over < CALLERS);
	for (i = 0; i < CALLERS; i++) {
		struct loop_result *r = &callers[i].result;

		pthread_join(callers[i].thread, NULL);
		CHECK(callers[i].status == STATUS_SUCCESS && r->ns > 0);
		CHECK(r->produced == seen.records[i]);
		CHECK(r->produced + r->dropped <= what->records);
		CHECK(r->produced + r->dropped == what->records ||
		      r->ns >= LOOP_SECONDS * 1000000000ull); /* a slow machine */
		CHECK(r->dropped == 0 || !(what->flags & LOOP_WAIT));
		CHECK(r->nested == 0 && r->nested_dropped == 0);
		all += r->produced;
	}
	CHECK(all > 0);
	done(req, KSHM_END_DONE);
	rows++;
}

/*
 * The share ends under sources that wait for space, or drop: they give up, and
 * its end waits for them.
 */
static void test_end(ULONG context, bool corrupt)
{
	struct kshm_ring_control *control = (void *)(memory->user + MADE * STRIDE);
	struct loop_produce what = good;
	struct nt_req *req;
	int i;

	what.context = context;
	what.flags = context == LOOP_TASK ? LOOP_WAIT : 0;
	what.records = 1ull << 40;
	share(1, &req);
	for (i = 0; i < CALLERS; i++)
		start(i, &what);
	while (kshm_read_acquire(&control->producer.position) < CAPACITY - 128)
		sched_yield();
	if (corrupt) {
		kshm_write(&control->consumer.position, 4);
		CHECK(nt_wait(req) == STATUS_DATA_ERROR);
	}
	done(req, corrupt ? KSHM_END_CORRUPT : KSHM_END_DONE);
	for (i = 0; i < CALLERS; i++) {
		pthread_join(callers[i].thread, NULL);
		CHECK(callers[i].result.produced < what.records);
		CHECK(callers[i].status == STATUS_SUCCESS ||
		      callers[i].status == STATUS_NOT_FOUND || /* began too late */
		      (corrupt && callers[i].status == STATUS_DATA_ERROR));
	}
	rows++;
}

/* What a source counts as produced is published, wherever in a batch the end meets it. */
static void test_published(ULONG context)
{
	struct loop_produce what = good;
	struct kshm_consumer from;
	struct seen seen = {0};
	struct nt_req *req;

	what.records = 1ull << 40;
	what.batch = LOOP_MAX_BATCH;
	what.context = context;
	share(1, &req);
	kshm_consumer_init(&from, memory->user, &table[MADE], 0);
	start(0, &what);
	while (seen.records[0] == 0)
		look(&from, what.size, &seen);
	done(req, KSHM_END_DONE);
	pthread_join(callers[0].thread, NULL);
	look(&from, what.size, &seen);
	CHECK(callers[0].status == STATUS_SUCCESS);
	CHECK(callers[0].result.produced == seen.records[0]);
	rows++;
}

/* A program is killed in the midst of it: its thread comes back, long before the deadline. */
static void test_killed(ULONG context)
{
	struct loop_produce what = good;
	struct kshm_consumer from;
	struct seen seen = {0};
	struct nt_req *req;

	what.context = context;
	what.flags = context == LOOP_TASK ? LOOP_WAIT : 0;
	what.records = 1ull << 40;
	share(1, &req);
	kshm_consumer_init(&from, memory->user, &table[MADE], 0);
	start(0, &what);
	while (seen.records[0] == 0)
		look(&from, what.size, &seen);
	callers[0].cpu.killed = true;
	pthread_join(callers[0].thread, NULL);
	look(&from, what.size, &seen);
	CHECK(callers[0].status == STATUS_SUCCESS);
	CHECK(callers[0].result.produced == seen.records[0]);
	CHECK(callers[0].result.ns < LOOP_SECONDS * 1000000000ull);
	done(req, KSHM_END_DONE);
	rows++;
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
	long records = argc == 3 && !strcmp(argv[1], "sources") ? atol(argv[2]) : 0;
	struct loop_produce what = good;
	static struct nt_cpu cpu;
	int i;

	if (records <= 0)
		return fprintf(stderr, "usage: loop sources RECORDS\n"), 2;
	nt_cpu_init(&cpu, "test", &program);
	nt_me = &cpu;
	sigaction(SIGSEGV, &action, NULL);
	nt_start_processors(2);
	memory = nt_memory(RINGS * STRIDE, true);
	CHECK(NT_SUCCESS(nt_load(DriverEntry)));
	CHECK(NT_SUCCESS(nt_open(3, 0, NULL, &file)));
	test_refusals();
	test_echo(records);
	test_sum();
	what.records = records;
	what.batch = 7;
	what.flags = LOOP_WAIT;
	test_sources(&what);
	what.flags = 0;
	test_sources(&what);
	what.context = LOOP_SOFTIRQ;
	test_sources(&what);
	for (i = 0; i < 20; i++) {
		test_end(LOOP_TASK, false);
		test_end(LOOP_TASK, true);
		test_end(LOOP_SOFTIRQ, false);
		test_end(LOOP_SOFTIRQ, true);
		test_published(LOOP_TASK);
		test_published(LOOP_SOFTIRQ);
	}
	test_killed(LOOP_TASK);
	test_killed(LOOP_SOFTIRQ);
	nt_close(file);
	settle();
	nt_unload();
	nt_check_leaks("after the loop");
	printf("loop: %ld rows, %ld records\n", rows, records);
	return 0;
}
