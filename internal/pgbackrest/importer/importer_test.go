package importer_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest/importer"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest/pgbackresttest"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore/ask"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
)

// TestMain makes this test the program that PostgreSQL asks for log, too.
func TestMain(m *testing.M) {
	pgtest.Main(m, pgtest.Programs{ask.Program: ask.Main})
}

var whose = pgpoint.Whose{App: "shop", Resource: "db"}

func long() bool { return os.Getenv("LIFEBOAT_LONG") == "1" }

// newVault makes an empty vault.
func newVault(t *testing.T) *vault.Vault {
	t.Helper()
	v, err := vault.Init(context.Background(), memory.New(), "secret", vault.Options{KDF: crypto.Params{N: 1 << 10, R: 8, P: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// open opens the main stanza of a repository.
func open(t *testing.T, store pgbackrest.Store, pass string) *pgbackrest.Repo {
	t.Helper()
	r, err := pgbackrest.Open(context.Background(), store, pgbackrest.Options{Stanza: "main", Passphrase: pass})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// imports imports all of a repository and fails where anything cannot be.
func imports(t *testing.T, v *vault.Vault, repo *pgbackrest.Repo) *importer.Report {
	t.Helper()
	report, err := importer.Run(context.Background(), v, repo, importer.Options{Whose: whose})
	if err != nil {
		t.Fatalf("%v\n%s", err, states(report))
	}
	return report
}

// states says what became of each backup, and why.
func states(r *importer.Report) string {
	var b strings.Builder
	for _, p := range r.Points {
		fmt.Fprintf(&b, "%s %s", p.Type, p.State)
		for _, x := range p.Problems {
			fmt.Fprintf(&b, "\n  %s: %v", x.Path, x.Err)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// restore brings an imported point into a folder and starts a server there, which replays the imported log up to the
// target, with nothing of Lifeboat but the vault.
func restore(t *testing.T, w *pgbackresttest.World, v *vault.Vault, label, name string, target ...string) *pgbackresttest.Server {
	t.Helper()
	ctx := context.Background()
	bases, err := pgpoint.Bases(ctx, v, whose)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := pgpoint.Logs(ctx, v, whose)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(w.Root, name)
	run := func(root object.ID, path, target string) {
		t.Helper()
		n, err := v.Find(ctx, root, path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := restorer.Run(ctx, v, *n.Subtree, restorer.Options{Target: target, Root: n, Verify: true}); err != nil {
			t.Fatal(err)
		}
	}
	found := false
	for _, b := range bases {
		if b.Source != "pgbackrest "+label {
			continue
		}
		found = true
		run(*b.Snapshot.Tree, pgpoint.DataPath, folder)
		for _, s := range b.Spaces {
			at := folder + ".space." + s.OID
			run(*b.Snapshot.Tree, pgpoint.SpacesPath+"/"+s.OID, at)
			name := filepath.Join(folder, "tablespace_map")
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(strings.ReplaceAll(string(text), s.Location, at)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !found {
		t.Fatalf("no point is of backup %s", label)
	}
	run(*logs[0].Snapshot.Tree, pgpoint.LogPath, folder+".wal")
	// What an earlier restore wrote there would go before what this one says.
	change(t, filepath.Join(folder, "postgresql.auto.conf"), func(text []byte) []byte {
		lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(l string) bool {
			return strings.HasPrefix(l, "recovery_") || strings.HasPrefix(l, "restore_command")
		})
		return []byte(strings.Join(lines, "\n"))
	})
	settings := append([]string{"archive_mode=off", "restore_command='cp $(find " + folder + ".wal -name %f) %p'", "recovery_target_action=promote"}, target...)
	if err := os.WriteFile(filepath.Join(folder, "recovery.signal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.Adopt(folder)
	w.Adopt(folder + ".wal")
	return w.Launch(folder, settings...)
}

// byLifeboat lets Lifeboat restore an imported point and starts a server there.
func byLifeboat(t *testing.T, w *pgbackresttest.World, v *vault.Vault, label, name string, target pgrestore.Target) *pgbackresttest.Server {
	t.Helper()
	ctx := context.Background()
	bases, err := pgpoint.Bases(ctx, v, whose)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(bases, func(b pgpoint.BasePoint) bool { return b.Source == "pgbackrest "+label })
	if i < 0 {
		t.Fatalf("no point is of backup %s", label)
	}
	folder := filepath.Join(w.Root, name)
	o := pgrestore.Options{Vault: v, Whose: whose, Base: bases[i].Snapshot.ID, Target: target, Data: folder, Spaces: map[string]string{},
		Bin: pgtest.Bin(t), Program: w.Program()}
	for _, s := range bases[i].Spaces {
		o.Spaces[s.OID] = folder + ".space." + s.OID
	}
	if _, err := pgrestore.Run(ctx, o); err != nil {
		t.Fatal(err)
	}
	return w.Launch(folder, "archive_mode=off")
}

// mode is a kind of repository.
type mode struct {
	pgbackresttest.Options
	newer, blocks bool // made by a newer pgBackRest; files that change are backed up by blocks
}

func (m mode) String() string {
	text := m.Compress
	for _, w := range []struct {
		word string
		on   bool
	}{{"+encrypted", m.Cipher != ""}, {"+bundled", m.Bundle}, {"+newer", m.newer}, {"+blocks", m.blocks}} {
		if w.on {
			text += w.word
		}
	}
	return text
}

// modes are two of Debian's pgBackRest, and with LIFEBOAT_LONG all that there are, newer ones too.
func modes() []mode {
	of := func(compress, cipher string, bundle bool) pgbackresttest.Options {
		return pgbackresttest.Options{Compress: compress, Cipher: cipher, Bundle: bundle}
	}
	if !long() {
		return []mode{{Options: of("zst", "correct horse", true)}, {Options: of("gz", "", false)}}
	}
	var all []mode
	for _, compress := range []string{"gz", "lz4", "zst", "bz2", "none"} {
		for _, cipher := range []string{"", "correct horse"} {
			all = append(all, mode{Options: of(compress, cipher, false)}, mode{Options: of(compress, cipher, true)},
				mode{Options: of(compress, cipher, true), newer: true, blocks: true})
		}
		all = append(all, mode{Options: of(compress, "correct horse", true), newer: true}, mode{Options: of(compress, "", false), newer: true})
	}
	return all
}

// TestImportedBackupsRestoreToTheSame compares, for every kind of repository, each backup that was imported with
// pgBackRest's own restore of it: as the backup was, at an instant in the log behind it, and at the log's end.
func TestImportedBackupsRestoreToTheSame(t *testing.T) {
	t.Parallel()
	for _, m := range modes() {
		t.Run(m.String(), func(t *testing.T) {
			if !long() {
				t.Parallel()
			}
			if m.newer {
				m.Program = pgbackresttest.Newer(t)
			}
			if m.blocks {
				m.Settings = append(m.Settings, "repo1-block=y")
			}
			compareAll(t, pgbackresttest.Start(t, m.Options), m)
		})
	}
}

// when reads an instant as PostgreSQL writes it.
func when(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04:05.999999-07", text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func compareAll(t *testing.T, w *pgbackresttest.World, m mode) {
	ctx := context.Background()
	w.Server.SQL("insert into orders select i, md5(i::text) from generate_series(20001, 60000) i")
	labels := []string{w.Backup("full")}
	for i, kind := range []string{"diff", "incr", "incr"} {
		w.Server.SQL(fmt.Sprintf("update orders set what = 'change %d' where id %% 9000 = %d; delete from away where id = %d; insert into fleeting values (1)", i, i, i+1))
		labels = append(labels, w.Backup(kind))
	}
	w.Server.SQL("insert into away select generate_series(10001, 10100)")
	instant := w.Server.SQL("select clock_timestamp()")
	w.Server.SQL("insert into away values (-1); delete from orders where id % 2 = 0")
	w.Archive()
	if m.blocks && m.Cipher == "" {
		text, err := os.ReadFile(filepath.Join(w.Repo, "backup/main", labels[3], "backup.manifest"))
		if err != nil || !strings.Contains(string(text), `"bim":`) {
			t.Fatalf("pgBackRest did not back up by blocks: %v", err)
		}
	}
	v := newVault(t)
	report := imports(t, v, open(t, pgbackrest.Posix(w.Repo), m.Cipher))
	for i, p := range report.Points {
		if p.State != importer.Made || p.Label != labels[i] {
			t.Errorf("backup %d is %s as %s, want %s", i, p.Label, p.State, labels[i])
		}
	}
	again := imports(t, v, open(t, pgbackrest.Posix(w.Repo), m.Cipher))
	for _, p := range again.Points {
		if p.State != importer.There {
			t.Errorf("%s is %s at the second import", p.Label, p.State)
		}
	}
	if again.Stats.Stored != 0 || again.Logs[0].NewSegments != 0 {
		t.Errorf("the second import added %d bytes and %d segments", again.Stats.Stored, again.Logs[0].NewSegments)
	}
	if check, err := v.Check(ctx, vault.CheckOptions{ReadData: true}); err != nil || len(check.Problems) > 0 {
		t.Errorf("the vault is not sound: %v, %v", err, check.Problems)
	}

	compare := func(label, name string, theirs, mine []string) {
		t.Helper()
		a := w.Restore(label, "theirs-"+name, theirs...)
		b := restore(t, w, v, label, "mine-"+name, mine...)
		if diff := cmp.Diff(a.Dump(), b.Dump()); diff != "" {
			t.Errorf("%s, %s: the restored clusters differ (-pgBackRest +Lifeboat):\n%s", label, name, diff)
		}
		a.Stop()
		b.Stop()
	}
	for i, label := range labels {
		if i%2 == 1 && (long() || i == 1 && m.Bundle) {
			compare(label, fmt.Sprintf("as-it-was-%d", i), []string{"--type=immediate", "--target-action=promote"}, []string{"recovery_target=immediate"})
		}
	}
	if long() || !m.Bundle {
		theirs := w.Restore(labels[3], "theirs-at-an-instant", "--type=time", "--target="+instant, "--target-action=promote").Dump()
		mine := byLifeboat(t, w, v, labels[3], "mine-at-an-instant", pgrestore.Target{Kind: pgrestore.Time, Time: when(t, instant)}).Dump()
		if diff := cmp.Diff(theirs, mine); diff != "" {
			t.Errorf("at an instant the restored clusters differ (-pgBackRest +Lifeboat):\n%s", diff)
		}
	}
	if long() || m.Bundle {
		compare(labels[0], "at-the-end", nil, nil)
	}
}
