// Package memory keeps a vault's objects in this process: for tests, and for what need not outlive it.
//
// It is the strictest of the stores: it refuses content that does not have its name, so that mistakes show where they
// are made. It keeps nothing on disk and knows no retention. Start with New, or with Space.Open when several stores
// must see the same objects.
package memory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Space is what stores opened on it share. The zero Space is empty and ready.
type Space struct {
	mu      sync.RWMutex
	made    bool
	objects map[blob.Handle][]byte
}

// Store is one opening of a space.
type Store struct{ space *Space }

// New is a store on a space of its own, already created.
func New() *Store { return &Store{&Space{made: true}} }

// Open gives a store on the space. The first one has to Create it.
func (s *Space) Open() *Store { return &Store{s} }

// Create makes the space usable.
func (s *Store) Create(ctx context.Context) error {
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	s.space.made = true
	return wrap(ctx.Err(), "create", "memory:")
}

// Save keeps a copy of content.
func (s *Store) Save(ctx context.Context, h blob.Handle, content blob.Content) error {
	if err := h.Check("save"); err != nil {
		return err
	}
	text := make([]byte, content.Size())
	if _, err := io.ReadFull(blob.Reader(content), text); err != nil && len(text) > 0 {
		return failure.Wrap(err, "save", h.String())
	}
	if sum := sha256.Sum256(text); h.Type != blob.Config && hex.EncodeToString(sum[:]) != h.Name {
		return failure.New(failure.Corrupt, "save", h.String(), "the content has another SHA-256: %x", sum)
	}
	if err := ctx.Err(); err != nil {
		return wrap(err, "save", h.String())
	}
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	if err := s.space.exists("save"); err != nil {
		return err
	}
	if _, there := s.space.objects[h]; there {
		return failure.New(failure.Exists, "save", h.String(), "stored already")
	}
	if s.space.objects == nil {
		s.space.objects = map[blob.Handle][]byte{}
	}
	s.space.objects[h] = text
	return nil
}

// Load gives a reader on the object as it is now.
func (s *Store) Load(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	if err := blob.CheckRange(h, offset, length); err != nil {
		return nil, err
	}
	text, err := s.get(ctx, "load", h)
	if err != nil {
		return nil, err
	}
	if length == blob.ToEnd {
		length = int64(len(text)) - offset
	}
	if length < 0 || length > int64(len(text))-offset {
		return nil, blob.Short("load", h)
	}
	return &reader{ctx: ctx, h: h, Reader: bytes.NewReader(text[offset : offset+length])}, nil
}

// Stat gives the object's size.
func (s *Store) Stat(ctx context.Context, h blob.Handle) (blob.Info, error) {
	if err := h.Check("stat"); err != nil {
		return blob.Info{}, err
	}
	text, err := s.get(ctx, "stat", h)
	return blob.Info{Handle: h, Size: int64(len(text))}, err
}

// List lists the objects that there are when it begins.
func (s *Store) List(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
	if !t.Valid() {
		return failure.New(failure.Invalid, "list", t.String(), "no such type")
	}
	var all []blob.Info
	s.space.mu.RLock()
	err := s.space.exists("list")
	for h, text := range s.space.objects {
		if h.Type == t {
			all = append(all, blob.Info{Handle: h, Size: int64(len(text))})
		}
	}
	s.space.mu.RUnlock()
	if err != nil {
		return err
	}
	for _, info := range all {
		if err := ctx.Err(); err != nil {
			return wrap(err, "list", t.String())
		}
		if err := each(info); err != nil {
			return err
		}
	}
	return wrap(ctx.Err(), "list", t.String())
}

// Remove forgets the object.
func (s *Store) Remove(ctx context.Context, h blob.Handle) error {
	if err := h.Check("remove"); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return wrap(err, "remove", h.String())
	}
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	delete(s.space.objects, h)
	return nil
}

// Corrupt replaces the bytes of h by what change makes of a copy of them: for tests of damage. It reports whether h
// is there.
func (s *Store) Corrupt(h blob.Handle, change func([]byte) []byte) bool {
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	text, there := s.space.objects[h]
	if there {
		s.space.objects[h] = change(bytes.Clone(text))
	}
	return there
}

// Clone is a store on a space of its own that holds what this one holds now: for tests that damage one state in many
// ways.
func (s *Store) Clone() *Store {
	s.space.mu.RLock()
	defer s.space.mu.RUnlock()
	c := &Space{made: s.space.made, objects: make(map[blob.Handle][]byte, len(s.space.objects))}
	for h, text := range s.space.objects {
		c.objects[h] = text
	}
	return &Store{c}
}

// Facts says what memory can do.
func (s *Store) Facts() blob.Facts {
	return blob.Facts{Location: "memory:", AtomicCreate: true, MaxParallel: 64}
}

// Close does nothing: the space stays.
func (s *Store) Close() error { return nil }

func (s *Store) get(ctx context.Context, op string, h blob.Handle) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, wrap(err, op, h.String())
	}
	s.space.mu.RLock()
	defer s.space.mu.RUnlock()
	text, there := s.space.objects[h]
	if !there {
		return nil, failure.New(failure.NotFound, op, h.String(), "no such object in memory")
	}
	return text, nil
}

// exists is NotFound before Create.
func (s *Space) exists(op string) error {
	if s.made {
		return nil
	}
	return failure.New(failure.NotFound, op, "memory:", "nothing was created here").WithHint("create the vault first")
}

func wrap(err error, op, subject string) error { return failure.Wrap(err, op, subject) }

// reader ends when the context of its Load does.
type reader struct {
	ctx context.Context
	h   blob.Handle
	*bytes.Reader
}

// Read reads on.
func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, wrap(err, "load", r.h.String())
	}
	return r.Reader.Read(p)
}

// WriteTo is hidden, so that a copy asks the context too.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{r})
}

// Close does nothing.
func (r *reader) Close() error { return nil }

var _ blob.Store = (*Store)(nil)
