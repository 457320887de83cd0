// SPDX-License-Identifier: MIT

//go:build !(linux && amd64)

// Bpf is an example for Linux.
package main

import "fmt"

func main() { fmt.Println("this example is for Linux on amd64") }
