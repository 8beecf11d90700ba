package pgwal_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// writer makes log as PostgreSQL lays it out.
type writer struct {
	log   []byte
	begin pgwal.LSN
	rest  int // bytes of the record that is being written that are still to come
	ends  []pgwal.LSN
}

const (
	segment = 1 << 20
	cluster = 4711
)

func (w *writer) at() pgwal.LSN { return w.begin + pgwal.LSN(len(w.log)) }

// raw writes bytes of a record, with page headers in between.
func (w *writer) raw(data []byte) {
	for _, b := range data {
		if w.at()%pgwal.PageSize == 0 {
			w.header()
		}
		w.log = append(w.log, b)
		w.rest--
	}
}

func (w *writer) header() {
	o, size, info := binary.LittleEndian, 24, uint16(0)
	if uint64(w.at())%segment == 0 {
		size, info = 40, 2
	}
	if w.rest > 0 {
		info |= 1
	}
	h := make([]byte, size)
	o.PutUint16(h, 0xD110)
	o.PutUint16(h[2:], info)
	o.PutUint32(h[4:], 3)
	o.PutUint64(h[8:], uint64(w.at()))
	o.PutUint32(h[16:], uint32(max(0, w.rest)))
	if size == 40 {
		o.PutUint64(h[24:], cluster)
		o.PutUint32(h[32:], segment)
		o.PutUint32(h[36:], pgwal.PageSize)
	}
	w.log = append(w.log, h...)
}

// record writes one with n bytes of data.
func (w *writer) record(n int, rmgr, info byte) {
	w.rest = 0
	for w.at()%8 != 0 {
		w.log = append(w.log, 0)
	}
	r := make([]byte, 24+n)
	for i := range r[24:] {
		r[24+i] = byte(rand.IntN(256))
	}
	o := binary.LittleEndian
	o.PutUint32(r, uint32(len(r)))
	r[16], r[17] = info, rmgr
	table := crc32.MakeTable(crc32.Castagnoli)
	o.PutUint32(r[20:], crc32.Update(crc32.Checksum(r[24:], table), table, r[:20]))
	if w.at()%pgwal.PageSize == 0 {
		w.header()
	}
	w.rest = len(r)
	w.raw(r)
	w.ends = append(w.ends, w.at())
}

func sample() *writer {
	w := &writer{begin: 5 * segment}
	for w.at() < 6*segment+300_000 {
		w.record(rand.IntN(2)*rand.IntN(30_000)+rand.IntN(90), 10, 0)
	}
	w.record(0, 0, 0x40) // a switch
	for w.at()%segment != 0 {
		w.log = append(w.log, 0)
	}
	for range 100 {
		w.record(rand.IntN(500), 10, 0)
	}
	return w
}

func feed(v *pgwal.Verifier, log []byte) error {
	for len(log) > 0 {
		n := min(len(log), 1+rand.IntN(20_000))
		if got, err := v.Write(log[:n]); err != nil || got != n {
			return err
		}
		log = log[n:]
	}
	return nil
}

func verifier(from pgwal.LSN) *pgwal.Verifier {
	return pgwal.NewVerifier(pgwal.Position{Timeline: 3, At: from}, cluster, segment)
}

func TestSoundLogIsVerified(t *testing.T) {
	w := sample()
	v := verifier(w.begin)
	if err := feed(v, w.log); err != nil {
		t.Fatal(err)
	}
	if v.Whole() != w.at() || v.At() != w.at() {
		t.Errorf("whole up to %s, at %s, want %s", v.Whole(), v.At(), w.at())
	}
	// From a later segment on, in which the rest of a record comes first, and cut off in a record.
	v = verifier(6 * segment)
	cut := w.log[segment : segment+250_001]
	if err := feed(v, cut); err != nil {
		t.Fatal(err)
	}
	last := pgwal.LSN(0)
	for _, e := range w.ends {
		if e <= v.At() {
			last = e
		}
	}
	if whole := v.Whole(); whole < last || whole > last+64 { // padding, and a page's header, are between two records
		t.Errorf("whole up to %s, the last record ends at %s", whole, last)
	}
}

func TestEveryDamageIsFound(t *testing.T) {
	w := sample()
	for range 2000 {
		at := rand.IntN(segment + 300_000)
		log := append([]byte(nil), w.log...)
		log[at] ^= 1 << rand.IntN(8)
		err := feed(verifier(w.begin), log)
		if err == nil && w.log[at] != 0 { // padding and unused fields are zeros
			t.Errorf("a bit that is flipped at %d of %d is not found", at, len(log))
		}
		if err != nil && !errors.Is(err, failure.Corrupt) {
			t.Errorf("got %v", err)
		}
	}
}

func TestLogOfAnother(t *testing.T) {
	w := sample()
	for _, v := range []*pgwal.Verifier{
		pgwal.NewVerifier(pgwal.Position{Timeline: 2, At: w.begin}, cluster, segment),
		pgwal.NewVerifier(pgwal.Position{Timeline: 3, At: w.begin}, cluster+1, segment),
		pgwal.NewVerifier(pgwal.Position{Timeline: 3, At: w.begin + segment}, cluster, segment),
	} {
		if err := feed(v, w.log); !errors.Is(err, failure.Corrupt) {
			t.Errorf("got %v", err)
		}
	}
}
