//go:build linux

package mount_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/mount"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

const password = "mounted"

var cheap = vault.Options{KDF: crypto.Params{N: 16, R: 8, P: 1}}

// begin mounts v until the test ends, or until the function that comes back is called.
func begin(t *testing.T, v *vault.Vault, o mount.Options) (dir string, end func() error) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Fatal("mounting is tested for real and takes FUSE: modprobe fuse; in a container --device /dev/fuse --cap-add SYS_ADMIN")
	}
	dir = filepath.Join(t.TempDir(), "mnt")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	o.Ready = func() { close(ready) }
	go func() { ended <- mount.Run(ctx, v, dir, o) }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		t.Fatalf("not mounted: %v", err)
	}
	var once sync.Once
	var err error
	end = func() error {
		once.Do(func() {
			cancel()
			err = <-ended
		})
		return err
	}
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir, end
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 7}).Read(b)
	return b
}

// source makes a folder with everything that a file system can hold.
func source(t *testing.T) string {
	t.Helper()
	top := filepath.Join(t.TempDir(), "src")
	put := func(name string, data []byte) string {
		path := filepath.Join(top, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, data, 0o644))
		return path
	}
	put("empty", nil)
	put("large", noise(1, 21<<20))
	put("deep/er/and/deeper/file", []byte("down here"))
	put("name-\xff\xfe", []byte("not UTF-8"))
	put("quote\"back\\slash\nnewline", []byte("to be quoted"))
	odd := put("odd-time", []byte("x"))
	must(t, os.Chtimes(odd, time.Unix(1, 5), time.Unix(-1000, 999999999)))
	must(t, os.Chmod(put("setuid", []byte("x")), 0o755|os.ModeSetuid|os.ModeSetgid|os.ModeSticky))
	must(t, os.Chmod(put("nobody", []byte("x")), 0))
	must(t, os.Chown(put("owned", []byte("x")), 1234, 5678))
	must(t, os.Link(put("hard", []byte("one file, two names")), filepath.Join(top, "deep/link")))
	must(t, os.Symlink("nowhere/at all", filepath.Join(top, "symlink")))
	must(t, syscall.Mkfifo(filepath.Join(top, "fifo"), 0o600))
	must(t, unix.Mknod(filepath.Join(top, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, unix.Mknod(filepath.Join(top, "loop"), unix.S_IFBLK|0o660, int(unix.Mkdev(7, 250))))
	must(t, os.Mkdir(filepath.Join(top, "empty-dir"), 0o700))
	sparse := put("sparse", nil)
	must(t, os.Truncate(sparse, 40<<20))
	f, err := os.OpenFile(sparse, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("in the middle"), 20<<20)
	must(t, err)
	must(t, f.Close())
	attr := put("xattr", []byte("x"))
	must(t, unix.Setxattr(attr, "user.lifeboat", []byte{0, 1, 0xff}, 0))
	must(t, unix.Setxattr(attr, "user.empty", nil, 0))
	must(t, unix.Setxattr(filepath.Join(top, "deep"), "user.dir", []byte("on a directory"), 0))
	must(t, unix.Setxattr(put("acl", []byte("x")), "system.posix_acl_access", acl, 0))
	for i := range 500 {
		put(fmt.Sprintf("many/%03d", i), []byte(fmt.Sprint("file ", i)))
	}
	return top
}

// acl lets user 1000 read beside the owner.
var acl = []byte{2, 0, 0, 0, 1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 4, 0, 0xe8, 3, 0, 0, 4, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
	0x10, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, 0x20, 0, 4, 0, 0xff, 0xff, 0xff, 0xff}

// resticRepo makes a repository that restic can write to, and a Vault on it.
func resticRepo(t *testing.T) (string, *vault.Vault) {
	t.Helper()
	repo := filepath.Join(t.TempDir(), "repo")
	store, err := file.Open(repo)
	must(t, err)
	v, err := vault.Init(t.Context(), store, password, cheap)
	must(t, err)
	return repo, v
}

func restic(t *testing.T, repo string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("restic"); err != nil {
		t.Fatal("restic makes what is mounted and is missing: test/servers/install.sh restic")
	}
	cmd := exec.CommandContext(t.Context(), "restic", append([]string{"-r", repo, "--no-cache"}, args...)...)
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+password, "RESTIC_PROGRESS_FPS=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("restic %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// compare holds that below two folders everything is the same, but for what no file system can choose.
func compare(t *testing.T, want, got string) {
	t.Helper()
	links := map[uint64][]string{} // names of one file, by inode, in the source
	inodes := map[string]uint64{}  // in the mount
	n := 0
	err := filepath.WalkDir(want, func(path string, d iofs.DirEntry, err error) error {
		must(t, err)
		n++
		rel, err := filepath.Rel(want, path)
		must(t, err)
		there := filepath.Join(got, rel)
		a, err := os.Lstat(path)
		must(t, err)
		b, err := os.Lstat(there)
		if err != nil {
			t.Errorf("%q: %v", rel, err)
			return nil
		}
		x, y := a.Sys().(*syscall.Stat_t), b.Sys().(*syscall.Stat_t)
		if x.Mode != y.Mode || x.Uid != y.Uid || x.Gid != y.Gid || x.Mtim != y.Mtim || !a.IsDir() && (x.Size != y.Size || x.Nlink != y.Nlink) || x.Rdev != y.Rdev {
			t.Errorf("%q: mode %o, owner %d:%d, time %v, size %d, %d links, device %x; want %o, %d:%d, %v, %d, %d, %x", rel,
				y.Mode, y.Uid, y.Gid, y.Mtim, y.Size, y.Nlink, y.Rdev, x.Mode, x.Uid, x.Gid, x.Mtim, x.Size, x.Nlink, x.Rdev)
		}
		inodes[rel] = y.Ino
		if !a.IsDir() && x.Nlink > 1 {
			links[x.Ino] = append(links[x.Ino], rel)
		}
		if a.Mode()&iofs.ModeSymlink != 0 {
			p, _ := os.Readlink(path)
			if q, err := os.Readlink(there); p != q || err != nil {
				t.Errorf("%q leads to %q, want %q, %v", rel, q, p, err)
			}
			return nil
		}
		if a.Mode().IsRegular() {
			if p, q := sum(t, path), sum(t, there); p != q {
				t.Errorf("%q has another content", rel)
			}
		}
		if a.Mode().IsRegular() || a.IsDir() {
			if p, q := attributes(t, path), attributes(t, there); p != q {
				t.Errorf("%q: attributes %q, want %q", rel, q, p)
			}
		}
		return nil
	})
	must(t, err)
	if n < 500 || len(links) == 0 {
		t.Errorf("%d files, %d with several names", n, len(links))
	}
	for _, names := range links {
		for _, name := range names {
			if inodes[name] != inodes[names[0]] {
				t.Errorf("%q and %q are two files", name, names[0])
			}
		}
	}
	seen := map[uint64]string{}
	for name, ino := range inodes {
		if other, there := seen[ino]; there && !slices.ContainsFunc(slices.Collect(values(links)), func(l []string) bool { return slices.Contains(l, name) && slices.Contains(l, other) }) {
			t.Errorf("%q and %q have one inode", name, other)
		}
		seen[ino] = name
	}
	must(t, filepath.WalkDir(got, func(path string, _ iofs.DirEntry, err error) error {
		must(t, err)
		rel, _ := filepath.Rel(got, path)
		if _, there := inodes[rel]; !there {
			t.Errorf("%q is not in the source", rel)
		}
		return nil
	}))
}

func values[K comparable, V any](m map[K]V) func(func(V) bool) {
	return func(yield func(V) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

func sum(t *testing.T, path string) [32]byte {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	must(t, err)
	return [32]byte(h.Sum(nil))
}

func attributes(t *testing.T, path string) string {
	t.Helper()
	b := make([]byte, 1<<16)
	n, err := unix.Listxattr(path, b)
	must(t, err)
	var all []string
	for name := range strings.SplitSeq(strings.TrimRight(string(b[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 1<<16)
		m, err := unix.Getxattr(path, name, value)
		if err != nil {
			t.Errorf("%q %s: %v", path, name, err)
			continue
		}
		all = append(all, fmt.Sprintf("%s=%x", name, value[:m]))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// TestMountedIsTheSource mounts what restic backed up, and compares all of it, in each of the places where it is.
func TestMountedIsTheSource(t *testing.T) {
	src := source(t)
	repo, v := resticRepo(t)
	restic(t, repo, "backup", src, "--host", "alpha", "--tag", "one,a/b")
	dir, end := begin(t, v, mount.Options{})
	var list []struct{ ID, Time string }
	must(t, json.Unmarshal([]byte(restic(t, repo, "snapshots", "--json", "--no-lock")), &list))
	at, err := time.Parse(time.RFC3339Nano, list[0].Time)
	must(t, err)
	stamp := at.Format(time.RFC3339)
	views := []string{"ids/" + list[0].ID[:8], "snapshots/" + stamp, "hosts/alpha/" + stamp, "tags/one/" + stamp, "tags/a_b/" + stamp}
	for i, view := range views {
		if i < 2 {
			compare(t, src, filepath.Join(dir, view, src))
		} else if _, err := os.Lstat(filepath.Join(dir, view, src, "large")); err != nil {
			t.Error(err)
		}
	}
	for _, latest := range []string{"snapshots/latest", "hosts/alpha/latest", "tags/one/latest"} {
		if to, err := os.Readlink(filepath.Join(dir, latest)); err != nil || to != stamp {
			t.Errorf("%s leads to %q, %v", latest, to, err)
		}
		if _, err := os.Stat(filepath.Join(dir, latest, src, "empty")); err != nil {
			t.Error(err)
		}
	}
	for path, do := range map[string]func(string) error{
		"new":    func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"empty":  func(p string) error { return os.WriteFile(p, []byte("x"), 0o600) },
		"large":  func(p string) error { return os.Truncate(p, 0) },
		"setuid": os.Remove,
	} {
		if err := do(filepath.Join(dir, views[0], src, path)); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, views[0], src, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	diff := exec.CommandContext(t.Context(), "diff", "-rq", "--no-dereference", "--exclude=fifo", "--exclude=null", "--exclude=loop", src, filepath.Join(dir, views[1], src))
	if out, err := diff.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// restic waits for nobody but those who take things away.
	if out := restic(t, repo, "list", "locks"); len(strings.Fields(out)) == 0 {
		t.Error("no lock is held while mounted")
	}
	must(t, end())
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("after unmounting: %v, %v", list, err)
	}
	if out := restic(t, repo, "list", "locks", "--no-lock"); len(strings.Fields(out)) != 0 {
		t.Errorf("a lock is left: %s", out)
	}
}

// TestNewSnapshotsAppear adds one while mounted; "latest" leads to it, and what it needs is read.
func TestNewSnapshotsAppear(t *testing.T) {
	store := memory.New()
	v, err := vault.Init(t.Context(), store, password, cheap)
	must(t, err)
	when := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	save := func(v *vault.Vault, data string) {
		s, err := v.NewSession(t.Context())
		must(t, err)
		c, err := s.SaveStream(t.Context(), strings.NewReader(data))
		must(t, err)
		id, err := s.SaveTree(t.Context(), &tree.Tree{Nodes: []tree.Node{{Name: "f", Type: tree.File, Mode: 0o600, Links: 1, Size: c.Size, Content: c.Blobs}}})
		must(t, err)
		_, err = s.Commit(t.Context(), &snapshot.Snapshot{Tree: &id, Time: when, Hostname: "h"})
		must(t, err)
		must(t, s.Close(t.Context()))
	}
	save(v, "first")
	// The clock of the mount runs a minute with each look at it.
	var clock atomic.Int64
	dir, _ := begin(t, v, mount.Options{Now: func() time.Time { return time.Unix(clock.Add(60), 0) }, TimeFormat: "2006-01-02"})
	read := func(want string) {
		t.Helper()
		deadline := time.Now().Add(4 * time.Minute)
		for {
			got, err := os.ReadFile(filepath.Join(dir, "hosts/h/latest/f"))
			if err == nil && string(got) == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%q, %v; want %q", got, err, want)
			}
		}
	}
	read("first")
	other, err := vault.Open(t.Context(), store, password, cheap)
	must(t, err)
	save(other, "second")
	when = when.Add(48 * time.Hour)
	save(other, "third")
	read("third")
	// Two of one day have names of their own.
	if got, err := os.ReadFile(filepath.Join(dir, "hosts/h/2030-01-02-1/f")); err != nil || !slices.Contains([]string{"first", "second"}, string(got)) {
		t.Errorf("%q, %v", got, err)
	}
	list, err := os.ReadDir(filepath.Join(dir, "ids"))
	if err != nil || len(list) != 3 {
		t.Errorf("%v, %v", list, err)
	}
}

// TestDamageIsAnError holds that what is damaged ends in an error, never in wrong bytes, and the rest is read.
func TestDamageIsAnError(t *testing.T) {
	store := memory.New()
	v, err := vault.Init(t.Context(), store, password, vault.Options{KDF: cheap.KDF, PackSize: 1 << 20})
	must(t, err)
	s, err := v.NewSession(t.Context())
	must(t, err)
	var root tree.Tree
	files := map[string][]byte{"a": noise(5, 3<<20), "b": noise(6, 3<<20)}
	for name, data := range files {
		c, err := s.SaveFixed(t.Context(), bytes.NewReader(data), int64(len(data)), vault.FixedOptions{})
		must(t, err)
		must(t, s.Flush(t.Context()))
		root.Nodes = append(root.Nodes, tree.Node{Name: name, Type: tree.File, Mode: 0o600, Links: 1, Size: c.Size, Content: c.Blobs})
	}
	id, err := s.SaveTree(t.Context(), &root)
	must(t, err)
	_, err = s.Commit(t.Context(), &snapshot.Snapshot{Tree: &id, Hostname: "h"})
	must(t, err)
	must(t, s.Close(t.Context()))
	packs, err := v.PackedIn(t.Context(), object.Handle{Type: object.Data, ID: root.Nodes[0].Content[0]})
	must(t, err)
	store.Corrupt(blob.Handle{Type: blob.Pack, Name: packs[0].String()}, func(b []byte) []byte {
		for i := 0; i < len(b); i += 1000 {
			b[i] ^= 1
		}
		return b
	})
	dir, _ := begin(t, v, mount.Options{})
	top := filepath.Join(dir, "hosts/h/latest")
	if got, err := os.ReadFile(filepath.Join(top, root.Nodes[0].Name)); !errors.Is(err, syscall.EIO) {
		t.Errorf("%d bytes of a damaged file, %v", len(got), err)
	}
	if got, err := os.ReadFile(filepath.Join(top, root.Nodes[1].Name)); err != nil || !bytes.Equal(got, files[root.Nodes[1].Name]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestUnmountInUse ends a mount while a file is open.
func TestUnmountInUse(t *testing.T) {
	store, _, _ := huge(t)
	v, err := vault.Open(t.Context(), store, password, cheap)
	must(t, err)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- mount.Run(ctx, v, dir, mount.Options{Ready: func() { close(ready) }}) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "hosts/h/latest/one"))
	must(t, err)
	cancel()
	if err := <-ended; !errors.Is(err, failure.Conflict) {
		t.Errorf("%v", err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("it is still mounted: %v, %v", list, err)
	}
	must(t, f.Close())
	if locks, err := v.Locks(t.Context()); err != nil || len(locks) > 0 {
		t.Errorf("%v, %v", locks, err)
	}
}

// TestRefused holds that what cannot be mounted on is refused with words that help.
func TestRefused(t *testing.T) {
	v, err := vault.Init(t.Context(), memory.New(), password, cheap)
	must(t, err)
	full := t.TempDir()
	must(t, os.WriteFile(filepath.Join(full, "x"), nil, 0o600))
	for dir, o := range map[string]mount.Options{
		full:                          {},
		filepath.Join(full, "x"):      {},
		filepath.Join(full, "nobody"): {},
		t.TempDir():                   {Paths: []string{"%"}, TimeFormat: "/"},
		t.TempDir() + "/":             {Paths: []string{"../%i"}},
	} {
		if err := mount.Run(t.Context(), v, dir, o); !errors.Is(err, failure.Invalid) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	_, lock, err := v.Lock(t.Context(), true)
	must(t, err)
	if err := mount.Run(t.Context(), v, t.TempDir(), mount.Options{}); !errors.Is(err, failure.Conflict) {
		t.Errorf("of a vault that is locked: %v", err)
	}
	must(t, lock.Release(t.Context()))
}
