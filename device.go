// SPDX-License-Identifier: MIT

package kshm

import (
	"context"
	"fmt"
	"sync"

	"kshm/internal/sys"
)

// Device is an open kshm driver. It is safe for concurrent use.
type Device struct {
	name      string
	transport Transport

	mu      sync.Mutex
	closed  bool
	sharing sync.WaitGroup           // calls of Share under way; none begins once closed
	shares  map[*shareState]struct{} // live, for Close

	closeOnce sync.Once
	closeErr  error
}

// Open opens the driver called name. A plain name is looked up where the
// system keeps kshm drivers (Linux: /dev/kshm/NAME, Windows: \\.\kshm_NAME); a
// name with a path separator is a path.
//
// Errors: ErrNotExist, ErrPermission, ErrABI if the driver speaks another
// major version, ErrNotSupported where the system has no kernel side.
func Open(name string, opts ...Option) (*Device, error) {
	var c openConfig
	for _, o := range opts {
		o(&c)
	}
	if name == "" {
		return nil, &OpError{Op: "open", Err: ErrInvalid, Remedy: "give the driver's name or the path of its device"}
	}
	t, err := openTransport(name, c)
	if err != nil {
		return nil, opError("open", name, err)
	}
	return NewDevice(name, t), nil
}

// NewDevice makes a Device over a transport: how package kshmtest, package bpf
// and a program's own transports come in. The device owns t from now on. name
// appears in errors only.
func NewDevice(name string, t Transport) *Device {
	return &Device{name: name, transport: t, shares: make(map[*shareState]struct{})}
}

// Name is the name that the device was opened with.
func (d *Device) Name() string { return d.name }

// Info describes the driver. It stays valid after Close.
func (d *Device) Info() Info { return d.transport.Info() }

// Alloc returns a zeroed buffer of size bytes, 1 and up, in memory that suits
// sharing: page aligned, outside the Go heap, not copied to forked children.
// It is not locked or counted before it is shared. Buffer.Close frees it; a
// buffer that is dropped without Close leaks. o may be nil.
func (d *Device) Alloc(size int, o *AllocOptions) (*Buffer, error) {
	if size <= 0 {
		return nil, &OpError{Op: "alloc", Device: d.name, Err: fmt.Errorf("%w: size %d", ErrInvalid, size), Remedy: "ask for 1 byte or more"}
	}
	if o == nil {
		o = &AllocOptions{}
	}
	if d.isClosed() {
		return nil, &OpError{Op: "alloc", Device: d.name, Err: ErrClosed}
	}
	mem, free, err := d.transport.Alloc(size, *o)
	if err != nil {
		return nil, opError("alloc", d.name, err)
	}
	return newBuffer(mem, free), nil
}

// Share pins b, maps it for the driver and tells the driver. o may be nil.
// The buffer may be part of several shares at once.
//
// Errors: ErrInvalid (misaligned start, unknown options), ErrRange (length not
// in Info's bounds), ErrMemory (memory that cannot be pinned for long, such as
// a mapped file), ErrMemlock, ErrLimit, ErrNotSupported (an option that the
// driver does not have), ErrGone, ErrClosed, or the driver's own refusal. A
// refused Share changes nothing.
func (d *Device) Share(b *Buffer, o *ShareOptions) (*Share, error) {
	if b == nil {
		return nil, &OpError{Op: "share", Device: d.name, Err: fmt.Errorf("%w: nil buffer", ErrInvalid)}
	}
	if o == nil {
		o = &ShareOptions{}
	}
	if !d.beginShare() {
		return nil, &OpError{Op: "share", Device: d.name, Err: ErrClosed}
	}
	defer d.sharing.Done()
	if err := b.hold(); err != nil {
		return nil, opError("share", d.name, err)
	}
	err := d.checkStart(b.mem)
	var session Session
	if err == nil {
		// Not under the lock: pinning may wait for the memory for a long time.
		session, err = d.transport.Share(b.mem, *o)
	}
	if err != nil {
		b.release()
		return nil, opError("share", d.name, err)
	}
	st := &shareState{device: d, buffer: b, session: session, done: make(chan struct{})}
	d.mu.Lock()
	d.shares[st] = struct{}{}
	d.mu.Unlock()
	go st.pump()
	return newShare(st), nil
}

// checkStart refuses memory that does not start where the driver wants it.
func (d *Device) checkStart(mem []byte) error {
	align := d.transport.Info().PageSize
	if align <= 1 || sys.OffsetIn(mem, align) == 0 {
		return nil
	}
	return &OpError{Err: fmt.Errorf("%w: the memory does not start at a multiple of %d", ErrInvalid, align),
		Remedy: "use Alloc, or memory from mmap or VirtualAlloc"}
}

// beginShare counts a Share in, which Close will wait for; false if the device
// is closed.
func (d *Device) beginShare() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.sharing.Add(1)
	return true
}

func (d *Device) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// Control sends one of the driver's own codes: in travels to the driver, its
// answer to out. It returns the bytes written to out.
//
// Errors: ErrNotSupported if the driver has no such code, ErrRange if a buffer
// is larger than the kit takes (64 KiB on Linux), ctx.Err().
func (d *Device) Control(ctx context.Context, code ControlCode, in, out []byte) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, opError("control", d.name, err)
	}
	if d.isClosed() {
		return 0, &OpError{Op: "control", Device: d.name, Err: ErrClosed}
	}
	n, err := d.transport.Control(ctx, code, in, out)
	return n, opError("control", d.name, err)
}

// Close ends the device's shares, as Share.Close does, and closes the device;
// it waits for calls of Share that are under way. It is idempotent.
func (d *Device) Close() error {
	d.closeOnce.Do(func() { d.closeErr = opError("close", d.name, d.close()) })
	return d.closeErr
}

func (d *Device) close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.sharing.Wait()

	d.mu.Lock()
	live := make([]*shareState, 0, len(d.shares))
	for st := range d.shares {
		live = append(live, st)
	}
	d.mu.Unlock()
	var first error
	for _, st := range live {
		if err := st.end(); err != nil && first == nil {
			first = err
		}
	}
	if err := d.transport.Close(); err != nil && first == nil {
		first = err
	}
	return first
}

// forget takes an ended share off the list.
func (d *Device) forget(st *shareState) {
	d.mu.Lock()
	delete(d.shares, st)
	d.mu.Unlock()
}
