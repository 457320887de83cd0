// SPDX-License-Identifier: MIT

//go:build linux && amd64

package loop

import (
	"fmt"
	"syscall"

	"github.com/cilium/ebpf"
)

// Burst is what the program loop_produce takes: struct loop_burst.
type Burst = loopLoopBurst

// Load returns the object.
func Load() (*ebpf.CollectionSpec, error) { return loadLoop() }

// Produce runs loop_produce of a loaded object on the caller's CPU: b.Records
// records of b.Size bytes, all of whose words hold b.First and one more in
// each. It returns how many of them found space.
func Produce(p *ebpf.Program, b Burst) (done uint64, err error) {
	var out Burst
	result, err := p.Run(&ebpf.RunOptions{Context: b, ContextOut: &out})
	if err != nil {
		return 0, err
	}
	if n := int32(result); n < 0 {
		return 0, fmt.Errorf("loop_produce: %w", syscall.Errno(-n))
	}
	return b.Records - out.Records, nil
}
