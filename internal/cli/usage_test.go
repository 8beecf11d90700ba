package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// run carries one command line out on a bench, with nothing typed.
func (b *bench) run(t *testing.T, dir string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Main(t.Context(), args, b.deps(dir, strings.NewReader(""), &o, &e, func(string) string { return "" }))
	return code, o.String(), e.String()
}

func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, configName), []byte("app shop\nplan move-everything\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", name, diff)
	}
}

// brokenLines are command lines that nobody should have to guess about.
var brokenLines = [][]string{
	{"failver", "shop"}, {"faliover", "shop"}, {"nonsense"}, {"approve", "last"}, {"switchover", "shop"}, {"backups", "shop"},
	{"failover"}, {"failover", "shop", "west"}, {"failover", ""}, {"failover", "shop"},
	{"failover", "shop", "--too", "west"}, {"failover", "shop", "--to"}, {"failover", "shop", "--planned", "--unplanned"},
	{"failover", "shop", "--planned=maybe"}, {"failover", "shop", "--to", "west", "--from", "west"},
	{"failover", "shop", "--yes", "--accept-unfenced", ""}, {"failover", "shop", "--yes", "--detach", "--report-dir", "r"},
	{"failover", "shop", "--yes", "--by", ""}, {"failover", "shop", "-x"}, {"failback", "shop", "--to", "east"},
	{"drill", "shop", "--unplanned"}, {"drill", "nope"}, {"plan"}, {"plan", "failovr", "shop"}, {"plan", "failover"},
	{"plan", "failover", "shop", "-o", "yaml"}, {"plan", "run"}, {"plan", "run", "nope"}, {"status"}, {"status", "--al"},
	{"status", "shop", "--all"}, {"status", "shop", "--output", "json"}, {"status", "shop", "-o"}, {"status", "shop", "-o", ""},
	{"points", "shop", "-o", "dot"}, {"protect", "shop", "--every", "soon"}, {"protect", "shop", "--every", "0s"},
	{"protect", "shop", "--once", "--every", "1s"}, {"run"}, {"run", "lst"}, {"run", "start"}, {"run", "start", "nightly"},
	{"run", "list", "-n", "many"}, {"run", "list", "-n", "-1"}, {"run", "list", "shop"}, {"run", "show"}, {"run", "show", "last"},
	{"run", "skip", "last", "db"}, {"run", "skip", "last"}, {"run", "skip", "last", "db", "--reason", "x", "--set", "endpoint"},
	{"run", "skip", "last", "db", "--reason", "x", "--set", "a=1", "--set", "a=2"}, {"run", "force", "last", "db", "--reason", " "},
	{"run", "abort", "last", "--reason", ""}, {"run", "cancel", "last"}, {"report"}, {"report", "last", "--output", ""},
	{"report", "verify"}, {"report", "last", "-o", "pdf"}, {"validate", "a", "b"}, {"completion"}, {"completion", "tcsh"},
	{"completion", "bash", "-o", "json"}, {"help", "failver"}, {"help", "run", "retri"}, {"version", "now"},
	{"vault"}, {"vault", "bakup", "x"}, {"vault", "list"}, {"vault", "verify"}, {"vault", "points"}, {"vault", "points", "-r", ""},
	{"vault", "init", "now"}, {"vault", "init", "--from-repo", "x"}, {"vault", "backup"}, {"vault", "backup", "x", "--json"},
	{"vault", "backup", "x", "-o", "key=value"}, {"vault", "backup", "x", "--stdin"}, {"vault", "backup", "--stdin-from-command"},
	{"vault", "backup", "x", "--force", "--parent", "y"}, {"vault", "backup", "x", "--time", "soon"},
	{"vault", "backup", "x", "--exclude-larger-than", "big"}, {"vault", "backup", "x", "--read-concurrency", "-1"},
	{"vault", "backup", "x", "--stdin-filename", "y"}, {"vault", "backup", "--stdin", "--stdin-filename", ""},
	{"vault", "restore"}, {"vault", "restore", "latest"}, {"vault", "restore", "latest", "-t", ""}, {"vault", "restore", "latest", "-t", "x", "--yes"},
	{"vault", "ls"}, {"vault", "find"}, {"vault", "find", "x", "--newest", "soon"}, {"vault", "find", "x", "--blob", "--tree"},
	{"vault", "diff", "x"}, {"vault", "dump", "latest"}, {"vault", "dump", "latest", "/x", "--target", ""}, {"vault", "cat"}, {"vault", "cat", "masterkey"},
	{"vault", "cat", "index"}, {"vault", "cat", "config", "x"}, {"vault", "stats", "--mode", "x"}, {"vault", "check", "--read-data", "--read-data-subset", "1/2"},
	{"vault", "forget"}, {"vault", "forget", "--keep-last", "x"}, {"vault", "forget", "x", "--keep-last", "1"}, {"vault", "forget", "--keep-last", "1", "--grace", "1h"},
	{"vault", "prune", "--grace", "-1h"}, {"vault", "prune", "--max-repack-size", "x"}, {"vault", "tag", "latest"}, {"vault", "tag", "latest", "--set", "a", "--add", "b"},
	{"vault", "hold", "latest", "--until", "2000-01-01"}, {"vault", "unhold", "latest", "--until", "2999-01-01"}, {"vault", "retain", "--for", "0s"},
	{"vault", "copy", "--to", "x", "--from-repo", "y"}, {"vault", "copy", "--to-password-file", "y"}, {"vault", "import-pgbackrest"}, {"vault", "import"},
	{"vault", "import-pgbackrest", "--stanza", "main", "--app", "shop", "--resource", "db"},
	{"vault", "import-pgbackrest", "--stanza", "main", "--app", "shop", "--resource", "db", "--from", "x", "--repo-number", "0"},
	{"vault", "repair"}, {"vault", "repair", "everything"},
	{"vault", "repair", "snapshots", "--yes"}, {"vault", "unlock", "--yes"}, {"vault", "key"}, {"vault", "key", "remove"},
	{"vault", "key", "add", "--new-password-file", "x", "--new-insecure-no-password"}, {"vault", "mount"}, {"vault", "mount", "x", "--no-default-permissions"},
	{"vault", "serve"}, {"vault", "serve", "--data", "x", "--tls-cert", "y"}, {"vault", "serve", "--data", "x", "--tls-self-signed", "--no-tls"},
	{"vault", "serve", "--data", "x", "--quota", "y"}, {"vault", "serve", "user"}, {"vault", "serve", "user", "add", "x"},
	{"vault", "serve", "user", "add", "x", "--data", "y", "--admin", "--append-only"}, {"help", "vault", "snapshts"},
	{"protect", "shop", "--metrics", "9777"}, {"protect", "shop", "--metrics", "localhost:"}, {"protect", "shop", "--once", "--metrics", ":9777"},
	{"points", "shop/"}, {"points", "/db"}, {"prove"}, {"prove", "shop", "--all", "--share", "20%"}, {"prove", "shop", "--share", "lots"},
	{"prove", "shop", "--bisect", "--check", "x"}, {"prove", "shop/db", "--bisect"}, {"prove", "shop/db", "--bisect", "--check", "x", "--all"},
	{"prove", "shop", "--within", "1s"}, {"prove", "shop", "--check", " "}, {"prove", "shop/db/x"},
	{"restore", "shop"}, {"restore", "shop", "--into", "x"}, {"restore", "shop/db"}, {"restore", "shop/db", "--in-place"},
	{"restore", "shop/db", "--in-place", "--into", "x"}, {"restore", "shop/db", "--into", "x", "--site", "west"},
	{"restore", "shop/db", "--into", "x", "--to", "yesterday"}, {"restore", "shop/db", "--into", "x", "--to", "lsn:"},
	{"restore", "shop/db", "--in-place", "--site", "west"},
	{"-c"}, {"--sate", "x", "status", "shop"}, {"status", "shop", "-c", "nope.yaml"}, {"---"},
}

func TestBrokenCommandLines(t *testing.T) {
	dir := folder(t)
	var got strings.Builder
	for _, args := range brokenLines {
		b := &bench{world: newWorld()}
		code, out, errs := b.run(t, dir, args...)
		fmt.Fprintf(&got, "$ lifeboat %s\n%s[%d]\n\n", quoted(args), errs, code)
		if out != "" && !slices.Contains(args, "json") {
			t.Errorf("%q writes to standard output: %s", args, out)
		}
		if code == 0 {
			t.Errorf("%q is accepted", args)
		}
		if lines := strings.Count(errs, "\n"); lines != 2 || !strings.HasPrefix(errs, "error: ") || !strings.Contains(errs, "\n  hint: ") {
			t.Errorf("%q: want one line and one hint, got:\n%s", args, errs)
		}
		if len(b.world.runs) > 0 {
			t.Errorf("%q started a run", args)
		}
	}
	golden(t, "broken.golden", got.String())
}

func quoted(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = shellWord(a)
	}
	return strings.Join(words, " ")
}

func TestNoConfiguration(t *testing.T) {
	b := &bench{world: newWorld()}
	code, _, errs := b.run(t, t.TempDir(), "status", "shop")
	if want := failure.NotFound.ExitCode(); code != want {
		t.Errorf("exit code %d, want %d", code, want)
	}
	if want := "error: there is no lifeboat.yaml here or in any folder above\n"; !strings.HasPrefix(errs, want) {
		t.Errorf("got %s, want %s", errs, want)
	}
}

func TestConfigurationIsFoundAbove(t *testing.T) {
	dir := folder(t)
	deep := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	b := &bench{world: newWorld()}
	if code, _, errs := b.run(t, deep, "status", "shop"); code != 0 {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

// tree gives every command there is.
func tree() []*cobra.Command {
	inv := &invocation{Deps: Deps{}.withDefaults()}
	var all []*cobra.Command
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		all = append(all, c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	root := newRoot(inv)
	root.InitDefaultHelpCmd()
	walk(root)
	return all
}

func TestEveryCommandIsExplained(t *testing.T) {
	for _, c := range tree() {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: Short is %q", c.CommandPath(), c.Short)
		}
		if isTopic(c) {
			continue
		}
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		prose := []string{"lifeboat", "lifeboat plan", "lifeboat run", "lifeboat help", "lifeboat completion", "lifeboat aws",
			"lifeboat vault", "lifeboat vault key", "lifeboat vault repair", "lifeboat vault serve user", // no data of their own
			"lifeboat vault cat", "lifeboat vault dump"} // the data itself
		if !slices.Contains(prose, c.CommandPath()) && !slices.Contains(formats(c), "json") {
			t.Errorf("%s has no -o json", c.CommandPath())
		}
	}
}

// TestExamplesParse holds the examples to the flags and arguments there are.
func TestExamplesParse(t *testing.T) {
	for _, c := range tree() {
		for _, line := range strings.Split(c.Example, "\n") {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "   ") // a remark
			line, _, _ = strings.Cut(line, " | ")
			line, _, _ = strings.Cut(line, " > ")
			line, _, _ = strings.Cut(line, " && ")
			line = strings.TrimSuffix(strings.TrimPrefix(line, "source <("), ")")
			words := shellWords(line)
			if len(words) == 0 || words[0] != "lifeboat" {
				continue
			}
			root := newRoot(&invocation{Deps: Deps{}.withDefaults()})
			root.InitDefaultHelpCmd()
			cmd, rest, err := root.Find(words[1:])
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err == nil && cmd.Args != nil {
				err = cmd.Args(cmd, cmd.Flags().Args())
			}
			if err != nil {
				t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
			}
		}
	}
}

func shellWords(line string) []string {
	var words []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

func TestHelp(t *testing.T) {
	var got strings.Builder
	for _, c := range tree() {
		words := append([]string{"help"}, strings.Fields(c.CommandPath())[1:]...)
		b := &bench{world: newWorld()}
		code, out, errs := b.run(t, t.TempDir(), words...)
		if code != 0 || errs != "" {
			t.Fatalf("%q: exit code %d, %s", words, code, errs)
		}
		if !isTopic(c) && c.HasParent() {
			if _, flag, _ := b.run(t, t.TempDir(), append(words[1:], "--help")...); flag != out {
				t.Errorf("%q and --help differ", words)
			}
		}
		fmt.Fprintf(&got, "$ lifeboat %s\n%s\n", strings.Join(words, " "), out)
	}
	golden(t, "help.golden", got.String())
	for i, line := range strings.Split(got.String(), "\n") {
		if len([]rune(line)) > 130 {
			t.Errorf("help.golden:%d is %d wide", i+1, len([]rune(line)))
		}
	}
}

func TestExitCodes(t *testing.T) {
	codes := map[int]string{}
	for _, row := range ExitCodes() {
		if other, twice := codes[row.Code]; twice {
			t.Errorf("%s and %s share exit code %d", row.Name, other, row.Code)
		}
		if row.Meaning == "" {
			t.Errorf("%s has no meaning", row.Name)
		}
		codes[row.Code] = row.Name
	}
	if got, want := len(codes), len(failure.Kinds())+3; got != want {
		t.Errorf("%d codes, want %d", got, want)
	}
	dir := folder(t)
	for _, kind := range failure.Kinds() {
		b := &bench{world: newWorld()}
		b.world.fails["Status"] = failure.New(kind, "ask", "east", "no")
		code, out, _ := b.run(t, dir, "status", "shop", "-o", "json")
		if code != kind.ExitCode() {
			t.Errorf("%s: exit code %d, want %d", kind, code, kind.ExitCode())
		}
		var doc struct{ Error failure.Error }
		if err := json.Unmarshal([]byte(out), &doc); err != nil || doc.Error.Kind != kind {
			t.Errorf("%s: the document says %s (%v)", kind, out, err)
		}
	}
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range ExitCodes() {
		if want := fmt.Sprintf("| %d | `%s` | %s |", row.Code, row.Name, row.Meaning); !strings.Contains(string(text), want) {
			t.Errorf("docs/cli.md lacks %s", want)
		}
	}
}

// TestOneDocument holds every command to its word: with -o json there is one JSON document on standard output.
func TestOneDocument(t *testing.T) {
	dir := folder(t)
	lines := []string{
		"status shop", "status --all", "points shop", "protect shop --once", "plan failover shop", "plan run move-everything",
		"drill shop", "failover shop --yes", "failover shop", "failback shop --yes --detach", "run list", "run show last", "run show zz",
		"run resume last", "run watch last", "run retry last", "report last", "report nope", "validate", "version", "schema -o json",
		"nonsense", "status --nope", "demo", "run", "report verify nope.json",
	}
	b := &bench{world: newWorld()}
	ok := true
	b.world.rounds = append(b.world.rounds, roundOf(b.world.now, ok))
	for _, line := range lines {
		_, out, _ := b.run(t, dir, append(strings.Fields(line), "-o", "json")...)
		d := json.NewDecoder(strings.NewReader(out))
		var doc any
		if err := d.Decode(&doc); err != nil {
			t.Errorf("%s: %v: %q", line, err, out)
			continue
		}
		if err := d.Decode(&doc); err != io.EOF {
			t.Errorf("%s: more than one document: %q", line, out)
		}
	}
}

// TestClosedOutput: a reader that has gone away must not look like success.
func TestClosedOutput(t *testing.T) {
	b := &bench{world: newWorld()}
	var errs bytes.Buffer
	deps := b.deps(folder(t), strings.NewReader(""), brokenPipe{}, &errs, func(string) string { return "" })
	for _, line := range []string{"status shop -o json", "version", "schema", "help", "status shop"} {
		if code := Main(context.Background(), strings.Fields(line), deps); code == 0 {
			t.Errorf("%s: exit code 0 with nothing written", line)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
