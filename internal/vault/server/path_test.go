package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
)

var anyName = strings.Repeat("0a", 32)

// TestParsePath holds what a path names, and that nothing else is let through.
func TestParsePath(t *testing.T) {
	for path, want := range map[string]target{
		"/":                     {},
		"/a/":                   {repository: []string{"a"}},
		"/a/b/c/":               {repository: []string{"a", "b", "c"}},
		"/config":               {object: blob.Handle{Type: blob.Config}},
		"/a/config":             {repository: []string{"a"}, object: blob.Handle{Type: blob.Config}},
		"/data/":                {listing: blob.Pack},
		"/a/keys/":              {repository: []string{"a"}, listing: blob.Key},
		"/a/snapshots/":         {repository: []string{"a"}, listing: blob.Snapshot},
		"/a/b/locks/" + anyName: {repository: []string{"a", "b"}, object: blob.Handle{Type: blob.Lock, Name: anyName}},
		"/index/" + anyName:     {object: blob.Handle{Type: blob.Index, Name: anyName}},
	} {
		got, ok := parsePath(path)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(target{})); !ok || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", path, ok, diff)
		}
	}
	for _, path := range []string{"", "a/", "/a", "//", "/a//", "//a/", "/./", "/../", "/a/../", "/a/./b/", "/.a/", "/a/.b/config", "/config/", "/config/x",
		"/data", "/a/data", "/data/ab/" + anyName, "/data/" + anyName + "/", "/data/" + anyName[:63], "/data/" + strings.ToUpper(anyName), "/data/..",
		"/data/../config", "/a/Config", "/DATA/", "/keys/" + anyName + "\x00", "/a\x00/", "/a\\b/", "/a b/", "/a\n/", "/é/", "/" + strings.Repeat("a/", 9),
		"/" + strings.Repeat("a", 65) + "/", "/a/tmp/x", "/%2e%2e/"} {
		if got, ok := parsePath(path); ok {
			t.Errorf("%q is let through as %+v", path, got)
		}
	}
}

// FuzzParsePath holds that what is let through stays below the folder, and is written back as it was read.
func FuzzParsePath(f *testing.F) {
	for _, seed := range []string{"/", "/a/b/", "/a/config", "/data/", "/a/keys/" + anyName, "/a/../config", "//", "/.htpasswd"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, ok := parsePath(path)
		if !ok {
			return
		}
		back := "/" + strings.Join(append(got.repository, ""), "/")
		switch {
		case got.object.Type.Valid():
			back += got.object.String()
			if !got.object.Valid() || got.listing.Valid() {
				t.Errorf("%q names %+v", path, got)
			}
		case got.listing.Valid():
			back += got.listing.String() + "/"
		}
		if back != path {
			t.Errorf("%q is read as %q", path, back)
		}
		folder := filepath.Join(append([]string{"/srv/vaults"}, got.repository...)...)
		if rel, err := filepath.Rel("/srv/vaults", folder); err != nil || !filepath.IsLocal(rel) || strings.Contains(folder, "/.") {
			t.Errorf("%q leads to %s", path, folder)
		}
	})
}

// FuzzHandler sends whatever comes to mind to an append-only server: it answers, keeps within its folder, and what was
// there stays as it was.
func FuzzHandler(f *testing.F) {
	o := blobtest.Make(blob.Snapshot, 1, 50)
	for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "PUT"} {
		for _, path := range []string{"/", "/a/", "/a/?create=true", "/a/config", "/a/snapshots/", "/a/" + o.Handle.String(), "/a/locks/" + o.Handle.Name,
			"/a/../../x", "/%2e%2e/config", "/b/data/" + o.Handle.Name} {
			f.Add(method, path, "bytes=3-7", "application/vnd.x.restic.rest.v2", o.Bytes)
		}
	}
	top := f.TempDir()
	folder := filepath.Join(top, "served")
	if err := os.Mkdir(folder, 0o700); err != nil {
		f.Fatal(err)
	}
	s, err := New(Options{Folder: folder, AppendOnly: true, MaxObject: 1 << 20})
	if err != nil {
		f.Fatal(err)
	}
	send := func(method, path string, body []byte, headers ...string) *httptest.ResponseRecorder {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return nil
		}
		r := &http.Request{Method: method, URL: u, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
			Host: "h", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: "127.0.0.1:1"}
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	send("POST", "/a/?create=true", nil)
	kept := map[string][]byte{}
	for _, typ := range blob.Types() {
		o := blobtest.Make(typ, 1, 50)
		if w := send("POST", "/a/"+o.Handle.String(), o.Bytes); w.Code != http.StatusOK {
			f.Fatalf("%s: %d %s", o.Handle, w.Code, w.Body)
		}
		if typ != blob.Lock {
			kept[filepath.Join(folder, "a", o.Handle.Path())] = o.Bytes
		}
	}
	f.Fuzz(func(t *testing.T, method, path, span, accept string, body []byte) {
		w := send(method, path, body, "Range", span, "Accept", accept)
		if w == nil {
			return
		}
		if w.Code < 200 || w.Code > 599 || w.Code == http.StatusInternalServerError {
			t.Errorf("%s %q: %d %s", method, path, w.Code, w.Body)
		}
		for path, want := range kept {
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s %q: %s is %d bytes, %v", method, path, path, len(got), err)
			}
		}
		entries, err := os.ReadDir(top)
		if err != nil || len(entries) != 1 {
			t.Errorf("%s %q: beside the folder lies %v, %v", method, path, entries, err)
		}
	})
}

// TestNothingUnnamed holds, after some adding, that every file has the name of its content.
func TestNothingUnnamed(t *testing.T) {
	folder := t.TempDir()
	s, err := New(Options{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string]int{}
	for i, body := range []string{"", "a", "b", strings.Repeat("x", 100_000)} {
		sum := sha256.Sum256([]byte(body))
		for j, name := range []string{hex.EncodeToString(sum[:]), anyName} {
			for _, typ := range blob.Types()[1:] {
				path := "/r/" + typ.String() + "/" + name
				r := httptest.NewRequest("POST", path, strings.NewReader(body))
				w := httptest.NewRecorder()
				if i == 0 && j == 0 && typ == blob.Key {
					s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/r/?create=true", nil))
				}
				s.ServeHTTP(w, r)
				if want := []int{200, 400}[j]; w.Code != want {
					t.Errorf("%s with %d bytes: %d, want %d", path, len(body), w.Code, want)
				}
				bodies[name]++
			}
		}
	}
	files := 0
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if sum := sha256.Sum256(text); err == nil && hex.EncodeToString(sum[:]) != d.Name() {
			t.Errorf("%s has other content", path)
		}
		return err
	})
	if err != nil || files != 20 {
		t.Errorf("%d files, want 20, error %v", files, err)
	}
	if m := s.Metrics(); m.Saved != 20 || m.Damaged != 20 {
		t.Errorf("metrics: %+v", m)
	}
}
