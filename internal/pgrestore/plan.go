package pgrestore

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// Plan is what a restore would do.
type Plan struct {
	Base     pgpoint.BasePoint
	Why      string // this base point
	Timeline pgwal.Timeline
	// Stop is where it will stop, StopTime when that was; zero: known only when it is reached. End is the end of the log, EndTime
	// when the last transaction there was committed.
	Stop     pgwal.LSN
	StopTime time.Time
	End      pgwal.LSN
	EndTime  time.Time

	Files   int
	Bytes   int64 // of files
	Write   int64 // of these, those that differ from what is there, or are not there
	Deleted int   // files and folders that are there and not in the base point
	Delete  []string
	// Segments are those of the log that the server reads, LogBytes what is in them from the base point to the target.
	Segments int
	LogBytes int64
	Needs    map[string]int64 // room that it takes, by a path on the file system
	Free     map[string]int64 // and what there is

	// Takes is how long it will take, by what earlier restores took; zero: there is no history.
	Takes    time.Duration
	Phases   []Took
	Commands []string // that are run, for people
	Warnings []string
}

// Preview works out what Run with the same options would do, and changes nothing. Errors are those that Run would end with
// before it begins.
func Preview(ctx context.Context, o Options) (*Plan, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	c, err := choose(ctx, o)
	if err != nil {
		return nil, err
	}
	p, err := look(ctx, o, c.base.Base)
	if err != nil {
		return nil, err
	}
	plan := &Plan{Base: c.base, Why: c.why, Timeline: c.route.timeline, Stop: c.at, StopTime: c.atTime, End: c.tail, EndTime: c.last,
		Warnings: c.warnings, Needs: map[string]int64{}, Free: map[string]int64{}}
	if err := compare(ctx, o, c, p, plan); err != nil {
		return nil, err
	}
	slices.Sort(plan.Delete)
	if at, err := os.Readlink(filepath.Join(o.Data, "pg_wal")); err == nil {
		plan.Warnings = append(plan.Warnings, "the log is elsewhere, by a link: "+at+" is emptied, too")
	}
	needs, err := room(ctx, o, c, p)
	if err != nil {
		return nil, err
	}
	for _, n := range needs {
		plan.Needs[n.path], plan.Free[n.path] = n.bytes, n.free
	}
	if err := enough(needs); err != nil && !o.SkipSpaceCheck {
		plan.Warnings = append(plan.Warnings, err.Error())
	}
	plan.LogBytes = int64(c.to() - c.base.Start)
	for _, s := range c.route.steps {
		if s.start < c.to() {
			plan.Segments++
		}
	}
	plan.predict(o.History)
	plan.Commands = commands(o, c)
	return plan, nil
}

// to is where the server will stop at the latest, as far as that is known.
func (c *course) to() pgwal.LSN {
	switch {
	case c.at != 0:
		return c.at
	case c.stop.Kind == Immediate:
		return c.base.Stop
	case c.stop.Kind == LSN:
		return max(c.base.Stop, c.stop.LSN)
	}
	return c.tail
}

// predict works out how long it takes from what earlier restores took for each byte. The longest counts: the question is how
// long one has to wait.
func (p *Plan) predict(history []Took) {
	rate := map[Phase]float64{} // seconds a byte, or seconds
	for _, t := range history {
		v := t.Seconds
		if t.Bytes > 0 {
			v /= float64(t.Bytes)
		}
		rate[t.Phase] = max(rate[t.Phase], v)
	}
	if rate[Restoring] == 0 && rate[Recovering] == 0 {
		return
	}
	for _, phase := range phases {
		t := Took{Phase: phase, Seconds: rate[phase]}
		switch phase {
		case Restoring:
			t.Bytes = p.Bytes
			t.Seconds *= float64(p.Bytes)
		case Recovering:
			t.Bytes = p.LogBytes
			t.Seconds *= float64(p.LogBytes)
		}
		p.Phases = append(p.Phases, t)
		p.Takes += time.Duration(t.Seconds * float64(time.Second))
	}
}

// phases are those that take time.
var phases = []Phase{Planning, Restoring, Recovering, Judging, Promoting, Ending}

// commands are what will be run, for people.
func commands(o Options, c *course) []string {
	set := recoverySettings(o, c, settings{}, "SCRATCH")
	var args []string
	for _, name := range []string{"restore_command", "recovery_target", "recovery_target_time", "recovery_target_lsn", "recovery_target_name", "recovery_target_xid",
		"recovery_target_inclusive", "recovery_target_timeline"} {
		if v, ok := set[name]; ok {
			args = append(args, "-c", name+"="+v)
		}
	}
	all := []string{hostexec.Join(append([]string{filepath.Join(o.Bin, "postgres"), "-D", o.Data}, args...)) + " ..."}
	if o.Server.Isolated || o.Leave != Running || o.After != Promote {
		return all
	}
	return append(all, strings.Join(o.startCommand(), " "))
}

// complete fills in what was left out, and refuses what cannot be.
func (o *Options) complete() error {
	wrong := func(format string, args ...any) error {
		return failure.New(failure.Invalid, "restore", string(o.Whose.Resource), format, args...)
	}
	switch {
	case o.Vault == nil:
		return wrong("there is no vault")
	case o.Bin == "":
		return wrong("the folder of the server's programs is not given")
	case o.After == Pause && o.Leave != Running:
		return wrong("a server that pauses at the target is left running")
	case o.After == Shutdown && o.Leave == Running:
		return wrong("a server that is shut down is not left running")
	}
	if o.Server.User == "" {
		o.Server.User = "postgres"
	}
	if o.Server.Port == 0 {
		o.Server.Port = defaultPort
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	return nil
}

const (
	defaultPort     = 5432 // on a socket in a folder of its own it is in nobody's way
	defaultPatience = 10 * time.Minute
)

// startCommand is what starts a server that is left running.
func (o Options) startCommand() []string {
	if len(o.Server.Start) > 0 {
		return o.Server.Start
	}
	args := []string{filepath.Join(o.Bin, "pg_ctl"), "start", "-w", "-s", "-D", o.Data}
	if o.Server.Config != "" {
		args = append(args, "-o", "-c config_file="+hostexec.Join([]string{o.Server.Config}))
	}
	return args
}
