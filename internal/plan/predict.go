package plan

import (
	"time"

	"github.com/lifeboat-dr/lifeboat/model"
)

// Predict gives the length of the critical path through the steps that clients wait for (in a drill: through those that
// bring the copy up and check it; in a prove or a restore: through those), from the durations of earlier runs of the same
// steps. Steps on which nothing is known are listed; then the length says nothing. Approvals count as no time: people take
// theirs.
func Predict(p *model.Plan, took map[model.StepID]time.Duration) (rto time.Duration, unknown []model.StepID) {
	ends := make(map[model.StepID]time.Duration, len(p.Steps))
	for _, s := range p.Steps {
		var start time.Duration
		for _, n := range s.Needs {
			start = max(start, ends[n])
		}
		var d time.Duration
		if Counts(p, &s) {
			known, ok := took[s.ID]
			if !ok {
				unknown = append(unknown, s.ID)
			}
			d = known
		}
		ends[s.ID] = start + d
		if Counts(p, &s) {
			rto = max(rto, ends[s.ID])
		}
	}
	return rto, unknown
}

// Counts says whether a step is one of those that clients wait for, or would wait for if the drill were real.
func Counts(p *model.Plan, s *model.Step) bool {
	switch s.Action {
	case model.ActionApprove, model.ActionJoin:
		return false
	case model.ActionDrill, model.ActionVerify, model.ActionRun:
		return s.Outage || p.Operation == model.OpDrill
	case model.ActionProve, model.ActionRestore:
		return true
	}
	return s.Outage
}
