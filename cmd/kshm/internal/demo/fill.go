// SPDX-License-Identifier: MIT

package demo

import (
	"errors"
	"fmt"
	"io"
	"os"

	"kshm"
)

// lineFull is what Fill says when the driver takes no more shares of this user.
const lineFull = "full"

const fillSize = digestData + 4096

// Fill is the child: it shares until the driver takes no more of this user,
// over as many opens of the device as that takes, says how many there are, and
// waits to be killed.
func Fill(device string) error {
	var devices []*kshm.Device
	for n := 0; ; {
		dev, err := kshm.Open(device)
		if err != nil {
			return err
		}
		devices = append(devices, dev)
		made, err := fillOne(dev)
		n += made
		if err != nil {
			return err
		}
		if made == 0 { // an open that has none yet is not what is full
			fmt.Println(lineFull, n)
			_, err := io.Copy(io.Discard, os.Stdin)
			for _, dev := range devices {
				err = errors.Join(err, dev.Close())
			}
			return err
		}
	}
}

// fillOne makes as many shares as one open device takes.
func fillOne(dev *kshm.Device) (n int, err error) {
	for {
		buf, err := dev.Alloc(fillSize, nil)
		if err != nil {
			return n, err
		}
		if _, err := dev.Share(buf, nil); errors.Is(err, kshm.ErrLimit) {
			return n, buf.Close()
		} else if err != nil {
			return n, errors.Join(err, buf.Close())
		}
		n++
	}
}
