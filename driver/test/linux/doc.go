// SPDX-License-Identifier: MIT

// Package linux holds the tests of the Linux kit and of package kshm over it.
// They carry the build tag "kernel" and run as root in a kernel that has the
// modules kshm, digest, kshm_loop and probe loaded: see "make test-vm".
package linux
