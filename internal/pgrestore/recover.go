package pgrestore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// raises is how often a recovery is begun again because the log raises what its settings must not be below.
const raises = 8

// recover replays the log and judges what was reached. The server is in recovery then, or is a primary already when the log
// ended first.
func (r *run) recover(ctx context.Context) error {
	var err error
	r.feeder, err = feed(ctx, r.course.wal, r.course.route, r.o.Data, socketIn(r.scratch), r.place.owner)
	if err != nil {
		return err
	}
	var now standing
	for n := 0; ; n++ {
		if err := r.begin(ctx); err != nil {
			return err
		}
		now, err = r.watch(ctx)
		if err == nil {
			break
		}
		if !errors.Is(err, errRaise) || n == raises {
			return err
		}
		if err := r.server.stop(ctx); err != nil {
			return err
		}
	}
	r.note(now)
	r.enter(Judging)
	if err := r.judge(now); err != nil {
		return err
	}
	if r.o.After != Promote {
		return nil
	}
	r.enter(Promoting)
	return r.promote(ctx, now)
}

// begin starts the server that conducts the recovery, and takes from everybody else the possibility to.
func (r *run) begin(ctx context.Context) error {
	c, err := readControl(ctx, r.o.Bin, r.o.Data, r.place.owner)
	if err != nil {
		return err
	}
	if c.system != r.course.base.SystemID {
		return failure.New(failure.Corrupt, "recover", r.o.Data, "the control file is of the cluster %d, and the base point of %d", c.system, r.course.base.SystemID)
	}
	for name, n := range c.least {
		r.least[name] = strconv.Itoa(n)
	}
	login, err := loginAt(r.scratch, r.o.Server.Port, r.o.Server.User)
	if err != nil {
		return err
	}
	if err := r.version(ctx); err != nil {
		return err
	}
	r.server, err = startServer(r.o.Bin, r.o.Data, recoverySettings(r.o, r.course, r.least, r.scratch), r.logFile(), r.place.owner, login)
	if err != nil {
		return err
	}
	r.marker.Server = r.server.pid
	if err := r.marker.write(r.o.Data, r.place.owner); err != nil {
		return err
	}
	// It holds postmaster.pid once it has looked at PG_VERSION; from then on that is in nobody's interest but ours.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if pid, err := serverRuns(r.o.Data); err == nil && pid == r.server.pid {
			return removeFile(filepath.Join(r.o.Data, versionFile))
		}
		if !r.server.running() {
			return r.ended()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// standing is where a recovering server is.
type standing struct {
	recovering bool
	paused     bool
	reached    pgwal.LSN
	commit     time.Time
	why        string // "recovery stopping ..." of its log
}

// errRaise says that the server needs higher settings, which the control file tells now.
var errRaise = errors.New("the log raises settings")

// watch waits until the server has come to the target or to the end of the log.
func (r *run) watch(ctx context.Context) (standing, error) {
	var now, before standing
	var fed, fedBefore fed
	moved := time.Now()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var end atEnd
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return now, ctx.Err()
		}
		if !r.server.running() {
			return now, r.ended()
		}
		fedBefore, fed = fed, r.feeder.tells()
		var err error
		before = now
		if now, err = r.stand(ctx); err != nil && failure.KindOf(err) != failure.Unavailable {
			return now, err
		}
		r.observe(now, fed)
		if now.reached != before.reached || fed.segments != fedBefore.segments {
			moved = time.Now()
		}
		switch {
		case err != nil: // it lets nobody in yet
		case !now.recovering:
			return now, nil
		case now.paused && now.why != "":
			return now, nil
		case now.paused:
			return now, errRaise
		case r.asStandby() && end.reached(now, fed):
			return now, nil
		}
		if time.Since(moved) > r.o.Patience {
			return now, failure.New(failure.Unavailable, "recover", r.o.Data, "the server has done nothing for %s, at %s", r.o.Patience, now.reached).
				WithHint("its last words: %s", lastLines(r.server.said(), 3))
		}
	}
}

// atEnd finds out that a server in standby mode has come to the end of the log: it goes on asking for what it was given
// already or what is not there, and replays nothing meanwhile. It does one or the other at a time.
type atEnd struct {
	at       pgwal.LSN
	furthest int
	asked    int
}

// insists is how often it must ask without any progress. The first few times are of the server's way of beginning.
const insists = 6

func (e *atEnd) reached(now standing, f fed) bool {
	if now.reached != e.at || f.furthest != e.furthest {
		e.at, e.furthest, e.asked = now.reached, f.furthest, f.asked
		return false
	}
	return now.reached != 0 && f.asked-e.asked >= insists
}

func (r *run) observe(now standing, f fed) {
	r.progress.At, r.progress.To, r.progress.Segments = max(now.reached, r.progress.At), r.course.to(), f.segments
	r.tell()
}

// stand asks the server where it is. Unavailable: it lets nobody in yet.
func (r *run) stand(ctx context.Context) (standing, error) {
	paused := "pg_is_wal_replay_paused()"
	if r.course.base.Major >= 14 {
		paused = "pg_get_wal_replay_pause_state() = 'paused'"
	}
	row, err := r.server.ask(ctx, `select pg_is_in_recovery(), pg_is_in_recovery() and `+strings.ReplaceAll(pausedOnlyInRecovery, "PAUSED", paused)+`, coalesce(pg_last_wal_replay_lsn()::text, ''),
coalesce(to_char(pg_last_xact_replay_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), '')`)
	if err != nil {
		return standing{recovering: true}, err
	}
	now := standing{recovering: row[0] == "t", paused: row[1] == "t"}
	if row[2] != "" {
		if now.reached, err = pgwal.ParseLSN(row[2]); err != nil {
			return now, err
		}
	}
	if row[3] != "" {
		if now.commit, err = time.Parse("2006-01-02 15:04:05.999999", row[3]); err != nil {
			return now, failure.WrapAs(failure.Internal, err, "understand the server's time", row[3])
		}
	}
	if now.paused || !now.recovering {
		now.why = stopping.FindString(r.server.said())
	}
	return now, nil
}

// pausedOnlyInRecovery asks for what is an error once the recovery is over.
const pausedOnlyInRecovery = "case when pg_is_in_recovery() then PAUSED else false end"

// What the server says in its log, with lc_messages = C (xlogrecovery.c).
var (
	stopping  = regexp.MustCompile(`recovery stopping [^\n]*`)
	notInTime = regexp.MustCompile(`recovery ended before configured recovery target was reached`)
	tooSoon   = regexp.MustCompile(`requested recovery stop point is before consistent recovery point`)
	lower     = regexp.MustCompile(`insufficient parameter settings|is a lower setting than on the`)
	complains = regexp.MustCompile(`(?m)^.*(?:FATAL|PANIC|invalid |incorrect |unexpected |contains no data|record length|out-of-sequence|could not).*$`)
)

// ended is why the server ended before it was told to.
func (r *run) ended() error {
	said := r.server.said()
	if err := r.feeder.tells().failed; err != nil {
		return failure.Wrap(err, "recover", r.o.Data)
	}
	last := lastLines(strings.Join(complains.FindAllString(said, -1), "\n"), 3)
	if last == "" {
		last = lastLines(said, 3)
	}
	switch {
	case lower.MatchString(said):
		return errRaise
	case tooSoon.MatchString(said):
		return failure.New(failure.Invalid, "recover", r.o.Data, "the target (%s) is before the base point %s is consistent, at %s", r.o.Target, r.course.base.Snapshot.ID.Short(), r.course.base.Stop).
			WithHint("name an earlier base point")
	case notInTime.MatchString(said):
		return failure.New(failure.Corrupt, "recover", r.o.Data, "the log ended before the target (%s) was reached: %s", r.o.Target, last).
			WithHint("the log should go on to %s: verify the vault and the spools", r.course.tail)
	}
	return failure.New(failure.Unavailable, "recover", r.o.Data, "the server ended (%s): %s", describe(r.server.code), last).
		WithHint("look what it said in its log, then restore again: what is right already is kept")
}

func describe(w syscall.WaitStatus) string {
	if w.Signaled() {
		return w.Signal().String()
	}
	return "exit code " + strconv.Itoa(w.ExitStatus())
}

// note keeps what was reached for the result.
func (r *run) note(now standing) {
	f := r.feeder.tells()
	r.res.Reached, r.res.LastCommit, r.res.Why, r.res.Segments = now.reached, now.commit, now.why, f.segments
	if now.reached > r.course.base.Start {
		r.res.LogBytes = int64(now.reached - r.course.base.Start)
	}
}

// judge compares what was reached with what was asked for and with what is known of the log.
func (r *run) judge(now standing) error {
	c := r.course
	less := func(format string, args ...any) error {
		err := failure.New(failure.Corrupt, "recover", r.o.Data, format, args...).
			WithHint("the server said: %s", lastLines(strings.Join(complains.FindAllString(r.server.said(), -1), "\n"), 3))
		if r.o.Lenient {
			r.res.Warnings = append(r.res.Warnings, err.Error())
			return nil
		}
		return err
	}
	if now.reached < c.base.Stop {
		return failure.New(failure.Corrupt, "recover", r.o.Data, "the server stopped at %s, before the base point is consistent (%s)", now.reached, c.base.Stop)
	}
	if c.stop.Kind == Latest {
		if now.reached < c.tail {
			return less("the log goes on to %s, and the server found its end at %s", c.tail, now.reached)
		}
		return nil
	}
	if !fits(c.stop, now.why) {
		return less("the server did not stop at the target (%s): it says %q at %s", c.stop, now.why, now.reached)
	}
	before := strings.HasPrefix(now.why, "recovery stopping before")
	exact := before && justBefore(now.reached, c.at) || !before && now.reached == c.at
	// Commits need not lie in the order of their times, so that the first one after a time is the server's to find.
	if c.at != 0 && !exact && (c.stop.Kind != Time || now.reached > c.at) {
		return less("the target (%s) is at %s, and the server stopped at %s", c.stop, c.at, now.reached)
	}
	return nil
}

// justBefore reports whether the record at position at follows what ends at reached: at most the header of a page is between
// them.
func justBefore(reached, at pgwal.LSN) bool { return reached <= at && at-reached <= longPageHeader }

// fits reports whether the server's words are about a target.
func fits(t Target, why string) bool {
	switch t.Kind {
	case Immediate:
		return strings.Contains(why, "after reaching consistency")
	case Time:
		return strings.Contains(why, "before commit of") || strings.Contains(why, "before abort of") || strings.Contains(why, "after commit of") || strings.Contains(why, "after abort of")
	case LSN:
		return strings.Contains(why, "WAL location (LSN)") // of the first record there or behind: where it is is known
	case Name:
		return strings.Contains(why, fmt.Sprintf("restore point \"%s\"", t.Name))
	case XID, BeforeXID:
		return strings.Contains(why, fmt.Sprintf(" of transaction %d,", t.xid()))
	}
	return false
}

// promote makes a primary of the server, unless the log's end has, and finds out on which timeline.
func (r *run) promote(ctx context.Context, now standing) error {
	if now.recovering {
		// At the target, to go on means to be promoted; it is noticed at once, and pg_promote after up to a second.
		if _, err := r.server.ask(ctx, "select pg_wal_replay_resume()"); err != nil {
			return err
		}
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for begun := time.Now(); now.recovering; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !r.server.running() {
			return r.ended()
		}
		var err error
		if now, err = r.stand(ctx); err != nil && failure.KindOf(err) != failure.Unavailable {
			return err
		}
		if time.Since(begun) > r.o.Patience {
			return failure.New(failure.Unavailable, "promote", r.o.Data, "it is in recovery still after %s", r.o.Patience)
		}
	}
	row, err := r.server.ask(ctx, "select pg_walfile_name(pg_current_wal_lsn())")
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(row[0][:8], 16, 32)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "understand", row[0])
	}
	r.res.Timeline = pgwal.Timeline(n)
	if _, known := r.course.wal.histories[r.res.Timeline]; known || r.res.Timeline <= r.course.route.timeline {
		return failure.New(failure.Corrupt, "promote", r.o.Data, "the server chose timeline %d, which the log has already", r.res.Timeline)
	}
	return nil
}

// endLeft ends the server that an unfinished restore left, which is not this process's child.
func (s *server) endLeft(ctx context.Context, data string) error {
	for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGKILL} {
		if err := s.signal(sig); err != nil {
			return err
		}
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(pollEvery) {
			if pid, err := serverRuns(data); err != nil || pid != s.pid {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return failure.New(failure.Conflict, "restore to", data, "the server of an unfinished restore (process %d) does not end", s.pid)
}
