package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// walk calls each for the entries of dir, unsorted, without holding them all.
func walk(dir string, each func(fs.DirEntry) error) error {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		return fault(err, "list", dir)
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(batch)
		for _, e := range entries {
			if err := each(e); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || (err == nil && len(entries) == 0) {
			return nil
		}
		if err != nil {
			return fault(err, "list", dir)
		}
	}
}

// syncDir makes the names in dir durable. File systems that cannot flush a folder are taken at their word.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if unsupported(err) {
		err = nil
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// publish gives a finished file its name and never replaces another: by a rename that refuses to, else by a hard link.
// A file system with neither gets a look and a rename, between which another process could come; objects are named by
// their content, so it would bring the same bytes.
func publish(from, to string) error {
	err := renameNew(from, to)
	if !unsupported(err) {
		return err
	}
	err = os.Link(from, to)
	if err == nil {
		return os.Remove(from)
	}
	if errors.Is(err, fs.ErrExist) || !unsupported(err) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
	}
	return os.Rename(from, to)
}

// reader reads a range of an open file. Files are write-once, so one that ends early was damaged.
type reader struct {
	ctx     context.Context
	h       blob.Handle
	f       *os.File
	section *io.SectionReader
	read    int64
}

// Read reads on.
func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, failure.Wrap(err, "load", r.h.String())
	}
	n, err := r.section.Read(p)
	r.read += int64(n)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) && r.read == r.section.Size():
		return n, io.EOF
	case errors.Is(err, io.EOF):
		return n, blob.Short("load", r.h)
	}
	return n, fault(err, "load", r.h.String())
}

// Close closes the file.
func (r *reader) Close() error { return r.f.Close() }

// interrupted stops a copy when its context ends.
type interrupted struct {
	ctx context.Context
	r   io.Reader
}

func (i interrupted) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}
