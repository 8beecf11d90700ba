package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/demo/clients"
	"github.com/lifeboat-dr/lifeboat/internal/demo/world"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/test/program"
)

// place is a world with clients in it.
type place struct {
	t      *testing.T
	w      *world.World
	ledger *clients.Ledger
}

func newPlace(t *testing.T, db world.Recovery) *place {
	t.Helper()
	p := &place{t: t, ledger: clients.NewLedger()}
	var err error
	if p.w, err = world.Create(t.Context(), world.Options{DB: db, Dir: filepath.Join(program.Folder(t), "world"), Binary: program.Path()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			p.w.SaveLogs(t.ArtifactDir())
		}
		if err := p.w.Down(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	fleet := clients.Start(t.Context(), clients.Config{URL: p.w.ShopURL(), Resolver: p.w.Resolver(), Clients: 3,
		Pace: 50 * time.Millisecond, Prefix: p.w.ID()}, p.ledger)
	t.Cleanup(fleet.Stop)
	p.orders(10)
	return p
}

// orders waits until the clients have n more orders acknowledged.
func (p *place) orders(n int) {
	p.t.Helper()
	since := time.Now()
	program.Until(p.t, "orders", func(context.Context) error {
		if got := p.ledger.Acknowledged(since, time.Now()); got < n {
			return fmt.Errorf("%d are acknowledged", got)
		}
		return nil
	})
}

// start starts an operation.
func (p *place) start(words ...string) *program.Process {
	p.t.Helper()
	return program.Start(p.t, p.w.Dir(), p.w.Env(), append(append([]string{"-c", p.w.Config()}, words...), "--no-wait", "-o", "json")...)
}

// operate carries an operation out.
func (p *place) operate(words ...string) {
	p.t.Helper()
	run := p.start(words...)
	if code := run.Wait(); code != 0 {
		p.t.Fatalf("lifeboat %s exits with %d:\n%s", run.Words, code, run.Said())
	}
	var r api.Report
	if err := json.Unmarshal(run.Printed(), &r); err != nil || !r.OK {
		p.t.Fatalf("lifeboat %s: ok %v, %v: %s", run.Words, r.OK, err, run.Said())
	}
}

// status is what lifeboat status says of the app.
func (p *place) status() api.StatusReply {
	p.t.Helper()
	run := program.Start(p.t, p.w.Dir(), p.w.Env(), "-c", p.w.Config(), "status", world.App, "-o", "json")
	if code := run.Wait(); code != 0 {
		p.t.Fatalf("lifeboat %s exits with %d:\n%s", run.Words, code, run.Said())
	}
	var s api.StatusReply
	if err := json.Unmarshal(run.Printed(), &s); err != nil {
		p.t.Fatalf("%v: %s", err, run.Printed())
	}
	return s
}

// east is the folder of the east site.
func (p *place) east() string { return filepath.Join(p.w.Dir(), world.East) }

// startOldEast does what a boot does: it starts the database and the shop that were there, as they are. After a boot
// the process that the data folder's lock names is no more; here whoever adopted it may take a moment to bury it.
func (p *place) startOldEast() (shop *program.Process) {
	p.t.Helper()
	lock, err := os.ReadFile(filepath.Join(p.east(), "pgdata", "postmaster.pid"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.t.Fatal(err)
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(strings.Split(string(lock), "\n")[0])); err == nil {
		program.Until(p.t, "the dead server to be buried", func(context.Context) error {
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("process %d is there (%v)", pid, err)
			}
			return nil
		})
	}
	if err := p.w.Cluster(world.East).Start(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	secrets := filepath.Join(p.w.Dir(), "secrets", "shop.password")
	return program.Start(p.t, p.w.Dir(), p.w.Env(), "demo-shop", "--password", "file:"+secrets, "--log", filepath.Join(p.east(), "shop.log"),
		"--listen", p.w.ShopAddress(world.East), "--database", p.w.Cluster(world.East).Addr())
}

// order asks the shop of a site for an order, by the site's own address.
func (p *place) order(ctx context.Context, site, id string) (int, error) {
	body, err := json.Marshal(map[string]string{"id": id})
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.w.ShopAddress(site)+"/orders", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// strays holds that a client who still goes to the old site has no order acknowledged there.
func (p *place) strays() {
	p.t.Helper()
	for n := range 3 {
		id, status := fmt.Sprintf("stray-%d", n), 0
		program.Until(p.t, "the old shop to answer", func(ctx context.Context) (err error) {
			status, err = p.order(ctx, world.East, id)
			return err
		})
		if status != http.StatusServiceUnavailable {
			p.t.Errorf("the old shop answers an order with %d", status)
		}
	}
}

// write writes an order into the database of a site, as its superuser, who waits no longer than that for the answer.
func (p *place) write(site, id string, wait time.Duration) error {
	p.t.Helper()
	ctx := p.t.Context()
	conn, err := p.w.Connect(ctx, site, world.Database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	_, err = conn.Exec(bounded, "insert into orders (id) values ($1)", id)
	return err
}

// look holds that one site serves, that every acknowledged order is there, and that none is that nobody was promised.
func (p *place) look(serves string) {
	p.t.Helper()
	p.orders(10)
	ctx := p.t.Context()
	if at, err := p.w.NameAt(ctx); at != serves || err != nil {
		p.t.Errorf("the name leads to %q, %v; want %s", at, err, serves)
	}
	if standby, err := p.w.InRecovery(ctx, serves); standby || err != nil {
		p.t.Errorf("PostgreSQL in %s: standby %v, %v", serves, standby, err)
	}
	conn, err := p.w.Connect(ctx, serves, world.Database)
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close(ctx)
	c, err := p.ledger.Compare(ctx, conn)
	if err != nil {
		p.t.Fatal(err)
	}
	if !c.Clean() || c.Acknowledged < 20 {
		p.t.Errorf("of %d orders, lost: %v, never sent: %v, twice: %v", c.Acknowledged, c.Lost, c.Phantom, c.Repeated)
	}
}

// destroy kills all that runs in east, and with taken set takes its folder away.
func (p *place) destroy(taken bool) (folder string) {
	p.t.Helper()
	folder, n, err := p.w.Destroy(p.t.Context(), world.East)
	if err != nil || n < 6 { // the shop, the postmaster, and at least four of its processes
		p.t.Fatalf("destroy east: %d processes, %v", n, err)
	}
	if !taken {
		p.putBack(folder)
	}
	return folder
}

// putBack brings east's folder back.
func (p *place) putBack(folder string) {
	p.t.Helper()
	if err := os.Rename(folder, p.east()); err != nil {
		p.t.Fatal(err)
	}
}

// TestFencedPrimaryReturns starts an old primary again that the failover has fenced: it comes back as a standby, takes
// no writes, and the failback brings the app home.
func TestFencedPrimaryReturns(t *testing.T) {
	t.Parallel()
	p := newPlace(t, world.FromStandby)
	p.destroy(false)
	p.operate("failover", world.App, "--unplanned", "--yes")
	p.look(world.West)
	shop := p.startOldEast()
	if standby, err := p.w.InRecovery(t.Context(), world.East); !standby || err != nil {
		t.Errorf("the old primary has come back: standby %v, %v", standby, err)
	}
	var denied *pgconn.PgError
	if err := p.write(world.East, "stray", program.Patience); !errors.As(err, &denied) || denied.Code != "25006" { // read_only_sql_transaction
		t.Errorf("a write to the old primary: %v, want 25006", err)
	}
	p.strays()
	p.look(world.West)
	if s := p.status(); s.Serving != world.West {
		t.Errorf("status: serving at %q", s.Serving)
	}
	shop.Stop()
	p.operate("failback", world.App, "--yes")
	p.look(world.East)
}

// TestLostPrimaryReturns puts an old primary back that no failover could fence, because its disk was not there: it comes
// back as a primary of the old timeline. No write to it is ever acknowledged, since it waits for a standby that has
// gone its own way; Lifeboat says that there are two, and the failback throws the old one's timeline away.
func TestLostPrimaryReturns(t *testing.T) {
	t.Parallel()
	p := newPlace(t, world.FromStandby)
	disk := p.destroy(true)
	p.operate("failover", world.App, "--unplanned", "--yes")
	p.look(world.West)
	p.putBack(disk)
	shop := p.startOldEast()
	if standby, err := p.w.InRecovery(t.Context(), world.East); standby || err != nil {
		t.Fatalf("this test needs an old primary that nobody has fenced: standby %v, %v", standby, err)
	}
	if err := p.write(world.East, "stray", 2*time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a write to the old primary: %v, want none that is acknowledged", err)
	}
	p.strays()
	p.look(world.West)
	s := p.status()
	primaries := 0
	for _, d := range s.Resources {
		if d.Resource == "db" && d.Role == "primary" {
			primaries++
		}
	}
	warned := slices.ContainsFunc(s.Findings, func(f model.Finding) bool { return f.Code == "two-primaries" && f.Severity == model.Block })
	if primaries != 2 || !warned || s.Serving != world.West {
		t.Errorf("status: serving %q, %d primaries, findings %+v", s.Serving, primaries, s.Findings)
	}
	refused := p.start("failback", world.App, "--yes")
	if code := refused.Wait(); code != failure.Conflict.ExitCode() {
		t.Errorf("a failback between two primaries exits with %d, want %d: %s", code, failure.Conflict.ExitCode(), refused.Said())
	}
	if err := p.w.Cluster(world.East).Stop(t.Context(), "immediate"); err != nil {
		t.Fatal(err)
	}
	shop.Stop()
	// The folder of uploads came back live, too; the plan says what to do with an old copy.
	if err := os.Rename(filepath.Join(p.east(), "uploads"), filepath.Join(p.east(), "uploads.lifeboat-fenced")); err != nil {
		t.Fatal(err)
	}
	p.operate("failback", world.App, "--yes")
	p.look(world.East)
}
