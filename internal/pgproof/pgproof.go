// Package pgproof finds out by a real restore whether a base point of PostgreSQL is good, and which state of the log was the
// last good one.
//
// A point is restored apart from everything and started; then its marker, its rows, its indexes and heap (pg_amcheck), the
// user's questions and, once it is stopped, the checksums of all pages are looked at. It writes nothing into the vault (that is
// pgpoint.Stamp), knows no drivers, and runs on the host that the copy is on, as the server's user or as root. Start with
// [Prove] and [Bisect].
package pgproof

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Options say what is proved, and where.
type Options struct {
	// Restore says which point (Base), from where and into which folder. What it says of the target, of isolation and of the end
	// is not looked at. ServerLog is needed: what the server says there tells damage from a lack of something.
	Restore pgrestore.Options
	// Checks are SQL queries that are asked in Database. Each passes when it answers with one row of one column that is true.
	Checks   []string
	Database string
	// Phase is told what is done now; it may be nil.
	Phase func(format string, args ...any)
}

func (o Options) phase(format string, args ...any) {
	if o.Phase != nil {
		o.Phase(format, args...)
	}
}

// Verdict is what a proof found.
type Verdict struct {
	OK     bool
	What   string // the first thing that is wrong; empty when it is OK
	Checks []pgpoint.ProofCheck
	Took   time.Duration     // from the beginning until the server answered
	Result *pgrestore.Result // of the restore, as far as it came
}

func (v *Verdict) add(name string, began time.Time, ok bool, format string, args ...any) {
	c := pgpoint.ProofCheck{Name: name, OK: ok, Detail: fmt.Sprintf(format, args...), Took: model.Duration(time.Since(began).Round(time.Millisecond))}
	v.Checks = append(v.Checks, c)
	if !ok && v.What == "" {
		v.What = c.Name + ": " + c.Detail
	}
}

// Prove restores o.Restore.Base, starts it, checks it and stops it. The folder stays, without a server, for the caller to
// remove. An error means that there is no verdict: nothing is known of the point. The Verdict is given all the same.
func Prove(ctx context.Context, o Options) (*Verdict, error) {
	v := &Verdict{}
	err := prove(ctx, o, v)
	if err != nil && ctx.Err() != nil {
		err = failure.Wrap(context.Cause(ctx), "prove a point of", string(o.Restore.Whose.Resource))
	}
	return v, err
}

func prove(ctx context.Context, o Options, v *Verdict) (err error) {
	ro := o.Restore
	ro.Target, ro.After, ro.Leave = pgrestore.Target{Kind: pgrestore.Immediate}, pgrestore.Promote, pgrestore.Running
	ro.Server.Isolated, ro.Server.Port, ro.Server.Listen, ro.Server.Sockets, ro.Server.HBA = true, 0, "", "", nil
	began := time.Now()
	v.Result, err = pgrestore.Run(ctx, ro)
	v.Took = time.Since(began)
	if err != nil {
		if why := damage(ctx, err, ro.ServerLog); why != "" {
			v.add("restored and started", began, false, "%s", why)
			return nil
		}
		return err
	}
	running := true
	defer func() {
		if running {
			err = errors.Join(err, v.Result.Stop(context.WithoutCancel(ctx)))
		}
	}()
	v.add("restored and started", began, true, "%s in %d files, %s of log to %s", units.Bytes(v.Result.Bytes), v.Result.Files, units.Bytes(v.Result.LogBytes), v.Result.Reached)
	c := &copied{o: o, base: v.Result.Base.Base, host: v.Result.Host, port: v.Result.Port, owner: ownerOf(ro.Data)}
	for _, look := range []func(context.Context, *Verdict) error{c.marker, c.rows, c.questions, c.amcheck} {
		if err := look(ctx, v); err != nil {
			return err
		}
	}
	o.phase("stopping the copy")
	running = false
	if err := v.Result.Stop(ctx); err != nil {
		return failure.Wrap(err, "stop", "the copy")
	}
	if err := c.checksums(ctx, v); err != nil {
		return err
	}
	v.OK = v.What == ""
	return nil
}

// damaged is what PostgreSQL says of data that cannot be right. What it lacks (memory, disk, rights) is worded otherwise.
var damaged = regexp.MustCompile(`(?i)PANIC:|invalid page|invalid (primary )?checkpoint|invalid (resource manager|record)|could not read block|could not locate|` +
	`checksum|unexpected (pageaddr|zero page|data beyond EOF)|is (not a valid|corrupted)|could not access status of transaction|incorrect (checksum|resource manager)|` +
	`could not find (redo location|required)|database files are incompatible|missing chunk number|index .* contains`)

// lacks is what the server says when it stops for something else, also in words that damaged has.
var lacks = regexp.MustCompile(`(?i)No space left|Cannot allocate memory|out of memory|Permission denied|Too many open files|Input/output error`)

// damage is why a restore that failed shows that the point is bad; empty: it does not.
func damage(ctx context.Context, err error, log string) string {
	switch {
	case ctx.Err() != nil:
		return ""
	case errors.Is(err, failure.Corrupt):
		return err.Error()
	case !errors.Is(err, failure.Unavailable) || log == "":
		return ""
	}
	text, readErr := os.ReadFile(log)
	if readErr != nil || lacks.Match(text) {
		return ""
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if damaged.MatchString(line) && strings.Contains(line, ":") && (strings.Contains(line, "FATAL") || strings.Contains(line, "PANIC") || strings.Contains(line, "ERROR")) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	if len(found) == 0 {
		return ""
	}
	return "the server ended: " + strings.Join(found[max(0, len(found)-3):], "; ")
}
