package chunk_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/restic/chunker"

	"github.com/lifeboat-dr/lifeboat/internal/vault/chunk"
)

// ours cuts data that comes in pieces of the given size.
func ours(t *chunk.Table, data []byte, piece int) (lengths []int) {
	for have, from := 0, 0; len(data) > 0; {
		have = min(have+piece, len(data))
		if n := t.Find(data[:have], from); n > 0 {
			lengths = append(lengths, n)
			data = data[n:]
			have, from = max(0, have-n), 0
			continue
		}
		from = have
		if have == len(data) {
			return append(lengths, have)
		}
	}
	return lengths
}

// theirs is what restic's library does.
func theirs(t testing.TB, p chunker.Pol, data []byte) (lengths []int) {
	c := chunker.New(bytes.NewReader(data), p)
	buf := make([]byte, chunk.MaxSize)
	for {
		got, err := c.Next(buf)
		if errors.Is(err, io.EOF) {
			return lengths
		}
		if err != nil {
			t.Fatal(err)
		}
		lengths = append(lengths, int(got.Length))
	}
}

// samples are data of many sorts: the more regular, the more windows are alike.
func samples(seed uint64, n int) map[string][]byte {
	r := rand.NewChaCha8([32]byte{byte(seed)})
	noise := make([]byte, n)
	r.Read(noise)
	bits, runs := make([]byte, n), make([]byte, n)
	for i, b := range noise {
		bits[i] = b & 1
		runs[i] = noise[i/97] & 3
	}
	periodic := bytes.Repeat(noise[:1000], n/1000+1)[:n]
	holes := bytes.Clone(noise)
	for i := 0; i+5<<20 < n; i += 6 << 20 {
		clear(holes[i : i+5<<20])
	}
	return map[string][]byte{"noise": noise, "bits": bits, "runs": runs, "periodic": periodic, "holes": holes,
		"zeros": make([]byte, n), "ones": bytes.Repeat([]byte{255}, n)}
}

// TestCutsWhereResticCuts compares with restic's library: polynomials of all sorts, data of all sorts, in pieces that
// end everywhere.
func TestCutsWhereResticCuts(t *testing.T) {
	chunks := 0
	for seed := range uint64(3) {
		p, err := chunker.DerivePolynomial(rand.NewChaCha8([32]byte{byte(seed), 1}))
		if err != nil {
			t.Fatal(err)
		}
		if seed == 0 {
			p = 0x3DA3358B4DC173 // the one of the library's own tests
		}
		table := chunk.NewTable(p)
		r := rand.New(rand.NewPCG(seed, 2))
		for name, data := range samples(seed, 13<<20+r.IntN(1<<20)) {
			want := theirs(t, p, data)
			chunks += len(want)
			for _, piece := range []int{len(data), chunk.MinSize, 64<<10 + r.IntN(1<<20)} {
				if got := ours(table, data, piece); !slices.Equal(got, want) {
					t.Errorf("polynomial %x, %s in pieces of %d: %v, want %v", uint64(p), name, piece, got, want)
				}
			}
		}
	}
	if chunks < 100 {
		t.Errorf("only %d chunks were compared", chunks)
	}
}

// TestEveryLength puts the place where a chunk ends at each distance from where searching begins.
func TestEveryLength(t *testing.T) {
	p := chunker.Pol(0x3DA3358B4DC173)
	table := chunk.NewTable(p)
	noise := samples(3, 12<<20)["noise"]
	end := theirs(t, p, noise)[0]
	for _, n := range []int{0, 1, chunk.MinSize - 1, chunk.MinSize, end - 1} {
		if got := table.Find(noise[:n], 0); got != 0 {
			t.Errorf("a chunk of %d ends at %d, want none", n, got)
		}
	}
	for from := end - 20<<10; from < end; from += 7 {
		for _, n := range []int{end, end + 1, end + 5000, end + 50_000} {
			if got := table.Find(noise[:n], from); got != end {
				t.Errorf("from %d in %d bytes: %d, want %d", from, n, got, end)
			}
		}
	}
}

func FuzzCuts(f *testing.F) {
	f.Add(uint64(1), []byte{0}, uint(1<<20))
	f.Add(uint64(2), []byte("abcdefghijklmnopqrstuvwxyz"), uint(600_000))
	f.Fuzz(func(t *testing.T, seed uint64, unit []byte, piece uint) {
		if len(unit) == 0 {
			return
		}
		p, err := chunker.DerivePolynomial(rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}))
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Repeat(unit, 3<<20/len(unit)+1)
		for i := 0; i < len(data); i += 1 << 16 { // what is periodic has no end but by chance
			data[i] ^= byte(seed >> (i >> 16 % 8))
		}
		if got, want := ours(chunk.NewTable(p), data, int(piece%(2<<20))+4096), theirs(t, p, data); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func BenchmarkFind(b *testing.B) {
	p := chunker.Pol(0x3DA3358B4DC173)
	data := samples(1, 64<<20)["noise"]
	b.Run("ours", func(b *testing.B) {
		table := chunk.NewTable(p)
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			ours(table, data, 1<<20)
		}
	})
	b.Run("restic", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			theirs(b, p, data)
		}
	})
}
