//go:build linux

package restorer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

const password = "correct horse"

// cheap keeps scrypt out of the tests' time.
var cheap = vault.Options{KDF: crypto.Params{N: 1 << 10, R: 8, P: 1}}

// newRepo makes a repository in a folder.
func newRepo(t testing.TB) (string, *vault.Vault) {
	t.Helper()
	repo := filepath.Join(t.TempDir(), "repo")
	store, err := file.Open(repo)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Init(t.Context(), store, password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	return repo, v
}

// open opens a repository again, with the store wrapped.
func open(t testing.TB, repo string, wrap func(blob.Store) blob.Store) *vault.Vault {
	t.Helper()
	store, err := file.Open(repo)
	if err != nil {
		t.Fatal(err)
	}
	var s blob.Store = store
	if wrap != nil {
		s = wrap(s)
	}
	v, err := vault.Open(t.Context(), s, password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// backup stores dir and gives the tree of what is in it.
func backup(t testing.TB, v *vault.Vault, dir string, o archiver.Options) object.ID {
	t.Helper()
	s, err := v.NewSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.WithoutCancel(t.Context()))
	o.Paths = []string{dir}
	o.OnError = func(path string, err error) error { t.Errorf("%q: %v", path, err); return nil }
	r, err := archiver.Run(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return below(t, v, *r.Snapshot.Tree, dir)
}

// below gives the tree at a path.
func below(t testing.TB, v *vault.Vault, root object.ID, path string) object.ID {
	t.Helper()
	n, err := v.Find(t.Context(), root, path)
	if err != nil {
		t.Fatal(err)
	}
	return *n.Subtree
}

// latest gives the tree of dir in the latest snapshot.
func latest(t testing.TB, v *vault.Vault, dir string) object.ID {
	t.Helper()
	return below(t, v, latestRoot(t, v), dir)
}

// latestRoot gives the tree of the latest snapshot.
func latestRoot(t testing.TB, v *vault.Vault) object.ID {
	t.Helper()
	sn, err := v.FindSnapshot(t.Context(), "latest", snapshot.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return *sn.Tree
}

// restic runs the real restic, and fails the test when it fails.
func restic(t testing.TB, repo string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("restic"); err != nil {
		t.Fatal("restic judges the vault and is missing: test/servers/install.sh restic")
	}
	cmd := exec.CommandContext(t.Context(), "restic", append([]string{"-r", repo, "--no-cache"}, args...)...)
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+password, "RESTIC_PROGRESS_FPS=0", "TZ=UTC")
	var out, both bytes.Buffer
	cmd.Stdout = &out
	cmd.Stderr = &both
	if err := cmd.Run(); err != nil {
		t.Fatalf("restic %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), both.String())
	}
	return out.String()
}

// restore runs a restore that must succeed.
func restore(t testing.TB, v *vault.Vault, root object.ID, o restorer.Options) *restorer.Result {
	t.Helper()
	o.OnError = func(path string, err error) error { t.Errorf("%q: %v", path, err); return nil }
	r, err := restorer.Run(t.Context(), v, root, o)
	if err != nil {
		t.Fatalf("restore: %v", err)
	}
	return r
}

// entry is all that can be seen of a file from outside.
type entry struct {
	Type     tree.Type
	Mode     string
	Owner    string
	ModTime  string
	Size     uint64
	Content  string
	Target   string
	Device   uint64
	Xattrs   map[string]string
	SameFile []string // all paths of the file, when it has several
}

// look reads everything below dir. Sockets are passed over.
func look(t testing.TB, dir string) map[string]entry {
	t.Helper()
	d, err := fsnode.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	all := map[string]entry{}
	names := map[fsnode.Identity][]string{}
	ids := map[string]fsnode.Identity{}
	lookIn(t, fsnode.NewReader(), d, "", func(path string, id fsnode.Identity, e entry) {
		all[path] = e
		if e.Type != tree.Dir {
			names[id], ids[path] = append(names[id], path), id
		}
	})
	for path, id := range ids {
		if same := names[id]; len(same) > 1 {
			slices.Sort(same)
			e := all[path]
			e.SameFile = same
			all[path] = e
		}
	}
	return all
}

func lookIn(t testing.TB, r *fsnode.Reader, d *fsnode.Dir, at string, add func(string, fsnode.Identity, entry)) {
	t.Helper()
	names, err := d.Names()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		var s fsnode.Stat
		if err := d.Stat(name, &s); err != nil {
			t.Fatal(err)
		}
		n, err := r.Node(d, name, &s)
		if err != nil {
			t.Fatal(err)
		}
		if n.Type == tree.Socket {
			continue
		}
		e := entry{Type: n.Type, Mode: n.Mode.String(), Owner: fmt.Sprint(n.UID, ":", n.GID), Size: n.Size, Target: n.LinkTarget,
			Device: n.Device, ModTime: n.ModTime.UTC().Format("2006-01-02T15:04:05.000000000")}
		for _, x := range n.Xattrs {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[x.Name] = hex.EncodeToString(x.Value)
		}
		path := at + "/" + name
		switch n.Type {
		case tree.File:
			e.Content = contentOf(t, d, name)
		case tree.Dir:
			sub, err := d.Dir(name)
			if err != nil {
				t.Fatal(err)
			}
			lookIn(t, r, sub, path, add)
			sub.Close()
		}
		add(path, s.Identity(), e)
	}
}

func contentOf(t testing.TB, d *fsnode.Dir, name string) string {
	t.Helper()
	f, err := d.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<62)); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// same fails the test when two directories differ.
func same(t testing.TB, want, got string) {
	t.Helper()
	sameLook(t, look(t, want), look(t, got))
}

func sameLook(t testing.TB, want, got map[string]entry) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		if len(diff) > 4000 {
			diff = diff[:4000] + "…"
		}
		t.Errorf("not as it should be (-want +got):\n%s", diff)
	}
}

// write makes a file with those above it.
func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// must fails the test on any error.
func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}
