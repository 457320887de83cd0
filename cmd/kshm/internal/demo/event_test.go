// SPDX-License-Identifier: MIT

package demo

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"kshm/internal/vm"
)

// TestEvents sends events byte by byte, as a pipe may deliver them.
func TestEvents(t *testing.T) {
	leaked := int64(3)
	want := []Event{
		{Step: &Step{3, Kernel, "two\nlines"}},
		{Progress: &Progress{1, 2}},
		{Facts: &Facts{SHA256: "ab", PinsLeaked: &leaked}},
		{Failure: "it broke"},
	}
	var got recorder
	to := Decode(got.emit)
	emit := Encode(writerFunc(func(p []byte) (int, error) {
		for i := range p {
			if _, err := to.Write(p[i : i+1]); err != nil {
				return i, err
			}
		}
		return len(p), nil
	}))
	for _, e := range want {
		emit(e)
	}
	if !reflect.DeepEqual(got.events, want) {
		t.Errorf("got %+v, want %+v", got.events, want)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestDecodeGarbage(t *testing.T) {
	for _, text := range []string{"panic: hello\n", strings.Repeat("x", maxLine+1)} {
		if _, err := Decode(func(Event) {}).Write([]byte(text)); err == nil {
			t.Errorf("%.20q is accepted", text)
		}
	}
}

func TestListener(t *testing.T) {
	facts := Event{Facts: &Facts{}}
	for name, test := range map[string]struct {
		events []Event
		exit   int
		err    error
		want   string
	}{
		"good":    {[]Event{facts}, 0, nil, ""},
		"failed":  {[]Event{facts, {Failure: "it broke"}}, 1, nil, "it broke"},
		"crashed": {nil, 2, nil, "status 2"},
		"silent":  {nil, 0, nil, "did not say"},
		"vm":      {nil, 0, errors.New("the machine's own"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := listener{emit: func(Event) { t.Error("an event was passed on") }}
			for _, e := range test.events {
				l.take(e)
			}
			err := l.verdict(&vm.Result{Exit: test.exit}, test.err)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
