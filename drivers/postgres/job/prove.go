package job

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgproof"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Proof is what is proved, or searched for.
type Proof struct {
	model.ProveSpec
	Run      model.RunID `json:"run"`
	Database string      `json:"database"` // that the checks are asked in
	// Temp is a folder that the job makes for what has to have a short path, and that goes with it: whoever removes the job
	// removes it too.
	Temp string `json:"temp"`
}

// prove restores a base point apart from everything, checks it, and writes into the vault what came of it.
func (w *worker) prove(ctx context.Context) error {
	o, v, done, err := w.proofOptions(ctx, w.Open) // not a replica: what comes of it is written there
	if err != nil {
		return noVerdict(err)
	}
	defer done()
	verdict, err := pgproof.Prove(ctx, o)
	w.tellChecks(verdict)
	if err != nil {
		return noVerdict(err)
	}
	point, err := v.Snapshot(ctx, o.Restore.Base)
	if err != nil {
		return noVerdict(err)
	}
	w.Phase("writing down what came of it")
	err = pgpoint.Stamp(ctx, v, w.req.Whose, pgpoint.Proof{Tree: *point.Tree, Checks: verdict.Checks, Proof: model.Proof{
		OK: verdict.OK, At: time.Now().UTC().Truncate(time.Second), By: w.req.Prove.Run, Site: w.req.Site, Took: model.Duration(verdict.Took.Round(time.Millisecond)), What: verdict.What}})
	if err != nil {
		return noVerdict(failure.Wrap(err, "write down the proof of", point.ID.Short()))
	}
	w.Set("point", point.ID.String())
	w.Set("answered", "after "+units.Duration(verdict.Took))
	if !verdict.OK {
		return failure.New(failure.Corrupt, "prove", "point "+point.ID.Short(), "it is bad: %s", verdict.What).
			WithHint("recoveries pass it over now; find out whether the database itself is damaged, and make a new one: lifeboat protect %s --now", w.req.App)
	}
	return nil
}

// noVerdict makes sure that an error does not say of the point that it is bad.
func noVerdict(err error) error {
	if errors.Is(err, failure.Corrupt) {
		return failure.WrapAs(failure.Unavailable, err, "prove", "the point")
	}
	return err
}

func (w *worker) tellChecks(v *pgproof.Verdict) {
	for i, c := range v.Checks {
		word := "ok"
		if !c.OK {
			word = "BAD"
		}
		w.Set(fmt.Sprintf("check.%03d", i), fmt.Sprintf("%s, %s: %s (%s)", c.Name, word, c.Detail, units.Duration(c.Took.Std())))
	}
}

// search looks for the newest state that passes the checks.
func (w *worker) search(ctx context.Context) error {
	o, _, done, err := w.proofOptions(ctx, w.OpenAny)
	if err != nil {
		return err
	}
	defer done()
	o.Restore.Avoid = nil // one that is bad may be so by this very check
	n := 0
	found, err := pgproof.Bisect(ctx, o, w.req.Prove.Within.Std(), func(p pgproof.Probe) {
		word := "passes"
		if !p.OK {
			word = "FAILS, " + p.Detail
		}
		w.Set(fmt.Sprintf("probe.%03d", n), fmt.Sprintf("%s %s (%s in %s)", p.State, word, p.How, units.Duration(p.Took)))
		n++
	})
	if err != nil {
		return err
	}
	good := found.Good.To
	if found.Adjacent && found.Bad != nil && found.Bad.XID != 0 {
		good = fmt.Sprintf("before-xid:%d", found.Bad.XID) // exact also where the good state is that of a base point
	}
	w.Set("good", good)
	w.Set("good_at", instant(found.Good.At))
	if found.Bad == nil {
		w.Set("found", "the newest state passes: there is nothing to go back from")
		return nil
	}
	w.Set("bad", found.Bad.To)
	w.Set("bad_at", instant(found.Bad.At))
	text := "the last good state is " + found.Good.String() + ", a bad one is " + found.Bad.String()
	if found.Adjacent && found.Bad.XID != 0 {
		text = fmt.Sprintf("transaction %d, committed at %s, made it bad; the state before it is good", found.Bad.XID, found.Bad.At.UTC().Format("2006-01-02 15:04:05.999999 UTC"))
	}
	w.Set("found", text+"; assumed is that what is bad stays bad")
	return nil
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// proofOptions opens the vault and says where the copy is. The caller calls done.
func (w *worker) proofOptions(ctx context.Context, open opener) (o pgproof.Options, v *vault.Vault, done func(), err error) {
	ask := w.req.Prove
	if ask == nil {
		return o, nil, nil, failure.New(failure.Internal, "prove", string(w.req.Resource), "the request does not say what")
	}
	// Folders of sockets have to have short names, and what is left of a job that was killed is found by its token.
	if err := os.Mkdir(ask.Temp, 0o711); err != nil {
		return o, nil, nil, failure.WrapAs(failure.Denied, err, "make", ask.Temp)
	}
	if err := os.Setenv("TMPDIR", ask.Temp); err != nil {
		return o, nil, nil, failure.WrapAs(failure.Internal, err, "use", ask.Temp)
	}
	v, ro, closeVault, err := w.optionsOf(ctx, open)
	if err != nil {
		return o, nil, nil, errors.Join(err, os.RemoveAll(ask.Temp))
	}
	return pgproof.Options{Restore: ro, Checks: ask.Checks, Database: ask.Database, Phase: w.Phase}, v, func() {
		closeVault()
		if err := os.RemoveAll(ask.Temp); err != nil {
			w.Log.Warn("a folder is left behind", "folder", ask.Temp, "error", err)
		}
	}, nil
}
