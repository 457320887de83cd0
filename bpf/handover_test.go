// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf_test

func guest([]string) error { return nil }
