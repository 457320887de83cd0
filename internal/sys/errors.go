// SPDX-License-Identifier: MIT

// Package sys holds the system calls of kshm: memory, the control commands of
// package abi, and the translation of system errors. Each concept has a file
// per system (_linux, _windows, _other) with the same names in it.
package sys

import "errors"

// The sentinels that only a system can tell apart; package kshm exports them.
var (
	ErrRange   = errors.New("length out of range")
	ErrMemory  = errors.New("memory cannot be shared")
	ErrMemlock = errors.New("locked-memory limit exceeded")
	ErrLimit   = errors.New("too many shares or shared bytes")
	ErrABI     = errors.New("incompatible driver ABI")
	ErrGone    = errors.New("driver is gone")
	// ErrEnded is the kernel's word that a share has ended; why is in its
	// statistics. It stays inside the project.
	ErrEnded = errors.New("share has ended")
)

// Error is a system's error with its sentinel, and what a user can do.
type Error struct {
	Err    error
	Remedy string
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives sentinel and system error to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }
