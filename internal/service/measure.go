package service

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
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

// measureRPO compares the marker in each recovered copy with the newest one that was acknowledged before the copy was
// brought up. The worst resource counts. Outage is when clients were last served, where that is known.
func (s *Service) measureRPO(ctx context.Context, rec engine.Record, view *api.RunView, store journal.Store, outage *time.Time) (api.Measure, error) {
	worst := api.Measure{Objective: rec.Plan.Objective.RPO, Basis: "not measured: no resource of this run carries markers"}
	for i, step := range rec.Plan.Steps {
		if step.Action != model.ActionReadMarker {
			continue
		}
		st := view.Steps[i]
		if st.Status != api.StepDone {
			why := string(st.Status)
			if st.Err != nil {
				why = st.Err.Error()
			}
			return api.Measure{Objective: worst.Objective, Basis: "not measured: no marker was read in the recovered " + string(step.Resource.ID) + ": " + why}, nil
		}
		known, _, err := read[markers](ctx, store, markersKey(step.App, step.Resource.ID))
		if err != nil {
			return worst, err
		}
		m := rpoOf(step, st, known, cutoff(rec, step), rec.Plan.Objective.RPO)
		if m.Value == nil {
			return m, nil
		}
		if outage != nil && rec.Plan.Mode == model.Unplanned && fromPoint(view, step) {
			m = sincePoint(m, step, st, *outage)
		}
		if worst.Value == nil || *m.Value > *worst.Value {
			worst = m
		}
	}
	if rec.Plan.Mode == model.Unplanned {
		until := view.Started
		if outage != nil {
			until = *outage
		}
		worst = s.unmarked(worst, rec.Plan, view, until)
	}
	return worst, nil
}

// unmarked takes into account what carries no markers, in an unplanned move: whoever brought a copy up may have said until when it
// holds everything. What says nothing makes the worst of the others the least that was lost.
func (s *Service) unmarked(worst api.Measure, p *model.Plan, view *api.RunView, outage time.Time) api.Measure {
	var silent []string
	for i, step := range p.Steps {
		d, err := s.opts.Drivers.Get(step.Kind)
		marked := slices.ContainsFunc(p.Steps, func(o model.Step) bool {
			return o.Action == model.ActionReadMarker && o.Resource.ID == step.Resource.ID
		})
		if step.Action != model.ActionPromote || marked || err != nil || !d.Facts().Stateful {
			continue
		}
		at, ok := asOf(step, view)
		if !ok {
			silent = append(silent, string(step.Resource.ID))
			continue
		}
		if lost := max(outage.Sub(at), 0); worst.Value == nil || lost > worst.Value.Std() {
			since := "the outage began"
			if outage.Equal(view.Started) {
				since = "the run began"
			}
			worst = measured(lost, worst.Objective, fmt.Sprintf("%s at %s holds all until %s, and %s %s", step.Resource.ID, view.Steps[i].Site, at.Format(time.TimeOnly), since, outage.Format(time.TimeOnly)))
		}
	}
	if worst.Value != nil && len(silent) > 0 {
		worst.Basis += "; nothing says what was lost of " + strings.Join(silent, ", ")
		if worst.Met != nil && *worst.Met {
			worst.Met = nil
		}
	}
	return worst
}

// asOf is what a step or the resource's fence says of the instant until which the copy holds everything.
func asOf(step model.Step, view *api.RunView) (at time.Time, ok bool) {
	for _, st := range view.Steps {
		if st.Resource != step.Resource.ID || st.Action != model.ActionPromote && st.Action != model.ActionFence || st.Status != api.StepDone {
			continue
		}
		if said, is := driver.ReadAsOf(st.Evidence); is && (!ok || said.Before(at)) {
			at, ok = said, true
		}
	}
	return at, ok
}

// fromPoint reports whether what a marker was read in was brought back from a recovery point.
func fromPoint(view *api.RunView, marker model.Step) bool {
	for _, st := range view.Steps {
		if len(marker.Needs) > 0 && st.ID == marker.Needs[0] {
			_, ok := st.Outputs["point"]
			return ok
		}
	}
	return false
}

// sincePoint counts what a recovery point lacks: all that was written between its marker and the outage, also when no later
// marker was acknowledged.
func sincePoint(m api.Measure, step model.Step, st api.StepView, outage time.Time) api.Measure {
	found, err := time.Parse(time.RFC3339Nano, st.Outputs["marker_at"].Text)
	if lost := outage.Sub(found); err == nil && lost > m.Value.Std() {
		return measured(lost, m.Objective, fmt.Sprintf("marker %s of %s is in the recovery point of %s, and clients were served until %s",
			st.Outputs["marker_seq"].Text, found.Format(time.TimeOnly), step.Resource.ID, outage.Format(time.TimeOnly)))
	}
	return m
}

// cutoff is when the step that brought the copy up was begun: markers acknowledged later went elsewhere.
func cutoff(rec engine.Record, marker model.Step) time.Time {
	for _, ev := range rec.Events {
		if ev.Kind == engine.StepIntent && len(marker.Needs) > 0 && ev.Step == marker.Needs[0] {
			return ev.At
		}
	}
	return rec.Events[0].At
}

func rpoOf(step model.Step, st api.StepView, known markers, before time.Time, objective *model.Duration) api.Measure {
	found, err := time.Parse(time.RFC3339Nano, st.Outputs["marker_at"].Text)
	if err != nil {
		return api.Measure{Objective: objective, Basis: "not measured: the marker in the recovered copy has no readable time"}
	}
	seq, err := strconv.ParseInt(st.Outputs["marker_seq"].Text, 10, 64)
	if err != nil {
		return api.Measure{Objective: objective, Basis: "not measured: the marker in the recovered copy has no readable number"}
	}
	var newest *ackedMarker
	var gap time.Duration // between the two newest: how finely this measures
	for i := range known.Acked {
		if !known.Acked[i].Acked.After(before) {
			if newest != nil {
				gap = known.Acked[i].At.Sub(newest.At)
			}
			newest = &known.Acked[i]
		}
	}
	if newest == nil {
		return api.Measure{Objective: objective, Basis: "not measured: no marker is known to have been acknowledged before the copy was brought up: lifeboat protect"}
	}
	// A drilled standby goes on receiving what is written. What was on its way when the copy was brought up may have come
	// with it, though it was acknowledged later: what matters is when it was written. Its number does not tell: a marker whose
	// acknowledgement was lost with the old copy is written again, under the same number, into the new one.
	if step.Operation != model.OpDrill && found.After(before) {
		return api.Measure{Objective: objective, Basis: fmt.Sprintf("not measured: marker %d was written into %s after that was brought up, over the one that came back",
			seq, step.Resource.ID)}
	}
	lost := max(newest.At.Sub(found), 0)
	return measured(lost, objective, fmt.Sprintf("marker %d of %s read in the recovered %s; the newest acknowledged before was %d, written %s (one every %s)",
		seq, found.Format(time.TimeOnly), step.Resource.ID, newest.Seq, newest.At.Format(time.TimeOnly), gap.Round(time.Millisecond)))
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
