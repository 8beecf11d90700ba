package pgbase_test

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/internal/pgbase"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// nodes gives what is in a point, by path.
func nodes(t testing.TB, v *vault.Vault, sn *snapshot.Snapshot) map[string]tree.Node {
	t.Helper()
	all := map[string]tree.Node{}
	if err := v.Walk(t.Context(), *sn.Tree, func(path string, n *tree.Node, err error) error {
		if err == nil {
			all[path] = *n
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// shop fills a cluster with all that a base backup must tell apart. The function that it gives ends the session that keeps
// temporary things.
func shop(t *testing.T, c *cluster) (end func()) {
	t.Helper()
	c.Sh(`mkdir "$1/space" "$1/data/inner"`, c.Root)
	c.Exec(
		"create table orders as select i as id, md5(i::text) as what from generate_series(1, 20000) i",
		"create index on orders (what)",
		"create unlogged table carts as select * from orders",
		"create tablespace elsewhere location '"+c.Path("space")+"'",
		"create tablespace inside location '"+c.Path("data", "inner")+"'",
		"create table archived tablespace elsewhere as select * from orders",
		"create unlogged table scratch tablespace elsewhere as select * from orders",
		"create table noted tablespace inside as select * from orders",
		"create database second",
		"select pg_create_physical_replication_slot('keeps', true)",
		"vacuum analyze", // free space maps, visibility maps
		"checkpoint",
	)
	conn := c.Connect("postgres")
	for _, s := range []string{"set temp_buffers = '800kB'", "create temp table mine as select * from orders", "set work_mem = '64kB'", "begin",
		"declare sorted cursor with hold for select what from orders order by what", "commit"} {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return func() { _ = conn.Close(context.WithoutCancel(t.Context())) }
}

func TestPointsOfBothWaysHoldTheSame(t *testing.T) {
	c := start(t, "--data-checksums", "--allow-group-access")
	defer shop(t, c)()
	for what, glob := range map[string]string{
		"a temporary relation": "base/*/t[0-9]*_[0-9]*", "temporary files": "base/pgsql_tmp/pgsql_tmp*", "a slot": "pg_replslot/keeps/state",
		"the catalog's cache": "global/pg_internal.init", "an init fork in a tablespace": "pg_tblspc/*/PG_*/*/*_init",
	} {
		if out := c.Sh(`ls -d "$1/data/"$2 2>/dev/null || true`, c.Root, glob); out == "" {
			t.Errorf("the server has not got %s (%s): there is nothing to leave out", what, glob)
		}
	}
	v, dir := newVault(t)
	points := map[string]map[string]tree.Node{}
	for name, o := range c.modes() {
		res := capture(t, v, o)
		points[name] = nodes(t, v, res.Snapshot)
		if res.Base.DamagedPages != 0 || !res.Base.Checksums || res.Stats.Verified == 0 || len(res.Base.Spaces) != 2 {
			t.Errorf("%s: %+v, %+v", name, res.Base, res.Stats)
		}
	}
	restic(t, dir, "check", "--read-data")

	// What changes by itself between the two: the log's statistics, the clock of what the backups wrote.
	drop := func(p string, n tree.Node) bool {
		return slices.Contains([]string{pgpoint.AboutPath, pgpoint.ManifestPath, "/data/backup_label", "/data/global/pg_control"}, p)
	}
	shape := func(all map[string]tree.Node) map[string]string {
		out := map[string]string{}
		for p, n := range all {
			if !drop(p, n) {
				out[p] = fmt.Sprint(n.Type, " ", n.Mode, " ", n.Size, " ", n.UID, " ", n.GID, " ", n.Content)
			}
			if n.Type == tree.File && n.Content == nil {
				t.Errorf("%s has no content, not even an empty one", p)
			}
		}
		return out
	}
	if diff := cmp.Diff(shape(points["protocol"]), shape(points["folder"])); diff != "" {
		t.Errorf("by protocol (-), from the folder (+):\n%s", diff)
	}
	all := points["protocol"]
	if _, ok := all[pgpoint.ManifestPath]; !ok {
		t.Error("the manifest is not kept")
	}
	for name, all := range points {
		if got := all[pgpoint.DataPath].Mode.Perm(); got != 0o750 {
			t.Errorf("%s: the data folder has the mode %o, and its group may read it", name, got)
		}
		for p, n := range all {
			base := path.Base(p)
			if n.Type == tree.File && (strings.HasPrefix(base, "pgsql_tmp") || strings.HasPrefix(p, "/data/pg_wal/") || strings.HasPrefix(base, "postmaster.") ||
				strings.HasPrefix(p, "/data/pg_replslot/") || base == "pg_internal.init") || n.Type == tree.Symlink {
				t.Errorf("%s: %s is in the point", name, p)
			}
		}
	}
}

func TestRestored(t *testing.T) {
	for _, name := range []string{"protocol", "folder"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, "--data-checksums")
			end := shop(t, c)
			v, dir := newVault(t)
			var phases []pgbase.Phase
			o := c.modes()[name]
			o.Rows, o.Marker = map[string]int64{"postgres.public.orders": 20000}, &pgpoint.Marker{Seq: 7}
			o.Progress = func(p pgbase.Progress) { phases = append(phases, p.Phase) }
			res := capture(t, v, o)
			end()
			if len(phases) == 0 || phases[len(phases)-1] != pgbase.Done {
				t.Errorf("the progress was %v", phases)
			}
			read, err := pgpoint.ReadBase(t.Context(), v, res.Snapshot)
			if err != nil {
				t.Fatal(err)
			}
			res.Base.Version = read.Version
			if diff := cmp.Diff(res.Base, read.Base); diff != "" {
				t.Errorf("the result (-) and what the point says (+) differ:\n%s", diff)
			}
			c.restore(dir, res.Snapshot)
			for query, want := range map[string]string{
				"select count(*) from orders": "20000", "select count(*) from archived": "20000", "select count(*) from noted": "20000",
				"select count(*) from carts": "0", "select count(*) from scratch": "0", "select count(*) from pg_database where datname = 'second'": "1",
			} {
				if got := c.Text(query); got != want {
					t.Errorf("%s: %s, want %s", query, got, want)
				}
			}
			c.sound("restored/data")
		})
	}
}

// sound holds that nothing is wrong with a cluster that runs, and then with its files.
func (c *cluster) sound(folder string) {
	c.t.Helper()
	c.Exec("create extension if not exists amcheck")
	if c.major >= 14 {
		c.Sh(`"$1/pg_amcheck" -h "$2" -p "$3" -U postgres --heapallindexed --all --install-missing`, c.tools, c.Host, fmt.Sprint(c.Port))
	}
	c.Halt(folder, "fast")
	if c.matching() == "" {
		return
	}
	if out, err := c.Try(`"$1/pg_checksums" --check -D "$2"`, c.tools, c.Path(folder)); err != nil && !strings.Contains(err.Error(), "not enabled") {
		c.t.Errorf("pg_checksums: %v\n%s", err, out)
	}
}

func TestWithoutChecksumsNothingIsVerified(t *testing.T) {
	c := start(t)
	v, _ := newVault(t)
	for name, o := range c.modes() {
		res := capture(t, v, o)
		if res.Base.Checksums || res.Stats.Verified != 0 {
			t.Errorf("%s: checksums %v, %d pages verified", name, res.Base.Checksums, res.Stats.Verified)
		}
	}
}
