//go:build linux

package archiver_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver/archivertest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// errorsOf collects what is reported.
type errorsOf struct {
	base  string
	kinds map[string]failure.Kind
}

func (e *errorsOf) add(path string, err error) error {
	if e.kinds == nil {
		e.kinds = map[string]failure.Kind{}
	}
	e.kinds[strings.TrimPrefix(path, e.base+"/")] = failure.KindOf(err)
	return nil
}

// powerless runs do by somebody who may read only what is everybody's. It must run on the goroutine that calls it.
func powerless(t *testing.T, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		do()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := syscall.Setfsuid(65534); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Setfsuid(0) }()
	do()
}

// TestUnreadable holds that what may not be read is reported and left out, and all else is stored.
func TestUnreadable(t *testing.T) {
	repo, v := newRepo(t)
	src := t.TempDir()
	plant(t, src, "a", "secret", "closed/x", "blind/y", "z")
	for path, mode := range map[string]os.FileMode{src: 0o755, filepath.Dir(src): 0o755, src + "/secret": 0, src + "/closed": 0, src + "/blind": 0o444} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _, _ = os.Chmod(src+"/closed", 0o755), os.Chmod(src+"/blind", 0o755) })
	err := filepath.WalkDir(filepath.Dir(repo), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o777) // what is stored at the end is stored by this goroutine
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := v.NewSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	told := errorsOf{base: src}
	var r *archiver.Result
	powerless(t, func() {
		r, err = archiver.Run(t.Context(), s, archiver.Options{Paths: []string{src}, OnError: told.add, Workers: 1})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]failure.Kind{"secret": failure.Denied, "closed": failure.Denied, "blind/y": failure.Denied}
	if diff := cmp.Diff(want, told.kinds); diff != "" || r.Errors != len(want) {
		t.Errorf("%d errors\n%s", r.Errors, diff)
	}
	got := paths(t, v, *r.Snapshot.Tree)
	for name, there := range map[string]bool{"a": true, "z": true, "blind": true, "secret": false, "closed": false} {
		if slices.Contains(got, src+"/"+name) != there {
			t.Errorf("%s: %v", name, !there)
		}
	}
	restic(t, repo, "", "check", "--read-data")
}

// TestVanish holds that what goes away while the backup comes by is no error.
func TestVanish(t *testing.T) {
	_, v := newRepo(t)
	src := t.TempDir()
	plant(t, src, "a", "b", "z")
	vanished := ""
	r := backup(t, v, archiver.Options{Paths: []string{src}, Workers: 1, Item: func(i archiver.Item) {
		switch i.Path {
		case src + "/a":
			if err := os.Remove(src + "/z"); err != nil {
				t.Error(err)
			}
		case src + "/z":
			vanished += string(i.Action)
		}
	}})
	if vanished != string(archiver.Vanished) || r.Errors != 0 || r.Summary.FilesNew != 2 {
		t.Errorf("%q, %+v", vanished, r)
	}
}

// TestChanging holds that a file that somebody writes to all the time is reported, and stored with the size that it was
// read with.
func TestChanging(t *testing.T) {
	repo, v := newRepo(t)
	src := t.TempDir()
	busy := filepath.Join(src, "busy")
	if err := os.WriteFile(busy, archivertest.Noise(1, 70<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	plant(t, src, "quiet")
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	begun := make(chan struct{})
	writer.Go(func() {
		f, err := os.OpenFile(busy, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Error(err)
		}
		defer func() { _ = f.Close() }()
		for once := sync.OnceFunc(func() { close(begun) }); ctx.Err() == nil; once() {
			if _, err := f.WriteString("x"); err != nil {
				t.Error(err)
			}
		}
	})
	<-begun
	told := errorsOf{base: src}
	r := backup(t, v, archiver.Options{Paths: []string{src}, OnError: told.add})
	stop()
	writer.Wait()
	if diff := cmp.Diff(map[string]failure.Kind{"busy": failure.Conflict}, told.kinds); diff != "" {
		t.Error(diff)
	}
	n, err := v.Find(t.Context(), *r.Snapshot.Tree, busy)
	if err != nil {
		t.Fatal(err)
	}
	sum := uint64(0)
	for _, id := range n.Content {
		size, err := v.BlobSize(t.Context(), object.Handle{Type: object.Data, ID: id})
		if err != nil {
			t.Fatal(err)
		}
		sum += uint64(size)
	}
	if sum != n.Size || n.Size < 70<<20 {
		t.Errorf("the node says %d bytes, its content has %d", n.Size, sum)
	}
	restic(t, repo, "", "check", "--read-data")
}

// TestTypeChanges holds that a file that has become something else meanwhile is reported, and never waited for.
func TestTypeChanges(t *testing.T) {
	_, v := newRepo(t)
	src := t.TempDir()
	plant(t, src, "a", "pipe", "dir/x")
	told := errorsOf{base: src}
	r := backup(t, v, archiver.Options{Paths: []string{src}, Workers: 1, OnError: told.add, Item: func(i archiver.Item) {
		if i.Path == src+"/a" {
			for _, err := range []error{os.Remove(src + "/pipe"), syscall.Mkfifo(src+"/pipe", 0o644)} {
				if err != nil {
					t.Error(err)
				}
			}
		}
	}})
	n, err := v.Find(t.Context(), *r.Snapshot.Tree, src+"/pipe")
	if err != nil || n.Type != tree.Fifo || len(told.kinds) != 0 {
		t.Errorf("%+v, %v, %v", n, err, told.kinds)
	}
}

// TestMissingPaths holds what becomes of paths that are not there.
func TestMissingPaths(t *testing.T) {
	_, v := newRepo(t)
	src := t.TempDir()
	plant(t, src, "a")
	told := errorsOf{base: src}
	r := backup(t, v, archiver.Options{Paths: []string{src + "/a", src + "/none", src + "/a/below"}, OnError: told.add})
	if diff := cmp.Diff(map[string]failure.Kind{"none": failure.NotFound, "a/below": failure.NotFound}, told.kinds); diff != "" || r.Errors != 2 {
		t.Errorf("%d errors\n%s", r.Errors, diff)
	}
	for name, test := range map[string]struct {
		o    archiver.Options
		want failure.Kind
	}{
		"all missing":    {archiver.Options{Paths: []string{src + "/none"}, OnError: told.add}, failure.NotFound},
		"nothing":        {archiver.Options{}, failure.Invalid},
		"an empty path":  {archiver.Options{Paths: []string{""}}, failure.Invalid},
		"a zero byte":    {archiver.Options{Paths: []string{"a\x00b"}}, failure.Invalid},
		"all left out":   {archiver.Options{Paths: []string{src}, ExcludeIfPresent: []string{":x"}}, failure.Invalid},
		"a tag's path":   {archiver.Options{Paths: []string{src}, ExcludeIfPresent: []string{"a/b"}}, failure.Invalid},
		"a bad pattern":  {archiver.Options{Paths: []string{src}, FixedBlocks: []string{"["}}, failure.Invalid},
		"a bad size":     {archiver.Options{Paths: []string{src}, ExcludeLargerThan: -1}, failure.Invalid},
		"OnError's word": {archiver.Options{Paths: []string{src, src + "/none"}, OnError: func(string, error) error { return failure.New(failure.Canceled, "", "", "enough") }}, failure.Canceled},
	} {
		if _, err := tryBackup(t.Context(), v, test.o); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	all, err := v.Snapshots(t.Context(), snapshot.Filter{})
	if err != nil || len(all) != 1 {
		t.Errorf("%d snapshots, %v: what failed made none", len(all), err)
	}
}

// TestBrokenVirtual holds that a source that fails makes no snapshot.
func TestBrokenVirtual(t *testing.T) {
	_, v := newRepo(t)
	broken := io.MultiReader(strings.NewReader("some"), iotest.ErrReader(failure.New(failure.Unavailable, "read", "", "broken pipe")))
	if _, err := tryBackup(t.Context(), v, archiver.Options{Virtual: []archiver.Virtual{{Path: "/dump", Content: broken}}}); !errors.Is(err, failure.Unavailable) {
		t.Errorf("%v", err)
	}
	if all, err := v.Snapshots(t.Context(), snapshot.Filter{}); err != nil || len(all) != 0 {
		t.Errorf("%d snapshots, %v", len(all), err)
	}
}

// TestCommand holds that a program's output is stored when the program succeeds, as restic stores its standard input.
func TestCommand(t *testing.T) {
	repo, v := newRepo(t)
	at := time.Date(2021, 2, 3, 4, 5, 6, 0, time.Local)
	run := func(args ...string) (*archiver.Result, error) {
		c, err := archiver.NewCommand(t.Context(), args, nil)
		if err != nil {
			return nil, err
		}
		defer func() { _ = c.Close() }()
		return tryBackup(t.Context(), v, archiver.Options{Virtual: []archiver.Virtual{{Path: "/a/dump.sql", Content: c}}, Time: at})
	}
	r, err := run("sh", "-c", "printf hello")
	if err != nil {
		t.Fatal(err)
	}
	if out := restic(t, repo, "", "dump", r.Snapshot.ID.String(), "/a/dump.sql"); out != "hello" {
		t.Errorf("%q", out)
	}
	if diff := cmp.Diff([]string{"/a/dump.sql"}, r.Snapshot.Paths); diff != "" {
		t.Error(diff)
	}
	for name, args := range map[string][]string{"exit": {"sh", "-c", "printf half; echo why >&2; exit 3"}, "signal": {"sh", "-c", "printf half; kill -9 $$"}} {
		if _, err := run(args...); !errors.Is(err, failure.Unavailable) || name == "exit" && !strings.Contains(err.Error(), "why") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := run("lifeboat-no-such-program"); !errors.Is(err, failure.NotFound) {
		t.Errorf("%v", err)
	}
	if _, err := run(); !errors.Is(err, failure.Invalid) {
		t.Errorf("%v", err)
	}
	if all, err := v.Snapshots(t.Context(), snapshot.Filter{}); err != nil || len(all) != 1 {
		t.Errorf("%d snapshots, %v: only the first program succeeded", len(all), err)
	}
}

// TestCanceled holds that a backup ends with its context, and makes no snapshot.
func TestCanceled(t *testing.T) {
	_, v := newRepo(t)
	src := t.TempDir()
	archivertest.Small(t, src, 300, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := v.NewSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = archiver.Run(ctx, s, archiver.Options{Paths: []string{src}, Item: func(archiver.Item) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if all, err := v.Snapshots(t.Context(), snapshot.Filter{}); err != nil || len(all) != 0 {
		t.Errorf("%d snapshots, %v", len(all), err)
	}
}
