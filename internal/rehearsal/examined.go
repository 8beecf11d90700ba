package rehearsal

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/service"
	"github.com/lifeboat-dr/lifeboat/model"
)

// nowhere are the services that are in no region, whatever region their requests name.
var nowhere = []string{"iam", "route53", "sts"}

// calls are those that the run made of the stand-in, each once.
func (st *stage) calls() []api.RehearsedCall {
	made := map[api.RehearsedCall]bool{}
	for _, c := range st.world.Calls() {
		one := api.RehearsedCall{Account: c.Account, Region: c.Region, Call: c.Service + ":" + c.Action}
		if slices.Contains(nowhere, c.Service) {
			one.Region = ""
		}
		made[one] = true
	}
	return slices.SortedFunc(maps.Keys(made), func(a, b api.RehearsedCall) int {
		return cmp.Or(strings.Compare(a.Account, b.Account), strings.Compare(a.Region, b.Region), strings.Compare(a.Call, b.Call))
	})
}

// examine asks AWS itself what the plan that was carried out would miss there: the stand-in allows everything, offers whatever was
// seen anywhere, and knows no more of quotas and keys than what was listed. What blocks the plan in truth spoils the rehearsal.
func examine(ctx context.Context, svc *service.Service, played *Played, real []model.Resource) error {
	p := *played.Plan
	p.Steps = slices.Clone(p.Steps)
	for i := range p.Steps {
		step := &p.Steps[i]
		if n := slices.IndexFunc(real, func(r model.Resource) bool { return r.App == step.Resource.App && r.ID == step.Resource.ID }); n >= 0 {
			step.Resource = real[n] // with its way to AWS
		}
	}
	out := played.Rehearsal
	out.Examined = svc.Examine(ctx, &p)
	if ctx.Err() != nil {
		return failure.Wrap(context.Cause(ctx), "examine", "AWS")
	}
	out.Examined = slices.DeleteFunc(out.Examined, func(f model.Finding) bool { return f.Code == "aws-identity" && f.Severity == model.Note })
	worst := []model.Severity{model.Block, model.Warn, model.Note}
	slices.SortFunc(out.Examined, func(a, b model.Finding) int {
		return cmp.Or(slices.Index(worst, a.Severity)-slices.Index(worst, b.Severity), strings.Compare(string(a.Site), string(b.Site)), strings.Compare(a.What, b.What))
	})
	out.Findings = slices.DeleteFunc(out.Findings, func(f model.Finding) bool {
		return slices.ContainsFunc(out.Examined, func(o model.Finding) bool { return o.Code == f.Code && o.Site == f.Site && o.What == f.What })
	})
	blocks := slices.DeleteFunc(slices.Clone(out.Examined), func(f model.Finding) bool { return f.Severity != model.Block })
	if len(blocks) == 0 {
		return nil
	}
	out.OK = false
	out.Verdict += "; in truth it would not start: " + blocks[0].What
	if n := len(blocks) - 1; n > 0 {
		out.Verdict += fmt.Sprintf("; and %d more", n)
	}
	return nil
}
