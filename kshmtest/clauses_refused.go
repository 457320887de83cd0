// SPDX-License-Identifier: MIT

package kshmtest

import (
	"context"

	"kshm"
	"kshm/ring"
)

// hasCap: the cap is low enough to try.
func hasCap(be *Backend) bool { return maxShares(be) <= 1024 }

func maxShares(be *Backend) uint32 {
	info := be.Device.Info()
	return min(info.MaxOpenShares, info.MaxUserShares)
}

// refuses holds a Share to be refused whole: with the error that is
// documented, and with nothing changed by it.
func (b *bench) refuses(be *Backend, what string, mem []byte, o *kshm.ShareOptions, want error) {
	b.Helper()
	before := b.pinned(be)
	buf, err := kshm.Wrap(mem)
	b.ok(err)
	s, err := be.Device.Share(buf, o)
	if err == nil {
		s.Close()
		b.Errorf("%s: not refused", what)
		return
	}
	b.mustBe(what, err, want)
	if n := b.pinned(be); n != before {
		b.Errorf("%s: %d pinned, %d before", what, n, before)
	}
	b.ok(buf.Close()) // not ErrShared
}

// stillWorks: a refusal before has left nothing behind.
func (b *bench) stillWorks(be *Backend) {
	b.Helper()
	b.share(be).round()
}

// refusedArguments: calls that no kernel needs to see.
func refusedArguments(b *bench) {
	be := b.device()
	_, err := be.Device.Share(nil, nil)
	b.mustBe("no buffer", err, kshm.ErrInvalid)
	for _, n := range []int{0, -1} {
		_, err = be.Device.Alloc(n, nil)
		b.mustBe("Alloc", err, kshm.ErrInvalid)
	}
	_, err = kshm.Wrap(nil)
	b.mustBe("Wrap of nothing", err, kshm.ErrInvalid)
	b.stillWorks(be)
}

// refusedLengths: one byte less than the least, one more than the most.
func refusedLengths(b *bench) {
	be := b.device()
	info := be.Device.Info()
	if info.MinLength > 1 {
		mem := b.allocSize(be, int(info.MinLength-1))
		b.refuses(be, "too short", mem.Bytes(), nil, kshm.ErrRange)
	}
	if info.MaxLength < 1<<31-1 { // larger ones do not exist everywhere
		mem := b.allocSize(be, int(info.MaxLength+1))
		b.refuses(be, "too long", mem.Bytes(), nil, kshm.ErrRange)
	}
	b.stillWorks(be)
}

// refusedMisaligned: memory starts on a page.
func refusedMisaligned(b *bench) {
	be := b.device()
	mem := b.alloc(be)
	for _, off := range []int{1, 8, 64, 512, be.Device.Info().PageSize - 1} {
		if off < mem.Len() {
			_, err := kshm.Wrap(mem.Bytes()[off:])
			b.mustBe("misaligned memory", err, kshm.ErrInvalid)
			buf, err := kshm.WrapAny(mem.Bytes()[off:])
			b.ok(err)
			_, err = be.Device.Share(buf, nil)
			b.mustBe("misaligned memory", err, kshm.ErrInvalid)
			b.ok(buf.Close())
		}
	}
	b.shareOf(be, mem).round()
}

// refusedOptions: options that the driver does not have, or nobody has.
func refusedOptions(b *bench) {
	be := b.device()
	info := be.Device.Info()
	mem := b.alloc(be).Bytes()
	b.refuses(be, "nine ring groups", mem, &kshm.ShareOptions{Rings: make([]ring.Group, 9)}, kshm.ErrInvalid)
	if info.Features&kshm.FeatureRings == 0 {
		group := ring.Group{Capacity: 4096, Count: 1}
		b.refuses(be, "rings", mem, &kshm.ShareOptions{Rings: []ring.Group{group}}, kshm.ErrNotSupported)
	}
	if !canReadOnly(be) {
		b.refuses(be, "read-only", mem, &kshm.ShareOptions{ReadOnly: true}, kshm.ErrNotSupported)
	}
	b.stillWorks(be)
}

// refusedTooMany: the cap on shares holds, and is given back.
func refusedTooMany(b *bench) {
	be := b.device()
	before := b.pinned(be)
	n := int(maxShares(be))
	mem := b.alloc(be)
	shares := make([]*work, n)
	for i := range shares {
		shares[i] = b.shareOf(be, mem)
	}
	b.refuses(be, "one share too many", mem.Bytes(), nil, kshm.ErrLimit)
	b.ok(shares[0].share.Close())
	// Memory of its own: a driver that polls may answer through any share.
	again := b.shareOf(be, b.alloc(be))
	again.round()
	for _, w := range append(shares, again) {
		b.ok(w.share.Close())
	}
	if n := b.pinned(be); n != before {
		b.Errorf("%d pinned, %d before", n, before)
	}
}

// refusedForeign: memory that cannot stay locked for long.
func refusedForeign(b *bench) {
	be := b.device()
	b.refuses(be, "foreign memory", be.Foreign(b), nil, kshm.ErrMemory)
	b.stillWorks(be)
}

// refusedControl: a code that the driver does not have, and a dead context.
func refusedControl(b *bench) {
	be := b.device()
	code := kshm.CTLCode(kshm.FileDeviceUnknown, 0xfff, kshm.MethodBuffered, kshm.FileAnyAccess)
	_, err := be.Device.Control(context.Background(), code, nil, nil)
	b.mustBe("an unknown code", err, kshm.ErrNotSupported)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = be.Device.Control(ctx, code, nil, nil)
	b.mustBe("a dead context", err, context.Canceled)
	b.stillWorks(be)
}
