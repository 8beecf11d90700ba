//go:build linux

package restorer_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// noise is n bytes that do not compress, the same for the same seed.
func noise(seed uint64, n int) []byte {
	out := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	r.Read(out)
	return out
}

// corpus makes a directory with everything a file system can hold that a restore must bring back.
func corpus(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "corpus")
	must(t, os.Mkdir(dir, 0o755))
	in := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	write(t, in("empty"), nil)
	write(t, in("small"), []byte("hello\n"))
	write(t, in("large"), noise(1, 9<<20))
	write(t, in("copy of large"), noise(1, 9<<20))
	for i := range 200 {
		write(t, in("many", fmt.Sprintf("d%d", i%7), fmt.Sprintf("f%d", i)), noise(uint64(i+10), 10+i*37))
	}
	for _, name := range []string{"latin1-\xe9\xff", "nfc-\u00e9", "nfd-e\u0301", "new\nline", "back\\slash", "quote\"", " space ", "\x01\x7f",
		"日本語", "🚢", strings.Repeat("x", 255), "-rf", "~", "*", "\xf0\x28\x8c\x28"} {
		write(t, in("names", name), []byte(name))
		must(t, os.Symlink(name, in("names", "to-"+fmt.Sprintf("%x", name)[:min(40, 2*len(name))])))
	}
	deep := in("deep")
	for range 60 {
		deep = filepath.Join(deep, strings.Repeat("d", 40))
	}
	must(t, os.MkdirAll(filepath.Join(dir, "deep"), 0o755))
	must(t, makeDeep(in("deep"), 60, strings.Repeat("d", 40)))
	sparse(t, in("sparse"))
	must(t, os.Link(in("small"), in("many", "small too")), os.Link(in("small"), in("small three")), os.Link(in("empty"), in("empty two")))
	must(t, os.Symlink("small", in("link")), os.Symlink("/nowhere/at all", in("dangling")), os.Symlink(strings.Repeat("t/", 500), in("long target")))
	must(t, unix.Mkfifo(in("fifo"), 0o640))
	if os.Geteuid() == 0 {
		must(t, unix.Mknod(in("char"), unix.S_IFCHR|0o620, int(unix.Mkdev(1, 3))), unix.Mknod(in("block"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 300))))
		must(t, unix.Lchown(in("link"), 12, 34), unix.Chown(in("fifo"), 77, 88), unix.Chown(in("many", "d1"), 1001, 1002), unix.Chown(in("large"), 4_000_000_000, 3))
		must(t, unix.Setxattr(in("small"), "trusted.lifeboat", []byte{0, 1, 2, 255}, 0), unix.Lsetxattr(in("dangling"), "trusted.onlink", []byte("x"), 0))
		must(t, unix.Chown(in("many", "d2", "f2"), 5, 6), unix.Chmod(in("many", "d2", "f2"), 0o6755))
	}
	must(t, unix.Setxattr(in("large"), "user.text", []byte("value"), 0), unix.Setxattr(in("many"), "user.empty", nil, 0),
		unix.Setxattr(in("many"), "user.big", noise(9, 2000), 0))
	acl(t, "-m", "u:1234:rw,g:99:r,m::rwx", in("small"))
	acl(t, "-m", "u:1234:rx", in("many"))
	acl(t, "-d", "-m", "u:4321:rwx,g::---", in("many"))
	must(t, os.Chmod(in("many", "d3"), 0o1777), os.Chmod(in("many", "d4"), 0o500), os.Chmod(in("empty"), 0), os.Chmod(in("copy of large"), 0o4511))
	must(t, os.Mkdir(in("empty dir"), 0o2750))
	listen(t, in("socket"))
	times(t, dir)
	return dir
}

// makeDeep makes directories in each other, deeper than a path can be.
func makeDeep(dir string, levels int, name string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	for range levels {
		if err == nil {
			err = unix.Mkdirat(fd, name, 0o755)
		}
		if err == nil {
			var next int
			next, err = unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
			unix.Close(fd)
			fd = next
		}
	}
	if err == nil {
		var f int
		if f, err = unix.Openat(fd, "bottom", unix.O_CREAT|unix.O_WRONLY, 0o600); err == nil {
			_, err = unix.Write(f, []byte("deep down"))
			unix.Close(f)
		}
	}
	unix.Close(fd)
	return err
}

// sparse makes a file that is mostly holes, with data that lies across what cutting makes of it.
func sparse(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for _, off := range []int64{0, 3 << 20, 11<<20 + 123} {
		_, err := f.WriteAt(noise(uint64(off), 5000), off)
		must(t, err)
	}
	must(t, f.Truncate(16<<20))
}

func acl(t testing.TB, args ...string) {
	t.Helper()
	out, err := exec.Command("setfacl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("setfacl, which the package acl brings: %v\n%s", err, out)
	}
}

func listen(t testing.TB, path string) {
	t.Helper()
	if len(path) > 100 { // a socket's address is no longer
		return
	}
	l, err := net.Listen("unix", path)
	must(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	must(t, l.Close())
}

// times gives everything odd times.
func times(t testing.TB, dir string) {
	t.Helper()
	odd := []time.Time{time.Unix(0, 0), time.Unix(0, 1), time.Unix(-1, 999_999_999), time.Date(1925, 3, 4, 5, 6, 7, 89, time.UTC),
		time.Date(2040, 1, 1, 0, 0, 0, 123_456_789, time.UTC), time.Date(2106, 2, 7, 6, 28, 16, 0, time.UTC), time.Date(2400, 5, 5, 5, 5, 5, 5, time.UTC)}
	n := 0
	set := func(path string) {
		ts := unix.Timespec{Sec: odd[n%len(odd)].Unix(), Nsec: int64(odd[n%len(odd)].Nanosecond())}
		n++
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	many, err := os.ReadDir(filepath.Join(dir, "many", "d1"))
	must(t, err)
	for _, e := range many {
		set(filepath.Join(dir, "many", "d1", e.Name()))
	}
	for _, e := range entries {
		set(filepath.Join(dir, e.Name()))
	}
}

func TestResticWrites(t *testing.T) {
	dir := corpus(t)
	repo, v := newRepo(t)
	restic(t, repo, "backup", dir)
	want := asRestic(look(t, dir))
	root := latest(t, v, dir)
	for name, o := range map[string]restorer.Options{"plain": {}, "sparse": {Sparse: true}, "verify": {Verify: true, Sync: true}, "if-newer": {Overwrite: restorer.IfNewer}} {
		t.Run(name, func(t *testing.T) {
			o.Target = filepath.Join(t.TempDir(), "new", "target")
			r := restore(t, v, root, o)
			sameLook(t, want, look(t, o.Target))
			if o.Verify && (r.Verified != r.Files || r.Files < 200) {
				t.Errorf("verified %d of %d files", r.Verified, r.Files)
			}
			again := restore(t, v, root, o)
			sameLook(t, want, look(t, o.Target))
			if again.Fetched != 0 || again.Written != 0 || again.Entries[restorer.Created] != 0 || again.Entries[restorer.Metadata] != 0 {
				t.Errorf("the second time something is done: %+v", again)
			}
		})
	}
}

// asRestic takes away what restic 0.14 does not store: extended attributes of symbolic links, and bytes of their targets
// that are no UTF-8.
func asRestic(all map[string]entry) map[string]entry {
	for path, e := range all {
		if e.Type == tree.Symlink {
			e.Target, e.Xattrs = string([]rune(e.Target)), nil
			all[path] = e
		}
	}
	return all
}

func TestWeWrite(t *testing.T) {
	dir := corpus(t)
	_, v := newRepo(t)
	root := backup(t, v, dir, archiver.Options{})
	target := t.TempDir()
	restore(t, v, root, restorer.Options{Target: target, Verify: true})
	same(t, dir, target)
}
