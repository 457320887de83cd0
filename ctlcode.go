// SPDX-License-Identifier: MIT

package kshm

import "fmt"

// ControlCode is the number of a device request, built like CTL_CODE of
// <devioctl.h>: device type (16 bits), access (2), function (12), method (2).
// On Linux a driver's own codes are such numbers too.
type ControlCode uint32

// Method says how a request's buffers reach the driver.
type Method uint32

// The methods.
const (
	MethodBuffered  Method = 0
	MethodInDirect  Method = 1
	MethodOutDirect Method = 2
	MethodNeither   Method = 3
)

// Access says which rights on the handle a request needs.
type Access uint32

// The rights; FileReadAccess|FileWriteAccess asks for both.
const (
	FileAnyAccess   Access = 0
	FileReadAccess  Access = 1
	FileWriteAccess Access = 2
)

// FileDeviceUnknown is the device type of the classic recipe's codes.
const FileDeviceUnknown = 0x22

// The classic recipe's two codes.
const (
	CodeShare ControlCode = FileDeviceUnknown<<16 | 1<<2 | ControlCode(MethodOutDirect) // 0x00220006
	CodeDone  ControlCode = FileDeviceUnknown<<16 | 2<<2 | ControlCode(MethodBuffered)  // 0x00220008
)

// CTLCode composes a code as the macro CTL_CODE does. Bits that do not fit
// their field (16, 12, 2 and 2 bits) are dropped.
func CTLCode(device, function uint32, m Method, a Access) ControlCode {
	return ControlCode(device&0xffff<<16 | uint32(a)&3<<14 | function&0xfff<<2 | uint32(m)&3)
}

// Device is the device type.
func (c ControlCode) Device() uint32 { return uint32(c) >> 16 }

// Access is the access that the handle needs.
func (c ControlCode) Access() Access { return Access(c >> 14 & 3) }

// Function is the function number; 0x800 and up are free to vendors.
func (c ControlCode) Function() uint32 { return uint32(c) >> 2 & 0xfff }

// Method is how the buffers travel.
func (c ControlCode) Method() Method { return Method(c & 3) }

// String prints the number and its parts.
func (c ControlCode) String() string {
	return fmt.Sprintf("%#08x (device %#x, function %#x, %s, %s)",
		uint32(c), c.Device(), c.Function(), c.Method(), c.Access())
}

func (m Method) String() string {
	return [...]string{"METHOD_BUFFERED", "METHOD_IN_DIRECT", "METHOD_OUT_DIRECT", "METHOD_NEITHER"}[m&3]
}

func (a Access) String() string {
	return [...]string{"FILE_ANY_ACCESS", "FILE_READ_ACCESS", "FILE_WRITE_ACCESS", "FILE_READ_ACCESS|FILE_WRITE_ACCESS"}[a&3]
}
