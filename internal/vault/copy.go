package vault

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

const (
	// copyBatch is how many blobs are asked for at once: the more, the fewer requests. It bounds memory.
	copyBatch = 1 << 17
	// copyEvery is after how much time or how many bytes what was copied is listed and the snapshots that are whole are
	// written: what an interruption costs at most.
	copyEvery      = time.Minute
	copyEveryBytes = 1 << 30
)

// CopyOptions say how snapshots are copied. The zero CopyOptions are right but for a look ahead.
type CopyOptions struct {
	// DryRun finds out what would be copied and writes nothing to either vault.
	DryRun bool
	// Verify reads back from the destination every blob and snapshot that was written.
	Verify bool
	// NoLock leaves out the lock of the source, for one that cannot be written to. A prune of it at the same time makes
	// the copy fail, and nothing worse.
	NoLock bool
	// Whole walks through every directory. Otherwise those are passed over that a snapshot in the destination of the same
	// host and paths has too: they are there, unless the destination is damaged.
	Whole bool
	// Progress is told from time to time how far the copy is; one call at a time. Nil: nobody is.
	Progress func(CopyProgress)
}

// CopyProgress is how far a copy is. Totals grow while directories are read.
type CopyProgress struct {
	Snapshots, SnapshotsTotal int
	Trees                     int   // directories walked through
	Blobs, BlobsTotal         int   // copied, and known to be needed
	Bytes, BytesTotal         int64 // before compression
}

// CopyReport is what a copy did, or would do.
type CopyReport struct {
	Copied  []SnapshotCopy // oldest first
	Skipped []SnapshotCopy // in the destination already
	Failed  []SnapshotFailure
	Trees   int
	Blobs   [2]int // copied, by type
	Bytes   int64  // before compression
	Stored  int64  // as they lie in the destination's packs; 0 for a dry run
	// Verified is how many blobs were read back.
	Verified int
	// Polynomials reports whether both vaults cut content alike; else what is written to both by backups is not
	// recognised as the same. The remedy is to make the destination with Options.Polynomial of the source.
	Polynomials bool
	// Fallbacks are what replicas of the source gave.
	Fallbacks []Fallback
}

// SnapshotCopy is one snapshot in both vaults. To is zero in a dry run.
type SnapshotCopy struct {
	From, To object.ID
	Time     time.Time
}

// SnapshotFailure is a snapshot that could not be copied.
type SnapshotFailure struct {
	Snapshot object.ID
	Err      error
}

// CopyTo copies snapshots to another vault, oldest first, with all that they need and the destination lacks; nil copies
// all. A snapshot that is there already, by its first id and all its fields but the parent, is skipped, as restic does.
// What is read is verified by its hash, and asked of replicas when the source does not give it.
//
// The copy can be interrupted and repeated: whatever was made durable is found again. A snapshot is written when all of
// it is there. One that cannot be read does not keep the others from being copied: the report names it, and the error
// says so too. The report is never nil.
func (v *Vault) CopyTo(ctx context.Context, dst *Vault, snapshots []*snapshot.Snapshot, o CopyOptions) (report *CopyReport, err error) {
	c := &copier{src: v, dst: dst, options: o, queued: map[object.Handle]struct{}{}, walked: map[object.ID]struct{}{}}
	c.report.Polynomials = v.config.Polynomial == dst.config.Polynomial
	if v.config.ID == dst.config.ID {
		return &c.report, failure.New(failure.Invalid, "copy", v.Location(), "the destination %s is the same vault", dst.Location())
	}
	if !c.report.Polynomials {
		v.opts.Log.WarnContext(ctx, "the vaults cut content differently: backups to both do not deduplicate", "from", v.Location(), "to", dst.Location())
	}
	before := v.Fallbacks()
	defer func() { c.report.Fallbacks = fallbacksSince(before, v.Fallbacks()) }()
	if !o.DryRun && !o.NoLock {
		held, lock, err := v.Lock(ctx, false)
		if err != nil {
			return &c.report, err
		}
		ctx = held
		defer func() {
			if lerr := lock.Release(ctx); lerr != nil {
				v.opts.Log.WarnContext(ctx, "the copy's lock is left", "vault", v.Location(), "error", lerr)
			}
		}()
	}
	if err := c.open(ctx); err != nil {
		return &c.report, err
	}
	err = c.run(ctx, snapshots)
	if c.session != nil {
		c.report.Stored = c.session.Stats().Stored
		err = errors.Join(err, c.session.Close(ctx))
	}
	return &c.report, err
}

// fallbacksSince is what was counted between two looks.
func fallbacksSince(before, after []Fallback) []Fallback {
	var all []Fallback
	for i, a := range after {
		b := before[i]
		a.Blobs, a.Bytes, a.Snapshots, a.Failed = a.Blobs-b.Blobs, a.Bytes-b.Bytes, a.Snapshots-b.Snapshots, a.Failed-b.Failed
		if a.Blobs+a.Snapshots+a.Failed > 0 {
			all = append(all, a)
		}
	}
	return all
}

// copier is one run of a copy.
type copier struct {
	src, dst *Vault
	options  CopyOptions
	session  *Session                      // nil in a dry run
	theirs   firsts                        // what the destination has
	newest   map[string]*snapshot.Snapshot // of those, by host and paths

	walked map[object.ID]struct{}     // directories that are, or will be, whole in the destination
	queued map[object.Handle]struct{} // data that is needed and not asked for yet
	ready  []*snapshot.Snapshot       // all of them is saved, and perhaps not durable
	synced time.Time                  // when ready was last written
	stored int64                      // the session's Stored at that time

	mu       sync.Mutex
	report   CopyReport
	progress CopyProgress
	written  []object.Handle // for Verify
}

// open prepares both vaults.
func (c *copier) open(ctx context.Context) error {
	if err := c.src.mend(ctx, c.src.LoadIndex(ctx)); err != nil {
		return err
	}
	var err error
	if c.options.DryRun {
		err = c.dst.LoadIndex(ctx)
	} else {
		c.session, err = c.dst.NewSession(ctx)
	}
	if err != nil {
		return err
	}
	theirs, bad, err := c.dst.ownSnapshots(ctx)
	for id, e := range bad {
		c.dst.opts.Log.WarnContext(ctx, "a snapshot of the destination cannot be read: it counts as missing", "vault", c.dst.Location(), "snapshot", id, "error", e)
	}
	c.theirs, c.newest, c.synced = firsts{}, map[string]*snapshot.Snapshot{}, c.dst.opts.Now()
	for _, s := range theirs {
		c.has(s)
	}
	return err
}

func (c *copier) run(ctx context.Context, snapshots []*snapshot.Snapshot) error {
	var unreadable error
	if snapshots == nil {
		snapshots, unreadable = c.src.Snapshots(ctx, snapshot.Filter{})
		if ctx.Err() != nil {
			return unreadable
		}
	}
	snapshots = slices.Clone(snapshots)
	slices.SortFunc(snapshots, older)
	c.progress.SnapshotsTotal = len(snapshots)
	for _, s := range snapshots {
		if there := c.theirs.similar(s); there != nil {
			c.report.Skipped = append(c.report.Skipped, SnapshotCopy{s.ID, there.ID, s.Time})
			c.tell(func(p *CopyProgress) { p.Snapshots++ })
			continue
		}
		err := c.one(ctx, s)
		if err != nil && (!damage(err) || ctx.Err() != nil || c.over() != nil) {
			return cause(ctx, errors.Join(c.over(), err))
		}
		if err != nil {
			clear(c.queued)
			c.report.Failed = append(c.report.Failed, SnapshotFailure{s.ID, err})
			c.walked = map[object.ID]struct{}{} // what is in it may not be whole
			c.src.opts.Log.ErrorContext(ctx, "a snapshot cannot be copied", "vault", c.src.Location(), "snapshot", s.ID, "error", err)
			continue
		}
		c.ready = append(c.ready, s)
		if err := c.sync(ctx, false); err != nil {
			return err
		}
	}
	if err := c.sync(ctx, true); err != nil {
		return err
	}
	if err := c.verify(ctx); err != nil {
		return err
	}
	for _, f := range c.report.Failed {
		unreadable = errors.Join(unreadable, failure.Wrap(f.Err, "copy the snapshot", f.Snapshot.Short()))
	}
	return unreadable
}

// over gives the error that ended the session, after which nothing more can be written.
func (c *copier) over() error {
	if c.session == nil {
		return nil
	}
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return c.session.failed(context.Background())
}

// one copies what a snapshot needs.
func (c *copier) one(ctx context.Context, s *snapshot.Snapshot) error {
	if err := c.walk(ctx, *s.Tree, c.base(s)); err != nil {
		return err
	}
	return c.fetch(ctx)
}

// has notes a snapshot of the destination.
func (c *copier) has(s *snapshot.Snapshot) {
	c.theirs.add(s)
	if key := series(s); c.newest[key] == nil || older(c.newest[key], s) < 0 {
		c.newest[key] = s
	}
}

// series is what snapshots of the same host and paths have in common.
func series(s *snapshot.Snapshot) string {
	return s.Hostname + "\x00" + strings.Join(slices.Sorted(slices.Values(s.Paths)), "\x00")
}

// base gives the tree of the newest snapshot in the destination that is like s: most of s will be in it.
func (c *copier) base(s *snapshot.Snapshot) *object.ID {
	if best := c.newest[series(s)]; best != nil && !c.options.Whole {
		return best.Tree
	}
	return nil
}

// sync makes durable what was saved, and writes the snapshots that are whole, when it is time or when now says so.
func (c *copier) sync(ctx context.Context, now bool) error {
	if c.session == nil {
		for _, s := range c.ready {
			c.report.Copied = append(c.report.Copied, SnapshotCopy{From: s.ID, Time: s.Time})
			c.has(s)
			c.tell(func(p *CopyProgress) { p.Snapshots++ })
		}
		c.ready = nil
		return nil
	}
	stored := c.session.Stats().Stored
	if !now && c.dst.opts.Now().Sub(c.synced) < copyEvery && stored-c.stored < copyEveryBytes {
		return nil
	}
	if err := c.session.Flush(ctx); err != nil {
		return err
	}
	for _, s := range c.ready {
		id, err := c.session.commitCopy(s)
		if err != nil {
			return err
		}
		c.has(renamed(s, id))
		c.report.Copied = append(c.report.Copied, SnapshotCopy{s.ID, id, s.Time})
		c.tell(func(p *CopyProgress) { p.Snapshots++ })
	}
	c.ready, c.synced, c.stored = nil, c.dst.opts.Now(), stored
	return nil
}

// commitCopy writes a snapshot of another vault as it is, but for its parent, which means nothing here, and its first id,
// by which it is recognised. All that it needs is durable.
func (s *Session) commitCopy(sn *snapshot.Snapshot) (object.ID, error) {
	c := *sn
	first := original(sn)
	c.Original, c.Parent = &first, nil
	text, err := c.Encode()
	if err != nil {
		return object.ID{}, err
	}
	id, err := s.v.saveFile(s.held, blob.Snapshot, text)
	if err != nil {
		return object.ID{}, s.fail(cause(s.held, failure.Wrap(err, "write the snapshot", sn.ID.Short())))
	}
	return id, nil
}

// tell counts progress and passes it on.
func (c *copier) tell(change func(*CopyProgress)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.progress)
	if c.options.Progress != nil {
		c.options.Progress(c.progress)
	}
}

// firsts are snapshots by the ids under which copies of them are known.
type firsts map[object.ID][]*snapshot.Snapshot

func byFirst(all []*snapshot.Snapshot) firsts {
	f := firsts{}
	for _, s := range all {
		f.add(s)
	}
	return f
}

func (f firsts) add(s *snapshot.Snapshot) {
	f[s.ID] = append(f[s.ID], s)
	if first := original(s); first != s.ID {
		f[first] = append(f[first], s)
	}
}

// similar finds the copy of s in another vault, as restic's copy does: it has the same first id and agrees in everything
// but the parent.
func (f firsts) similar(s *snapshot.Snapshot) *snapshot.Snapshot {
	for _, t := range f[original(s)] {
		if t.Time.Equal(s.Time) && *t.Tree == *s.Tree && t.Hostname == s.Hostname &&
			t.Username == s.Username && t.UID == s.UID && t.GID == s.GID && sameSet(t.Paths, s.Paths) && sameSet(t.Tags, s.Tags) &&
			slices.Equal(t.Excludes, s.Excludes) {
			return t
		}
	}
	return nil
}

// sameSet reports whether both lists have the same length and every member of b is in a.
func sameSet(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(b, func(s string) bool { return !slices.Contains(a, s) })
}
