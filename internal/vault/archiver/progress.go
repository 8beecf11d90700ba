package archiver

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

const (
	tellEvery = 100 * time.Millisecond
	// scanAfter is how long a backup runs before the scan for the whole begins: one that is done by then needs none.
	scanAfter = 300 * time.Millisecond
	// scanners is how many directories are scanned at once. The scan is for the display alone.
	scanners = 2
)

// current is the files that are being read.
type current struct {
	mu    sync.Mutex
	files []string
}

// begin notes that a file is being read, until what it gives is called.
func (c *current) begin(path string) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files = append(c.files, path)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if i := slices.Index(c.files, path); i >= 0 {
			c.files = slices.Delete(c.files, i, i+1)
		}
	}
}

func (c *current) list() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.files)
}

// scan is what a scan has found.
type scan struct {
	files, bytes atomic.Uint64
	whole        atomic.Bool
}

// watch tells of the progress until ctx ends, and then once more.
func (r *run) watch(ctx context.Context, top *layout) *sync.WaitGroup {
	var all sync.WaitGroup
	if r.o.Progress == nil {
		return &all
	}
	var found scan
	if !r.o.NoScan {
		all.Go(func() {
			select {
			case <-time.After(scanAfter):
				r.scan(ctx, top, &found)
			case <-ctx.Done():
			}
		})
	}
	all.Go(func() {
		tick := time.NewTicker(tellEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.o.Progress(r.progress(&found))
			case <-ctx.Done():
				r.o.Progress(r.progress(&found))
				return
			}
		}
	})
	return &all
}

func (r *run) progress(found *scan) Progress {
	return Progress{
		Files: r.count.done.Load(), Bytes: r.count.read.Load(),
		TotalFiles: found.files.Load(), TotalBytes: found.bytes.Load(), Scanned: found.whole.Load(),
		Errors: int(r.count.errors.Load()), Current: r.count.current.list(),
	}
}

// scan counts what will be backed up. Errors are left to the backup itself.
func (r *run) scan(ctx context.Context, top *layout, found *scan) {
	c := newCrew(scanners)
	c.enter()
	defer c.leave()
	if r.scanLayout(ctx, c, top, "/", found) == nil {
		found.whole.Store(true)
	}
}

func (r *run) scanLayout(ctx context.Context, c crew, l *layout, at string, found *scan) error {
	names := l.names()
	return c.each(ctx, len(names), func(i int) error {
		below := l.below[names[i]]
		if below.path == "" {
			return r.scanLayout(ctx, c, below, join(at, names[i]), found)
		}
		return r.scanTarget(ctx, c, below, found)
	})
}

func (r *run) scanTarget(ctx context.Context, c crew, l *layout, found *scan) error {
	at, err := r.openTarget(ctx, l, "")
	if err != nil {
		return nil
	}
	defer at.d.Close()
	return r.scanItem(ctx, c, at, l, found)
}

func (r *run) scanItem(ctx context.Context, c crew, at spot, l *layout, found *scan) error {
	forced := l != nil && (l.named || l.path == "")
	var s fsnode.Stat
	if !forced && r.skip.byName(at) || at.d.Stat(at.name, &s) != nil || !forced && r.skip.byStat(&s, at.in) {
		return nil
	}
	switch s.Type() {
	case tree.File:
		found.files.Add(1)
		found.bytes.Add(uint64(s.Size()))
		return nil
	case tree.Dir:
	default:
		return nil
	}
	below, err := at.d.Dir(at.name)
	if err != nil {
		return nil
	}
	defer below.Close()
	names, err := below.Names()
	if err != nil {
		return nil
	}
	inside := &place{real: at.real(), device: at.in.device, own: s.Device(), tags: r.skip.tagged(ctx, below)}
	var over map[string]*layout
	if l != nil {
		over = l.below
		if l.path != "" {
			inside.device = l.device
		}
	}
	return c.each(ctx, len(names), func(i int) error {
		l := over[names[i]]
		if l != nil && l.virtual != nil {
			return nil
		}
		return r.scanItem(ctx, c, spot{below, names[i], inside}, l, found)
	})
}
