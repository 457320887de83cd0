// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kshm"
)

const (
	digestData  = 4096
	digestFirst = 1
	digestLast  = 2
)

// digestPage is struct digest_page of driver/samples/digest/digest.h.
type digestPage struct {
	request atomic.Uint64
	length  uint32
	flags   uint32
	_       [112]byte
	reply   atomic.Uint64
	_       uint64 // progress
	digest  [32]byte
}

func view(t testing.TB, buf *kshm.Buffer) *digestPage {
	t.Helper()
	page, err := kshm.View[digestPage](buf.Bytes(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// hash sends one whole message and waits for its digest.
func hash(t testing.TB, s *kshm.Share, page *digestPage, length int) [32]byte {
	t.Helper()
	page.length, page.flags = uint32(length), digestFirst|digestLast
	want := page.request.Add(1)
	seen := s.Events()
	if err := s.Kick(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for page.reply.Load() != want {
		var err error
		if seen, err = s.Wait(ctx, seen); err != nil {
			t.Fatal(err)
		}
	}
	return page.digest
}

func TestDigest(t *testing.T) {
	s, buf := share(t, open(t, "digest"), 1<<20, nil)
	page := view(t, buf)
	data := buf.Bytes()[digestData:]
	rand.Read(data)
	for _, n := range []int{0, 1, 65536, len(data)} {
		want := sha256.Sum256(data[:n])
		if got := hash(t, s, page, n); !bytes.Equal(got[:], want[:]) {
			t.Errorf("%d bytes: digest %x, want %x", n, got, want)
		}
	}
	st, err := s.Stats()
	if err != nil || st.Pinned != 1<<20 || st.Events != 4 || st.Kicks != 4 || st.Reason != kshm.Live {
		t.Errorf("stats %+v, %v", st, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	st, err = s.Stats()
	if err != nil || st.Pinned != 0 || st.Reason != kshm.EndDone {
		t.Errorf("stats after Close %+v, %v", st, err)
	}
}

// The words of an order change all the time, between what is good and what is
// not, and also while the driver looks at them: it hashes what is there, as long
// as it said that it would, or ends the share and names the word. It reaches no
// byte behind the share, for that would be the end of this machine.
func TestDigestUnderChangingWords(t *testing.T) {
	dev := open(t, "digest")
	ends := make(map[uint64]int)
	const rounds = 300
	served := 0
	for range rounds {
		s, buf := share(t, dev, digestData+4096, nil)
		page := view(t, buf)
		length, flags := wordAt32(t, buf.Bytes(), 8), wordAt32(t, buf.Bytes(), 12)
		length.Store(4096)
		flags.Store(digestFirst | digestLast)
		var over atomic.Bool
		var changing sync.WaitGroup
		changing.Go(func() {
			for n := uint32(0); !over.Load(); n++ {
				length.Store(4096 + n%2*(1<<31))
				if n%64 == 0 {
					flags.Store(n / 64 % 8)
				}
			}
		})
		for n := uint64(1); s.Err() == nil && n <= 50; n++ {
			page.request.Store(n)
			if s.Kick() != nil {
				break
			}
		}
		err := s.Close()
		over.Store(true)
		changing.Wait()
		st, serr := s.Stats()
		if err != nil || serr != nil {
			t.Fatal(err, serr)
		}
		if page.reply.Load() > 0 {
			served++
		}
		switch {
		case st.Reason == kshm.EndCorrupt && (st.CorruptOffset == 8 && st.CorruptWhy == 1 || st.CorruptOffset == 12 && st.CorruptWhy == 2):
			ends[st.CorruptOffset]++
		case st.Reason != kshm.EndDone:
			t.Fatalf("%+v", st)
		}
	}
	t.Logf("of %d shares, %d had answers; %d ended for a bad length, %d for bad flags", rounds, served, ends[8], ends[12])
	if ends[8] == 0 || ends[12] == 0 || served == 0 {
		t.Error("the driver did not see all that there was to see")
	}
}

func wordAt32(t testing.TB, mem []byte, at int) *atomic.Uint32 {
	t.Helper()
	w, err := kshm.View[atomic.Uint32](mem, at)
	if err != nil {
		t.Fatal(err)
	}
	return w
}
