// SPDX-License-Identifier: MIT

package sum

import (
	"encoding/binary"
	"sync/atomic"
)

// Data is where a piece begins in the share, in bytes, and Most how many it
// may have.
const (
	Data = 4096
	Most = 8 << 20
)

// Page is the start of the share: struct sum_page.
type Page struct {
	Words  atomic.Uint64 // by the program: of this piece
	Before atomic.Uint64 // by the program: the sum so far
	_      [14]uint64
	Done   atomic.Uint64 // by the kernel: words so far, of all pieces, in steps
	Sum    atomic.Uint64 // by the kernel: with this piece
	Pieces atomic.Uint64
}

// Start is the sum of nothing.
const Start = 0xcbf29ce484222325

// Of adds a piece to a sum as the driver does: FNV-1a over 64-bit words, of
// which the last one is filled up with zeroes.
func Of(sum uint64, piece []byte) uint64 {
	const prime = 0x100000001b3
	for ; len(piece) >= 8; piece = piece[8:] {
		sum = (sum ^ binary.NativeEndian.Uint64(piece)) * prime
	}
	if len(piece) > 0 {
		var last [8]byte
		copy(last[:], piece)
		sum = (sum ^ binary.NativeEndian.Uint64(last[:])) * prime
	}
	return sum
}
