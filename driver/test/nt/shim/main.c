// SPDX-License-Identifier: MIT
/*
 * main.c - the tests by name: nt cases FILE, codes, rings, bounds, meet SWITCHES STRIDE
 * [ACTOR], fail, storm N THREADS.
 */
#include "tests.h"
#include "sched.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The kernel's mapping of a share is inaccessible unless the share is live. */
static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	if (nt_memory_at(info->si_addr))
		nt_bug("touch after stop", "the memory of a share that has ended");
	nt_bug("fault", "at %p", info->si_addr);
}

int main(int argc, char **argv)
{
	static struct nt_cpu cpu;
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

	nt_cpu_init(&cpu, "test", &nt_system);
	nt_me = &cpu;
	sigaction(SIGSEGV, &action, NULL);
	if (argc == 3 && !strcmp(argv[1], "cases"))
		test_cases(argv[2]);
	else if (argc == 2 && !strcmp(argv[1], "codes"))
		test_codes();
	else if ((argc == 4 || argc == 5) && !strcmp(argv[1], "meet"))
		test_meet(atoi(argv[2]), atoi(argv[3]), argv[4]);
	else if (argc == 2 && !strcmp(argv[1], "rings"))
		test_rings();
	else if (argc == 2 && !strcmp(argv[1], "bounds"))
		test_bounds();
	else if (argc == 2 && !strcmp(argv[1], "fail"))
		test_fail();
	else if (argc == 4 && !strcmp(argv[1], "storm"))
		test_storm(atol(argv[2]), atoi(argv[3]));
	else
		return fprintf(stderr, "usage: nt cases FILE | codes | rings | bounds | "
				       "meet SWITCHES STRIDE [ACTOR] | "
				       "fail | storm OPERATIONS THREADS\n"),
		       2;
	return 0;
}
