// Package file keeps a vault's objects in a folder, in restic's default layout: data/ab/abcd…, keys/…, config.
//
// An object is written to a hidden temporary file, flushed, and given its name in one step that never replaces another
// object; then the folder is flushed. A crash leaves at most a hidden file, which no listing shows and which Create
// clears away once it is a day old. Restic works on the same folder at the same time. Start with Open.
package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// modeFolder is what restic gives its folders when the user asks for nothing else; its files have 0600.
const modeFolder = 0o700

// temporary is how the names of unfinished files begin; staleAfter is when nobody can still be writing one.
const (
	temporary  = ".lifeboat-tmp-"
	staleAfter = 24 * time.Hour
)

// copySize is how much is written with one call.
const copySize = 256 << 10

// batch is how many folder entries are read at once.
const batch = 1024

// Store is a folder. Make one with Open.
type Store struct {
	root string

	// steps are what a crash can fall between; tests replace them.
	steps steps
}

// steps are the system calls that make an object durable, in the order of their use.
type steps struct {
	sync    func(*os.File) error
	publish func(from, to string) error
	syncDir func(string) error
}

// Open gives a store on the folder at path, which need not exist before Create.
func Open(path string) (*Store, error) {
	if path == "" {
		return nil, failure.New(failure.Invalid, "open", "file:", "no folder is named")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fault(err, "open", path)
	}
	return &Store{root: abs, steps: steps{(*os.File).Sync, publish, syncDir}}, nil
}

// Create makes the folders of restic's layout, and removes temporary files that a crash left more than a day ago.
func (s *Store) Create(ctx context.Context) error {
	folders := []string{""}
	for _, t := range blob.Types() {
		if t != blob.Config {
			folders = append(folders, t.String())
		}
	}
	const hex = "0123456789abcdef"
	for _, a := range hex {
		for _, b := range hex {
			folders = append(folders, filepath.Join(blob.Pack.String(), string(a)+string(b)))
		}
	}
	for _, folder := range folders {
		if err := ctx.Err(); err != nil {
			return failure.Wrap(err, "create", s.root)
		}
		dir := filepath.Join(s.root, folder)
		if err := os.MkdirAll(dir, modeFolder); err != nil {
			return fault(err, "create", dir)
		}
		if err := s.clear(dir); err != nil {
			return err
		}
	}
	for _, folder := range []string{filepath.Dir(s.root), s.root, filepath.Join(s.root, blob.Pack.String())} {
		if err := s.steps.syncDir(folder); err != nil && folder != filepath.Dir(s.root) {
			return fault(err, "create", folder)
		}
	}
	return nil
}

// clear removes the stale temporary files of one folder.
func (s *Store) clear(dir string) error {
	return walk(dir, func(e fs.DirEntry) error {
		if !strings.HasPrefix(e.Name(), temporary) {
			return nil
		}
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < staleAfter {
			return nil // gone meanwhile, or somebody's
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault(err, "clear", dir)
		}
		return nil
	})
}

func (s *Store) path(h blob.Handle) string {
	return filepath.Join(s.root, filepath.FromSlash(h.Path()))
}

// Save writes, flushes, names, and flushes the folder.
func (s *Store) Save(ctx context.Context, h blob.Handle, content blob.Content) (err error) {
	if err := h.Check("save"); err != nil {
		return err
	}
	final := s.path(h)
	if _, err := os.Lstat(final); err == nil {
		return exists(h)
	}
	f, err := s.temp(filepath.Dir(final))
	if err != nil {
		return fault(err, "save", h.String())
	}
	published := false
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil && !errors.Is(cerr, fs.ErrClosed) {
			err = fault(cerr, "save", h.String())
		}
		if !published {
			os.Remove(f.Name()) // what is left of it is hidden, and cleared by a later Create
		}
	}()
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, interrupted{ctx, blob.Reader(content)}, make([]byte, min(copySize, content.Size()+1)))
	if err == nil && n != content.Size() {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = s.steps.sync(f)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fault(err, "save", h.String())
	}
	if err := s.steps.publish(f.Name(), final); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return exists(h)
		}
		return fault(err, "save", h.String())
	}
	published = true
	if err := s.steps.syncDir(filepath.Dir(final)); err != nil {
		return failure.WrapAs(failure.Indeterminate, err, "save", h.String())
	}
	return nil
}

// temp makes a hidden file in dir, and dir itself where only it is missing.
func (s *Store) temp(dir string) (*os.File, error) {
	f, err := createTemp(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if _, err := os.Stat(s.root); err != nil {
		return nil, err // the place itself is not there: a mistyped path must not become a vault
	}
	if err := os.MkdirAll(dir, modeFolder); err != nil {
		return nil, err
	}
	for up := filepath.Dir(dir); len(up) >= len(s.root); up = filepath.Dir(up) {
		if err := s.steps.syncDir(up); err != nil {
			return nil, err
		}
	}
	return createTemp(dir)
}

func createTemp(dir string) (*os.File, error) {
	return os.CreateTemp(dir, temporary) // with mode 0600, as restic
}

// Load opens the file.
func (s *Store) Load(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	if err := blob.CheckRange(h, offset, length); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, failure.Wrap(err, "load", h.String())
	}
	f, err := os.Open(s.path(h))
	if err != nil {
		return nil, fault(err, "load", h.String())
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = failure.New(failure.Corrupt, "load", h.String(), "not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, fault(err, "load", h.String())
	}
	left := info.Size() - offset
	if length == blob.ToEnd {
		length = left
	}
	if left < 0 || length > left {
		f.Close()
		return nil, blob.Short("load", h)
	}
	return &reader{ctx: ctx, h: h, f: f, section: io.NewSectionReader(f, offset, length)}, nil
}

// Stat gives the file's size.
func (s *Store) Stat(ctx context.Context, h blob.Handle) (blob.Info, error) {
	if err := h.Check("stat"); err != nil {
		return blob.Info{}, err
	}
	if err := ctx.Err(); err != nil {
		return blob.Info{}, failure.Wrap(err, "stat", h.String())
	}
	info, err := os.Stat(s.path(h))
	if err != nil {
		return blob.Info{}, fault(err, "stat", h.String())
	}
	return blob.Info{Handle: h, Size: info.Size()}, nil
}

// List reads the folder of a type, for packs the folders within.
func (s *Store) List(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
	if !t.Valid() {
		return failure.New(failure.Invalid, "list", t.String(), "no such type")
	}
	if _, err := os.Stat(s.root); err != nil {
		return fault(err, "list", s.root)
	}
	if t == blob.Config {
		info, err := s.Stat(ctx, blob.Handle{Type: blob.Config})
		if err != nil {
			if failure.KindOf(err) == failure.NotFound {
				return nil
			}
			return err
		}
		return each(info)
	}
	dir := filepath.Join(s.root, t.String())
	return s.visit(dir, func(e fs.DirEntry) error {
		if t == blob.Pack && e.IsDir() && len(e.Name()) == 2 {
			return s.visit(filepath.Join(dir, e.Name()), func(in fs.DirEntry) error {
				if !strings.HasPrefix(in.Name(), e.Name()) {
					return nil // in another's folder: Load would not find it
				}
				return s.entry(ctx, t, in, each)
			})
		}
		if t == blob.Pack {
			return nil
		}
		return s.entry(ctx, t, e, each)
	})
}

// visit is walk for a folder that may be missing, and names the folder in errors of its own.
func (s *Store) visit(dir string, each func(fs.DirEntry) error) error {
	err := walk(dir, each)
	if errors.Is(err, fs.ErrNotExist) && failure.KindOf(err) == failure.Internal {
		return nil
	}
	return err
}

// entry gives one file to each.
func (s *Store) entry(ctx context.Context, t blob.Type, e fs.DirEntry, each func(blob.Info) error) error {
	if err := ctx.Err(); err != nil {
		return failure.Wrap(err, "list", t.String())
	}
	if !blob.ValidName(e.Name()) || !e.Type().IsRegular() {
		return nil
	}
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed meanwhile
	}
	if err != nil {
		return fault(err, "list", t.String())
	}
	return each(blob.Info{Handle: blob.Handle{Type: t, Name: e.Name()}, Size: info.Size()})
}

// Remove removes the file.
func (s *Store) Remove(ctx context.Context, h blob.Handle) error {
	if err := h.Check("remove"); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return failure.Wrap(err, "remove", h.String())
	}
	path := s.path(h)
	if err := os.Remove(path); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return fault(err, "remove", h.String())
		}
		// In a file system that is not mounted nothing is there either: what is in it comes back.
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return failure.WrapAs(failure.Unavailable, err, "remove", h.String())
		}
		return nil
	}
	// Without the flush a crash could bring the object back, which the vault must bear anyway.
	return nil
}

// Facts says what a local file system can do. There is little to wait for but the disk: as many calls as there are
// processors, and one more, keep it busy.
func (s *Store) Facts() blob.Facts {
	return blob.Facts{Location: s.root, AtomicCreate: true, MaxParallel: min(8, runtime.NumCPU()+1)}
}

// Close does nothing: nothing is held open.
func (s *Store) Close() error { return nil }

var _ blob.Store = (*Store)(nil)
