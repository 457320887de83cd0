// SPDX-License-Identifier: MIT

package kshmtest

import "sync"

// Rundown lets users in until somebody waits for the last of them: the model
// of EX_RUNDOWN_REF. The zero value lets everybody in.
type Rundown struct {
	mu     sync.Mutex
	users  int
	closed bool
	idle   chan struct{} // made by the first Wait, closed with the last user
}

// Acquire lets a user in; false once a Wait has begun.
func (r *Rundown) Acquire() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.users++
	return true
}

// Release lets a user out.
func (r *Rundown) Release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users == 0 {
		bugcheck("rundown protection was released once too often")
	}
	r.users--
	if r.users == 0 && r.idle != nil {
		close(r.idle)
	}
}

// Close lets nobody in any more, and does not wait.
func (r *Rundown) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
}

// Wait lets nobody in any more and waits until all are out. Several may wait.
func (r *Rundown) Wait() {
	r.mu.Lock()
	r.closed = true
	if r.idle == nil {
		r.idle = make(chan struct{})
		if r.users == 0 {
			close(r.idle)
		}
	}
	idle := r.idle
	r.mu.Unlock()
	<-idle
}
