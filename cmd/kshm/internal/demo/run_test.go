// SPDX-License-Identifier: MIT

package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"kshm"
	"kshm/kshmtest"
)

// model opens a device of the Go model and counts what it has pinned.
func model(t *testing.T, d *kshmtest.Device) (*kshm.Device, Census) {
	t.Helper()
	dev, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return dev, func() (int64, error) { return int64(d.Pinned()) / int64(os.Getpagesize()), nil }
}

// A recorder keeps events.
type recorder struct{ events []Event }

func (r *recorder) emit(e Event) { r.events = append(r.events, e) }

func (r *recorder) steps() (s []string) {
	for _, e := range r.events {
		if e.Step != nil {
			s = append(s, fmt.Sprintf("%d %s", e.Step.Number, e.Step.Lane))
		}
	}
	return s
}

func TestRun(t *testing.T) {
	for _, size := range []int64{0, 1, 65536, pieceSize - 1, pieceSize, pieceSize + 1, 3*pieceSize + 17} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			data := make([]byte, size)
			rand.NewChaCha8([32]byte{}).Read(data)
			want := sha256.Sum256(data)
			var rec recorder
			dev, census := model(t, kshmtest.NewDigest())
			facts, err := Run(t.Context(), Job{Device: dev, Source: bytes.NewReader(data), Size: size, Census: census, Emit: rec.emit})
			if err != nil {
				t.Fatal(err)
			}
			pieces := max(1, (size+pieceSize-1)/pieceSize)
			if facts.SHA256 != hex.EncodeToString(want[:]) || facts.Bytes != size {
				t.Errorf("%d bytes with digest %s, want %d with %x", facts.Bytes, facts.SHA256, size, want)
			}
			if int64(facts.Kicks) != pieces || int64(facts.Events) != pieces {
				t.Errorf("%d kicks, %d events; want %d", facts.Kicks, facts.Events, pieces)
			}
			if size > 0 && facts.LiveUpdates < pieces || size == 0 && facts.LiveUpdates != 0 {
				t.Errorf("%d live updates for %d pieces of %d bytes", facts.LiveUpdates, pieces, size)
			}
			if facts.PinsLeaked == nil || *facts.PinsLeaked != 0 || facts.Unproven != "" {
				t.Errorf("pins leaked %v, unproven %q", facts.PinsLeaked, facts.Unproven)
			}
			last := rec.lastProgress()
			if last == nil || *last != (Progress{size, size}) {
				t.Errorf("the last progress is %v", last)
			}
		})
	}
}

func (r *recorder) lastProgress() (p *Progress) {
	for _, e := range r.events {
		if e.Progress != nil {
			p = e.Progress
		}
	}
	return p
}

func TestRunSaysTheStepsInOrder(t *testing.T) {
	var rec recorder
	dev, census := model(t, kshmtest.NewDigest())
	if _, err := Run(t.Context(), Job{Device: dev, Source: strings.NewReader("x"), Size: 1, Census: census, Emit: rec.emit}); err != nil {
		t.Fatal(err)
	}
	want := []string{"1 program", "1 kernel", "2 program", "3 kernel", "4 kernel", "5 program", "5 kernel", "5 program",
		"9 kernel", "9 program", "6 program", "7 kernel", "7 kernel"}
	if got := rec.steps(); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestRunFileBecomesShorter(t *testing.T) {
	d := kshmtest.NewDigest()
	dev, census := model(t, d)
	_, err := Run(t.Context(), Job{Device: dev, Source: strings.NewReader("short"), Size: 2 * pieceSize, Census: census, Emit: func(Event) {}})
	if !errors.Is(err, errShorter) {
		t.Errorf("got %v, want %v", err, errShorter)
	}
	if d.Pinned() != 0 {
		t.Errorf("%d bytes still pinned", d.Pinned())
	}
}

// TestRunDriverFails ends the demo from the other side, or not at all.
func TestRunDriverFails(t *testing.T) {
	for name, test := range map[string]struct {
		kick func(*kshmtest.Share, context.CancelFunc)
		want error
	}{
		"revokes":       {func(s *kshmtest.Share, _ context.CancelFunc) { s.Revoke() }, kshm.ErrRevoked},
		"is corrupt":    {func(s *kshmtest.Share, _ context.CancelFunc) { s.Corrupt(8, 1) }, kshm.ErrCorrupt},
		"never answers": {func(_ *kshmtest.Share, stop context.CancelFunc) { stop() }, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			d := kshmtest.NewDevice(&kshmtest.Kit{Kick: func(s *kshmtest.Share) { test.kick(s, stop) }}, nil)
			dev, census := model(t, d)
			_, err := Run(ctx, Job{Device: dev, Source: strings.NewReader("x"), Size: 1, Census: census, Emit: func(Event) {}})
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if d.Pinned() != 0 {
				t.Errorf("%d bytes still pinned", d.Pinned())
			}
		})
	}
}

// TestModelIsNeverVerified: digests that agree are not enough.
func TestModelIsNeverVerified(t *testing.T) {
	src := openSource(t, []byte("some bytes"))
	dev, census := model(t, kshmtest.NewDigest())
	facts, err := Run(t.Context(), Job{Device: dev, Source: src.Reader(), Size: src.Size, Census: census, Emit: func(Event) {}})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := src.Digest()
	if err != nil || digest != facts.SHA256 {
		t.Fatalf("digest %s, want %s; error %v", digest, facts.SHA256, err)
	}
	r := &Report{Facts: *facts}
	if err := r.judge(src, digest, nil); err == nil || r.Verified {
		t.Errorf("verified %v, error %v", r.Verified, err)
	}
	var b bytes.Buffer
	NewScreen(&b, nil).Summary(r)
	if strings.Contains(strings.ReplaceAll(b.String(), "NOT verified", ""), "verified") {
		t.Errorf("the summary says verified:\n%s", &b)
	}
}
