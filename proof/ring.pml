/* SPDX-License-Identifier: MIT */
/*
 * One ring, its two doorbells and the end of its share, with a memory that
 * delays stores. Checked exhaustively: every record arrives once, whole and in
 * order; no honest position looks corrupt; nobody sleeps for ever; whatever
 * was published before the end of the share still arrives.
 *
 *   here            driver/include/kshm_ring.h          package ring
 *   publish         kshm_ring_publish                   side.publish, side.ring
 *   fetch           kshm_ring_fetch                     side.fetch
 *   arm, disarm     kshm_ring_arm, kshm_ring_disarm     side.arm, side.disarm
 *   ROOM, NEED      kshm_producer_room,                 Producer.room,
 *                   kshm_producer_skip                  Producer.need
 *   commit          kshm_producer_reserve,              Producer.Reserve,
 *                   kshm_producer_commit                Producer.Commit
 *   flush           kshm_producer_flush,                Producer.Flush,
 *                   kshm_consumer_flush                 Consumer.Flush
 *   producer        kshm_producer_flush,                Producer.Write,
 *                   kshm_producer_arm                   Producer.Wait, side.park
 *   release         kshm_consumer_release               Consumer.Release
 *   consumer        kshm_consumer_next,                 Consumer.Next,
 *                   kshm_consumer_ready,                Consumer.more,
 *                   kshm_consumer_flush,                Consumer.Wait,
 *                   kshm_consumer_arm                   Consumer.All, side.park
 *   end             the kit ends the share              Doorbell.Wait's error
 *
 * A store goes to its own side's buffer and becomes visible later, stores to
 * different words in any order (as on ARM, and more than x86 does). A release
 * waits for all earlier stores, a full barrier for all. Loads are in order
 * here; litmus/ has what machines do to loads.
 *
 * The seeded bugs, each a macro, of which every one must fail:
 *   PRODUCER_NO_FENCE, CONSUMER_NO_FENCE   publish without its full barrier
 *   ARM_NO_FENCE       arm without its full barrier
 *   NO_RELEASE         a position may become visible before its records
 *   NO_RECHECK         sleep without another look after arming
 *   LATE_SEEN          count the events only after that look
 *   FLAG               need_wakeup is 0 or 1 and not a new number each time
 *   NUMBERS=4          a number comes again too soon (the code has 64 bits)
 *   EARLY_RELEASE      the consumer gives the space back before it has read
 *   NO_LAST_LOOK       the end of the share hides what was published before
 *   FORGOTTEN_KICK     a ring of the doorbell that failed counts as an answer
 */

#ifndef RECORDS
#define RECORDS 4
#endif
#ifndef NUMBERS
#define NUMBERS 8 /* of need_wakeup; that they repeat can only make it worse */
#endif
#define CAPACITY 4 /* in units of 8 bytes: headers and payloads of one unit */
#define DELAY 2    /* of the release of space; a quarter in the code */
#define SKIP 7     /* the header of a skip */
#define P 0
#define C 1

/* What the other side can see, and what is still in a buffer. */
byte data[CAPACITY], data_buffer[CAPACITY];
bit data_pending[CAPACITY];
byte position[2], position_buffer[2];
bit position_pending[2];
byte need_wakeup[2], need_wakeup_buffer[2];
bit need_wakeup_pending[2];
byte pending_data; /* stores of the producer to data that are not visible */

bit rung[2]; /* there were events since this side last counted them */
bit kick_fails = 1; /* once, on one side: then it rings at the next publish */
bit ended;      /* the share */
byte published_at_end;

#define drained(me) (!position_pending[me] && !need_wakeup_pending[me] && (me == C || pending_data == 0))

inline store_data(where, what) {
	d_step {
		pending_data = pending_data + (1 - data_pending[where]);
		data_buffer[where] = what;
		data_pending[where] = 1
	}
}

inline store_visible(where) {
	d_step {
		data_pending[where] ->
		data[where] = data_buffer[where];
		data_pending[where] = 0;
		pending_data--
	}
}

/* The memory: it makes a buffered store visible when it likes. */
active proctype memory() {
end:
	do
	:: d_step { position_pending[P] -> position[P] = position_buffer[P]; position_pending[P] = 0 }
	:: d_step { position_pending[C] -> position[C] = position_buffer[C]; position_pending[C] = 0 }
	:: d_step { need_wakeup_pending[P] -> need_wakeup[P] = need_wakeup_buffer[P]; need_wakeup_pending[P] = 0 }
	:: d_step { need_wakeup_pending[C] -> need_wakeup[C] = need_wakeup_buffer[C]; need_wakeup_pending[C] = 0 }
	:: store_visible(0)
	:: store_visible(1)
	:: store_visible(2)
	:: store_visible(3)
	od
}

inline publish(me, other, no_fence) {
	if
	:: published != pos || again ->
		published = pos;
#ifndef NO_RELEASE
		(me == C || pending_data == 0);
#endif
		d_step { position_buffer[me] = pos; position_pending[me] = 1 };
		(no_fence || drained(me));
		atomic {
			again = 0;
			seen_armed = need_wakeup[other];
			if
			:: (seen_armed & 1) && seen_armed != answered ->
				answered = seen_armed;
				if
				:: rung[other] = 1
				:: kick_fails ->
					kick_fails = 0;
#ifndef FORGOTTEN_KICK
					answered = 0;
					again = 1
#endif
				fi
			:: else
			fi;
			seen_armed = 0
		}
	:: else
	fi
}

/* Before it sleeps or stops, a side repeats what failed. */
inline flush(me, other, no_fence) {
	do
	:: publish(me, other, no_fence);
		if
		:: again
		:: else -> break
		fi
	od
}

inline fetch(other, reach) {
	d_step {
		assert(position[other] >= peer); /* never Backward */
		assert(position[other] <= reach); /* never Beyond */
		peer = position[other]
	}
}

inline arm(me) {
	d_step {
#ifdef FLAG
		armed = 1;
#else
		armed = (armed + 1) % NUMBERS;
#endif
		need_wakeup_buffer[me] = armed; need_wakeup_pending[me] = 1
	};
#ifndef ARM_NO_FENCE
	drained(me)
#endif
}

inline disarm(me) {
	d_step {
#ifdef FLAG
		armed = 0;
#else
		armed = (armed + 1) % NUMBERS;
#endif
		need_wakeup_buffer[me] = armed; need_wakeup_pending[me] = 1
	}
}

#ifdef PRODUCER_NO_FENCE
#define P_NO_FENCE 1
#else
#define P_NO_FENCE 0
#endif
#ifdef CONSUMER_NO_FENCE
#define C_NO_FENCE 1
#else
#define C_NO_FENCE 0
#endif

#define OFFSET (pos % CAPACITY)
#define LEFT (CAPACITY - OFFSET)
#define NEED (size > LEFT -> size + LEFT : size)
#define ROOM (peer + CAPACITY - pos >= NEED)

/*
 * The stores of a commit go to the buffer at once: what is visible when is the
 * memory's choice all the same.
 */
inline commit() {
	d_step {
		if
		:: size > LEFT -> store_data(OFFSET, SKIP); pos = pos + LEFT
		:: else
		fi;
		if
		:: size == 2 -> store_data((OFFSET + 1), n)
		:: else
		fi;
		store_data(OFFSET, (n * 8 + size));
		pos = pos + size;
		n++
	}
}

active proctype producer() {
	byte pos, published, peer, armed, answered, seen_armed, size, n = 1;
	bit again, last;

	do
	:: n <= RECORDS ->
		if
		:: size = 1
		:: size = 2
		fi;
		do
		:: ROOM -> break
		:: else ->
			fetch(C, published);
			if
			:: ROOM -> break
			:: else
			fi;
			if
			:: last -> goto stop
			:: else
			fi;
			flush(P, C, P_NO_FENCE);
#ifndef LATE_SEEN
			rung[P] = 0;
#endif
			arm(P);
#ifndef NO_RECHECK
			fetch(C, published);
#endif
#ifdef LATE_SEEN
			rung[P] = 0;
#endif
			if
			:: ROOM
			:: else ->
				(rung[P] || ended);
				last = ended
			fi;
			disarm(P)
		od;
		commit();
		if
		:: publish(P, C, P_NO_FENCE)
		:: skip /* a batch goes on */
		fi
	:: else -> break
	od;
	flush(P, C, P_NO_FENCE);
stop:
	skip
}

#define HEADER data[OFFSET]

inline release() {
	d_step { pos = pos + size; n++; size = 0 };
	if
	:: pos == peer || pos - published >= DELAY -> publish(C, P, C_NO_FENCE)
	:: else
	fi
}

active proctype consumer() {
	byte pos, published, peer, armed, answered, seen_armed, size, n = 1;
	bit again, last;

	do
	:: n > RECORDS -> break
	:: n <= RECORDS && pos != peer ->
		if
		:: HEADER == SKIP ->
			assert(OFFSET != 0);
			pos = pos + LEFT
		:: else ->
			size = HEADER % 8;
#ifdef EARLY_RELEASE
			d_step { position_buffer[C] = pos + size; position_pending[C] = 1 };
#endif
			d_step {
				assert(HEADER == n * 8 + size && (size == 1 || size == 2));
				assert(size <= LEFT && size <= peer - pos);
				assert(size == 1 || data[OFFSET + 1] == n)
			};
			release()
		fi
	:: n <= RECORDS && pos == peer ->
		fetch(P, published + CAPACITY);
		if
		:: pos != peer
		:: pos == peer && last -> break
		:: pos == peer && !last ->
			flush(C, P, C_NO_FENCE);
#ifndef LATE_SEEN
			rung[C] = 0;
#endif
			arm(C);
#ifndef NO_RECHECK
			fetch(P, published + CAPACITY);
#endif
#ifdef LATE_SEEN
			rung[C] = 0;
#endif
			if
			:: pos != peer
			:: else ->
				(rung[C] || ended);
				last = ended;
#ifdef NO_LAST_LOOK
				if
				:: last -> break
				:: else
				fi
#endif
			fi;
			disarm(C)
		fi
	od;
	/* Woken by the end or by the last record: nothing is left behind. */
	assert(n > RECORDS || pos >= published_at_end)
}

/*
 * The end comes when it likes, or never: an event that never comes must not
 * be what gets a side going.
 */
active proctype end_share() {
	if
	:: atomic { ended = 1; published_at_end = position[P] }
	:: skip
	fi
}
