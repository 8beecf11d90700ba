package vault_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// noise gives n bytes that do not compress, the same for the same seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1}).Read(b)
	return b
}

// prose gives n bytes that compress well and repeat nothing for long.
func prose(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	words := strings.Fields("the vault keeps what the shop needs and gives it back whole when all else is lost at sea")
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%s %d ", words[r.IntN(len(words))], r.IntN(1000))
	}
	return b.Bytes()[:n]
}

func create(t *testing.T) (*vault.Vault, *memory.Store) {
	t.Helper()
	s := memory.New()
	v, err := vault.Init(t.Context(), s, password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	return v, s
}

func begin(t *testing.T, v *vault.Vault) *vault.Session {
	t.Helper()
	s, err := v.NewSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return s
}

var mtime = time.Date(2024, 2, 29, 12, 34, 56, 123456789, time.UTC)

func node(name string, c vault.Content) tree.Node {
	return tree.Node{Name: name, Type: tree.File, Mode: 0o640, ModTime: mtime, AccessTime: mtime, ChangeTime: mtime,
		Size: c.Size, Content: c.Blobs, Links: 1, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
}

func dir(name string, id object.ID) tree.Node {
	return tree.Node{Name: name, Type: tree.Dir, Mode: fs.ModeDir | 0o755, ModTime: mtime, AccessTime: mtime, ChangeTime: mtime,
		Subtree: &id, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
}

// write stores files, all in the root, and commits them.
func write(t *testing.T, s *vault.Session, files map[string][]byte, tags ...string) object.ID {
	t.Helper()
	var root tree.Tree
	for name, data := range files {
		c, err := s.SaveStream(t.Context(), bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if c.Size != uint64(len(data)) {
			t.Errorf("%s: %d bytes are said to be stored, want %d", name, c.Size, len(data))
		}
		root.Nodes = append(root.Nodes, node(name, c))
	}
	return commit(t, s, &root, tags...)
}

func commit(t *testing.T, s *vault.Session, root *tree.Tree, tags ...string) object.ID {
	t.Helper()
	id, err := s.SaveTree(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	sn, err := s.Commit(t.Context(), &snapshot.Snapshot{Tree: &id, Paths: []string{"/"}, Tags: tags})
	if err != nil {
		t.Fatal(err)
	}
	return sn
}

// TestResticAcceptsAndRestores writes by every way of the writer, and has the real restic judge it.
func TestResticAcceptsAndRestores(t *testing.T) {
	v, store := create(t)
	s := begin(t, v)
	want := map[string][]byte{
		"empty": {}, "one": {7}, "text": prose(1, 3<<20), "noise": noise(2, 20<<20), "zeros": make([]byte, 10<<20),
		"latin-\xe9\xff": []byte("a name that is not UTF-8"), "quoted \"\\\n\u2028\U0001f6df": []byte("a name that needs quoting"),
	}
	id := write(t, s, want, "first")
	if again := write(t, s, want, "second"); again == id {
		t.Error("two snapshots have one id")
	}
	stats := s.Stats()
	if stats.Known < 20 || stats.Stored >= stats.Plain {
		t.Errorf("what was written twice was stored twice, or nothing was compressed: %+v", stats)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	repo := export(t, store)
	if out := accepted(t, repo, "--read-data"); strings.Contains(out, "not referenced") || strings.Contains(out, "duplicate") {
		t.Errorf("restic has hints:\n%s", out)
	}
	list := snapshotsOf(t, repo)
	if len(list) != 2 || list[0].ID != id.String() || list[0].Tags[0] != "first" {
		t.Errorf("restic lists %v, want %s first", list, id)
	}
	out := t.TempDir()
	restic(t, repo, "restore", id.String(), "--target", out)
	for name, data := range want {
		got, err := os.ReadFile(filepath.Join(out, name))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%q: %d bytes, %v; want %d", name, len(got), err, len(data))
		}
	}
	info, err := os.Stat(filepath.Join(out, "text"))
	if err != nil || !info.ModTime().Equal(mtime) || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	report, err := v.Check(t.Context(), vault.CheckOptions{ReadData: true})
	if err != nil || len(report.Problems) > 0 || len(report.Hints) > 0 || report.Snapshots != 2 || report.Files != len(want) {
		t.Errorf("%+v, %v", report, err)
	}
}
