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
)

// CheckOptions say how much is verified.
type CheckOptions struct {
	// ReadData reads every pack of Subset and verifies every blob in it. Of the other packs the sizes and headers are
	// compared with the index. All trees are read in any case.
	ReadData bool
	Subset   Subset // which packs; zero: all
	// Progress, when not nil, is called after each piece of work, never twice at once.
	Progress func(CheckProgress)
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
	PacksRead                             int   // wholly
	BytesRead                             int64 // of these
}

// CheckProgress is how far a check has come. Totals are known before the first call.
type CheckProgress struct {
	Packs, TotalPacks int
	Bytes, TotalBytes int64 // of packs that are read; 0 without ReadData
	Trees, TotalTrees int   // of those that are listed; a snapshot need not use them all
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
	ctx = blob.Direct(ctx) // the store itself is verified, not what a cache has of it
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
	contents  *index.Contents
	read      map[object.ID]bool // packs to be read wholly

	mu       sync.Mutex
	progress CheckProgress
	report   Report
	problems map[string]*Problem
	broken   map[object.Handle]error // blobs of which no copy is sound, as far as is known

	trees  map[object.ID]*treeFindings // nil unless something is wrong
	budget int                         // directories that may still be entered by name
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
	if c.v.imagined {
		c.index = c.v.index
		return nil
	}
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

// advanced tells how far the check has come. The caller holds mu.
func (c *checker) advanced() {
	if c.options.Progress != nil {
		c.options.Progress(c.progress)
	}
}

// comparePacks verifies each pack that is stored against the index, and finds those that are missing.
func (c *checker) comparePacks(ctx context.Context) error {
	sizes, err := c.v.list(ctx, blob.Pack)
	if err != nil {
		return err
	}
	c.contents = c.index.ByPack()
	bad := map[object.ID]error{}
	for _, id := range c.index.Packs() {
		if _, there := sizes[id]; !there {
			bad[id] = failure.New(failure.NotFound, "find", packHandle(id).String(), "the pack is listed by the index and is not stored")
		}
	}
	c.read = map[object.ID]bool{}
	if c.options.ReadData {
		listed := maps.Clone(sizes)
		maps.DeleteFunc(listed, func(id object.ID, _ int64) bool { return !c.index.Lists(id) })
		c.read = c.options.Subset.choose(listed)
	}
	c.progress.TotalPacks, c.progress.TotalTrees = len(sizes), c.index.Len(object.Tree)
	for id := range c.read {
		c.progress.TotalBytes += sizes[id]
	}
	unsound := map[index.Location]error{}
	buffers := make(spares[checkBuffers], c.v.parallel())
	err = c.v.each(ctx, sizes, func(ctx context.Context, id object.ID, size int64) error {
		b := buffers.take()
		defer buffers.putBack(b)
		wrong, err := c.checkPack(ctx, id, size, b)
		c.mu.Lock()
		defer c.mu.Unlock()
		if err != nil && !damage(err) {
			return err
		}
		if err != nil {
			bad[id] = err
		}
		maps.Copy(unsound, wrong)
		c.progress.Packs++
		if c.read[id] {
			c.progress.Bytes += size
			c.report.PacksRead++
			c.report.BytesRead += size
		}
		c.advanced()
		return nil
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
	c.report.Blobs = c.index.Len(object.Data) + c.index.Len(object.Tree)
	suspects := map[object.Handle]bool{}
	for l, err := range unsound {
		c.problem(packHandle(l.Pack).String(), err)
		suspects[l.Handle] = true
	}
	for id, err := range bad {
		c.problem(packHandle(id).String(), err)
		for _, e := range c.contents.Of(id, nil) {
			suspects[e.Handle] = true
		}
	}
	for h := range suspects {
		var broken error
		for l := range c.index.Lookup(h) {
			err := unsound[l]
			// A pack whose bytes changed somewhere may hold blobs that are whole: only reading them can tell, and then
			// unsound says which are not. A pack that is gone holds none.
			if e := bad[l.Pack]; err == nil && e != nil && (!c.read[l.Pack] || failure.KindOf(e) == failure.NotFound) {
				err = e
			}
			if broken = err; err == nil {
				break
			}
		}
		if broken != nil {
			c.broken[h] = broken
		}
	}
}

func (c *checker) hint(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Hints = append(c.report.Hints, fmt.Sprintf(format, args...))
}
