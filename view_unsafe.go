// SPDX-License-Identifier: MIT

package kshm

import (
	"fmt"
	"reflect"
	"unsafe"
)

// View looks at the bytes of b from off on as a T, without a copy. T has a
// fixed size, 1 byte and up, and no pointers in it (no string, slice, map, interface, func or
// channel either); off suits T's alignment and all of T lies inside b.
// The view is memory like b's: it ends with the buffer, and words that the
// driver uses at the same time need sync/atomic.
//
// Errors: ErrInvalid.
func View[T any](b []byte, off int) (*T, error) {
	t := reflect.TypeFor[T]()
	if name := pointerIn(t); name != "" {
		return nil, &OpError{Op: "view", Err: fmt.Errorf("%w: %s holds a pointer (%s)", ErrInvalid, t, name)}
	}
	if t.Size() == 0 {
		return nil, &OpError{Op: "view", Err: fmt.Errorf("%w: %s has no size", ErrInvalid, t)}
	}
	if off < 0 || off > len(b) || t.Size() > uintptr(len(b)-off) {
		return nil, &OpError{Op: "view", Err: fmt.Errorf("%w: %s of %d bytes at %d is outside %d bytes", ErrInvalid, t, t.Size(), off, len(b))}
	}
	p := unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), off)
	if uintptr(p)%uintptr(t.Align()) != 0 {
		return nil, &OpError{Op: "view", Err: fmt.Errorf("%w: %d is not aligned to %d for %s", ErrInvalid, off, t.Align(), t)}
	}
	return (*T)(p), nil
}

// pointerIn names the first type inside t that holds a pointer.
func pointerIn(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Array:
		return pointerIn(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if name := pointerIn(t.Field(i).Type); name != "" {
				return name
			}
		}
		return ""
	case reflect.Pointer, reflect.UnsafePointer, reflect.String, reflect.Slice,
		reflect.Map, reflect.Interface, reflect.Func, reflect.Chan:
		return t.String()
	}
	return ""
}
