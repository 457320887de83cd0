/* SPDX-License-Identifier: MIT */
/*
 * A ring that eBPF programs consume from: one of them at a time, whoever comes
 * first, of the kicks of all rings and of hooks. Checked exhaustively: only one
 * has the ring at a time, and when nobody comes any more all records have been
 * consumed, although programs find no slot or are cut off now and then.
 *
 *   here            driver/bpf/kshm.bpf.h               package bpf
 *   enter, leave    kshm_input_enter, kshm_input_exit
 *   serve           kshm_input_awake, kshm_input_next,
 *                   kshm_input_sleep
 *   kick            KSHM_KICK                           session.Kick
 *   producer        kshm_ring_publish                   ring.Producer
 *
 * All steps are in order: each is an atomic operation or stands between two.
 * ring.pml has the memory that delays stores.
 *
 * The seeded bugs, each a macro, of which every one must fail:
 *   GIVE_UP         who finds the ring busy goes away, and leaves no call
 *   SWALLOW         who finds no slot, or a call, does not come again
 *   LATE_CALL       the call is left after the look at the state
 *   EARLY_LOOK      it is looked for before the state is given
 *   LATE_CLEAR      it is taken back after the last look at the ring
 *   CUT_OFF         nor is it there again when that look has found records
 */

#ifndef RECORDS
#define RECORDS 3
#endif
#define OTHERS 2 /* programs that come for another reason, once each */

byte position, consumed;
byte need_wakeup = 1; /* it sleeps until the first kick */
bit busy;
bit called;
byte holders, misfortunes = 2, left_over = 1 + OTHERS;

inline enter() {
	d_step {
		mine = !busy;
		busy = 1;
#ifdef GIVE_UP
		called = called || mine
#else
#ifndef LATE_CALL
		called = 1
#endif
#endif
	};
#ifdef LATE_CALL
	called = 1;
#endif
	holders = holders + mine;
	assert(holders <= 1)
}

inline serve() {
	if
	:: need_wakeup & 1 -> need_wakeup++
	:: else
	fi;
	do
	:: misfortunes > 0 -> misfortunes--; break
	:: consumed = position;
#ifndef LATE_CLEAR
		called = 0;
#endif
		need_wakeup++;
		if
		:: position != consumed ->
			need_wakeup++;
#ifndef CUT_OFF
			called = 1
#endif
		:: else ->
#ifdef LATE_CLEAR
			called = 0;
#endif
			break
		fi
	od
}

inline leave() {
	holders--;
#ifdef EARLY_LOOK
	again = called;
	d_step { busy = 0; called = 0 }
#else
	d_step { again = called; busy = 0; called = 0 }
#endif
#ifdef SWALLOW
	;again = 0
#endif
}

inline kick() {
	do
	:: enter();
		if
		:: !mine -> break
		:: mine ->
			if
			:: misfortunes > 0 -> misfortunes--
			:: serve()
			fi;
			leave();
			if
			:: again
			:: else -> break
			fi
		fi
	od
}

active proctype producer() {
	byte seen, answered;
	bit mine, again;

	do
	:: position == RECORDS -> break
	:: else ->
		position++;
		seen = need_wakeup;
		if
		:: (seen & 1) && seen != answered ->
			answered = seen;
			kick()
		:: else
		fi
	od;
	left_over--
}

active [OTHERS] proctype other() {
	bit mine, again;

	kick();
	left_over--
}

active proctype end() {
	left_over == 0;
	assert(consumed == RECORDS)
}
