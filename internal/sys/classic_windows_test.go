// SPDX-License-Identifier: MIT

package sys

import (
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// aDone is a code that nothing knows, as the DONE of a recipe.
const aDone = 0x22ac04

// newPended is a share whose request truly pends, in a pipe: the pipe refuses
// aDone, and its request can be cancelled.
func newPended(t *testing.T) (*Device, *Share) {
	t.Helper()
	p, err := thePort()
	if err != nil {
		t.Fatal(err)
	}
	name, err := windows.UTF16PtrFromString(fmt.Sprintf(`\\.\pipe\kshm_classic_%d`, os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	file, err := windows.CreateNamedPipe(name, windows.PIPE_ACCESS_DUPLEX|windows.FILE_FLAG_OVERLAPPED, 0, 1, 4096, 4096, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.bind(file); err != nil {
		t.Fatal(err)
	}
	h := &handle{file: file, port: p}
	t.Cleanup(func() { h.close() })
	r, err := newRequest(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.add(r)
	if err := windows.ConnectNamedPipe(file, r.overlapped); err != windows.ERROR_IO_PENDING {
		t.Fatalf("the request does not pend: %v", err)
	}
	d := &Device{handle: h}
	return d, &Share{handle: h, request: r, classic: &classic{device: d, done: aDone}}
}

// DONE names no share: it is sent for the latest share alone. Of an older one
// the driver has ended, this side may not know it yet.
func TestClassicDoneOfAnOlderShare(t *testing.T) {
	d, s := newPended(t)
	d.current = &request{done: make(chan struct{})}
	if _, err := s.Done(); err != nil {
		t.Errorf("DONE was sent, and refused: %v", err)
	}
	if !s.request.ended() || s.request.status != windows.STATUS_CANCELLED {
		t.Errorf("the request was not taken back: %v", s.request.status)
	}
}

func TestClassicDoneOfTheLatestShare(t *testing.T) {
	d, s := newPended(t)
	d.current = s.request
	if _, err := s.Done(); err == nil {
		t.Error("a DONE that was refused is no error")
	}
	if !s.request.ended() || s.request.status != windows.STATUS_CANCELLED {
		t.Errorf("the request was not taken back: %v", s.request.status)
	}
}

// A DONE that comes after the driver has ended the share is refused, which is
// no failure, even if the share's completion is told of later still.
func TestClassicDoneAfterTheEnd(t *testing.T) {
	d, s := newPended(t)
	r, err := newRequest(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	pended := s.request
	s.request, d.current = r, r
	time.AfterFunc(50*time.Millisecond, func() { r.finish(windows.STATUS_FILE_CLOSED, 0) })
	if reason, err := s.Done(); err != nil || reason != reasonOf(windows.STATUS_FILE_CLOSED) {
		t.Errorf("ended with %d: %v", reason, err)
	}
	s.handle.cancel(pended)
	<-pended.done
}
