//go:build linux

package restorer_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
)

// nobody is who restores without rights.
const nobody = 65534

// opened makes a repository readable for everybody.
func opened(t testing.TB, repo string) {
	t.Helper()
	must(t, filepath.WalkDir(repo, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(path, 0o755)
	}))
}

// TestUnprivileged restores as a user who may not give files away, twice, the second time over what is read-only.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("only root can make what others may not restore: run this test as root, as in the container of the tests")
	}
	src := t.TempDir()
	for i, mode := range []fs.FileMode{0o644, 0o400, 0, 0o4755, 0o2755} {
		path := filepath.Join(src, fmt.Sprintf("f%d", i))
		write(t, path, noise(uint64(i), 4000))
		must(t, os.Chown(path, nobody*(i%2), nobody*(i%2)), os.Chmod(path, mode&0o777))
		if mode > 0o777 {
			must(t, unix.Chmod(path, uint32(mode)))
		}
	}
	write(t, filepath.Join(src, "ro", "deep", "f"), []byte("x"))
	must(t, os.Chmod(filepath.Join(src, "ro", "deep"), 0o500), os.Chmod(filepath.Join(src, "ro"), 0o100), os.Symlink("f0", filepath.Join(src, "link")),
		unix.Setxattr(filepath.Join(src, "f0"), "trusted.x", []byte("x"), 0), unix.Setxattr(filepath.Join(src, "f0"), "user.y", []byte("y"), 0))
	repo, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	opened(t, repo)
	parent := t.TempDir()
	must(t, os.Chmod(filepath.Dir(parent), 0o755), os.Chown(parent, nobody, nobody))
	target := filepath.Join(parent, "target")
	for round := range 2 {
		if round == 1 {
			must(t, os.WriteFile(filepath.Join(target, "f1"), []byte("changed"), 0), os.Remove(filepath.Join(target, "ro", "deep", "f")))
		}
		_, wait := start(t, job{Repo: repo, Root: root, Target: target, Verify: true}, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}})
		out, err := wait()
		must(t, err)
		if out.Error != "" || len(out.Problems) > 0 {
			t.Errorf("round %d: %s %v", round, out.Error, out.Problems)
		}
		for _, what := range []string{"owner", "setuid and setgid bits", "extended attribute trusted.x"} {
			if out.Reduced[what] == 0 {
				t.Errorf("round %d: nothing is said of %s: %v", round, what, out.Reduced)
			}
		}
		want := look(t, src)
		for path, e := range want {
			e.Owner = fmt.Sprint(nobody, ":", nobody)
			if path == "/f4" { // setgid; root's
				e.Mode = "-rwxr-xr-x"
			}
			delete(e.Xattrs, "trusted.x")
			want[path] = e
		}
		got := look(t, target)
		sameLook(t, want, got)
	}
}

// TestFull ends at once, and says why, when there is no room; with room the next run goes on.
func TestFull(t *testing.T) {
	src := t.TempDir()
	for i := range 40 {
		write(t, filepath.Join(src, fmt.Sprintf("f%d", i)), noise(uint64(i), 100_000))
	}
	write(t, filepath.Join(src, "large"), noise(100, 3<<20))
	repo, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	target := t.TempDir()
	attr := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		attr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	}
	_, wait := start(t, job{Repo: repo, Root: root, Target: target, Tmpfs: "2m"}, attr)
	out, err := wait()
	must(t, err)
	if !strings.Contains(out.Error, "no space left") || len(out.Problems) == 0 || len(out.Problems) > 20 {
		t.Errorf("a full file system: %q, %d problems", out.Error, len(out.Problems))
	}
}

// TestImmutable restores everything but a file that nobody may change.
func TestImmutable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("only root can make a file immutable: run this test as root, as in the container of the tests")
	}
	src := t.TempDir()
	for _, name := range []string{"a", "fixed", "z"} {
		write(t, filepath.Join(src, name), []byte(name))
	}
	_, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	target := t.TempDir()
	write(t, filepath.Join(target, "fixed"), []byte("other"))
	flags := func(path string, value int) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, value), f.Close())
	}
	must(t, flags(filepath.Join(target, "fixed"), unix.STATX_ATTR_IMMUTABLE))
	defer flags(filepath.Join(target, "fixed"), 0)
	res, err := restorer.Run(t.Context(), v, root, restorer.Options{Target: target})
	if failure.KindOf(err) != failure.Denied || res.Failed != 1 || res.Problems[0].Path != "/fixed" || !strings.Contains(failure.HintOf(res.Problems[0].Err), "immutable") {
		t.Errorf("got %v, %+v", err, res.Problems)
	}
	for name, want := range map[string]string{"a": "a", "z": "z", "fixed": "other"} {
		if text, err := os.ReadFile(filepath.Join(target, name)); string(text) != want {
			t.Errorf("%s: %q %v", name, text, err)
		}
	}
}

// TestForeignFile writes nothing into a file that belongs to somebody else, who may have it open still.
func TestForeignFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("only root meets files of others that it may change: run this test as root, as in the container of the tests")
	}
	src, target := t.TempDir(), t.TempDir()
	secret := noise(1, 1<<20)
	write(t, filepath.Join(src, "secret"), secret)
	must(t, os.Chmod(filepath.Join(src, "secret"), 0o600))
	_, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{FixedBlocks: []string{"secret"}})
	path := filepath.Join(target, "secret")
	was := append(noise(1, 256<<10), noise(2, 768<<10)...) // a part is right already
	write(t, path, was)
	must(t, os.Chown(path, nobody, nobody))
	held, err := os.Open(path)
	must(t, err)
	defer held.Close()
	r := restore(t, v, root, restorer.Options{Target: target})
	same(t, src, target)
	if got, err := io.ReadAll(held); err != nil || !bytes.Equal(got, was) {
		t.Errorf("who had the old file open reads something else: %v", err)
	}
	if r.Fetched != 768<<10 {
		t.Errorf("%d bytes were fetched, of which a part was there", r.Fetched)
	}
}

// TestRunningProgram replaces a program that runs, which keeps the file that it runs from.
func TestRunningProgram(t *testing.T) {
	sleep, err := os.ReadFile("/bin/sleep")
	must(t, err)
	src, target := t.TempDir(), t.TempDir()
	write(t, filepath.Join(src, "program"), append(sleep, noise(1, 100)...))
	_, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	path := filepath.Join(target, "program")
	write(t, path, sleep)
	must(t, os.Chmod(path, 0o755))
	p, err := os.StartProcess(path, []string{path, "600"}, &os.ProcAttr{})
	must(t, err)
	defer func() { _ = p.Kill(); _, _ = p.Wait() }()
	restore(t, v, root, restorer.Options{Target: target})
	same(t, src, target)
	if running, err := os.ReadFile(fmt.Sprintf("/proc/%d/exe", p.Pid)); err != nil || len(running) != len(sleep) {
		t.Errorf("the program runs from %d bytes: %v", len(running), err)
	}
}

// TestMountedInTheWay leaves another file system alone that is mounted where something is to be deleted.
func TestMountedInTheWay(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "a"), []byte("a"))
	_, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	res, err := restorer.Run(t.Context(), v, root, restorer.Options{Target: "/", Delete: true, DryRun: true, Select: func(path string, dir bool) (bool, bool) {
		return path == "/proc", false
	}})
	if failure.KindOf(err) != failure.Denied || res.Failed != 1 || !strings.Contains(err.Error(), "mounted") {
		t.Errorf("got %v", err)
	}
}
