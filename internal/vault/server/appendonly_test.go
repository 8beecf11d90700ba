package server_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/server"
)

// contents are the files below a folder, by their path.
func contents(tb testing.TB, folder string) map[string]string {
	tb.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel(folder, path)
		all[rel] = string(text)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// methods are all that a client may think of.
var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "MOVE", "COPY", "PROPFIND", "MKCOL", "LINK", "PURGE"}

// TestAppendOnly sends, with the credentials of the protected host, every method to every object, listing and folder, with
// every body that could replace or empty something: nothing that is there changes or goes, but locks.
func TestAppendOnly(t *testing.T) {
	for name, o := range map[string]server.Options{
		"server":       {AppendOnly: true, Users: users(t, "alice", "root:admin")},
		"user":         {Users: users(t, "alice:append-only", "root:admin")},
		"without user": {AppendOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, o)
			user := "alice"
			if o.Users == nil {
				user = ""
			}
			store := s.store(t, user, "alice")
			if err := store.Create(t.Context()); err != nil {
				t.Fatal(err)
			}
			var objects []blobtest.Object
			for _, typ := range blob.Types() {
				for i, size := range []int{300, 0} {
					if typ == blob.Config && i > 0 {
						continue
					}
					o := blobtest.Make(typ, uint64(i), size)
					if err := store.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); err != nil {
						t.Fatal(err)
					}
					objects = append(objects, o)
				}
			}
			before := contents(t, s.folder)
			attack(t, s, user, objects, before)
			for _, o := range objects {
				err := store.Remove(t.Context(), o.Handle)
				if o.Handle.Type == blob.Lock {
					if err != nil {
						t.Errorf("%s: a lock cannot be removed: %v", o.Handle, err)
					}
					delete(before, filepath.Join("alice", o.Handle.Path()))
					continue
				}
				if !errors.Is(err, failure.Denied) {
					t.Errorf("%s: remove gives %v, want denied", o.Handle, err)
				}
				other := blobtest.Make(o.Handle.Type, 77, 300)
				other.Handle = o.Handle
				if err := store.Save(t.Context(), o.Handle, bytes.NewReader(other.Bytes)); !errors.Is(err, failure.Exists) {
					t.Errorf("%s: save over it gives %v, want exists", o.Handle, err)
				}
			}
			if diff := cmp.Diff(before, contents(t, s.folder)); diff != "" {
				t.Errorf("what is stored has changed (-before +after):\n%s", diff)
			}
			if o.Users == nil {
				return
			}
			admin := s.store(t, "root", "alice")
			for _, o := range objects {
				if err := admin.Remove(t.Context(), o.Handle); err != nil {
					t.Errorf("%s: the admin cannot remove it: %v", o.Handle, err)
				}
			}
			if left := contents(t, s.folder); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// attack sends everything but what removes locks, and compares after each request.
func attack(t *testing.T, s *serving, user string, objects []blobtest.Object, before map[string]string) {
	t.Helper()
	paths := []string{"/alice/", "/alice", "/alice/?create=true", "/alice/data/ab/", "/alice/data/00", "/alice/../alice/config", "/"}
	for _, typ := range blob.Types() {
		paths = append(paths, "/alice/"+typ.String(), "/alice/"+typ.String()+"/")
	}
	for _, o := range objects {
		paths = append(paths, "/alice/"+o.Handle.String(), "/alice/"+o.Handle.Path(), "/alice/./"+o.Handle.String(),
			"/alice//"+o.Handle.String(), "/alice/keys/../"+o.Handle.String())
	}
	junk := "attacker's"
	sum := sha256.Sum256([]byte(junk))
	names := map[string]bool{hex.EncodeToString(sum[:]): true}
	sent := 0
	for _, path := range paths {
		for _, method := range methods {
			if method == "DELETE" && filepath.Base(filepath.Dir(path)) == "locks" {
				continue
			}
			bodies := []string{"", junk}
			for _, o := range objects {
				if path == "/alice/"+o.Handle.String() {
					bodies = append(bodies, string(o.Bytes))
				}
			}
			for _, body := range bodies {
				code, _, _ := s.ask(t, user, method, path, body, "X-HTTP-Method-Override", "DELETE", "Content-Range", "bytes 0-1/2")
				sent++
				changes := method != "GET" && method != "HEAD"
				if changes && code < 300 && path != "/alice/?create=true" {
					t.Errorf("%s %s with %d bytes: %d", method, path, len(body), code)
				}
			}
		}
		after := contents(t, s.folder)
		maps.DeleteFunc(after, func(path, _ string) bool { return names[filepath.Base(path)] }) // he may add
		if diff := cmp.Diff(before, after); diff != "" {
			t.Fatalf("%s: what is stored has changed (-before +after):\n%s", path, diff)
		}
	}
	if want := len(methods) * len(paths); sent < want {
		t.Errorf("%d requests were sent, want %d", sent, want)
	}
}

// TestFullRights holds that without append-only a user deletes in his folder, and cannot overwrite even there.
func TestFullRights(t *testing.T) {
	s := serve(t, server.Options{Users: users(t, "alice")})
	store := s.store(t, "alice", "alice/laptop")
	if err := store.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, typ := range blob.Types() {
		o := blobtest.Make(typ, 1, 100)
		if err := store.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); err != nil {
			t.Fatal(err)
		}
		if code, _, _ := s.ask(t, "alice", "POST", "/alice/laptop/"+o.Handle.String(), string(o.Bytes)); code != http.StatusForbidden {
			t.Errorf("%s: saved again: %d, want 403", o.Handle, code)
		}
		if code, _, _ := s.ask(t, "alice", "DELETE", "/alice/laptop/"+o.Handle.String(), ""); code != http.StatusOK {
			t.Errorf("%s: delete gives %d", o.Handle, code)
		}
		if code, _, _ := s.ask(t, "alice", "DELETE", "/alice/laptop/"+o.Handle.String(), ""); code != http.StatusOK {
			t.Errorf("%s: delete again gives %d", o.Handle, code)
		}
	}
	if left := contents(t, s.folder); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestPrivate holds who may use which folder: asking for another's shows nothing of it, and makes nothing.
func TestPrivate(t *testing.T) {
	s := serve(t, server.Options{Users: users(t, "alice", "bob", "root:admin")})
	for _, repository := range []string{"alice", "bob/deep/er"} {
		if err := s.store(t, "root", repository).Create(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		user, path string
		want       int
	}{
		{"alice", "/alice/config", http.StatusNotFound},
		{"alice", "/alice/data/", http.StatusOK},
		{"alice", "/alice/sub/data/", http.StatusNotFound}, // hers, and not made yet
		{"alice", "/bob/config", http.StatusForbidden},
		{"alice", "/bob/deep/er/data/", http.StatusForbidden},
		{"alice", "/nobody/config", http.StatusForbidden},
		{"alice", "/alicex/config", http.StatusForbidden},
		{"alice", "/ALICE/config", http.StatusForbidden},
		{"alice", "/alic/config", http.StatusForbidden},
		{"alice", "/config", http.StatusForbidden},
		{"alice", "/data/", http.StatusForbidden},
		{"alice", "/alice/../bob/deep/er/data/", http.StatusNotFound},
		{"alice", "/alice/%2e%2e/bob/deep/er/data/", http.StatusNotFound},
		{"alice", "/alice%2f..%2fbob/deep/er/data/", http.StatusNotFound},
		{"alice", "/.htpasswd", http.StatusNotFound},
		{"alice", "/alice/.server.key", http.StatusNotFound},
		{"bob", "/bob/deep/er/data/", http.StatusOK},
		{"bob", "/alice/data/", http.StatusForbidden},
		{"root", "/alice/data/", http.StatusOK},
		{"root", "/bob/deep/er/data/", http.StatusOK},
		{"root", "/config", http.StatusNotFound},
		{"", "/alice/data/", http.StatusUnauthorized},
		{"mallory", "/alice/data/", http.StatusUnauthorized},
		{"mallory", "/mallory/data/", http.StatusUnauthorized},
	} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			code, _, header := s.ask(t, tt.user, method, tt.path, "")
			if method == "GET" && code != tt.want {
				t.Errorf("%s asks for %s: %d, want %d", tt.user, tt.path, code, tt.want)
			}
			if method != "GET" && tt.want != http.StatusOK && code < 400 && tt.want != http.StatusNotFound {
				t.Errorf("%s sends %s %s: %d", tt.user, method, tt.path, code)
			}
			if (code == http.StatusUnauthorized) != (header.Get("WWW-Authenticate") != "") {
				t.Errorf("%s sends %s %s: %d, and asks %q", tt.user, method, tt.path, code, header.Get("WWW-Authenticate"))
			}
		}
	}
	entries, err := os.ReadDir(s.folder)
	if err != nil || len(entries) != 2 {
		t.Errorf("folders: %v, %v", entries, err)
	}
}
