// SPDX-License-Identifier: MIT

package ring

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"kshm/internal/abi"
)

// controlOf lets mem's bytes from offset on be read as the control pages of a
// ring. The result keeps memory of the Go heap alive, but no other.
func controlOf(mem []byte, offset int) (*abi.RingControl, error) {
	if offset < 0 || len(mem) < controlSize || offset > len(mem)-controlSize {
		return nil, fmt.Errorf("%w: %d bytes hold no ring at offset %d", ErrGeometry, len(mem), offset)
	}
	p := unsafe.Pointer(&mem[offset])
	if uintptr(p)%unsafe.Alignof(uint64(0)) != 0 {
		return nil, fmt.Errorf("%w: memory is not aligned to 8 bytes", ErrGeometry)
	}
	return (*abi.RingControl)(p), nil
}

// header loads the header word at offset at of a ring's data: once, whatever
// the compiler thinks, as the other side may change it at any time. at is a
// multiple of 8 and data start on a page, so the eight bytes are aligned and,
// if the first is in bounds, all are.
func header(data []byte, at uint64) uint64 {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&data[at])))
}

// setHeader is the producer's plain store; the position that it publishes
// later orders it.
func setHeader(data []byte, at uint64, word uint64) {
	*(*uint64)(unsafe.Pointer(&data[at])) = word
}

// Where the positions are in a ring, for the reports of corrupt ones.
const (
	producerPosition = uint64(unsafe.Offsetof(abi.RingControl{}.Producer))
	consumerPosition = uint64(unsafe.Offsetof(abi.RingControl{}.Consumer))
)
