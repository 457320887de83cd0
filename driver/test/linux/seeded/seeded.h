/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A bug: something that a debug kernel has an alarm for. */
#ifndef SEEDED_H
#define SEEDED_H

struct seeded_bug {
	const char *name;
	void (*commit)(void);
};

extern const struct seeded_bug seeded_memory[], seeded_context[], seeded_race[];

#endif /* SEEDED_H */
