package archiver

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/filter"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// Run backs up what o says and commits a snapshot of it. With a session of [vault.Vault.NewRehearsal] everything is read
// and nothing is stored. The session is the caller's to close.
//
// NotFound: none of the paths is there. Invalid: a pattern, a path or a virtual file cannot be, or nothing is left to
// back up. That single files are missing is no error: see Options.OnError.
func Run(ctx context.Context, s *vault.Session, o Options) (*Result, error) {
	start := time.Now()
	if o.Time.IsZero() {
		o.Time = start
	}
	r, err := newRun(s, o)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	top, err := r.plan()
	if err != nil {
		return nil, err
	}
	before := s.Stats()
	watch := r.watch(within, top)
	root, err := r.root(within, top)
	cancel()
	watch.Wait()
	if err != nil {
		return nil, err
	}
	return r.finish(ctx, root, start, before)
}

// run is one backup.
type run struct {
	s      *vault.Session
	o      Options
	skip   *excluder
	fixed  *filter.Set
	reader *fsnode.Reader
	crew   crew
	big    chan struct{} // a token for each large file that is being read
	small  sync.Pool     // of *[]byte, for small files

	unsettled unsettled // when the parent read files

	links hardLinks
	count counters

	telling sync.Mutex // around OnError and Item
}

// counters are what a backup has done. See snapshot.Summary.
type counters struct {
	files, dirs [3]atomic.Uint64 // new, changed, unchanged
	done        atomic.Uint64    // files
	read        atomic.Uint64    // bytes of files, read or taken over
	processed   atomic.Uint64    // bytes of files that are in the tree
	errors      atomic.Int64
	current     current
}

// maxWorkers bounds how many files are read at once by default: each may hold half a megabyte.
const maxWorkers = 32

func newRun(s *vault.Session, o Options) (*run, error) {
	if len(o.Paths) == 0 && len(o.Virtual) == 0 {
		return nil, failure.New(failure.Invalid, "back up", "", "no file or directory is given")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Workers <= 0 {
		o.Workers = min(2*runtime.GOMAXPROCS(0), maxWorkers)
	}
	skip, err := newExcluder(o)
	if err != nil {
		return nil, err
	}
	fixed, err := filter.Rules{Patterns: o.FixedBlocks}.Compile()
	if err != nil {
		return nil, err
	}
	r := &run{s: s, o: o, skip: skip, fixed: fixed, reader: fsnode.NewReader(), crew: newCrew(o.Workers), unsettled: unsettledBy(o.Parent)}
	r.reader.WithAccessTime = o.WithAtime
	r.big = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)) // their chunks are spread over all processors anyway
	return r, nil
}

// plan says what of the tree comes from where.
func (r *run) plan() (*layout, error) {
	targets, err := resolve(r.o.Paths, r.report)
	if err != nil {
		return nil, err
	}
	if len(targets) == 0 && len(r.o.Paths) > 0 {
		return nil, failure.New(failure.NotFound, "back up", "", "none of the %d paths can be read", len(r.o.Paths))
	}
	return newLayout(targets, r.o.Virtual)
}

// root stores everything and gives the tree.
func (r *run) root(ctx context.Context, top *layout) (object.ID, error) {
	r.crew.enter()
	defer r.crew.leave()
	var prev *tree.Node
	if p := r.o.Parent; p != nil && p.Tree != nil {
		prev = &tree.Node{Type: tree.Dir, Subtree: p.Tree}
	}
	nodes, err := r.laidOut(ctx, top, "/", prev)
	if err != nil {
		return object.ID{}, err
	}
	if nodes.count == 0 {
		return object.ID{}, failure.New(failure.Invalid, "back up", "", "nothing is left to back up: all of it is left out or cannot be read")
	}
	return nodes.id, nil
}

// report tells of something that is missing from the snapshot. The error that it gives ends the backup.
func (r *run) report(path string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	r.count.errors.Add(1)
	r.telling.Lock()
	defer r.telling.Unlock()
	if r.o.OnError == nil {
		return nil
	}
	return r.o.OnError(path, err)
}

// tell tells of an item at a spot.
func (r *run) tell(at spot, i Item) {
	if r.o.Item != nil {
		i.Path = at.tree()
		r.tellItem(i)
	}
}

func (r *run) tellItem(i Item) {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.o.Item(i)
}

// finish commits the snapshot.
func (r *run) finish(ctx context.Context, root object.ID, start time.Time, before vault.Stats) (*Result, error) {
	sn, err := r.snapshot(root)
	if err != nil {
		return nil, err
	}
	// What is in open packs is counted too: nothing is added after this but the snapshot.
	after := r.s.Stats()
	c := &r.count
	sum := snapshot.Summary{
		BackupStart: start, BackupEnd: time.Now(),
		FilesNew: c.files[0].Load(), FilesChanged: c.files[1].Load(), FilesUnmodified: c.files[2].Load(),
		DirsNew: c.dirs[0].Load(), DirsChanged: c.dirs[1].Load(), DirsUnmodified: c.dirs[2].Load(),
		DataBlobs: uint64(after.Blobs[object.Data] - before.Blobs[object.Data]),
		TreeBlobs: uint64(after.Blobs[object.Tree] - before.Blobs[object.Tree]),
		DataAdded: uint64(after.Plain - before.Plain), DataAddedPacked: uint64(after.Stored - before.Stored),
		TotalFilesProcessed: c.files[0].Load() + c.files[1].Load() + c.files[2].Load(), TotalBytesProcessed: c.processed.Load(),
	}
	result := &Result{Snapshot: sn, Summary: sum, Errors: int(c.errors.Load())}
	if p := r.o.Parent; r.o.SkipIfUnchanged && p != nil && p.Tree != nil && *p.Tree == root {
		result.Skipped = true
		return result, nil
	}
	if sn.Summary, err = json.Marshal(sum); err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "back up", "")
	}
	if _, err := r.s.Commit(ctx, sn); err != nil {
		return nil, err
	}
	return result, nil
}

// snapshot gives the snapshot of a tree.
func (r *run) snapshot(root object.ID) (*snapshot.Snapshot, error) {
	paths, err := absolute(r.o.Paths)
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		for _, v := range r.o.Virtual {
			paths = append(paths, v.Path)
		}
	}
	sn := &snapshot.Snapshot{Time: r.o.Time, Tree: &root, Paths: paths, Hostname: r.o.Host, Excludes: r.o.Exclude.Patterns, Tags: r.o.Tags,
		ProgramVersion: r.o.Program}
	if r.o.Parent != nil && !r.o.Parent.ID.IsZero() {
		sn.Parent = &r.o.Parent.ID
	}
	return sn, nil
}

// Group says which snapshots count as earlier ones of the same.
type Group struct{ Host, Paths, Tags bool }

// FindParent gives the snapshot that a backup by o compares with: the latest up to its time of the same group, as restic
// chooses, or nil when there is none.
func FindParent(ctx context.Context, v *vault.Vault, o Options, g Group) (*snapshot.Snapshot, error) {
	f := snapshot.Filter{Until: o.Time}
	if g.Host {
		host := o.Host
		if host == "" {
			var err error
			if host, err = os.Hostname(); err != nil {
				return nil, failure.WrapAs(failure.Unavailable, err, "find the parent", "")
			}
		}
		f.Hosts = []string{host}
	}
	if g.Paths {
		var err error
		if f.Paths, err = absolute(o.Paths); err != nil {
			return nil, err
		}
	}
	if g.Tags {
		f.Tags = [][]string{o.Tags}
	}
	sn, err := v.FindSnapshot(ctx, "latest", f)
	if errors.Is(err, failure.NotFound) {
		return nil, nil
	}
	return sn, err
}
