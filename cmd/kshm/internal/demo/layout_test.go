// SPDX-License-Identifier: MIT

//go:build !kernel

package demo

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestDigestPage holds the layout of driver/samples/digest/digest.h, whose
// size its own assert repeats.
func TestDigestPage(t *testing.T) {
	page := reflect.TypeFor[digestPage]()
	want := map[string]uintptr{"request": 0, "length": 8, "flags": 12, "reply": 128, "progress": 136, "digest": 144}
	for name, offset := range want {
		if f, ok := page.FieldByName(name); !ok || f.Offset != offset {
			t.Errorf("%s is at %d, want %d", name, f.Offset, offset)
		}
	}
	header, err := os.ReadFile("../../../../driver/samples/digest/digest.h")
	if err != nil {
		t.Fatal(err)
	}
	if line := fmt.Sprintf("sizeof(struct digest_page) == %d,", page.Size()); !strings.Contains(string(header), line) {
		t.Errorf("digest.h does not say %q", line)
	}
}
