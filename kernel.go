// SPDX-License-Identifier: MIT

package kshm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"kshm/internal/abi"
	"kshm/internal/sys"
	"kshm/ring"
)

// kernelTransport speaks the control ABI to a driver built on kshm's kit.
type kernelTransport struct {
	device *sys.Device
	info   Info
}

// newKernelTransport asks the driver who it is before anything else.
func newKernelTransport(d *sys.Device, side string) (*kernelTransport, error) {
	var i abi.Info
	if err := d.Info(&i); err != nil {
		d.Close()
		return nil, err
	}
	if i.Abi_major != abi.Major {
		d.Close()
		return nil, &OpError{Err: fmt.Errorf("%w: the driver speaks version %d.%d, this library %d.%d", ErrABI, i.Abi_major, i.Abi_minor, abi.Major, abi.Minor),
			Remedy: "install matching versions of the driver and the program"}
	}
	return &kernelTransport{d, Info{
		KernelSide: side, Driver: cString(i.Driver_name[:]), DriverVersion: i.Driver_version,
		Major: i.Abi_major, Minor: i.Abi_minor, Features: Features(i.Features),
		PageSize: int(i.Page_size), MinLength: i.Min_length, MaxLength: i.Max_length,
		MaxUserBytes: i.Max_user_bytes, MaxOpenShares: i.Max_open_shares, MaxUserShares: i.Max_user_shares,
	}}, nil
}

func cString(c []int8) string {
	b := make([]byte, 0, len(c))
	for _, v := range c {
		b = append(b, byte(v))
	}
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

func (t *kernelTransport) Info() Info { return t.info }

func (t *kernelTransport) Alloc(size int, o AllocOptions) ([]byte, func() error, error) {
	mem, err := sys.Alloc(size, o.HugePages)
	return mem, func() error { return sys.Free(mem) }, err
}

func (t *kernelTransport) Share(mem []byte, o ShareOptions) (Session, error) {
	args := abi.ShareArgs{Cookie: o.Cookie, Access: abi.AccessRead | abi.AccessWrite, Event: uint64(o.Event)}
	if o.ReadOnly {
		args.Access = abi.AccessRead
	}
	if err := ringTable(&args.Rings, o.Rings); err != nil {
		return nil, err
	}
	s, err := t.device.Share(mem, &args)
	if err != nil {
		return nil, err
	}
	return &kernelSession{s}, nil
}

// ringTable converts groups to the ABI. What does not fit into it is refused
// here, everything else by the kernel.
func ringTable(table *[abi.RingGroups]abi.RingGroup, groups []ring.Group) error {
	if len(groups) > len(table) {
		return fmt.Errorf("%w: %d ring groups, at most %d", ErrInvalid, len(groups), len(table))
	}
	for i, g := range groups {
		if g.Offset < 0 || uint64(g.Capacity) > math.MaxUint32 || uint64(g.Count) > math.MaxUint32 {
			return fmt.Errorf("%w: ring group %d: %+v", ErrInvalid, i, g)
		}
		table[i] = abi.RingGroup{Offset: uint64(g.Offset), Capacity: uint32(g.Capacity), Count: uint32(g.Count), Flags: uint32(g.Direction)}
	}
	return nil
}

func (t *kernelTransport) Control(ctx context.Context, code ControlCode, in, out []byte) (int, error) {
	return t.device.Control(ctx, uint32(code), in, out)
}

func (t *kernelTransport) Close() error { return t.device.Close() }

type kernelSession struct{ share *sys.Share }

func (s *kernelSession) Kick() error { return s.share.Kick() }

func (s *kernelSession) Pump(wake func(events uint64)) error {
	for {
		n, err := s.share.NextEvents()
		if err == nil {
			wake(n)
			continue
		}
		if !errors.Is(err, io.EOF) {
			// Nothing will be heard of the share any more, so it must not live.
			s.share.Done()
			return err
		}
		// Zero bytes say that the share is over; its statistics, why.
		if stats, err := s.Stats(); err != nil || stats.Reason != Live {
			return cmp.Or(err, stats.Reason.Err())
		}
	}
}

func (s *kernelSession) Stats() (Stats, error) {
	var a abi.Stats
	if err := s.share.Stats(&a); err != nil {
		return Stats{}, err
	}
	return Stats{
		Reason: Reason(a.Reason), ReadOnly: a.Access&abi.AccessWrite == 0, Length: a.Length,
		Pinned: a.Pinned, Kicks: a.Kicks, Events: a.Events, Wakes: a.Wakes,
		PinTime: time.Duration(a.Pin_ns), MapTime: time.Duration(a.Map_ns),
		CorruptOffset: a.Corrupt_offset, CorruptWhy: a.Corrupt_why,
		ToKernel: ringCounters(&a.Rings[abi.RingToKernel]), ToUser: ringCounters(&a.Rings[abi.RingToUser]),
	}, nil
}

func ringCounters(c *abi.RingCounters) ring.Counters {
	return ring.Counters{
		Records: c.Records, Bytes: c.Bytes, Drops: c.Drops, HighWater: c.High_water,
		Wakes: c.Wakes, Suppressed: c.Suppressed, Sleeps: c.Sleeps, Spurious: c.Spurious,
		Stall: time.Duration(c.Stall_ns),
	}
}

func (s *kernelSession) End() error {
	_, err := s.share.Done()
	return err
}

func (s *kernelSession) Close() error { return s.share.Close() }
