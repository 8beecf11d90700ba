package service

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/engine"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/model"
)

// reportFormat is the version of api.Report that this build writes.
const reportFormat = 1

// build makes the report of a run from its record. It is unsigned.
func (s *Service) build(ctx context.Context, rec engine.Record, view *api.RunView, store journal.Store) (*api.Report, error) {
	r := &api.Report{Format: reportFormat, Run: *view, Plan: rec.Plan, Checks: []api.CheckResult{}}
	for i, step := range rec.Plan.Steps {
		st := view.Steps[i]
		if step.Action == model.ActionVerify && st.Status != api.StepSkipped && (st.Ended != nil || st.Status == api.StepAsking) {
			r.Checks = append(r.Checks, checkResult(step, st))
		}
		if st.Status == api.StepWaived || st.Reason != "" && st.By != "" {
			r.Waived = append(r.Waived, st)
		}
	}
	r.RTO = measureRTO(rec, view)
	rpo, err := s.measureRPO(ctx, rec, view, store, r.RTO.From)
	if err != nil {
		return nil, err
	}
	r.RPO = rpo
	r.OK = view.Outcome == api.Succeeded && len(r.Waived) == 0
	for _, c := range r.Checks {
		r.OK = r.OK && c.Passed
	}
	for _, ev := range rec.Events {
		r.Events = append(r.Events, api.Event{Seq: ev.Seq, At: ev.At, Kind: string(ev.Kind), Step: ev.Step, By: ev.By, Text: eventText(ev)})
	}
	return r, nil
}

func checkResult(step model.Step, st api.StepView) api.CheckResult {
	c := api.CheckResult{Name: strings.TrimPrefix(step.Title, "check: "), Step: step.ID, Passed: st.Status == api.StepDone, Detail: st.Phase}
	if st.Err != nil {
		c.Detail = st.Err.Error()
	}
	if c.Detail == "" && len(st.Evidence) > 0 {
		var facts []string
		for _, f := range st.Evidence {
			facts = append(facts, f.Name+" "+f.Value)
		}
		c.Detail = strings.Join(facts, ", ")
	}
	if st.Started != nil && st.Ended != nil {
		c.Took = model.Duration(st.Ended.Sub(*st.Started))
	}
	return c
}

func measured(d time.Duration, objective *model.Duration, basis string) api.Measure {
	value := model.Duration(d)
	seconds := d.Seconds()
	m := api.Measure{Value: &value, Seconds: &seconds, Objective: objective, Basis: basis}
	if objective != nil {
		met := value <= *objective
		m.Met = &met
	}
	return m
}

// apart reports whether an operation works beside the app and moves nothing of it.
func apart(op model.Operation) bool { return op == model.OpProve || op == model.OpRestore }

// measureRTO is, for a move, the time between the last good answer that a client's probe got before the outage and the
// first one after it; for a drill, the time from its start until the recovered copy had passed its checks.
func measureRTO(rec engine.Record, view *api.RunView) api.Measure {
	objective := rec.Plan.Objective.RTO
	if !view.Final {
		return api.Measure{Objective: objective, Basis: "not measured yet: the run is not over"}
	}
	if apart(rec.Plan.Operation) {
		return api.Measure{Basis: "nothing was out of service"}
	}
	if rec.Plan.Operation == model.OpDrill {
		return untilChecked(view, objective, "from the start of the drill until the isolated copy had passed its checks; no client waited")
	}
	var from, to *time.Time
	basis := "from the clients' side: last good answer of the probe before the outage to the first good one after it"
	up, asked := false, false
	for _, ev := range rec.Events {
		if ev.Kind != engine.ProbeChanged {
			continue
		}
		asked, up = true, ev.Up
		switch {
		case ev.Up && from != nil:
			at := ev.At
			to = &at
		case !ev.Up && from == nil:
			if from = ev.Seen; from == nil {
				from = &view.Started
				basis = "from the start of the run (nobody probed before it: lifeboat protect) to the probe's first good answer"
			}
		}
	}
	switch {
	case !asked:
		return untilChecked(view, objective, "from the start of the run until the last check had passed: the app has no probe")
	case from == nil:
		return measured(0, objective, "the probe got no bad answer during the run")
	case !up || to == nil:
		if end := probeStep(rec.Plan, view); end != nil {
			m := measured(end.Sub(*from), objective, "from the last good answer of the probe before the outage until the check of the same question passed")
			m.From, m.To = from, end
			return m
		}
		return api.Measure{Objective: objective, Basis: "the probe has got no good answer since the outage began"}
	}
	m := measured(to.Sub(*from), objective, basis)
	m.From, m.To = from, to
	return m
}

// probeStep is when the plan's own asking of the probe's question passed.
func probeStep(p *model.Plan, view *api.RunView) *time.Time {
	for i, step := range p.Steps {
		if p.Probe != nil && step.Action == model.ActionVerify && step.Kind == p.Probe.Kind &&
			string(step.Resource.Settings) == string(p.Probe.Settings) && view.Steps[i].Status == api.StepDone {
			return view.Steps[i].Ended
		}
	}
	return nil
}

func untilChecked(view *api.RunView, objective *model.Duration, basis string) api.Measure {
	var end *time.Time
	for i := range view.Steps {
		st := &view.Steps[i]
		switch st.Action {
		case model.ActionVerify, model.ActionDrill, model.ActionPromote, model.ActionRedirect:
		default:
			continue
		}
		if st.Status == api.StepFailed || st.Status == api.StepCanceled || st.Ended == nil {
			return api.Measure{Objective: objective, Basis: fmt.Sprintf("not measured: %s did not succeed", st.ID)}
		}
		if end == nil || st.Ended.After(*end) {
			end = st.Ended
		}
	}
	if end == nil {
		return api.Measure{Objective: objective, Basis: "not measured: nothing was brought up"}
	}
	m := measured(end.Sub(view.Started), objective, basis)
	started := view.Started
	m.From, m.To = &started, end
	return m
}

// eventText is an event in words.
func eventText(ev engine.Event) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch ev.Kind {
	case engine.RunStarted:
		add("plan %s accepted", ev.Start.PlanHash)
		if ev.Start.Force {
			add("started in spite of what blocked it (--force)")
		}
		for rule, why := range ev.Start.Waivers {
			add("%s accepted beforehand: %s", rule, why)
		}
	case engine.OwnerChanged:
		add("driven by %s, epoch %d", ev.By, ev.Epoch)
	case engine.StepIntent:
		add("attempt %d, token %s", ev.Attempt, ev.Token)
	case engine.StepFailed:
		add("%s: %s", ev.Err.Kind, ev.Err.Error())
		if ev.Pause > 0 {
			add("next attempt in %s if there is one", ev.Pause)
		}
	case engine.Signalled:
		add("%s", ev.Signal)
		if ev.Refused != "" {
			add("refused: %s", ev.Refused)
		}
	case engine.ProbeChanged:
		if ev.Up {
			add("clients are served")
		} else {
			add("clients are not served")
		}
		if ev.Seen != nil {
			add("last good answer %s", ev.Seen.Format(time.RFC3339Nano))
		}
	case engine.Finished:
		add("%s", ev.Outcome)
	}
	if ev.Phase != "" {
		add("%s", ev.Phase)
	}
	for _, f := range ev.Evidence {
		add("%s: %s", f.Name, f.Value)
	}
	if ev.Reason != "" {
		add("reason: %s", ev.Reason)
	}
	return strings.Join(parts, "; ")
}
