package pgbase

import (
	"context"
	"os"
	"path"
	"strconv"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

const (
	// wholeEvery is how long points go on from one another before everything is read and hashed again.
	wholeEvery = 7 * 24 * time.Hour
	// settled is how much older than the point before a file's times must be: a file system's clock has steps, and one that
	// changes twice within a step has the same time twice.
	settled = 2 * time.Second
)

// trust is what is taken for unchanged since the point before, when that was read from the same folder of a server that
// has run without a break since. Why that is safe: docs/decisions/0012-base-points.md.
type trust struct {
	root  object.ID // of the point before
	times time.Time // a file is not touched when its times are the same, and before this
	// lsn is from where on the point before is replayed: a page of an earlier LSN is the same there. 0: no page is.
	lsn pgwal.LSN
}

// trusted decides what may be taken from the point before. Nil: nothing.
func (c *capture) trusted(ctx context.Context, s *server, on pgwal.Timeline) (*trust, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "ask for the name of", "this host")
	}
	c.base.Host, c.base.Whole = host, c.base.Begun
	row, err := s.row(ctx, `select (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint::text, pg_is_in_recovery()::text,
		current_setting('wal_log_hints')`, 3)
	if err != nil {
		return nil, err
	}
	micros, err := strconv.ParseInt(row[0], 10, 64)
	if err != nil {
		return nil, failure.WrapAs(failure.Corrupt, err, "understand the time of", s.name)
	}
	n := c.newest
	switch {
	case c.o.ReadAll, n == nil, n.Host != host, n.SystemID != c.base.SystemID, n.Timeline != on, n.DamagedPages > 0, n.Source != "":
		return nil, nil
	case c.base.Begun.Sub(n.Whole) > wholeEvery, n.Begun.After(c.base.Begun):
		return nil, nil
	case !time.UnixMicro(micros).Before(n.Begun):
		// A machine that stopped by itself may have files with older times than their content, and a server that was down
		// may have been changed without a log.
		return nil, nil
	}
	c.base.Whole = n.Whole
	t := &trust{root: *n.Snapshot.Tree, times: n.Begun.Add(-settled)}
	// Without hints in the log a page can change and keep its LSN.
	if row[1] == "false" && (row[2] == "on" || c.base.Checksums) {
		t.lsn = n.Start
	}
	return t, nil
}

// earlier is a folder of the point before.
type earlier struct {
	nodes map[string]*tree.Node
	same  bool // it is the same database, not another one of its name
}

// before reads a folder of the point before. Of one that is not there, or cannot be read, nothing is trusted.
func (w *walk) before(ctx context.Context, d *fsnode.Dir, p place) (earlier, error) {
	if w.trust == nil {
		return earlier{}, nil
	}
	found, err := w.vault.Find(ctx, w.trust.root, p.above)
	var t *tree.Tree
	if err == nil && found.Subtree != nil {
		t, err = w.vault.Tree(ctx, *found.Subtree)
	}
	if err != nil || t == nil {
		if ctx.Err() != nil {
			return earlier{}, context.Cause(ctx)
		}
		w.o.Log.Info("a folder of the point before cannot be read: nothing is taken from it", "folder", p.above, "error", err)
		return earlier{}, nil
	}
	b := earlier{nodes: make(map[string]*tree.Node, len(t.Nodes))}
	for i := range t.Nodes {
		b.nodes[t.Nodes[i].Name] = &t.Nodes[i]
	}
	b.same = p.inside == "global" || w.sameFile(d, b.nodes["PG_VERSION"], "PG_VERSION")
	return b, nil
}

// sameFile reports whether a file is the one of the point before, untouched.
func (w *walk) sameFile(d *fsnode.Dir, n *tree.Node, name string) bool {
	var st fsnode.Stat
	return d.Stat(name, &st) == nil && w.untouched(n, &st)
}

// untouched reports whether a file is as it was at the point before.
func (w *walk) untouched(n *tree.Node, st *fsnode.Stat) bool {
	return n != nil && n.Type == tree.File && n.Inode == st.Inode() && int64(n.Size) == st.Size() &&
		n.ModTime.Equal(st.ModTime()) && n.ChangeTime.Equal(st.ChangeTime()) && n.ModTime.Before(w.trust.times) && n.ChangeTime.Before(w.trust.times)
}

// reuse takes what it can of a file from the point before. Done says that it is all of it; otherwise the file is to be
// read, and blocks whose pages are old enough are those of then.
func (w *walk) reuse(x *file, b earlier, st *fsnode.Stat) (done bool) {
	n := b.nodes[path.Base(x.path)]
	if n == nil || n.Type != tree.File || !w.session.Has(object.Data, n.Content...) {
		return false
	}
	if w.untouched(n, st) {
		x.ids = n.Content
		w.blocks.files.Add(1)
		w.blocks.unread.Add(int64(n.Size))
		w.session.Known(len(n.Content), int64(n.Size))
		return true
	}
	size := uint64(w.base.Block)
	if b.same && w.trust.lsn != 0 && x.rel != nil && x.rel.fork == "" && n.Inode == st.Inode() && uint64(len(n.Content)) == (n.Size+size-1)/size {
		x.old = n.Content[:n.Size/size] // the whole ones
		x.since = w.trust.lsn
	}
	return false
}

// older reports whether all pages of a block were changed last before an LSN. A page without one may be new.
func older(data []byte, since pgwal.LSN) bool {
	for at := 0; at < len(data); at += pgwal.PageSize {
		if lsn := pgwal.PageLSN((*[pgwal.PageSize]byte)(data[at:])); lsn == 0 || lsn >= since {
			return false
		}
	}
	return true
}
