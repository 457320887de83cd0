// SPDX-License-Identifier: MIT

package sys

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/windows"
)

// port is kshm's own completion port: the runtime's takes only requests that
// the runtime made. One thread serves it, for all devices of the process.
type port struct {
	handle windows.Handle

	mu      sync.Mutex
	pending map[*windows.Overlapped]*request
}

var thePort = sync.OnceValues(func() (*port, error) {
	h, err := windows.CreateIoCompletionPort(windows.InvalidHandle, 0, 0, 1)
	if err != nil {
		return nil, fmt.Errorf("completion port: %w", err)
	}
	p := &port{handle: h, pending: make(map[*windows.Overlapped]*request)}
	go p.pump()
	return p, nil
})

// bind makes the requests of a file complete at the port. A request that does
// not pend completes where it was issued, and leaves no packet.
func (p *port) bind(file windows.Handle) error {
	if _, err := windows.CreateIoCompletionPort(file, p.handle, 0, 0); err != nil {
		return fmt.Errorf("bind to completion port: %w", err)
	}
	const mode = windows.FILE_SKIP_COMPLETION_PORT_ON_SUCCESS
	if err := windows.SetFileCompletionNotificationModes(file, mode); err != nil {
		return fmt.Errorf("completion port mode: %w", err)
	}
	return nil
}

// add is called before a request is issued: its packet may come before the
// call has returned.
func (p *port) add(r *request) {
	p.mu.Lock()
	p.pending[r.overlapped] = r
	p.mu.Unlock()
}

func (p *port) remove(o *windows.Overlapped) *request {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.pending[o]
	delete(p.pending, o)
	return r
}

func (p *port) pump() {
	runtime.LockOSThread()
	for {
		var n uint32
		var key uintptr
		var o *windows.Overlapped
		err := windows.GetQueuedCompletionStatus(p.handle, &n, &key, &o, windows.INFINITE)
		if o == nil {
			panic(fmt.Sprintf("kshm: the completion port is gone: %v", err)) // no request would ever complete
		}
		r := p.remove(o)
		if r == nil {
			panic("kshm: a request has completed twice") // into memory that is somebody else's by now
		}
		r.finish(windows.NTStatus(uint32(o.Internal)), o.InternalHigh)
	}
}

// request is one request in the system's hands. What the system writes to
// while the request pends lies in one block that is not the collector's and
// does not move; it is freed when the request has completed or was refused.
type request struct {
	done chan struct{}
	// Valid once done is closed.
	status windows.NTStatus
	n      int
	answer []byte // what came in the out-buffer, unless that was shared memory

	mu         sync.Mutex // held for a cancellation, so that the block stays
	overlapped *windows.Overlapped
	in, out    []byte
	after      func() // to be called ahead of the end of done
}

func newRequest(in, out []byte) (*request, error) {
	const header = unsafe.Sizeof(windows.Overlapped{})
	size := header + uintptr(len(in)) + uintptr(len(out))
	addr, err := windows.LocalAlloc(windows.LPTR, uint32(size))
	if err != nil {
		return nil, fmt.Errorf("memory for a request: %w", err)
	}
	// The address is the system's, not the collector's: read it as a pointer.
	block := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), size)
	r := &request{done: make(chan struct{}), overlapped: (*windows.Overlapped)(unsafe.Pointer(&block[0]))}
	r.in = block[header : header+uintptr(len(in))]
	r.out = block[header+uintptr(len(in)):]
	copy(r.in, in)
	copy(r.out, out) // METHOD_IN_DIRECT reads it
	return r, nil
}

// written is how many bytes came, before the block is freed; 0 thereafter.
func (r *request) written() uintptr {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.overlapped == nil {
		return 0
	}
	return r.overlapped.InternalHigh
}

// settle takes the result out of the block, once.
func (r *request) settle(status windows.NTStatus, n uintptr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended() {
		return
	}
	r.status, r.n = status, int(n)
	r.answer = append(r.answer, r.out[:min(n, uintptr(len(r.out)))]...)
	if r.after != nil {
		r.after()
	}
	close(r.done)
}

// finish is settle, and the end of the block.
func (r *request) finish(status windows.NTStatus, n uintptr) {
	r.settle(status, n)
	r.mu.Lock()
	defer r.mu.Unlock()
	windows.LocalFree(windows.Handle(unsafe.Pointer(r.overlapped)))
	r.overlapped, r.in, r.out = nil, nil, nil
}

// then has f called when the request has completed, at once if it has.
func (r *request) then(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended() {
		f()
		return
	}
	r.after = f
}

func (r *request) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// failure is nil for a request that completed with success or a warning.
func (r *request) failure() error {
	if isError(r.status) {
		return r.status
	}
	return nil
}

func isError(s windows.NTStatus) bool { return s >= 0xC0000000 }

func isWarning(s windows.NTStatus) bool { return s >= 0x80000000 && !isError(s) }
