// SPDX-License-Identifier: MIT
/*
 * explore.h - every order in which the parts of a run can meet.
 */
#ifndef EXPLORE_H
#define EXPLORE_H

#include "sched.h"

/* A run under that plan of hand-overs; it tells the trace of what it came by. */
typedef void explore_run(void *arg, const struct sched_switch *plan, int switches,
			 struct sched_trace *trace);

/*
 * Runs every plan of up to that many hand-overs, of the later ones each stride-th, with the
 * processors in a hurry and without. Returns the number of runs.
 */
long explore(explore_run *run, void *arg, int switches, int stride);

#endif /* EXPLORE_H */
