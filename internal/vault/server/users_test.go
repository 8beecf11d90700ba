package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// hashed is a cheap hash.
func hashed(t *testing.T, password string) string {
	t.Helper()
	text, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestParseUsers holds what a file of users may hold, and which line is named when it does not.
func TestParseUsers(t *testing.T) {
	h := hashed(t, "x")
	good := "# a comment\n\nalice:" + h + "\n bob:" + strings.Replace(h, "$2a$", "$2y$", 1) + ":append-only\r\nroot:" + h + ":admin\nx@y.z-1_+:" + h + ":\n"
	got, err := parseUsers([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]User{}
	for name, e := range got {
		all[name] = e.User
	}
	want := map[string]User{"alice": {Name: "alice"}, "bob": {Name: "bob", AppendOnly: true}, "root": {Name: "root", Admin: true}, "x@y.z-1_+": {Name: "x@y.z-1_+"}}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	for name, line := range map[string]string{
		"no hash": "carol", "empty hash": "carol:", "plain": "carol:secret1", "SHA-1": "carol:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "crypt": "carol:rl.3StKT.4T8M",
		"role": "carol:" + h + ":append", "twice": "alice:" + h, "case": "ALICE:" + h, "dot": ".tls:" + h, "dots": "..:" + h, "empty": ":" + h,
		"slash": "a/b:" + h, "folder": "data:" + h, "folder's case": "Locks:" + h, "config": "config:" + h, "space": "a b:" + h,
		"long": strings.Repeat("a", 65) + ":" + h, "umlaut": "jürgen:" + h, "costly": "carol:" + strings.Replace(h, "$04$", "$31$", 1),
	} {
		_, err := parseUsers([]byte("alice:" + h + "\n" + line + "\n"))
		if !errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v, want invalid in line 2", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), h) || strings.Contains(err.Error(), "secret1")) {
			t.Errorf("%s: the error shows the hash: %v", name, err)
		}
	}
}

// TestCheck holds who is let in, that a changed file counts at once, and that a broken one leaves things as they were.
func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if _, err := OpenUsers(path, nil); !errors.Is(err, failure.Invalid) {
		t.Errorf("without a file: %v, want invalid", err)
	}
	write(t, path, "alice:"+hashed(t, "one")+"\n")
	var said bytes.Buffer
	u, err := OpenUsers(path, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	let := func(step, name, password string, want bool) {
		t.Helper()
		for range 3 { // the first time by the hash, then by the digest
			got, err := u.Check(t.Context(), name, password)
			if (err == nil) != want || want && got.Name != name || !want && !errors.Is(err, failure.Denied) {
				t.Errorf("%s: %s with %q: %v, %v, want %v", step, name, password, got, err, want)
			}
		}
	}
	let("at first", "alice", "one", true)
	let("at first", "alice", "two", false)
	let("at first", "alice", "", false)
	let("at first", "bob", "one", false)
	let("at first", "", "", false)
	let("at first", "alice\x00one", "", false)
	if len(u.right) != 1 {
		t.Errorf("%d digests are known, want 1", len(u.right))
	}
	write(t, path, "alice:"+hashed(t, "three")+":append-only\nbob:"+hashed(t, "b")+"\n")
	let("changed", "alice", "one", false)
	let("changed", "alice", "three", true)
	let("changed", "bob", "b", true)
	if got, err := u.Check(t.Context(), "alice", "three"); err != nil || !got.AppendOnly {
		t.Errorf("the changed role: %+v, %v", got, err)
	}
	write(t, path, "alice:"+hashed(t, "three")+"\nbob:plain\n")
	let("broken", "alice", "three", true)
	let("broken", "bob", "b", true)
	if _, err := u.List(); !errors.Is(err, failure.Invalid) {
		t.Errorf("list of a broken file: %v, want invalid", err)
	}
	os.Remove(path)
	let("gone", "alice", "three", true)
	if n := strings.Count(said.String(), "cannot be used"); n != 2 {
		t.Errorf("the log says %d times that the file cannot be used, want 2:\n%s", n, said.String())
	}
	write(t, path, "bob:"+hashed(t, "b")+"\n")
	let("mended", "alice", "three", false)
	let("mended", "bob", "b", true)
}

// TestEdit holds that adding, changing and removing users touches no other line, and writes nothing that cannot be read.
func TestEdit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := SetUser(path, User{Name: "alice"}, "one"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, "# ours\n"+string(text)+"bob:"+hashed(t, "b")) // without a line break at the end
	for _, step := range []error{
		SetUser(path, User{Name: "carol", Admin: true}, "c"), SetUser(path, User{Name: "alice", AppendOnly: true}, "two"), RemoveUser(path, "bob"),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	u, err := OpenUsers(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := u.List()
	want := []User{{Name: "alice", AppendOnly: true}, {Name: "carol", Admin: true}}
	if diff := cmp.Diff(want, all); diff != "" || err != nil {
		t.Errorf("users: %v (-want +got):\n%s", err, diff)
	}
	for name, password := range map[string]string{"alice": "two", "carol": "c"} {
		if _, err := u.Check(t.Context(), name, password); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	before, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(before), "# ours\nalice:") {
		t.Errorf("the file begins with %q, %v", before, err)
	}
	for name, err := range map[string]error{
		"no name":     SetUser(path, User{}, "x"),
		"bad name":    SetUser(path, User{Name: "../x"}, "x"),
		"line break":  SetUser(path, User{Name: "x\ny"}, "x"),
		"no password": SetUser(path, User{Name: "dave"}, ""),
		"too long":    SetUser(path, User{Name: "dave"}, strings.Repeat("x", 73)),
		"both":        SetUser(path, User{Name: "dave", Admin: true, AppendOnly: true}, "x"),
		"case":        SetUser(path, User{Name: "Alice"}, "x"),
	} {
		if !errors.Is(err, failure.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	if err := RemoveUser(path, "bob"); !errors.Is(err, failure.NotFound) {
		t.Errorf("remove of nobody: %v, want not found", err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("what was refused has changed the file: %q, %v", after, err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}

// TestFlood holds that a flood of wrong passwords is turned away at a bound, while whoever is known goes on.
func TestFlood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	write(t, path, "alice:"+hashed(t, "one")+"\n")
	u, err := OpenUsers(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Check(t.Context(), "alice", "one"); err != nil {
		t.Fatal(err)
	}
	for range checksAtOnce {
		u.slot <- struct{}{} // somebody's checks, which do not end
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range checksWaiting {
		all.Go(func() {
			if _, err := u.Check(ctx, "alice", "wrong"); !errors.Is(err, failure.Canceled) {
				t.Errorf("a check that waits: %v, want canceled", err)
			}
		})
	}
	for len(u.wait) < checksWaiting {
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
	}
	if _, err := u.Check(ctx, "alice", "wrong"); !errors.Is(err, failure.Throttled) {
		t.Errorf("one more: %v, want throttled", err)
	}
	if _, err := u.Check(ctx, "alice", "one"); err != nil {
		t.Errorf("who is known: %v", err)
	}
	cancel()
	all.Wait()
}
