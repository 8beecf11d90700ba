// Package blob is where a vault's bytes lie: a flat store of whole, write-once objects with typed names.
//
// A vault (a repository in restic's format) needs six things of a store, and [Store] has just these: save an object
// that never shows half of itself, load a part of one, ask for its size, list, remove, close. The stores are in the
// folders below, and one suite runs over all of them (blobtest). What objects mean, how they are encrypted, which may
// go when: the vault's business, not here.
//
// Start with file.Open, in tests with memory.New.
package blob

import (
	"context"
	"io"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Type is what sort of object a handle names. The set is that of restic's repository format
// (doc/design.rst, "Repository Layout"). The zero Type is none.
type Type uint8

// The types of objects.
const (
	Config   Type = iota + 1 // the one object that says what the repository is; has no name
	Key                      // a password's way to the master key
	Snapshot                 // a recovery point
	Index                    // which blobs lie in which pack
	Pack                     // blobs of data or of trees, sealed together
	Lock                     // who works on the repository
)

// folders are the types' names in restic's layout, which are part of the format.
var folders = [...]string{Config: "config", Key: "keys", Snapshot: "snapshots", Index: "index", Pack: "data", Lock: "locks"}

// Types lists every type, Config first.
func Types() []Type { return []Type{Config, Key, Snapshot, Index, Pack, Lock} }

// String gives the type's name in the layout: config, keys, snapshots, index, data, locks.
func (t Type) String() string {
	if t.Valid() {
		return folders[t]
	}
	return "none"
}

// Valid reports whether t is one of the types.
func (t Type) Valid() bool { return t >= Config && t <= Lock }

// NameLength is how long a name is: SHA-256 in lower-case hexadecimal digits.
const NameLength = 64

// Handle names one object. Name is the SHA-256 of the object's bytes in lower-case hexadecimal, and empty for Config.
// A store may refuse content that does not have its name, with failure.Corrupt.
type Handle struct {
	Type Type
	Name string
}

// String is "snapshots/0123…", "config".
func (h Handle) String() string {
	if h.Name == "" {
		return h.Type.String()
	}
	return h.Type.String() + "/" + h.Name
}

// Valid reports whether h can name an object.
func (h Handle) Valid() bool {
	if h.Type == Config {
		return h.Name == ""
	}
	return h.Type.Valid() && ValidName(h.Name)
}

// Check is nil for a valid handle and failure.Invalid otherwise. Stores call it first.
func (h Handle) Check(op string) error {
	if h.Valid() {
		return nil
	}
	return failure.New(failure.Invalid, op, h.String(), "not the name of an object: want a type, and 64 lower-case hexadecimal digits")
}

// Path is where h lies in restic's default layout, relative and with slashes: data/ab/abcd…, keys/…, config.
func (h Handle) Path() string {
	if h.Type == Pack && len(h.Name) > 2 {
		return folders[Pack] + "/" + h.Name[:2] + "/" + h.Name
	}
	return h.String()
}

// ValidName reports whether name is 64 lower-case hexadecimal digits.
func ValidName(name string) bool {
	return len(name) == NameLength && strings.Trim(name, "0123456789abcdef") == ""
}

// Info is what a store knows of an object without reading it.
type Info struct {
	Handle
	Size int64 // bytes
}

// Content is the whole of an object to be saved. It is read from wherever and as often as an attempt needs, possibly
// by several goroutines at once, and must not change before Save has returned. [bytes.Reader] and [io.SectionReader]
// are Contents.
type Content interface {
	io.ReaderAt
	Size() int64
}

// ToEnd, as a length, means everything from the offset on.
const ToEnd int64 = -1

// Facts are what a store can do and likes. They do not change while it is open.
type Facts struct {
	// Location says where the objects lie, in restic's spelling, without credentials. For people and messages.
	Location string
	// AtomicCreate: of several Saves of one new handle at the same time, by whatever processes, exactly one succeeds and
	// the others end with Exists. Without it several may succeed; since objects are named by their content, this matters
	// for Config alone.
	AtomicCreate bool
	// AppendOnly: known to refuse Remove for everything but Lock. A server may refuse without it being known here: the
	// answer of Remove counts.
	AppendOnly bool
	// Retention: objects can be kept from deletion until an instant: the store is a [Retainer].
	Retention bool
	// MaxParallel is how many calls at once the store is good for; more only wait. At least 1.
	MaxParallel int
}

// Store holds objects. Methods are safe for concurrent use, and end soon after their context does, with Canceled or
// Unavailable and without an effect that shows half.
//
// Errors have kinds of package failure, the same for every store: Invalid (a handle, offset or length that cannot be),
// NotFound, Exists, Denied, Throttled, Unavailable (not reached, or no answer), Corrupt (what is there is shorter than
// what was asked for, or not what its name says), Indeterminate (Save and Remove only: it may have had its effect),
// Unsupported, Canceled. The subject is the handle or the location; no message holds a credential.
type Store interface {
	// Create makes the place that objects go to (a folder, a bucket, a repository at a server). One that is there
	// already is no error. It makes no Config.
	Create(ctx context.Context) error
	// Save stores content under h, whole: before it returns nil the object is durable and can be loaded by everybody;
	// until then, and when it fails, nobody sees a part of it. Objects are write-once: when h is there already Save
	// fails with Exists and changes nothing, also when the content is the same (see [SaveSame]).
	// A place that was never created is NotFound, where the store can tell.
	Save(ctx context.Context, h Handle, content Content) error
	// Load opens length bytes of h from offset on, or everything from offset with [ToEnd]. The reader gives exactly
	// those and then io.EOF; when the object ends before, Load or a Read fails with Corrupt; when the way to it breaks,
	// Read fails with Unavailable. A length of zero is Invalid. The caller closes the reader, also after an error.
	Load(ctx context.Context, h Handle, offset, length int64) (io.ReadCloser, error)
	// Stat gives the size of h, or NotFound.
	Stat(ctx context.Context, h Handle) (Info, error)
	// List calls each, from the calling goroutine, once for every object of type t, in no particular order, while the
	// listing arrives. An object that is saved or removed meanwhile may or may not be listed; all others are. What has
	// no valid name (another program's, a temporary file) is passed over. An error of each ends the listing and is
	// returned as it is. A place that was never created is NotFound, or empty where the store cannot tell.
	List(ctx context.Context, t Type, each func(Info) error) error
	// Remove removes h. One that is not there is no error, so that it can be repeated. Denied: it may not go (an
	// append-only server, a retention); nothing was removed.
	Remove(ctx context.Context, h Handle) error
	// Facts never fails and asks nobody.
	Facts() Facts
	// Close gives up connections. Readers must be closed before; the store must not be used after.
	Close() error
}

// Wrapper is a Store laid around another one.
type Wrapper interface {
	Store
	// Unwrap gives the store within.
	Unwrap() Store
}

// As finds a capability (an interface such as [Retainer], or a store's own type) in s or in what it is laid around.
func As[T any](s Store) (T, bool) {
	for {
		if found, ok := s.(T); ok {
			return found, true
		}
		w, ok := s.(Wrapper)
		if !ok {
			var none T
			return none, false
		}
		s = w.Unwrap()
	}
}
