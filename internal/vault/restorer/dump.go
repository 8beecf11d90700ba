package restorer

import (
	"context"
	"io"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// Format is how Dump writes a directory.
type Format string

// The formats. The empty one is Tar.
const (
	Tar Format = "tar"
	Zip Format = "zip"
)

// Dump writes what lies at path below the tree root to w: a file's content as it is, a directory as an archive whose
// names begin with path, as restic's dump has them. Path "/" is the whole tree. It gives the bytes that it wrote.
// NotFound: there is nothing at path; Invalid: it is neither a file nor a directory.
func Dump(ctx context.Context, v *vault.Vault, root object.ID, path string, f Format, w io.Writer) (int64, error) {
	return 0, failure.New(failure.Unsupported, "dump", path, "not in this build")
}
