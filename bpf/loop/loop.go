// SPDX-License-Identifier: MIT

//go:build linux && amd64

package loop

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/cilium/ebpf"

	"kshm/internal/sys"
)

// Burst is what the program loop_produce takes: struct loop_burst.
type Burst = loopLoopBurst

// Load returns the object.
func Load() (*ebpf.CollectionSpec, error) { return loadLoop() }

// Produce runs loop_produce of a loaded object on the caller's CPU: b.Records
// records of b.Size bytes, all of whose words hold b.First and one more in
// each. It returns how many of them found space.
func Produce(p *ebpf.Program, b Burst) (done uint64, err error) {
	var context [32]byte
	order := binary.NativeEndian
	order.PutUint64(context[0:], b.Records)
	order.PutUint64(context[8:], b.First)
	order.PutUint32(context[16:], b.Size)
	order.PutUint32(context[20:], b.Batch)
	order.PutUint32(context[24:], b.Patience)
	result, err := sys.RunBPF(p.FD(), context[:])
	if n := int32(result); err == nil && n < 0 {
		err = syscall.Errno(-n)
	}
	if err != nil {
		return 0, fmt.Errorf("loop_produce: %w", err)
	}
	return b.Records - order.Uint64(context[0:]), nil
}
