// SPDX-License-Identifier: MIT

package sys

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"kshm/internal/abi"
)

// Device is an open kshm device node.
type Device struct{ file *os.File }

// OpenDevice opens a node.
func OpenDevice(path string) (*Device, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, openError(path, err)
	}
	return &Device{f}, nil
}

// Info fills in the driver's description.
func (d *Device) Info(info *abi.Info) error {
	info.Size = abi.SizeofInfo
	_, err := ioctl(d.file, abi.IoctlInfo, info)
	return infoError(err)
}

// Share offers mem with the given arguments; address and size are set here.
func (d *Device) Share(mem []byte, args *abi.ShareArgs) (*Share, error) {
	args.Size = abi.SizeofShareArgs
	args.Address = address(mem)
	args.Length = uint64(len(mem))
	fd, err := ioctl(d.file, abi.IoctlShare, args)
	if err != nil {
		return nil, shareError(mem, err)
	}
	// Non-blocking, so that reads park in the runtime's poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &Share{os.NewFile(uintptr(fd), "kshm share")}, nil
}

// Control sends one of the driver's own codes. The driver runs it to its end;
// ctx only keeps it from starting.
func (d *Device) Control(ctx context.Context, code uint32, in, out []byte) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if len(in) > abi.ControlMax || len(out) > abi.ControlMax {
		return 0, ErrRange
	}
	n, err := control(d.file, code, in, out)
	return n, controlError(err)
}

// Close closes the node. Shares live on.
func (d *Device) Close() error { return d.file.Close() }

// Share is a share's file descriptor.
type Share struct{ file *os.File }

// Kick tells the driver that there is something to do.
func (s *Share) Kick() error {
	_, err := ioctl(s.file, abi.IoctlKick, &abi.ShareCmd{Size: abi.SizeofShareCmd})
	return kickError(err)
}

// Done ends the share and says with which reason it has ended.
func (s *Share) Done() (uint32, error) {
	reason, err := ioctl(s.file, abi.IoctlDone, &abi.ShareCmd{Size: abi.SizeofShareCmd})
	return uint32(reason), err
}

// Stats fills in the kernel's counters.
func (s *Share) Stats(stats *abi.Stats) error {
	*stats = abi.Stats{Size: abi.SizeofStats}
	_, err := ioctl(s.file, abi.IoctlStats, stats)
	return err
}

// NextEvents waits until there are events that no NextEvents has returned and
// returns how many there have been in all; io.EOF once the share has ended. It
// holds no thread while it waits.
func (s *Share) NextEvents() (uint64, error) {
	var n nativeUint64
	if _, err := s.file.Read(n[:]); err != nil {
		return 0, err
	}
	return n.value(), nil
}

// Close closes the descriptor, which ends a live share.
func (s *Share) Close() error { return s.file.Close() }
