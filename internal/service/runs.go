package service

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/engine"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Start makes a run durable and drives it in the background.
func (s *Service) Start(ctx context.Context, req api.StartRequest) (*api.RunView, error) {
	reply, err := s.planned(ctx, req)
	if err != nil {
		return nil, err
	}
	if req.Hash != "" && req.Hash != reply.Hash {
		return nil, failure.New(failure.Conflict, "start", reply.Plan.Name, "the plan is no longer the one that was shown").
			WithHint("look at it again: lifeboat plan %s", reply.Plan.Name)
	}
	if err := admissible(reply, req); err != nil {
		return nil, err
	}
	e, _, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	start := engine.Start{Force: req.Force}
	if req.AcceptUnfenced != "" {
		start.Waivers = map[model.Waiver]string{model.Unfenced: req.AcceptUnfenced}
	}
	run, err := e.Create(ctx, engine.CreateRequest{Plan: reply.Plan, Start: start, By: req.By, Key: req.Key, Locks: locks(reply.Plan)})
	if err != nil {
		return nil, err
	}
	s.drive(e, run)
	return s.Run(ctx, run)
}

// planned is the plan that was just shown, or a new look: a dead site takes its time to not answer, and while clients
// wait it is not asked twice. Each step's own check comes right before it begins in any case.
func (s *Service) planned(ctx context.Context, req api.StartRequest) (*api.PlanReply, error) {
	s.mu.Lock()
	shown, at := s.shown, s.shownAt
	s.mu.Unlock()
	if shown != nil && req.Hash == shown.Hash && time.Since(at) < shownFor {
		return shown, nil
	}
	return s.Plan(ctx, req.PlanRequest)
}

// shownFor is how long a plan that was shown is good for being started without another look.
const shownFor = 10 * time.Second

// admissible refuses a start that something blocks.
func admissible(reply *api.PlanReply, req api.StartRequest) error {
	for _, f := range reply.Findings {
		if f.Severity != model.Block || req.Force {
			continue
		}
		step, _ := reply.Plan.Step(f.Step)
		if step.Waiver == model.Unfenced && req.AcceptUnfenced != "" {
			continue
		}
		hint := f.Fix
		if step.Waiver == model.Unfenced {
			hint = strings.TrimPrefix(hint+"; or go on without the proof: --accept-unfenced REASON", "; ")
		}
		return failure.New(failure.Conflict, "start", reply.Plan.Name, "blocked: %s", f.What).
			WithHint("%s", strings.TrimPrefix(hint+"; or --force", "; "))
	}
	return nil
}

// locks are what a run holds so that no second one drives the same app. A drill or a
// capture may go on while its app fails over.
func locks(p *model.Plan) []string {
	var out []string
	for _, step := range p.Steps {
		if step.App == "" {
			continue
		}
		name := "move/" + string(step.App)
		switch apart := step.Restore == nil || !step.Restore.InPlace; step.Operation {
		case model.OpDrill, model.OpProtect, model.OpProve:
			name = string(step.Operation) + "/" + string(step.App)
		case model.OpRestore:
			if apart {
				name = string(step.Operation) + "/" + string(step.App)
			}
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// Drive takes a run up, or waits in line for it.
func (s *Service) Drive(ctx context.Context, id model.RunID) error {
	run, err := s.resolve(ctx, id)
	if err != nil {
		return err
	}
	e, _, err := s.open(ctx)
	if err != nil {
		return err
	}
	known, err := e.Known(ctx, run)
	if err != nil || !known {
		return err // one that is archived is over
	}
	s.drive(e, run)
	return nil
}

// meta is what the archive keeps of a run for lists and predictions.
type meta struct {
	api.RunSummary
	OK   bool                     `json:"ok"`
	Took map[model.StepID]float64 `json:"took"` // seconds, of the steps that succeeded
	// Points are the recovery points that the run brought back, by resource.
	Points map[model.ResourceID]string `json:"points,omitempty"`
}

// past lists the archived runs, newest first.
func (s *Service) past(ctx context.Context) ([]meta, error) {
	list, err := s.archive.List(ctx, 0)
	if err != nil {
		return nil, err
	}
	out := make([]meta, 0, len(list))
	for _, entry := range list {
		var m meta
		if err := json.Unmarshal(entry.Meta, &m); err != nil {
			return nil, failure.WrapAs(failure.Corrupt, err, "read archive", entry.ID)
		}
		out = append(out, m)
	}
	return out, nil
}

// Runs lists runs, newest first.
func (s *Service) Runs(ctx context.Context, req api.RunsRequest) ([]api.RunSummary, error) {
	out := []api.RunSummary{}
	if s.hasJournal() {
		e, _, err := s.open(ctx)
		if err != nil {
			return nil, err
		}
		active, err := e.Active(ctx)
		if err != nil {
			return nil, err
		}
		for _, a := range active {
			out = append(out, a.RunSummary)
		}
	}
	past, err := s.past(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range past {
		if !slices.ContainsFunc(out, func(r api.RunSummary) bool { return r.ID == m.ID }) {
			out = append(out, m.RunSummary)
		}
	}
	out = slices.DeleteFunc(out, func(r api.RunSummary) bool {
		return req.App != "" && r.App != req.App || req.Active && r.Outcome != ""
	})
	slices.SortStableFunc(out, func(a, b api.RunSummary) int { return b.Started.Compare(a.Started) })
	if req.Limit > 0 && len(out) > req.Limit {
		out = out[:req.Limit]
	}
	return out, nil
}

// newest names the newest run.
const newest = "last"

// resolve makes a run's id out of what a person typed. The last one is the last that a person began, where there is one:
// schedules begin others all the time.
func (s *Service) resolve(ctx context.Context, typed model.RunID) (model.RunID, error) {
	if len(typed) == 26 {
		return model.RunID(strings.ToUpper(string(typed))), nil
	}
	runs, err := s.Runs(ctx, api.RunsRequest{})
	if err != nil {
		return "", err
	}
	if typed == newest && len(runs) > 0 {
		i := slices.IndexFunc(runs, func(r api.RunSummary) bool { return r.By != bySchedule })
		return runs[max(i, 0)].ID, nil
	}
	var found []model.RunID
	for _, r := range runs {
		if typed != "" && strings.HasPrefix(string(r.ID), strings.ToUpper(string(typed))) {
			found = append(found, r.ID)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", failure.New(failure.NotFound, "find run", string(typed), "there is no such run").WithHint("lifeboat run list")
	}
	return "", failure.New(failure.Invalid, "find run", string(typed), "%d runs begin like this", len(found)).WithHint("type more of it: %v", found)
}

// Run shows a run as of now.
func (s *Service) Run(ctx context.Context, id model.RunID) (*api.RunView, error) {
	run, err := s.resolve(ctx, id)
	if err != nil {
		return nil, err
	}
	if s.hasJournal() {
		e, _, err := s.open(ctx)
		if err != nil {
			return nil, err
		}
		unread, err := e.Unread(ctx, run)
		if err != nil {
			return nil, err
		}
		state, attended, err := e.Load(ctx, run)
		if err == nil {
			return s.view(state, attended, unread), nil
		}
		if !errors.Is(err, failure.NotFound) {
			return nil, err
		}
	}
	rec, err := s.fetch(ctx, run)
	if err != nil {
		return nil, err
	}
	return &rec.Report.Run, nil
}

// view adds to a state what is not in its events.
func (s *Service) view(state *engine.State, attended bool, unread int) *api.RunView {
	v := state.View(time.Now().UTC())
	v.Unread = unread
	s.mu.Lock()
	ours := s.driven[state.Run] // this process is about to take it up
	s.mu.Unlock()
	switch {
	case v.Final:
	case !attended && ours:
		v.Owner = "this process"
	case !attended:
		v.Status, v.Owner = "unattended", ""
	case v.Owner == "": // it has taken the run over and not written its first event
		v.Owner = "another process"
		if ours {
			v.Owner = "this process"
		}
	}
	return v
}

// Watch yields a run each time it changes.
func (s *Service) Watch(ctx context.Context, id model.RunID) iter.Seq2[*api.RunView, error] {
	return func(yield func(*api.RunView, error) bool) {
		run, err := s.resolve(ctx, id)
		if err != nil {
			yield(nil, err)
			return
		}
		var e *engine.Engine
		if s.hasJournal() {
			if e, _, err = s.open(ctx); err != nil {
				yield(nil, err)
				return
			}
			for f, err := range s.follow(ctx, e, run) {
				switch {
				case errors.Is(err, failure.NotFound):
					s.final(ctx, e, run, yield)
					return
				case err != nil:
					yield(nil, err)
					return
				}
				v := s.view(f.State, f.Attended, f.Unread)
				if v.Final {
					s.final(ctx, e, run, yield)
					return
				}
				if !yield(v, nil) {
					return
				}
				if err := s.gaveUp(run); err != nil && !f.Attended {
					yield(nil, err)
					return
				}
			}
		}
		s.final(ctx, e, run, yield)
	}
}

// journalRound is how long a driver waits before it looks again at a journal that did not answer.
const journalRound = 200 * time.Millisecond

// follow follows a run. One that this process drives, or stands by for, is followed also while the journal does not
// answer: whoever drives it waits for the journal as well.
func (s *Service) follow(ctx context.Context, e *engine.Engine, run model.RunID) iter.Seq2[engine.Followed, error] {
	return func(yield func(engine.Followed, error) bool) {
		for {
			var silent error
			for f, err := range e.Follow(ctx, run) {
				if err != nil && ctx.Err() == nil && failure.KindOf(err).Retryable() && s.drives(run) {
					silent = err
					break
				}
				if !yield(f, err) {
					return
				}
			}
			if silent == nil {
				return
			}
			s.log.Info("the journal does not answer; looking again", "run", run, "err", silent)
			select {
			case <-ctx.Done():
				yield(engine.Followed{}, ctx.Err())
				return
			case <-time.After(journalRound):
			}
		}
	}
}

// final yields the last view of a run that is over: from the archive, once it is there.
func (s *Service) final(ctx context.Context, e *engine.Engine, run model.RunID, yield func(*api.RunView, error) bool) {
	for {
		rec, err := s.fetch(ctx, run)
		if err == nil {
			yield(&rec.Report.Run, nil)
			return
		}
		if !errors.Is(err, failure.NotFound) || e == nil {
			yield(nil, err)
			return
		}
		// Over and not archived: whoever drives it is about to do it, or died just before.
		state, attended, lerr := e.Load(ctx, run)
		switch {
		case lerr == nil && attended:
		case lerr == nil:
			yield(s.view(state, attended, 0), nil)
			return
		case !errors.Is(lerr, failure.NotFound):
			yield(nil, lerr)
			return
		default: // it left the journal, so by now it is in the archive, or nowhere
			if rec, err = s.fetch(ctx, run); err != nil {
				yield(nil, err)
				return
			}
			yield(&rec.Report.Run, nil)
			return
		}
		select {
		case <-ctx.Done():
			yield(nil, ctx.Err())
			return
		case <-time.After(archiveRound):
		}
	}
}

// archiveRound is how often a watcher looks whether a finished run has reached the archive.
const archiveRound = 20 * time.Millisecond

// Signal records a person's word for a run.
func (s *Service) Signal(ctx context.Context, req api.SignalRequest) (*api.SignalReply, error) {
	run, err := s.resolve(ctx, req.Run)
	if err != nil {
		return nil, err
	}
	req.Run = run
	if !s.hasJournal() {
		return nil, failure.New(failure.NotFound, string(req.Signal), string(run), "there is no such run").WithHint("lifeboat run list")
	}
	e, _, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	step, attended, err := e.Signal(ctx, req)
	if errors.Is(err, failure.NotFound) {
		if _, ferr := s.fetch(ctx, run); ferr == nil {
			return nil, failure.New(failure.Conflict, string(req.Signal), string(run), "the run is over").WithHint("lifeboat report %s", run)
		}
	}
	if err != nil {
		return nil, err
	}
	return &api.SignalReply{Run: run, Step: step, Attended: attended}, nil
}
