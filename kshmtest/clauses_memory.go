// SPDX-License-Identifier: MIT

package kshmtest

import (
	"fmt"
	"os"
	"testing"

	"kshm"
)

// anyLength: a share takes any length that the driver allows, in bytes.
func anyLength(b *bench) {
	be := b.device()
	info := be.Device.Info()
	page := os.Getpagesize()
	least := int(info.MinLength)
	for _, n := range []int{least, least + 1, be.Size, be.Size + 1, be.Size + page - 1, be.Size + page} {
		if uint64(n) > info.MaxLength {
			continue
		}
		b.Run(fmt.Sprint(n), func(t *testing.T) {
			b := &bench{T: t, open: b.open}
			w := b.shareOf(be, b.allocSize(be, n))
			st, err := w.share.Stats()
			b.ok(err)
			if st.Length != uint64(n) {
				b.Errorf("the kernel says %d bytes", st.Length)
			}
			w.round()
		})
	}
}

// partOfBuffer: memory that the program wraps itself is shared where it lies;
// closing the wrapper does not unmap it.
func partOfBuffer(b *bench) {
	be := b.device()
	page := be.Device.Info().PageSize
	whole := b.allocSize(be, be.Size+page)
	part, err := kshm.Wrap(whole.Bytes()[page:])
	b.ok(err)
	w := b.shareOf(be, &memory{part, 0})
	w.round()
	for i, v := range whole.Bytes()[:page] {
		if v != 0 {
			b.Fatalf("byte %d, which was not shared, has become %#x", i, v)
		}
	}
	b.ok(w.share.Close())
	b.ok(part.Close())
	if err := be.Answered(whole.Bytes()[page:], w.mem.asked); err != nil {
		b.Errorf("after the wrapper's Close: %v", err)
	}
}

func canReadOnly(be *Backend) bool {
	return be.Device.Info().Features&kshm.FeatureShareRead != 0
}

// readOnlyShare: a driver may refuse to do without writing, but not with
// another error, and what it takes is read-only.
func readOnlyShare(b *bench) {
	be := b.device()
	mem := b.alloc(be)
	s, err := be.Device.Share(mem.Buffer, &kshm.ShareOptions{ReadOnly: true})
	if err != nil {
		b.mustBe("read-only share", err, kshm.ErrNotSupported)
		b.shareOf(be, mem).round()
		return
	}
	st, err := s.Stats()
	b.ok(err)
	if !st.ReadOnly {
		b.Error("the kernel says that it may write")
	}
	b.ok(s.Close())
}

// severalShares: the shares of one device do not disturb each other.
func severalShares(b *bench) {
	be := b.device()
	shares := make([]*work, min(8, be.Device.Info().MaxOpenShares))
	for i := range shares {
		shares[i] = b.share(be)
	}
	for range 5 {
		for _, w := range shares {
			w.ask()
		}
		for _, w := range shares {
			w.answered()
		}
	}
	for i, w := range shares {
		b.ok(w.share.Close())
		for _, other := range shares[i+1:] {
			other.round()
		}
	}
}

// sharedTwice: one buffer may be part of several shares, which end apart.
func sharedTwice(b *bench) {
	be := b.device()
	if be.Device.Info().MaxOpenShares < 2 {
		return
	}
	mem := b.alloc(be)
	one, two := b.shareOf(be, mem), b.shareOf(be, mem)
	one.ask()
	one.appears() // a driver that polls may answer through the other share
	two.ask()
	two.appears()
	b.ok(one.share.Close())
	two.ask()
	two.appears()
	b.mustBe("closing the buffer", mem.Close(), kshm.ErrShared)
	b.ok(two.share.Close())
	b.ok(mem.Close())
}

// bufferInUse: a buffer is not unmapped while the kernel may touch it.
func bufferInUse(b *bench) {
	be := b.device()
	mem := b.alloc(be)
	w := b.shareOf(be, mem)
	b.mustBe("closing a shared buffer", mem.Close(), kshm.ErrShared)
	w.round()
	b.ok(w.share.Close())
	if err := w.look(); err != nil {
		b.Errorf("after the share: %v", err)
	}
	b.ok(mem.Close())
	b.ok(mem.Close())
	if mem.Bytes() != nil {
		b.Error("a closed buffer still shows its bytes")
	}
	_, err := be.Device.Share(mem.Buffer, nil)
	b.mustBe("sharing a closed buffer", err, kshm.ErrClosed)
}

// liveBothWays: what the program writes after Share reaches the driver, and
// what the driver writes reaches the program while the share lives, through
// the memory alone. Only the driver is told when to look.
func liveBothWays(b *bench) {
	w := b.share(b.device())
	for range 20 {
		w.ask()
		w.appears()
	}
}

// liveWithoutCall: neither side calls anything.
func liveWithoutCall(b *bench) {
	w := b.share(b.device())
	for range 20 {
		w.write()
		w.appears()
	}
	st, err := w.share.Stats()
	b.ok(err)
	if st.Kicks != 0 {
		b.Errorf("%d kicks", st.Kicks)
	}
}
