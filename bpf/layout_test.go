// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf

import (
	"reflect"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"kshm/bpf/loop"
	"kshm/internal/abi"
)

// The structs of kshm.bpf.h and their twins in Go, field by field, as the
// compiled object describes them.
func TestLayout(t *testing.T) {
	spec, err := loop.Load()
	if err != nil {
		t.Fatal(err)
	}
	for name, twin := range map[string]reflect.Type{
		"kshm_state": reflect.TypeFor[state](), "kshm_command": reflect.TypeFor[command](), "kshm_slot": reflect.TypeFor[slotState](),
		"kshm_input": reflect.TypeFor[inputState](), "kshm_ring": reflect.TypeFor[end](), "kshm_ring_counters": reflect.TypeFor[abi.RingCounters](),
	} {
		all, err := spec.Types.AnyTypesByName(name)
		if err != nil {
			t.Fatal(err)
		}
		var c *btf.Struct
		for _, ty := range all {
			if s, ok := ty.(*btf.Struct); ok {
				c = s
			}
		}
		if c == nil || uintptr(c.Size) != twin.Size() {
			t.Errorf("struct %s: %v, in Go %d bytes", name, c, twin.Size())
			continue
		}
		offsets := map[string]uintptr{}
		for _, m := range c.Members {
			offsets[strings.ReplaceAll(m.Name, "_", "")] = uintptr(m.Offset.Bytes())
			if m.Name == "producer" || m.Name == "consumer" {
				offsets["ring"] = uintptr(m.Offset.Bytes()) // its first member
			}
		}
		for i := range twin.NumField() {
			f := twin.Field(i)
			at, ok := offsets[strings.ToLower(strings.ReplaceAll(f.Name, "_", ""))]
			if f.Name != "_" && f.Name != "Nested" && (!ok || at != f.Offset) {
				t.Errorf("%s.%s is at %d, in C at %d (%v)", name, f.Name, f.Offset, at, ok)
			}
		}
	}
}
