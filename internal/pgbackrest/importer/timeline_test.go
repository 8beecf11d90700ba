package importer_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest/importer"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest/pgbackresttest"
	"github.com/lifeboat-dr/lifeboat/internal/pgbase"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
)

// TestTimelines follows a cluster through a promotion and a return to an earlier instant, which leave two timelines
// behind, and through what cannot be imported: a backup of a stopped server.
func TestTimelines(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := pgbackresttest.Start(t, pgbackresttest.Options{Compress: "lz4", Cipher: "correct horse"})
	first := w.Backup("full")
	w.Server.SQL("create table told (what text); insert into told values ('on the first timeline')")
	w.Server.SQL("select pg_create_restore_point('fork')")
	w.Archive()
	w.Server.SQL("insert into told values ('only on the first timeline')")
	w.Archive()
	w.Server.Stop()

	// The cluster goes on from the fork, in the same stanza.
	pg := w.Server.Folder
	w.PgBackRest("--delta", "--type=name", "--target=fork", "--target-action=promote", "restore")
	w.Server = w.Relaunch(pg)
	w.Server.SQL("insert into told values ('on the second timeline')")
	w.Archive()
	v := newVault(t)
	half := imports(t, v, open(t, pgbackrest.Posix(w.Repo), "correct horse"))
	if got := len(half.Points); got != 1 {
		t.Errorf("got %d points, want 1", got)
	}
	second := w.Backup("incr")
	w.Server.SQL("insert into told values ('behind the second backup')")
	w.Archive()
	if got := states(imports(t, v, open(t, pgbackrest.Posix(w.Repo), "correct horse"))); got != "full there\nincr imported\n" {
		t.Errorf("got\n%s", got)
	}
	sharesBlocks(t, w, v)
	w.Server.Stop()
	w.PgBackRest("--no-online", "--type=full", "backup")

	report, err := importer.Run(ctx, v, open(t, pgbackrest.Posix(w.Repo), "correct horse"), importer.Options{Whose: whose})
	if failure.KindOf(err) != failure.Unsupported {
		t.Errorf("with a backup of a stopped server: got %v, want Unsupported", err)
	}
	if got := states(report); !strings.HasPrefix(got, "full there\nincr there\nfull failed\n") {
		t.Errorf("got\n%s", got)
	}
	l := report.Logs[0]
	var got []string
	for _, s := range l.Spans {
		got = append(got, strings.Join([]string{string(rune('0' + s.From.Timeline)), "to", string(rune('0' + s.To.Timeline))}, " "))
	}
	if diff := cmp.Diff([]string{"1 to 1", "1 to 2"}, got); diff != "" {
		t.Errorf("spans (-want +got):\n%s\n%+v", diff, l.Spans)
	}
	logs, err := pgpoint.Logs(ctx, v, whose)
	if err != nil || len(logs) != 1 {
		t.Fatalf("got %d logs, %v", len(logs), err)
	}
	bases, err := pgpoint.Bases(ctx, v, whose)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range pgpoint.Reach(bases, logs) {
		if r.Base.Source != "" && (!r.Consistent || r.To.Timeline != 2) {
			t.Errorf("%s reaches %+v", r.Base.Source, r.To)
		}
	}
	for _, c := range []struct{ label, name, timeline, want string }{
		{first, "first-latest", "latest", "on the first timeline,on the second timeline,behind the second backup"},
		{first, "first-on-1", "1", "on the first timeline,only on the first timeline"},
		{second, "second-latest", "latest", "on the first timeline,on the second timeline,behind the second backup"},
	} {
		s := restore(t, w, v, c.label, c.name, "recovery_target_timeline='"+c.timeline+"'")
		if got := s.SQL("select string_agg(what, ',') from told"); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		s.Stop()
	}
	// What pgBackRest's restore left in postgresql.auto.conf, which the second backup has, is of no account to Lifeboat's.
	s := byLifeboat(t, w, v, second, "second-by-lifeboat", pgrestore.Target{})
	if got, want := s.SQL("select string_agg(what, ',') from told"), "on the first timeline,on the second timeline,behind the second backup"; got != want {
		t.Errorf("by Lifeboat: got %s, want %s", got, want)
	}
	s.Stop()
	marksTellTheTime(t, w, logs[0])
}

// sharesBlocks captures the cluster, which has hardly changed since the newest backup, and holds that hardly anything is
// stored for it that the import did not bring.
func sharesBlocks(t *testing.T, w *pgbackresttest.World, v *vault.Vault) {
	t.Helper()
	server, err := pgconn.ParseConfig("host=" + w.Server.Socket + " user=postgres dbname=postgres")
	if err != nil {
		t.Fatal(err)
	}
	r, err := pgbase.Capture(context.Background(), v, pgbase.Options{Whose: whose, Site: "east", Server: server, Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	if fresh := r.Stats.Vault.Plain; fresh > r.Stats.Bytes/4 {
		t.Errorf("of %d bytes %d are new to the vault", r.Stats.Bytes, fresh)
	}
}

// marksTellTheTime compares the newest mark with what pg_waldump finds in the log.
func marksTellTheTime(t *testing.T, w *pgbackresttest.World, l pgpoint.LogPoint) {
	t.Helper()
	newest := l.Marks[len(l.Marks)-1]
	wal := filepath.Join(w.Root, "first-latest.wal")
	var last string
	err := filepath.WalkDir(wal, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && len(d.Name()) == 24 && strings.HasPrefix(d.Name(), "00000002") {
			for _, line := range strings.Split(w.WALDump(path), "\n") {
				if strings.Contains(line, "desc: COMMIT ") {
					last = line
				}
			}
		}
		return err
	})
	if err != nil || last == "" {
		t.Fatalf("pg_waldump finds no commit: %v", err)
	}
	if want := "COMMIT " + newest.Time.Local().Format("2006-01-02 15:04:05.000000"); !strings.Contains(last, want) {
		t.Errorf("the newest mark is %v at %v; the newest commit: %s", newest.Time, newest.Position, last)
	}
}
