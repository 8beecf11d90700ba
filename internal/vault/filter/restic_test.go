package filter_test

import (
	"encoding/json"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/filter"
)

// judge has restic decide about the same files.
type judge struct {
	repo, base string
	files      []string // relative to base; directories end with a slash
	r          *rand.Rand
}

var pieces = []string{"a", "b", "ab", "a.go", "b.GO", "[x]", "x y", "é", "É", "*star", "foo-1", "A", "#c", "!n", "q?"}

func newJudge(t *testing.T) *judge {
	j := &judge{repo: filepath.Join(t.TempDir(), "repo"), base: t.TempDir(), r: rand.New(rand.NewPCG(5, 6))}
	store, err := file.Open(j.repo)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vault.Init(t.Context(), store, "x", vault.Options{KDF: crypto.Params{N: 1 << 10, R: 8, P: 1}}); err != nil {
		t.Fatal(err)
	}
	for range 150 {
		names := make([]string, 1+j.r.IntN(4))
		for i := range names {
			names[i] = pieces[j.r.IntN(len(pieces))]
		}
		p := filepath.Join(j.base, filepath.Join(names...))
		// What is a file already stays one.
		if os.MkdirAll(filepath.Dir(p), 0o755) != nil {
			continue
		}
		if _, err := os.Lstat(p); err == nil {
			continue
		}
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	err = filepath.WalkDir(j.base, func(p string, d fs.DirEntry, err error) error {
		if p != j.base && err == nil {
			rel := p[len(j.base)+1:]
			if d.IsDir() {
				rel += "/"
			}
			j.files = append(j.files, rel)
		}
		return err
	})
	if err != nil || len(j.files) < 100 {
		t.Fatalf("%d files, %v", len(j.files), err)
	}
	return j
}

// pattern makes one, often of names that there are.
func (j *judge) pattern() string {
	wild := []string{"*", "?", "a*", "*b", "*.go", "*.[gG]*", "[ab]", "[^a]", "[a-f]*", `\[x\]`, `\*star`, "**", "**", "foo-?", "??", "*é", ".", "..", ""}
	var parts []string
	for range 1 + j.r.IntN(3) {
		if j.r.IntN(2) == 0 {
			parts = append(parts, pieces[j.r.IntN(len(pieces))])
		} else {
			parts = append(parts, wild[j.r.IntN(len(wild))])
		}
	}
	p := strings.Join(parts, "/")
	switch j.r.IntN(5) {
	case 0:
		p = j.base + "/" + p
	case 1:
		p = "/" + p
	case 2:
		p = "/**/" + p
	}
	if j.r.IntN(8) == 0 {
		p += "/"
	}
	if j.r.IntN(5) == 0 {
		p = "!" + p
	}
	return p
}

// rules makes some, and the same for restic.
func (j *judge) rules(t *testing.T, flag string, files bool) (filter.Rules, []string) {
	for {
		var r filter.Rules
		var args []string
		for range 1 + j.r.IntN(4) {
			p := j.pattern()
			switch k := j.r.IntN(6); {
			case k == 0:
				r.Fold, args = append(r.Fold, p), append(args, "--i"+flag, p)
			case k == 1 && files && !strings.HasPrefix(p, "#"):
				r.Files = append(r.Files, write(t, p+"\n"))
				args = append(args, "--"+flag+"-file", r.Files[len(r.Files)-1])
			default:
				r.Patterns, args = append(r.Patterns, p), append(args, "--"+flag, p)
			}
		}
		if _, err := r.Compile(); err == nil {
			return r, args
		}
	}
}

func (j *judge) restic(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("restic"); err != nil {
		t.Fatal("restic judges the filters and is missing: test/servers/install.sh restic")
	}
	cmd := exec.CommandContext(t.Context(), "restic", append([]string{"-r", j.repo, "--no-cache"}, args...)...)
	cmd.Dir = j.base
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD=x", "RESTIC_PROGRESS_FPS=0")
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(out), "snapshot is empty") {
		t.Fatalf("restic %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// rounds is how many sets of patterns are judged. Each is held against all files.
func rounds() int {
	if os.Getenv("LIFEBOAT_LONG") != "" {
		return 600
	}
	return 25
}

// TestExcludeAsRestic holds that a backup leaves out what restic leaves out.
func TestExcludeAsRestic(t *testing.T) {
	j := newJudge(t)
	excluded := 0
	for round := range rounds() {
		r, args := j.rules(t, "exclude", true)
		set, err := r.Compile()
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		out := j.restic(t, append([]string{"backup", "--dry-run", "--json", "-vv", "."}, args...)...)
		for line := range strings.Lines(out) {
			var item struct {
				Type string `json:"message_type"`
				Item string `json:"item"`
			}
			if json.Unmarshal([]byte(line), &item) != nil && !strings.Contains(line, "snapshot is empty") {
				t.Fatalf("restic says %q", line)
			}
			if item.Type == "verbose_status" && len(item.Item) > 1 {
				want = append(want, item.Item[1:])
			}
		}
		var got []string
		for _, f := range j.files {
			if keeps(set, j.base, strings.TrimSuffix(f, "/")) {
				got = append(got, f)
			} else {
				excluded++
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("round %d: %q (-restic +ours):\n%s", round, args, diff)
		}
	}
	if all := rounds() * len(j.files); excluded < all/10 || excluded > all*9/10 {
		t.Errorf("of %d decisions %d were to leave out: that decides little", all, excluded)
	}
}

// keeps reports whether neither the path nor a directory above it is left out.
func keeps(set *filter.Set, base, rel string) bool {
	for p := rel; p != "."; p = path.Dir(p) {
		if set.Match(base + "/" + p) {
			return false
		}
	}
	return true
}

// TestIncludeAsRestic holds that a restore brings back what restic brings back.
func TestIncludeAsRestic(t *testing.T) {
	j := newJudge(t)
	j.restic(t, "backup", ".")
	included := 0
	for round := range rounds() {
		r, args := j.rules(t, "include", false)
		for i := range r.Patterns { // in a snapshot the files lie at the top
			r.Patterns[i] = strings.Replace(r.Patterns[i], j.base, "", 1)
		}
		for i := range r.Fold {
			r.Fold[i] = strings.Replace(r.Fold[i], j.base, "", 1)
		}
		for i := range args {
			args[i] = strings.Replace(args[i], j.base, "", 1)
		}
		set, err := r.Compile()
		if err != nil {
			t.Fatal(err)
		}
		out := t.TempDir()
		j.restic(t, append([]string{"restore", "latest", "--no-lock", "--target", out}, args...)...)
		var want, got []string
		err = filepath.WalkDir(out, func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				want = append(want, p[len(out)+1:])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range j.files {
			if !strings.HasSuffix(f, "/") && restores(set, f) {
				got = append(got, f)
				included++
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("round %d: %q (-restic +ours):\n%s", round, args, diff)
		}
	}
	if included == 0 {
		t.Error("nothing was restored at all")
	}
}

// restores reports whether the way to the path is gone, and it is meant.
func restores(set *filter.Set, rel string) bool {
	names := strings.Split(rel, "/")
	for i := 1; i < len(names); i++ {
		if _, below := set.Below("/" + strings.Join(names[:i], "/")); !below {
			return false
		}
	}
	matched, _ := set.Below("/" + rel)
	return matched
}
