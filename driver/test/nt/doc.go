// SPDX-License-Identifier: MIT

// Package nt tests the Windows kit of driver/windows on Linux: the same C files
// are compiled against a small fake of the system (shim/) and run under the
// sanitizers. cases.txt holds the cases of order that the Go model shares.
package nt
