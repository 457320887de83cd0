// SPDX-License-Identifier: MIT

//go:build windows && kernel && kshm_test_section

package windows

// The build for systems that hand a driver a copy of the memory: it and the
// client share a named section instead.
const (
	digestImage = "digest_test_section.sys"
	loopImage   = "loop_test_section.sys"
)

// Wine opens a device although its driver refuses.
const opensRefused = true

// Wine takes DPCs and runs none.
const dpcs = false
