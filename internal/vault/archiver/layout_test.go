//go:build linux

package archiver_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// plant makes files with their own names as content, and directories where a name ends with a slash.
func plant(t testing.TB, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else {
			err = os.WriteFile(path, []byte(name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// paths lists everything below a tree.
func paths(t testing.TB, v *vault.Vault, root object.ID) []string {
	t.Helper()
	var all []string
	err := v.Walk(t.Context(), root, func(path string, n *tree.Node, err error) error {
		all = append(all, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// TestLayoutAsRestic holds that the same paths, given in every way, lie in the tree where restic puts them.
func TestLayoutAsRestic(t *testing.T) {
	base := t.TempDir()
	plant(t, base, "a/b/c/one", "a/b/two", "a/three", "d/b/four", "d/a/five", "up/down/six", "up/a/seven", "top", "empty/")
	for name, target := range map[string]string{"link": "a/b", "dangling": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(base, name)); err != nil {
			t.Fatal(err)
		}
	}
	repo, v := newRepo(t)
	for _, test := range []struct {
		dir   string
		paths []string
	}{
		{"", []string{"a"}}, {"", []string{"a/b/c"}}, {"", []string{"."}}, {"", []string{"./a/../d"}}, {"up/down", []string{".."}}, {"up/down", []string{"../../a"}},
		{"up/down", []string{"../..", "six"}}, {"", []string{"a/b", "d/b"}}, {"", []string{"a", "a/b/c"}}, {"", []string{"a/b/c", "a"}}, {"", []string{"a/b/c", "a/b/two", "top"}},
		{"up", []string{"a", "../a", "../d/a"}}, {"up", []string{".", "../a"}}, {"", []string{"a", "a", "./a/"}}, {"", []string{"a/b", base + "/a"}}, {"", []string{base + "/d", base + "/a/b"}},
		{"a", []string{"../a/b"}}, {"", []string{"link"}}, {"", []string{"link/two"}}, {"", []string{base + "/link/c/one"}}, {"", []string{"dangling"}}, {"", []string{"top"}}, {"", []string{"empty"}},
		{"", []string{".", "a/b"}}, {"a", []string{"b/c/one", ".", "b"}}, {"", []string{base, "a"}}, {"", []string{"a/../../" + filepath.Base(base) + "/d"}},
	} {
		t.Run(strings.Join(test.paths, " "), func(t *testing.T) {
			t.Chdir(filepath.Join(base, test.dir))
			theirs := resticBackup(t, repo, "", v, test.paths...)
			ours := backup(t, v, archiver.Options{Paths: test.paths}).Snapshot
			if diff := cmp.Diff(paths(t, v, *theirs.Tree), paths(t, v, *ours.Tree)); diff != "" {
				t.Errorf("-restic +ours:\n%s", diff)
			}
			if diff := cmp.Diff(theirs.Paths, ours.Paths); diff != "" {
				t.Errorf("paths of the snapshot, -restic +ours:\n%s", diff)
			}
			if !slices.ContainsFunc(test.paths, func(p string) bool { return filepath.IsAbs(p) }) {
				sameTrees(t, v, "", *theirs.Tree, *ours.Tree) // without the folder of temporary files, which others change
			}
		})
	}
}

// TestVirtual holds that given files lie where they should: beside real ones, instead of one, in made-up directories.
func TestVirtual(t *testing.T) {
	repo, v := newRepo(t)
	src := t.TempDir()
	plant(t, src, "a/real", "a/replaced", "b")
	mode := fs.FileMode(0o600)
	r := backup(t, v, archiver.Options{Paths: []string{src}, Virtual: []archiver.Virtual{
		{Path: src + "/a/marker", Content: strings.NewReader("beside"), Mode: mode},
		{Path: src + "/a/replaced", Content: strings.NewReader("instead")},
		{Path: src + "/new/dir/marker", Content: strings.NewReader("made up")},
		{Path: "/.lifeboat/marker.json", Content: strings.NewReader("elsewhere")},
	}})
	want := []string{"/.lifeboat/marker.json", src + "/a/marker", src + "/a/real", src + "/a/replaced", src + "/b", src + "/new/dir/marker"}
	var got []string
	for _, path := range paths(t, v, *r.Snapshot.Tree) {
		n, err := v.Find(t.Context(), *r.Snapshot.Tree, path)
		if err != nil {
			t.Fatal(err)
		}
		if n.Type == tree.File {
			got = append(got, path)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	out := t.TempDir()
	restic(t, repo, "", "restore", r.Snapshot.ID.String(), "--target", out)
	for name, text := range map[string]string{src + "/a/marker": "beside", src + "/a/replaced": "instead", src + "/new/dir/marker": "made up", "/.lifeboat/marker.json": "elsewhere", src + "/a/real": "a/real"} {
		if got, err := os.ReadFile(out + name); err != nil || string(got) != text {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if s, err := os.Stat(out + src + "/a/marker"); err != nil || s.Mode() != mode {
		t.Errorf("%v, %v", s, err)
	}
	for _, bad := range []archiver.Virtual{{Path: "relative", Content: strings.NewReader("")}, {Path: "/", Content: strings.NewReader("")}, {Path: "/x"}, {Path: "/x", Content: strings.NewReader(""), Mode: fs.ModeDir}} {
		if _, err := tryBackup(t.Context(), v, archiver.Options{Virtual: []archiver.Virtual{bad}}); !errors.Is(err, failure.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := tryBackup(t.Context(), v, archiver.Options{Paths: []string{src}, Virtual: []archiver.Virtual{{Path: src + "/b/x", Content: strings.NewReader("")}}}); !errors.Is(err, failure.Conflict) {
		t.Errorf("a virtual file in a real one: %v", err)
	}
	if _, err := tryBackup(t.Context(), v, archiver.Options{Virtual: []archiver.Virtual{{Path: "/x", Content: strings.NewReader("")}, {Path: "/x/y", Content: strings.NewReader("")}}}); !errors.Is(err, failure.Invalid) {
		t.Errorf("a file in a file: %v", err)
	}
}
