package vault

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

// CheckOptions say how much is verified.
type CheckOptions struct {
	// ReadData reads every pack and verifies every blob. Without it the packs' sizes and headers are compared with the
	// index, and all trees are read.
	ReadData bool
	// NoLock leaves out the shared lock, for a store that cannot be written to. A prune at the same time makes sound
	// things look missing.
	NoLock bool
}

// Report is what a check found.
type Report struct {
	// Problems are what is damaged or missing, in the order of their subjects. A vault without any restores every
	// snapshot, as far as it was verified.
	Problems []Problem
	// Hints are what is unusual and harmless: packs that no index lists, blobs stored twice.
	Hints []string

	Snapshots, Trees, Files, Packs, Blobs int
	BytesRead                             int64 // of packs
}

// Problem is one thing that is not as it was written.
type Problem struct {
	Subject string // the object: "data/0123…", "snapshots/…", "blob data 01234567"
	Err     error
	// Affects names what cannot be restored because of it, at most maxPlaces; More counts the rest. With none, nothing
	// that a snapshot needs is affected.
	Affects []Place
	More    int
}

// Place is a path in a snapshot.
type Place struct {
	Snapshot object.ID
	Path     string
}

const maxPlaces = 100

// Check verifies the vault: that every file is what its name says and can be decoded, that the index and the packs agree,
// that each snapshot's directories and files are whole and that sizes fit contents. It goes on after what it finds; the
// error is for what kept it from looking: the store, the lock, ctx.
func (v *Vault) Check(ctx context.Context, o CheckOptions) (*Report, error) {
	if !o.NoLock {
		held, lock, err := v.Lock(ctx, false)
		if err != nil {
			return nil, err
		}
		defer func() {
			if err := lock.Release(ctx); err != nil {
				v.opts.Log.WarnContext(ctx, "the check's lock is left", "vault", v.Location(), "error", err)
			}
		}()
		ctx = held
	}
	c := &checker{v: v, options: o, problems: map[string]*Problem{}, broken: map[object.Handle]error{}}
	for _, step := range []func(context.Context) error{c.keys, c.listSnapshots, c.loadIndex, c.comparePacks, c.walkSnapshots} {
		if err := step(ctx); err != nil {
			return nil, cause(ctx, err)
		}
		if err := ctx.Err(); err != nil {
			return nil, cause(ctx, err)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.problems)) {
		p := c.problems[key]
		slices.SortFunc(p.Affects, func(a, b Place) int {
			return cmp.Or(a.Snapshot.Compare(b.Snapshot), cmp.Compare(a.Path, b.Path))
		})
		c.report.Problems = append(c.report.Problems, *p)
	}
	slices.Sort(c.report.Hints)
	return &c.report, nil
}

// checker is one run of a check.
type checker struct {
	v         *Vault
	options   CheckOptions
	snapshots map[object.ID]int64
	index     *index.Index

	mu       sync.Mutex
	report   Report
	problems map[string]*Problem
	broken   map[object.Handle]error // blobs of which no copy is sound, as far as is known

	trees  map[object.ID]*treeFindings
	budget int // directories that may still be entered by name
}

// problem notes one, and what it affects.
func (c *checker) problem(subject string, err error, affects ...Place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := subject + "\x00" + err.Error()
	p := c.problems[key]
	if p == nil {
		p = &Problem{Subject: subject, Err: err}
		c.problems[key] = p
	}
	for _, a := range affects {
		if slices.Contains(p.Affects, a) {
			continue
		}
		if len(p.Affects) == maxPlaces {
			p.More++
			continue
		}
		p.Affects = append(p.Affects, a)
	}
}

// damage reports whether err is a finding about what is stored, rather than a reason to give up.
func damage(err error) bool {
	switch failure.KindOf(err) {
	case failure.Corrupt, failure.NotFound, failure.Unsupported, failure.Invalid:
		return true
	}
	return false
}

func (c *checker) keys(ctx context.Context) error {
	ids, err := c.v.list(ctx, blob.Key)
	if err != nil {
		return err
	}
	return c.v.each(ctx, ids, func(ctx context.Context, id object.ID, _ int64) error {
		_, err := loadKeyFile(ctx, c.v.store, id)
		return c.finding(blob.Key, id, err)
	})
}

// finding notes damage to a file, and gives back what is none.
func (c *checker) finding(t blob.Type, id object.ID, err error) error {
	if err != nil && damage(err) {
		c.problem(t.String()+"/"+id.String(), err)
		return nil
	}
	return err
}

// listSnapshots goes before the index is read: what a snapshot needs is listed before the snapshot is written.
func (c *checker) listSnapshots(ctx context.Context) (err error) {
	c.snapshots, err = c.v.list(ctx, blob.Snapshot)
	return err
}

// loadIndex reads every index file, also those that this Vault knows already.
func (c *checker) loadIndex(ctx context.Context) error {
	ids, err := c.v.list(ctx, blob.Index)
	if err != nil {
		return err
	}
	c.index = &index.Index{}
	return c.v.each(ctx, ids, func(ctx context.Context, id object.ID, _ int64) error {
		packs, err := c.v.loadIndexFile(ctx, id)
		if err != nil {
			return c.finding(blob.Index, id, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, p := range packs {
			c.index.Add(p.ID, p.Entries)
		}
		return nil
	})
}

// comparePacks verifies each pack that is stored against the index, and finds those that are missing.
func (c *checker) comparePacks(ctx context.Context) error {
	sizes, err := c.v.list(ctx, blob.Pack)
	if err != nil {
		return err
	}
	listed := map[object.ID][]pack.Entry{}
	for l := range c.index.All() {
		listed[l.Pack] = append(listed[l.Pack], l.Entry)
	}
	bad := map[object.ID]error{}
	for id := range listed {
		if _, there := sizes[id]; !there {
			bad[id] = failure.New(failure.NotFound, "find", packHandle(id).String(), "the pack is listed by the index and is not stored")
		}
	}
	unsound := map[index.Location]error{}
	err = c.v.each(ctx, sizes, func(ctx context.Context, id object.ID, size int64) error {
		entries, known := listed[id]
		if !known {
			c.hint("pack %s is listed by no index: it was left by a writer that did not finish", id.Short())
			return nil
		}
		blobs, err := c.checkPack(ctx, id, size, entries)
		c.mu.Lock()
		defer c.mu.Unlock()
		for l, e := range blobs {
			unsound[l] = e
		}
		if err == nil || damage(err) {
			if err != nil {
				bad[id] = err
			}
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	c.report.Packs = len(sizes)
	c.judgeBlobs(bad, unsound)
	return nil
}

// judgeBlobs decides which blobs have no sound copy, and notes the packs that are not as they should be.
func (c *checker) judgeBlobs(bad map[object.ID]error, unsound map[index.Location]error) {
	for id, err := range bad {
		c.problem(packHandle(id).String(), err)
	}
	for l, err := range unsound {
		c.problem(packHandle(l.Pack).String(), err)
	}
	sound := map[object.Handle]bool{}
	for l := range c.index.All() {
		c.report.Blobs++
		err := unsound[l]
		// A pack whose bytes changed somewhere may hold blobs that are whole: only reading them can tell, and with
		// ReadData unsound says which are not. A pack that is gone holds none.
		if e := bad[l.Pack]; err == nil && e != nil && (!c.options.ReadData || failure.KindOf(e) == failure.NotFound) {
			err = e
		}
		if err == nil {
			sound[l.Handle] = true
			delete(c.broken, l.Handle)
		} else if !sound[l.Handle] {
			c.broken[l.Handle] = err
		}
	}
}

func (c *checker) hint(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Hints = append(c.report.Hints, fmt.Sprintf(format, args...))
}
