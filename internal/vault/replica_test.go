package vault_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// away is a store that can be cut off.
type away struct {
	blob.Store
	cut   atomic.Bool
	asked atomic.Int64 // while it was cut off
}

func (a *away) reach() error {
	if a.cut.Load() {
		a.asked.Add(1)
		return failure.New(failure.Unavailable, "reach the store", "", "the site is down")
	}
	return nil
}

func (a *away) Load(ctx context.Context, h blob.Handle, off, n int64) (io.ReadCloser, error) {
	if err := a.reach(); err != nil {
		return nil, err
	}
	return a.Store.Load(ctx, h, off, n)
}

func (a *away) List(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
	if err := a.reach(); err != nil {
		return err
	}
	return a.Store.List(ctx, t, each)
}

func (a *away) Stat(ctx context.Context, h blob.Handle) (blob.Info, error) {
	if err := a.reach(); err != nil {
		return blob.Info{}, err
	}
	return a.Store.Stat(ctx, h)
}

// logged opens a vault that logs to the buffer.
func logged(t *testing.T, store blob.Store) (*vault.Vault, *lockedBuffer) {
	t.Helper()
	var out lockedBuffer
	o := small
	o.Log = slog.New(slog.NewTextHandler(&out, nil))
	v, err := vault.Open(t.Context(), store, password, o)
	if err != nil {
		t.Fatal(err)
	}
	return v, &out
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestReplicaFillsIn damages or removes each object of a vault in turn, but for config and keys: with a replica
// everything is read all the same, and it is said.
func TestReplicaFillsIn(t *testing.T) {
	store, files := sample(t)
	whole, _ := replicaOf(t, open(t, store), false)
	copyAll(t, open(t, store), whole, vault.CopyOptions{})
	for _, info := range everything(t, store) {
		if info.Type == blob.Config || info.Type == blob.Key {
			continue
		}
		for name, change := range map[string]func(s *memory.Store) error{
			"flip": func(s *memory.Store) error {
				s.Corrupt(info.Handle, func(b []byte) []byte { b[len(b)/3] ^= 4; return b })
				return nil
			},
			"cut": func(s *memory.Store) error {
				s.Corrupt(info.Handle, func(b []byte) []byte { return b[:len(b)/2] })
				return nil
			},
			"gone": func(s *memory.Store) error { return s.Remove(t.Context(), info.Handle) },
		} {
			if info.Type == blob.Snapshot && name == "gone" {
				continue // a snapshot that is not there was forgotten
			}
			broken := store.Clone()
			if err := change(broken); err != nil {
				t.Fatal(err)
			}
			v, log := logged(t, broken)
			v.Attach(vault.ReplicaOf(whole))
			holds(t, v, 2, files)
			got := v.Fallbacks()[0]
			if got.Blobs+got.Snapshots == 0 || !strings.Contains(log.String(), "level=WARN") || got.Failed != 0 {
				t.Errorf("%s %s: %+v\n%s", name, info, got, log)
			}
			if report, err := v.Check(t.Context(), vault.CheckOptions{ReadData: true, NoLock: true}); err != nil || len(report.Problems) == 0 {
				t.Errorf("%s %s: the check sees nothing behind the replica: %v", name, info, err)
			}
		}
	}
}

// TestReplicaByManyWays reads one lost file by each way of reading.
func TestReplicaByManyWays(t *testing.T) {
	store, files := sample(t)
	whole, _ := replicaOf(t, open(t, store), false)
	copyAll(t, open(t, store), whole, vault.CopyOptions{})
	all, err := open(t, store).Snapshots(t.Context(), snapshot.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range packsOfFile(t, open(t, store), all[0], "/a") {
		if err := store.Remove(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	v := open(t, store)
	// The first replica has nothing, the second cannot be opened, the third gives.
	bare, _ := replicaOf(t, v, false)
	broken := vault.Replica{Name: "broken", Open: func(context.Context) (*vault.Vault, error) {
		return nil, failure.New(failure.Unavailable, "open", "", "not today")
	}}
	v.Attach(vault.ReplicaOf(bare), broken, vault.ReplicaOf(whole))
	n, err := v.Find(t.Context(), *all[0].Tree, "/a")
	if err != nil {
		t.Fatal(err)
	}
	var handles []object.Handle
	for _, id := range n.Content {
		handles = append(handles, object.Handle{Type: object.Data, ID: id})
	}
	for _, h := range handles {
		if data, err := v.LoadBlob(t.Context(), h); err != nil || object.Hash(data) != h.ID {
			t.Errorf("LoadBlob: %v", err)
		}
	}
	gone := object.Handle{Type: object.Data, ID: object.Hash([]byte("nobody has it"))}
	var mu sync.Mutex
	got := map[object.Handle]error{}
	err = v.LoadBlobs(t.Context(), append(handles, gone), func(h object.Handle, data []byte, err error) error {
		mu.Lock()
		defer mu.Unlock()
		if err == nil && object.Hash(data) != h.ID {
			err = errWrongBytes
		}
		got[h] = err
		return nil
	})
	if err != nil || len(got) != len(handles)+1 {
		t.Fatalf("%d of %d blobs, %v", len(got), len(handles)+1, err)
	}
	for h, err := range got {
		if h != gone && err != nil || h == gone && !errors.Is(err, failure.NotFound) {
			t.Errorf("LoadBlobs %s: %v", h, err)
		}
	}
	if err := same(t.Context(), v, n, files["/a"]); err != nil {
		t.Error(err)
	}
	f := v.Fallbacks()
	if f[0].Failed == 0 || f[0].Blobs != 0 || f[1].Failed == 0 || f[2].Blobs != 3*len(handles) {
		t.Errorf("%+v", f)
	}
}

// TestSiteIsDown cuts the first store off under a vault that is open: it goes on with the replica at once, does not wait
// for the store blob by blob, and goes back to it when it is there again.
func TestSiteIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, files := sample(t)
		whole, _ := replicaOf(t, open(t, store), false)
		copyAll(t, open(t, store), whole, vault.CopyOptions{})
		list, err := open(t, store).Snapshots(t.Context(), snapshot.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		site := &away{Store: store}
		v, log := logged(t, site)
		v.Attach(vault.ReplicaOf(whole))
		site.cut.Store(true)
		holds(t, v, 2, files)
		if n := site.asked.Load(); n > 10 {
			t.Errorf("a store that is down was asked %d times", n)
		}
		// Points have the ids that they have in the vault that is down.
		for _, sn := range list {
			if got, err := v.Snapshot(t.Context(), sn.ID); err != nil || *got.Tree != *sn.Tree || got.ID != sn.ID {
				t.Errorf("%+v, %v", got, err)
			}
			if got, err := v.FindSnapshot(t.Context(), sn.ID.Short(), snapshot.Filter{}); err != nil || got.ID != sn.ID {
				t.Errorf("%+v, %v", got, err)
			}
		}
		if got, err := v.FindSnapshot(t.Context(), "latest", snapshot.Filter{}); err != nil || got.ID != list[1].ID {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := v.FindSnapshot(t.Context(), "ffffff", snapshot.Filter{}); err == nil {
			t.Error("a point that is nowhere is found")
		}
		if !strings.Contains(log.String(), "the site is down") {
			t.Errorf("the log does not say why:\n%s", log)
		}
		site.cut.Store(false)
		time.Sleep(2 * time.Minute)
		before := v.Fallbacks()[0]
		holds(t, v, 2, files)
		if after := v.Fallbacks()[0]; after != before {
			t.Errorf("the site is back, and the replica is asked: %+v, %+v", before, after)
		}
		// Alone, the replica knows the points by their first ids too.
		if got, err := whole.FindSnapshot(t.Context(), list[0].ID.Short(), snapshot.Filter{}); err != nil || *got.Original != list[0].ID {
			t.Errorf("%+v, %v", got, err)
		}
		begin(t, v)
	})
}

// TestStandInsMustAgree holds that of two different snapshots with one first id none is taken for the lost one.
func TestStandInsMustAgree(t *testing.T) {
	v, store := create(t)
	s := begin(t, v)
	first := write(t, s, map[string][]byte{"f": []byte("first")})
	dst, _ := replicaOf(t, v, false)
	copyAll(t, v, dst, vault.CopyOptions{})
	d := begin(t, dst)
	id, err := d.SaveTree(t.Context(), &tree.Tree{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Commit(t.Context(), &snapshot.Snapshot{Tree: &id, Original: &first}); err != nil {
		t.Fatal(err)
	}
	store.Corrupt(blob.Handle{Type: blob.Snapshot, Name: first.String()}, func(b []byte) []byte { return b[:20] })
	v = open(t, store)
	v.Attach(vault.ReplicaOf(dst))
	if got, err := v.Snapshot(t.Context(), first); err == nil || !strings.Contains(err.Error(), "several") {
		t.Errorf("%+v, %v", got, err)
	}
}
