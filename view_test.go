// SPDX-License-Identifier: MIT

package kshm_test

import (
	"errors"
	"math"
	"sync/atomic"
	"testing"

	"kshm"
)

type header struct {
	Position atomic.Uint64
	Flags    uint32
	Name     [12]byte
	Table    [2]struct{ A, B uint16 }
}

func TestView(t *testing.T) {
	b := wrap(t).Bytes()
	h, err := kshm.View[header](b, 64)
	if err != nil {
		t.Fatal(err)
	}
	h.Position.Store(0x0102030405060708)
	h.Table[1].B = 0xabcd
	again, err := kshm.View[header](b, 64)
	if err != nil || again != h {
		t.Errorf("a second view is %p, %v; the first %p", again, err, h)
	}
	if v, err := kshm.View[atomic.Uint64](b, 64); err != nil || v.Load() != 0x0102030405060708 {
		t.Errorf("the bytes do not show the store: %v", err)
	}
	if _, err := kshm.View[[4096]byte](b, 0); err != nil {
		t.Errorf("all of it: %v", err)
	}
	if v, err := kshm.View[byte](b, 4095); err != nil || v != &b[4095] {
		t.Errorf("the last byte: %v", err)
	}
}

func TestViewRefusals(t *testing.T) {
	b := wrap(t).Bytes()
	for name, view := range map[string]func() error{
		"before":            at[uint32](b, -4),
		"behind":            at[uint32](b, 4096),
		"over the edge":     at[uint64](b, 4092),
		"far away":          at[uint64](b, math.MaxInt),
		"far before":        at[uint64](b, math.MinInt),
		"too large":         at[[4097]byte](b, 0),
		"misaligned":        at[uint64](b, 4+1),
		"misaligned struct": at[header](b, 4),
		"of nothing":        at[byte](nil, 0),
		"without size":      at[struct{}](b, 0),
		"array of none":     at[[0]uint64](nil, 0),
		"string":            at[string](b, 0),
		"pointer":           at[*int](b, 0),
		"slice":             at[[]byte](b, 0),
		"func":              at[func()](b, 0),
		"chan":              at[chan int](b, 0),
		"map":               at[map[int]int](b, 0),
		"interface":         at[any](b, 0),
		"pointer inside":    at[struct{ A [3]struct{ P *byte } }](b, 0),
		"atomic pointer":    at[atomic.Pointer[int]](b, 0),
	} {
		err := view()
		if _, ok := errors.AsType[*kshm.OpError](err); !errors.Is(err, kshm.ErrInvalid) || !ok {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

func at[T any](b []byte, off int) func() error {
	return func() error {
		v, err := kshm.View[T](b, off)
		if err != nil && v != nil {
			return errors.New("a view and an error")
		}
		return err
	}
}
