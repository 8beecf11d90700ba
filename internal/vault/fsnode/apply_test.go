package fsnode_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

func target(t *testing.T) (*fsnode.Dir, string) {
	t.Helper()
	path := t.TempDir()
	d, _, err := fsnode.OpenTarget(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d, path
}

// node is what the metadata of tests is.
func node(typ tree.Type) *tree.Node {
	return &tree.Node{Type: typ, Mode: 0o640, UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), ModTime: time.Unix(1_000_000_000, 123),
		AccessTime: time.Unix(999_999_999, 321), Xattrs: []tree.Xattr{{Name: "user.a", Value: []byte("1")}, {Name: "user.null"}}}
}

// read gives what Reader says of name, without what nobody can set.
func read(t *testing.T, d *fsnode.Dir, name string) *tree.Node {
	t.Helper()
	var s fsnode.Stat
	if err := d.Stat(name, &s); err != nil {
		t.Fatal(err)
	}
	r := fsnode.NewReader()
	r.WithAccessTime = true
	n, err := r.Node(d, name, &s)
	if err != nil {
		t.Fatal(err)
	}
	n.Name, n.User, n.Group, n.ChangeTime, n.Inode, n.DeviceID, n.Links, n.Size = "", "", "", time.Time{}, 0, 0, 0, 0
	return n
}

func TestApply(t *testing.T) {
	d, _ := target(t)
	f, err := d.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("content"), 0); err != nil {
		t.Fatal(err)
	}
	a := &fsnode.Applier{}
	want := node(tree.File)
	want.Mode |= fs.ModeSetuid
	if os.Getuid() == 0 {
		want.UID, want.GID = 123, 456
	}
	m := a.Meta(want)
	changed, short, err := a.Apply(f, &m)
	if err != nil || len(short) > 0 || changed&(fsnode.Mode|fsnode.Times|fsnode.Xattrs) != fsnode.Mode|fsnode.Times|fsnode.Xattrs {
		t.Errorf("changed %s, short %v, %v", changed, short, err)
	}
	want.Xattrs[1].Value = []byte{} // null is empty
	if diff := cmp.Diff(want, read(t, d, "f")); diff != "" {
		t.Error(diff)
	}
	look := &fsnode.Applier{DryRun: true}
	if changed, _, err := look.Apply(f, &m); changed != 0 || err != nil {
		t.Errorf("the second time: %s, %v", changed, err)
	}

	// Attributes that the node has not go; those that are not selected stay as they are.
	other := node(tree.File)
	other.UID, other.GID, other.Xattrs = want.UID, want.GID, []tree.Xattr{{Name: "user.b", Value: []byte("2")}}
	some := &fsnode.Applier{Xattr: func(name string) bool { return name != "user.a" }}
	m = some.Meta(other)
	look.Xattr = some.Xattr
	if changed, _, err := look.Apply(f, &m); changed != fsnode.Mode|fsnode.Xattrs || err != nil {
		t.Errorf("a dry run says %q, %v", changed, err)
	}
	if diff := cmp.Diff(want, read(t, d, "f")); diff != "" {
		t.Errorf("a dry run changed something:\n%s", diff)
	}
	if _, _, err := some.Apply(f, &m); err != nil {
		t.Fatal(err)
	}
	other.Xattrs = []tree.Xattr{{Name: "user.a", Value: []byte("1")}, {Name: "user.b", Value: []byte("2")}}
	if diff := cmp.Diff(other, read(t, d, "f")); diff != "" {
		t.Error(diff)
	}
}

// TestApplyEntry sets the metadata of what cannot be opened, and refuses what has been exchanged.
func TestApplyEntry(t *testing.T) {
	d, path := target(t)
	a := &fsnode.Applier{}
	if err := os.WriteFile(filepath.Join(path, "outside"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, typ := range []tree.Type{tree.Symlink, tree.Fifo} {
		if err := d.Make(string(typ), typ, "outside", 0); err != nil {
			t.Fatal(err)
		}
		want := node(typ)
		want.Xattrs = nil
		if typ == tree.Symlink {
			want.LinkTarget, want.Mode = "outside", 0o777|fs.ModeSymlink
		} else {
			want.Mode |= fs.ModeNamedPipe
		}
		m := a.Meta(want)
		if _, _, err := a.ApplyEntry(d, string(typ), &m, nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, read(t, d, string(typ))); diff != "" {
			t.Error(diff)
		}
	}
	if s, err := os.Stat(filepath.Join(path, "outside")); err != nil || s.Mode().Perm() != 0o600 || s.ModTime().Unix() == 1_000_000_000 {
		t.Errorf("what the link leads to was changed: %v %v", s, err)
	}
	m := a.Meta(node(tree.File))
	for what, err := range map[string]error{
		"another type": second(a.ApplyEntry(d, "symlink", &m, nil)),
		"another file": second(a.ApplyEntry(d, "outside", &m, &fsnode.Identity{Inode: 1})),
		"a further name": func() error {
			_ = os.Link(path+"/outside", path+"/again")
			return second(a.ApplyEntry(d, "outside", &m, nil))
		}(),
	} {
		if failure.KindOf(err) != failure.Conflict {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second(_ fsnode.Change, _ []fsnode.Shortfall, err error) error { return err }

// TestNames refuses names that lead out of a directory, whatever they are for.
func TestNames(t *testing.T) {
	d, _ := target(t)
	for _, name := range []string{"", ".", "..", "a/b", "/", "a\x00"} {
		_, mkdir := d.Mkdir(name)
		_, create := d.Create(name)
		_, change := d.Change(name)
		_, _, enter := d.Enter(name)
		for op, err := range map[string]error{"Mkdir": mkdir, "Create": create, "Change": change, "Enter": enter, "Link": d.Link(d, "x", name),
			"Rename": d.Rename("x", name), "Make": d.Make(name, tree.Symlink, "x", 0), "Remove": d.Remove(name, tree.File)} {
			if failure.KindOf(err) != failure.Invalid {
				t.Errorf("%s(%q): %v", op, name, err)
			}
		}
	}
}

// TestLinksAreNotFollowed opens nothing through a symbolic link.
func TestLinksAreNotFollowed(t *testing.T) {
	d, path := target(t)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"dir": outside, "file": filepath.Join(outside, "f"), "nothing": filepath.Join(outside, "new")} {
		if err := os.Symlink(to, filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
		_, mkdir := d.Mkdir(name)
		_, create := d.Create(name)
		_, change := d.Change(name)
		_, _, enter := d.Enter(name)
		for op, err := range map[string]error{"Mkdir": mkdir, "Create": create, "Change": change, "Enter": enter, "Make": d.Make(name, tree.Symlink, "x", 0)} {
			if err == nil {
				t.Errorf("%s(%q) went through", op, name)
			}
		}
		if _, err := os.Lstat(filepath.Join(outside, "new")); err == nil {
			t.Fatal("something was made outside")
		}
	}
}

// TestHoles makes holes and says so.
func TestHoles(t *testing.T) {
	d, path := target(t)
	f, err := d.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Allocate(1 << 20); err != nil {
		t.Fatal(err)
	}
	var s unix.Stat_t
	if err := unix.Stat(filepath.Join(path, "f"), &s); err != nil || s.Size != 1<<20 || s.Blocks*512 < 1<<20 {
		t.Errorf("%d bytes in %d blocks, %v", s.Size, s.Blocks, err)
	}
	if ok, err := f.Punch(0, 1<<20); !ok || err != nil {
		t.Errorf("a hole: %v %v", ok, err)
	}
	if err := unix.Stat(filepath.Join(path, "f"), &s); err != nil || s.Size != 1<<20 || s.Blocks != 0 {
		t.Errorf("%d bytes in %d blocks, %v", s.Size, s.Blocks, err)
	}
}
