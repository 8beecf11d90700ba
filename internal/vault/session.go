package vault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/chunk"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

const (
	// maxBlob bounds one blob: far above every chunk, far below what a pack can hold. A directory of ten million short
	// names is a tree of about this size.
	maxBlob = 2 << 30
	// dataPackers is how many packs of data are open at once. Blobs go to them at random, as with restic: from the
	// lengths of blobs in the order of a file somebody who sees the packs could tell known files by their chunks.
	dataPackers = 2
	uploads     = 3
	// An index file is written at the latest when a session has gone on for a quarter longer, but not more often than
	// indexSoonest and not less often than indexLatest: that bounds what a writer that is killed has stored for nothing, for
	// whoever does the same again finds only what an index lists.
	indexSoonest = 2 * time.Second
	indexLatest  = 30 * time.Second
	// keptPacks is how many packs' memory is kept, where they are built in memory.
	keptPacks = 3
	// settledAt is how many times more bytes must be known than new for a session to be settled.
	settledAt = 4
	// keptMemory is how many bytes of other memory are kept for each worker.
	keptMemory = 8 << 20
)

// Session writes to a vault, under a shared lock. Its methods may be called from several goroutines at once; the order
// in which the caller saves things does not matter, for nothing refers to them before [Session.Commit]. After an error
// of the store a session is over: what it stored is kept, and found by the next one.
type Session struct {
	v    *Vault
	lock *Lock           // nil in a rehearsal, which stores nothing
	held context.Context // what the uploads run under; ends with the lock

	jobs    chan *pack.Builder
	workers sync.WaitGroup
	slots   chan struct{} // one for each blob of a stream that is being saved
	memory  *shelf        // what streams are read into, and blobs are compressed and encrypted in
	packs   *pack.Space
	cutter  *chunk.Table

	mu       sync.Mutex
	idle     *sync.Cond // inFlight or sending fell, or err was set
	pending  map[object.Handle]struct{}
	open     [dataPackers + 1]*pack.Builder // the last is for trees
	inFlight int                            // packs that are on their way
	sending  int                            // of them, those that no upload has taken yet
	stored   []index.Pack                   // packs that are durable and in no index file
	listed   int                            // blobs in stored
	begun    time.Time
	indexed  time.Time // when the last index file was written
	err      error
	closed   bool
	stats    Stats

	indexing chan struct{} // holds whoever writes an index file: one at a time
}

// Stats are what a session did.
type Stats struct {
	Blobs       [2]int // new blobs, by type
	Plain       int64  // bytes of new blobs before compression
	Stored      int64  // bytes of new blobs as they lie in packs
	Known       int    // blobs that were there already
	KnownBytes  int64
	Packs       int
	PackedBytes int64 // bytes of packs, headers included
}

// NewSession begins to write. The caller closes it. Unsupported: the vault has format version 1; Conflict: it is locked
// exclusively.
func (v *Vault) NewSession(ctx context.Context) (*Session, error) {
	if v.config.Version != 2 {
		return nil, failure.New(failure.Unsupported, "write to the vault", v.Location(), "it has format version %d, which is only read", v.config.Version).
			WithHint("upgrade it with: restic migrate upgrade_repo_v2")
	}
	// The index is read while the lock settles. What comes of that is not relied on.
	var early sync.WaitGroup
	early.Go(func() { _ = v.LoadIndex(ctx) })
	held, lock, err := v.Lock(ctx, false)
	early.Wait()
	if err != nil {
		return nil, err
	}
	// Under the lock nobody removes what the index lists from here on: what has changed until now is read again.
	if err := v.LoadIndex(ctx); err != nil {
		return nil, errors.Join(err, lock.Release(ctx))
	}
	return v.session(held, lock), nil
}

// session begins a session under a lock.
func (v *Vault) session(held context.Context, lock *Lock) *Session {
	s := &Session{v: v, lock: lock, held: held, jobs: make(chan *pack.Builder), slots: make(chan struct{}, v.opts.Workers),
		memory: &shelf{room: v.opts.Workers * keptMemory}, packs: pack.NewSpace(keptPacks*v.opts.PackSize, v.opts.TempDir), cutter: chunk.NewTable(v.config.Polynomial),
		pending: map[object.Handle]struct{}{}, begun: v.opts.Now(), indexed: v.opts.Now(), indexing: make(chan struct{}, 1)}
	s.idle = sync.NewCond(&s.mu)
	for range min(uploads, v.parallel()) {
		s.workers.Go(func() {
			for b := range s.jobs {
				s.finished(b, s.upload(held, b))
			}
		})
	}
	return s
}

// Stats tells what was done so far.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// SaveBlob stores data unless it is there, and gives its id. Data is not kept. It is durable once Flush or Commit has
// returned.
func (s *Session) SaveBlob(ctx context.Context, t object.Type, data []byte) (object.ID, error) {
	if t > object.Tree || len(data) > maxBlob {
		return object.ID{}, failure.New(failure.Invalid, "save a blob", "", "type %d, %d bytes: no such blob can be stored", t, len(data))
	}
	h := object.Handle{Type: t, ID: object.Hash(data)}
	known, err := s.claim(ctx, h, len(data))
	if known || err != nil {
		return h.ID, err
	}
	return h.ID, s.put(ctx, h, data)
}

// saveAnew stores a blob of which the index lists copies that do not count: they are damaged, or about to go.
func (s *Session) saveAnew(ctx context.Context, h object.Handle, data []byte) error {
	s.mu.Lock()
	err := s.failed(ctx)
	_, there := s.pending[h]
	s.pending[h] = struct{}{}
	s.mu.Unlock()
	if there || err != nil {
		return err
	}
	return s.put(ctx, h, data)
}

// put compresses, seals and stores a blob that the caller has claimed.
func (s *Session) put(ctx context.Context, h object.Handle, data []byte) error {
	// Compressed and encrypted in one piece of memory: the ciphertext takes the place of what is encrypted.
	buf := s.memory.take(crypto.Overhead + s.v.room(len(data)))
	plain, plainLength := data, uint32(0)
	if h.Type == object.Tree || s.v.opts.Compression != CompressOff {
		packed := s.v.compress(h.Type, s.settled(), buf[:crypto.IVSize], data)
		if packed = packed[crypto.IVSize:]; h.Type == object.Tree || len(packed) < len(data) {
			plain, plainLength = packed, uint32(len(data))
		}
	}
	buf = s.v.key.Seal(buf[:0], plain)
	err := s.add(ctx, h, buf, plainLength, len(data))
	s.memory.putBack(buf)
	return err
}

// settled reports whether nearly all that was saved so far was known: then there is time to compress the rest harder.
func (s *Session) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats.KnownBytes > settledAt*s.stats.Plain
}

// Known counts blobs that the caller takes from an earlier snapshot, because it knows that they are the same, as saved and
// there. That they are is what Has tells.
func (s *Session) Known(blobs int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Known += blobs
	s.stats.KnownBytes += bytes
}

// savePacked is SaveBlob for a blob that another vault has compressed: data is its content, verified. It reports whether
// the blob is new.
func (s *Session) savePacked(ctx context.Context, h object.Handle, data []byte, packed packedBlob) (bool, error) {
	known, err := s.claim(ctx, h, len(data))
	if known || err != nil {
		return false, err
	}
	if packed.plainLength == 0 { // whoever wrote it may not have tried
		return true, s.put(ctx, h, data)
	}
	buf := s.v.key.Seal(s.memory.take(crypto.Overhead+len(packed.data)), packed.data)
	err = s.add(ctx, h, buf, packed.plainLength, len(data))
	s.memory.putBack(buf)
	return true, err
}

// claim reports whether h is stored or on its way; otherwise it is on its way now, by the caller.
func (s *Session) claim(ctx context.Context, h object.Handle, size int) (bool, error) {
	stored := s.v.has(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failed(ctx); err != nil {
		return false, err
	}
	if _, there := s.pending[h]; there || stored {
		s.stats.Known++
		s.stats.KnownBytes += int64(size)
		return true, nil
	}
	s.pending[h] = struct{}{}
	return false, nil
}

// failed gives the error that ended the session. The caller holds mu.
func (s *Session) failed(ctx context.Context) error {
	switch {
	case s.err != nil:
		return s.err
	case s.closed:
		return failure.New(failure.Internal, "write to the vault", s.v.Location(), "the session is closed")
	case s.held.Err() != nil:
		return context.Cause(s.held)
	}
	return failure.Wrap(ctx.Err(), "write to the vault", s.v.Location())
}

// add puts a sealed blob into an open pack, and sends the pack away when it is full.
func (s *Session) add(ctx context.Context, h object.Handle, sealed []byte, plainLength uint32, size int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.sending > 0 && s.failed(ctx) == nil {
		s.idle.Wait() // a full pack finds no upload that is free: there are enough packs in memory
	}
	if err := s.failed(ctx); err != nil {
		s.err = err // h is claimed, and will not come
		return err
	}
	at := dataPackers
	if h.Type == object.Data {
		at = rand.IntN(dataPackers)
	}
	for b := s.open[at]; b != nil && !b.Room(len(sealed)); b = s.open[at] {
		s.open[at] = nil
		s.send(b)
	}
	if s.err != nil || s.closed {
		return s.failed(ctx) // meanwhile
	}
	if s.open[at] == nil {
		s.open[at] = pack.NewBuilder(s.packs)
	}
	b := s.open[at]
	b.Add(h, sealed, plainLength)
	s.stats.Blobs[h.Type]++
	s.stats.Plain += int64(size)
	s.stats.Stored += int64(len(sealed))
	if b.Size() >= s.v.opts.PackSize {
		s.open[at] = nil
		s.send(b)
	}
	return s.err
}

// send hands a pack to the uploads and waits until one takes it. The caller holds mu, which is released meanwhile.
func (s *Session) send(b *pack.Builder) {
	s.inFlight++
	s.sending++
	s.mu.Unlock()
	s.jobs <- b
	s.mu.Lock()
	s.sending--
	s.idle.Broadcast()
}

// finished notes the end of an upload.
func (s *Session) finished(b *pack.Builder, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	if err != nil && s.err == nil {
		s.err = failure.Wrap(err, "store a pack", s.v.Location())
	}
	s.idle.Broadcast()
}

// upload makes a pack durable, and writes an index file when enough has come together.
func (s *Session) upload(ctx context.Context, b *pack.Builder) error {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	if err != nil {
		return err
	}
	file, err := b.Finish(s.v.key)
	if err != nil {
		return err
	}
	defer file.Release()
	if !s.Rehearsal() {
		if err := blob.SaveSame(about(ctx, file.Entries[0].Handle), s.v.store, packHandle(file.ID), file); err != nil {
			return cause(ctx, err)
		}
	}
	s.mu.Lock()
	s.stored = append(s.stored, index.Pack{ID: file.ID, Entries: file.Entries})
	s.listed += len(file.Entries)
	s.stats.Packs++
	s.stats.PackedBytes += file.Size()
	now := s.v.opts.Now()
	every := min(max(now.Sub(s.begun)/4, indexSoonest), indexLatest)
	full := s.listed >= index.MaxBlobs || now.Sub(s.indexed) > every
	s.mu.Unlock()
	if full {
		return s.writeIndex(ctx)
	}
	return nil
}

// cause prefers the reason for which ctx ended to the fact.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return failure.Wrap(context.Cause(ctx), "write to the vault", "")
	}
	return err
}

// writeIndex lists the packs that are durable and not listed yet. Only from then on they count as there, for this and for
// other sessions: what refers to them must not be durable before their index is.
func (s *Session) writeIndex(ctx context.Context) error {
	if s.Rehearsal() {
		return nil
	}
	select {
	case s.indexing <- struct{}{}:
		defer func() { <-s.indexing }()
	case <-ctx.Done():
		return cause(ctx, ctx.Err())
	}
	for {
		s.mu.Lock()
		n, blobs := 0, 0
		for n < len(s.stored) && (n == 0 || blobs+len(s.stored[n].Entries) <= index.MaxBlobs) {
			blobs += len(s.stored[n].Entries)
			n++
		}
		part := s.stored[:n:n]
		s.mu.Unlock()
		if n == 0 {
			return nil
		}
		text, err := index.Encode(part)
		if err != nil {
			return failure.WrapAs(failure.Internal, err, "write an index", "")
		}
		id, err := s.v.saveFile(ctx, blob.Index, text)
		if err != nil {
			return cause(ctx, err)
		}
		s.v.mu.Lock()
		s.v.adopt(id, part)
		s.v.mu.Unlock()
		s.mu.Lock()
		s.stored = s.stored[n:]
		s.listed -= blobs
		s.indexed = s.v.opts.Now()
		for _, p := range part {
			for _, e := range p.Entries {
				delete(s.pending, e.Handle)
			}
		}
		s.mu.Unlock()
	}
}

// Flush makes everything that was saved durable and listed. The caller has no SaveBlob under way.
func (s *Session) Flush(ctx context.Context) error {
	s.mu.Lock()
	for i, b := range s.open {
		if b != nil && s.err == nil {
			s.open[i] = nil
			s.send(b)
		}
	}
	for s.inFlight > 0 {
		s.idle.Wait()
	}
	err := s.failed(ctx)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err := s.writeIndex(s.held); err != nil {
		return s.fail(err)
	}
	return nil
}

// fail ends the session by err, unless it has ended by another one already.
func (s *Session) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	return err
}

// SaveTree stores a directory and gives its id. See tree.Tree.Encode for what is refused.
func (s *Session) SaveTree(ctx context.Context, t *tree.Tree) (object.ID, error) {
	text, err := t.Encode()
	if err != nil {
		return object.ID{}, err
	}
	return s.SaveBlob(ctx, object.Tree, text)
}

// Commit makes everything durable, then writes the snapshot, which it completes: the time when it has none, the host and
// the user, the program. From then on the recovery point exists. The session goes on and may commit more. NotFound: the
// tree was not saved.
func (s *Session) Commit(ctx context.Context, sn *snapshot.Snapshot) (object.ID, error) {
	if err := s.Flush(ctx); err != nil {
		return object.ID{}, err
	}
	c := *sn
	if c.Time.IsZero() {
		c.Time = s.v.opts.Now()
	}
	if c.Hostname == "" {
		c.Hostname = s.v.opts.Identity.Hostname
	}
	if c.Username == "" {
		c.Username, c.UID, c.GID = s.v.opts.Identity.Username, s.v.opts.Identity.UID, s.v.opts.Identity.GID
	}
	if c.ProgramVersion == "" {
		c.ProgramVersion = "lifeboat"
	}
	if s.Rehearsal() {
		_, err := c.Encode()
		return object.ID{}, err
	}
	if c.Tree != nil && !s.v.has(object.Handle{Type: object.Tree, ID: *c.Tree}) {
		return object.ID{}, failure.New(failure.NotFound, "commit", s.v.Location(), "the tree %s was not saved", c.Tree.Short())
	}
	text, err := c.Encode()
	if err != nil {
		return object.ID{}, err
	}
	id, err := s.v.saveFile(s.held, blob.Snapshot, text)
	if err != nil {
		return object.ID{}, s.fail(cause(s.held, failure.Wrap(err, "commit", s.v.Location())))
	}
	sn.ID = id
	return id, nil
}

// Close ends the session and gives up its lock. Packs that are durable are listed first, as far as that works, so that
// whoever does the same again need not store them again; what only was in open packs is dropped. The error is that of
// giving up the lock: what went wrong with writing was said by the call it went wrong in.
func (s *Session) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for s.inFlight > 0 {
		s.idle.Wait()
	}
	s.mu.Unlock()
	close(s.jobs)
	s.workers.Wait()
	for _, b := range s.open {
		if b != nil {
			b.Discard()
		}
	}
	s.packs.Close()
	if s.held.Err() == nil {
		if err := s.writeIndex(s.held); err != nil {
			s.v.opts.Log.WarnContext(ctx, "packs were stored and are not listed: a prune removes them", "vault", s.v.Location(), "error", fmt.Sprint(err))
		}
	}
	if s.Rehearsal() {
		return nil
	}
	return s.lock.Release(ctx)
}
