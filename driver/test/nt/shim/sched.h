// SPDX-License-Identifier: MIT
/*
 * sched.h - a scheduler of fibers that hands over at marked points, as told.
 */
#ifndef SCHED_H
#define SCHED_H

#include <stdbool.h>

struct nt_proc;

/* One hand-over: at that step of the run, to the nth of the others that could go on. */
struct sched_switch {
	int step;
	int choice;
};

#define SCHED_STEPS 4096

/* What the last run looked like. */
struct sched_trace {
	int steps;
	unsigned char others[SCHED_STEPS]; /* how many others could have gone on */
};

extern bool sched_eager; /* work items go first when somebody blocks; else last */
void sched_init(void);
int sched_spawn(const char *name, struct nt_proc *proc, void (*run)(void *), void *arg);
void sched_plan(const struct sched_switch *plan, int n, struct sched_trace *trace);
void sched_run(bool to_the_end); /* until nothing can go on; bug if somebody is left then */
bool sched_finished(int fiber);
void sched_do(void (*run)(void *), void *arg); /* run and finish, as planned */
void sched_point(const char *where);
void sched_block(bool (*ready)(void *), void *arg);
void sched_explain(void);

#endif /* SCHED_H */
