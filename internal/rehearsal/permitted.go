package rehearsal

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awslook"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// permitWithin bounds how long a site is asked what is allowed there.
const permitWithin = 2 * time.Minute

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

// narrowed are the permissions of drivers for the calls that were made, of all that their work may come to.
type narrowed struct {
	drivers *driver.Registry
	made    []api.RehearsedCall
}

// Permissions are those of the request whose calls were made, and the one to ask about them.
func (n narrowed) Permissions(req driver.Request) ([]driver.Permission, error) {
	d, err := n.drivers.Get(req.Resource.Kind)
	if err != nil {
		return nil, err
	}
	who, ok := driver.As[driver.Permitter](d)
	if !ok {
		return nil, nil
	}
	all, err := who.Permissions(req)
	return slices.DeleteFunc(all, func(p driver.Permission) bool {
		access, _ := awslook.AccessOf(req.Resource.Sites[p.Site])
		call := cmp.Or(p.Within, p.Call)
		return p.Call != "iam:SimulatePrincipalPolicy" && !slices.ContainsFunc(n.made, func(m api.RehearsedCall) bool {
			return m.Call == call && m.Account == p.Account && (m.Region == "" || m.Region == access.Region)
		})
	}), err
}

// permitted asks which of the calls that the plan made are allowed in truth, at all sites side by side, as the doctor asks. A call
// that is not spoils the rehearsal.
func (r *Rehearser) permitted(ctx context.Context, base *awsbase.Base, played *Played, real []model.Resource) error {
	var work []driver.Request
	sites := map[model.SiteID]bool{}
	for _, step := range played.Plan.Steps {
		i := slices.IndexFunc(real, func(r model.Resource) bool { return r.App == step.Resource.App && r.ID == step.Resource.ID })
		if i < 0 || !awslook.Known(step.Kind) {
			continue
		}
		req := driver.Preview(step)
		req.Resource = real[i]
		work = append(work, req)
		for site := range req.Resource.Sites {
			sites[site] = true
		}
	}
	out := played.Rehearsal
	if len(out.Calls) == 0 {
		return nil
	}
	permits := narrowed{r.opts.Drivers(r.opts.Log, base), out.Calls}
	var mu sync.Mutex
	var group sync.WaitGroup
	for site := range sites {
		group.Go(func() {
			bounded, cancel := context.WithTimeout(ctx, permitWithin)
			defer cancel()
			examined, err := preflight.Examine(bounded, base, driver.Examination{App: played.Plan.App, Site: site, Work: work}, permits, nil)
			found := examined.Findings
			if err != nil {
				found = append(found, model.Finding{Severity: model.Warn, Code: "not-examined", Site: site, What: fmt.Sprintf("what is allowed at %s could not be asked: %v", site, err), Fix: failure.HintOf(err)})
			}
			mu.Lock()
			defer mu.Unlock()
			out.Permissions = append(out.Permissions, found...)
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return failure.Wrap(context.Cause(ctx), "ask what is allowed", "")
	}
	out.Permissions = slices.DeleteFunc(out.Permissions, func(f model.Finding) bool { return f.Code == "aws-identity" && f.Severity == model.Note })
	slices.SortFunc(out.Permissions, func(a, b model.Finding) int {
		return cmp.Or(strings.Compare(string(a.Site), string(b.Site)), strings.Compare(a.What, b.What))
	})
	denied := slices.DeleteFunc(slices.Clone(out.Permissions), func(f model.Finding) bool { return f.Severity != model.Block })
	if len(denied) == 0 {
		return nil
	}
	out.OK = false
	out.Verdict += "; in truth it would be refused: " + denied[0].What
	if n := len(denied) - 1; n > 0 {
		out.Verdict += fmt.Sprintf(", and %d more", n)
	}
	return nil
}
