package pgbase_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgbase"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// TestDamagedPagesAreFound overwrites pages on the disk: one so that it looks old, which the server finds too, and one with
// noise, which makes it look newer than it can be, so that neither the server nor pg_basebackup finds it.
func TestDamagedPagesAreFound(t *testing.T) {
	c := start(t, "--data-checksums")
	c.Exec("create table orders as select i as id, md5(i::text) as what from generate_series(1, 20000) i", "vacuum freeze orders", "checkpoint")
	name := c.Text("select pg_relation_filepath('orders')")
	c.Halt("data", "fast") // what it has in memory would be written again
	f, err := os.OpenFile(c.Path("data", name), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for at, what := range map[int64][]byte{3*8192 + 5000: []byte("not what was here"), 9 * 8192: bytes.Repeat([]byte{0xA7}, 8192)} {
		if _, err := f.WriteAt(what, at); err != nil {
			t.Fatal(err)
		}
	}
	c.Launch("data")
	want := []string{name + " block 3", name + " block 9"}
	v, _ := newVault(t)
	for name, o := range c.modes() {
		res := capture(t, v, o)
		if diff := cmp.Diff(want, res.Base.Damaged); diff != "" || res.Base.DamagedPages != 2 {
			t.Errorf("%s: %d damaged pages, want 2 (-want +got):\n%s", name, res.Base.DamagedPages, diff)
		}
		told := strings.Contains(strings.Join(res.Warnings, "\n"), "checksum")
		if told != (name == "protocol") {
			t.Errorf("%s: the server's own warnings are %q", name, res.Warnings)
		}
	}
	// A damaged page is damaged in the next point too, although its file was not touched.
	if res := capture(t, v, c.modes()["folder"]); res.Base.DamagedPages != 2 {
		t.Errorf("the next point says that %d pages are damaged", res.Base.DamagedPages)
	}
}

func TestAnotherClusterIsRefused(t *testing.T) {
	c, other := start(t), start(t, "--data-checksums") // what initdb makes by the same words is copied, identifier and all
	v, _ := newVault(t)
	capture(t, v, c.modes()["folder"])
	for name, o := range other.modes() {
		_, err := pgbase.Capture(t.Context(), v, o)
		if failure.KindOf(err) != failure.Conflict || !strings.Contains(err.Error(), "another database") {
			t.Errorf("%s: a cluster with another system id gives %v", name, err)
		}
		o.SystemID = 7
		if _, err := pgbase.Capture(t.Context(), v, o); failure.KindOf(err) != failure.Conflict {
			t.Errorf("%s: a system id that is not the expected one gives %v", name, err)
		}
	}
	// The server of one, the folder of the other.
	o := c.modes()["folder"]
	o.Folder = other.Path("data")
	if _, err := pgbase.Capture(t.Context(), v, o); failure.KindOf(err) != failure.Invalid {
		t.Errorf("another cluster's folder gives %v", err)
	}
	// A copy of the folder that no server runs on.
	c.Sh(`cp -a "$1/data" "$1/copy"`, c.Root)
	o.Folder = c.Path("copy")
	if _, err := pgbase.Capture(t.Context(), v, o); failure.KindOf(err) != failure.Invalid || !strings.Contains(err.Error(), "not the folder of the server") {
		t.Errorf("a copy of the folder gives %v", err)
	}
	for _, folder := range []string{c.Root, c.Path("nowhere")} {
		o.Folder = folder
		if _, err := pgbase.Capture(t.Context(), v, o); failure.KindOf(err) != failure.Invalid {
			t.Errorf("%s gives %v", folder, err)
		}
	}
	if got := points(t, v); got != 1 {
		t.Errorf("there are %d points", got)
	}
	c.quiet()
}

// points counts the base points.
func points(t testing.TB, v *vault.Vault) int {
	t.Helper()
	all, err := v.Snapshots(t.Context(), snapshot.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// quiet holds that no session of a capture is left on the server, and so no backup mode.
func (c *cluster) quiet() {
	c.t.Helper()
	c.WaitFor("select count(*) = 0 from pg_stat_activity where application_name = 'pgbase_test'")
}

func TestCancelledCapturesLeaveNothing(t *testing.T) {
	c := start(t)
	c.Exec("create table orders as select i as id, md5(i::text) as what from generate_series(1, 100000) i", "checkpoint")
	v, dir := newVault(t)
	for name, o := range c.modes() {
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("enough")
		o.MaxRate = 4 << 20
		o.Progress = func(p pgbase.Progress) {
			if p.Bytes > 0 {
				cancel(reason)
			}
		}
		res, err := pgbase.Capture(ctx, v, o)
		if res != nil || !errors.Is(err, context.Canceled) && !errors.Is(err, reason) {
			t.Errorf("%s: a cancelled capture gives %v, %v", name, res, err)
		}
		c.quiet()
		if got := points(t, v); got != 0 {
			t.Errorf("%s: there are %d points", name, got)
		}
		if locks, _ := os.ReadDir(dir + "/locks"); len(locks) != 0 {
			t.Errorf("%s: the vault is still locked", name)
		}
	}
	restic(t, dir, "check", "--read-data")
	for _, o := range c.modes() {
		capture(t, v, o) // nothing stands in the way of the next one
	}
}

// failing is a store that takes so many packs, and then none.
type failing struct {
	blob.Store
	left chan struct{}
}

var errFull = failure.New(failure.Unavailable, "store", "a pack", "no space left on the device")

func (f *failing) Save(ctx context.Context, h blob.Handle, r blob.Content) error {
	if h.Type == blob.Pack {
		select {
		case <-f.left:
		default:
			return errFull
		}
	}
	return f.Store.Save(ctx, h, r)
}

func TestAFailingVaultEndsTheCapture(t *testing.T) {
	c := start(t)
	c.Exec("create table orders as select i as id, md5(i::text) as what from generate_series(1, 200000) i", "checkpoint")
	for name, o := range c.modes() {
		dir := t.TempDir() + "/vault"
		f := &failing{store(t, dir), make(chan struct{}, 1)}
		f.left <- struct{}{}
		v, err := vault.Init(t.Context(), f, password, vault.Options{KDF: crypto.Params{N: 1 << 10, R: 8, P: 1}, PackSize: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pgbase.Capture(t.Context(), v, o); !errors.Is(err, errFull) {
			t.Errorf("%s: a vault that takes no more gives %v", name, err)
		}
		c.quiet()
		if got := points(t, v); got != 0 {
			t.Errorf("%s: there are %d points", name, got)
		}
		restic(t, dir, "check", "--read-data")
	}
}

func TestTheRateIsKept(t *testing.T) {
	c := start(t)
	v, _ := newVault(t)
	for name, o := range c.modes() {
		o.MaxRate = 32 << 20
		begun := time.Now()
		res := capture(t, v, o)
		// The last block is not waited for, nor what the server has in its buffers.
		if least := time.Duration(float64(res.Stats.Bytes-8<<20) / float64(o.MaxRate) * float64(time.Second)); time.Since(begun) < least {
			t.Errorf("%s: %d bytes came within %s", name, res.Stats.Bytes, time.Since(begun))
		}
	}
}

// TestUnderLoad captures while every file grows, shrinks, comes and goes, and restores that.
func TestUnderLoad(t *testing.T) {
	for _, name := range []string{"protocol", "folder"} {
		t.Run(name, func(t *testing.T) {
			c := start(t, "--data-checksums")
			c.Sh(`"$1/pgbench" -h "$2" -p "$3" -U postgres -i -q -s 3 postgres 2>&1`, c.tools, c.Host, fmt.Sprint(c.Port))
			v, dir := newVault(t)
			o := c.modes()[name]
			capture(t, v, o)
			stop := c.load()
			// Slow enough for much to happen meanwhile; twice, so that the second goes on from the first.
			o.MaxRate = 48 << 20
			capture(t, v, o)
			res := capture(t, v, o)
			stop()
			if res.Base.DamagedPages != 0 {
				t.Errorf("pages are said to be damaged: %v", res.Base.Damaged)
			}
			c.restore(dir, res.Snapshot)
			if got := c.Text("select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches) and (select sum(delta) from pgbench_history) = (select sum(tbalance) from pgbench_tellers)"); got != "true" {
				t.Error("the sums of pgbench's tables differ: half a transaction was restored")
			}
			c.sound("restored/data")
			restic(t, dir, "check", "--read-data")
		})
	}
}

// load changes everything until it is told to stop.
func (c *cluster) load() (stop func()) {
	c.t.Helper()
	script := c.Path("churn.sql")
	text := `create table if not exists churn_:client_id (id int, what text);
insert into churn_:client_id select i, md5(i::text) from generate_series(1, 2000) i;
create index on churn_:client_id (what);
create unlogged table gone_:client_id as select * from churn_:client_id;
delete from churn_:client_id where id % 3 = 0;
vacuum churn_:client_id;
truncate churn_:client_id;
drop table gone_:client_id;
drop table churn_:client_id;
`
	if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
	var running []*exec.Cmd
	for _, args := range [][]string{{"-c", "2", "-R", "500"}, {"-c", "1", "-R", "8", "-f", script}} {
		cmd := exec.Command(c.tools+"/pgbench", append([]string{"-n", "-h", c.Host, "-p", fmt.Sprint(c.Port), "-U", "postgres", "-T", "300", "postgres"}, args...)...)
		if err := cmd.Start(); err != nil {
			c.t.Fatal(err)
		}
		running = append(running, cmd)
	}
	return func() {
		for _, cmd := range running {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it was killed
		}
	}
}
