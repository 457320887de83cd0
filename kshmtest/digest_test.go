// SPDX-License-Identifier: MIT

package kshmtest

import (
	"os"
	"reflect"
	"regexp"
	"strconv"
	"testing"
)

// TestDigestHeader holds this side's copy of the layout to the C header.
func TestDigestHeader(t *testing.T) {
	header, err := os.ReadFile("../driver/samples/digest/digest.h")
	if err != nil {
		t.Fatal(err)
	}
	number := func(pattern string) uint64 {
		m := regexp.MustCompile(pattern).FindSubmatch(header)
		if m == nil {
			t.Fatalf("no %s in digest.h", pattern)
		}
		n, err := strconv.ParseUint(string(m[1]), 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for name, want := range map[string]uint64{
		"DATA": digestData, "FIRST": digestFirst, "LAST": digestLast,
		"BAD_LENGTH": digestBadLength, "BAD_FLAGS": digestBadFlags,
	} {
		if got := number(`#define DIGEST_` + name + ` (\w+)`); got != want {
			t.Errorf("DIGEST_%s is %d in C, %d here", name, got, want)
		}
	}
	page := reflect.TypeFor[digestPage]()
	if got := number(`sizeof\(struct digest_page\) == (\w+)`); got != uint64(page.Size()) {
		t.Errorf("the page has %d bytes in C, %d here", got, page.Size())
	}
	for name, want := range map[string]uintptr{"request": 0, "length": digestLengthAt, "flags": digestFlagsAt, "reply": 128, "progress": 136, "digest": 144} {
		if f, ok := page.FieldByName(name); !ok || f.Offset != want {
			t.Errorf("%s is at %d, want %d", name, f.Offset, want)
		}
	}
}
