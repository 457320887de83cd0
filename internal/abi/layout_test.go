// SPDX-License-Identifier: MIT

package abi

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/layout.golden; only together with a new version of the ABI")

const golden = "testdata/layout.golden"

// The layout of every command is what programs and drivers in the field were
// compiled with: a change of the golden file is a change of the ABI.
func TestLayout(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(&b, "version %d.%d\n", Major, Minor)
	for _, command := range []any{RingGroup{}, Info{}, ShareArgs{}, ShareCmd{}, Wait{}, RingCounters{}, Stats{}, Control{}} {
		describe(&b, reflect.TypeOf(command))
	}
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the layout has changed:\n%swant:\n%s", b.String(), want)
	}
}

func describe(b *strings.Builder, t reflect.Type) {
	fmt.Fprintf(b, "%s: %d bytes\n", t.Name(), t.Size())
	end := uintptr(0)
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Offset != end {
			fmt.Fprintf(b, "  hidden padding of %d bytes\n", f.Offset-end)
		}
		fmt.Fprintf(b, "  %3d %s %s\n", f.Offset, f.Name, strings.ReplaceAll(f.Type.String(), "abi.", ""))
		end = f.Offset + f.Type.Size()
	}
	if end != t.Size() {
		fmt.Fprintf(b, "  hidden padding of %d bytes\n", t.Size()-end)
	}
}
