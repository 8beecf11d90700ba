package vault_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
)

// onlyData is a source in which only some ranges may be read.
type onlyData struct {
	*bytes.Reader
	t    *testing.T
	data []vault.Range
}

func (o onlyData) ReadAt(p []byte, off int64) (int, error) {
	if !slices.ContainsFunc(o.data, func(r vault.Range) bool { return r.Start <= off && off+int64(len(p)) <= r.End }) {
		o.t.Errorf("%d bytes at %d are read: they lie in a hole", len(p), off)
	}
	return o.Reader.ReadAt(p, off)
}

// TestSparseIsAsRead holds that a file with holes is cut as if it were read, and that its holes are not.
func TestSparseIsAsRead(t *testing.T) {
	v, _ := create(t)
	s := begin(t, v)
	const k, m = 1 << 10, 1 << 20
	for name, f := range map[string]struct {
		size int64
		data []vault.Range
	}{
		"nothing":          {0, nil},
		"a short hole":     {100, nil},
		"one zero chunk":   {512 * k, nil},
		"a byte more":      {512*k + 1, nil},
		"a byte less":      {512*k - 1, nil},
		"a long hole":      {40*m + 77, nil},
		"data first":       {20 * m, []vault.Range{{0, 3*m + 5}}},
		"data last":        {20 * m, []vault.Range{{20*m - 9, 20 * m}}},
		"data between":     {30 * m, []vault.Range{{7*m + 1, 9*m + 2}, {20 * m, 21 * m}, {21 * m, 21*m + 1}}},
		"bytes":            {9 * m, []vault.Range{{1, 2}, {512 * k, 512*k + 1}, {m - 1, m + 1}, {5 * m, 5*m + 64}, {6*m - 64, 6 * m}}},
		"zeros that are":   {9 * m, []vault.Range{{2 * m, 2 * m}, {3 * m, 5 * m}}},
		"everything":       {5 * m, []vault.Range{{0, 5 * m}}},
		"a hole too short": {4 * m, []vault.Range{{0, m}, {m + 511*k, 4 * m}}},
	} {
		t.Run(name, func(t *testing.T) {
			whole := make([]byte, f.size)
			for i, r := range f.data {
				if name != "zeros that are" {
					copy(whole[r.Start:r.End], noise(uint64(300+i), int(r.End-r.Start)))
				}
			}
			want, err := s.SaveStream(t.Context(), bytes.NewReader(whole))
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.SaveSparse(t.Context(), onlyData{bytes.NewReader(whole), t, f.data}, f.size, f.data)
			if err != nil {
				t.Fatal(err)
			}
			if got.Size != want.Size || !slices.Equal(got.Blobs, want.Blobs) {
				t.Errorf("%d bytes in %d blobs, read it has %d in %d", got.Size, len(got.Blobs), want.Size, len(want.Blobs))
			}
		})
	}
	r := rand.New(rand.NewPCG(7, 8))
	for range 30 {
		size := r.Int64N(12 * m)
		var data []vault.Range
		for at := int64(0); ; {
			at += r.Int64N(3 * m)
			n := r.Int64N(2 * m)
			if at+n > size {
				break
			}
			data = append(data, vault.Range{Start: at, End: at + n})
			at += n
		}
		whole := make([]byte, size)
		for i, d := range data {
			copy(whole[d.Start:d.End], noise(uint64(400+i), int(d.End-d.Start)))
		}
		want, err := s.SaveStream(t.Context(), bytes.NewReader(whole))
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.SaveSparse(t.Context(), onlyData{bytes.NewReader(whole), t, data}, size, data)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%d bytes with data in %v: %v\n%s", size, data, err, diff)
		}
	}
}

func TestSparseRefuses(t *testing.T) {
	v, _ := create(t)
	s := begin(t, v)
	for _, data := range [][]vault.Range{{{-1, 2}}, {{3, 2}}, {{0, 5}, {4, 6}}, {{0, 11}}} {
		if _, err := s.SaveSparse(t.Context(), bytes.NewReader(make([]byte, 10)), 10, data); !errors.Is(err, failure.Invalid) {
			t.Errorf("%v: %v", data, err)
		}
	}
	if _, err := s.SaveSparse(t.Context(), bytes.NewReader(make([]byte, 9)), 10, []vault.Range{{Start: 0, End: 10}}); !errors.Is(err, failure.Invalid) {
		t.Errorf("a source that is too short: %v", err)
	}
}
