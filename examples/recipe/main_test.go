// SPDX-License-Identifier: MIT

package main

import "os"

func Example() {
	if err := run(os.Stdout); err != nil {
		panic(err)
	}
	// Output:
	// The kernel side below is a MODEL: package kshmtest and a driver written in Go.
	// No kernel takes part. Both sides really work on the same pages.
	//
	// step  program                                           kernel (model)
	// ----  ------------------------------------------------  ------------------------------------------------
	//    1  opens the device, for overlapped requests
	//    2  sends SHARE with the address of 4096 bytes
	//    3                                                    system: 0x00220006: locks 4096 bytes, describes them in an MDL
	//    4                                                    maps 4096 bytes, sets a cancel routine, returns STATUS_PENDING
	//    4  sees SHARE pending: the memory is shared
	//    5  writes "hello, kernel" into its memory
	//    9  kicks
	//    5                                                    reads "hello, kernel", writes it back in upper case
	//    9                                                    sets the event
	//    9  wakes: 1 event
	//    5  reads "HELLO, KERNEL"
	//    6  sends DONE, 0x00220008
	//    7                                                    completes SHARE with STATUS_SUCCESS
	//    7                                                    system: unmaps the address, unlocks the pages, signals the program
	//    7                                                    completes DONE
	//    7  sees SHARE completed: the memory is its own again
	//    2  (another program) sends SHARE
	//    3                                                    system: 0x00220006: locks 4096 bytes, describes them in an MDL
	//    4                                                    maps 4096 bytes, sets a cancel routine, returns STATUS_PENDING
	//    8  (another program) is killed
	//    8                                                    system: cancels the request
	//    8                                                    cancel routine: completes SHARE with STATUS_CANCELLED
	//    7                                                    system: unmaps the address, unlocks the pages, signals the program
	//    8  (its share has ended: share request cancelled)
	//
	// bytes still locked: 0
}
