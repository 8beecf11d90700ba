//go:build linux

package archiver

import (
	"os"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver/archivertest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/filter"
)

// TestScanFindsWhatIsBackedUp holds that the scan beside a backup counts what the backup stores.
func TestScanFindsWhatIsBackedUp(t *testing.T) {
	v, err := vault.Init(t.Context(), memory.New(), "x", vault.Options{KDF: crypto.Params{N: 1 << 10, R: 8, P: 1}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := v.NewRehearsal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.Mkdir("corpus", 0o755); err != nil {
		t.Fatal(err)
	}
	archivertest.Corpus(t, "corpus", archivertest.Options{Deep: true, Sockets: true})
	for _, o := range []Options{
		{Paths: []string{"corpus"}},
		{Paths: []string{"."}, Exclude: filter.Rules{Patterns: []string{"*noise"}}},
		{Paths: []string{"corpus/names", "corpus", "corpus/sizes/text"}, ExcludeLargerThan: 1 << 20, ExcludeIfPresent: []string{"plain"}},
		{Paths: []string{"corpus"}, OneFileSystem: true, ExcludeCaches: true},
	} {
		done, err := Run(t.Context(), s, o)
		if err != nil {
			t.Fatal(err)
		}
		r, err := newRun(s, o)
		if err != nil {
			t.Fatal(err)
		}
		top, err := r.plan()
		if err != nil {
			t.Fatal(err)
		}
		var found scan
		r.scan(t.Context(), top, &found)
		if found.files.Load() != done.Summary.FilesNew || found.bytes.Load() != done.Summary.TotalBytesProcessed || !found.whole.Load() {
			t.Errorf("%q: %d files and %d bytes were found, %d and %d stored", o.Paths, found.files.Load(), found.bytes.Load(), done.Summary.FilesNew, done.Summary.TotalBytesProcessed)
		}
	}
}
