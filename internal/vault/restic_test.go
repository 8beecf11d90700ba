package vault_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
)

const password = "correct horse"

// cheap keeps scrypt out of the tests' time.
var cheap = vault.Options{KDF: crypto.Params{N: 1 << 10, R: 8, P: 1}}

// restic runs the real restic on a repository in dir, and fails the test when it fails.
func restic(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := tryRestic(t, dir, password, args...)
	if err != nil {
		t.Fatalf("restic %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func tryRestic(t *testing.T, dir, password string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("restic"); err != nil {
		t.Fatal("restic judges the vault and is missing: test/servers/install.sh restic")
	}
	cmd := exec.CommandContext(t.Context(), "restic", append([]string{"-r", dir, "--no-cache"}, args...)...)
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+password, "RESTIC_PROGRESS_FPS=0", "TZ=UTC")
	var out, both bytes.Buffer
	cmd.Stdout = &out
	cmd.Stderr = &both
	err := cmd.Run()
	return out.String() + both.String(), err
}

// accepted holds that restic finds nothing wrong: no error, and no pack that nobody lists unless orphans are allowed.
func accepted(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out := restic(t, dir, append([]string{"check"}, args...)...)
	if !strings.Contains(out, "no errors were found") {
		t.Errorf("restic check does not say that all is well:\n%s", out)
	}
	return out
}

// export writes what a store in memory holds in restic's layout.
func export(t *testing.T, s *memory.Store) string {
	t.Helper()
	dir := t.TempDir()
	for _, typ := range blob.Types() {
		if typ != blob.Config {
			if err := os.MkdirAll(filepath.Join(dir, typ.String()), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		err := s.List(t.Context(), typ, func(info blob.Info) error {
			text, err := blob.ReadAll(t.Context(), s, info.Handle)
			if err != nil {
				return err
			}
			path := filepath.Join(dir, filepath.FromSlash(info.Path()))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return err
			}
			return os.WriteFile(path, text, 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load reads a repository of restic's into memory.
func load(t *testing.T, dir string) *memory.Store {
	t.Helper()
	s := memory.New()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		h := blob.Handle{Type: blob.Config}
		if rel != "config" {
			h.Name = filepath.Base(rel)
			for _, typ := range blob.Types() {
				if typ.String() == strings.Split(filepath.ToSlash(rel), "/")[0] {
					h.Type = typ
				}
			}
		}
		return s.Save(t.Context(), h, bytes.NewReader(text))
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// snapshotsOf gives what restic lists.
func snapshotsOf(t *testing.T, dir string) []struct {
	ID       string   `json:"id"`
	Tags     []string `json:"tags"`
	Paths    []string `json:"paths"`
	Hostname string   `json:"hostname"`
} {
	t.Helper()
	var list []struct {
		ID       string   `json:"id"`
		Tags     []string `json:"tags"`
		Paths    []string `json:"paths"`
		Hostname string   `json:"hostname"`
	}
	out := restic(t, dir, "snapshots", "--json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return list
}

// empty makes a repository for restic, with a key that opens fast.
func empty(t *testing.T) string {
	t.Helper()
	_, store := create(t)
	return export(t, store)
}
