package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/shop"
	"github.com/lifeboat-dr/lifeboat/examples"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/bubble"
	"github.com/lifeboat-dr/lifeboat/internal/demo/clients"
	"github.com/lifeboat-dr/lifeboat/internal/demo/world"
)

// OnAWS is the demo of examples/aws-databases on a stand-in for AWS: the databases come back in another region.
const OnAWS world.Recovery = "aws"

// ProgramOnAWS is the hidden program that tells that story: the binary's first argument.
const ProgramOnAWS = "demo-aws"

// Lifeboat runs one command line of the lifeboat program, which reaches AWS by http, in this process and its time.
type Lifeboat func(ctx context.Context, http *awstest.Client, words []string, out, errs io.Writer) error

// runOnAWS tells the story in a program of its own, where hours take seconds.
func runOnAWS(ctx context.Context, opt Options) error {
	dir, err := os.MkdirTemp(opt.Dir, "lifeboat-demo-aws-")
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "make folder", opt.Dir)
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, opt.Binary, ProgramOnAWS)
	cmd.Stdout, cmd.Stderr, cmd.Env = opt.Out, opt.Err, bubble.Environ(os.Environ())
	opt.Dir, opt.Out, opt.Err = dir, nil, nil
	text, err := json.Marshal(opt)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "write down", "the demo")
	}
	cmd.Stdin = bytes.NewReader(text)
	switch err = cmd.Run(); {
	case ctx.Err() != nil:
		return failure.New(failure.Canceled, "demo", "", "interrupted")
	case err != nil:
		return failure.WrapAs(failure.Corrupt, errors.Join(ErrNotWell, err), "demo", "").WithHint("the reports say more: %s", opt.Reports)
	}
	return nil
}

// MainOnAWS is the hidden program. It reads its options from standard input, and does not return.
func MainOnAWS(lifeboat Lifeboat) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	opt := Options{}
	err := json.NewDecoder(os.Stdin).Decode(&opt)
	opt.Out, opt.Err = os.Stdout, os.Stderr
	bubble.Main(func(enter func(func(context.Context))) {
		defer stop()
		d := &regions{opt: opt, lifeboat: lifeboat}
		if err == nil {
			enter(func(inside context.Context) { err = d.tell(inside) })
		}
		if err == nil && opt.Keep {
			err = d.keep(ctx)
		}
		if err != nil {
			fmt.Fprintln(opt.Err, "error:", err)
			os.Exit(1)
		}
		os.Exit(0) // or package testing says that all is well
	})
}

// regions is that demo under way: a world, the client of two of its databases, and Lifeboat.
type regions struct {
	opt      Options
	lifeboat Lifeboat
	now      func() time.Time // the world's
	config   string           // text of lifeboat.yaml
	shop     *shop.Shop
	writer   *writer
	result   Result
	program
}

// aMinute is how long the client writes after each operation, in the story's time.
const aMinute = time.Minute

// ago is when the story begins, so that it ends before now: what is kept of it goes on in the ordinary time.
const ago = 12 * time.Hour

// tell tells the story from its beginning to its end, in a bubble.
func (d *regions) tell(ctx context.Context) error {
	began := time.Now()
	if d.opt.Started.After(began) { // a bubble's time begins in the year 2000
		time.Sleep(d.opt.Started.Add(-ago).Sub(began))
	}
	if err := d.make(ctx); err != nil {
		return err
	}
	d.result = Result{DB: OnAWS, Operations: []Operation{}}
	d.program = program{run: d.here, limit: 24 * time.Hour, reports: d.opt.Reports, quiet: true, say: func(format string, args ...any) {
		fmt.Fprintf(d.opt.words(), "%s  %s\n", time.Now().UTC().Format(time.TimeOnly), fmt.Sprintf(format, args...))
	}}
	d.writer = &writer{shop: d.shop, ledger: clients.NewLedger()}
	writing, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { d.writer.write(writing) })
	began = time.Now()
	err := d.story(ctx)
	stop()
	group.Wait()
	d.result.end(d.opt, began, err)
	return errors.Join(err, d.result.write(d.opt))
}

// here runs Lifeboat in this process.
func (d *regions) here(ctx context.Context, words []string, out, errs io.Writer) error {
	return d.lifeboat(ctx, d.shop.Client(), append([]string{"-c", d.file()}, words...), out, errs)
}

func (d *regions) file() string { return filepath.Join(d.opt.Dir, "lifeboat.yaml") }

// make makes the world, and says in the environment how Lifeboat is somebody there.
func (d *regions) make(ctx context.Context) (err error) {
	d.now = time.Now
	d.shop = shop.New(awstest.New(awstest.Options{Now: func() time.Time { return d.now() }}), time.Sleep)
	if err := d.shop.Make(ctx); err != nil {
		return err
	}
	for _, v := range d.credentials() {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			return failure.WrapAs(failure.Internal, err, "set", name)
		}
	}
	if d.config, err = d.shop.Configure(examples.AWSDatabases); err != nil {
		return err
	}
	return d.configure(d.config)
}

func (d *regions) configure(text string) error {
	if err := os.WriteFile(d.file(), []byte(text), 0o600); err != nil {
		return failure.WrapAs(failure.Denied, err, "write", d.file())
	}
	return nil
}

// credentials are variables of the environment with which one is somebody in the stand-in, and nowhere else.
func (d *regions) credentials() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + d.shop.Admin.AccessKey, "AWS_SECRET_ACCESS_KEY=" + d.shop.Admin.SecretKey}
}

// keep serves the world on loopback until ctx ends, in the ordinary time, with quick transitions.
func (d *regions) keep(ctx context.Context) error {
	d.now = time.Now
	d.shop.Play(awstest.Script{Scale: 0.01})
	server, err := d.shop.Serve()
	if err != nil {
		return failure.WrapAs(failure.Unavailable, err, "listen on", "loopback")
	}
	defer server.Close()
	account := fmt.Sprintf("{account: %q,", shop.Account)
	if err := d.configure(strings.ReplaceAll(d.config, account, account+fmt.Sprintf(" endpoint: %q,", server.URL))); err != nil {
		return err
	}
	fmt.Fprintf(d.opt.words(), "\nThe stand-in is up until Ctrl-C; there, what takes minutes at AWS takes seconds. In another terminal:\n\n  cd %s\n  export %s\n", d.opt.Dir, strings.Join(d.credentials(), " "))
	for _, words := range []string{"status shop", "doctor shop", "rehearse shop", "plan failover shop", "failover shop", "points shop"} {
		fmt.Fprintf(d.opt.words(), "  %s %s\n", d.opt.Binary, words)
	}
	<-ctx.Done()
	return nil
}

// story is what happens: a drill, a region that hangs, a failover, and a failback after an approval.
func (d *regions) story(ctx context.Context) error {
	d.say("an application in two regions of a stand-in for AWS; a client writes to its two databases, without pause")
	for _, words := range [][]string{{"validate"}, {"protect", "shop", "--once"}} {
		if err := d.command(ctx, words...); err != nil {
			return err
		}
	}
	before, err := d.shop.Inventory(ctx)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "list", "the regions")
	}
	if err := d.operate(ctx, operation{name: "drill", from: "dublin", to: "frankfurt", serves: "dublin", args: []string{"drill", "shop"}}); err != nil {
		return err
	}
	after, err := d.shop.Inventory(ctx)
	if err != nil || !slices.Equal(before, after) {
		return failure.New(failure.Corrupt, "drill", "shop", "the regions hold other things after the drill than before it: %v, %v", before, after)
	}
	d.say("both regions hold exactly what they held before the drill")
	d.say("DISASTER: Dublin hangs: no call is answered, and no client reaches it")
	d.writer.lose(shop.Dublin)
	home := d.shop.Inject(awstest.Fault{Region: shop.Regions()[shop.Dublin], How: awstest.Hang})
	err = d.operate(ctx, operation{name: "failover", mode: "unplanned", from: "dublin", to: "frankfurt", serves: "frankfurt",
		args: []string{"failover", "shop", "--unplanned", "--yes", "--accept-unfenced", "Dublin does not answer"}})
	if err != nil {
		return err
	}
	d.say("Dublin answers again; its old instance of RDS still takes writes, and the name sends nobody there")
	home.Remove()
	d.writer.lose("")
	return d.operate(ctx, operation{name: "failback", mode: "planned", from: "frankfurt", to: "dublin", serves: "dublin",
		args: []string{"failback", "shop", "--yes"}})
}

// operate carries an operation out, and compares what the databases hold after it with what the client was told.
func (d *regions) operate(ctx context.Context, op operation) error {
	o := Operation{Operation: op.name, Mode: op.mode, From: op.from, To: op.to}
	began := time.Now()
	report, err := d.product(ctx, op.args)
	if report != nil && !report.Run.Final {
		d.say("it waits for a person, as an old database is to be deleted")
		if err = d.command(ctx, "run", "approve", "last", "--by", "ann", "--reason", "seen the plan"); err == nil {
			report, err = d.product(ctx, []string{"run", "resume", "last"})
		}
	}
	if ctx.Err() != nil {
		return err
	}
	if err != nil {
		o.problem("%v", err)
	}
	if report == nil {
		return err
	}
	if report.Run.Outcome != api.Succeeded {
		o.problem("the run %s", report.Run.Status)
	}
	time.Sleep(aMinute) // the client goes on in peace
	o.take(report, d.reports)
	lost := d.writer.judge(&o, op, began)
	if o.OK = len(o.Problems) == 0; !d.opt.JSON {
		row := o.heading(d.opt.Out)
		row("objective", "RTO %s, RPO %s", seconds(o.RTOObjective), seconds(o.RPOObjective))
		row("RTO", "%s%s, %s", seconds(o.RTOSeconds), against(o.RTOSeconds, o.RTOObjective), o.rtoFrom())
		row("RPO", "%s", strings.TrimPrefix(seconds(o.RPOSeconds)+against(o.RPOSeconds, o.RPOObjective)+": "+report.RPO.Basis, "not measured: "))
		row("writes acknowledged", "%d, each to two databases", o.Acknowledged)
		row("writes lost", "%d of billing, %d of orders (compared one by one)", lost["billing"], lost["orders"])
		row("longest without answer", "%s, %d attempts refused", seconds(&o.OutageSeconds), o.Refused)
		o.footing(row)
		fmt.Fprintln(d.opt.Out)
	}
	d.result.Operations = append(d.result.Operations, o)
	if !o.OK {
		return failure.WrapAs(failure.Corrupt, ErrNotWell, "demo", o.title()).WithHint("%s", o.Problems[0])
	}
	return nil
}
