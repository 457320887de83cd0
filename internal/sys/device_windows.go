// SPDX-License-Identifier: MIT

package sys

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/windows"

	"kshm/internal/abi"
)

// Device is an open kshm device.
type Device struct {
	path   string
	handle *handle
	// SHARE may take its time, until the pages are locked: a WAIT must not
	// stand in line behind it.
	shares, waits *issuer
	turn          sync.Mutex // of SHARE and DONE of the classic recipe
	current       *request   // of the latest classic share, guarded by turn

	most atomic.Pointer[limits] // once Info has asked for them
	live atomic.Int64           // shares
}

// limits are what the driver says that an open device may have.
type limits struct {
	length uint64
	shares int64
}

// OpenDevice opens a device by its path, which begins with \\.\.
func OpenDevice(path string) (*Device, error) {
	h, err := openHandle(path)
	if err != nil {
		return nil, openError(err)
	}
	return &Device{path: path, handle: h, shares: newIssuer(), waits: newIssuer()}, nil
}

// Info fills in the driver's description.
func (d *Device) Info(info *abi.Info) error {
	*info = abi.Info{Size: abi.SizeofInfo}
	if err := exchange(d.handle, abi.CtlInfo, info); err != nil {
		return infoError(err)
	}
	d.most.Store(&limits{info.Max_length, int64(info.Max_open_shares)})
	return nil
}

// admit counts a share in. The kit would refuse one that is too long as well,
// but not before all of it is locked; and it cannot count the shares of one
// program's open device where each share has an open of its own.
func (d *Device) admit(length uint64) error {
	live, most := d.live.Add(1), d.most.Load()
	switch {
	case most != nil && length > most.length:
		d.live.Add(-1)
		return shareError(windows.STATUS_INVALID_BUFFER_SIZE)
	case most != nil && live > most.shares:
		d.live.Add(-1)
		return shareError(windows.STATUS_QUOTA_EXCEEDED)
	}
	return nil
}

// Share offers mem with the given arguments; address and size are set here.
// Each share has a handle of its own, since on one handle the kit tells shares
// apart by their cookies, and programs may use one cookie twice.
func (d *Device) Share(mem []byte, args *abi.ShareArgs) (*Share, error) {
	if uint64(len(mem)) > math.MaxUint32 {
		return nil, fmt.Errorf("%w: %d bytes, a request takes less than 4 GiB", ErrRange, len(mem))
	}
	args.Size = abi.SizeofShareArgs
	args.Address = address(mem)
	args.Length = uint64(len(mem))
	code := uint32(abi.CtlShare)
	if args.Access&abi.AccessWrite == 0 {
		code = abi.CtlShareRead
	}
	if err := d.admit(args.Length); err != nil {
		return nil, err
	}
	h, err := openHandle(d.path)
	if err != nil {
		d.live.Add(-1)
		return nil, reopenError(err)
	}
	r, err := d.shares.issue(h, code, 0, append(bytesOf(args), shareTail(mem)...), nil, mem)
	if err != nil {
		d.live.Add(-1)
		h.close()
		return nil, shareError(err)
	}
	r.then(func() { d.live.Add(-1) })
	return &Share{handle: h, waits: d.waits, request: r, cookie: args.Cookie, length: args.Length, access: args.Access}, nil
}

// Control sends one of the driver's own codes. The request is cancelled when
// ctx is done.
func (d *Device) Control(ctx context.Context, code uint32, in, out []byte) (int, error) {
	const most = 1 << 30 // in one block with its OVERLAPPED
	if len(in) > most || len(out) > most {
		return 0, fmt.Errorf("%w: more than 1 GiB in one request", ErrRange)
	}
	answer, err := d.handle.call(ctx, code, in, out)
	if err != nil {
		return 0, controlError(err)
	}
	return copy(out, answer), nil
}

// Close closes the device. All shares have ended before.
func (d *Device) Close() error {
	err := d.handle.close()
	if err == nil {
		close(d.shares.quit)
		close(d.waits.quit)
	}
	return err
}

// bytesOf is the memory of a command.
func bytesOf[T any](command *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(command)), unsafe.Sizeof(*command))
}

// exchange sends a command whose answer takes its place.
func exchange[T any](h *handle, code uint32, command *T) error {
	b := bytesOf(command)
	answer, err := h.call(context.Background(), code, b, b)
	if err != nil {
		return err
	}
	// An older driver answers what it knows; the rest of the command is zero.
	if len(answer) < 4 || len(answer) > len(b) || binary.NativeEndian.Uint32(answer) != uint32(len(answer)) {
		return fmt.Errorf("%w: an answer of %d bytes to a command of %d", ErrABI, len(answer), len(b))
	}
	copy(b, answer)
	return nil
}

// reasonOf reads the end of a share from the completion of its request.
func reasonOf(s windows.NTStatus) uint32 {
	switch s {
	case windows.STATUS_SUCCESS:
		return abi.EndDone
	case windows.STATUS_FILE_CLOSED:
		return abi.EndClosed
	case windows.STATUS_PROCESS_IS_TERMINATING:
		return abi.EndExit
	case windows.STATUS_DEVICE_REMOVED:
		return abi.EndGone
	case windows.STATUS_DATA_ERROR:
		return abi.EndCorrupt
	case windows.STATUS_CANCELLED:
		return abi.EndCancelled
	}
	return abi.EndRevoked
}
