package service

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/engine"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/report"
	"github.com/lifeboat-dr/lifeboat/model"
)

// archived is a finished run as it is kept: its record, and the signed report that was made of it at its end.
type archived struct {
	Record engine.Record `json:"record"`
	Report *api.Report   `json:"report"`
}

// retire makes a finished run's report, signs it and puts both into the archive. Doing it again changes nothing.
func (s *Service) retire(ctx context.Context, rec engine.Record) error {
	if _, err := s.fetch(ctx, rec.Run); err == nil || !errors.Is(err, failure.NotFound) {
		return err
	}
	_, store, err := s.open(ctx)
	if err != nil {
		return err
	}
	state, err := engine.Replay(rec.Run, rec.Plan, store.Incarnation(), rec.Events)
	if err != nil {
		return err
	}
	view := state.View(state.Ended)
	r, err := s.build(ctx, rec, view, store)
	if err != nil {
		return err
	}
	key, err := report.LoadOrCreateKey(filepath.Join(s.cfg.State, "keys"))
	if err != nil {
		return err
	}
	if err := report.Sign(r, key); err != nil {
		return err
	}
	content, err := json.Marshal(archived{Record: rec, Report: r})
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "archive run", string(rec.Run))
	}
	m := meta{RunSummary: view.RunSummary, OK: r.OK, Took: map[model.StepID]float64{}}
	for _, st := range view.Steps {
		if st.Status == api.StepDone && st.Started != nil && st.Ended != nil {
			m.Took[st.ID] = st.Ended.Sub(*st.Started).Seconds()
		}
		if point, ok := st.Outputs["point"]; ok && st.Status == api.StepDone && st.Action != model.ActionCapture {
			if m.Points == nil {
				m.Points = map[model.ResourceID]string{}
			}
			m.Points[st.Resource] = point.Text
		}
	}
	line, err := json.Marshal(m)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "archive run", string(rec.Run))
	}
	err = s.archive.Put(ctx, journal.Summary{ID: string(rec.Run), At: state.Ended, Meta: line}, content)
	if errors.Is(err, failure.Exists) {
		return nil // another process was faster; the run is the same
	}
	return err
}

// fetch reads an archived run.
func (s *Service) fetch(ctx context.Context, run model.RunID) (*archived, error) {
	_, content, err := s.archive.Get(ctx, string(run))
	if errors.Is(err, failure.NotFound) {
		return nil, failure.New(failure.NotFound, "find run", string(run), "there is no such run").WithHint("lifeboat run list")
	}
	if err != nil {
		return nil, err
	}
	var a archived
	if err := json.Unmarshal(content, &a); err != nil {
		return nil, failure.WrapAs(failure.Corrupt, err, "read archive", string(run))
	}
	if a.Report == nil {
		return nil, failure.New(failure.Corrupt, "read archive", string(run), "it holds no report")
	}
	return &a, nil
}

// Report gives a finished run's signed report, or an unsigned one of what there is so far.
func (s *Service) Report(ctx context.Context, id model.RunID) (*api.Report, error) {
	run, err := s.resolve(ctx, id)
	if err != nil {
		return nil, err
	}
	a, err := s.fetch(ctx, run)
	if err == nil {
		return a.Report, nil
	}
	if !errors.Is(err, failure.NotFound) || !s.hasJournal() {
		return nil, err
	}
	e, store, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	rec, state, err := e.Record(ctx, run)
	if err != nil {
		return nil, err
	}
	r, err := s.build(ctx, rec, state.View(time.Now().UTC()), store)
	if err != nil {
		return nil, err
	}
	r.Events = report.Chain(r.Events)
	return r, nil
}
