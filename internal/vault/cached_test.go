package vault_test

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/cache"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// loads counts what is loaded of a store, by type.
type loads struct {
	blob.Store
	mu sync.Mutex
	n  map[blob.Type]int
}

func (l *loads) Load(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	l.mu.Lock()
	l.n[h.Type]++
	l.mu.Unlock()
	return l.Store.Load(ctx, h, offset, length)
}

// take gives the counts so far, and begins anew.
func (l *loads) take() map[blob.Type]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.n
	l.n = map[blob.Type]int{}
	return n
}

// TestCached holds that with a cache a vault's metadata is fetched once: what was written from here not at all. A check
// asks the store in spite of it.
func TestCached(t *testing.T) {
	_, inner := create(t)
	store := &loads{Store: inner, n: map[blob.Type]int{}}
	folder := t.TempDir()
	open := func() *vault.Vault {
		t.Helper()
		v, err := vault.Open(t.Context(), cache.Wrap(store, cache.Options{Folder: folder}), password, cheap)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	s := begin(t, open())
	c, err := s.SaveStream(t.Context(), bytes.NewReader(prose(1, 1000)))
	if err != nil {
		t.Fatal(err)
	}
	sub, err := s.SaveTree(t.Context(), &tree.Tree{Nodes: []tree.Node{node("file", c)}})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, &tree.Tree{Nodes: []tree.Node{dir("sub", sub)}})

	walk := func(v *vault.Vault) {
		t.Helper()
		points, err := v.Snapshots(t.Context(), snapshot.Filter{})
		if err != nil || len(points) != 1 {
			t.Fatalf("points: %v, %v", points, err)
		}
		seen := 0
		err = v.Walk(t.Context(), *points[0].Tree, func(_ string, _ *tree.Node, err error) error { seen++; return err })
		if err != nil || seen != 2 {
			t.Errorf("%d nodes are walked, %v", seen, err)
		}
	}
	v := open()
	store.take()
	walk(v)
	if n := store.take(); n[blob.Snapshot]+n[blob.Index]+n[blob.Pack] != 0 {
		t.Errorf("what was written from here is fetched: %v", n)
	}
	folder = t.TempDir() // another machine
	walk(open())
	store.take()
	v = open()
	walk(v)
	if n := store.take(); n[blob.Snapshot]+n[blob.Index] != 0 {
		t.Errorf("what was read before is fetched again: %v", n)
	}
	if report, err := v.Check(t.Context(), vault.CheckOptions{NoLock: true}); err != nil || len(report.Problems) > 0 {
		t.Errorf("check: %+v, %v", report, err)
	}
	if n := store.take(); n[blob.Snapshot] == 0 || n[blob.Index] == 0 || n[blob.Pack] == 0 {
		t.Errorf("a check loads only %v from the store", n)
	}
}
