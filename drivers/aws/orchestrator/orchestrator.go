// Package orchestrator says which databases the actions of a StatePayload document are of: what AWS's DR Orchestrator Framework
// would do becomes work for the drivers of aws.aurora.global, aws.rds.instance and aws.elasticache.global.
//
// It reads the exports and parameters that the document refers to, and asks which member of a global database or source of a
// replica is at the other site, all in the region that the document runs in: the other one may be lost. It changes nothing, and
// carries nothing out: that is the drivers' work, in a plan of internal/plan. The document itself is read by
// internal/statepayload.
//
// Start with [New] and [Importer.Resolve].
package orchestrator

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/statepayload"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Importer resolves documents. It holds no state between calls.
type Importer struct{ base *awsbase.Base }

// New makes an importer on the base that the process's drivers of AWS share.
func New(base *awsbase.Base) *Importer { return &Importer{base: base} }

// Resolve says what a document's actions are, layer by layer, as the region at plan.Site has it. Sites are those of the
// configuration. When a remark blocks there is no work. An error means that nothing could be asked.
func (im *Importer) Resolve(ctx context.Context, app model.AppID, doc *model.Payload, plan model.PayloadPlan, sites []model.Site) ([]model.PayloadWork, []model.PayloadRemark, error) {
	work, remarks, err := im.resolve(ctx, app, doc, plan, sites)
	if err != nil && failure.KindOf(err) == failure.Denied {
		err = failure.From(err).WithHint("%s; all that reading it needs: lifeboat aws policy --plan %s --site %s --import", failure.HintOf(err), doc.File, plan.Site)
	}
	return work, remarks, err
}

func (im *Importer) resolve(ctx context.Context, app model.AppID, doc *model.Payload, plan model.PayloadPlan, sites []model.Site) ([]model.PayloadWork, []model.PayloadRemark, error) {
	r := &resolver{plan: plan, app: app, ids: map[model.ResourceID]bool{}}
	var err error
	if r.here, err = access(plan.Site, sites); err != nil {
		return nil, nil, err
	}
	if r.there, err = access(plan.Peer, sites); err != nil {
		return nil, nil, err
	}
	if r.session, err = im.base.Session(ctx, r.here); err != nil {
		return nil, nil, failure.Wrap(err, "resolve", doc.File)
	}
	if r.here.Region == r.there.Region {
		return nil, nil, failure.New(failure.Invalid, "resolve", doc.File, "%s and %s are both in %s", plan.Site, plan.Peer, r.here.Region).
			WithHint("name another site to move away from")
	}
	values, err := r.values(ctx, doc)
	if err != nil {
		return nil, r.remarks, failure.Wrap(err, "resolve", doc.File)
	}
	if statepayload.Blocked(r.remarks) {
		return nil, r.remarks, nil // what is not known cannot be looked at
	}
	if p := r.session.Partition(); p != "aws" {
		r.remarks = append(r.remarks, model.PayloadRemark{Severity: model.Note, Code: "payload-partition",
			What: fmt.Sprintf("%s is in the partition %s", r.here.Region, p), Why: "the framework writes arn:aws into what it asks for, and works in no other partition"})
	}
	var all []model.PayloadWork
	for i, layer := range doc.Layers {
		for _, a := range layer.Actions {
			act := &action{resolver: r, a: a, values: values[a.Path]}
			w, ok, err := act.work(ctx)
			if err != nil {
				return nil, r.remarks, failure.Wrap(err, "resolve", a.Path)
			}
			if ok {
				w.Layer = i
				all = append(all, w)
			}
		}
	}
	r.twice(all)
	if statepayload.Blocked(r.remarks) {
		return nil, r.remarks, nil
	}
	return all, r.remarks, nil
}

// access is where a site is in AWS.
func access(id model.SiteID, sites []model.Site) (awsbase.Access, error) {
	i := slices.IndexFunc(sites, func(s model.Site) bool { return s.ID == id })
	if i < 0 || len(sites[i].AWS) == 0 {
		return awsbase.Access{}, failure.New(failure.Invalid, "resolve", string(id), "lifeboat.yaml does not say where this site is in AWS").
			WithHint("write sites: {%s: {aws: {account: \"111122223333\", region: us-west-2}}}", id)
	}
	a, err := driver.Decode[awsbase.Access](sites[i].AWS)
	return a, failure.Wrap(err, "resolve", string(id))
}

// resolver is one document on its way.
type resolver struct {
	plan        model.PayloadPlan
	app         model.AppID
	here, there awsbase.Access
	session     *awsbase.Session // of here: the other region is not asked
	remarks     []model.PayloadRemark
	ids         map[model.ResourceID]bool
}

// twice remarks on databases that two actions are of.
func (r *resolver) twice(all []model.PayloadWork) {
	seen := map[string]bool{}
	for _, w := range all {
		key := string(w.Resource.Kind) + string(w.Resource.Settings) + string(w.Resource.Sites[r.plan.Site])
		if seen[key] {
			r.remarks = append(r.remarks, model.PayloadRemark{Severity: model.Block, Code: "payload-again", What: fmt.Sprintf("two actions are of the same database, %s", w.Resource.ID),
				Why: "the framework does both, and the second one fails and waits for ever", Fix: "remove one of them"})
		}
		seen[key] = true
	}
}

// action is one action on its way.
type action struct {
	*resolver
	a      model.PayloadAction
	values map[string]string
	failed bool
}

// remark remarks on a parameter, or on the action when there is no such parameter.
func (t *action) remark(s model.Severity, code, parameter, why, fix, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	t.failed = t.failed || s == model.Block
	p, ok := t.a.Parameter(parameter)
	if !ok {
		p = model.PayloadParameter{Path: t.a.Path, Line: t.a.Line, Column: 1}
	}
	t.remarks = append(t.remarks, p.Remark(s, code, what, why, fix))
}

// work says what the action is. False: a remark says why it cannot be.
func (t *action) work(ctx context.Context) (model.PayloadWork, bool, error) {
	t.regions()
	if t.failed {
		return model.PayloadWork{}, false, nil
	}
	var w model.PayloadWork
	var err error
	switch t.a.Type {
	case statepayload.PlannedFailoverAurora:
		w, err = t.failoverAurora(ctx, model.Planned)
	case statepayload.UnPlannedFailoverAurora:
		w, err = t.failoverAurora(ctx, model.Unplanned)
	case statepayload.PromoteRDSReadReplica:
		w, err = t.promoteReplica(ctx)
	case statepayload.FailoverElastiCacheCluster:
		w, err = t.failoverCache(ctx)
	case statepayload.CreateRDSReadReplica:
		w, err = t.createReplica()
	case statepayload.CreateAuroraSecondaryDBCluster:
		w, err = t.createCluster()
	default:
		err = failure.New(failure.Internal, "", t.a.Path, "no work is known for %q", t.a.Type)
	}
	return w, !t.failed && err == nil, err
}

// regions holds the regions that the action names against the sites'.
func (t *action) regions() {
	for _, name := range []string{"ClusterRegion", "TargetRegion"} {
		if v := t.values[name]; v != "" && v != t.here.Region {
			t.remark(model.Block, "payload-region", name, "the framework fails after it has begun, or acts on the wrong region", "name the site of that region with --site, or under the plan in lifeboat.yaml",
				"%s is %s, and the document is to run at %s, in %s", name, v, t.plan.Site, t.here.Region)
		}
	}
	if v := t.values["SourceRegion"]; v != "" && v != t.there.Region {
		t.remark(model.Block, "payload-region", "SourceRegion", "", "name the site of that region with --from, or as peer of the plan in lifeboat.yaml",
			"SourceRegion is %s, and the other site, %s, is in %s", v, t.plan.Peer, t.there.Region)
	}
}

// database takes the identifier of a database out of its ARN, which must be of a region. A plain identifier is one too.
func (t *action) database(parameter, kind, region string) string {
	value := t.values[parameter]
	if !strings.HasPrefix(value, "arn:") {
		return strings.ToLower(value)
	}
	partition, service, in, account, resource, ok := awsbase.SplitARN(value)
	id, found := strings.CutPrefix(resource, kind+":")
	switch {
	case !ok || service != "rds" || !found || id == "":
		t.remark(model.Block, "payload-arn", parameter, "", "give the ARN of a "+kind, "%s is %q, which is no ARN of a %s of RDS", parameter, value, kind)
	case partition != awsbase.PartitionOf(region):
		t.remark(model.Block, "payload-arn", parameter, "the framework writes arn:aws everywhere", "write arn:"+awsbase.PartitionOf(region), "%s is in the partition %s, and %s is in another", parameter, partition, region)
	case in != region:
		t.remark(model.Block, "payload-region", parameter, "the framework waits for a database that is not there", "does the document run at the right site?", "%s is in %s, and should be in %s", parameter, in, region)
	case account != t.here.Account:
		t.remark(model.Block, "payload-account", parameter, "", "", "%s is in account %s, and the site is account %s", parameter, account, t.here.Account)
	}
	return strings.ToLower(id)
}

// flag, whole and list are values that were checked.
func (t *action) flag(parameter string) bool {
	on, _ := statepayload.Bool(t.values[parameter])
	return on
}

func (t *action) whole(parameter string) (n int, ok bool) {
	if strings.TrimSpace(t.values[parameter]) == "" {
		return 0, false
	}
	return statepayload.Number(t.values[parameter])
}

var notInID = regexp.MustCompile(`[^a-z0-9]+`)

// id makes a resource's id of a database's identifier, another one each time.
func (r *resolver) id(name string) model.ResourceID {
	base := strings.Trim(notInID.ReplaceAllString(strings.ToLower(name), "-"), "-")
	base = strings.Trim(base[:min(len(base), 56)], "-")
	id := model.ResourceID(base)
	for n := 2; r.ids[id]; n++ {
		id = model.ResourceID(fmt.Sprintf("%s-%d", base, n))
	}
	r.ids[id] = true
	return id
}
