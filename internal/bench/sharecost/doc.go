// SPDX-License-Identifier: MIT

// Package sharecost measures what a share costs: SHARE, DONE and close through
// the kit, beside io_uring's registration of the same buffer, which pins and
// charges but does not map, and beside bare pinning and mapping in a kernel
// module. All take turns on one buffer, whose pages have been written to.
//
// The measurement is a test with the build tag "kernel", which runs as root in
// a kernel that has the modules kshm and probe loaded: see "make bench-share".
package sharecost
