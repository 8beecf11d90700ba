//go:build linux

package archiver_test

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/filter"
)

const signature = "Signature: 8a477f597d28d172789f06886806bc55"

// TestExcludeAsRestic holds that what is left out by tags, sizes and patterns is what restic leaves out.
func TestExcludeAsRestic(t *testing.T) {
	repo, v := newRepo(t)
	t.Chdir(t.TempDir())
	plant(t, "src", "a.go", "b.txt", "cache/x", "cache/deep/y", "fake/x", "short/x", "tagged/x", "tagged/sub/y", "header/x", "headless/x", "both/x", "sub/a.go", "sub/B.GO",
		"linked/x", "directory/x", "directory/CACHEDIR.TAG/z", "big", "small", "empty/", "keep/a.go")
	for name, text := range map[string]string{
		"cache/CACHEDIR.TAG": signature + "\nmore", "fake/CACHEDIR.TAG": "Signature: another", "short/CACHEDIR.TAG": "Sig", "tagged/.nobackup": "", "both/.nobackup": "",
		"both/CACHEDIR.TAG": signature, "header/.header": "magic and more", "headless/.header": "magi", "big": string(make([]byte, 5000)), "small": string(make([]byte, 1024)),
	} {
		if err := os.WriteFile("src/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../cache/CACHEDIR.TAG", "src/linked/CACHEDIR.TAG"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("patterns", []byte("# list\n*.go\n!keep/*.go\n$NOTHING\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		o    archiver.Options
		args []string
	}{
		"nothing":    {archiver.Options{}, nil},
		"caches":     {archiver.Options{ExcludeCaches: true}, []string{"--exclude-caches"}},
		"a tag":      {archiver.Options{ExcludeIfPresent: []string{".nobackup"}}, []string{"--exclude-if-present", ".nobackup"}},
		"a header":   {archiver.Options{ExcludeIfPresent: []string{".header:magic"}}, []string{"--exclude-if-present", ".header:magic"}},
		"many tags":  {archiver.Options{ExcludeIfPresent: []string{".nobackup", ".header:"}, ExcludeCaches: true}, []string{"--exclude-if-present", ".nobackup", "--exclude-if-present", ".header:", "--exclude-caches"}},
		"size":       {archiver.Options{ExcludeLargerThan: 1024}, []string{"--exclude-larger-than", "1k"}},
		"smaller":    {archiver.Options{ExcludeLargerThan: 3}, []string{"--exclude-larger-than", "3"}},
		"patterns":   {archiver.Options{Exclude: filter.Rules{Patterns: []string{"*.go", "!keep/a.go", here + "/src/tagged"}}}, []string{"--exclude", "*.go", "--exclude", "!keep/a.go", "--exclude", here + "/src/tagged"}},
		"fold":       {archiver.Options{Exclude: filter.Rules{Fold: []string{"*.Go"}}}, []string{"--iexclude", "*.Go"}},
		"files":      {archiver.Options{Exclude: filter.Rules{Files: []string{"patterns"}}}, []string{"--exclude-file", "patterns"}},
		"everything": {archiver.Options{Exclude: filter.Rules{Patterns: []string{"src/*"}}}, []string{"--exclude", "src/*"}},
	} {
		t.Run(name, func(t *testing.T) {
			theirs := resticBackup(t, repo, "", v, append([]string{"src"}, test.args...)...)
			test.o.Paths = []string{"src"}
			ours := backup(t, v, test.o).Snapshot
			sameTrees(t, v, "", *theirs.Tree, *ours.Tree)
			if diff := cmp.Diff(theirs.Excludes, ours.Excludes); diff != "" {
				t.Errorf("excludes of the snapshot, -restic +ours:\n%s", diff)
			}
		})
	}
}
