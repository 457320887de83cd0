// SPDX-License-Identifier: MIT

package sys

import (
	"errors"
	"fmt"
	"maps"
	"os"

	"golang.org/x/sys/windows"
)

// verdict is what a status of one command means.
type verdict struct {
	sentinel error
	what     string // the error's own words
	remedy   string
}

var gone = verdict{ErrGone, "the driver was removed or is being removed", "open the device again once it is back"}

// The statuses of SHARE; docs/windows.md lists them.
var shareVerdicts = map[windows.NTStatus]verdict{
	windows.STATUS_INFO_LENGTH_MISMATCH:   {ErrABI, "the driver does not know this form of the command", "install matching versions of the driver and the program"},
	windows.STATUS_INVALID_PARAMETER:      {os.ErrInvalid, "unknown options", "the driver and this library may differ in version"},
	windows.STATUS_MAPPED_ALIGNMENT:       {os.ErrInvalid, "the memory does not begin on a page", "use Alloc, or VirtualAlloc"},
	windows.STATUS_DATATYPE_MISALIGNMENT:  {os.ErrInvalid, "misaligned memory", "use Alloc, or VirtualAlloc"},
	windows.STATUS_INVALID_BUFFER_SIZE:    {ErrRange, "the driver takes no share of this length, or not as many rings", "see MinLength and MaxLength of Info"},
	windows.STATUS_ACCESS_VIOLATION:       {ErrMemory, "not mapped, or not writable", "share memory from Alloc, or ReadOnly"},
	windows.STATUS_INVALID_USER_BUFFER:    {ErrMemory, "not mapped, or not writable", "share memory from Alloc, or ReadOnly"},
	windows.STATUS_WORKING_SET_QUOTA:      {ErrMemlock, "the process may not lock as many pages", "raise its working set (SetProcessWorkingSetSize)"},
	windows.STATUS_QUOTA_EXCEEDED:         {ErrLimit, "the user's shares or shared bytes have reached the driver's cap", "close some; see MaxUserShares and MaxUserBytes of Info"},
	windows.STATUS_NOT_SUPPORTED:          {errors.ErrUnsupported, "the driver does not have this option, or takes no 32-bit programs", "see Features of Info"},
	windows.STATUS_INVALID_DEVICE_REQUEST: {errors.ErrUnsupported, "the driver does not know the code", ""},
	windows.STATUS_INVALID_HANDLE:         {os.ErrInvalid, "the event is no open handle", ""},
	windows.STATUS_OBJECT_TYPE_MISMATCH:   {os.ErrInvalid, "the event is a handle of something else", ""},
	windows.STATUS_ACCESS_DENIED:          {os.ErrPermission, "the event's handle does not allow to set it", "open it with EVENT_MODIFY_STATE"},
	windows.STATUS_FILE_CLOSED:            {os.ErrClosed, "", ""},
	windows.STATUS_DELETE_PENDING:         gone,
	windows.STATUS_DEVICE_REMOVED:         gone,
}

var openVerdicts = map[windows.NTStatus]verdict{
	windows.STATUS_OBJECT_NAME_NOT_FOUND: {os.ErrNotExist, "no such device", "install and start the driver's service, or check the name"},
	windows.STATUS_OBJECT_PATH_NOT_FOUND: {os.ErrNotExist, "no such device", "install and start the driver's service, or check the name"},
	windows.STATUS_NO_SUCH_DEVICE:        {os.ErrNotExist, "no such device", "start the driver's service"},
	windows.STATUS_ACCESS_DENIED:         {os.ErrPermission, "the device's security descriptor does not let this user in", "run as administrator, or set a descriptor for the device class"},
	windows.STATUS_DELETE_PENDING:        gone,
	windows.STATUS_DEVICE_REMOVED:        gone,
}

// The open of its own that a share has: the device was there a moment ago.
var reopenVerdicts = func() map[windows.NTStatus]verdict {
	table := maps.Clone(openVerdicts)
	for status, v := range table {
		if v.sentinel == os.ErrNotExist {
			table[status] = gone
		}
	}
	return table
}()

var infoVerdicts = map[windows.NTStatus]verdict{
	windows.STATUS_INVALID_DEVICE_REQUEST: {ErrABI, "not a kshm device", "give the name of a driver built on kshm, or WithCodes"},
	windows.STATUS_NOT_SUPPORTED:          {errors.ErrUnsupported, "the driver takes no 32-bit programs", "build for amd64 or arm64"},
	windows.STATUS_INFO_LENGTH_MISMATCH:   {ErrABI, "the driver does not know this form of the command", "install matching versions of the driver and the program"},
	windows.STATUS_DEVICE_REMOVED:         gone,
}

var controlVerdicts = map[windows.NTStatus]verdict{
	windows.STATUS_INVALID_DEVICE_REQUEST: {errors.ErrUnsupported, "the driver has no such code", ""},
	windows.STATUS_NOT_SUPPORTED:          {errors.ErrUnsupported, "the driver does not support this", ""},
	windows.STATUS_PRIVILEGE_NOT_HELD:     {os.ErrPermission, "a privilege is not held, or not enabled", "run as administrator; a program enables SeLoadDriverPrivilege in its token before it asks a driver to stop"},
	windows.STATUS_DEVICE_REMOVED:         gone,
	windows.STATUS_DELETE_PENDING:         gone,
}

// judge translates a status by a table; the status stays reachable. Other
// errors stay as they are.
func judge(err error, table map[windows.NTStatus]verdict) error {
	status, ok := errors.AsType[windows.NTStatus](err)
	if !ok {
		return err
	}
	v, ok := table[status]
	switch {
	case !ok:
		return fmt.Errorf("%w (%#08x)", status, uint32(status))
	case v.what == "":
		return &Error{Err: fmt.Errorf("%w: %w", v.sentinel, status), Remedy: v.remedy}
	}
	return &Error{Err: fmt.Errorf("%w: %s: %w", v.sentinel, v.what, status), Remedy: v.remedy}
}

func openError(err error) error    { return judge(err, openVerdicts) }
func reopenError(err error) error  { return judge(err, reopenVerdicts) }
func infoError(err error) error    { return judge(err, infoVerdicts) }
func shareError(err error) error   { return judge(err, shareVerdicts) }
func controlError(err error) error { return judge(err, controlVerdicts) }

func kickError(err error) error {
	return judge(err, map[windows.NTStatus]verdict{windows.STATUS_FILE_CLOSED: {sentinel: ErrEnded}})
}
