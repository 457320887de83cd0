// SPDX-License-Identifier: MIT

// Package abi is the Go side of driver/include: the control commands and the
// ring words, as cgo sees the C headers. zabi.go is generated; this file
// refuses to compile when Go would lay the same structs out differently.
package abi

import "unsafe"

//go:generate go run generate.go

// Each line is a constant array index that is in range only if the size that
// this compiler gives a type is the size that C gave it.
var (
	_ = [1]struct{}{}[unsafe.Sizeof(RingGroup{})-SizeofRingGroup]
	_ = [1]struct{}{}[unsafe.Sizeof(Info{})-SizeofInfo]
	_ = [1]struct{}{}[unsafe.Sizeof(ShareArgs{})-SizeofShareArgs]
	_ = [1]struct{}{}[unsafe.Sizeof(ShareCmd{})-SizeofShareCmd]
	_ = [1]struct{}{}[unsafe.Sizeof(Wait{})-SizeofWait]
	_ = [1]struct{}{}[unsafe.Sizeof(Stats{})-SizeofStats]
	_ = [1]struct{}{}[unsafe.Sizeof(Control{})-SizeofControl]
	_ = [1]struct{}{}[unsafe.Sizeof(RingWords{})-SizeofRingWords]
	_ = [1]struct{}{}[unsafe.Sizeof(RingCounters{})-SizeofRingCounters]
	_ = [1]struct{}{}[unsafe.Sizeof(RingControl{})-SizeofRingControl]
)
