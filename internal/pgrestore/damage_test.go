package pgrestore_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// TestDamage restores with log that is damaged or gone: never less than there is in silence.
func TestDamage(t *testing.T) {
	w := begin(t)
	w.receive(time.Hour)
	w.Exec("create table history (id int primary key, filler text)")
	w.capture()
	for range 4 {
		w.Exec("insert into history select coalesce(max(id), 0) + 1, repeat('x', 1000) from history", "select pg_switch_wal()")
	}
	middle := w.flushed()
	w.Exec("insert into history select 100 + generate_series(1, 5000), repeat('x', 1000)", "select pg_create_restore_point('end')")
	w.caughtUp()
	w.Exec("select pg_switch_wal()", "insert into history values (9999)") // several segments behind the damage are whole
	w.caughtUp()
	w.stopKeeping()

	spools, err := filepath.Glob(w.Path("spool", "*"))
	if err != nil || len(spools) != 1 {
		t.Fatalf("got %v, %v", spools, err)
	}
	whole, err := filepath.Glob(filepath.Join(spools[0], "00000001*"))
	if err != nil || len(whole) < 8 {
		t.Fatalf("got %v, %v", whole, err)
	}
	slices.Sort(whole)
	victim := whole[len(whole)-4]
	sound := read(t, victim)
	w.t = t
	w.broken(t, victim, sound, middle)
	t.Run("a missing one, when less is accepted", func(t *testing.T) {
		w.t = t
		defer w.write(victim, sound)
		w.remove(victim)
		o := w.options("copy", pgrestore.Target{})
		o.Lenient = true
		res, conn, done := w.restore(o)
		defer done()
		if got := pgtest.TextOf(t, conn, "select max(id) < 9999 from history"); got != "true" || len(res.Warnings) == 0 {
			t.Errorf("got %s, warnings %v", got, res.Warnings)
		}
	})

	// The same log is in the vault, too: then damage of the spool does no harm, and damage of the vault does.
	w.t = t
	w.receive(100 * time.Millisecond)
	w.folded()
	w.stopKeeping()
	t.Run("a bit, and it is in the vault", func(t *testing.T) {
		w.t = t
		w.write(victim, flip(sound))
		_, conn, done := w.restore(w.options("copy", pgrestore.Target{}))
		defer done()
		if got := pgtest.TextOf(t, conn, "select max(id) from history"); got != "9999" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("the vault alone, damaged", func(t *testing.T) {
		w.t = t
		w.remove(victim)
		w.damageVault(filepath.Base(victim))
		o := w.options("copy", pgrestore.Target{})
		o.Spools = nil
		res, err := pgrestore.Run(t.Context(), o)
		if err == nil || !errors.Is(err, failure.Corrupt) || !strings.Contains(err.Error(), filepath.Base(victim)) {
			t.Fatalf("got %v, %+v", err, res)
		}
		w.nobodyRuns("copy")
	})
}

// flip changes one bit of a segment, within a record.
func flip(sound string) string {
	text := []byte(sound)
	text[len(text)/2+17] ^= 0x40
	return string(text)
}

// broken breaks one segment in several ways, and restores. Middle is a position before it.
func (w *world) broken(t *testing.T, victim, sound string, middle pgwal.LSN) {
	page := []byte(sound)
	page[8192*20+9] ^= 1 // the address that a page says it has
	lone := func(o *pgrestore.Options) {}
	for _, tt := range []struct {
		name   string
		harm   func()
		change func(*pgrestore.Options)
		want   failure.Kind
		says   string
	}{
		{"a bit", func() { w.write(victim, flip(sound)) }, lone, failure.Corrupt, filepath.Base(victim)},
		{"an address", func() { w.write(victim, string(page)) }, lone, failure.Corrupt, filepath.Base(victim)},
		{"a short file", func() { w.write(victim, sound[:len(sound)/2]) }, lone, failure.Corrupt, filepath.Base(victim)},
		{"a missing one", func() { w.remove(victim) }, lone, failure.NotFound, "log is missing from"},
		{"a missing one, and a name behind it", func() { w.remove(victim) }, func(o *pgrestore.Options) {
			o.Target = pgrestore.Target{Kind: pgrestore.Name, Name: "end"}
		}, failure.NotFound, "it is not in the log"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			defer w.write(victim, sound)
			tt.harm()
			o := w.options("copy", pgrestore.Target{})
			tt.change(&o)
			o.Leave = pgrestore.Stopped
			res, err := pgrestore.Run(t.Context(), o)
			o.Leave = pgrestore.Running
			if failure.KindOf(orNil(err)) != tt.want || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v (%s), %+v", err, failure.KindOf(orNil(err)), res)
			}
			w.nobodyRuns("copy")
			if tt.name != "a bit" {
				return
			}
			// What lies before the damage can be reached.
			o.Target = pgrestore.Target{Kind: pgrestore.LSN, LSN: middle, Exclusive: true}
			_, conn, done := w.restore(o)
			defer done()
			if got := pgtest.TextOf(t, conn, "select count(*) from history"); got != "4" {
				t.Errorf("before the damage there are %s rows", got)
			}
		})
	}
}

func orNil(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}

// stopKeeping stops the receiver, and puts back what it folds as it ends: spool and vault stay as they are.
func (w *world) stopKeeping() {
	w.t.Helper()
	w.sudo("mkdir", w.Path("kept"))
	w.sudo("cp", "-a", w.Path("spool"), w.vaultDir, w.Path("kept"))
	w.stop()
	w.sudo("rm", "-r", w.Path("spool"), w.Path("receiver"), w.vaultDir)
	w.sudo("mv", w.Path("kept", "spool"), w.Path("kept", "vault"), w.Root)
	w.sudo("rmdir", w.Path("kept"))
	var err error
	if w.v, err = vault.Open(w.t.Context(), w.store(), password, vault.Options{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove(path string) {
	w.t.Helper()
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
}

// nobodyRuns verifies that no server runs on a folder, and that none can be started.
func (w *world) nobodyRuns(folder string) {
	w.t.Helper()
	if _, err := os.Stat(w.Path(folder, "PG_VERSION")); !os.IsNotExist(err) {
		w.t.Errorf("the folder looks like a cluster: %v", err)
	}
	if out, err := w.Try(`"$1/pg_ctl" start -w -s -D "$2" -l "$2.log"`, w.Bin, w.Path(folder)); err == nil {
		w.t.Errorf("a folder that is not finished can be started: %s", out)
	}
}

// damageVault damages every copy of every blob of one log segment in the vault.
func (w *world) damageVault(segment string) {
	w.t.Helper()
	ctx := w.t.Context()
	logs, err := pgpoint.Logs(ctx, w.v, whose)
	if err != nil || len(logs) != 1 {
		w.t.Fatalf("got %d log snapshots, %v", len(logs), err)
	}
	_, start, err := pgwal.ParseSegmentName(segment, segmentSize)
	if err != nil {
		w.t.Fatal(err)
	}
	node, err := w.v.Find(ctx, *logs[0].Snapshot.Tree, pgpoint.SegmentPath(1, start, segmentSize))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, id := range node.Content {
		packs, err := w.v.PackedIn(ctx, object.Handle{Type: object.Data, ID: id})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, p := range packs {
			entries, err := w.v.PackContent(ctx, p)
			if err != nil {
				w.t.Fatal(err)
			}
			path := filepath.Join(w.vaultDir, "data", p.String()[:2], p.String())
			text := []byte(read(w.t, path))
			for _, e := range entries {
				if e.ID == id {
					text[e.Offset+e.Length/2] ^= 1
				}
			}
			w.remove(path)
			w.write(path, string(text))
		}
	}
}

func (w *world) sudo(args ...string) {
	w.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		w.t.Fatalf("%v: %v: %s", args, err, out)
	}
}
