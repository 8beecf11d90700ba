// Package demo is `lifeboat demo`: it makes a small world, puts load on it, and has the real lifeboat program drill,
// fail over after a real disaster, and fail back, while the clients' own ledger says what was lost.
//
// It has no path of its own through the product: it writes a lifeboat.yaml and runs the commands that a user would run.
// The world is in package world, the clients in package clients. Start with [Run].
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/demo/clients"
	"github.com/lifeboat-dr/lifeboat/internal/demo/programs"
	"github.com/lifeboat-dr/lifeboat/internal/demo/world"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Options steer a demo.
type Options struct {
	JSON    bool           // one JSON document on Out; what happens is told on Err
	Keep    bool           // leave the world running at the end
	Dir     string         // its folder; empty: a new temporary one
	DB      world.Recovery // where the database comes back from, or OnAWS; empty: from a standby
	Reports string         // folder of the reports; empty: a new one in lifeboat-demo-reports here
	Binary  string         // the lifeboat program; empty: the running one
	Out     io.Writer      `json:"-"` // nil: nowhere
	Err     io.Writer      `json:"-"`
	Started time.Time      // when Run was called
}

// ErrNotWell is the cause when the demo ran to its end, and orders were lost or checks failed.
var ErrNotWell = errors.New("orders were lost or checks failed")

// The load: together the clients place this many orders a second when nothing holds them up.
const (
	clientCount = 5
	pace        = 25 * time.Millisecond
	uploadPace  = 200 * time.Millisecond // one more client uploads a file in this time
)

// steady is for how long orders are counted before and after each operation.
const steady = 2 * time.Second

// cleanTimeout bounds the taking away of the world at the end.
const cleanTimeout = 3 * time.Minute

// Hidden gives the commands of the binary that the demo's world runs, by name.
func Hidden() map[string]func(ctx context.Context, args []string) error { return programs.All() }

// Run runs the demo from beginning to end. It returns nil only if no order was lost and every check passed. When it
// returns, also because ctx ended or a signal came, nothing of the world is left, unless Keep asked for it.
func Run(ctx context.Context, opt Options) (err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if opt, err = opt.complete(); err != nil {
		return err
	}
	if opt.DB == OnAWS {
		return runOnAWS(ctx, opt)
	}
	d := &demo{opt: opt, began: opt.Started, ledger: clients.NewLedger(), result: Result{DB: opt.DB, Operations: []Operation{}}, program: program{limit: operationTimeout, reports: opt.Reports, say: opt.say(opt.Started)}}
	if err := world.CleanLeftovers(ctx, opt.Dir, d.say); err != nil {
		return err
	}
	d.say("making a world of two sites")
	d.world, err = world.Create(ctx, world.Options{DB: opt.DB, Dir: opt.Dir, Binary: opt.Binary, Logs: d.logs(), Say: d.say})
	if err != nil {
		if _, saved := os.Stat(d.logs()); saved == nil {
			d.say("the logs of the world are in %s", d.logs())
		}
		return err
	}
	d.program.run = startable(opt.Binary, d.world.Config(), d.world.Dir(), d.world.Env())
	keep := false
	defer func() { err = errors.Join(err, d.close(ctx, keep)) }()
	runErr := d.story(ctx)
	d.interrupted = ctx.Err() != nil
	keep = opt.Keep && !d.interrupted
	if err := d.finish(runErr, keep); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return failure.New(failure.Canceled, "demo", "", "interrupted")
	case runErr != nil:
		return runErr
	case !d.result.OK:
		return failure.WrapAs(failure.Corrupt, ErrNotWell, "demo", "").WithHint("the reports say more: %s", d.result.Reports)
	}
	return nil
}

// complete fills in what was left out.
func (opt Options) complete() (Options, error) {
	opt.Started = time.Now()
	if opt.Out == nil {
		opt.Out = io.Discard
	}
	if opt.Err == nil {
		opt.Err = io.Discard
	}
	switch opt.DB {
	case "":
		opt.DB = world.FromStandby
	case world.FromStandby, world.FromVault, OnAWS:
	default:
		return opt, failure.New(failure.Invalid, "demo", "", "the database comes back from a standby, from the vault, or in another region of AWS, not from %q", opt.DB).
			WithHint("--db %s, --db %s or --db %s", world.FromStandby, world.FromVault, OnAWS)
	}
	if opt.Binary == "" {
		self, err := os.Executable()
		if err != nil {
			return opt, failure.WrapAs(failure.Unsupported, err, "find", "the running program")
		}
		opt.Binary = self
	}
	if opt.Reports == "" {
		opt.Reports = filepath.Join("lifeboat-demo-reports", time.Now().UTC().Format("2006-01-02T150405Z"))
	}
	reports, err := filepath.Abs(opt.Reports)
	if err == nil {
		err = os.MkdirAll(reports, 0o755)
	}
	if err != nil {
		if reports, err = os.MkdirTemp("", "lifeboat-reports-"); err != nil {
			return opt, failure.WrapAs(failure.Denied, err, "make folder", opt.Reports)
		}
	}
	opt.Reports = reports
	return opt, nil
}

// demo is one demo under way.
type demo struct {
	opt    Options
	began  time.Time
	world  *world.World
	ledger *clients.Ledger
	fleet  *clients.Fleet
	result Result
	program

	interrupted bool
}

// logs is where the logs of a world go that was not well.
func (d *demo) logs() string { return filepath.Join(d.opt.Reports, "logs") }

// words is where words for people go.
func (opt Options) words() io.Writer {
	if opt.JSON {
		return opt.Err
	}
	return opt.Out
}

// say gives what tells what happens, with the time since began.
func (opt Options) say(began time.Time) func(format string, args ...any) {
	return func(format string, args ...any) {
		fmt.Fprintf(opt.words(), "%5.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
}

// story is what happens: drill, disaster, failover, failback.
func (d *demo) story(ctx context.Context) error {
	if err := d.command(ctx, "validate"); err != nil {
		return err
	}
	d.say("in the background: lifeboat protect %s", world.App)
	if d.opt.DB == world.FromVault {
		d.say("waiting until west receives the database's log, and no commit is acknowledged before it has it")
	}
	if err := d.world.Protect(ctx); err != nil {
		return err
	}
	d.fleet = clients.Start(ctx, clients.Config{URL: d.world.ShopURL(), Resolver: d.world.Resolver(), Clients: clientCount,
		Pace: pace, Prefix: d.world.ID(), Uploads: d.world.UploadsURL(), Upload: uploadPace}, d.ledger)
	d.say("%d clients place orders at %s, without pause, one more uploads files", clientCount, d.world.ShopURL())
	if err := d.serving(ctx); err != nil {
		return err
	}
	if err := d.rest(ctx); err != nil {
		return err
	}
	d.say("waiting for a recovery point of the uploads that was made by schedule")
	if err := d.captured(ctx, "uploads", time.Now()); err != nil {
		return err
	}
	err := d.operate(ctx, operation{name: "drill", from: world.East, to: world.West, serves: world.East,
		args: []string{"drill", world.App}})
	if err != nil {
		return err
	}
	if d.opt.DB == world.FromVault {
		if err := d.mistake(ctx); err != nil {
			return err
		}
	}
	err = d.operate(ctx, operation{name: "failover", mode: "unplanned", from: world.East, to: world.West, serves: world.West,
		args: []string{"failover", world.App, "--unplanned", "--yes"}, disaster: d.disaster})
	if err != nil {
		return err
	}
	if err := d.newMachine(ctx, time.Now()); err != nil {
		return err
	}
	return d.operate(ctx, operation{name: "failback", mode: "planned", from: world.West, to: world.East, serves: world.East,
		args: []string{"failback", world.App, "--yes"}})
}

// disaster destroys east.
func (d *demo) disaster(ctx context.Context) error {
	lost, killed, err := d.world.Destroy(ctx, world.East)
	if err != nil {
		return err
	}
	d.say("DISASTER: all %d processes in east killed with SIGKILL, its disk taken away (to %s)", killed, filepath.Base(lost))
	return nil
}

// newMachine gives east another machine. A database that comes back from the vault is protected anew from then on: from
// where it serves now, to there. A failback needs that; a standby is made by the failback itself.
func (d *demo) newMachine(ctx context.Context, failedOver time.Time) error {
	d.say("a new, empty machine in east")
	if err := d.world.Rack(ctx, world.East); err != nil || d.opt.DB != world.FromVault {
		return err
	}
	d.say("waiting until the database in west is in the vault, east receives its log, and commits wait for that")
	if err := d.captured(ctx, "db", failedOver); err != nil {
		return err
	}
	return d.world.Protected(ctx, world.West)
}

// serving waits until the clients get good answers.
func (d *demo) serving(ctx context.Context) error {
	return d.wait(ctx, "the clients' first orders", func() bool { return d.ledger.Acknowledged(time.Time{}, time.Now()) >= clientCount })
}

// captured waits until there is a recovery point of a resource from since or later.
func (d *demo) captured(ctx context.Context, id model.ResourceID, since time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	for {
		points, err := d.points(ctx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(points, func(p model.Point) bool { return p.Resource == id && !p.Live && !p.At.Before(since) }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return failure.WrapAs(failure.Unavailable, ctx.Err(), "wait for", "a recovery point of "+string(id)).
				WithHint("see protect.log in %s", d.world.Dir())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// wait waits for something that is seen from here.
func (d *demo) wait(ctx context.Context, what string, there func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for !there() {
		select {
		case <-ctx.Done():
			return failure.WrapAs(failure.KindOf(ctx.Err()), ctx.Err(), "wait for", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// rest lets the clients go on in peace, so that their orders can be counted.
func (d *demo) rest(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return failure.WrapAs(failure.Canceled, context.Cause(ctx), "demo", "")
	case <-time.After(steady):
		return nil
	}
}

// finish prints what came of it all.
func (d *demo) finish(runErr error, keep bool) error {
	if d.fleet != nil {
		d.fleet.Stop()
	}
	r := &d.result
	r.end(d.opt, d.began, runErr)
	if keep {
		r.World = d.world.Dir()
	}
	if !r.OK && !d.interrupted {
		d.world.SaveLogs(d.logs())
		d.say("the logs of the world are in %s", d.logs())
	}
	if d.interrupted && !d.opt.JSON {
		d.say("interrupted; the world is taken away")
	} else if err := r.write(d.opt); err != nil {
		return err
	}
	if keep {
		d.tellKept()
	}
	return nil
}

// tellKept says what can be done with a world that was kept.
func (d *demo) tellKept() {
	out := d.opt.words()
	line := fmt.Sprintf("%s -c %s", d.opt.Binary, d.world.Config())
	fmt.Fprintf(out, "\nThe world is still running, in %s. Try:\n\n", d.world.Dir())
	for _, words := range []string{"status shop", "plan failover shop", "drill shop", "failover shop --planned", "failback shop", "run list"} {
		fmt.Fprintf(out, "  %s %s\n", line, words)
	}
	fmt.Fprintf(out, "  curl -X POST -d '{\"id\": \"mine-1\"}' http://%s/orders\n", d.world.ShopAddress(world.East))
	fmt.Fprintf(out, "\nand end it with:\n\n  %s demo --stop %s\n", d.opt.Binary, d.world.Dir())
}

// close takes the world away, or leaves it.
func (d *demo) close(ctx context.Context, keep bool) error {
	if keep {
		return d.world.Keep()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	return d.world.Down(ctx)
}

// Stop ends a world that was kept, and removes its folder.
func Stop(ctx context.Context, dir string, out io.Writer) error {
	w, err := world.Open(dir)
	if err != nil {
		return err
	}
	if w.Running() {
		return failure.New(failure.Conflict, "stop demo", dir, "its demo is still running").WithHint("interrupt it with Ctrl-C")
	}
	n, err := w.Processes()
	if err != nil {
		return err
	}
	if err := w.Down(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d processes ended, %s removed\n", n, dir)
	return nil
}
