// SPDX-License-Identifier: MIT

// Classic drives a driver of the recipe by its own control codes: the sample
// driver/samples/mydriver, or any other that keeps SHARE pending and completes
// it at DONE. Windows only, since that is where such drivers are.
package main

import (
	"context"
	"fmt"
	"log"
	"runtime"

	"kshm"
)

// The numbers come from the driver's header. These are mydriver's.
const (
	codeShare = kshm.ControlCode(0x00220006) // pends; its out-buffer is the memory
	codeDone  = kshm.ControlCode(0x00220008) // completes SHARE, then itself
)

var codePoke = kshm.CTLCode(kshm.FileDeviceUnknown, 3, kshm.MethodBuffered, kshm.FileAnyAccess) // adds 1 to every byte

func main() {
	if runtime.GOOS != "windows" {
		fmt.Println("Drivers of the classic recipe exist on Windows. Here, see examples/hello for the Linux module, or examples/recipe, which needs no driver.")
		return
	}
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	dev, err := kshm.Open(`\\.\mydriver`, kshm.WithCodes(codeShare, codeDone))
	if err != nil {
		return err
	}
	defer dev.Close()
	buf, err := dev.Alloc(5, nil)
	if err != nil {
		return err
	}
	copy(buf.Bytes(), "HAL9:") // each byte is one less than it should be

	share, err := dev.Share(buf, nil) // the request pends: it is the share
	if err != nil {
		return err
	}
	if _, err := dev.Control(ctx, codePoke, nil, nil); err != nil {
		return err
	}
	if err := share.Close(); err != nil { // DONE: both requests have completed
		return err
	}
	fmt.Printf("%s\n", buf.Bytes())
	return buf.Close()
}
