// SPDX-License-Identifier: MIT

package ring

import (
	"errors"
	"fmt"

	"kshm/internal/abi"
)

var (
	// ErrFull says that there is no space for the record now.
	ErrFull = errors.New("ring: no space until the consumer releases records")
	// ErrTooLong says that a record can never fit: see Producer.MaxRecord.
	ErrTooLong = errors.New("ring: record longer than half the capacity minus 8")
	// ErrCorrupt is what every CorruptError is, to errors.Is.
	ErrCorrupt = abi.ErrCorrupt
	// ErrGeometry says that rings were asked for that cannot be.
	ErrGeometry = errors.New("ring: bad geometry")
	// ErrNotShared says that memory holds no ring where the geometry says
	// one is: attach after the share was made, with the share's geometry.
	ErrNotShared = errors.New("ring: no such ring in this memory")
	// ErrNoDoorbell says that a call had to block on a ring without Doorbell.
	ErrNoDoorbell = errors.New("ring: blocking needs a Doorbell")
)

// Reason says what was wrong with a shared word.
type Reason uint32

// The reasons, as in enum kshm_corrupt of kshm_ring.h.
const (
	Unaligned   Reason = abi.CorruptUnaligned   // a position that is no multiple of 8
	Backward    Reason = abi.CorruptBackward    // a position behind an earlier one
	Beyond      Reason = abi.CorruptBeyond      // a position that the other side cannot reach
	BadKind     Reason = abi.CorruptKind        // a record of unknown kind
	BadLength   Reason = abi.CorruptLength      // a record above the maximum
	Unpublished Reason = abi.CorruptUnpublished // a record past the producer's position
	Wrapped     Reason = abi.CorruptWrap        // a record past the end of the data
	BadSkip     Reason = abi.CorruptSkip        // a skip that does not end at the end of the data
	NoTimestamp Reason = abi.CorruptTimestamp   // a record too short for its timestamp
)

var reasons = [...]string{
	Unaligned:   "position is no multiple of 8",
	Backward:    "position moved backward",
	Beyond:      "position is out of reach",
	BadKind:     "record of unknown kind",
	BadLength:   "record longer than half the capacity",
	Unpublished: "record runs past the producer's position",
	Wrapped:     "record runs past the end of the data",
	BadSkip:     "skip does not end at the end of the data",
	NoTimestamp: "record too short for a timestamp",
}

// String describes the reason.
func (r Reason) String() string {
	if r == 0 || int(r) >= len(reasons) {
		return fmt.Sprintf("reason %d", uint32(r))
	}
	return reasons[r]
}

// CorruptError says that the other side broke the protocol. The ring is dead
// from then on; the share is not, and closes as ever.
type CorruptError struct {
	Reason Reason
	Offset uint64 // of the word that was read, in the share, bytes
}

// Error describes what was found where.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("ring: corrupt: %v at offset %d of the share", e.Reason, e.Offset)
}

// Is makes every CorruptError an ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }
