// SPDX-License-Identifier: MIT

package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kshm"
)

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
