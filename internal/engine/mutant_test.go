package engine_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutants are defects that the tests of this package have to catch. Each replaces one piece of the engine's source.
var mutants = []struct {
	name, file, old, new string
	tests                string // which tests have to fail
}{
	{
		name: "commit without the compare", file: "commit.go",
		old:   "If:   []journal.Cond{{Key: key, Mod: r.mod}},",
		new:   "If:   nil,",
		tests: "TestZombie",
	},
	{
		name: "takeover without the header", file: "drive.go",
		old: "				{Key: headerKey(run), Value: encode(next)},\n",
		new: "",
		// The heir then believes in a revision that is not the header's, and its predecessor is not shut out.
		tests: "TestZombie|TestHeirTakesOver|TestCrashAtEveryPoint",
	},
	{
		name: "call before its intent is durable", file: "runner.go",
		old:   "	if err := r.commit(ctx, b); err != nil {\n		return err\n	}\n	for _, eff := range b.effects {\n		r.leave(ctx, eff)\n	}\n",
		new:   "	for _, eff := range b.effects {\n		r.leave(ctx, eff)\n	}\n	if err := r.commit(ctx, b); err != nil {\n		return err\n	}\n",
		tests: "TestCrashAtEveryPoint|TestUnknownOutcomes",
	},
	{
		name: "inbox deleted first", file: "commit.go",
		old: "		for _, key := range consume {\n			ops = append(ops, journal.Op{Key: key, Delete: true})\n		}\n",
		new: "		for _, key := range consume {\n			if _, _, err := r.e.opts.Store.Commit(ctx, journal.Txn{Then: []journal.Op{{Key: key, Delete: true}}}); err != nil {\n				return err\n			}\n		}\n",
		// The word is gone when the owner dies between the two.
		tests: "TestCrashAtEveryPoint/write:sign-off:signal",
	},
	{
		name: "unknown outcome taken for refused", file: "commit.go",
		old:   "return h.sameWrite(next) && h.Seq == next.Seq && kv.Mod != r.mod, kv.Mod, nil",
		new:   "_ = h\n\t\t\treturn false, kv.Mod, nil",
		tests: "TestUnknownOutcomeKeepsOwner",
	},
	{
		name: "new token although the old attempt may live", file: "decide.go",
		old:   "	if st.Terminal {\n",
		new:   "	if st.Terminal || st.Status == api.StepRetrying {\n",
		tests: "TestCrashAtEveryPoint|TestUnknownOutcomes",
	},
}

// TestMutantsAreCaught builds each mutant beside the tree (go's -overlay) and runs the tests on it: they have to fail.
func TestMutantsAreCaught(t *testing.T) {
	if os.Getenv("LIFEBOAT_MUTANT") != "" {
		return // this is a mutant
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			source, err := os.ReadFile(m.file)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(source), m.old); n != 1 {
				t.Fatalf("%s holds the text to mutate %d times, want once: bring the table up to date", m.file, n)
			}
			dir := t.TempDir()
			mutated := filepath.Join(dir, m.file)
			if err := os.WriteFile(mutated, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			original, err := filepath.Abs(m.file)
			if err != nil {
				t.Fatal(err)
			}
			overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: mutated}})
			if err != nil {
				t.Fatal(err)
			}
			list := filepath.Join(dir, "overlay.json")
			if err := os.WriteFile(list, overlay, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", list, "-count=1", "-failfast", "-timeout=20s", "-run", m.tests, ".")
			cmd.Env = append(os.Environ(), "LIFEBOAT_MUTANT=1")
			out, err := cmd.CombinedOutput()
			if strings.Contains(string(out), "[build failed]") {
				t.Fatalf("the mutant does not build:\n%s", out)
			}
			if err == nil {
				t.Errorf("no test caught it:\n%s", out)
			}
		})
	}
}
