// SPDX-License-Identifier: MIT
/*
 * sched.c - fibers on one thread. A fiber runs until it blocks, ends, or comes to a step of the
 * plan; so a run is repeatable, and a plan of two switches puts any two parts of the kit at any
 * two of their marked points.
 */
#include "sched.h"
#include "nt.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif
#ifdef ASAN
#include <sanitizer/common_interface_defs.h>
#define SWITCH_FROM(save, stack, size) __sanitizer_start_switch_fiber(save, stack, size)
#define SWITCH_TO(save) __sanitizer_finish_switch_fiber(save, NULL, NULL)
#else
#define SWITCH_FROM(save, stack, size) ((void)0)
#define SWITCH_TO(save) ((void)0)
#endif

#define FIBERS 12
#define DAEMONS 3 /* two workers, one for DPCs */
#define STACK (128 << 10)

bool nt_scheduled, sched_eager;

struct fiber {
	ucontext_t context;
	struct nt_cpu cpu;
	char *stack;
	void *fake; /* ASAN's */
	void (*run)(void *);
	void *arg;
	bool (*ready)(void *);
	void *ready_arg;
	const char *at;
	bool used, finished;
};

static struct fiber fibers[FIBERS];
static struct fiber *current;
static ucontext_t scheduler;
#ifdef ASAN
static void *scheduler_fake;
static const void *scheduler_stack;
static size_t scheduler_size;
#endif
static const struct sched_switch *plan;
static int planned, next_switch;
static struct sched_trace *trace;
static int steps;

static bool can_run(struct fiber *f)
{
	return f->used && !f->finished && (!f->ready || f->ready(f->ready_arg));
}

static void leave(struct fiber *f)
{
	SWITCH_FROM(f->finished && f->run ? NULL : &f->fake, scheduler_stack, scheduler_size);
	swapcontext(&f->context, &scheduler);
	SWITCH_TO(f->fake);
}

static void enter(struct fiber *f)
{
	struct nt_cpu *host = nt_me;

	current = f;
	nt_me = &f->cpu;
	SWITCH_FROM(&scheduler_fake, f->stack, STACK);
	swapcontext(&scheduler, &f->context);
	SWITCH_TO(scheduler_fake);
	nt_me = host;
	current = NULL;
}

static void fiber_main(void)
{
	struct fiber *f = current;

#ifdef ASAN
	__sanitizer_finish_switch_fiber(NULL, &scheduler_stack, &scheduler_size);
#endif
	f->run(f->arg);
	if (f->cpu.irql != PASSIVE_LEVEL || f->cpu.locks)
		nt_bug("IRQL", "%s ends at %d", f->cpu.name, f->cpu.irql);
	f->finished = true;
	leave(f);
	abort();
}

static void start(struct fiber *f, const char *name, struct nt_proc *proc, void (*run)(void *),
		  void *arg)
{
	char *stack = f->stack;

	*f = (struct fiber){.stack = stack, .run = run, .arg = arg, .used = true};
	if (!stack)
		f->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	nt_cpu_init(&f->cpu, name, proc);
	getcontext(&f->context);
	f->context.uc_stack.ss_sp = f->stack;
	f->context.uc_stack.ss_size = STACK;
	makecontext(&f->context, fiber_main, 0);
}

static bool work_waits(void *unused)
{
	(void)unused;
	return nt_work_waits();
}

static bool dpc_waits(void *unused)
{
	(void)unused;
	return nt_dpc_waits();
}

static void serve_work(void *unused)
{
	(void)unused;
	for (;;)
		if (!nt_work_once())
			sched_block(work_waits, NULL);
}

static void serve_dpcs(void *unused)
{
	(void)unused;
	for (;;)
		if (!nt_dpc_once())
			sched_block(dpc_waits, NULL);
}

void sched_init(void)
{
	nt_scheduled = true;
	start(&fibers[0], "worker", &nt_system, serve_work, NULL);
	start(&fibers[1], "worker 2", &nt_system, serve_work, NULL);
	start(&fibers[2], "dpc", &nt_system, serve_dpcs, NULL);
}

int sched_spawn(const char *name, struct nt_proc *proc, void (*run)(void *), void *arg)
{
	int i;

	for (i = DAEMONS; i < FIBERS; i++)
		if (!fibers[i].used || fibers[i].finished) {
			start(&fibers[i], name, proc, run, arg);
			return i;
		}
	nt_bug("test", "too many fibers");
}

bool sched_finished(int fiber)
{
	return fibers[fiber].finished;
}

void sched_plan(const struct sched_switch *switches, int n, struct sched_trace *t)
{
	plan = switches;
	planned = n;
	next_switch = 0;
	steps = 0;
	trace = t;
}

static int others(struct fiber *but, struct fiber **list)
{
	int i, n = 0;

	for (i = 0; i < FIBERS; i++)
		if (&fibers[i] != but && can_run(&fibers[i]))
			list[n++] = &fibers[i];
	return n;
}

static struct fiber *chosen; /* to go on with next */

/* A marked point: the step counts only where there is somebody else to run. */
void sched_point(const char *where)
{
	struct fiber *list[FIBERS], *f = current;
	int n;

	if (!f || !trace)
		return;
	f->at = where;
	n = others(f, list);
	if (n == 0)
		return;
	if (steps < SCHED_STEPS)
		trace->others[steps] = (unsigned char)n;
	trace->steps = steps + 1;
	if (next_switch < planned && plan[next_switch].step == steps) {
		chosen = list[plan[next_switch++].choice % n];
		steps++;
		leave(f);
		return;
	}
	steps++;
}

void sched_block(bool (*ready)(void *), void *arg)
{
	struct fiber *f = current;

	if (ready(arg))
		return;
	f->ready = ready;
	f->ready_arg = arg;
	leave(f);
	f->ready = NULL;
}

/* Who was told to go on goes on; otherwise the last spawned, or the processors before all. */
static struct fiber *pick(void)
{
	struct fiber *f = chosen;
	int i;

	chosen = NULL;
	if (f)
		return f;
	for (i = 0; sched_eager && i < DAEMONS; i++)
		if (can_run(&fibers[i]))
			return &fibers[i];
	for (i = FIBERS - 1; i >= 0; i--)
		if (can_run(&fibers[i]))
			return &fibers[i];
	return NULL;
}

void sched_run(bool to_the_end)
{
	struct fiber *f;
	int i;

	while ((f = pick()) != NULL)
		enter(f);
	for (i = DAEMONS; to_the_end && i < FIBERS; i++)
		if (fibers[i].used && !fibers[i].finished)
			nt_bug("hang", "%s never went on after %s", fibers[i].cpu.name,
			       fibers[i].at ? fibers[i].at : "its start");
}

void sched_do(void (*run)(void *), void *arg)
{
	sched_spawn("main", &nt_system, run, arg);
	sched_run(true);
}

void sched_explain(void)
{
	int i;

	if (!nt_scheduled)
		return;
	for (i = 0; i < planned; i++)
		fprintf(stderr, "nt: plan: step %d choice %d\n", plan[i].step, plan[i].choice);
	for (i = 0; i < FIBERS; i++)
		if (fibers[i].used)
			fprintf(stderr, "nt: fiber %d %s: %s after %s\n", i, fibers[i].cpu.name,
				fibers[i].finished      ? "finished"
				: &fibers[i] == current ? "running"
							: "waits",
				fibers[i].at ? fibers[i].at : "-");
}
