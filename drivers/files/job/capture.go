package job

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/filter"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
)

// capture makes a point of the live folder.
func (w *worker) capture(ctx context.Context) error {
	there, err := exists(w.req.Folder)
	if err != nil {
		return err
	}
	if !there {
		return failure.New(failure.NotFound, "capture", w.req.Folder, "the folder is not live here").
			WithHint("see where it is: lifeboat status %s", w.req.App)
	}
	return w.captureInto(ctx, w.req.Folder)
}

// quiesce makes the last point of this site: of the folder whose name was taken away.
func (w *worker) quiesce(ctx context.Context) error {
	return w.captureInto(ctx, w.req.Folder+Fenced)
}

func (w *worker) captureInto(ctx context.Context, folder string) error {
	v, done, err := w.Open(ctx, w.req.Vault)
	if err != nil {
		return err
	}
	defer done()
	sn, err := w.store(ctx, v, folder, w.tags(), false)
	if err != nil {
		return err
	}
	w.Set("point", sn.ID.String())
	w.Set("at", sn.Time.UTC().Format(time.RFC3339Nano))
	return w.Renew(ctx, v, w.keeping())
}

// store adds a snapshot of folder to the vault. With skip there is none, and nil is given, when nothing differs from the
// newest one.
func (w *worker) store(ctx context.Context, v *vault.Vault, folder string, tags []string, skip bool) (*snapshot.Snapshot, error) {
	parent, err := w.parent(ctx, v)
	if err != nil {
		return nil, err
	}
	self, err := selfNode(folder)
	if err != nil {
		return nil, err
	}
	larger, err := w.req.Select.larger()
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "capture", folder)
	}
	// The tree holds what is in the folder, wherever it lies: so it is the same at all sites.
	if err := os.Chdir(folder); err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "enter", folder)
	}
	paths := w.req.Select.Paths
	if len(paths) == 0 {
		paths = []string{"."}
	}
	virtual := []archiver.Virtual{{Path: "/" + Self, Mode: 0o600, ModTime: time.Unix(0, 0), Content: bytes.NewReader(self)}}
	// The marker is read before anything is listed: what was there by its time is in the point.
	marker, err := os.Open(Marker)
	switch {
	case err == nil:
		defer marker.Close()
		info, err := marker.Stat() // markers are replaced, never changed: this time is of this content
		if err != nil {
			return nil, failure.WrapAs(failure.Denied, err, "read", filepath.Join(folder, Marker))
		}
		virtual = append(virtual, archiver.Virtual{Path: "/" + Marker, Mode: 0o644, ModTime: info.ModTime(), Content: marker})
	case !os.IsNotExist(err):
		return nil, failure.WrapAs(failure.Denied, err, "read", filepath.Join(folder, Marker))
	}
	session, err := v.NewSession(ctx)
	if err != nil {
		return nil, err
	}
	var troubles []error
	begun := time.Now()
	res, err := archiver.Run(ctx, session, archiver.Options{
		Paths: paths, Virtual: virtual,
		Exclude: filter.Rules{Patterns: w.req.Select.Exclude, Files: w.req.Select.ExcludeFiles}, ExcludeIfPresent: w.req.Select.ExcludeIfPresent,
		ExcludeCaches: w.req.Select.ExcludeCaches, ExcludeLargerThan: larger, OneFileSystem: w.req.Select.OneFileSystem,
		Parent: parent, SkipIfUnchanged: skip, Tags: tags,
		OnError: func(path string, err error) error {
			if len(troubles) < 3 {
				troubles = append(troubles, fmt.Errorf("%s: %w", path, err))
			}
			return nil
		},
		Progress: func(p archiver.Progress) {
			w.Phase("capturing %s", progress(int64(p.Bytes), int64(p.TotalBytes), p.Scanned, int(p.Files), begun))
		},
	})
	if closeErr := session.Close(ctx); closeErr != nil {
		w.Log.Warn("the session did not end well", "error", closeErr)
	}
	switch {
	case err != nil:
		return nil, err
	case res.Errors > 0:
		return nil, failure.WrapAs(failure.Conflict, errors.Join(troubles...), "capture", folder).
			WithHint("%d files are missing from the point, or changed while they were read; exclude what need not be kept", res.Errors)
	case res.Skipped:
		return nil, nil
	}
	w.Set("files", strconv.FormatUint(res.Summary.TotalFilesProcessed, 10))
	w.Set("bytes", units.Bytes(int64(res.Summary.TotalBytesProcessed)))
	w.Set("added", units.Bytes(int64(res.Summary.DataAddedPacked)))
	return res.Snapshot, nil
}

// parent is the snapshot that is most like what is here: the newest of this site, else of any.
func (w *worker) parent(ctx context.Context, v *vault.Vault) (*snapshot.Snapshot, error) {
	all, err := Points(ctx, v, w.req.Whose, true)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	best := all[len(all)-1]
	for _, s := range all {
		if vaultjob.SiteOf(s) == w.req.Site {
			best = s
		}
	}
	return best, nil
}

// selfNode is the folder's own metadata, to be kept as a file: a node of the format.
func selfNode(folder string) ([]byte, error) {
	dir, err := fsnode.OpenDir(filepath.Dir(folder))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var stat fsnode.Stat
	if err := dir.Stat(filepath.Base(folder), &stat); err != nil {
		return nil, err
	}
	node, err := fsnode.NewReader().Node(dir, filepath.Base(folder), &stat)
	if err != nil {
		return nil, err
	}
	// It is of one place and time, and would make a new tree each time.
	node.Name, node.Inode, node.DeviceID, node.Links, node.Subtree = "folder", 0, 0, 0, &object.ID{}
	node.AccessTime, node.ChangeTime = node.ModTime, node.ModTime
	text, err := json.Marshal(node)
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "describe", folder)
	}
	return text, nil
}

// progress is "1.2 GiB of 3 GiB, 4711 files, 120 MiB/s, 15 s left".
func progress(bytes, total int64, sure bool, files int, begun time.Time) string {
	text := units.Bytes(bytes)
	if sure {
		text += " of " + units.Bytes(total)
	}
	text += fmt.Sprintf(", %d files", files)
	took := time.Since(begun)
	if took < time.Second || bytes == 0 {
		return text
	}
	rate := float64(bytes) / took.Seconds()
	text += ", " + units.Bytes(int64(rate)) + "/s"
	if sure && total > bytes {
		text += ", " + units.Duration(time.Duration(float64(total-bytes)/rate*float64(time.Second)).Round(time.Second)) + " left"
	}
	return text
}
