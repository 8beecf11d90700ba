package fsnode

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// TestXattrsEitherWay holds that attributes are the same by the new system calls and, on older kernels, through /proc.
func TestXattrsEitherWay(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(path+"/f", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"user.empty": "", "user.long": strings.Repeat("x", 1000), "user.zero": "a\x00b"}
	for i := range 20 {
		want[fmt.Sprintf("user.%d %s", i, strings.Repeat("n", 80))] = "v" // more names than fit at first
	}
	for name, value := range want {
		if err := unix.Lsetxattr(path+"/f", name, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	defer func(was func() bool) { xattrsAt = was }(xattrsAt)
	ways := []bool{false}
	if xattrsAt() {
		ways = append(ways, true)
	}
	for _, at := range ways {
		xattrsAt = func() bool { return at }
		attrs, err := d.xattrs("f")
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, a := range attrs {
			if a.Value == nil {
				t.Errorf("%s has a null value", a.Name)
			}
			got[a.Name] = string(a.Value)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("with the new calls: %v\n%s", at, diff)
		}
		if _, err := d.xattrs("none"); !errors.Is(err, failure.NotFound) {
			t.Errorf("no file: %v", err)
		}
	}
}

// TestLongPaths holds that directories are opened whose paths the system does not take at once.
func TestLongPaths(t *testing.T) {
	path := t.TempDir()
	t.Chdir(path)
	names := make([]string, 30)
	at := unix.AT_FDCWD
	for i := range names {
		names[i] = strings.Repeat(string(rune('a'+i%26)), 200)
		if err := unix.Mkdirat(at, names[i], 0o755); err != nil {
			t.Fatal(err)
		}
		below, err := openAt(at, names[i], openFlags|unix.O_DIRECTORY)
		if err != nil {
			t.Fatal(err)
		}
		closeFD(at)
		at = below
	}
	if err := unix.Symlinkat("where", at, "link"); err != nil {
		t.Fatal(err)
	}
	closeFD(at)
	deep := strings.Join(names, "/")
	for _, p := range []string{path + "/" + deep, deep, "./" + strings.ReplaceAll(deep, "/", "//")} {
		d, err := OpenDir(p)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.readlink("link"); err != nil || got != "where" {
			t.Errorf("%q, %v", got, err)
		}
		d.Close()
	}
	for _, p := range []string{path + "/none/" + deep, deep + "/none"} {
		if _, err := OpenDir(p); !errors.Is(err, failure.NotFound) {
			t.Errorf("%v", err)
		}
	}
}

// TestNamesAreAskedOnce holds that a number's name is looked up once, and that one without a name has none.
func TestNamesAreAskedOnce(t *testing.T) {
	asked := 0
	n := names{look: func(id string) (string, error) {
		if asked++; id == "7" {
			return "seven", nil
		}
		return "x", user.UnknownUserIdError(8)
	}}
	for range 3 {
		if got := n.of(7); got != "seven" {
			t.Errorf("%q", got)
		}
		if got := n.of(8); got != "" {
			t.Errorf("%q", got)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

// TestHoles holds what is said of holes and of what is read.
func TestHoles(t *testing.T) {
	path := t.TempDir()
	const m = 1 << 20
	f, err := os.Create(path + "/f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("data"), 2*m); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(5*m), f.Close()); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got, err := d.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	start, end, err := got.NextData(0)
	if err != nil || start > 2*m || start < m || end <= 2*m || end > 3*m {
		t.Errorf("%d, %d, %v", start, end, err)
	}
	if _, _, err := got.NextData(end); err != io.EOF {
		t.Errorf("behind the last data: %v", err)
	}
	p := make([]byte, 10)
	if n, err := got.ReadAt(p, 2*m); n != 10 || err != nil || string(p) != "data\x00\x00\x00\x00\x00\x00" {
		t.Errorf("%q, %v", p, err)
	}
	if n, err := got.ReadAt(p, 5*m-3); n != 3 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
}

// TestRefused holds what is not opened.
func TestRefused(t *testing.T) {
	path := t.TempDir()
	for _, err := range []error{os.Symlink("/etc", path+"/link"), os.WriteFile(path+"/file", nil, 0o644), unix.Mkfifo(path+"/fifo", 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Dir("link"); err == nil {
		t.Error("a symbolic link was followed to a directory")
	}
	if _, err := d.Dir("file"); !errors.Is(err, failure.NotFound) {
		t.Errorf("a file as a directory: %v", err)
	}
	if _, err := d.Open("link"); !errors.Is(err, failure.Conflict) {
		t.Errorf("a symbolic link as a file: %v", err)
	}
	f, err := d.Open("fifo") // nobody writes to it: this would wait
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var s Stat
	if err := f.Stat(&s); err != nil || s.Type() != tree.Fifo {
		t.Errorf("%v, %v", s.Type(), err)
	}
}

// TestAccessTime holds that it is stored on demand, and is the modification time otherwise.
func TestAccessTime(t *testing.T) {
	path := t.TempDir()
	a, m := time.Unix(1e9, 1), time.Unix(2e9, 2)
	for _, err := range []error{os.WriteFile(path+"/f", nil, 0o644), os.Chtimes(path+"/f", a, m)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, with := range []bool{false, true} {
		r := NewReader()
		r.WithAccessTime = with
		var s Stat
		if err := d.Stat("f", &s); err != nil {
			t.Fatal(err)
		}
		n, err := r.Node(d, "f", &s)
		if err != nil || !n.ModTime.Equal(m) || n.AccessTime.Equal(a) != with || n.AccessTime.Equal(m) == with {
			t.Errorf("%v: %+v, %v", with, n, err)
		}
	}
}
