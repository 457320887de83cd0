// SPDX-License-Identifier: MIT

package sys

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// verdict is what an errno of one command means.
type verdict struct {
	sentinel error
	what     string // the error's own words
	remedy   string
}

// The errnos of SHARE; docs/writing-a-driver.md lists them.
var shareVerdicts = map[unix.Errno]verdict{
	unix.EINVAL:      {os.ErrInvalid, "unaligned start, no length, unknown options, or rings that do not fit", "start on a page and lay rings out with ring.Layout; the driver and this library may differ in version"},
	unix.EOVERFLOW:   {os.ErrInvalid, "the range passes the end of the address space", ""},
	unix.E2BIG:       {ErrABI, "the driver is older and does not know an option that is set", "update the driver"},
	unix.ERANGE:      {ErrRange, "the driver takes no share of this length, or fewer rings", "see MinLength and MaxLength of Info"},
	unix.EFAULT:      {ErrMemory, "not mapped, not writable, or memory of a device", "share memory from Alloc, or ReadOnly"},
	unix.EMEDIUMTYPE: {ErrMemory, "only anonymous, shared and huge-page memory can be pinned for long, not a file's", "use Alloc, or a memfd"},
	unix.EDQUOT:      {ErrMemlock, "RLIMIT_MEMLOCK is used up", ""},
	unix.EUSERS:      {ErrLimit, "the user's shares or shared bytes have reached kshm's cap", "raise the module's max_user_shares or max_user_bytes"},
	unix.EMFILE:      {ErrLimit, "too many shares on this device, or too many open files", "close some, or raise the module's max_open_shares or ulimit -n"},
	unix.EOPNOTSUPP:  {errors.ErrUnsupported, "the driver does not have this option", "see Features of Info"},
	unix.ENODEV:      {ErrGone, "the driver was removed", "open the device again"},
}

func (v verdict) error(errno unix.Errno) error {
	if v.what == "" {
		return &Error{Err: fmt.Errorf("%w: %w", v.sentinel, errno), Remedy: v.remedy}
	}
	return &Error{Err: fmt.Errorf("%w: %s: %w", v.sentinel, v.what, errno), Remedy: v.remedy}
}

// judge translates an errno by a table; other errors stay as they are.
func judge(err error, table map[unix.Errno]verdict) error {
	errno, ok := errors.AsType[unix.Errno](err)
	if !ok {
		return err
	}
	if v, ok := table[errno]; ok {
		return v.error(errno)
	}
	return err
}

func shareError(mem []byte, err error) error {
	switch {
	case errors.Is(err, unix.EDQUOT):
		v := shareVerdicts[unix.EDQUOT]
		v.remedy = memlockRemedy(len(mem))
		return v.error(unix.EDQUOT)
	case errors.Is(err, unix.EFAULT) && fileMapped(address(mem), uint64(len(mem))):
		// Kernels since 6.5 refuse to pin a writable file mapping with EFAULT.
		return shareVerdicts[unix.EMEDIUMTYPE].error(unix.EFAULT)
	}
	return judge(err, shareVerdicts)
}

func memlockRemedy(length int) string {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &lim) != nil {
		return "raise RLIMIT_MEMLOCK"
	}
	return fmt.Sprintf("this share needs %d KiB, the limit for all of the user's is %d KiB: raise it with ulimit -l, LimitMEMLOCK= or limits.conf, or give the program CAP_IPC_LOCK",
		(length+1023)/1024, lim.Cur/1024)
}

// fileMapped says whether any of the range is a mapping of a file on a disk.
// It serves the wording of an error only.
func fileMapped(start, length uint64) bool {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return false
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var lo, hi uint64
		var perms, offset, dev string
		var inode uint64
		n, _ := fmt.Sscanf(sc.Text(), "%x-%x %s %s %s %d", &lo, &hi, &perms, &offset, &dev, &inode)
		if n == 6 && lo < start+length && start < hi && inode != 0 && !strings.HasPrefix(dev, "00:") {
			return true
		}
	}
	return false
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &Error{Err: err, Remedy: "load the driver's module (modprobe), or check the name in /dev/kshm"}
	case errors.Is(err, fs.ErrPermission):
		return &Error{Err: err, Remedy: "run as root, or let a udev rule give " + path + " to your group"}
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return &Error{Err: fmt.Errorf("%w: %w", fs.ErrNotExist, err), Remedy: "load the driver's module"}
	}
	return err
}

var infoVerdicts = map[unix.Errno]verdict{
	unix.ENOTTY: {ErrABI, "not a kshm device", "give the name of a driver built on kshm"},
	unix.ENODEV: {ErrGone, "the driver was removed", "open the device again"},
}

func infoError(err error) error { return judge(err, infoVerdicts) }

var controlVerdicts = map[unix.Errno]verdict{
	unix.ENOTTY:     {errors.ErrUnsupported, "the driver has no such code", ""},
	unix.EOPNOTSUPP: {errors.ErrUnsupported, "the driver has no codes of its own", ""},
	unix.ENODEV:     {ErrGone, "the driver was removed", "open the device again"},
}

func controlError(err error) error { return judge(err, controlVerdicts) }

func kickError(err error) error {
	return judge(err, map[unix.Errno]verdict{unix.ESHUTDOWN: {sentinel: ErrEnded}})
}

// closedError gives os.ErrClosed to the errors that say it in other words.
func closedError(err error) error {
	if err == nil || errors.Is(err, os.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", os.ErrClosed, err)
}
