package index

import (
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

// BenchmarkTenMillion reads ten million blobs from as many index files as they would be, and tells what each takes: in
// the heap after a collection, and of the process's memory at its peak, with what reading leaves.
func BenchmarkTenMillion(b *testing.B) {
	const blobs, perPack = 10_000_000, 200
	memory := func() (inUse, fromSystem uint64) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse, m.Sys
	}
	for b.Loop() {
		b.StopTimer()
		before, _ := memory()
		x := &Index{}
		for i := uint64(0); i < blobs; {
			var packs []Pack
			for range MaxBlobs / perPack {
				p := Pack{ID: object.Hash(binary.LittleEndian.AppendUint64([]byte("pack"), i))}
				for range perPack {
					i++
					h := object.Handle{ID: object.Hash(binary.LittleEndian.AppendUint64(nil, i))}
					p.Entries = append(p.Entries, pack.Entry{Handle: h, Offset: uint32(i % perPack * 80_000), Length: 80_000, PlainLength: 256 << 10})
				}
				packs = append(packs, p)
			}
			text, err := Encode(packs)
			if err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			read, err := Parse(text)
			if err != nil {
				b.Fatal(err)
			}
			for _, p := range read {
				x.Add(p.ID, p.Entries)
			}
			b.StopTimer()
		}
		inUse, fromSystem := memory()
		b.ReportMetric(float64(inUse-before)/blobs, "B/blob")
		b.ReportMetric(float64(fromSystem)/blobs, "B/blob-of-the-process")
		runtime.KeepAlive(x)
		b.StartTimer()
	}
}
