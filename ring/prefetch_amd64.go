// SPDX-License-Identifier: MIT

package ring

// prefetchw asks the processor for the lines of n bytes at p, to write them.
//
//go:noescape
func prefetchw(p *byte, n int)
