package vault

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// BestCopies values each blob by its best copy, as value says of an index file and a pack that it lists: for tests.
func (v *Vault) BestCopies(ctx context.Context, value func(index, pack object.ID) time.Duration) (map[object.Handle]time.Duration, error) {
	if err := v.LoadIndex(ctx); err != nil {
		return nil, err
	}
	best := map[object.Handle]time.Duration{}
	for id := range v.loaded {
		packs, err := v.loadIndexFile(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, p := range packs {
			worth := value(id, p.ID)
			for _, e := range p.Entries {
				if had, there := best[e.Handle]; !there || worth > had {
					best[e.Handle] = worth
				}
			}
		}
	}
	return best, nil
}

// EachNeeded names each blob that a snapshot needs: for tests.
func (v *Vault) EachNeeded(ctx context.Context, id object.ID, each func(object.Handle)) error {
	s, err := v.Snapshot(ctx, id)
	if err != nil {
		return err
	}
	each(object.Handle{Type: object.Tree, ID: *s.Tree})
	return v.Walk(ctx, *s.Tree, func(_ string, n *tree.Node, err error) error {
		if err != nil {
			return err
		}
		if n.Subtree != nil {
			each(object.Handle{Type: object.Tree, ID: *n.Subtree})
		}
		for _, id := range n.Content {
			each(object.Handle{Type: object.Data, ID: id})
		}
		return nil
	})
}

// Behind replaces the store of an opened vault: for tests whose stores are not yet to be asked while it is opened.
func Behind(v *Vault, store blob.Store) { v.store = store }

// TestPruneMemory holds what a prune knows of blobs and packs to three tenths of what the index takes.
func TestPruneMemory(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	v, err := Init(t.Context(), memory.New(), "p", Options{KDF: crypto.Params{N: 16, R: 8, P: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.LoadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	const blobs, each = 1_000_000, 20 // in a pack: 16 MiB of chunks of 0.8 MiB, as content-defined ones are
	number := func(kind string, n int) object.ID { return object.Hash(fmt.Appendf(nil, "%s %d", kind, n)) }
	before := heap()
	for n := 0; n < blobs; n += each {
		var entries []pack.Entry
		for i := range each {
			entries = append(entries, pack.Entry{Handle: object.Handle{ID: number("blob", n+i)}, Offset: uint32(i * 1000), Length: 1000})
		}
		v.index.Add(number("pack", n), entries)
	}
	index := heap() - before
	p, err := v.pruner(t.Context(), PruneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.stored, p.unlisted = map[object.ID]int64{}, map[object.ID]int64{}
	for n := 0; n < blobs; n += each {
		p.stored[number("pack", n)] = each*1000 + int64(pack.HeaderSize(make([]pack.Entry, each)))
	}
	for n := range blobs {
		if n%each != 0 || n%(3*each) != 0 { // a third of the packs is needed in part
			p.need(object.Handle{ID: number("blob", n)})
		}
	}
	if err := p.decide(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.plan.Used.Blobs != blobs-(blobs/each+2)/3 || p.plan.Unused.Blobs != (blobs/each+2)/3 {
		t.Fatalf("%+v", p.plan)
	}
	more := heap() - before - index
	t.Logf("the index takes %.1f bytes a blob, the prune %.1f more", float64(index)/blobs, float64(more)/blobs)
	if more*10 > index*3 {
		t.Errorf("%d bytes beside %d of the index", more, index)
	}
	runtime.KeepAlive(p)
	if err := p.end(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// SplitIndex lists every pack by two index files, half of its blobs in each, as very old writers did: for tests.
func (v *Vault) SplitIndex(ctx context.Context) error {
	files, err := v.list(ctx, blob.Index)
	if err != nil {
		return err
	}
	for id := range files {
		packs, err := v.loadIndexFile(ctx, id)
		if err != nil {
			return err
		}
		for half := range 2 {
			var part []index.Pack
			for _, p := range packs {
				cut := len(p.Entries) / 2
				if half == 0 {
					part = append(part, index.Pack{ID: p.ID, Entries: p.Entries[:cut]})
				} else {
					part = append(part, index.Pack{ID: p.ID, Entries: p.Entries[cut:]})
				}
			}
			text, err := index.Encode(part)
			if err != nil {
				return err
			}
			if _, err := v.saveFile(ctx, blob.Index, text); err != nil {
				return err
			}
		}
		if err := v.store.Remove(ctx, blob.Handle{Type: blob.Index, Name: id.String()}); err != nil {
			return err
		}
	}
	return nil
}
