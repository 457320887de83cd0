// SPDX-License-Identifier: MIT

//go:build !amd64

package ring

func prefetchw(p *byte, n int) {}
