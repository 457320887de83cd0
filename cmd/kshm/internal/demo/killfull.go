// SPDX-License-Identifier: MIT

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"kshm"
)

// lineFull is what Fill says when the driver takes no more shares of this user.
const lineFull = "full"

// killFull is step 8 where a share has no descriptor that could be inherited:
// a child makes shares until the driver takes no more of this user, and is
// killed. Whether they have ended is seen by asking for one more.
func (r *runner) killFull(ctx context.Context) error {
	dev, err := kshm.Open(r.Device.Name())
	if err != nil {
		return err
	}
	defer dev.Close()
	f, err := startFamily(ctx, slices.Concat(r.Child, []string{r.Device.Name()}))
	if err != nil {
		return fmt.Errorf("start a child: %w", err)
	}
	defer f.close()
	text, err := f.expect(ctx, lineFull)
	if err != nil {
		return err
	}
	if err := tryShare(dev); !errors.Is(err, kshm.ErrLimit) {
		return fmt.Errorf("the driver's cap is reached, yet one more share says: %v", err)
	}
	r.say(8, Program, "TerminateProcess for a child with %s shares, as many as this user may have: one more is refused", text)
	f.child.Process.Kill()
	f.child.Wait()
	err = shareSoon(dev)
	ended := err == nil
	r.facts.KillShareEnded = &ended
	if err != nil {
		return fmt.Errorf("the shares outlive the process that made them: %w", err)
	}
	r.say(8, Kernel, "the shares end with the child: one more is taken")
	return nil
}

// tryShare shares a page, for a moment.
func tryShare(dev *kshm.Device) error {
	buf, err := dev.Alloc(fillSize, nil)
	if err != nil {
		return err
	}
	share, err := dev.Share(buf, nil)
	if err == nil {
		err = share.Close()
	}
	return errors.Join(err, buf.Close())
}

// shareSoon is tryShare as soon as a dead process has gone: it is not before
// its last thread has.
func shareSoon(dev *kshm.Device) error {
	for end := time.Now().Add(settleTime); ; time.Sleep(10 * time.Millisecond) {
		err := tryShare(dev)
		if !errors.Is(err, kshm.ErrLimit) || time.Now().After(end) {
			return err
		}
	}
}

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
