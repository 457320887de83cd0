// SPDX-License-Identifier: MIT

//go:build kernel

package main

// The expected line is what sha256sum says of the same bytes.
func Example() {
	main()
	// Output: e346a97aa74154f35a841e970cd3dd71e19e3f464320ed9e3ba32f1bced1f1ee
}
