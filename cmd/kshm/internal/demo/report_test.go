// SPDX-License-Identifier: MIT

package demo

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// good is a report that nothing is wrong with.
func good(digest string) *Report {
	zero, yes := int64(0), true
	return &Report{Path: "vm", File: "file", Facts: Facts{
		KernelSide: "Linux module", Kernel: "6.1", Bytes: 4, SHA256: digest, LiveUpdates: 3,
		PinsLeaked: &zero, KillPinsLeaked: &zero, KillShareEnded: &yes,
	}}
}

func TestJudge(t *testing.T) {
	leak := int64(7)
	for name, test := range map[string]struct {
		spoil    func(*Report)
		err      error
		verified bool
		want     string
	}{
		"good":         {func(*Report) {}, nil, true, ""},
		"model":        {func(r *Report) { r.KernelSide = kernelSideModel }, nil, false, "model"},
		"nobody":       {func(r *Report) { r.KernelSide = "" }, nil, false, "model"},
		"other":        {func(r *Report) { r.SHA256 = "00" }, nil, false, "is not Go's"},
		"failed":       {func(*Report) {}, errors.New("broken"), false, "broken"},
		"leak":         {func(r *Report) { r.PinsLeaked = &leak }, nil, true, "7 pages stayed pinned after DONE"},
		"kill leak":    {func(r *Report) { r.KillPinsLeaked = &leak }, nil, true, "7 pages stayed pinned after kill -9"},
		"blind":        {func(r *Report) { r.LiveUpdates = 0 }, nil, true, "never saw"},
		"empty":        {func(r *Report) { r.LiveUpdates, r.Bytes = 0, 0 }, nil, true, ""},
		"unproven":     {func(r *Report) { r.Unproven = "why" }, nil, true, "must be able"},
		"unprivileged": {func(r *Report) { r.Path, r.Unproven, r.PinsLeaked = "native", "why", nil }, nil, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			src := openSource(t, []byte("1234"))
			digest, err := src.Digest()
			if err != nil {
				t.Fatal(err)
			}
			r := good(digest)
			test.spoil(r)
			err = r.judge(src, digest, test.err)
			if r.Verified != test.verified || (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("verified %v, error %v; want %v, %q", r.Verified, err, test.verified, test.want)
			}
		})
	}
}

func TestJudgeChangedFile(t *testing.T) {
	src := openSource(t, []byte("1234"))
	digest, err := src.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(src.Path, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	r := good(digest)
	if err := r.judge(src, digest, nil); err != nil || !r.Verified || !strings.Contains(r.Note, "was written to") {
		t.Errorf("same bytes: verified %v, note %q, error %v", r.Verified, r.Note, err)
	}
	r = good("00")
	if err := r.judge(src, digest, nil); err == nil || !strings.Contains(err.Error(), "while it was read") {
		t.Errorf("other bytes: %v", err)
	}
}
