// SPDX-License-Identifier: MIT

//go:build linux && amd64

package live

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
)

// Syscall is the number of the system call that no kernel has.
const Syscall = 27507

// NameEnv is the environment variable that gives a child the name of its
// parent.
const NameEnv = "KSHM_LIVE_NAME"

// Name is what the threads are called whose events count: 8 characters, so
// that other processes with the same objects do not meddle.
var Name = name()

func name() string {
	if name := os.Getenv(NameEnv); len(name) == 8 {
		return name
	}
	return fmt.Sprintf("k%07x", os.Getpid()&0xfffffff)
}

// Mine has an object look at events of Name's threads.
func Mine(spec *ebpf.CollectionSpec) error {
	return spec.Variables["live_name"].Set(binary.NativeEndian.Uint64([]byte(Name)))
}

// Load returns the object whose hooks make records of size bytes, a multiple
// of 8 from 32 on: nanoseconds, number within its CPU, u32 CPU, u32 source,
// complement of the number, and the number again in all other words.
func Load(size int) (*ebpf.CollectionSpec, error) {
	spec, err := loadLive()
	if err != nil {
		return nil, err
	}
	if err := Mine(spec); err != nil {
		return nil, err
	}
	return spec, spec.Variables["live_size"].Set(uint32(size))
}

// LoadCount returns the object that counts the same events in its map
// "counts": per CPU, eight u64 by source.
func LoadCount() (*ebpf.CollectionSpec, error) {
	spec, err := loadCount()
	if err != nil {
		return nil, err
	}
	return spec, Mine(spec)
}

// LoadPoll returns an object that answers without being kicked, once its
// program poll_start has run: the second word of a share becomes the complement
// of the first.
func LoadPoll() (*ebpf.CollectionSpec, error) { return loadPoll() }

// LoadHold returns the loop object with two more programs: hold_take returns
// with its CPU's slot, which hold_give gives back.
func LoadHold() (*ebpf.CollectionSpec, error) { return loadHold() }
