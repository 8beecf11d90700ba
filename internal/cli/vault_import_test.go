package cli_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/cli"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest/pgbackresttest"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vaultservice"
)

// TestImportPgBackRest types the commands that docs/import-pgbackrest.md shows.
func TestImportPgBackRest(t *testing.T) {
	w := pgbackresttest.Start(t, pgbackresttest.Options{Compress: "lz4", Cipher: "correct horse"})
	file := w.Server.SQL("select pg_relation_filepath('orders')")
	first := w.Backup("full")
	w.Server.SQL("update orders set what = 'changed'")
	second := w.Backup("diff")
	w.Archive()
	w.Server.Stop()

	dir := t.TempDir()
	pass := filepath.Join(dir, "pass.txt")
	if err := os.WriteFile(pass, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lifeboat := func(want int, env map[string]string, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		code := cli.Main(t.Context(), append([]string{"vault"}, args...), cli.Deps{
			Vaults: func(opt cli.OpenOptions, stderr io.Writer) api.Vaults {
				return vaultservice.New(vaultservice.Options{Log: opt.Log, Stderr: stderr, Engine: vault.Options{KDF: crypto.Params{N: 1 << 10, R: 8, P: 1}}})
			},
			Out: &out, Err: &errs, Getwd: func() (string, error) { return dir, nil },
			Getenv: func(name string) string {
				return map[string]string{"RESTIC_PASSWORD": "secret", "PGBACKREST_REPO1_CIPHER_PASS": env["pass"], "RESTIC_REPOSITORY": filepath.Join(dir, "vault"), "TZ": "UTC"}[name]
			},
		})
		if code != want {
			t.Fatalf("%q ends with %d, want %d\n%s%s", args, code, want, &out, &errs)
		}
		return out.String() + errs.String()
	}
	holds := func(text string, all ...string) {
		t.Helper()
		for _, part := range all {
			if !strings.Contains(text, part) {
				t.Errorf("%q is missing in:\n%s", part, text)
			}
		}
	}
	whose := []string{"--stanza", w.Stanza, "--app", "shop", "--resource", "db"}
	from := append([]string{"import-pgbackrest", "--from", w.Repo}, whose...)
	lifeboat(0, nil, "init")
	holds(lifeboat(failure.Denied.ExitCode(), nil, from...), "it is encrypted, and there is no passphrase", "hint: give the passphrase")
	holds(lifeboat(0, nil, append(from, "--cipher-pass-file", pass, "--dry-run")...), first, second, "would be imported", "2 backups would be imported: this was a dry run")
	holds(lifeboat(0, nil, "points"), "no points")

	damaged := filepath.Join(w.Repo, "backup/main", second, "pg_data", file+".lz4")
	sound, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Clone(sound)
	broken[len(broken)/2] ^= 1
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(damaged, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(broken)
	holds(lifeboat(failure.Corrupt.ExitCode(), map[string]string{"pass": "correct horse"}, from...),
		"NOT IMPORTED", second+" is not imported: read pg_data/"+file, "1 backup imported", "everything else was")
	write(sound)
	byConfig := append([]string{"import-pgbackrest", "--pgbackrest-config", w.Config}, whose...)
	holds(lifeboat(0, nil, byConfig...), "there already", "1 backup imported")
	holds(lifeboat(0, nil, append(byConfig, "-o", "json")...), `"state": "there"`, `"new_segments": 0`)
	holds(lifeboat(0, nil, "points"), "lifeboat:pgbackrest="+first+"@", "3 points")
}
