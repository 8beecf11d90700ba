package vault_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// allKinds makes a folder with a node of every type that can be made here. Devices need rights that a test may not have.
func allKinds(t *testing.T) string {
	t.Helper()
	top := filepath.Join(t.TempDir(), "src")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put := func(name string, data []byte) string {
		path := filepath.Join(top, name)
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		must(os.WriteFile(path, data, 0o644))
		return path
	}
	put("empty", nil)
	put("text", prose(1, 3<<20))
	put("noise", noise(2, 5<<20))
	put("deep/er/and/deeper/file", []byte("down here"))
	put("name-\xff\xfe", []byte("not UTF-8"))
	put("quote\"back\\slash\nnewline", []byte("to be quoted"))
	odd := put("odd-time", []byte("x"))
	must(os.Chtimes(odd, time.Unix(1, 5), time.Unix(-1000, 999999999)))
	must(os.Chmod(put("setuid", []byte("x")), 0o755|os.ModeSetuid|os.ModeSticky))
	must(os.Link(put("hard", []byte("one file, two names")), filepath.Join(top, "link")))
	must(os.Symlink("nowhere/\xff", filepath.Join(top, "symlink")))
	must(syscall.Mkfifo(filepath.Join(top, "fifo"), 0o600))
	must(os.Mkdir(filepath.Join(top, "empty-dir"), 0o700))
	sparse := put("sparse", nil)
	must(os.Truncate(sparse, 20<<20))
	f, err := os.OpenFile(sparse, os.O_WRONLY, 0)
	must(err)
	_, err = f.WriteAt([]byte("in the middle"), 10<<20)
	must(err)
	must(f.Close())
	attr := put("xattr", []byte("x"))
	must(unix.Setxattr(attr, "user.lifeboat", []byte{0, 1, 0xff}, 0))
	must(unix.Setxattr(attr, "user.empty", nil, 0))
	return top
}

// TestReadsWhatResticWrote lists, reads and verifies a repository of restic's, by each of two passwords.
func TestReadsWhatResticWrote(t *testing.T) {
	src := allKinds(t)
	repo := empty(t) // a config and a key of restic's own are in TestReadsVersion1
	restic(t, repo, "backup", src, "--tag", "one", "--host", "alpha")
	if err := os.WriteFile(filepath.Join(src, "later"), prose(9, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	restic(t, repo, "backup", src, "--tag", "two,both", "--host", "alpha")
	second := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(second, []byte("another one"), 0o600); err != nil {
		t.Fatal(err)
	}
	restic(t, repo, "key", "add", "--new-password-file", second)
	for _, pass := range []string{password, "another one"} {
		v, err := vault.Open(t.Context(), load(t, repo), pass, cheap)
		if err != nil {
			t.Fatal(err)
		}
		if keys, err := v.Keys(t.Context()); err != nil || len(keys) != 2 {
			t.Errorf("keys %v, %v", keys, err)
		}
		report, err := v.Check(t.Context(), vault.CheckOptions{ReadData: true})
		if err != nil || len(report.Problems) > 0 || report.Snapshots != 2 {
			t.Errorf("%+v, %v", report, err)
		}
	}
	v, err := vault.Open(t.Context(), load(t, repo), password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	all, err := v.Snapshots(t.Context(), snapshot.Filter{Hosts: []string{"alpha"}})
	if err != nil || len(all) != 2 || !slices.Equal(all[0].Tags, []string{"one"}) || !slices.Equal(all[1].Tags, []string{"two", "both"}) {
		t.Fatalf("%v, %v", all, err)
	}
	latest, err := v.FindSnapshot(t.Context(), "latest", snapshot.Filter{Tags: [][]string{{"both"}}})
	if err != nil || latest.ID != all[1].ID || latest.Parent == nil || *latest.Parent != all[0].ID {
		t.Errorf("%+v, %v", latest, err)
	}
	if _, err := v.FindSnapshot(t.Context(), all[0].ID.Short(), snapshot.Filter{}); err != nil {
		t.Error(err)
	}
	compare(t, v, *latest.Tree, src)
}

// compare holds that the tree says of the folder what the file system does.
func compare(t *testing.T, v *vault.Vault, root object.ID, src string) {
	t.Helper()
	seen := map[string]bool{}
	err := v.Walk(t.Context(), root, func(path string, n *tree.Node, err error) error {
		if err != nil {
			return err
		}
		if !strings.HasPrefix(path, src+"/") {
			return nil // the folders above
		}
		seen[path] = true
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if n.Mode != info.Mode() || !n.ModTime.Equal(info.ModTime()) || n.UID != st.Uid || n.GID != st.Gid || n.Inode != st.Ino {
			t.Errorf("%q: %v %v %d:%d, want %v %v", path, n.Mode, n.ModTime, n.UID, n.GID, info.Mode(), info.ModTime())
		}
		switch n.Type {
		case tree.Symlink:
			if want, err := os.Readlink(path); err != nil || n.LinkTarget != want && !strings.Contains(n.LinkTarget, "\ufffd") {
				t.Errorf("%q leads to %q, want %q, %v", path, n.LinkTarget, want, err)
			}
		case tree.File:
			if n.Links != uint64(st.Nlink) {
				t.Errorf("%q: %d links, want %d", path, n.Links, st.Nlink)
			}
			want, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			readBack(t, v, n, want)
		}
		if strings.HasSuffix(path, "/xattr") {
			slices.SortFunc(n.Xattrs, func(a, b tree.Xattr) int { return strings.Compare(a.Name, b.Name) })
			if len(n.Xattrs) != 2 || n.Xattrs[1].Name != "user.lifeboat" || !bytes.Equal(n.Xattrs[1].Value, []byte{0, 1, 0xff}) {
				t.Errorf("xattrs %v", n.Xattrs)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(src, func(path string, _ os.DirEntry, err error) error {
		if path != src && !seen[path] {
			t.Errorf("%q is not in the snapshot", path)
		}
		return err
	})
	if err != nil || len(seen) < 15 {
		t.Errorf("%d nodes, %v", len(seen), err)
	}
}

// readBack reads a file whole and in parts.
func readBack(t *testing.T, v *vault.Vault, n *tree.Node, want []byte) {
	t.Helper()
	f, err := v.OpenFile(t.Context(), n.Content)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := f.CopyTo(t.Context(), &got); err != nil || !bytes.Equal(got.Bytes(), want) || f.Size() != int64(len(want)) || n.Size != uint64(len(want)) {
		t.Errorf("%q: %d bytes, %v; want %d", n.Name, got.Len(), err, len(want))
	}
	for _, r := range [][2]int{{0, 1}, {0, 100}, {len(want) / 2, 700_000}, {len(want) - 1, 1}, {len(want) - 10, 100}, {len(want), 5}} {
		off, length := r[0], r[1]
		if off < 0 {
			continue
		}
		p := make([]byte, length)
		got, err := f.ReadAt(t.Context(), p, int64(off))
		rest := want[off:min(off+length, len(want))]
		if (err == nil) != (len(rest) == length) || err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(p[:got], rest) {
			t.Errorf("%q at %d: %d bytes, %v; want %d", n.Name, off, got, err, len(rest))
		}
	}
}

// TestTreesSurviveRewriting holds that each tree of restic's comes out byte by byte when read and written again: no
// field is lost or invented, and directories deduplicate between the two.
func TestTreesSurviveRewriting(t *testing.T) {
	repo := empty(t)
	restic(t, repo, "backup", allKinds(t))
	v, err := vault.Open(t.Context(), load(t, repo), password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	latest, err := v.FindSnapshot(t.Context(), "latest", snapshot.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	trees := []object.ID{*latest.Tree}
	err = v.Walk(t.Context(), *latest.Tree, func(_ string, n *tree.Node, err error) error {
		if err == nil && n.Type == tree.Dir {
			trees = append(trees, *n.Subtree)
		}
		return err
	})
	if err != nil || len(trees) < 7 {
		t.Fatalf("%d trees, %v", len(trees), err)
	}
	for _, id := range trees {
		text, err := v.LoadBlob(t.Context(), object.Handle{Type: object.Tree, ID: id})
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := tree.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decoded.Encode()
		// Versions of restic that do not know linktarget_raw write what is no UTF-8 as this escape.
		text = bytes.ReplaceAll(text, []byte(`\ufffd`), []byte("\ufffd"))
		if err != nil || !bytes.Equal(again, text) {
			t.Errorf("%v\nread    %s\nwritten %s", err, text, again)
		}
	}
}

// TestDeduplicatesAgainstRestic has both tools store the same bytes in one repository, in either order.
func TestDeduplicatesAgainstRestic(t *testing.T) {
	src := t.TempDir()
	data := map[string][]byte{"a": noise(11, 30<<20), "b": prose(12, 6<<20)}
	for name, d := range data {
		if err := os.WriteFile(filepath.Join(src, name), d, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v, store := create(t)
	s := begin(t, v)
	write(t, s, data)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	repo := export(t, store)
	out := restic(t, repo, "backup", "--json", src)
	if !strings.Contains(out, `"data_blobs":0,`) {
		t.Errorf("restic stored data that is there:\n%s", out[max(0, len(out)-600):])
	}
	accepted(t, repo, "--read-data")

	other := empty(t)
	restic(t, other, "backup", src)
	both := load(t, other)
	v, err := vault.Open(t.Context(), both, password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	s = begin(t, v)
	id := write(t, s, data)
	if got := s.Stats(); got.Blobs[object.Data] != 0 || got.Known < 10 {
		t.Errorf("%+v, want no new data", got)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	merged := export(t, both)
	accepted(t, merged, "--read-data")
	if got := restic(t, merged, "dump", id.String(), "/a"); sha256.Sum256([]byte(got)) != sha256.Sum256(data["a"]) {
		t.Error("restic dumps other bytes")
	}
}

// TestReadsVersion1 reads a repository of the older format, and refuses to write to it.
func TestReadsVersion1(t *testing.T) {
	src := allKinds(t)
	repo := filepath.Join(t.TempDir(), "repo")
	restic(t, repo, "init", "--repository-version", "1")
	restic(t, repo, "backup", src)
	v, err := vault.Open(t.Context(), load(t, repo), password, cheap)
	if err != nil || v.Config().Version != 1 {
		t.Fatalf("%v, %v", v, err)
	}
	latest, err := v.FindSnapshot(t.Context(), "latest", snapshot.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, v, *latest.Tree, src)
	if report, err := v.Check(t.Context(), vault.CheckOptions{ReadData: true}); err != nil || len(report.Problems) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if _, err := v.NewSession(t.Context()); !errors.Is(err, failure.Unsupported) || failure.HintOf(err) == "" {
		t.Errorf("writing to version 1: %v", err)
	}
}

// TestFixedAndImages cuts into fixed blocks, reuses what is unchanged without reading it, and reads back at offsets.
func TestFixedAndImages(t *testing.T) {
	v, store := create(t)
	s := begin(t, v)
	const block, segment = 64 << 10, 1 << 20
	data := noise(21, 5*segment+block/2)
	o := vault.ImageOptions{Block: block, Segment: segment, Time: mtime}
	first, err := s.SaveImage(t.Context(), bytes.NewReader(data), int64(len(data)), o)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, &tree.Tree{Nodes: []tree.Node{dir("disk", first)}}, "image")

	changed := slices.Clone(data)
	copy(changed[2*segment+100:], "changed")
	o.Parent = first
	o.Unchanged = []vault.Range{{0, 2 * segment}, {2*segment + block, int64(len(data))}}
	src := &counting{r: bytes.NewReader(changed)}
	second, err := s.SaveImage(t.Context(), src, int64(len(changed)), o)
	if err != nil {
		t.Fatal(err)
	}
	if src.n != block {
		t.Errorf("%d bytes were read, want the one changed block of %d", src.n, block)
	}
	sn := commit(t, s, &tree.Tree{Nodes: []tree.Node{dir("disk", second)}}, "image")

	m, err := v.OpenImage(t.Context(), second)
	if err != nil || m.Size() != int64(len(changed)) {
		t.Fatal(m, err)
	}
	var got bytes.Buffer
	if _, err := m.CopyTo(t.Context(), &got); err != nil || !bytes.Equal(got.Bytes(), changed) {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
	p := make([]byte, 3*segment)
	if n, err := m.ReadAt(t.Context(), p, segment-5); n != len(p) || err != nil || !bytes.Equal(p, changed[segment-5:][:len(p)]) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, err := m.ReadAt(t.Context(), p, int64(len(data))-7); n != 7 || !errors.Is(err, io.EOF) || !bytes.Equal(p[:7], changed[len(data)-7:]) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	repo := export(t, store)
	accepted(t, repo, "--read-data")
	out := t.TempDir()
	restic(t, repo, "restore", sn.String(), "--target", out)
	var restored []byte
	for i := range 6 {
		part, err := os.ReadFile(filepath.Join(out, "disk", fmt.Sprintf("%016x", i*segment), "data"))
		if err != nil {
			t.Fatal(err)
		}
		restored = append(restored, part...)
	}
	if !bytes.Equal(restored, changed) {
		t.Error("restic restores another image")
	}
}

// counting counts what is read.
type counting struct {
	r io.ReaderAt
	n int
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	c.n += len(p)
	return c.r.ReadAt(p, off)
}

// TestUnchangedIsNotTrusted holds that blocks are read when the parent cannot vouch for them.
func TestUnchangedIsNotTrusted(t *testing.T) {
	v, _ := create(t)
	s := begin(t, v)
	data := noise(31, 10<<10)
	whole := []vault.Range{{0, int64(len(data))}}
	base, err := s.SaveFixed(t.Context(), bytes.NewReader(data), int64(len(data)), vault.FixedOptions{Block: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	// Blocks that are cut elsewhere, of which the second has the right size and lies at another place.
	shifted := vault.Content{Size: uint64(len(data))}
	for _, cut := range [][2]int{{0, 5 << 10}, {5 << 10, 9 << 10}, {9 << 10, 10 << 10}} {
		id, err := s.SaveBlob(t.Context(), object.Data, data[cut[0]:cut[1]])
		if err != nil {
			t.Fatal(err)
		}
		shifted.Blobs = append(shifted.Blobs, id)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		o    vault.FixedOptions
		size int
		read int
	}{
		"all unchanged":       {vault.FixedOptions{Block: 4 << 10, Parent: base, Unchanged: whole}, 10 << 10, 0},
		"another block size":  {vault.FixedOptions{Block: 2 << 10, Parent: base, Unchanged: whole}, 10 << 10, 10 << 10},
		"no parent":           {vault.FixedOptions{Block: 4 << 10, Unchanged: whole}, 10 << 10, 10 << 10},
		"blocks not in vault": {vault.FixedOptions{Block: 4 << 10, Parent: vault.Content{Blobs: make([]object.ID, 3)}, Unchanged: whole}, 10 << 10, 10 << 10},
		"shifted":             {vault.FixedOptions{Block: 4 << 10, Parent: shifted, Unchanged: whole}, 10 << 10, 10 << 10},
		"shorter":             {vault.FixedOptions{Block: 4 << 10, Parent: base, Unchanged: whole}, 9 << 10, 1 << 10},
		"half a block":        {vault.FixedOptions{Block: 4 << 10, Parent: base, Unchanged: []vault.Range{{0, 2 << 10}, {4 << 10, 10 << 10}}}, 10 << 10, 4 << 10},
	} {
		src := &counting{r: bytes.NewReader(data)}
		got, err := s.SaveFixed(t.Context(), src, int64(tt.size), tt.o)
		if err != nil || got.Size != uint64(tt.size) {
			t.Errorf("%s: %d bytes, %v", name, got.Size, err)
		}
		if src.n != tt.read {
			t.Errorf("%s: %d bytes read, want %d", name, src.n, tt.read)
		}
		if name == "all unchanged" && !reflect.DeepEqual(got, base) {
			t.Errorf("%s: another content", name)
		}
	}
	if _, err := s.SaveFixed(t.Context(), bytes.NewReader(data), 1<<20, vault.FixedOptions{}); !errors.Is(err, failure.Invalid) {
		t.Errorf("a source that ends early: %v", err)
	}
	if _, err := s.SaveStream(t.Context(), io.MultiReader(bytes.NewReader(data), broken{})); err == nil || !strings.Contains(err.Error(), "cable") {
		t.Errorf("a source that fails: %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the cable is out") }
