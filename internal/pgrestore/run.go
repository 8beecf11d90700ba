package pgrestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
)

// run is one restore. It belongs to one goroutine.
type run struct {
	o        Options
	res      *Result
	begun    time.Time
	phase    Phase
	since    time.Time // of the phase
	progress Progress

	course  *course
	place   *place
	marker  marker
	scratch string
	least   settings // that must not be lower than the primary's
	feeder  *feeder
	server  *server
	stays   bool // the server is left running
}

// Run brings a cluster back. When it fails no server of it runs, and the folder can be started by nobody; the next Run for it
// goes on. The Result is given with every error, as far as it came.
//
// Errors: Invalid and Exists for what is asked; NotFound when the target cannot be reached with what is there, with what can
// be; Conflict when somebody uses the folder; Throttled when there is too little room; Corrupt when what was reached is less
// than the log promised, or a part of the log is damaged; Unavailable when the vault cannot be read.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := o.complete(); err != nil {
		return &Result{Target: o.Target}, err
	}
	if o.Program == "" {
		self, err := os.Executable()
		if err != nil {
			return &Result{Target: o.Target}, failure.WrapAs(failure.Internal, err, "find", "lifeboat")
		}
		o.Program = self
	}
	r := &run{o: o, res: &Result{Target: o.Target}, begun: time.Now(), least: settings{}}
	err := r.run(ctx)
	if err != nil && ctx.Err() != nil {
		err = failure.Wrap(context.Cause(ctx), "restore", string(o.Whose.Resource))
	}
	err = errors.Join(err, r.end(err))
	r.enter(Finished)
	return r.res, failure.Wrap(err, "restore", string(o.Whose.Resource))
}

func (r *run) run(ctx context.Context) error {
	r.enter(Planning)
	var err error
	if r.course, err = choose(ctx, r.o); err != nil {
		return err
	}
	r.res.Base, r.res.Warnings, r.res.Followed = r.course.base, r.course.warnings, r.course.route.timeline
	if r.place, err = look(ctx, r.o, r.course.base.Base); err != nil {
		return err
	}
	if !r.o.SkipSpaceCheck {
		needs, err := room(ctx, r.o, r.course, r.place)
		if err == nil {
			err = enough(needs)
		}
		if err != nil {
			return err
		}
	}
	if err := r.makeScratch(); err != nil {
		return err
	}
	lock, err := r.claim(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	r.enter(Restoring)
	bring := r.files
	if r.o.Forward {
		bring = r.forward
	}
	if err := bring(ctx); err != nil {
		return err
	}
	r.enter(Recovering)
	if err := r.recover(ctx); err != nil {
		return err
	}
	r.enter(Ending)
	return r.conclude(ctx)
}

// enter notes what the phase before took, and tells of the next.
func (r *run) enter(p Phase) {
	now := time.Now()
	if r.phase != "" {
		took := Took{Phase: r.phase, Seconds: now.Sub(r.since).Seconds()}
		switch r.phase {
		case Restoring:
			took.Bytes = r.res.Bytes
		case Recovering:
			took.Bytes = r.res.LogBytes
		}
		r.res.Took = append(r.res.Took, took)
	}
	r.phase, r.since = p, now
	r.tell()
}

func (r *run) tell() {
	r.progress.Phase, r.progress.Elapsed = r.phase, time.Since(r.begun)
	if r.o.Progress != nil {
		r.o.Progress(r.progress)
	}
}

// claim makes the folder ours: from here on nobody can start a server on it.
func (r *run) claim(ctx context.Context) (*os.File, error) {
	data := r.o.Data
	folders := []string{data}
	for _, to := range r.place.spaces {
		folders = append(folders, to)
	}
	for _, dir := range folders {
		if err := r.place.owner.makeFolder(dir); err != nil {
			return nil, err
		}
	}
	lock, err := lockFolder(data)
	if err != nil {
		return nil, err
	}
	if r.place.left != 0 {
		s := &server{pid: r.place.left, log: os.DevNull}
		if err := s.endLeft(ctx, data); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	}
	if r.place.found == ours {
		if err := r.place.marker.sweep(r.place.owner); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	}
	r.marker = marker{Scratch: r.scratch, Whose: r.o.Whose, Base: r.course.base.Snapshot.ID, Target: r.o.Target, Spaces: r.place.spaces, Keep: r.place.keep, Begun: r.begun.UTC()}
	err = r.place.owner.give(data)
	if err == nil {
		err = r.marker.write(data, r.place.owner)
	}
	if err == nil {
		err = removeFile(filepath.Join(data, versionFile))
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// files brings the base point's files, and makes the folder ready for a recovery.
func (r *run) files(ctx context.Context) error {
	o, p := r.o, r.place
	for _, name := range []string{"postmaster.pid", "postmaster.opts", recovery, standby} {
		if err := removeFile(filepath.Join(o.Data, name)); err != nil {
			return err
		}
	}
	err := bring(ctx, o, r.course, p, r.res, func(done, total int64) {
		r.progress.Bytes, r.progress.BytesTotal = done, total
		r.tell()
	})
	if err != nil {
		return err
	}
	if err := clearLog(p); err != nil {
		return err
	}
	if err := linkSpaces(p); err != nil {
		return err
	}
	if err := lasting(o, p.owner); err != nil {
		return err
	}
	signal := recovery
	if r.asStandby() {
		signal = standby
	}
	return replaceFile(filepath.Join(o.Data, signal), nil, p.owner)
}

// forward makes a folder whose recovery was paused ready to go on: the log that it has replayed it need not replay again.
func (r *run) forward(ctx context.Context) error {
	c, err := readControl(ctx, r.o.Bin, r.o.Data, r.place.owner)
	if err == nil && c.state != "shut down in recovery" && c.state != "in archive recovery" {
		err = failure.New(failure.Invalid, "go on with the recovery in", r.o.Data, "it is %s", c.state)
	}
	if err != nil {
		return err
	}
	for _, name := range []string{"postmaster.pid", "postmaster.opts", standby} {
		if err := removeFile(filepath.Join(r.o.Data, name)); err != nil {
			return err
		}
	}
	return replaceFile(filepath.Join(r.o.Data, recovery), nil, r.place.owner)
}

// asStandby reports whether the recovery must not end by itself where the log does.
func (r *run) asStandby() bool { return r.course.stop.Kind == Latest && r.o.After != Promote }

// version puts PG_VERSION into the data folder, without which nothing takes it for one.
func (r *run) version(ctx context.Context) error {
	text, err := pgpoint.ReadFile(ctx, r.o.Vault, r.course.tree(), pgpoint.DataPath+"/"+versionFile)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(r.o.Data, versionFile), text, r.place.owner)
}

// conclude makes of the recovered cluster what was asked for.
func (r *run) conclude(ctx context.Context) error {
	o := r.o
	stay := o.Leave == Running && (o.Server.Isolated || o.After == Pause)
	over := o.After == Pause
	if !stay {
		if err := r.server.stop(ctx); err != nil {
			return err
		}
	}
	r.server.hangUp()
	if err := r.feeder.close(over); err != nil {
		return failure.WrapAs(failure.Denied, err, "remove", r.feeder.folder())
	}
	r.feeder = nil
	if o.After == Shutdown {
		if err := removeFile(filepath.Join(o.Data, recovery)); err != nil {
			return err
		}
		if err := replaceFile(filepath.Join(o.Data, standby), nil, r.place.owner); err != nil {
			return err
		}
	}
	r.marker.Done = true
	if err := r.marker.write(o.Data, r.place.owner); err != nil {
		return err
	}
	if err := r.version(ctx); err != nil {
		return err
	}
	if err := removeFile(filepath.Join(o.Data, unfinished)); err != nil {
		return err
	}
	if stay {
		r.stays = true
		r.res.PID, r.res.Host, r.res.Port, r.res.Scratch = r.server.pid, r.scratch, o.Server.Port, r.scratch
		r.res.server = r.server
		return nil
	}
	if o.Leave == Running {
		return r.start(ctx)
	}
	return nil
}

// start starts the server as this host does, with nothing of the recovery left.
func (r *run) start(ctx context.Context) error {
	args := r.o.startCommand()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	if len(r.o.Server.Start) == 0 {
		as(cmd, r.place.owner)
	}
	log := r.logFile()
	f, err := openLog(log, r.place.owner)
	if err != nil {
		return err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log) // it is only for the message
		return failure.WrapAs(failure.Unavailable, err, "start the restored server", cmd.String()).
			WithHint("the cluster is whole: look why it does not start: %s", lastLines(string(text), 5))
	}
	pid, err := serverRuns(r.o.Data)
	if err == nil && pid == 0 {
		err = failure.New(failure.Unavailable, "start the restored server", cmd.String(), "it ended well, and no server runs on %s", r.o.Data)
	}
	r.res.PID = pid
	return err
}

func (r *run) logFile() string {
	if r.o.ServerLog != "" {
		return r.o.ServerLog
	}
	return filepath.Join(r.scratch, "server.log")
}

// end leaves nothing behind that does not belong to what was asked for. With an error that is everything but the folder.
func (r *run) end(failed error) error {
	var err error
	if r.server != nil && !r.stays {
		r.server.hangUp()
		err = r.server.kill()
	}
	if r.feeder != nil {
		err = errors.Join(err, r.feeder.close(false))
	}
	if r.scratch != "" && !r.stays {
		err = errors.Join(err, os.RemoveAll(r.scratch))
	}
	if err != nil {
		return failure.WrapAs(failure.Unavailable, err, "clean up after the restore to", r.o.Data)
	}
	return nil
}

// Stop ends an isolated server that was left running, and removes its scratch folder. It may be called by the process that
// started it.
func (r *Result) Stop(ctx context.Context) error {
	if r.server == nil {
		return failure.New(failure.Invalid, "stop the restored server", r.Host, "none was left running")
	}
	err := r.server.stop(ctx)
	if r.Scratch != "" {
		err = errors.Join(err, os.RemoveAll(r.Scratch))
	}
	return err
}

// String sums up what was reached, for people.
func (r *Result) String() string {
	text := fmt.Sprintf("base point of %s, log up to %s", r.Base.Ended.UTC().Format(time.RFC3339), r.Reached)
	if !r.LastCommit.IsZero() {
		text += ", last commit " + r.LastCommit.UTC().Format("2006-01-02 15:04:05.999999 UTC")
	}
	if r.Timeline != 0 {
		text += fmt.Sprintf(", timeline %d", r.Timeline)
	}
	return text
}
