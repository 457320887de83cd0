// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
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
