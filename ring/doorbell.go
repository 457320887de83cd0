// SPDX-License-Identifier: MIT

package ring

import "context"

// Doorbell wakes the other side of a ring and is woken by it. A *kshm.Share is
// one, for all rings of the share together: a wake-up that was meant for
// another ring costs a look and no more.
type Doorbell interface {
	// Kick wakes the other side. After an error the next Flush or Wait of the
	// ring tries again.
	Kick() error
	// Events counts the wake-ups of this side so far. It only grows.
	Events() uint64
	// Wait returns once Events is above seen, with the count; or with an
	// error when ctx is done or no event can come any more.
	Wait(ctx context.Context, seen uint64) (uint64, error)
}
