package importer_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest/importer"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest/pgbackresttest"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
)

// one gives the one file that matches below a repository.
func one(t *testing.T, repo, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(repo, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s matches %v, %v", pattern, found, err)
	}
	return found[0]
}

// change rewrites a file.
func change(t *testing.T, name string, how func([]byte) []byte) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, how(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// flip damages one bit in the middle.
func flip(text []byte) []byte { text[len(text)/2] ^= 4; return text }

// TestDamageIsNamed damages copies of one repository, each in another way.
func TestDamageIsNamed(t *testing.T) {
	t.Parallel()
	w := pgbackresttest.Start(t, pgbackresttest.Options{Compress: "gz"})
	w.Server.SQL("create table rotten as select generate_series(1, 1000)")
	w.Server.SQL("checkpoint")
	rotten := w.Server.SQL("select pg_relation_filepath('rotten')")
	change(t, filepath.Join(w.Server.Folder, rotten), func(b []byte) []byte { b[8192+4000] ^= 1; return b })
	file := w.Server.SQL("select pg_relation_filepath('orders')")
	labels := []string{w.Backup("full")}
	w.Server.SQL("update orders set what = 'changed'")
	labels = append(labels, w.Backup("incr"))
	w.Server.SQL("insert into away values (-1)")
	w.Archive()
	w.Server.SQL("insert into away values (-2)")
	w.Archive()
	w.Server.Stop()
	own := "backup/main/" + labels[1] + "/pg_data/" + file + ".gz"

	for _, c := range []struct {
		name   string
		damage func(t *testing.T, repo string)
		states string // as states has them, without what is behind the first line of each problem
		kind   failure.Kind
		gaps   int
		says   string
	}{
		{"nothing", func(*testing.T, string) {}, "full imported, incr imported", 0, 0, ""},
		{"a file of one backup", func(t *testing.T, repo string) { change(t, filepath.Join(repo, own), flip) },
			"full imported, incr failed", failure.Corrupt, 0, file},
		{"a file that both have", func(t *testing.T, repo string) {
			change(t, one(t, repo, "backup/main/"+labels[0]+"/pg_data/PG_VERSION.gz"), flip)
		},
			"full failed, incr failed", failure.Corrupt, 0, "pg_data/PG_VERSION"},
		{"a file is cut short", func(t *testing.T, repo string) {
			change(t, filepath.Join(repo, own), func(b []byte) []byte { return b[:len(b)-9] })
		}, "full imported, incr failed", failure.Corrupt, 0, file},
		{"a file is gone", func(t *testing.T, repo string) {
			if err := os.Remove(filepath.Join(repo, own)); err != nil {
				t.Fatal(err)
			}
		}, "full imported, incr failed", failure.NotFound, 0, file},
		{"a manifest, but not its copy", func(t *testing.T, repo string) {
			change(t, filepath.Join(repo, "backup/main", labels[1], "backup.manifest"), flip)
		}, "full imported, incr imported", 0, 0, ""},
		{"a manifest and its copy", func(t *testing.T, repo string) {
			change(t, filepath.Join(repo, "backup/main", labels[1], "backup.manifest"), flip)
			change(t, filepath.Join(repo, "backup/main", labels[1], "backup.manifest.copy"), flip)
		}, "full imported, incr failed", failure.Corrupt, 0, "backup.manifest"},
		{"a segment that no backup needs", func(t *testing.T, repo string) {
			change(t, one(t, repo, "archive/main/15-1/*/*05-*.gz"), flip)
		}, "full imported, incr imported", failure.Corrupt, 1, "000000010000000000000005"},
		{"a segment that a backup needs is gone", func(t *testing.T, repo string) {
			if err := os.Remove(one(t, repo, "archive/main/15-1/*/*04-*.gz")); err != nil {
				t.Fatal(err)
			}
		}, "full imported, incr failed", failure.NotFound, 1, "0/4000028"},
		{"another file claims a segment's name", func(t *testing.T, repo string) {
			other := one(t, repo, "archive/main/15-1/*/*05-*.gz")
			name := strings.Replace(other, "000000010000000000000005-", "000000010000000000000004-", 1)
			if out, err := exec.Command("cp", other, name).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}, "full imported, incr imported", 0, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			repo := filepath.Join(t.TempDir(), "repo")
			if out, err := exec.Command("cp", "-a", w.Repo, repo).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			c.damage(t, repo)
			v := newVault(t)
			report, err := importer.Run(context.Background(), v, open(t, pgbackrest.Posix(repo), ""), importer.Options{Whose: whose})
			if (err != nil) != (c.says != "") || err != nil && failure.KindOf(err) != c.kind {
				t.Errorf("got %v, want %v", err, c.kind)
			}
			all := states(report)
			for _, l := range report.Logs {
				for _, p := range l.Problems {
					all += p.Path + ": " + p.Err.Error() + "\n"
				}
			}
			var got []string
			for _, p := range report.Points {
				got = append(got, string(p.Type)+" "+string(p.State))
			}
			if strings.Join(got, ", ") != c.states || !strings.Contains(all, c.says) {
				t.Errorf("got\n%swant %s, and %q named", all, c.states, c.says)
			}
			if gaps := len(report.Logs[0].Spans) - 1; gaps != c.gaps {
				t.Errorf("got %d gaps, want %d: %+v", gaps, c.gaps, report.Logs[0].Spans)
			}
			bases, err := pgpoint.Bases(context.Background(), v, whose)
			if err != nil || len(bases) != strings.Count(c.states, "imported") {
				t.Errorf("got %d base points, %v", len(bases), err)
			}
			if c.says == "" {
				return
			}
			// Mended, the same import brings what was missing.
			mended := imports(t, v, open(t, pgbackrest.Posix(w.Repo), ""))
			for _, p := range mended.Points {
				if p.State == importer.Fails {
					t.Errorf("mended, %s is not imported", p.Label)
				}
			}
			if n := len(mended.Logs[0].Spans); n != 1 {
				t.Errorf("mended, the log has %d spans: %+v", n, mended.Logs[0].Spans)
			}
		})
	}
	t.Run("pages that were damaged before", func(t *testing.T) {
		v := newVault(t)
		report := imports(t, v, open(t, pgbackrest.Posix(w.Repo), ""))
		if len(report.Points[0].Notes) != 2 || !report.Points[0].Damaged {
			t.Errorf("nothing is noted: %v", report.Points[0].Notes)
		}
		bases, err := pgpoint.Bases(context.Background(), v, whose)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bases {
			if want := []string{rotten + " block 1"}; !slices.Equal(b.Damaged, want) || b.DamagedPages != 1 || !b.Checksums {
				t.Errorf("%s: got %v of %d pages, want %v", b.Source, b.Damaged, b.DamagedPages, want)
			}
		}
	})
	t.Run("interrupted", func(t *testing.T) { interrupted(t, w) })
	t.Run("only one", func(t *testing.T) { onlyOne(t, w, labels) })
}

// failing is a store that cannot be reached any more after some calls.
type failing struct {
	pgbackrest.Store
	left atomic.Int64
}

// Open opens while it can.
func (f *failing) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	if f.left.Add(-1) < 0 {
		return nil, failure.New(failure.Unavailable, "open", path, "the network is gone")
	}
	return f.Store.Open(ctx, path, offset, length)
}

// interrupted breaks an import off at several moments and goes on each time.
func interrupted(t *testing.T, w *pgbackresttest.World) {
	v := newVault(t)
	var whole, stored int64
	for i, calls := range []int64{3, 8, 200, 500, 1 << 40} {
		store := &failing{Store: pgbackrest.Posix(w.Repo)}
		store.left.Store(1 << 40)
		repo := open(t, store, "")
		store.left.Store(calls)
		report, err := importer.Run(context.Background(), v, repo, importer.Options{Whose: whose})
		if last := i == 4; last != (err == nil) || !last && failure.KindOf(err) != failure.Unavailable {
			t.Fatalf("after %d calls: %v", calls, err)
		}
		stored += report.Stats.Stored
	}
	fresh := imports(t, newVault(t), open(t, pgbackrest.Posix(w.Repo), ""))
	whole = fresh.Stats.Stored
	// Folders of log and documents tell the time.
	if stored > whole+whole/10 {
		t.Errorf("in pieces %d bytes were stored, at once %d", stored, whole)
	}
	if check, err := v.Check(context.Background(), vault.CheckOptions{ReadData: true}); err != nil || len(check.Problems) > 0 {
		t.Errorf("the vault is not sound: %v, %v", err, check.Problems)
	}
}

// onlyOne imports one backup, then the rest, and looks ahead before each.
func onlyOne(t *testing.T, w *pgbackresttest.World, labels []string) {
	ctx := context.Background()
	v := newVault(t)
	repo := open(t, pgbackrest.Posix(w.Repo), "")
	o := importer.Options{Whose: whose, Only: labels[1:], DryRun: true}
	ahead, err := importer.Run(ctx, v, repo, o)
	if err != nil || len(ahead.Points) != 1 || ahead.Points[0].State != importer.New {
		t.Fatalf("%v\n%s", err, states(ahead))
	}
	if all, err := v.Snapshots(ctx, pgpoint.Filter(whose, pgpoint.IsLog)); err != nil || len(all) != 0 {
		t.Errorf("a dry run made %d snapshots, %v", len(all), err)
	}
	o.DryRun = false
	done, err := importer.Run(ctx, v, repo, o)
	if err != nil || len(done.Points) != 1 || done.Points[0].State != importer.Made {
		t.Fatalf("%v\n%s", err, states(done))
	}
	if got, want := done.Logs[0].NewSegments, ahead.Logs[0].NewSegments; got != want {
		t.Errorf("%d segments came, and %d were said to", got, want)
	}
	if from := done.Logs[0].Spans[0].From.At; from != 0x4000000 {
		t.Errorf("the log begins at %s, want the backup's own segment", from)
	}
	rest := imports(t, v, repo)
	if got := states(rest); got != "full imported\nincr there\n" {
		t.Errorf("then all of them: %s", got)
	}
	if s := rest.Logs[0].Spans; len(s) != 1 || s[0].From.At != 0x1000000 {
		t.Errorf("the log is %+v, want it from the first segment on", s)
	}
	o.Only = []string{"20200101-000000F"}
	if _, err := importer.Run(ctx, v, repo, o); failure.KindOf(err) != failure.NotFound {
		t.Errorf("a backup that is not there: got %v", err)
	}
}
