package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// A copy is a file: the object's bytes, then the SHA-256 of each 64 KiB of them, then their number in eight bytes, the
// most significant first.
const (
	block   = 64 << 10
	trailer = 8
)

// temporary is how the names of unfinished files begin; after staleAfter nobody can still be writing one.
const (
	temporary  = ".tmp-"
	staleAfter = 24 * time.Hour
	// fresh is how long a use need not be written down again.
	fresh = time.Hour
)

// tag marks a folder that backup programs may pass over (bford.info/cachedir).
const tag = "Signature: 8a477f597d28d172789f06886806bc55\n# Copies of a vault's metadata, made by Lifeboat. They can be removed at any time.\n"

// folder is where the copies of one repository lie.
type folder struct {
	root string
	max  int64

	mu     sync.Mutex
	stored int64 // bytes of copies, as far as is known
	since  int64 // bytes put since they were last counted
}

// openFolder makes the folder of a repository below all, and removes those of repositories that nobody opens any more.
func openFolder(all, id string, most int64) (*folder, error) {
	if all == "" {
		return nil, failure.New(failure.Invalid, "open the cache", "", "no folder is named")
	}
	f := &folder{root: filepath.Join(all, id), max: most}
	for _, t := range []blob.Type{blob.Index, blob.Snapshot, blob.Pack} {
		if err := os.MkdirAll(filepath.Join(f.root, t.String()), 0o700); err != nil {
			return nil, err
		}
	}
	now := time.Now()
	if err := os.Chtimes(f.root, now, now); err != nil {
		return nil, err
	}
	if err := mark(all); err != nil {
		return nil, err
	}
	f.count()
	return f, discard(all, id, now)
}

// mark says that the folder holds caches.
func mark(all string) error {
	path := filepath.Join(all, "CACHEDIR.TAG")
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	return os.WriteFile(path, []byte(tag), 0o600)
}

// discard removes the folders of repositories that were not opened for a long time. Only what has the form of one goes.
func discard(all, keep string, now time.Time) error {
	entries, err := os.ReadDir(all)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == keep || !blob.ValidName(e.Name()) {
			continue
		}
		if info, err := e.Info(); err != nil || now.Sub(info.ModTime()) < unused {
			continue
		}
		os.RemoveAll(filepath.Join(all, e.Name())) // tried again when the next cache is opened
	}
	return nil
}

func (f *folder) path(h blob.Handle) string { return filepath.Join(f.root, h.Type.String(), h.Name) }

// put makes a copy of an object, unless it is not what its name says: Corrupt. Other errors are the folder's.
func (f *folder) put(h blob.Handle, from io.Reader) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(f.path(h)), temporary)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	size, err := f.write(tmp, h, from)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), f.path(h))
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.stored += size
	f.since += size
	full := f.stored > f.max || f.since > f.max/16
	f.mu.Unlock()
	if full {
		f.count()
	}
	return nil
}

// write writes a copy and gives the file's size.
func (f *folder) write(to io.Writer, h blob.Handle, from io.Reader) (int64, error) {
	name := sha256.New()
	var sums []byte
	buf := make([]byte, block)
	size := int64(0)
	for {
		n, err := io.ReadFull(from, buf)
		if n > 0 {
			name.Write(buf[:n])
			sum := sha256.Sum256(buf[:n])
			sums = append(sums, sum[:]...)
			size += int64(n)
			if _, err := to.Write(buf[:n]); err != nil {
				return 0, err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return 0, err
		}
		if size > f.max/2 {
			return 0, failure.New(failure.Corrupt, "cache", h.String(), "too large for the cache")
		}
	}
	if hex.EncodeToString(name.Sum(nil)) != h.Name {
		return 0, failure.New(failure.Corrupt, "cache", h.String(), "the object has another SHA-256")
	}
	end := binary.BigEndian.AppendUint64(sums, uint64(size))
	_, err := to.Write(end)
	return size + int64(len(end)), err
}

// entry is an open copy.
type entry struct {
	file *os.File
	size int64 // of the object
}

// open opens a copy; nil: there is none that is whole.
func (f *folder) open(h blob.Handle) *entry {
	file, err := os.Open(f.path(h))
	if err != nil {
		return nil
	}
	size, ok := extent(file)
	if !ok {
		file.Close()
		f.drop(h)
		return nil
	}
	f.used(h, file)
	return &entry{file, size}
}

// extent is how long the object in a copy is, if the copy's length fits.
func extent(file *os.File) (int64, bool) {
	info, err := file.Stat()
	if err != nil || info.Size() < trailer {
		return 0, false
	}
	var end [trailer]byte
	if _, err := file.ReadAt(end[:], info.Size()-trailer); err != nil {
		return 0, false
	}
	size := int64(binary.BigEndian.Uint64(end[:]))
	return size, size >= 0 && size < info.Size() && length(size) == info.Size()
}

// length is how long the copy of an object of size bytes is.
func length(size int64) int64 {
	return size + (size+block-1)/block*sha256.Size + trailer
}

// used notes that a copy is needed, by the file's time.
func (f *folder) used(h blob.Handle, file *os.File) {
	if info, err := file.Stat(); err == nil && time.Since(info.ModTime()) > fresh {
		now := time.Now()
		os.Chtimes(f.path(h), now, now) // only a hint about what goes first
	}
}

// holds reports whether there is a copy of an object of that size.
func (f *folder) holds(h blob.Handle, size int64) bool {
	info, err := os.Stat(f.path(h))
	return err == nil && info.Size() == length(size)
}

// read gives the verified block number i of a copy, in buf; false: it is damaged.
func (e *entry) read(i int64, buf []byte) ([]byte, bool) {
	n := min(block, e.size-i*block)
	var want [sha256.Size]byte
	if _, err := e.file.ReadAt(want[:], e.size+i*sha256.Size); err != nil {
		return nil, false
	}
	buf = buf[:n]
	if _, err := e.file.ReadAt(buf, i*block); err != nil {
		return nil, false
	}
	got := sha256.Sum256(buf)
	return buf, bytes.Equal(got[:], want[:])
}

// drop removes a copy. Whoever reads it reads on.
func (f *folder) drop(h blob.Handle) {
	os.Remove(f.path(h)) // none is as good
}

// entries are the names of all copies of a type.
func (f *folder) entries(t blob.Type) map[string]bool {
	names := map[string]bool{}
	entries, err := os.ReadDir(filepath.Join(f.root, t.String()))
	if err != nil {
		return names
	}
	for _, e := range entries {
		if blob.ValidName(e.Name()) {
			names[e.Name()] = true
		}
	}
	return names
}

// count adds up what lies here, other processes' copies too, and makes room where that is too much.
func (f *folder) count() {
	type file struct {
		path string
		info fs.FileInfo
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []file
	f.stored, f.since = 0, 0
	for _, t := range []blob.Type{blob.Index, blob.Snapshot, blob.Pack} {
		dir := filepath.Join(f.root, t.String())
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				continue
			}
			path := filepath.Join(dir, e.Name())
			if strings.HasPrefix(e.Name(), temporary) && time.Since(info.ModTime()) > staleAfter {
				os.Remove(path) // a crash left it
				continue
			}
			all = append(all, file{path, info})
			f.stored += info.Size()
		}
	}
	if f.stored <= f.max {
		return
	}
	slices.SortFunc(all, func(a, b file) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	for _, x := range all {
		if f.stored <= f.max/8*7 {
			return
		}
		if os.Remove(x.path) == nil {
			f.stored -= x.info.Size()
		}
	}
}
