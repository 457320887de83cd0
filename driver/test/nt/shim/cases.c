// SPDX-License-Identifier: MIT
/*
 * cases.c - runs cases.txt, which describes the steps. In scheduled mode, so that "as far as it
 * gets" is exact.
 */
#include "tests.h"
#include "sched.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARES 4
#define JOBS 4

static struct nt_proc program = {.pid = (HANDLE)100, .user = 1, .load_driver = NT_ENABLED};
static struct nt_file *file;
static bool open_handle, duplicated;
static struct nt_memory *memory[SHARES];
static struct nt_req *reqs[SHARES];
static NTSTATUS ended[SHARES]; /* of the share that was there before, or pending */
static struct drv_share *inside[SHARES];
static const char *case_name;
static int line_number;

/* A step, its words, and what came of it. */
struct job {
	char id[16];
	char *words[4];
	char text[128];
	char result[32];
	bool finished, used;
	int fiber;
};
static struct job jobs[JOBS], now;

static void fail(const char *what, const char *got)
{
	nt_bug("case", "%s, line %d: %s%s", case_name, line_number, what, got);
}

static const char *const reasons[] = {"live",    "done", "closed",  "exit",
				      "revoked", "gone", "corrupt", "cancelled"};

static const char *name_of(NTSTATUS status)
{
	switch (status) {
	case STATUS_SUCCESS:
	case STATUS_PENDING:
		return "ok";
	case STATUS_NOT_FOUND:
		return "unknown";
	case STATUS_OBJECT_NAME_COLLISION:
		return "exists";
	case STATUS_FILE_CLOSED:
		return "over";
	case STATUS_DELETE_PENDING:
		return "stopping";
	case STATUS_INVALID_HANDLE:
		return "shut";
	case STATUS_DATA_ERROR:
		return "refused";
	}
	return "?";
}

static void answer(struct job *j, const char *text)
{
	snprintf(j->result, sizeof(j->result), "%s", text);
}

/* Takes the completion of a share that has ended. */
static void settle_share(int n)
{
	if (!reqs[n] || !nt_done(reqs[n]))
		return;
	ended[n] = reqs[n]->status;
	nt_reap(reqs[n]);
	reqs[n] = NULL;
}

static void step_share(struct job *j, int n)
{
	struct nt_req *req = NULL;
	NTSTATUS status;

	settle_share(n);
	status = share_begin(file, memory[n], (kshm_u64)n, &req);
	answer(j, name_of(status));
	if (status == STATUS_PENDING)
		reqs[n] = req;
	else if (req)
		nt_reap(req);
}

static void step_done(struct job *j, int n)
{
	kshm_u32 reason = 0;
	NTSTATUS status = call_done(file, (kshm_u64)n, &reason);

	answer(j, NT_SUCCESS(status) ? reasons[reason] : name_of(status));
}

static void step_wait(struct job *j, int n)
{
	struct kshm_wait wait = {.events = strtoull(j->words[2], NULL, 10)};
	struct nt_req *req = NULL;
	NTSTATUS status = wait_begin(file, (kshm_u64)n, &wait, &req);

	if (req) {
		status = nt_wait(req);
		nt_reap(req);
	}
	if (NT_SUCCESS(status))
		snprintf(j->result, sizeof(j->result), "%llu", wait.events);
	else
		answer(j, name_of(status));
}

static void step_close(void)
{
	open_handle = false;
	nt_close(file);
}

static void step_driver(struct job *j, int n)
{
	const char *verb = j->words[0];

	if (!strcmp(verb, "notify")) {
		drv_call(memory[n], KshmNotify);
	} else if (!strcmp(verb, "revoke")) {
		drv_call(memory[n], KshmRevoke);
	} else if (!strcmp(verb, "corrupt")) {
		drv_call(memory[n], drv_corrupt);
	} else if (!strcmp(verb, "enter")) {
		inside[n] = drv_enter(memory[n]);
		answer(j, inside[n] ? "ok" : "over");
	} else if (!strcmp(verb, "leave")) {
		drv_leave(inside[n]);
	} else if (!strcmp(verb, "refuse")) {
		drv_share_status =
			!strcmp(j->words[1], "on") ? STATUS_DATA_ERROR : STATUS_SUCCESS;
	} else {
		fail("unknown step ", verb);
	}
}

static void step(void *arg)
{
	struct job *j = arg;
	const char *verb = j->words[0];
	int n = j->words[1] ? atoi(j->words[1]) : 0;

	CHECK(n >= 0 && n < SHARES);
	if (!strcmp(verb, "share")) {
		step_share(j, n);
	} else if (!strcmp(verb, "done")) {
		step_done(j, n);
	} else if (!strcmp(verb, "kick")) {
		answer(j, name_of(call_kick(file, (kshm_u64)n)));
	} else if (!strcmp(verb, "wait")) {
		step_wait(j, n);
	} else if (!strcmp(verb, "cancel")) {
		if (reqs[n])
			nt_cancel(reqs[n]);
	} else if (!strcmp(verb, "close")) {
		step_close();
	} else if (!strcmp(verb, "dup")) {
		nt_duplicate(file);
		duplicated = true;
	} else if (!strcmp(verb, "exit")) {
		nt_process_exit(&program);
		step_close();
	} else if (!strcmp(verb, "stop")) {
		answer(j, name_of(call_now(file, KSHM_CTL_STOP, NULL, 0, NULL, 0, NULL)));
	} else {
		step_driver(j, n);
	}
	j->finished = true;
}

/* Splits text into words after the first skip of them; the job keeps the text. */
static void parse(struct job *j, const char *text)
{
	char *rest;
	int i;

	memset(j->words, 0, sizeof(j->words));
	snprintf(j->text, sizeof(j->text), "%s", text);
	j->result[0] = 0;
	j->finished = false;
	for (i = 0, rest = j->text; i < 4; i++, rest = NULL)
		if (!(j->words[i] = strtok(rest, " ")))
			break;
}

static struct job *job(const char *id)
{
	int i;

	for (i = 0; i < JOBS; i++)
		if (jobs[i].used && !strcmp(jobs[i].id, id))
			return &jobs[i];
	fail("no such job: ", id);
	return NULL;
}

static void start(const char *id, const char *text)
{
	struct job *j = jobs;

	while (j < jobs + JOBS && j->used)
		j++;
	CHECK(j < jobs + JOBS);
	j->used = true;
	snprintf(j->id, sizeof(j->id), "%s", id);
	parse(j, text);
	j->fiber = sched_spawn(j->id, &program, step, j);
}

static void check_share(const char *verb, int n, const char *reason)
{
	int i;

	settle_share(n);
	if (!strcmp(verb, "live")) {
		if (!reqs[n])
			fail("the share is not live", "");
		return;
	}
	if (reqs[n])
		fail("the share has not ended", "");
	for (i = 1; i < 8 && strcmp(reasons[i], reason); i++)
		;
	if (i == 8 || ended[n] != status_of((enum kshm_reason)i))
		fail("the share ended for another reason than ", reason);
}

/* One line, in the foreground; the kernel then does whatever is left for it to do. */
static void line(char *text)
{
	char *expected = strstr(text, " -> "), *copy;
	struct job *j = &now;
	const char *got = "";

	if (expected) {
		*expected = 0;
		expected += 4;
	}
	copy = strdup(text);
	parse(&now, text);
	if (!strcmp(now.words[0], "start")) {
		start(now.words[1], copy + strlen("start ") + strlen(now.words[1]) + 1);
		sched_run(false);
	} else if (!strcmp(now.words[0], "join") || !strcmp(now.words[0], "busy")) {
		j = job(now.words[1]);
		if (j->finished != !strcmp(now.words[0], "join"))
			fail(j->finished ? "finished: " : "still busy: ", j->text);
		got = j->result;
		j->used = !j->finished;
	} else if (!strcmp(now.words[0], "live") || !strcmp(now.words[0], "ended")) {
		check_share(now.words[0], atoi(now.words[1]), now.words[2]);
	} else {
		sched_spawn("step", &program, step, &now);
		sched_run(false);
		if (!now.finished)
			fail("never came back: ", now.text);
		got = now.result;
	}
	if (expected && strcmp(expected, got))
		fail("result: ", got);
	free(copy);
}

static void begin(void *unused)
{
	(void)unused;
	drv.MaxOpenShares = SHARES;
	CHECK(NT_SUCCESS(nt_load(DriverEntry)));
	CHECK(NT_SUCCESS(nt_open(3, 0, NULL, &file)));
	nt_reference(file); /* closed handles can still be tried */
	open_handle = true;
	duplicated = false;
}

static void end(void *unused)
{
	int i;

	(void)unused;
	for (i = 0; i < JOBS; i++)
		if (jobs[i].used)
			fail("nobody joined ", jobs[i].id);
	if (open_handle)
		nt_close(file);
	if (duplicated)
		nt_close(file);
	for (i = 0; i < SHARES; i++) {
		settle_share(i);
		if (reqs[i])
			fail("a share is left", "");
	}
	nt_release(file);
	nt_unload();
	settle();
	nt_check_leaks(case_name);
}

void test_cases(const char *path)
{
	static char name[256];
	char text[256];
	FILE *f = fopen(path, "r");
	int i, cases = 0;

	if (!f)
		nt_bug("test", "cannot open %s", path);
	sched_init();
	for (i = 0; i < SHARES; i++)
		memory[i] = nt_memory(PAGE_SIZE, true);
	for (line_number = 1; fgets(text, sizeof(text), f); line_number++) {
		text[strcspn(text, "\n")] = 0;
		if (!text[0] || text[0] == '#')
			continue;
		if (strncmp(text, "case ", 5)) {
			line(text);
			continue;
		}
		if (cases++)
			sched_do(end, NULL);
		snprintf(name, sizeof(name), "%s", text + 5);
		case_name = name;
		sched_do(begin, NULL);
	}
	if (cases)
		sched_do(end, NULL);
	fclose(f);
	printf("cases: %d\n", cases);
	CHECK(cases > 0);
}
