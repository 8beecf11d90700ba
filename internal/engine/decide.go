package engine

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// maxDecisions bounds one Decide, so that a commit stays small; the rest follows at the next call.
const maxDecisions = 256

// Decide says which events follow from the state at instant now: steps that may start, are skipped, are approved, and
// the end. The caller applies them, and calls again until there are none. Decide is a function of the state and now.
func (s *State) Decide(now time.Time) []Event {
	if s.Final() || s.Seq == 0 {
		return nil
	}
	d := decision{s: s, now: now, steps: s.active.steps, sites: map[model.SiteID]int{}, kinds: map[model.Kind]int{}}
	if s.sweep {
		s.sweep = false
		d.cancelWaiting()
	}
	for _, i := range s.waive {
		if s.Steps[i].Status == api.StepAsking {
			w := s.Plan.Steps[i].Waiver
			d.add(i, Event{Kind: StepWaived, By: s.By, Reason: s.Start.Waivers[w], Err: s.Steps[i].Err})
		}
	}
	s.waive = s.waive[:0]
	d.retries()
	d.starts()
	if s.open == 0 {
		d.events = append(d.events, Event{Kind: Finished, Outcome: s.outcome()})
	}
	for i := range d.events {
		d.events[i].Seq, d.events[i].At = s.Seq+int64(i)+1, now
	}
	return d.events
}

// decision is one call of Decide under way. Its counts include the places taken by its own events.
type decision struct {
	s      *State
	now    time.Time
	events []Event
	steps  int
	sites  map[model.SiteID]int
	kinds  map[model.Kind]int
}

func (d *decision) add(i int, e Event) {
	e.Step = d.s.Plan.Steps[i].ID
	d.events = append(d.events, e)
}

// cancelWaiting ends, after an abort, the steps that wait for people or for their next attempt.
func (d *decision) cancelWaiting() {
	for i := range d.s.Steps {
		st := &d.s.Steps[i]
		if d.s.Plan.Steps[i].When == model.Always {
			continue
		}
		switch st.Status {
		case api.StepAsking, api.StepRetrying, api.StepApproval:
			d.add(i, Event{Kind: StepCanceled, Err: st.Err})
		}
	}
}

// retries starts the next attempts that are due.
func (d *decision) retries() {
	kept := d.s.retrying[:0]
	for _, i := range d.s.retrying {
		st := &d.s.Steps[i]
		if st.Status != api.StepRetrying {
			continue
		}
		if len(d.events) >= maxDecisions || st.RetryAt.After(d.now) || !d.start(i) {
			kept = append(kept, i)
		}
	}
	d.s.retrying = kept
}

// starts looks at the steps whose needs are over.
func (d *decision) starts() {
	kept := d.s.ready[:0]
	for n, i := range d.s.ready {
		st := &d.s.Steps[i]
		if st.final() || !st.queued {
			continue
		}
		if len(d.events) >= maxDecisions {
			kept = append(kept, d.s.ready[n:]...)
			break
		}
		if !d.settle(i) && !d.start(i) {
			kept = append(kept, i)
		}
	}
	d.s.ready = kept
}

// settle decides on a step that needs no driver: skipped, joined, approved or to be approved.
func (d *decision) settle(i int) bool {
	step, st := &d.s.Plan.Steps[i], &d.s.Steps[i]
	switch {
	case step.When != model.Always && st.bad:
		d.add(i, Event{Kind: StepSkipped, Reason: "what it needs did not succeed"})
	case step.When != model.Always && d.s.Aborting:
		d.add(i, Event{Kind: StepSkipped, Reason: "the run was aborted"})
	case step.Releases != "" && !d.s.Steps[d.s.index[step.Releases]].Began:
		d.add(i, Event{Kind: StepSkipped, Reason: "there is nothing to release"})
	case step.Action == model.ActionJoin:
		d.add(i, Event{Kind: StepDone})
	case step.Action == model.ActionApprove && approvers(st.Approved) >= step.Approvals:
		d.add(i, Event{Kind: StepDone})
	case step.Action == model.ActionApprove:
		st.queued = false
		if st.Status != api.StepApproval {
			d.add(i, Event{Kind: ApprovalAsked})
		}
	default:
		return false
	}
	return true
}

func approvers(all []api.Approval) int {
	seen := map[string]bool{}
	for _, a := range all {
		seen[a.By] = true
	}
	return len(seen)
}

// start begins the next attempt of a step if it may start now.
func (d *decision) start(i int) bool {
	step, st := &d.s.Plan.Steps[i], &d.s.Steps[i]
	if d.s.Paused || !d.place(step) {
		return false
	}
	inputs, err := d.s.resolve(step)
	if err != nil {
		d.add(i, Event{Kind: StepFailed, Err: err, Terminal: st.Terminal})
		return true
	}
	token := st.Token
	if st.Terminal {
		token = Token(d.s.incarnation, d.s.Run, step.ID, st.generation+1)
	}
	d.steps++
	d.sites[step.Site]++
	d.kinds[step.Kind]++
	d.add(i, Event{Kind: StepIntent, Attempt: st.Attempt + 1, Token: token, Inputs: inputs})
	return true
}

// place says whether the limits leave room for one more step.
func (d *decision) place(step *model.Step) bool {
	limits := &d.s.Plan.Limits
	if limits.Steps > 0 && d.steps >= limits.Steps {
		return false
	}
	if n := limits.Sites[step.Site]; n > 0 && d.s.active.sites[step.Site]+d.sites[step.Site] >= n {
		return false
	}
	n := limits.Kinds[step.Kind]
	return n == 0 || d.s.active.kinds[step.Kind]+d.kinds[step.Kind] < n
}

// resolve looks up what a step's settings refer to.
func (s *State) resolve(step *model.Step) (map[string]model.Value, *failure.Error) {
	if len(step.Inputs) == 0 {
		return nil, nil
	}
	values := make(map[string]model.Value, len(step.Inputs))
	for _, in := range step.Inputs {
		i, ok := s.index[in.Step]
		var v model.Value
		if ok {
			v, ok = s.Steps[i].Outputs[in.Output]
		}
		if !ok {
			return nil, failure.New(failure.Invalid, "start", string(step.ID), "${%s} has no value: %s left no output %q", in.Ref, in.Step, in.Output).
				WithHint("lifeboat run skip %s %s --reason … --set …, or abort", s.Run, step.ID)
		}
		values[in.Ref] = v
	}
	return values, nil
}

// outcome of a run all of whose steps are final.
func (s *State) outcome() api.Outcome {
	if s.Aborting {
		return api.Aborted
	}
	for i := range s.Steps {
		if st := &s.Steps[i]; !s.Plan.Steps[i].Advisory && (st.Status == api.StepFailed || st.Status == api.StepCanceled) {
			return api.Failed
		}
	}
	return api.Succeeded
}

// Token is the idempotency key of one generation of attempts at a step: 52 characters of base32. It is the same for
// whoever computes it, so that an heir begins again under the key of the dead.
func Token(incarnation string, run model.RunID, step model.StepID, generation int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %d", incarnation, run, step, generation))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
}

// Admit says why a signal has no effect on the state as it stands, or "" when it has. It fills in the step where the
// signal names none and only one can be meant.
func (s *State) Admit(sig *api.SignalRequest) (refused string) {
	if s.Final() {
		return "the run is over"
	}
	switch sig.Signal {
	case api.Pause, api.Resume:
		return ""
	case api.Abort:
		if s.Aborting {
			return "it is being aborted already"
		}
		return ""
	case api.Approve, api.Retry, api.Skip, api.Force:
	default:
		return fmt.Sprintf("unknown signal %q", sig.Signal)
	}
	if sig.Step == "" {
		if refused = s.meant(sig); refused != "" {
			return refused
		}
	}
	i, ok := s.index[sig.Step]
	if !ok {
		return fmt.Sprintf("the run has no step %q", sig.Step)
	}
	return s.admitStep(i, sig)
}

// meant finds the only step that the signal can be for.
func (s *State) meant(sig *api.SignalRequest) string {
	want := api.StepAsking
	if sig.Signal == api.Approve {
		want = api.StepApproval
	}
	var found []model.StepID
	for i := range s.Steps {
		if s.Steps[i].Status == want {
			found = append(found, s.Plan.Steps[i].ID)
		}
	}
	if len(found) == 0 {
		return "no step waits for it"
	}
	if len(found) > 1 {
		return fmt.Sprintf("several steps wait for it, name one: %v", found)
	}
	sig.Step = found[0]
	return ""
}

func (s *State) admitStep(i int, sig *api.SignalRequest) string {
	step, st := &s.Plan.Steps[i], &s.Steps[i]
	if st.final() {
		return fmt.Sprintf("the step is over (%s)", st.Status)
	}
	if (sig.Signal == api.Skip || sig.Signal == api.Force) && strings.TrimSpace(sig.Reason) == "" {
		return "it needs a reason"
	}
	switch sig.Signal {
	case api.Approve:
		if step.Action != model.ActionApprove {
			return "the step asks for no approval"
		}
		if slices.ContainsFunc(st.Approved, func(a api.Approval) bool { return a.By == sig.By }) {
			return sig.By + " has approved already"
		}
	case api.Retry:
		if st.Status != api.StepAsking && st.Status != api.StepRetrying {
			return fmt.Sprintf("only a step that failed can be tried again; it is %s", st.Status)
		}
	case api.Force:
		if st.Status != api.StepAsking {
			return fmt.Sprintf("only a step that asks can be forced; it is %s", st.Status)
		}
	case api.Skip:
		return s.admitSkip(i, sig)
	}
	return ""
}

func (s *State) admitSkip(i int, sig *api.SignalRequest) string {
	step, st := &s.Plan.Steps[i], &s.Steps[i]
	switch {
	case st.holdsPlace():
		return "the step is under way; abort the run or wait"
	case step.Waiver != "":
		return fmt.Sprintf("a rule stands behind it; to set it aside in writing: lifeboat run force %s %s --reason …", s.Run, step.ID)
	case step.Action == model.ActionApprove:
		return "an approval cannot be skipped; approve it or abort the run"
	}
	for name := range sig.Set {
		if _, ok := step.Outputs[name]; !ok {
			return fmt.Sprintf("the step has no output %q", name)
		}
	}
	return ""
}
