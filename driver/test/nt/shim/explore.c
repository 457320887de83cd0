// SPDX-License-Identifier: MIT
/*
 * explore.c - a plan of one hand-over stops somebody at any point and lets somebody else go
 * first; one of two stops that one at any point of its own in turn.
 */
#include "explore.h"
#include "nt.h"

#define SWITCHES 4

struct explorer {
	explore_run *run;
	void *arg;
	int most, stride;
	long runs;
	struct sched_switch plan[SWITCHES];
};

/* Runs the plan of n hand-overs, then each plan that has one more after its last. */
static void from(struct explorer *e, int n)
{
	struct sched_trace trace;
	int step, choice;

	e->run(e->arg, e->plan, n, &trace);
	e->runs++;
	if (trace.steps >= SCHED_STEPS)
		nt_bug("test", "a run of %d steps", trace.steps);
	if (n == e->most)
		return;
	step = n ? e->plan[n - 1].step + 1 + (int)(e->runs % e->stride) : 0;
	for (; step < trace.steps; step += n ? e->stride : 1)
		for (choice = 0; choice < trace.others[step]; choice++) {
			e->plan[n] = (struct sched_switch){step, choice};
			from(e, n + 1);
		}
}

long explore(explore_run *run, void *arg, int switches, int stride)
{
	struct explorer e = {.run = run, .arg = arg, .most = switches, .stride = stride};

	if (switches > SWITCHES)
		nt_bug("test", "more than %d hand-overs", SWITCHES);
	for (sched_eager = true;; sched_eager = false) {
		from(&e, 0);
		if (!sched_eager)
			return e.runs;
	}
}
