// Package vault is an encrypted, deduplicated store of recovery points: a repository in restic's format, version 2.
// Version 1 is read.
//
// What it writes, restic checks and restores; what restic wrote, it reads. It knows no sources and no commands: sources
// write through a [Session], which takes streams of unknown length, fixed blocks with ranges known to be unchanged,
// images and trees that never were in a file system. The order of writing is packs, index, snapshot, each durable before
// the next, so a writer that dies leaves a whole vault. Reading goes by [Vault.LoadBlob], [Vault.OpenFile] and
// [Vault.Walk]; [Vault.Check] verifies. Start with [Init] or [Open]; the store comes from package blob. The parts of the
// format have packages of their own below this one.
package vault

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/restic/chunker"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// Options are how a vault is made and used. The zero Options are right but for tests and measurements.
type Options struct {
	Log *slog.Logger // nil: silent
	// KDF is the cost of new passwords; zero: crypto.DefaultParams.
	KDF crypto.Params
	// Polynomial makes Init share another vault's chunk boundaries; zero: one of its own, chosen at random.
	Polynomial chunker.Pol
	// Workers is how many blobs are compressed, encrypted or checked at once; 0: one for each core.
	Workers int
	// PackSize is how many bytes of blobs a pack collects; 0: 16 MiB, which is restic's too.
	PackSize int
	// TempDir is where packs are collected, encrypted, until they are whole; "": the system's folder for such. Where no
	// file can be made they are collected in memory.
	TempDir string
	// Compression is how hard data is compressed; "": CompressAuto.
	Compression Compression
	// Identity is who locks and keys are said to be from; zero: this process.
	Identity Identity
	// Now is the clock of what is written; nil: time.Now.
	Now func() time.Time
	// RetryLock is for how long Lock tries again while somebody else's lock stands in the way; 0: it does not.
	RetryLock time.Duration
	// KeyHint is the beginning of the id of the key to try first: each one that the password does not fit takes a while.
	KeyHint string
	// NoPassword allows an empty password for a new vault or key.
	NoPassword bool
}

// Identity is who works on a vault, as locks and keys say it. It proves nothing.
type Identity struct {
	Hostname, Username string
	PID                int
	UID, GID           uint32
}

func thisProcess() Identity {
	id := Identity{PID: os.Getpid()}
	id.Hostname, _ = os.Hostname() // a lock without a host is still a lock
	if u, err := user.Current(); err == nil {
		id.Username = u.Username
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		id.UID, id.GID = uint32(uid), uint32(gid)
	}
	return id
}

func (o Options) filled() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.KDF == (crypto.Params{}) {
		o.KDF = crypto.DefaultParams
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.TempDir == "" {
		o.TempDir = os.TempDir()
	}
	if o.PackSize <= 0 {
		o.PackSize = 16 << 20
	}
	if o.Identity == (Identity{}) {
		o.Identity = thisProcess()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Vault is an opened repository. Methods may be called from several goroutines at once. It does not own the store.
type Vault struct {
	store  blob.Store
	opts   Options
	key    *crypto.Key
	keyID  object.ID
	config Config

	encoders
	blobs *zstd.Decoder // DecodeAll into what the index says that a blob takes
	files *zstd.Decoder // DecodeAll of indexes, snapshots and locks

	mu     sync.RWMutex
	index  *index.Index
	loaded map[object.ID]listing // the index files that index is made of

	left leftLocks

	others replicas
	// imagined is set where index is what it would be after a repair: it is not read from files.
	imagined bool
}

// Init makes a repository in store, whose place is created, and opens it. One that is there already is Exists. An
// interrupted Init can be repeated with the same password.
func Init(ctx context.Context, store blob.Store, password string, o Options) (*Vault, error) {
	if password == "" && !o.NoPassword {
		return nil, failure.New(failure.Invalid, "create a vault", store.Facts().Location, "the password is empty")
	}
	o = o.filled()
	if err := store.Create(ctx); err != nil {
		return nil, err
	}
	exists := failure.New(failure.Exists, "create a vault", store.Facts().Location, "there is one already")
	switch _, err := store.Stat(ctx, blob.Handle{Type: blob.Config}); {
	case err == nil:
		return nil, exists
	case failure.KindOf(err) != failure.NotFound:
		return nil, err
	}
	key, id, made, err := firstKey(ctx, store, password, o)
	if err != nil {
		return nil, err
	}
	c, err := newConfig(o.Polynomial)
	if err != nil {
		return nil, err
	}
	if err := saveConfig(ctx, store, key, c); err != nil {
		if made && failure.KindOf(err) == failure.Exists {
			// Another Init was faster; its vault must not keep a key that opens nothing.
			err = errors.Join(exists, store.Remove(ctx, blob.Handle{Type: blob.Key, Name: id.String()}))
		}
		return nil, failure.Wrap(err, "create a vault", store.Facts().Location)
	}
	return newVault(store, o, key, id, c)
}

// Open opens the repository in store. NotFound: there is none. Denied: the password opens no key. The index is not read
// yet: that is done when it is first needed.
func Open(ctx context.Context, store blob.Store, password string, o Options) (*Vault, error) {
	o = o.filled()
	if _, err := store.Stat(ctx, blob.Handle{Type: blob.Config}); err != nil {
		if failure.KindOf(err) == failure.NotFound {
			err = failure.New(failure.NotFound, "open the vault", store.Facts().Location, "there is no repository").
				WithHint("check the location, or make one with: lifeboat vault init")
		}
		return nil, err
	}
	var c Config
	key, id, err := searchKey(ctx, store, password, o.KeyHint, func(k *crypto.Key) error {
		var err error
		c, err = loadConfig(ctx, store, k)
		return err
	})
	if err != nil {
		return nil, failure.Wrap(err, "open the vault", store.Facts().Location)
	}
	return newVault(store, o, key, id, c)
}

func newVault(store blob.Store, o Options, key *crypto.Key, id object.ID, c Config) (*Vault, error) {
	v := &Vault{store: store, opts: o, key: key, keyID: id, config: c}
	var err error
	if v.encoders, err = newEncoders(o.Compression, o.Workers); err != nil {
		return nil, err
	}
	if v.blobs, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(o.Workers), zstd.WithDecodeAllCapLimit(true)); err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "open the vault", "")
	}
	if v.files, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(o.Workers), zstd.WithDecoderMaxMemory(maxFile)); err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "open the vault", "")
	}
	return v, nil
}

// Config gives what the vault says of itself.
func (v *Vault) Config() Config { return v.config }

// Location says where the vault is, for people.
func (v *Vault) Location() string { return v.store.Facts().Location }

// parallel is how many store calls are made at once.
func (v *Vault) parallel() int {
	return max(1, min(v.store.Facts().MaxParallel, 2*v.opts.Workers+1))
}
