package importer_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest/importer"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest/pgbackresttest"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
)

var whose = pgpoint.Whose{App: "shop", Resource: "db"}

// newVault makes an empty vault.
func newVault(t *testing.T) *vault.Vault {
	t.Helper()
	v, err := vault.Init(context.Background(), memory.New(), "secret", vault.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// open opens the repository of a world.
func open(t *testing.T, w *pgbackresttest.World, pass string) *pgbackrest.Repo {
	t.Helper()
	r, err := pgbackrest.Open(context.Background(), pgbackrest.Posix(w.Repo), pgbackrest.Options{Stanza: w.Stanza, Passphrase: pass})
	if err != nil {
		t.Fatal(err)
	}
	return r
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
	for _, b := range bases {
		if b.Source != "pgbackrest "+label {
			continue
		}
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
	run(*logs[0].Snapshot.Tree, pgpoint.LogPath, folder+".wal")
	settings := append([]string{"archive_mode=off", "restore_command='cp $(find " + folder + ".wal -name %f) %p'", "recovery_target_action=promote"}, target...)
	if err := os.WriteFile(filepath.Join(folder, "recovery.signal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if out, err := exec.Command("chown", "-R", "postgres", folder, folder+".wal").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return w.Launch(folder, settings...)
}

func TestImportedBackupsRestoreToTheSame(t *testing.T) {
	ctx := context.Background()
	o := pgbackresttest.Options{Compress: "zst", Cipher: "pass", Bundle: true}
	w := pgbackresttest.Start(t, o)
	labels := []string{w.Backup("full")}
	w.Server.SQL("update orders set what = 'second' where id % 100 = 0")
	labels = append(labels, w.Backup("diff"))
	w.Server.SQL("update orders set what = 'third' where id % 50 = 0; delete from away where id < 10")
	labels = append(labels, w.Backup("incr"))
	w.Server.SQL("insert into away select generate_series(10001, 10100)")
	w.Archive()
	v := newVault(t)
	report, err := importer.Run(ctx, v, open(t, w, o.Cipher), importer.Options{Whose: whose})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.Points {
		t.Logf("%s %s %d %v %v", p.Label, p.State, p.Read, p.Problems, p.Notes)
	}
	t.Logf("%+v", report.Logs)
	for _, l := range labels {
		mine := restore(t, w, v, l, "mine-"+l).Dump()
		theirs := w.Restore(l, "theirs-"+l).Dump()
		if diff := cmp.Diff(theirs, mine); diff != "" {
			t.Errorf("%s: the restored clusters differ (-pgBackRest +Lifeboat):\n%s", l, diff)
		}
	}
	again, err := importer.Run(ctx, v, open(t, w, o.Cipher), importer.Options{Whose: whose})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", again)
}
