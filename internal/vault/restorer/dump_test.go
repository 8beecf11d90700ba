//go:build linux

package restorer_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// TestTar unpacks with tar what Dump writes, and finds everything that was backed up.
func TestTar(t *testing.T) {
	dir := corpus(t)
	must(t, os.RemoveAll(filepath.Join(dir, "deep"))) // tar goes by whole paths
	repo, v := newRepo(t)
	restic(t, repo, "backup", dir)
	root := latest(t, v, dir)
	archive := filepath.Join(t.TempDir(), "a.tar")
	f, err := os.Create(archive)
	must(t, err)
	n, err := restorer.Dump(t.Context(), v, root, "/", restorer.Tar, f)
	must(t, err, f.Close())
	if s, err := os.Stat(archive); err != nil || s.Size() != n {
		t.Errorf("Dump says %d bytes: %v %v", n, s.Size(), err)
	}
	target := t.TempDir()
	out, err := exec.Command("tar", "-C", target, "--xattrs", "--xattrs-include=*", "--acls", "-p", "-xf", archive).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := asRestic(look(t, dir))
	got := look(t, target)
	for path, e := range want {
		g := got[path]
		if e.Xattrs["user.empty"] == "" { // GNU tar writes no empty attributes
			delete(e.Xattrs, "user.empty")
			delete(g.Xattrs, "user.empty")
		}
	}
	sameLook(t, want, got)
}

// TestDumpLikeRestic compares archives and files with what restic gives.
func TestDumpLikeRestic(t *testing.T) {
	dir := corpus(t)
	repo, v := newRepo(t)
	restic(t, repo, "backup", dir)
	sn, err := v.FindSnapshot(t.Context(), "latest", snapshot.Filter{})
	must(t, err)
	dump := func(path string, f restorer.Format) []byte {
		var out bytes.Buffer
		_, err := restorer.Dump(t.Context(), v, *sn.Tree, path, f, &out)
		must(t, err)
		return out.Bytes()
	}
	for _, path := range []string{"small", "large", "empty", "names/new\nline"} {
		path = filepath.Join(dir, path)
		if want := restic(t, repo, "dump", "latest", path); string(dump(path, "")) != want {
			t.Errorf("%s is not what restic gives", path)
		}
	}
	want, got := tarList(t, []byte(restic(t, repo, "dump", "latest", dir))), tarList(t, dump(dir, restorer.Tar))
	for _, name := range []string{"fifo", "char", "block"} { // which restic makes empty files of
		name = filepath.Join(dir, name)[1:]
		if !strings.ContainsAny(got[name].Mode[:1], "pD") {
			t.Errorf("%s is %q", name, got[name].Mode)
		}
		delete(want, name)
		delete(got, name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tar (-restic +ours):\n%s", diff)
	}
	wantZip, gotZip := zipList(t, []byte(restic(t, repo, "dump", "-a", "zip", "latest", filepath.Join(dir, "many")))), zipList(t, dump(filepath.Join(dir, "many"), restorer.Zip))
	if diff := cmp.Diff(wantZip, gotZip); diff != "" {
		t.Errorf("zip (-restic +ours):\n%s", diff)
	}
	for path, kind := range map[string]failure.Kind{"/nothing": failure.NotFound, filepath.Join(dir, "fifo"): failure.Invalid, filepath.Join(dir, "link"): failure.Invalid} {
		if _, err := restorer.Dump(t.Context(), v, *sn.Tree, path, "", io.Discard); failure.KindOf(err) != kind {
			t.Errorf("dump %s: %v", path, err)
		}
	}
	if _, err := restorer.Dump(t.Context(), v, *sn.Tree, dir, "rar", io.Discard); failure.KindOf(err) != failure.Invalid {
		t.Errorf("dump as rar: %v", err)
	}
}

type packed struct {
	Mode    string
	Target  string
	ModTime string
	Content string
}

func tarList(t testing.TB, archive []byte) map[string]packed {
	t.Helper()
	all := map[string]packed{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		must(t, err)
		text, err := io.ReadAll(r)
		must(t, err)
		p := packed{h.FileInfo().Mode().String(), h.Linkname, h.ModTime.UTC().Round(time.Second).String(), string(text)}
		if h.Typeflag == tar.TypeLink { // restic writes the content once more
			first := all[h.Linkname]
			p.Content, p.Target = first.Content, ""
		}
		if len(p.Content) > 100 {
			p.Content = p.Content[:100]
		}
		all[h.Name] = p
	}
}

func zipList(t testing.TB, archive []byte) map[string]packed {
	t.Helper()
	all := map[string]packed{}
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	must(t, err)
	for _, f := range r.File {
		in, err := f.Open()
		must(t, err)
		text, err := io.ReadAll(in)
		must(t, err, in.Close())
		all[f.Name] = packed{Mode: f.Mode().String(), ModTime: f.Modified.UTC().String(), Content: string(text)}
	}
	return all
}
