// SPDX-License-Identifier: MIT

package sys

import (
	"context"
	"os"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/windows"
)

// The calls are those below DeviceIoControl and CreateFile: they return the
// status itself, where the others return an error that several share.
var ntDeviceIoControlFile = windows.NewLazySystemDLL("ntdll.dll").NewProc("NtDeviceIoControlFile")

// handle is an open device, bound to the port. Its number is not given back
// while a call uses it: the system would give it to somebody else.
type handle struct {
	file windows.Handle
	port *port

	mu     sync.Mutex
	uses   int // calls under way
	closed bool
}

// openHandle opens a device for overlapped requests. The error has not been
// judged.
func openHandle(path string) (*handle, error) {
	p, err := thePort()
	if err != nil {
		return nil, err
	}
	rest, ok := strings.CutPrefix(path, `\\.\`)
	if !ok {
		return nil, &Error{Err: os.ErrInvalid, Remedy: `the path of a device begins with \\.\`}
	}
	name, err := windows.NewNTUnicodeString(`\??\` + rest)
	if err != nil {
		return nil, err
	}
	attributes := windows.OBJECT_ATTRIBUTES{ObjectName: name, Attributes: windows.OBJ_CASE_INSENSITIVE}
	attributes.Length = uint32(unsafe.Sizeof(attributes))
	var file windows.Handle
	var status windows.IO_STATUS_BLOCK
	err = windows.NtCreateFile(&file, windows.GENERIC_READ|windows.GENERIC_WRITE|windows.SYNCHRONIZE, &attributes, &status,
		nil, windows.FILE_ATTRIBUTE_NORMAL, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, windows.FILE_OPEN, 0, 0, 0)
	if err != nil {
		return nil, err
	}
	if err := p.bind(file); err != nil {
		windows.CloseHandle(file)
		return nil, err
	}
	return &handle{file: file, port: p}, nil
}

// use keeps the handle open until the function that it returns is called.
func (h *handle) use() (release func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, os.ErrClosed
	}
	h.uses++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.uses--; h.uses == 0 && h.closed {
			windows.CloseHandle(h.file)
		}
	}, nil
}

// close closes the handle, at the latest when the last call returns.
func (h *handle) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return os.ErrClosed
	}
	h.closed = true
	if h.uses == 0 {
		return windows.CloseHandle(h.file)
	}
	return nil
}

// issue hands a request to the driver. The out-buffer is mem itself if there
// is any, else room for len(out) bytes. event, if not 0, is signalled at the
// end as well. An error is a refusal: nothing is pending.
//
// A request that pends belongs to its thread, whose exit cancels it on some
// systems: the caller sees to it that the thread stays.
func (h *handle) issue(code uint32, event windows.Handle, in, out, mem []byte) (*request, error) {
	release, err := h.use()
	if err != nil {
		return nil, err
	}
	defer release()
	r, err := newRequest(in, out)
	if err != nil {
		return nil, err
	}
	if mem == nil {
		mem = r.out
	}
	o := r.overlapped
	h.port.add(r)
	answer, _, _ := ntDeviceIoControlFile.Call(uintptr(h.file), uintptr(event), 0,
		uintptr(unsafe.Pointer(o)), // comes back in the packet
		uintptr(unsafe.Pointer(o)), // begins with the status block
		uintptr(code),
		uintptr(unsafe.Pointer(unsafe.SliceData(r.in))), uintptr(len(in)),
		uintptr(unsafe.Pointer(unsafe.SliceData(mem))), uintptr(len(mem)))
	status := windows.NTStatus(uint32(answer))
	switch {
	case status == windows.STATUS_PENDING:
		return r, nil
	case isWarning(status):
		// Windows posts a packet for it all the same, other systems may not.
		// The block stays for the packet.
		r.settle(status, r.written())
		return r, nil
	}
	// It did not pend, so no packet comes.
	h.port.remove(o)
	r.finish(status, o.InternalHigh)
	return r, r.failure()
}

// cancel asks the system to cancel a request that was issued here. It then
// completes soon, if it had not yet.
func (h *handle) cancel(r *request) {
	release, err := h.use()
	if err != nil {
		return // the close has ended it
	}
	defer release()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.overlapped != nil {
		// Fails only where the request is completing at this moment.
		windows.CancelIoEx(h.file, r.overlapped)
	}
}

// call issues a request and waits for its completion. Once ctx is done, the
// request is cancelled; if that was in time, the error is ctx's.
func (h *handle) call(ctx context.Context, code uint32, in, out []byte) ([]byte, error) {
	// Nobody else may end this thread meanwhile.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	release, err := h.use()
	if err != nil {
		return nil, err
	}
	defer release()
	r, err := h.issue(code, 0, in, out, nil)
	if err != nil {
		return nil, err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		h.cancel(r)
		<-r.done
		if r.status == windows.STATUS_CANCELLED {
			return nil, ctx.Err()
		}
	}
	return r.answer, r.failure()
}

// issuer is a thread that issues requests that pend for long, and lives as long
// as its device.
type issuer struct {
	work chan func()
	quit chan struct{}
}

func newIssuer() *issuer {
	i := &issuer{make(chan func()), make(chan struct{})}
	go func() {
		runtime.LockOSThread()
		// Unlocked, the thread goes back to the runtime and stays.
		defer runtime.UnlockOSThread()
		for {
			select {
			case f := <-i.work:
				f()
			case <-i.quit:
				return
			}
		}
	}()
	return i
}

func (i *issuer) issue(h *handle, code uint32, event windows.Handle, in, out, mem []byte) (r *request, err error) {
	finished := make(chan struct{})
	f := func() {
		r, err = h.issue(code, event, in, out, mem)
		close(finished)
	}
	select {
	case i.work <- f:
		<-finished
		return r, err
	case <-i.quit:
		return nil, os.ErrClosed
	}
}
