package server

import (
	"strings"

	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Bounds of what a path may name.
const (
	maxDepth = 8  // folders above a repository, its own included
	maxName  = 64 // bytes of a folder's name
)

// target is what a request's path names: a repository, the listing of a type in it, or an object.
type target struct {
	repository []string // folders, none for a repository in the server's folder itself
	listing    blob.Type
	object     blob.Handle
}

// parsePath reads /folder/…/ and /folder/…/{config|keys|…}[/name]. Whatever it gives stays below the server's folder:
// a folder's name holds no separator, is neither . nor .. and does not begin with a dot.
func parsePath(path string) (target, bool) {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return target{}, false
	}
	var t target
	for {
		name, after, more := strings.Cut(rest, "/")
		typ := typeOf(name)
		switch {
		case name == "" && !more:
			return t, true
		case typ == blob.Config:
			t.object = blob.Handle{Type: blob.Config}
			return t, !more
		case typ.Valid() && after == "":
			t.listing = typ
			return t, more
		case typ.Valid():
			t.object = blob.Handle{Type: typ, Name: after}
			return t, t.object.Valid()
		case !more || !validName(name) || len(t.repository) == maxDepth:
			return target{}, false
		}
		t.repository, rest = append(t.repository, name), after
	}
}

// typeOf is the type whose folder in a repository is called name.
func typeOf(name string) blob.Type {
	for _, t := range blob.Types() {
		if t.String() == name {
			return t
		}
	}
	return 0
}

// validName reports whether name can be a user and a folder.
func validName(name string) bool {
	if name == "" || len(name) > maxName || name[0] == '.' || typeOf(strings.ToLower(name)).Valid() {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("._-@+", c) >= 0:
		default:
			return false
		}
	}
	return true
}
