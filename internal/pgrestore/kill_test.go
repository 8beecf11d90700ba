package pgrestore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
)

// restoreProgram is the first word of the command line that makes this test restore, to be killed.
const restoreProgram = "restore-to-be-killed"

// request is what it is told to do.
type request struct {
	Vault, Spool, Data, Bin, Program, Log string
	Target                                pgrestore.Target
	Overwrite                             pgrestore.Overwrite
}

func restoreMain(ctx context.Context, args []string) error {
	var r request
	err := json.Unmarshal([]byte(args[0]), &r)
	var store *file.Store
	if err == nil {
		store, err = file.Open(r.Vault)
	}
	var v *vault.Vault
	if err == nil {
		v, err = vault.Open(ctx, store, password, vault.Options{})
	}
	if err == nil {
		_, err = pgrestore.Run(ctx, pgrestore.Options{Vault: v, Whose: whose, Target: r.Target, Spools: []string{r.Spool}, Data: r.Data, Bin: r.Bin,
			Program: r.Program, Overwrite: r.Overwrite, ServerLog: r.Log, Server: pgrestore.Server{Isolated: true}})
	}
	return err
}

// child restores in a process of its own.
func (w *world) child(o pgrestore.Options) (*exec.Cmd, *bytes.Buffer) {
	w.t.Helper()
	text, err := json.Marshal(request{w.vaultDir, o.Spools[0], o.Data, o.Bin, o.Program, o.ServerLog, o.Target, o.Overwrite})
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(w.Program(), restoreProgram, string(text))
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	return cmd, &said
}

// TestKilled kills restores at random moments. What is left is never taken for a cluster, and the next restore goes on with
// it, unasked. LIFEBOAT_LONG kills more of them.
func TestKilled(t *testing.T) {
	w := begin(t)
	w.receive(time.Hour)
	w.Exec("create table history (id int primary key, filler text)")
	w.capture()
	w.Exec("insert into history select generate_series(1, 20000), repeat('x', 400)", "select pg_create_restore_point('here')", "insert into history values (0)")
	w.caughtUp()
	kills := 4
	if os.Getenv("LIFEBOAT_LONG") != "" {
		kills = 60
	}
	targets := []pgrestore.Target{{}, {Kind: pgrestore.Name, Name: "here"}}
	want := []string{"20001", "20000"}
	o := w.options("copy", targets[0])
	o.Leave = pgrestore.Stopped
	began := time.Now()
	if cmd, said := w.child(o); cmd.Wait() != nil {
		t.Fatalf("undisturbed: %s", said)
	}
	takes := time.Since(began)
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 3))
	killed := 0
	for n := range kills {
		if n%2 == 0 {
			w.sudo("rm", "-rf", o.Data)
			o.Overwrite = pgrestore.OnlyEmpty
		} else {
			o.Overwrite = pgrestore.SameSystem
		}
		o.Target = targets[n%4/2]
		began := time.Now()
		cmd, _ := w.child(o)
		timer := time.AfterFunc(time.Duration(r.Int64N(int64(takes))), func() { _ = cmd.Process.Kill() }) // the moment is what is tried
		whole := cmd.Wait() == nil
		timer.Stop()
		if !whole {
			killed++
			if out, err := w.Try(`"$1/pg_ctl" start -w -s -D "$2" -l "$2.log"`, w.Bin, o.Data); err == nil {
				w.unharmed(o, n, out)
			}
			o.Overwrite = pgrestore.OnlyEmpty
		} else {
			takes = time.Since(began) // the machine may be less busy than it was
		}
		if _, err := os.Stat(w.Path("copy", "lifeboat-restore.json")); err != nil {
			o.Overwrite = pgrestore.SameSystem // it was killed before it began, or after it ended
		}
		o.Leave, o.Target = pgrestore.Running, targets[n%2]
		res, conn, done := w.restore(o)
		if got := pgtest.TextOf(t, conn, "select count(*) from history"); got != want[n%2] {
			t.Errorf("seed %d, kill %d: %s rows after %s: %+v", seed, n, got, o.Target, res)
		}
		_ = conn.Close(context.Background())
		if err := res.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		_ = done
		o.Leave = pgrestore.Stopped
		if t.Failed() {
			return
		}
	}
	if killed == 0 {
		t.Errorf("none of %d was killed in time (%s)", kills, takes)
	}
	t.Logf("%d of %d were killed before their end", killed, kills)
}

// unharmed judges a folder that can be started after its restore was killed: then it was whole before the restore came to
// it, or after it.
func (w *world) unharmed(o pgrestore.Options, n int, out string) {
	w.t.Helper()
	defer w.Halt("copy", "fast")
	if _, err := os.Stat(w.Path("copy", "lifeboat-restore.json")); err == nil && !strings.Contains(read(w.t, w.Path("copy", "lifeboat-restore.json")), `"done": true`) {
		w.t.Errorf("kill %d: a folder that is not finished can be started: %s", n, out)
	}
}
