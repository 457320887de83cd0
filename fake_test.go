// SPDX-License-Identifier: MIT

package kshm_test

import (
	"context"
	"sync"
	"testing"

	"kshm"
	"kshm/kshmtest"
)

// fake is a transport whose every answer a test can choose.
type fake struct {
	shareErr, kickErr, endErr, closeErr, statsErr error
	why                                           error // what Pump returns

	mu       sync.Mutex
	sessions []*fakeSession
	closed   int
}

func newFake() *fake { return &fake{why: kshm.ErrClosed} }

func (f *fake) Info() kshm.Info { return kshm.Info{KernelSide: "fake"} }

func (f *fake) Alloc(size int, _ kshm.AllocOptions) ([]byte, func() error, error) {
	return make([]byte, size), func() error { return nil }, nil
}

func (f *fake) Share(mem []byte, _ kshm.ShareOptions) (kshm.Session, error) {
	if f.shareErr != nil {
		return nil, f.shareErr
	}
	s := &fakeSession{fake: f, events: make(chan uint64, 1), ended: make(chan struct{})}
	f.mu.Lock()
	f.sessions = append(f.sessions, s)
	f.mu.Unlock()
	return s, nil
}

func (f *fake) Control(context.Context, kshm.ControlCode, []byte, []byte) (int, error) {
	return 0, nil
}

func (f *fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
	return f.closeErr
}

type fakeSession struct {
	fake   *fake
	events chan uint64
	ended  chan struct{}
	once   sync.Once

	mu          sync.Mutex
	ends, drops int
}

func (s *fakeSession) finish() { s.once.Do(func() { close(s.ended) }) }

func (s *fakeSession) Kick() error { return s.fake.kickErr }

func (s *fakeSession) Pump(wake func(uint64)) error {
	for {
		select {
		case n := <-s.events:
			wake(n)
		case <-s.ended:
			return s.fake.why
		}
	}
}

func (s *fakeSession) Stats() (kshm.Stats, error) { return kshm.Stats{Kicks: 7}, s.fake.statsErr }

func (s *fakeSession) End() error {
	s.mu.Lock()
	s.ends++
	s.mu.Unlock()
	s.finish()
	return s.fake.endErr
}

func (s *fakeSession) Close() error {
	s.mu.Lock()
	s.drops++
	s.mu.Unlock()
	return nil
}

// wrap is a page of memory that needs no giving back but by the collector.
func wrap(t testing.TB) *kshm.Buffer {
	t.Helper()
	dev, err := kshmtest.Open(&kshmtest.Kit{})
	if err != nil {
		t.Fatal(err)
	}
	owner, err := dev.Alloc(4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { owner.Close(); dev.Close() })
	buf, err := kshm.Wrap(owner.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return buf
}
