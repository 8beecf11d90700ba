package pgbase

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

const (
	// maxWarnings bounds what is told to people.
	maxWarnings = 100
	// progressEvery is how often progress is told.
	progressEvery = 250 * time.Millisecond
	// closing bounds what is done after the capture was told to end.
	closing = 30 * time.Second
)

// capture is one that is under way.
type capture struct {
	o      Options
	vault  *vault.Vault
	newest *pgpoint.BasePoint // of the resource; nil: there is none

	opened  chan struct{} // closed when session and openErr are set
	session *vault.Session
	openErr error

	root   *folder
	like   tree.Node // has the owner of the cluster's files
	groups bool      // the cluster's group may read them
	base   pgpoint.Base
	result *Result

	segment uint32 // pages in one file of a relation
	began   time.Time

	mu       sync.Mutex
	phase    Phase
	total    int64
	blocks   *blocks
	warnings []string
}

// run makes the point.
func (c *capture) run(ctx context.Context) (err error) {
	c.opened = make(chan struct{})
	go func() {
		c.session, c.openErr = c.vault.NewSession(ctx)
		close(c.opened)
	}()
	defer func() {
		<-c.opened
		if c.session == nil {
			return
		}
		// The lock is given up also when ctx has ended.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
		defer cancel()
		if closed := c.session.Close(ctx); closed != nil {
			c.o.Log.Warn("the session of the vault did not end well", "vault", c.vault.Location(), "error", closed)
		}
	}()
	if c.newest, err = newest(ctx, c.vault, c.o.Whose); err != nil {
		return err
	}
	if c.o.Folder != "" {
		err = c.fromFolder(ctx)
	} else {
		err = c.byProtocol(ctx)
	}
	if err != nil {
		return err
	}
	return c.commit(ctx)
}

// newest gives the newest base point of a resource that can be read, or nil.
func newest(ctx context.Context, v *vault.Vault, w pgpoint.Whose) (*pgpoint.BasePoint, error) {
	all, err := v.Snapshots(ctx, pgpoint.Filter(w, pgpoint.IsBase))
	if err != nil || len(all) == 0 {
		return nil, err
	}
	last := slices.MaxFunc(all, func(a, b *snapshot.Snapshot) int { return a.Time.Compare(b.Time) })
	p, err := pgpoint.ReadBase(ctx, v, last)
	return &p, err
}

// expected refuses another cluster than the one that is meant.
func (c *capture) expected(id uint64) error {
	switch {
	case c.o.SystemID != 0 && c.o.SystemID != id:
		return failure.New(failure.Conflict, "capture", string(c.o.Whose.Resource), "the server has the system id %d, and %d is expected", id, c.o.SystemID)
	case c.o.SystemID == 0 && c.newest != nil && c.newest.SystemID != id:
		return failure.New(failure.Conflict, "capture", string(c.o.Whose.Resource),
			"the server has the system id %d, and the newest base point (%s) is of a cluster with %d: it is another database", id, c.newest.Snapshot.ID.Short(), c.newest.SystemID).
			WithHint("correct the address, or give the new cluster a resource of its own")
	}
	return nil
}

// settings learns from the server what the files are made of.
func (c *capture) settings(show func(name string) (string, error)) error {
	for name, set := range map[string]func(string) error{
		"block_size": func(text string) (err error) { c.base.Page, err = strconv.Atoi(text); return err },
		"segment_size": func(text string) error {
			bytes, err := size(text)
			c.segment = uint32(bytes / pgwal.PageSize)
			return err
		},
		"data_checksums": func(text string) error { c.base.Checksums = text == "on"; return nil },
	} {
		text, err := show(name)
		if err != nil {
			return err
		}
		if err := set(text); err != nil {
			return failure.WrapAs(failure.Corrupt, err, "understand the server's", name)
		}
	}
	if c.base.Checksums && c.base.Page != pgwal.PageSize {
		c.base.Checksums = false
		c.warn("checksums of pages of " + strconv.Itoa(c.base.Page) + " bytes cannot be verified: the server was built with its own page size")
	}
	return nil
}

// size reads a size as SHOW prints it: 1GB, 16MB, 8192.
func size(text string) (int64, error) {
	unit := int64(1)
	for suffix, n := range map[string]int64{"kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = rest, n
		}
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(text, "B"), 10, 64)
	return n * unit, err
}

// sameCluster refuses the control file of another cluster than the server's.
func (c *capture) sameCluster(data []byte) error {
	ctl, err := readControl(data)
	if err != nil {
		return err
	}
	if ctl.systemID != c.base.SystemID {
		return failure.New(failure.Invalid, "capture", controlPath, "it is of the cluster %d, and the server's is %d", ctl.systemID, c.base.SystemID)
	}
	return nil
}

// copying begins to store: the server is in backup mode.
func (c *capture) copying(ctx context.Context, at pgwal.LSN, t pgwal.Timeline, total int64) error {
	<-c.opened
	if c.openErr != nil {
		return c.openErr
	}
	c.base.Start, c.base.Timeline = at, t
	if c.newest != nil && t < c.newest.Timeline {
		c.warn("the server is on timeline " + strconv.Itoa(int(t)) + ", and the newest base point on " + strconv.Itoa(int(c.newest.Timeline)) +
			": is it an old primary?")
	}
	var p *pages
	if c.base.Checksums {
		p = &pages{start: at, segment: c.segment}
	}
	var before *pgpoint.Base
	if c.newest != nil {
		before = &c.newest.Base
	}
	c.base.Block = pgpoint.BlockFor(total, before)
	b := startBlocks(ctx, c.session, c.base.Block, p, c.o.Workers)
	c.mu.Lock()
	c.blocks, c.phase, c.total = b, Copying, total
	c.mu.Unlock()
	return nil
}

// stopped is the reason for which a capture ended: what a worker met goes before what that led to.
func (c *capture) stopped(err error) error {
	if c.blocks == nil {
		return err
	}
	return c.blocks.abandon(err)
}

// whose learns from a file whom the cluster belongs to.
func (c *capture) whose(n tree.Node) {
	c.like = n
	c.groups = n.Mode&0o040 != 0
}

// commit completes the tree and makes the point.
func (c *capture) commit(ctx context.Context) error {
	c.enter(Ending)
	c.base.Rows, c.base.Marker = c.o.Rows, c.o.Marker
	stats := Stats{Files: c.blocks.files.Load(), Unread: c.blocks.unread.Load()}
	stats.Bytes, stats.Reused = c.blocks.bytes.Load()+stats.Unread, c.blocks.same.Load()+stats.Unread
	c.base.Files, c.base.Bytes = stats.Files, stats.Bytes
	if p := c.blocks.pages; p != nil {
		c.base.Damaged, c.base.DamagedPages = p.judge(c.base.Stop)
		stats.Verified = p.count.Load()
	}
	about, err := c.base.Encode()
	if err != nil {
		return err
	}
	if err := c.virtual(ctx, pgpoint.AboutPath, c.base.Ended, bytes.NewReader(about)); err != nil {
		return err
	}
	id, err := c.root.save(ctx, c.session)
	if err != nil {
		return err
	}
	sn := &snapshot.Snapshot{Time: c.base.Ended, Tree: &id, Paths: []string{"/postgres/" + string(c.o.Whose.App) + "/" + string(c.o.Whose.Resource) + "/base"},
		Tags: pgpoint.Tags(c.o.Whose, pgpoint.IsBase, c.o.Site, c.o.Tags...)}
	if c.newest != nil {
		sn.Parent = &c.newest.Snapshot.ID
	}
	if _, err := c.session.Commit(ctx, sn); err != nil {
		return err
	}
	stats.Vault, stats.Elapsed = c.session.Stats(), time.Since(c.began)
	c.result = &Result{Snapshot: sn, Base: c.base, Stats: stats, Warnings: c.warnings}
	c.enter(Done)
	return nil
}

func (c *capture) warn(text string) {
	c.o.Log.Warn(text, "resource", string(c.o.Whose.Resource))
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.warnings) < maxWarnings {
		c.warnings = append(c.warnings, text)
	}
}

func (c *capture) enter(p Phase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = p
}

// report tells the progress until the function that it gives is called.
func (c *capture) report() (stop func()) {
	c.phase = Starting
	if c.o.Progress == nil {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				c.o.Progress(c.progress())
			case <-end:
				c.o.Progress(c.progress())
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}

func (c *capture) progress() Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := Progress{Phase: c.phase, Total: c.total, Elapsed: time.Since(c.began)}
	if b := c.blocks; b != nil {
		p.Files, p.Bytes = b.files.Load(), b.bytes.Load()+b.unread.Load()
		p.Stored = b.session.Stats().PackedBytes
	}
	return p
}
