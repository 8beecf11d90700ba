package service

import (
	"cmp"
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

// served is when clients were last served as far as anybody saw; otherwise it is when the run began.
type served struct {
	until time.Time
	seen  bool
}

// measureRPO compares the marker in each recovered copy with the newest one that was acknowledged before the copy was
// brought up. The worst resource counts. From is when the RTO begins, where that was measured.
func (s *Service) measureRPO(ctx context.Context, rec engine.Record, view *api.RunView, store journal.Store, from *time.Time) (api.Measure, error) {
	clients := served{until: view.Started}
	if from != nil && !from.Equal(view.Started) {
		clients = served{until: *from, seen: true}
	}
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
		known, err := remembered(ctx, store, markersKey(step.App, step.Resource.ID))
		if err != nil {
			return worst, err
		}
		m := rpoOf(step, st, known, cutoff(rec, step), clients, rec.Plan.Objective.RPO)
		if m.Value == nil {
			return m, nil
		}
		if step.Mode == model.Unplanned && fromPoint(view, step) {
			m = sincePoint(m, step, st, clients)
		}
		if worst.Value == nil || *m.Value > *worst.Value {
			worst = m
		}
	}
	return s.unmarked(worst, rec.Plan, view, clients), nil
}

// unmarkedSteps are the steps of a run's moves, planned or not, that bring data up which carries no markers.
func (s *Service) unmarkedSteps(p *model.Plan, mode model.Mode) (steps []model.Step) {
	for _, step := range p.Steps {
		d, err := s.opts.Drivers.Get(step.Kind)
		marked := slices.ContainsFunc(p.Steps, func(o model.Step) bool {
			return o.Action == model.ActionReadMarker && sameResource(o, step)
		})
		moves := step.Mode == mode && (step.Operation == model.OpFailover || step.Operation == model.OpFailback)
		if moves && step.Action == model.ActionPromote && !marked && err == nil && d.Facts().Stateful {
			steps = append(steps, step)
		}
	}
	return steps
}

func sameResource(a, b model.Step) bool { return a.App == b.App && a.Resource.ID == b.Resource.ID }

// viewsOf are the steps of one resource as they went, of some actions.
func viewsOf(p *model.Plan, view *api.RunView, of model.Step, actions ...model.Action) (found []api.StepView) {
	for i, step := range p.Steps {
		if sameResource(step, of) && slices.Contains(actions, step.Action) {
			found = append(found, view.Steps[i])
		}
	}
	return found
}

// unmarked takes into account what carries no markers. What nothing is known of makes the worst of the others the least that was lost.
func (s *Service) unmarked(worst api.Measure, p *model.Plan, view *api.RunView, clients served) api.Measure {
	worst, silent := s.tornAway(worst, p, view, clients)
	worst, doubts := s.handedOver(worst, p, view)
	var unknown []string
	if len(silent) > 0 {
		unknown = append(unknown, "nothing says what was lost of "+strings.Join(silent, ", "))
	}
	if len(doubts) > 0 {
		unknown = append(unknown, "nothing proves that the copy which serves holds all that the old one had accepted: "+some(doubts))
	}
	if len(unknown) == 0 {
		return worst
	}
	return atLeast(worst, strings.Join(unknown, "; "))
}

// tornAway takes unplanned moves into account: whoever brought a copy up may have said until when it holds everything. What says nothing
// is named.
func (s *Service) tornAway(worst api.Measure, p *model.Plan, view *api.RunView, clients served) (_ api.Measure, silent []string) {
	for _, step := range s.unmarkedSteps(p, model.Unplanned) {
		at, ok := asOf(p, view, step)
		if !ok {
			silent = append(silent, string(step.Resource.ID)+wasBehind(p, view, step))
			continue
		}
		if lost := max(clients.until.Sub(at), 0); worst.Value == nil || lost > worst.Value.Std() {
			since := "the run began"
			if clients.seen {
				since = "the outage began"
			}
			worst = measured(lost, worst.Objective, fmt.Sprintf("%s at %s holds all until %s, and %s %s", step.Resource.ID, step.Site, at.Format(time.TimeOnly), since, clients.until.Format(time.TimeOnly)))
		}
	}
	return worst, silent
}

// wasBehind is what is known of a loss that nothing proves: how far the copy was behind when that was last seen.
func wasBehind(p *model.Plan, view *api.RunView, step model.Step) string {
	for _, st := range viewsOf(p, view, step, model.ActionFence, model.ActionPromote) {
		if said, ok := driver.ReadBehind(st.Evidence); ok {
			return " (the copy was behind by " + said + ", when that was last seen)"
		}
	}
	return ""
}

// atLeast is what a measure is worth when of something it is not known what was lost: the least, if that is anything.
func atLeast(m api.Measure, unknown string) api.Measure {
	switch {
	case m.Value == nil:
		return api.Measure{Objective: m.Objective, Basis: "not measured: " + unknown}
	case *m.Value == 0:
		return api.Measure{Objective: m.Objective, Basis: "not measured: " + unknown + "; of the others nothing was lost: " + m.Basis}
	case m.Met != nil && *m.Met:
		m.Met = nil
	}
	m.Basis += "; " + unknown
	return m
}

// asOf is what a step or the resource's fence, also one that was set aside, says of the instant until which the copy holds everything.
func asOf(p *model.Plan, view *api.RunView, step model.Step) (at time.Time, ok bool) {
	for _, st := range viewsOf(p, view, step, model.ActionPromote, model.ActionFence) {
		if said, is := driver.ReadAsOf(st.Evidence); is && (st.Status == api.StepDone || st.Status == api.StepWaived) && (!ok || said.Before(at)) {
			at, ok = said, true
		}
	}
	return at, ok
}

// namedMost is how many resources a basis names.
const namedMost = 5

// handedOver takes planned moves into account: nothing was lost if what serves was made of the very thing that held everything once the
// old copy had been shut. What does not prove that is named, with what is missing.
func (s *Service) handedOver(worst api.Measure, p *model.Plan, view *api.RunView) (_ api.Measure, doubts []string) {
	var proved []string
	for _, step := range s.unmarkedSteps(p, model.Planned) {
		from, doubt := goesOnFrom(p, view, step)
		if doubt != "" {
			doubts = append(doubts, string(step.Resource.ID)+": "+doubt+wasBehind(p, view, step))
			continue
		}
		proved = append(proved, string(step.Resource.ID)+" from "+from)
	}
	if len(proved) > 0 {
		basis := "what held everything once the old copies took no more writes serves: " + some(proved)
		if worst.Value == nil {
			worst = measured(0, worst.Objective, basis)
		} else {
			worst.Basis += "; " + basis
		}
	}
	return worst, doubts
}

func some(of []string) string {
	if more := len(of) - namedMost; more > 0 {
		of = append(slices.Clone(of[:namedMost]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(of, "; ")
}

// goesOnFrom names what a copy was made of that held everything the old one had accepted, or says what is missing to prove that.
func goesOnFrom(p *model.Plan, view *api.RunView, up model.Step) (name, doubt string) {
	var last string
	for _, st := range viewsOf(p, view, up, model.ActionQuiesce, model.ActionFence, model.ActionPromote) {
		if st.Status != api.StepDone {
			return "", fmt.Sprintf("step %s is %s", st.ID, st.Status)
		}
		if said, ok := driver.ReadLastState(st.Evidence); ok {
			last = said
		}
		if st.Action == model.ActionPromote {
			name, _ = driver.ReadSource(st.Evidence)
		}
	}
	switch {
	case last == "":
		return "", "its driver says nothing about it"
	case name == "":
		return "", fmt.Sprintf("%s held all, and nothing says what it was made of", last)
	case name != last:
		return "", fmt.Sprintf("it was made of %s, and %s held all", name, last)
	}
	return name, ""
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
// marker was acknowledged. Where nobody saw the outage begin, that is said, with what the markers show.
func sincePoint(m api.Measure, step model.Step, st api.StepView, clients served) api.Measure {
	found, err := time.Parse(time.RFC3339Nano, st.Outputs["marker_at"].Text)
	lost := clients.until.Sub(found)
	if err != nil || lost <= m.Value.Std() {
		return m
	}
	basis := fmt.Sprintf("marker %s of %s is in the recovery point of %s, and ", st.Outputs["marker_seq"].Text, found.Format(time.TimeOnly), step.Resource.ID)
	if clients.seen {
		return measured(lost, m.Objective, basis+"clients were served until "+clients.until.Format(time.TimeOnly))
	}
	basis += "the run began " + clients.until.Format(time.TimeOnly) + "; when clients were last served is not known"
	if *m.Value > 0 {
		basis += fmt.Sprintf(", and the markers show that at least %s are lost", m.Value.Std().Round(time.Millisecond))
	}
	return measured(lost, m.Objective, basis)
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

func rpoOf(step model.Step, st api.StepView, known markers, before time.Time, clients served, objective *model.Duration) api.Measure {
	found, err := time.Parse(time.RFC3339Nano, st.Outputs["marker_at"].Text)
	if err != nil {
		return api.Measure{Objective: objective, Basis: "not measured: the marker in the recovered copy has no readable time"}
	}
	seq, err := strconv.ParseInt(st.Outputs["marker_seq"].Text, 10, 64)
	if err != nil {
		return api.Measure{Objective: objective, Basis: "not measured: the marker in the recovered copy has no readable number"}
	}
	acked := slices.DeleteFunc(slices.Clone(known.Acked), func(m ackedMarker) bool { return m.Acked.After(before) })
	if len(acked) == 0 {
		return api.Measure{Objective: objective, Basis: "not measured: no marker is known to have been acknowledged before the copy was brought up: lifeboat protect"}
	}
	// A drilled standby goes on receiving what is written. What was on its way when the copy was brought up may have come
	// with it, though it was acknowledged later: what matters is when it was written. Its number does not tell: a marker whose
	// acknowledgement was lost with the old copy is written again, under the same number, into the new one.
	if step.Operation != model.OpDrill && found.After(before) {
		return api.Measure{Objective: objective, Basis: fmt.Sprintf("not measured: marker %d was written into %s after that was brought up, over the one that came back",
			seq, step.Resource.ID)}
	}
	newest := acked[len(acked)-1]
	fine := "how often markers are written is not known"
	if apart, to := coarsest(acked, model.Marker{Seq: seq, At: found}, clients); apart > 0 {
		fine = fmt.Sprintf("from about the one that came back until %s at most %s passed without a marker", to, apart.Round(time.Millisecond))
	}
	lost := max(newest.At.Sub(found), 0)
	return measured(lost, objective, fmt.Sprintf("marker %d of %s read in the recovered %s; the newest acknowledged before was %d, written %s; %s",
		seq, found.Format(time.TimeOnly), step.Resource.ID, newest.Seq, newest.At.Format(time.TimeOnly), fine))
}

// coarsest is how finely markers measure: the longest time without one, from the one before the one that was found on, until the newest, or
// until a probe saw clients served last when that was later; to says which, in words. Zero: that is not known.
func coarsest(acked []ackedMarker, found model.Marker, clients served) (apart time.Duration, to string) {
	at, _ := slices.BinarySearchFunc(acked, found.Seq, func(m ackedMarker, seq int64) int { return cmp.Compare(m.Seq, seq) })
	line := []model.Marker{found}
	if at > 0 {
		line = []model.Marker{acked[at-1].Marker, found}
	}
	for _, m := range acked[at:] {
		if m.Seq != found.Seq {
			line = append(line, m.Marker)
		}
	}
	for i, m := range line[1:] {
		if m.Seq == line[i].Seq+1 { // none is missing between them: only the newest are kept
			apart = max(apart, m.At.Sub(line[i].At))
		}
	}
	if since := clients.until.Sub(line[len(line)-1].At); clients.seen && since > 0 {
		return max(apart, since), "clients were last served"
	}
	return apart, "then"
}
