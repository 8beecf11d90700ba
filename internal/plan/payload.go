package plan

import (
	"fmt"
	"slices"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// payload adds the steps of a StatePayload document after needs, and returns the step that ends it ("" for the outermost). Its
// layers follow each other, and the actions of one run at once; each is a move of its own, of one resource, by the rules of
// every other move. A document that makes old primaries follow again may delete them, and asks a person first: rule 2. Other
// moves of a document delete nothing: what follows a switchover waits until the old primary follows, and does not make it again.
func (b *builder) payload(prefix string, p model.CustomPlan, needs []model.StepID) (model.StepID, error) {
	works, ok := b.in.Payloads[p.Name]
	if !ok {
		return "", failure.New(failure.Invalid, "plan", p.Name, "a plan that is a StatePayload document is run by itself or by another plan of yours, not by an app's hook").
			WithHint("lifeboat run start --plan %s", p.Name)
	}
	if len(works) == 0 {
		return "", failure.New(failure.Invalid, "plan", p.Name, "the document holds no action")
	}
	gate := slices.Clone(needs)
	if slices.ContainsFunc(works, func(w model.PayloadWork) bool { return w.Mode == "" }) {
		gate = []model.StepID{b.add(model.Step{ID: model.StepID(prefix + "approve"), Title: fmt.Sprintf("one person approves that old primaries at %s are deleted and made again", p.Payload.Site),
			Action: model.ActionApprove, Approvals: 1, Needs: needs, App: model.AppID(p.Name), Operation: model.OpFailback, Mode: model.Planned})}
	}
	for layer := 0; len(works) > 0; layer++ {
		var ends []model.StepID
		for len(works) > 0 && works[0].Layer == layer {
			end, err := b.payloadWork(prefix, p, works[0], gate)
			if err != nil {
				return "", failure.Wrap(err, "plan", p.Name)
			}
			ends, works = append(ends, end...), works[1:]
		}
		if len(ends) == 0 {
			continue
		}
		if len(works) == 0 && prefix == "" {
			return "", nil
		}
		gate = []model.StepID{b.add(model.Step{ID: model.StepID(fmt.Sprintf("%slayer-%d-done", prefix, layer+1)), Title: fmt.Sprintf("layer %d is complete", layer+1),
			Action: model.ActionJoin, Needs: ends, App: model.AppID(p.Name), Operation: model.OpCustom})}
	}
	return gate[0], nil
}

// payloadWork adds the steps of one action and returns those that end it.
func (b *builder) payloadWork(prefix string, p model.CustomPlan, w model.PayloadWork, gate []model.StepID) ([]model.StepID, error) {
	app := model.App{ID: model.AppID(p.Name), Home: p.Payload.Peer, Recovery: []model.SiteID{p.Payload.Site}, Resources: []model.Resource{w.Resource}}
	op, mode := model.OpFailover, w.Mode
	if mode == "" {
		op, mode = model.OpFailback, model.Planned
	}
	m := newMove(app, op, mode, p.Payload.Peer, p.Payload.Site)
	m.prefix, m.gate = prefix, gate
	if op == model.OpFailback {
		return b.reverse(m, m.to, m.from, gate)
	}
	first := len(b.steps)
	if mode == model.Planned {
		if err := b.quiesce(m); err != nil {
			return nil, err
		}
	}
	if err := b.fence(m); err != nil {
		return nil, err
	}
	if err := b.bringUp(m, w.Resource); err != nil {
		return nil, err
	}
	b.markOutage(first)
	ends := clean(m.checked[w.Resource.ID])
	if mode == model.Planned {
		follows, err := b.reverse(m, m.from, m.to, ends)
		if err != nil {
			return nil, err
		}
		ends = append(ends, follows...)
	}
	return ends, nil
}
