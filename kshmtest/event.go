// SPDX-License-Identifier: MIT

package kshmtest

import "sync"

// Event is the event object that the program hands over with its SHARE request.
// The driver may set it at any time, after the share has ended too.
type Event struct {
	ring chan struct{} // holds one, so that a set is never lost

	mu    sync.Mutex
	sets  uint64
	wakes uint64 // sets that found the event unset
}

func newEvent() *Event { return &Event{ring: make(chan struct{}, 1)} }

// Set signals the program. It never waits: it may be called from anywhere.
func (e *Event) Set() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sets++
	select {
	case e.ring <- struct{}{}:
		e.wakes++
	default: // the program has not yet looked at the last one
	}
}

func (e *Event) counts() (sets, wakes uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sets, e.wakes
}
