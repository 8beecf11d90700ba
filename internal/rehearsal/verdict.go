package rehearsal

import (
	"fmt"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awslook"
	"github.com/lifeboat-dr/lifeboat/internal/plan"
	"github.com/lifeboat-dr/lifeboat/model"
)

// opened is what is known of a rehearsal once its plan is made.
func (st *stage) opened(reply *api.PlanReply) *api.Rehearsal {
	p := reply.Plan
	out := &api.Rehearsal{App: p.App, Plan: st.job.Request.Custom, Operation: p.Operation, Mode: p.Mode, From: p.From, To: p.To, Lost: st.lost, At: st.job.Now, Findings: reply.Findings,
		Steps: []api.RehearsedStep{}, Path: []model.StepID{}, Calls: []api.RehearsedCall{},
		RPO: api.Measure{Value: reply.Prediction.RPO, Objective: p.Objective.RPO, Basis: reply.Prediction.Basis},
		RTO: api.Measure{Objective: p.Objective.RTO, Basis: "the rehearsal did not get through"},
	}
	if st.lost != "" {
		out.How = st.how()
	}
	settle(&out.RPO)
	for _, r := range st.job.resources() {
		if !awslook.Known(r.Kind) {
			out.StoodIn = append(out.StoodIn, api.StandIn{Name: string(r.ID), Kind: r.Kind})
		}
	}
	for _, s := range p.Steps {
		stood := api.StandIn{Name: string(s.ID), Kind: s.Kind}
		if (s.Action == model.ActionVerify || s.Action == model.ActionRun) && s.Kind != "" && !awslook.Known(s.Kind) && !slices.Contains(out.StoodIn, stood) {
			out.StoodIn = append(out.StoodIn, stood)
		}
	}
	return out
}

// settle compares a measure with its objective.
func settle(m *api.Measure) {
	if m.Value == nil {
		return
	}
	seconds := m.Value.Std().Seconds()
	m.Seconds = &seconds
	if m.Objective != nil {
		met := *m.Value <= *m.Objective
		m.Met = &met
	}
}

// rehearsed is a step as it stands.
func (st *stage) rehearsed(view *api.RunView, s *api.StepView) api.RehearsedStep {
	out := api.RehearsedStep{ID: s.ID, Title: s.Title, Resource: s.Resource, Site: s.Site, Status: s.Status, Phase: s.Phase, Err: s.Err, Basis: api.TimePeople}
	step, _ := st.plan.Step(s.ID)
	if step.Kind != "" {
		out.StoodIn = !awslook.Known(step.Kind)
		_, measured := st.job.Took[s.ID]
		switch {
		case measured:
			out.Basis = api.TimeMeasured
		case out.StoodIn:
			out.Basis = api.TimeUnknown
		default:
			out.Basis = api.TimeUsual
		}
	}
	out.At = since(view.Started, view.At)
	if s.Started != nil {
		out.At = since(view.Started, *s.Started)
		end := view.At
		if s.Ended != nil {
			end = *s.Ended
		}
		out.Took = since(*s.Started, end)
	}
	return out
}

func since(from, to time.Time) model.Duration {
	return model.Duration(max(0, to.Sub(from)).Round(100 * time.Millisecond))
}

// closed is what is known once the run is over.
func (st *stage) closed(view *api.RunView) {
	out := st.out
	out.Outcome = view.Outcome
	if view.Ended != nil {
		out.Took = since(view.Started, *view.Ended)
	}
	ends := map[model.StepID]time.Time{}
	var last model.StepID
	for i := range view.Steps {
		s := &view.Steps[i]
		out.Steps = append(out.Steps, st.rehearsed(view, s))
		if s.Ended == nil {
			continue
		}
		ends[s.ID] = *s.Ended
		if step, ok := st.plan.Step(s.ID); ok && plan.Counts(st.plan, &step) && (last == "" || s.Ended.After(ends[last])) {
			last = s.ID
		}
	}
	st.path(last, ends)
	word := st.what()
	if out.To != "" {
		word += " to " + string(out.To)
	}
	if out.Outcome != api.Succeeded {
		out.Verdict = word + " does not get through" + st.failed()
		return
	}
	out.OK = true
	out.Verdict, out.RTO.Basis = word+" gets through", "clients wait for none of its steps"
	if last != "" {
		rto := since(view.Started, ends[last])
		out.RTO.Value, out.RTO.Basis = &rto, "from the start of the run to the end of the last step that clients wait for; the time until somebody starts it comes on top"
		settle(&out.RTO)
		out.Verdict += fmt.Sprintf("; clients are served after %s", time.Duration(rto).Round(time.Second))
	}
	for _, m := range []struct {
		name string
		m    api.Measure
	}{{"RTO", out.RTO}, {"RPO", out.RPO}} {
		if m.m.Met != nil && !*m.m.Met {
			out.OK = false
			out.Verdict += fmt.Sprintf("; the %s would be %s, and the objective is %s", m.name, m.m.Value.Std().Round(time.Second), *m.m.Objective)
		}
	}
}

// failed names the step that the run was given up for, or else the first one that failed.
func (st *stage) failed() string {
	for _, a := range st.out.Asked {
		if a.Answer == givenUp {
			return fmt.Sprintf(": %s fails: %s", a.Step, a.What)
		}
	}
	for _, s := range st.out.Steps {
		if s.Status == api.StepFailed {
			text := ": " + string(s.ID) + " fails"
			if s.Err != nil {
				text += ": " + s.Err.Error()
			}
			return text
		}
	}
	return ""
}

// path goes back from the last step that clients wait for: each time to what was waited for longest.
func (st *stage) path(last model.StepID, ends map[model.StepID]time.Time) {
	var path []model.StepID
	for at := last; at != ""; {
		path = append(path, at)
		step, _ := st.plan.Step(at)
		at = ""
		for _, n := range step.Needs {
			if end, ok := ends[n]; ok && (at == "" || end.After(ends[at])) {
				at = n
			}
		}
	}
	slices.Reverse(path)
	for i := range st.out.Steps {
		st.out.Steps[i].Critical = slices.Contains(path, st.out.Steps[i].ID)
	}
	st.out.Path = append(st.out.Path, path...)
}
