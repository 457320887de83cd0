// SPDX-License-Identifier: MIT

package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	big := bytes.Repeat([]byte("0123456789"), MaxFrame/8) // more than one frame
	for _, err := range []error{w.Send(Stdout, []byte("out")), w.Send(File, nil), w.Send(Data, big), w.SendJSON(End, Report{Exit: 3})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var data []byte
	var kinds []Kind
	for {
		k, payload, err := Read(&b)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, k)
		if k == Data {
			data = append(data, payload...)
		}
	}
	if want := "ofddr"; string(kindBytes(kinds)) != want {
		t.Errorf("frames %q, want %q", kindBytes(kinds), want)
	}
	if !bytes.Equal(data, big) {
		t.Errorf("%d bytes of data arrived, want %d, or their content differs", len(data), len(big))
	}
}

func kindBytes(kinds []Kind) (b []byte) {
	for _, k := range kinds {
		b = append(b, byte(k))
	}
	return b
}

func TestStreamWritesNoEmptyFrame(t *testing.T) {
	var b bytes.Buffer
	if n, err := NewWriter(&b).Stream(Stdout).Write(nil); n != 0 || err != nil || b.Len() != 0 {
		t.Errorf("wrote %d, error %v, %d bytes", n, err, b.Len())
	}
}

func TestCutStream(t *testing.T) {
	var b bytes.Buffer
	if err := NewWriter(&b).Send(Stdout, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	for n := 1; n < b.Len(); n++ {
		if _, _, err := Read(bytes.NewReader(b.Bytes()[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("o\x03\x00\x00\x00abc"))
	f.Add([]byte("o\xff\xff\xff\xffabc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			_, payload, err := Read(r)
			if err != nil {
				return
			}
			if len(payload) > MaxFrame {
				t.Fatalf("payload of %d bytes", len(payload))
			}
		}
	})
}
