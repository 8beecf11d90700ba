package pgbackrest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Posix is a repository in a folder: what repo1-path names.
type Posix string

var _ Store = Posix("")

// Open opens a file.
func (p Posix) Open(_ context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	name := filepath.Join(string(p), filepath.FromSlash(path))
	f, err := os.Open(name)
	if err != nil {
		return nil, posixError(err, "open", name)
	}
	if offset != 0 {
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			f.Close()
			return nil, posixError(err, "read", name)
		}
	}
	if length < 0 {
		return &posixFile{f, f, name}, nil
	}
	return &posixFile{io.LimitReader(f, length), f, name}, nil
}

// posixFile gives errors their kind.
type posixFile struct {
	io.Reader
	io.Closer
	name string
}

// Read reads on.
func (f *posixFile) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = posixError(err, "read", f.name)
	}
	return n, err
}

// List lists a folder.
func (p Posix) List(_ context.Context, folder string) ([]Entry, error) {
	name := filepath.Join(string(p), filepath.FromSlash(folder))
	list, err := os.ReadDir(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, posixError(err, "list", name)
	}
	var all []Entry
	for _, d := range list {
		at := filepath.Join(name, d.Name())
		i, err := os.Stat(at)
		if errors.Is(err, fs.ErrNotExist) { // it went away, or is a link to nothing
			continue
		}
		if err != nil {
			return nil, posixError(err, "look at", at)
		}
		all = append(all, Entry{Name: d.Name(), Folder: i.IsDir(), Size: i.Size()})
	}
	return all, nil
}

// String is the folder.
func (p Posix) String() string { return string(p) }

// posixError gives an error of the file system its kind.
func posixError(err error, op, name string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return failure.WrapAs(failure.NotFound, err, op, name)
	case errors.Is(err, fs.ErrPermission):
		return failure.WrapAs(failure.Denied, err, op, name).WithHint("a repository belongs to the user that pgBackRest runs as: run this as that user, or as root")
	}
	return failure.WrapAs(failure.Unavailable, err, op, name)
}
