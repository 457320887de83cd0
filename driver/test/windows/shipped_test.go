// SPDX-License-Identifier: MIT

//go:build windows && kernel && !kshm_test_section

package windows

const (
	digestImage = "digest.sys"
	loopImage   = "loop.sys"
)

const (
	opensRefused = false
	dpcs         = true
)
