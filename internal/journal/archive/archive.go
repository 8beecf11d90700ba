// Package archive keeps finished runs in a folder: one compressed file a run, and an index that lists them fast.
//
// A file is "<id>.run.zst": a skippable zstd frame (RFC 8878, 3.1.2) with the run's summary and the SHA-256 of what
// follows, then the content as an ordinary zstd frame, so that `zstdcat` shows it without Lifeboat. The files are the
// truth. "index.jsonl" repeats their summaries, a line each; what it lacks is read from the files again, and what it
// has too much of is passed over, so losing it costs time only.
//
// Several processes may use one folder. Nothing is ever deleted here. Start with New.
package archive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

const (
	suffix    = ".run.zst"
	indexName = "index.jsonl"
)

// Dir is an archive in a folder.
type Dir struct {
	path string
	mu   sync.Mutex // one index append at a time
}

// New makes an archive of a folder, which is created when the first run is put.
func New(path string) *Dir { return &Dir{path: path} }

func (d *Dir) file(id string) string { return filepath.Join(d.path, id+suffix) }

// Put implements journal.Archive. A damaged file under the same id is replaced.
func (d *Dir) Put(ctx context.Context, s journal.Summary, content []byte) error {
	subject := "run " + s.ID
	if err := s.Validate(); err != nil {
		return err
	}
	if err := failure.Wrap(ctx.Err(), "archive", subject); err != nil {
		return err
	}
	s.Size = int64(len(content))
	switch _, old, err := d.Get(ctx, s.ID); {
	case err == nil && bytes.Equal(old, content):
		return nil
	case err == nil:
		return failure.New(failure.Exists, "archive", subject, "another content is archived under this id")
	case !errors.Is(err, failure.NotFound) && !errors.Is(err, failure.Corrupt):
		return err
	}
	text, err := encode(s, content)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "archive", subject)
	}
	if err := d.writeFile(s.ID, text); err != nil {
		return fileError(err, "archive", subject, d.path)
	}
	return nil
}

// writeFile puts a file in its place, whole or not at all, and durably.
func (d *Dir) writeFile(id string, text []byte) error {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(d.path, "."+id+".*.tmp")
	if err != nil {
		return err
	}
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Sync()
	}
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), d.file(id))
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return syncDir(d.path)
}

// syncDir makes the names in a folder durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Get implements journal.Archive.
func (d *Dir) Get(ctx context.Context, id string) (journal.Summary, []byte, error) {
	subject := "archived run " + id
	if err := failure.Wrap(ctx.Err(), "read", subject); err != nil {
		return journal.Summary{}, nil, err
	}
	text, err := d.read(id)
	if err != nil {
		return journal.Summary{}, nil, err
	}
	s, content, err := decode(text)
	if err == nil && s.ID != id {
		err = errors.New("it is of run " + s.ID)
	}
	if err != nil {
		return journal.Summary{}, nil, failure.WrapAs(failure.Corrupt, err, "read", subject).
			WithHint("restore %s from a copy", d.file(id))
	}
	return s, content, nil
}

func (d *Dir) read(id string) ([]byte, error) {
	subject := "archived run " + id
	if id == "" || strings.ContainsAny(id, "/\\\x00") || id[0] == '.' {
		return nil, failure.New(failure.NotFound, "read", subject, "there is none")
	}
	text, err := os.ReadFile(d.file(id))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENAMETOOLONG):
		return nil, failure.New(failure.NotFound, "read", subject, "there is none")
	case err != nil:
		return nil, fileError(err, "read", subject, d.path)
	}
	return text, nil
}

// List implements journal.Archive. A damaged file is listed as long as the index knows of it, or its summary can be
// read; else its run is listed with nothing but its id, so that it does not go unnoticed: reading it says Corrupt.
func (d *Dir) List(ctx context.Context, limit int) ([]journal.Summary, error) {
	if err := failure.Wrap(ctx.Err(), "list", "archive"); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	names, err := d.names()
	if err != nil {
		return nil, fileError(err, "list", "archive", d.path)
	}
	index, err := d.readIndex(len(names))
	if err != nil {
		return nil, fileError(err, "list", "archive", d.path)
	}
	all := make([]journal.Summary, 0, len(names))
	var missing []journal.Summary
	for _, id := range names {
		s, known := index[id]
		if !known {
			if err := failure.Wrap(ctx.Err(), "list", "archive"); err != nil {
				return nil, err
			}
			if s, err = d.summary(id); err != nil {
				s = journal.Summary{ID: id}
			} else {
				missing = append(missing, s)
			}
		}
		all = append(all, s)
	}
	d.extendIndex(missing)
	slices.SortFunc(all, func(a, b journal.Summary) int {
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		return strings.Compare(b.ID, a.ID)
	})
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return all, nil
}

// names gives the ids of the files that are there.
func (d *Dir) names() ([]string, error) {
	dir, err := os.Open(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := dir.Readdirnames(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return nil, err
	}
	var ids []string
	for _, name := range entries {
		if id, ok := strings.CutSuffix(name, suffix); ok && name[0] != '.' {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// summary reads the head of one file.
func (d *Dir) summary(id string) (journal.Summary, error) {
	text, err := d.read(id)
	if err != nil {
		return journal.Summary{}, err
	}
	h, _, err := decodeHead(text)
	if err == nil && h.ID != id {
		err = errors.New("it is of run " + h.ID)
	}
	return h.Summary, err
}

// readIndex gives what the index knows; lines that are torn are passed over.
func (d *Dir) readIndex(size int) (map[string]journal.Summary, error) {
	known := make(map[string]journal.Summary, size)
	file, err := os.Open(filepath.Join(d.path, indexName))
	if errors.Is(err, fs.ErrNotExist) {
		return known, nil
	}
	if err != nil {
		return nil, err
	}
	reader := bufio.NewReaderSize(file, 1<<16)
	for {
		line, err := reader.ReadBytes('\n')
		var s journal.Summary
		if err == nil && json.Unmarshal(line, &s) == nil && s.ID != "" {
			known[s.ID] = s
		}
		if err != nil {
			return known, file.Close()
		}
	}
}

// extendIndex adds lines in one write. It may fail: the index only saves time, and an archive may be read-only.
func (d *Dir) extendIndex(missing []journal.Summary) {
	if len(missing) == 0 {
		return
	}
	text := []byte("\n") // ends a torn line
	for _, s := range missing {
		line, err := json.Marshal(s)
		if err != nil {
			return
		}
		text = append(append(text, line...), '\n')
	}
	file, err := os.OpenFile(filepath.Join(d.path, indexName), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	_, _ = file.Write(text)
	_ = file.Close()
}

// fileError maps an error of the file system.
func fileError(err error, op, subject, path string) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return failure.WrapAs(failure.Denied, err, op, subject).WithHint("run lifeboat as the user who owns %s", path)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return failure.WrapAs(failure.Unavailable, err, op, subject).WithHint("free some disk space at %s", path)
	}
	return failure.WrapAs(failure.Unavailable, err, op, subject)
}

var _ journal.Archive = (*Dir)(nil)
