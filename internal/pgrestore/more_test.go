package pgrestore_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/test/ports"
)

// TestRaisedSettings replays a log in which the primary raises what a standby must not have lower.
func TestRaisedSettings(t *testing.T) {
	w := begin(t)
	w.receive(time.Hour)
	w.Exec("create table history (id int primary key)")
	w.capture()
	w.Exec("insert into history values (1)", "alter system set max_connections = 150", "alter system set max_prepared_transactions = 20")
	w.Halt("data", "fast")
	w.stop()
	w.Launch("data")
	w.receive(time.Hour)
	w.Exec("insert into history values (2)", "alter system set max_locks_per_transaction = 200")
	w.Halt("data", "fast")
	w.stop()
	w.Launch("data")
	w.receive(time.Hour)
	w.Exec("insert into history values (3)")
	end := w.caughtUp()
	for _, target := range []pgrestore.Target{{}, {Kind: pgrestore.LSN, LSN: end, Exclusive: true}} {
		_, conn, done := w.restore(w.options("copy", target))
		if got := pgtest.TextOf(t, conn, "select string_agg(id::text, ' ' order by id) from history"); got != "1 2 3" {
			t.Errorf("got %s", got)
		}
		done()
	}
}

// TestTablespaces restores to other places, in place, and never into what is in use.
func TestTablespaces(t *testing.T) {
	w := begin(t)
	w.receive(time.Hour)
	w.Sh(`mkdir "$1/fast" "$1/odd \\ one"`, w.Root)
	w.Exec("create tablespace fast location '"+w.Path("fast")+"'", "create tablespace odd location '"+w.Path(`odd \ one`)+"'",
		"create table history (id int primary key) tablespace fast", "create table more (id int) tablespace odd", "insert into history select generate_series(1, 1000)")
	w.capture()
	w.Exec("insert into history values (1001)", "insert into more values (1)")
	w.caughtUp()
	oid := w.Text("select oid from pg_tablespace where spcname = 'odd'")

	o := w.options("copy", pgrestore.Target{})
	if _, err := pgrestore.Run(t.Context(), o); failure.KindOf(orNil(err)) != failure.Conflict || !strings.Contains(err.Error(), "tablespace") {
		t.Fatalf("to where the primary has them: %v", err)
	}
	o.Spaces = map[string]string{w.Path("fast"): w.Path("fast2"), oid: w.Path(`odd \2`)}
	res, conn, _ := w.restore(o)
	if got := pgtest.TextOf(t, conn, "(select count(*) from history)||' '||(select count(*) from more)||' '||(select string_agg(pg_tablespace_location(oid), ' ' order by spcname) from pg_tablespace where spcname in ('fast', 'odd'))"); got !=
		"1001 1 "+w.Path("fast2")+" "+w.Path(`odd \2`) {
		t.Errorf("got %s, %+v", got, res)
	}
	if err := res.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.Overwrite = pgrestore.SameSystem
	res, conn, done := w.restore(o)
	if got := pgtest.TextOf(t, conn, "select count(*) from history"); got != "1001" || res.Reused < res.Bytes*9/10 {
		t.Errorf("in place: got %s, %+v", got, res)
	}
	done()
	// They are not this folder's any more, which is gone.
	if _, err := pgrestore.Run(t.Context(), o); failure.KindOf(orNil(err)) != failure.Conflict {
		t.Errorf("into tablespaces that belong to nobody known: %v", err)
	}
}

// TestConfigurationOutside restores a cluster whose configuration lies elsewhere, as Debian has it: with the site's own, and
// with none.
func TestConfigurationOutside(t *testing.T) {
	w := begin(t)
	w.Halt("data", "fast")
	w.Sh(`mkdir "$1/etc" && mv "$1"/data/*.conf "$1/etc" && mv "$1/etc/postgresql.auto.conf" "$1/data" && cat >>"$1/etc/postgresql.conf" <<END
data_directory = '$1/data'
hba_file = '$1/etc/pg_hba.conf'
ident_file = '$1/etc/pg_ident.conf'
external_pid_file = '$1/etc/pid'
restore_command = 'false'
recovery_target_name = 'of another time'
END
"$2/pg_ctl" start -w -s -D "$1/data" -l "$1/data.log" -o "-c config_file=$1/etc/postgresql.conf -c port=$3 -c listen_addresses=$4"`, w.Root, w.Bin, strconv.Itoa(w.Port), w.Host)
	w.receive(time.Hour)
	w.Exec("create table history (id int primary key)")
	w.capture()
	w.Exec("insert into history values (1)")
	w.caughtUp()
	for _, config := range []string{"", w.Path("etc", "postgresql.conf")} {
		o := w.options("copies/of it/copy", pgrestore.Target{})
		o.ServerLog, o.Server.Config = w.Path("copy.log"), config
		_, conn, done := w.restore(o)
		if got := pgtest.TextOf(t, conn, "select count(*)||' '||current_setting('max_wal_size') from history"); got != "1 "+map[bool]string{true: "1GB", false: "64MB"}[config == ""] {
			t.Errorf("with %q: got %s", config, got)
		}
		done()
	}
}

// TestIdle restores to a time after which nothing was committed: it is known that nothing was, or it is said that it is not.
func TestIdle(t *testing.T) {
	w := begin(t)
	w.receive(100 * time.Millisecond)
	w.Exec("create table history (id int primary key)")
	w.capture()
	w.Exec("insert into history values (1)")
	now, err := time.Parse("2006-01-02 15:04:05.999999-07", w.Text("clock_timestamp()"))
	if err != nil {
		t.Fatal(err)
	}
	w.folded()
	// The log says, as it comes, how late it is.
	w.Exec("select pg_logical_emit_message(false, 'x', 'y')", "checkpoint")
	w.folded()
	o := w.options("copy", pgrestore.Target{Kind: pgrestore.Time, Time: now})
	_, conn, done := w.restore(o)
	defer done()
	if got := pgtest.TextOf(t, conn, "select count(*) from history"); got != "1" {
		t.Errorf("got %s rows", got)
	}
	o.Target.Time = now.Add(time.Hour)
	if _, err := pgrestore.Preview(t.Context(), o); failure.KindOf(orNil(err)) != failure.NotFound {
		t.Errorf("to a time that is not known: %v", err)
	}
}

// TestPlainRestic restores without Lifeboat, by the steps that docs/postgres-restore.md lists.
func TestPlainRestic(t *testing.T) {
	if _, err := exec.LookPath("restic"); err != nil {
		t.Fatal("restic judges the vault: test/servers/install.sh restic")
	}
	w := begin(t)
	w.receive(100 * time.Millisecond)
	w.Sh(`mkdir "$1/fast"`, w.Root)
	w.Exec("create tablespace fast location '"+w.Path("fast")+"'", "create table history (id int primary key) tablespace fast", "insert into history select generate_series(1, 1000)")
	w.capture()
	w.Exec("insert into history select generate_series(1001, 40000)")
	w.folded()
	// The receiver goes on, and the vault is whole by restic's judgement.
	steps := script(t, "../../docs/postgres-restore.md")
	var writing sync.WaitGroup
	conn := w.Connect("postgres")
	writing.Go(func() {
		defer conn.Close(context.Background())
		for n := 40001; n < 80000; n += 1000 {
			if _, err := conn.Exec(context.Background(), fmt.Sprintf("insert into history select generate_series(%d, %d)", n, n+999)); err != nil {
				t.Error(err)
			}
		}
	})
	out := ""
	pgtest.Wait(t, "it", func() bool { // a fold holds the lock for some milliseconds, and this restic does not wait for it
		check := exec.Command("restic", "-r", w.vaultDir, "--no-cache", "check", "--read-data")
		check.Env = append(os.Environ(), "RESTIC_PASSWORD="+password)
		text, _ := check.CombinedOutput()
		out = string(text)
		return !strings.Contains(out, "already locked")
	})
	if !strings.Contains(out, "no errors were found") {
		t.Errorf("restic check, while log is received: %s", out)
	}
	writing.Wait()
	w.folded()
	w.stop()
	w.Halt("data", "immediate")
	w.write(w.Path("steps.sh"), steps)
	if os.Getuid() == 0 {
		w.sudo("chown", "-R", "postgres", w.vaultDir, w.Path("steps.sh"))
	}
	w.Sh(`cd "$1" && RESTIC_REPOSITORY="$1/vault" RESTIC_PASSWORD="$2" PATH="$3:$PATH" APP=shop RESOURCE=db INTO="$1/plain" PGPORT="$4" PGHOST="$1" sh -eu "$1/steps.sh"`,
		w.Root, password, w.Bin, strconv.Itoa(ports.Free(t, w.Host)))
	defer w.Halt("plain/data", "fast")
	if got := strings.TrimSpace(w.Sh(`psql -h "$1" -p "$(sed -n 4p "$1/plain/data/postmaster.pid")" -U postgres -Atc "select count(*)||' '||pg_is_in_recovery() from history" postgres`, w.Root)); got != "80000 false" {
		t.Errorf("got %s", got)
	}
}

// script is the first shell script of a document.
func script(t *testing.T, path string) string {
	t.Helper()
	_, rest, found := strings.Cut(read(t, path), "```sh\n")
	text, _, ends := strings.Cut(rest, "\n```")
	if !found || !ends {
		t.Fatalf("%s holds no script", path)
	}
	return text + "\n"
}
