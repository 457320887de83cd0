// SPDX-License-Identifier: MIT

package ring_test

import (
	"encoding/binary"
	"testing"
)

// FuzzHostilePeer drives both ends of a ring over words that the fuzzer
// chooses: pairs of where and what, written between the calls. The ends must
// not panic, must keep their records within the data, and must come to an end.
func FuzzHostilePeer(f *testing.F) {
	word := func(at int, value uint64) []byte {
		b := binary.NativeEndian.AppendUint32(nil, uint32(at))
		return binary.NativeEndian.AppendUint64(b, value)
	}
	f.Add([]byte{})
	f.Add(word(producerAt, 4096))
	f.Add(append(word(dataAt, record(2, 4088)), word(producerAt, 4096)...))
	f.Add(append(word(dataAt, record(1, 2040)), word(consumerAt, 8)...))
	f.Add(append(word(consumerAt, 1<<63), word(producerAt+128, 1)...))
	f.Fuzz(func(t *testing.T, script []byte) {
		mem, g := heapRing(t, 4096)
		p, c := newPair(t, mem, g, nil, nil)
		for len(script) >= 12 {
			at := int(binary.NativeEndian.Uint32(script)) % (len(mem) / 8) * 8
			poke(mem, at, binary.NativeEndian.Uint64(script[4:]))
			length := int(script[4]) * 9
			script = script[12:]
			if rec, err := p.Reserve(length); err == nil {
				clear(rec)
				p.Commit(length)
				p.Flush()
			}
			records := 0
			for _, ok := c.Next(); ok; _, ok = c.Next() {
				c.Release()
				if records++; records > g.Capacity/8 {
					t.Fatalf("%d records in a ring of %d bytes", records, g.Capacity)
				}
			}
			c.Wait(t.Context())
			p.Wait(t.Context(), length)
		}
	})
}
