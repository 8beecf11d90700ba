// Package cache is laid around a blob store: it keeps copies of metadata in a folder of this machine.
//
// Kept are index files, snapshots, and packs of trees; never keys, locks, the config or data. An index file or a snapshot
// is fetched whole when it is first asked for; of a pack, calls must say that they are about metadata ([blob.Metadata]),
// and it is fetched whole once several parts of it were wanted. A copy is made only of bytes that have their name, and
// every 64 KiB of it are verified when they are read: what was damaged in the folder is dropped and read from the store,
// never served. Objects never change, so a copy is never outdated; it goes when the object is removed from here, when a
// listing does not show it any more, or when room is needed. Several processes may use one folder. Whatever goes wrong
// with the folder costs time, not correctness: no call fails by it.
//
// Calls with [blob.Direct] read the store itself. Start with Wrap.
package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Options say where copies lie and how many.
type Options struct {
	// Folder is where the caches of all repositories lie, each in a folder of its own; it is made when it is missing.
	Folder string
	// ID names the repository's folder; empty: the SHA-256 of its config, by which copies of a repository share a cache.
	ID string
	// MaxBytes bounds one repository's copies; 0: 4 GiB. What was used least recently goes first.
	MaxBytes int64
	Log      *slog.Logger // what is wrong with the folder, once; nil: silent
}

const (
	defaultBytes = 4 << 30
	// A pack is fetched whole when so many calls, or calls for so many bytes, wanted a part of it. A single file's way
	// down from the root does not fetch packs; a walk does.
	worthCalls = 3
	worthBytes = 4 << 20
	// unused is after how long the folder of a repository that nobody opened is removed.
	unused = 60 * 24 * time.Hour
)

// Store is a store with copies nearby. Make one with Wrap.
type Store struct {
	inner blob.Store
	opts  Options

	mu      sync.Mutex
	folder  *folder // nil: not known yet
	off     bool    // the folder cannot be used
	listed  map[blob.Handle]int64
	wanted  map[blob.Handle]touched
	flights map[blob.Handle]chan struct{}
}

// touched is how much of a pack was asked for.
type touched struct {
	calls int
	bytes int64
}

// Wrap lays a cache around inner. Closing it closes inner; the copies stay.
func Wrap(inner blob.Store, o Options) *Store {
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultBytes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Store{inner: inner, opts: o, listed: map[blob.Handle]int64{}, wanted: map[blob.Handle]touched{}, flights: map[blob.Handle]chan struct{}{}}
}

// Unwrap gives the store within.
func (s *Store) Unwrap() blob.Store { return s.inner }

// Facts are those of the store within.
func (s *Store) Facts() blob.Facts { return s.inner.Facts() }

// Close closes the store within.
func (s *Store) Close() error { return s.inner.Close() }

// Create is passed on.
func (s *Store) Create(ctx context.Context) error { return s.inner.Create(ctx) }

// whole reports whether every object of the type is kept.
func whole(t blob.Type) bool { return t == blob.Index || t == blob.Snapshot }

// kept reports whether a copy of h may lie here.
func kept(ctx context.Context, h blob.Handle) bool {
	return whole(h.Type) || h.Type == blob.Pack && blob.IsMetadata(ctx)
}

// place gives the repository's folder, or nil when there is none: before the repository is made, or when the folder
// cannot be used.
func (s *Store) place(ctx context.Context) *folder {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.folder != nil || s.off {
		return s.folder
	}
	id := s.opts.ID
	if id == "" {
		config, err := blob.ReadAll(ctx, s.inner, blob.Handle{Type: blob.Config})
		if err != nil || len(config) == 0 {
			return nil // whoever needs the config will hear of it
		}
		sum := sha256.Sum256(config)
		id = hex.EncodeToString(sum[:])
	}
	f, err := openFolder(s.opts.Folder, id, s.opts.MaxBytes)
	if err != nil {
		s.off = true
		s.opts.Log.WarnContext(ctx, "nothing is cached", "folder", s.opts.Folder, "error", err)
		return nil
	}
	s.folder = f
	return f
}

// Save stores h, then keeps a copy.
func (s *Store) Save(ctx context.Context, h blob.Handle, content blob.Content) error {
	if err := s.inner.Save(ctx, h, content); err != nil {
		return err
	}
	if !kept(ctx, h) {
		return nil
	}
	if f := s.place(ctx); f != nil {
		s.put(ctx, f, h, blob.Reader(blob.Source(content)))
	}
	return nil
}

// put keeps a copy and reports whether it did.
func (s *Store) put(ctx context.Context, f *folder, h blob.Handle, from io.Reader) bool {
	err := f.put(h, from)
	if err != nil && ctx.Err() == nil && failure.KindOf(err) != failure.Corrupt {
		s.mu.Lock()
		first := !s.off
		s.off, s.folder = true, nil
		s.mu.Unlock()
		if first {
			s.opts.Log.WarnContext(ctx, "nothing is cached any more", "folder", s.opts.Folder, "error", err)
		}
	}
	return err == nil
}

// Load reads the copy, or the store; what is kept whole is fetched first.
func (s *Store) Load(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	if err := blob.CheckRange(h, offset, length); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, failure.Wrap(err, "load", h.String())
	}
	if !kept(ctx, h) || blob.IsDirect(ctx) {
		return s.inner.Load(ctx, h, offset, length)
	}
	f := s.place(ctx)
	if f == nil {
		return s.inner.Load(ctx, h, offset, length)
	}
	if r, err := s.copy(ctx, f, h, offset, length); r != nil || err != nil {
		return r, err
	}
	if !s.worth(h, length) {
		return s.inner.Load(ctx, h, offset, length)
	}
	if s.fetch(ctx, f, h) {
		if r, err := s.copy(ctx, f, h, offset, length); r != nil || err != nil {
			return r, err
		}
	}
	return s.inner.Load(ctx, h, offset, length)
}

// copy opens the copy of h; nil: there is none.
func (s *Store) copy(ctx context.Context, f *folder, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	e := f.open(h)
	if e == nil {
		return nil, nil
	}
	left := e.size - offset
	if length == blob.ToEnd {
		length = left
	}
	if left < 0 || length > left {
		e.file.Close()
		return nil, blob.Short("load", h)
	}
	return &reader{ctx: ctx, s: s, f: f, h: h, entry: e, at: offset, end: offset + length}, nil
}

// worth reports whether h is to be fetched whole for a call that wants length bytes of it.
func (s *Store) worth(h blob.Handle, length int64) bool {
	if whole(h.Type) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.wanted[h]
	t.calls++
	if length == blob.ToEnd {
		length = worthBytes
	}
	t.bytes += length
	s.wanted[h] = t
	return t.calls >= worthCalls || t.bytes >= worthBytes
}

// fetch makes a copy of h, once for all who want it at the same time, and reports whether there may be one now.
func (s *Store) fetch(ctx context.Context, f *folder, h blob.Handle) bool {
	s.mu.Lock()
	landing, flying := s.flights[h]
	if !flying {
		landing = make(chan struct{})
		s.flights[h] = landing
	}
	s.mu.Unlock()
	if flying {
		select {
		case <-landing:
		case <-ctx.Done():
		}
		return true
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.flights, h)
		delete(s.wanted, h)
		close(landing)
	}()
	from, err := s.inner.Load(ctx, h, 0, blob.ToEnd)
	if err != nil {
		return false // the caller asks the store itself, and hears why
	}
	defer from.Close()
	return s.put(ctx, f, h, source{from})
}

// source tells the store's errors from the folder's: those of the store are the store's to say.
type source struct{ io.Reader }

func (r source) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = failure.WrapAs(failure.Corrupt, err, "fetch", "")
	}
	return n, err
}

// Stat answers by itself for what the last listing showed and of which there is a copy.
func (s *Store) Stat(ctx context.Context, h blob.Handle) (blob.Info, error) {
	if err := ctx.Err(); err != nil {
		return blob.Info{}, failure.Wrap(err, "stat", h.String())
	}
	if whole(h.Type) && !blob.IsDirect(ctx) {
		s.mu.Lock()
		size, shown := s.listed[h]
		f := s.folder
		s.mu.Unlock()
		if shown && f != nil && f.holds(h, size) {
			return blob.Info{Handle: h, Size: size}, nil
		}
	}
	info, err := s.inner.Stat(ctx, h)
	if err != nil && failure.KindOf(err) == failure.NotFound {
		s.forget(ctx, h)
	}
	return info, err
}

// Remove drops the copy, and removes h.
func (s *Store) Remove(ctx context.Context, h blob.Handle) error {
	s.forget(ctx, h)
	err := s.inner.Remove(ctx, h)
	s.forget(ctx, h) // it may have been read meanwhile
	return err
}

// forget drops what is known of h.
func (s *Store) forget(ctx context.Context, h blob.Handle) {
	if !h.Valid() || !whole(h.Type) && h.Type != blob.Pack {
		return
	}
	if f := s.place(ctx); f != nil {
		f.drop(h)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listed, h)
}

// List asks the store, and drops copies of what it does not list.
func (s *Store) List(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
	var f *folder
	if whole(t) || t == blob.Pack {
		f = s.place(ctx)
	}
	if f == nil {
		return s.inner.List(ctx, t, each)
	}
	stale := f.entries(t) // as of before the listing: what comes meanwhile is not in doubt
	shown := map[blob.Handle]int64{}
	err := s.inner.List(ctx, t, func(i blob.Info) error {
		delete(stale, i.Name)
		if whole(t) {
			shown[i.Handle] = i.Size
		}
		return each(i)
	})
	if err != nil {
		return err
	}
	for name := range stale {
		f.drop(blob.Handle{Type: t, Name: name})
	}
	if whole(t) {
		s.mu.Lock()
		defer s.mu.Unlock()
		maps.DeleteFunc(s.listed, func(h blob.Handle, _ int64) bool { return h.Type == t })
		maps.Copy(s.listed, shown)
	}
	return nil
}

// DefaultFolder is where copies lie when nobody says otherwise: "lifeboat/vault" in the user's cache folder.
func DefaultFolder() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", failure.WrapAs(failure.Invalid, err, "find the cache folder", "").WithHint("set XDG_CACHE_HOME or HOME, or name a folder for the cache")
	}
	return filepath.Join(dir, "lifeboat", "vault"), nil
}

var _ blob.Wrapper = (*Store)(nil)
