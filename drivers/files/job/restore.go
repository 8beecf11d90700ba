package job

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
)

// promotion is the record of a folder that was brought up here: which one it is, and from what. A live folder without one
// is the user's own.
type promotion struct {
	Token string    `json:"token"`
	Point string    `json:"point"`
	At    time.Time `json:"at"` // when the point was captured
	Dev   uint64    `json:"dev"`
	Inode uint64    `json:"inode"`
}

// record is where the promotion is written down. It lies with the jobs, whose folder is .../jobs/TOKEN.
func (w *worker) record() string {
	return filepath.Join(filepath.Dir(filepath.Dir(w.Dir)), filepath.Base(w.req.Folder)+".promoted")
}

func (w *worker) promoted() (promotion, bool, error) {
	var p promotion
	text, err := os.ReadFile(w.record())
	if os.IsNotExist(err) {
		return p, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		return p, false, failure.WrapAs(failure.Corrupt, err, "read", w.record())
	}
	return p, true, nil
}

// promote makes the newest point the live folder.
func (w *worker) promote(ctx context.Context) error {
	live, err := exists(w.req.Folder)
	if err != nil {
		return err
	}
	v, point, done, err := w.openNewest(ctx)
	if err != nil {
		return err
	}
	defer done()
	if live {
		return w.already(point)
	}
	standby := w.req.Folder + Standby
	if err := w.bring(ctx, v, point, restorer.IfChanged); err != nil {
		return err
	}
	dev, inode, err := identity(standby)
	if err != nil {
		return err
	}
	text, err := json.Marshal(promotion{Token: w.req.Token, Point: point.ID.String(), At: point.Time, Dev: dev, Inode: inode})
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "write", w.record())
	}
	if err := vaultjob.Replace(w.record(), text); err != nil {
		return failure.WrapAs(failure.Denied, err, "write", w.record())
	}
	// Once the folder is live the next marker replaces the one that came back.
	marker, err := os.ReadFile(filepath.Join(standby, Marker))
	if err != nil && !os.IsNotExist(err) {
		return failure.WrapAs(failure.Denied, err, "read", filepath.Join(standby, Marker))
	}
	w.Set("marker", vaultjob.OneLine(string(marker)))
	w.Phase("giving the folder its name")
	return rename(standby, w.req.Folder)
}

// already judges a folder that is live before it is promoted.
func (w *worker) already(point *snapshot.Snapshot) error {
	record, there, err := w.promoted()
	if err != nil {
		return err
	}
	dev, inode, err := identity(w.req.Folder)
	if err != nil {
		return err
	}
	if there && record.Dev == dev && record.Inode == inode && (vaultjob.SiteOf(point) == w.req.Site || !point.Time.After(record.At)) {
		w.Set("point", record.Point)
		return nil
	}
	return failure.New(failure.Conflict, "promote", w.req.Folder, "the folder is there, and does not come from the newest recovery point (%s, of %s)",
		point.ID.Short(), point.Time.UTC().Format(time.RFC3339)).WithHint("look what it is, move it out of the way, then retry")
}

// follow makes the newest point the standby folder.
func (w *worker) follow(ctx context.Context) error {
	live, err := exists(w.req.Folder)
	if err != nil {
		return err
	}
	if live {
		return failure.New(failure.Conflict, "re-protect", w.req.Folder, "the folder is live here").WithHint("fence it first: lifeboat status %s", w.req.App)
	}
	v, point, done, err := w.openNewest(ctx)
	if err != nil {
		return err
	}
	defer done()
	return w.bring(ctx, v, point, restorer.Always)
}

// drill restores the newest point into a folder of its own.
func (w *worker) drill(ctx context.Context) error {
	v, point, done, err := w.openNewest(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := w.restore(ctx, v, point, w.req.Into, restorer.Always); err != nil {
		return err
	}
	w.Set("path", w.req.Into)
	return nil
}

// bring makes the standby folder what the point holds. A fenced copy is a good beginning; what it has and the vault has
// not is captured first, so that nothing is written over that is nowhere else.
func (w *worker) bring(ctx context.Context, v *vault.Vault, point *snapshot.Snapshot, how restorer.Overwrite) error {
	fenced, standby := w.req.Folder+Fenced, w.req.Folder+Standby
	isFenced, err := exists(fenced)
	if err != nil {
		return err
	}
	isStandby, err := exists(standby)
	if err != nil {
		return err
	}
	if isFenced {
		w.Phase("capturing what was left behind")
		left, err := w.store(ctx, v, fenced, w.tags(tagLeft), true)
		if err != nil {
			return failure.Wrap(err, "capture what was left behind in", fenced)
		}
		if left != nil {
			w.Set("left_behind", "kept in the vault as "+left.ID.Short())
		}
		if !isStandby {
			if err := rename(fenced, standby); err != nil {
				return err
			}
		}
	}
	return w.restore(ctx, v, point, standby, how)
}

// restore makes target what the point holds, its own metadata included.
func (w *worker) restore(ctx context.Context, v *vault.Vault, point *snapshot.Snapshot, target string, how restorer.Overwrite) error {
	root, err := w.self(ctx, v, point)
	if err != nil {
		return err
	}
	begun := time.Now()
	res, err := restorer.Run(ctx, v, *point.Tree, restorer.Options{
		Target: target, Root: root, Overwrite: how, Delete: true, Sync: true, Verify: w.req.Verify, Log: w.Log,
		Select: func(path string, _ bool) (bool, bool) { ours := path == "/"+Self; return !ours, !ours },
		Progress: func(p restorer.Progress) {
			w.Phase("%s %s", p.Phase, progress(p.Bytes, p.BytesTotal, p.Phase != restorer.Scanning, int(p.Entries), begun))
		},
	})
	if res != nil {
		w.Set("files", strconv.Itoa(res.Files))
		w.Set("bytes", units.Bytes(res.Bytes))
		w.Set("written", units.Bytes(res.Written))
		w.Set("unchanged", units.Bytes(res.Reused))
		if w.req.Verify {
			w.Set("verified", strconv.Itoa(res.Verified)+" files read back")
		}
	}
	if err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			err = failure.From(failure.Wrap(err, "restore to", target)).WithHint("make room there: the point has %s", units.Bytes(res.Bytes))
		}
		return err
	}
	w.Set("point", point.ID.String())
	return nil
}

// self is the folder's own metadata in a point; nil when it has none, as points that others made.
func (w *worker) self(ctx context.Context, v *vault.Vault, point *snapshot.Snapshot) (*tree.Node, error) {
	kept, err := v.Find(ctx, *point.Tree, "/"+Self)
	if err != nil {
		if failure.KindOf(err) == failure.NotFound {
			return nil, nil
		}
		return nil, err
	}
	file, err := v.OpenFile(ctx, kept.Content)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if _, err := file.CopyTo(ctx, &text); err != nil {
		return nil, err
	}
	var node tree.Node
	if err := json.Unmarshal(text.Bytes(), &node); err != nil {
		return nil, failure.WrapAs(failure.Corrupt, err, "read", Self)
	}
	return &node, nil
}

// identity tells a folder from another one that has its name later.
func identity(path string) (dev, inode uint64, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, 0, failure.WrapAs(failure.NotFound, err, "look at", path)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, failure.New(failure.Unsupported, "look at", path, "this system has no inodes")
	}
	return uint64(st.Dev), st.Ino, nil
}
