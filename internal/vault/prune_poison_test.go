package vault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

var poisonOptions = Options{KDF: crypto.Params{N: 16, R: 8, P: 1}, PackSize: 100 << 10}

// poisoned is a vault with one file, and the blobs of that, of which an attacker lists second copies.
func poisoned(t *testing.T) (store *memory.Store, root object.ID, blobs []object.Handle, v *Vault) {
	t.Helper()
	ctx := t.Context()
	store = memory.New()
	v, err := Init(ctx, store, "p", poisonOptions)
	if err != nil {
		t.Fatal(err)
	}
	s, err := v.NewSession(ctx)
	if err != nil {
		t.Fatal(err)
	}
	n := tree.Node{Name: "f", Type: "file"}
	r := rand.NewChaCha8([32]byte{1})
	for range 12 {
		text := make([]byte, 30<<10)
		if _, err := io.ReadFull(r, text); err != nil {
			t.Fatal(err)
		}
		id, err := s.SaveBlob(ctx, object.Data, text)
		if err != nil {
			t.Fatal(err)
		}
		n.Content, n.Size = append(n.Content, id), n.Size+uint64(len(text))
		blobs = append(blobs, object.Handle{Type: object.Data, ID: id})
	}
	if root, err = s.SaveTree(ctx, &tree.Tree{Nodes: []tree.Node{n}}); err != nil {
		t.Fatal(err)
	}
	blobs = append(blobs, object.Handle{Type: object.Tree, ID: root})
	if _, err := s.Commit(ctx, &snapshot.Snapshot{Tree: &root, Paths: []string{"/a"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	return store, root, blobs, v
}

// claim stores a pack of noise, and an index file that lists blobs in it, each of length bytes.
func claim(t *testing.T, store blob.Store, v *Vault, blobs []object.Handle, length uint32, seed uint64) {
	t.Helper()
	var entries []pack.Entry
	for i, h := range blobs {
		entries = append(entries, pack.Entry{Handle: h, Offset: uint32(i) * length, Length: length})
	}
	junk := blobtest.Make(blob.Pack, seed, len(blobs)*int(length)+pack.HeaderSize(entries))
	if err := store.Save(t.Context(), junk.Handle, bytes.NewReader(junk.Bytes)); err != nil {
		t.Fatal(err)
	}
	id, err := object.ParseID(junk.Handle.Name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := index.Encode([]index.Pack{{ID: id, Entries: entries}})
	if err == nil {
		_, err = v.saveFile(t.Context(), blob.Index, text)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestPoisonedIndex holds that somebody who can only add to a vault cannot have a prune remove what others stored: second
// copies that are none, of any size and however many, never stand for the real ones. Nor does a damaged copy.
func TestPoisonedIndex(t *testing.T) {
	for name, lie := range map[string]func(*testing.T, *memory.Store, *Vault, []object.Handle){
		"small":        func(t *testing.T, s *memory.Store, v *Vault, b []object.Handle) { claim(t, s, v, b, 50, 1) },
		"as large":     func(t *testing.T, s *memory.Store, v *Vault, b []object.Handle) { claim(t, s, v, b, 30<<10, 1) },
		"larger":       func(t *testing.T, s *memory.Store, v *Vault, b []object.Handle) { claim(t, s, v, b, 60<<10, 1) },
		"half of them": func(t *testing.T, s *memory.Store, v *Vault, b []object.Handle) { claim(t, s, v, b[:6], 50, 1) },
		"many": func(t *testing.T, s *memory.Store, v *Vault, b []object.Handle) {
			for seed := range uint64(5) {
				claim(t, s, v, b[seed:], 50+uint32(seed), seed)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			store, _, blobs, attacker := poisoned(t)
			lie(t, store, attacker, blobs)
			v, err := Open(t.Context(), store, "p", poisonOptions)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := v.Prune(t.Context(), PruneOptions{Grace: -1, MaxUnused: "0"}); err != nil {
					t.Fatal(err)
				}
			}
			sound(t, store, blobs)
		})
	}
}

// sound is that every blob can be had, and a check finds nothing.
func sound(t *testing.T, store blob.Store, blobs []object.Handle) {
	t.Helper()
	v, err := Open(context.Background(), store, "p", poisonOptions)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range blobs {
		if _, err := v.LoadBlob(t.Context(), h); err != nil {
			t.Errorf("%s is lost: %v", h, err)
		}
	}
	report, err := v.Check(t.Context(), CheckOptions{ReadData: true})
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("check: %v, %v", report.Problems, err)
	}
}

// TestDamagedCopyStays holds that of two copies the sound one stays, whichever was stored first, and that with no sound
// one nothing goes.
func TestDamagedCopyStays(t *testing.T) {
	for _, damage := range []string{"first", "second", "both"} {
		store, _, blobs, v := poisoned(t)
		ours := map[string]bool{}
		packsOf := func() (names []string) {
			if err := store.List(t.Context(), blob.Pack, func(i blob.Info) error { names = append(names, i.Name); return nil }); err != nil {
				t.Fatal(err)
			}
			return names
		}
		for _, name := range packsOf() {
			ours[name] = true
		}
		again := &pruner{v: v} // stores everything a second time, as an interrupted prune may leave it
		var err error
		if again.s, err = v.NewSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, h := range blobs {
			data, err := v.LoadBlob(t.Context(), h)
			if err != nil {
				t.Fatal(err)
			}
			if err := again.copyBlob(t.Context(), h, moved{}, nil, data); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(again.s.Flush(t.Context()), again.s.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
		for _, name := range packsOf() {
			if damage == "both" || ours[name] == (damage == "first") {
				store.Corrupt(blob.Handle{Type: blob.Pack, Name: name}, func(b []byte) []byte {
					if damage != "both" || len(b) > 5000 { // else the directory alone would end it
						for i := 20; i == 20 || i < len(b)-1500; i += 500 {
							b[i] ^= 1
						}
					}
					return b
				})
			}
		}
		if v, err = Open(t.Context(), store, "p", poisonOptions); err != nil {
			t.Fatal(err)
		}
		before := len(packsOf())
		_, err = v.Prune(t.Context(), PruneOptions{Grace: -1, MaxUnused: "0"})
		if damage != "both" {
			if err != nil {
				t.Errorf("%s: %v", damage, err)
			}
			sound(t, store, blobs)
			continue
		}
		if !errors.Is(err, failure.Corrupt) || len(packsOf()) != before {
			t.Errorf("%s: %v, want corrupt; %d packs of %d are left", damage, err, len(packsOf()), before)
		}
	}
}
