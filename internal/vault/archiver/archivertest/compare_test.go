//go:build linux

package archivertest_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver/archivertest"
)

// TestCorpusIsItself holds that the same options make the same, and that everything is there.
func TestCorpusIsItself(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	o := archivertest.Options{Deep: true, Sockets: true, Modern: true}
	archivertest.Corpus(t, a, o)
	archivertest.Corpus(t, b, o)
	// Times that nobody set differ.
	x, y := archivertest.Read(t, a), archivertest.Read(t, b)
	for path, e := range y {
		e.MTime = x[path].MTime
		y[path] = e
	}
	if err := archivertest.Diff(x, y, nil); err != nil {
		t.Error(err)
	}
	if len(x) < 300 {
		t.Errorf("the corpus has only %d entries", len(x))
	}
}

// TestCompareSees holds that each difference is seen.
func TestCompareSees(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"content":   func(d string) error { return rewrite(d+"/file", "other") },
		"size":      func(d string) error { return rewrite(d+"/file", "text and more") },
		"mode":      func(d string) error { return os.Chmod(d+"/file", 0o600) },
		"setuid":    func(d string) error { return os.Chmod(d+"/file", 0o644|os.ModeSetuid) },
		"time":      func(d string) error { return os.Chtimes(d+"/file", time.Time{}, at.Add(time.Nanosecond)) },
		"dir time":  func(d string) error { return os.Chtimes(d+"/dir", time.Time{}, at.Add(time.Nanosecond)) },
		"root time": func(d string) error { return os.Chtimes(d, time.Time{}, at.Add(time.Nanosecond)) },
		"xattr":     func(d string) error { return unix.Setxattr(d+"/file", "user.new", []byte("x"), 0) },
		"no xattr":  func(d string) error { return unix.Removexattr(d+"/file", "user.old") },
		"missing":   func(d string) error { return remove(d, "file") },
		"more":      func(d string) error { return rewrite(d+"/new", "text") },
		"target":    func(d string) error { _ = os.Remove(d + "/link"); return os.Symlink("other", d+"/link") },
		"type":      func(d string) error { _ = os.Remove(d + "/link"); return os.Mkdir(d+"/link", 0o777) },
		"hard link": func(d string) error { _ = os.Remove(d + "/two"); return rewrite(d+"/two", "text") },
		"no hole":   func(d string) error { return rewrite(d+"/sparse", string(make([]byte, 1<<20))) },
	} {
		a, b := made(t), made(t)
		if err := archivertest.Diff(archivertest.Read(t, a), archivertest.Read(t, b), nil); err != nil {
			t.Fatal(err)
		}
		if err := spoil(b); err != nil {
			t.Fatal(err)
		}
		// The change itself touches the directory.
		if name != "root time" {
			settle(t, b)
		}
		if err := archivertest.Diff(archivertest.Read(t, a), archivertest.Read(t, b), nil); err == nil {
			t.Errorf("%s: nobody sees it", name)
		}
	}
}

var at = time.Unix(1e9, 5)

func made(t *testing.T) string {
	d := t.TempDir()
	for _, err := range []error{
		os.WriteFile(d+"/file", []byte("text"), 0o644), os.Chtimes(d+"/file", at, at), unix.Setxattr(d+"/file", "user.old", nil, 0),
		os.Mkdir(d+"/dir", 0o755), os.Chtimes(d+"/dir", at, at), os.Symlink("there", d+"/link"),
		os.WriteFile(d+"/one", []byte("text"), 0o644), os.Link(d+"/one", d+"/two"), os.Chtimes(d+"/one", at, at),
		os.WriteFile(d+"/sparse", nil, 0o644), os.Truncate(d+"/sparse", 1<<20), os.Chtimes(d+"/sparse", at, at),
		unix.Lutimes(d+"/link", []unix.Timeval{{Sec: 1}, {Sec: 1}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	settle(t, d)
	return d
}

func settle(t *testing.T, d string) {
	if err := os.Chtimes(d, at, at); err != nil {
		t.Fatal(err)
	}
}

// rewrite keeps the time.
func rewrite(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Chtimes(path, at, at)
}

func remove(d, name string) error { return os.Remove(filepath.Join(d, name)) }
