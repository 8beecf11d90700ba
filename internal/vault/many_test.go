package vault_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// watched counts what is loaded from packs.
type watched struct {
	blob.Store
	mu    sync.Mutex
	loads int
	bytes int64
}

func (w *watched) Load(ctx context.Context, h blob.Handle, off, n int64) (io.ReadCloser, error) {
	if h.Type == blob.Pack {
		w.mu.Lock()
		w.loads++
		w.bytes += n
		w.mu.Unlock()
	}
	return w.Store.Load(ctx, h, off, n)
}

// given collects what LoadBlobs passes on.
type given struct {
	mu    sync.Mutex
	data  map[object.Handle][]byte
	errs  map[object.Handle]error
	calls int
}

func (g *given) each(h object.Handle, data []byte, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls++
	if err != nil {
		g.errs[h] = err
	} else {
		g.data[h] = bytes.Clone(data)
	}
	return nil
}

func newGiven() *given {
	return &given{data: map[object.Handle][]byte{}, errs: map[object.Handle]error{}}
}

// many stores blobs of all sizes and gives them by handle.
func many(t *testing.T, v *vault.Vault) (map[object.Handle][]byte, []object.Handle) {
	t.Helper()
	s := begin(t, v)
	want := map[object.Handle][]byte{}
	var order []object.Handle
	for i := range 400 {
		data := noise(uint64(i), 10+i*i/2)
		switch {
		case i%3 == 0:
			data = prose(uint64(i), 500*i)
		case i == 100:
			data = noise(7, 9<<20) // longer than any one request otherwise is
		}
		h := object.Handle{Type: object.Type(i % 5 / 4)}
		var err error
		if h.ID, err = s.SaveBlob(t.Context(), h.Type, data); err != nil {
			t.Fatal(err)
		}
		want[h] = data
		order = append(order, h)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return want, order
}

// TestLoadBlobs loads many blobs with few requests that read little else; each comes once, those that are given twice
// and those that are nowhere too.
func TestLoadBlobs(t *testing.T) {
	_, store := create(t)
	w := &watched{Store: store}
	v, err := vault.Open(t.Context(), w, password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	want, order := many(t, v)
	none := object.Handle{ID: object.Hash([]byte("nowhere"))}
	g := newGiven()
	if err := v.LoadBlobs(t.Context(), append(append(order, none, none), order[:50]...), g.each); err != nil {
		t.Fatal(err)
	}
	if g.calls != len(order)+1 || len(g.errs) != 1 || !errors.Is(g.errs[none], failure.NotFound) {
		t.Errorf("%d calls for %d handles, errors %v", g.calls, len(order)+1, g.errs)
	}
	for h, data := range want {
		if !bytes.Equal(g.data[h], data) {
			t.Errorf("%s: %d bytes, want %d", h, len(g.data[h]), len(data))
		}
	}
	if w.loads > 30 {
		t.Errorf("%d requests for %d blobs of %d bytes", w.loads, len(order), w.bytes)
	}

	// Every other one: requests run over small gaps only.
	var some []object.Handle
	need := int64(0)
	for i := 0; i < len(order); i += 2 {
		some = append(some, order[i])
		need += int64(len(want[order[i]]))
	}
	w.loads, w.bytes = 0, 0
	if err := v.LoadBlobs(t.Context(), some, newGiven().each); err != nil {
		t.Fatal(err)
	}
	if w.bytes > need+need/10 {
		t.Errorf("%d bytes are read for %d", w.bytes, need)
	}
}

// TestLoadBlobsStops ends with the first error of the caller, and with the context.
func TestLoadBlobsStops(t *testing.T) {
	v, _ := create(t)
	_, order := many(t, v)
	enough := errors.New("enough")
	if err := v.LoadBlobs(t.Context(), order, func(object.Handle, []byte, error) error { return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.LoadBlobs(ctx, order, newGiven().each); failure.KindOf(err) != failure.Canceled {
		t.Error(err)
	}
	if err := v.LoadBlobs(t.Context(), nil, newGiven().each); err != nil {
		t.Error(err)
	}
}

// TestLoadBlobsGoesAround damages and truncates packs: every blob that lies elsewhere too is given, the others come with
// an error, and no wrong byte comes at all.
func TestLoadBlobsGoesAround(t *testing.T) {
	_, store := create(t)
	v, err := vault.Open(t.Context(), store, password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	want, order := many(t, v)
	var packs []blob.Handle
	for _, info := range everything(t, store) {
		if info.Type == blob.Pack {
			packs = append(packs, info.Handle)
		}
	}
	for name, damage := range map[string]func([]byte) []byte{
		"a flipped bit": func(b []byte) []byte { b[len(b)/2] ^= 4; return b },
		"truncated":     func(b []byte) []byte { return b[:len(b)/3] },
		"empty":         func([]byte) []byte { return nil },
	} {
		for _, p := range packs {
			broken := store.Clone()
			broken.Corrupt(p, damage)
			v, err := vault.Open(t.Context(), broken, password, cheap)
			if err != nil {
				t.Fatal(err)
			}
			g := newGiven()
			if err := v.LoadBlobs(t.Context(), order, g.each); err != nil {
				t.Fatal(err)
			}
			if g.calls != len(order) || len(g.errs) == 0 {
				t.Errorf("%s in %s: %d calls for %d handles, %d errors", name, p, g.calls, len(order), len(g.errs))
			}
			if name == "a flipped bit" && len(g.errs) != 1 {
				t.Errorf("%s in %s: %v", name, p, g.errs)
			}
			for h, data := range g.data {
				if !bytes.Equal(data, want[h]) {
					t.Errorf("%s in %s: %s comes wrong", name, p, h)
				}
			}
			for h, err := range g.errs {
				if failure.KindOf(err) != failure.Corrupt {
					t.Errorf("%s in %s: %s: %v", name, p, h, err)
				}
			}
		}
	}
}
