// SPDX-License-Identifier: MIT

package kshm_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"kshm"
)

// shareFake opens a share over a fake.
func shareFake(t testing.TB, f *fake) (*kshm.Device, *kshm.Share, *fakeSession) {
	t.Helper()
	dev := kshm.NewDevice("fake", f)
	s, err := dev.Share(wrap(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return dev, s, f.sessions[len(f.sessions)-1]
}

func TestSessionIsEndedAndClosedOnce(t *testing.T) {
	f := newFake()
	dev, s, session := shareFake(t, f)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() { s.Close() })
		all.Go(func() { dev.Close() })
	}
	all.Wait()
	if session.ends != 1 || session.drops != 1 || f.closed != 1 {
		t.Errorf("End %d times, Close %d times, the transport %d times", session.ends, session.drops, f.closed)
	}
}

func TestEndFails(t *testing.T) {
	f := newFake()
	f.endErr = errors.New("no DONE")
	dev, s, session := shareFake(t, f)
	for range 2 {
		if err := s.Close(); !errors.Is(err, f.endErr) {
			t.Errorf("Close: %v", err)
		}
	}
	if session.drops != 1 {
		t.Error("the session was not closed")
	}
	f.closeErr = errors.New("no close")
	for range 2 {
		if err := dev.Close(); !errors.Is(err, f.closeErr) {
			t.Errorf("device: %v", err)
		}
	}
}

// TestPumpWithoutReason: a transport that forgets to say why has been closed.
func TestPumpWithoutReason(t *testing.T) {
	f := newFake()
	f.why = nil
	_, s, session := shareFake(t, f)
	session.finish()
	<-s.Done()
	if s.Err() != kshm.ErrClosed {
		t.Errorf("%v", s.Err())
	}
}

func TestKickErrors(t *testing.T) {
	f := newFake()
	_, s, _ := shareFake(t, f)
	defer s.Close()
	f.kickErr = errors.New("the driver's own")
	err := s.Kick()
	if op, ok := errors.AsType[*kshm.OpError](err); !errors.Is(err, f.kickErr) || !ok || op.Op != "kick" {
		t.Errorf("%v", err)
	}
}

// TestStatsAfterClose: the last values stay; without any, the error does.
func TestStatsAfterClose(t *testing.T) {
	f := newFake()
	_, s, _ := shareFake(t, f)
	s.Close()
	f.statsErr = kshm.ErrClosed
	if st, err := s.Stats(); err != nil || st.Kicks != 7 {
		t.Errorf("%+v, %v", st, err)
	}
	_, s, _ = shareFake(t, f)
	s.Close()
	if _, err := s.Stats(); !errors.Is(err, kshm.ErrClosed) {
		t.Errorf("a share without a last word: %v", err)
	}
}

// TestBufferIsFreeBeforeTheNews: whoever hears of the end, by whatever way,
// can close the buffer.
func TestBufferIsFreeBeforeTheNews(t *testing.T) {
	for range 200 {
		f := newFake()
		f.why = kshm.ErrRevoked
		dev := kshm.NewDevice("fake", f)
		buf := wrap(t)
		s, err := dev.Share(buf, nil)
		if err != nil {
			t.Fatal(err)
		}
		go f.sessions[0].finish()
		if _, err := s.Wait(context.Background(), 0); !errors.Is(err, kshm.ErrRevoked) {
			t.Fatal(err)
		}
		if err := buf.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-s.Done():
		default:
			t.Fatal("Wait knows of an end that Done does not know of")
		}
		s.Close()
	}
}

// TestWaitSeesEveryEvent: events that come in bursts and while nobody waits.
func TestWaitSeesEveryEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		_, s, session := shareFake(t, f)
		session.events <- 3
		synctest.Wait()
		if n := s.Events(); n != 3 {
			t.Errorf("Events %d, want 3", n)
		}
		for _, seen := range []uint64{0, 1, 2} {
			if n, err := s.Wait(t.Context(), seen); n != 3 || err != nil {
				t.Errorf("Wait(%d) = %d, %v", seen, n, err)
			}
		}
		type result struct {
			n   uint64
			err error
		}
		got := make(chan result)
		go func() { n, err := s.Wait(t.Context(), 4); got <- result{n, err} }()
		synctest.Wait()
		session.events <- 4 // not more than it has seen
		synctest.Wait()
		session.events <- 9
		if r := <-got; r.n != 9 || r.err != nil {
			t.Errorf("%+v", r)
		}
		session.finish()
		<-s.Done()
		if n, err := s.Wait(t.Context(), 8); n != 9 || err != nil {
			t.Errorf("an unseen event after the end: %d, %v", n, err)
		}
		if _, err := s.Wait(t.Context(), 9); !errors.Is(err, kshm.ErrClosed) {
			t.Errorf("no unseen event after the end: %v", err)
		}
		s.Close()
	})
}

// slowShare is a transport that pins for as long as a test likes.
type slowShare struct {
	*fake
	entered, leave chan struct{}
}

func (f *slowShare) Share(mem []byte, o kshm.ShareOptions) (kshm.Session, error) {
	close(f.entered)
	<-f.leave
	return f.fake.Share(mem, o)
}

// TestCloseWaitsForShare: Close ends the share that was being made when it
// came, before it closes the transport.
func TestCloseWaitsForShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &slowShare{newFake(), make(chan struct{}), make(chan struct{})}
		dev := kshm.NewDevice("fake", f)
		buf := wrap(t)
		shared, closed := make(chan *kshm.Share, 1), make(chan error, 1)
		go func() {
			s, err := dev.Share(buf, nil)
			if err != nil {
				t.Error(err)
			}
			shared <- s
		}()
		<-f.entered
		go func() { closed <- dev.Close() }()
		synctest.Wait()
		if len(closed) != 0 || f.closed != 0 {
			t.Fatal("Close did not wait")
		}
		if _, err := dev.Share(buf, nil); !errors.Is(err, kshm.ErrClosed) {
			t.Errorf("a Share after Close had begun: %v", err)
		}
		close(f.leave)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if s := <-shared; s != nil && s.Err() != kshm.ErrClosed {
			t.Errorf("the share lives on: %v", s.Err())
		}
		if err := buf.Close(); err != nil {
			t.Error(err)
		}
	})
}
