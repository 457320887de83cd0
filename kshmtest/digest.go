// SPDX-License-Identifier: MIT

package kshmtest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"kshm"
)

// The words of driver/samples/digest/digest.h.
const (
	digestData  = 4096 // offset of the data in the share, bytes
	digestFirst = 1    // this piece starts a message
	digestLast  = 2    // this piece ends it
	digestStep  = 65536

	digestLengthAt  = 8 // offsets of the words that can be corrupt
	digestFlagsAt   = 12
	digestBadLength = 1
	digestBadFlags  = 2
)

// digestPage is struct digest_page.
type digestPage struct {
	// Written by the program.
	request atomic.Uint64
	length  atomic.Uint32
	flags   atomic.Uint32
	_       [112]byte
	// Written by the driver.
	reply    atomic.Uint64
	progress atomic.Uint64
	digest   [32]byte
}

// NewDigest loads the Go twin of the sample driver in driver/samples/digest: it
// hashes what the program puts into the shared memory, where it lies.
func NewDigest() *Device {
	return NewDevice(newDigestKit(), &Options{Info: kshm.Info{Driver: "digest", DriverVersion: 1, MinLength: digestData + 1}})
}

func newDigestKit() *Kit {
	return &Kit{
		Share: func(s *Share) Status {
			if s.ReadOnly {
				return StatusNotSupported
			}
			s.Context = &digestState{hash: sha256.New()}
			return StatusSuccess
		},
		Kick: func(s *Share) { s.Context.(*digestState).serve(s) },
	}
}

// digestState is what the driver keeps for itself.
type digestState struct {
	mu               sync.Mutex // kicks come concurrently
	served, progress uint64
	hash             hash.Hash
}

func (d *digestState) serve(s *Share) {
	d.mu.Lock()
	defer d.mu.Unlock()
	page, err := kshm.View[digestPage](s.Base, 0)
	if err != nil {
		bugcheck("%v", err) // MinLength holds the page
	}
	request := page.request.Load()
	if request == d.served {
		return
	}
	// Each word once: the program may change it at any time.
	length, flags := page.length.Load(), page.flags.Load()
	if uint64(length) > uint64(len(s.Base)-digestData) {
		s.Corrupt(digestLengthAt, digestBadLength)
		return
	}
	if flags&^(digestFirst|digestLast) != 0 {
		s.Corrupt(digestFlagsAt, digestBadFlags)
		return
	}
	if flags&digestFirst != 0 {
		d.hash.Reset()
	}
	data := s.Base[digestData:][:length]
	for len(data) > 0 && !s.Ending() {
		n := min(len(data), digestStep)
		d.hash.Write(data[:n])
		data = data[n:]
		d.progress += uint64(n)
		page.progress.Store(d.progress)
	}
	if flags&digestLast != 0 {
		d.hash.Sum(page.digest[:0])
	}
	d.served = request
	page.reply.Store(request)
	s.Notify()
}

// DigestBackend is the adapter of Conformance for an open digest driver, of a
// real kernel or of NewDigest.
func DigestBackend(d *kshm.Device) *Backend {
	return &Backend{Device: d, Ask: digestAsk, Answered: digestAnswered}
}

// digestAsk fills the data with the bytes that stand for request n.
func digestAsk(mem []byte, n uint64) {
	page, err := kshm.View[digestPage](mem, 0)
	if err != nil {
		panic(err)
	}
	data := mem[digestData:]
	digestFill(data, n)
	page.length.Store(uint32(len(data)))
	page.flags.Store(digestFirst | digestLast)
	page.request.Store(n)
}

func digestFill(data []byte, n uint64) {
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}).Read(data)
}

func digestAnswered(mem []byte, n uint64) error {
	page, err := kshm.View[digestPage](mem, 0)
	if err != nil {
		return err
	}
	if reply := page.reply.Load(); reply != n {
		return fmt.Errorf("reply is %d, not yet %d", reply, n)
	}
	data := make([]byte, len(mem)-digestData)
	digestFill(data, n)
	want := sha256.Sum256(data)
	if got := page.digest; !bytes.Equal(got[:], want[:]) {
		return fmt.Errorf("digest %x, want %x", got, want)
	}
	return nil
}
