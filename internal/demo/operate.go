package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/demo/clients"
	"github.com/lifeboat-dr/lifeboat/internal/demo/world"
	"github.com/lifeboat-dr/lifeboat/model"
)

// operationTimeout bounds one operation: by then it hangs.
const operationTimeout = 10 * time.Minute

// slack is by how much the clients' outage may exceed the report's, which is seen by a probe that asks for the name
// each time: a client holds a name for its TTL, and pauses between two attempts. How late the clients were is added.
const slack = world.TTL + time.Second

// operation is what is to be done, and where the app is to serve after it.
type operation struct {
	name, mode, from, to, serves string
	args                         []string
	disaster                     func(ctx context.Context) error // what happens just before
}

// operate carries an operation out with the lifeboat program, and measures it from the clients' side. What goes wrong
// with the operation is in its problems; an error means that the demo cannot go on.
func (d *demo) operate(ctx context.Context, op operation) error {
	o := Operation{Operation: op.name, Mode: op.mode, From: op.from, To: op.to}
	lag := watchLag(ctx, d.world, op.from, op.to)
	defer lag.stop()
	pulse := clients.StartPulse(ctx)
	defer pulse.Stop()
	if err := d.rest(ctx); err != nil {
		return err
	}
	began := time.Now()
	lag.phase(during)
	if op.disaster != nil {
		if err := op.disaster(ctx); err != nil {
			return err
		}
	}
	report, err := d.product(ctx, op.args)
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err != nil {
		o.problem("%v", err)
	}
	ended := time.Now()
	lag.phase(after)
	if err := d.rest(ctx); err != nil {
		return err
	}
	o.OrdersPerSecond = Phases[float64]{
		d.ledger.Rate(began.Add(-steady), began), d.ledger.Rate(began, ended), d.ledger.Rate(ended, ended.Add(steady)),
	}
	o.ReplicationLag = lag.stop()
	outage := d.ledger.Outage(began, ended.Add(steady))
	o.OutageSeconds = outage.Duration().Seconds()
	o.WaitSeconds = d.ledger.LongestWait(began, ended.Add(steady)).Seconds()
	o.Refused = d.ledger.Refused(began, ended.Add(steady))
	o.LateSeconds = pulse.Stop().Seconds()
	o.judge(report, d.opt.Reports)
	if err := d.wait(ctx, "a client's good answer", func() bool { return d.ledger.Acknowledged(ended, time.Now()) > 0 }); err != nil {
		o.problem("no client has had a good answer after it: %v", err)
	}
	d.compare(ctx, &o, op.serves)
	d.compareUploads(&o, op, outage.From)
	d.look(ctx, &o, op)
	o.OK = len(o.Problems) == 0
	d.result.Operations = append(d.result.Operations, o)
	if !d.opt.JSON {
		o.write(d.opt.Out)
		fmt.Fprintln(d.opt.Out)
	}
	if !o.OK {
		return failure.WrapAs(failure.Corrupt, ErrNotWell, "demo", o.title()).WithHint("%s", o.Problems[0])
	}
	return nil
}

// take takes over what the report says.
func (o *Operation) take(r *api.Report, folder string) {
	o.Run = string(r.Run.ID)
	o.ReportHTML, o.ReportJSON = filepath.Join(folder, o.Run+".html"), filepath.Join(folder, o.Run+".json")
	for _, file := range []string{o.ReportHTML, o.ReportJSON} {
		if info, err := os.Stat(file); err != nil || info.Size() == 0 {
			o.problem("the report %s was not written", file)
		}
	}
	o.RTOObjective, o.RPOObjective = secondsOf(r.RTO.Objective), secondsOf(r.RPO.Objective)
	o.ReportRTO, o.RPOSeconds = r.RTO.Seconds, r.RPO.Seconds
	if o.RTOSeconds = &o.OutageSeconds; o.Operation == string(r.Run.Operation) && o.Operation == "drill" {
		o.RTOSeconds = r.RTO.Seconds
	}
	for _, c := range r.Checks {
		if c.Passed {
			o.ChecksPassed++
			continue
		}
		o.ChecksFailed++
		o.problem("check %q: %s", c.Name, c.Detail)
	}
}

// judge takes over what the report says, and says what is wrong with it.
func (o *Operation) judge(r *api.Report, folder string) {
	if r == nil {
		o.problem("there is no report")
		return
	}
	o.take(r, folder)
	switch {
	case !r.OK:
		o.problem("the report is not OK: the run %s", r.Run.Status)
	case len(r.Checks) == 0:
		o.problem("nothing was checked")
	case o.RPOSeconds == nil:
		o.problem("the RPO was not measured: %s", r.RPO.Basis)
	case o.ReportRTO == nil:
		o.problem("the RTO was not measured: %s", r.RTO.Basis)
	case o.Operation != "drill" && o.OutageSeconds > *o.ReportRTO+slack.Seconds()+o.LateSeconds:
		o.problem("clients were refused for %s, the report says %s", seconds(&o.OutageSeconds), seconds(o.ReportRTO))
	}
}

// compare compares the clients' ledger with the database that serves.
func (d *demo) compare(ctx context.Context, o *Operation, site string) {
	conn, err := d.world.Connect(ctx, site, world.Database)
	if err != nil {
		o.problem("the orders could not be compared: %v", err)
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	c, err := d.ledger.Compare(ctx, conn)
	if err != nil {
		o.problem("the orders could not be compared: %v", err)
		return
	}
	o.Acknowledged, o.Lost, o.LostOrders, o.Phantom, o.Repeated = c.Acknowledged, len(c.Lost), c.Lost, len(c.Phantom), len(c.Repeated)
	if !c.Clean() {
		o.problem("%d orders lost, %d never sent, %d stored twice", o.Lost, o.Phantom, o.Repeated)
	}
}

// compareUploads compares the clients' ledger with the folder that serves, byte for byte. Files are captured every now and
// then: those of an unplanned move that came after the last recovery point are lost, as the report's RPO says, and no
// others.
func (d *demo) compareUploads(o *Operation, op operation, outage time.Time) {
	c, err := d.ledger.CompareUploads(func(name string) ([]byte, bool, error) { return d.world.Upload(op.serves, name) })
	if err != nil {
		o.problem("the uploads could not be compared: %v", err)
		return
	}
	o.Uploads, o.UploadsLost = c.Acknowledged, len(c.Lost)
	switch {
	case len(c.Wrong) > 0:
		o.problem("%d uploads are not what was sent, %s for one", len(c.Wrong), c.Wrong[0])
	case len(c.Lost) == 0:
	case op.disaster == nil:
		o.problem("%d uploads are lost, and nothing was destroyed", len(c.Lost))
	case o.RPOSeconds == nil || c.Oldest.Before(outage.Add(-time.Duration((*o.RPOSeconds+o.LateSeconds)*float64(time.Second))-rpoSlack)):
		o.problem("an upload is lost that was stored %s before the outage, more than the RPO says", outage.Sub(c.Oldest).Round(10*time.Millisecond))
	}
}

// rpoSlack is by how much the clients' last good answer and the probe's may differ. How late the clients were is added.
const rpoSlack = time.Second

// points lists the app's recovery points, as a user would.
func (d *demo) points(ctx context.Context) ([]model.Point, error) {
	cmd := exec.CommandContext(ctx, d.opt.Binary, "-c", d.world.Config(), "points", world.App, "-o", "json")
	cmd.Env, cmd.Dir = d.world.Env(), d.world.Dir()
	out, err := cmd.Output()
	if err != nil {
		return nil, failure.WrapAs(failure.Unavailable, err, "run", "lifeboat points")
	}
	var reply api.PointsReply
	if err := json.Unmarshal(out, &reply); err != nil {
		return nil, failure.WrapAs(failure.Corrupt, err, "read", "lifeboat points")
	}
	return reply.Points, nil
}

// look asks the world itself what the operation has left: where the name points, who is primary, and after a drill that
// replication goes on and that nothing of the copy is left.
func (d *demo) look(ctx context.Context, o *Operation, op operation) {
	if at, err := d.world.NameAt(ctx); err != nil || at != op.serves {
		o.problem("the name leads to %q, not to %s (%v)", at, op.serves, err)
	}
	if standby, err := d.world.InRecovery(ctx, op.serves); err != nil || standby {
		o.problem("the database in %s is not a primary (%v)", op.serves, err)
	}
	if op.name == "failover" {
		return // the other site is gone
	}
	standby := world.West
	if op.serves == world.West {
		standby = world.East
	}
	if sync, err := d.world.Synchronous(ctx, op.serves); err != nil || !sync {
		o.problem("replication from %s to %s is not synchronous (%v)", op.serves, standby, err)
	}
	if op.name == "drill" {
		if left, err := d.world.DrillLeft(op.to); err != nil || len(left) > 0 {
			o.problem("the drill has left %v (%v)", left, err)
		}
	}
}

func secondsOf[D ~int64](d *D) *float64 {
	if d == nil {
		return nil
	}
	s := time.Duration(*d).Seconds()
	return &s
}
