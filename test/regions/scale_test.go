package regions

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/test/program"
)

// How many of each kind there are at scale: a hundred databases. More instances than twenty would wait for AWS's limit on copies
// of snapshots to a region, and not for Lifeboat.
const (
	manyInstances = 20
	manyGlobals   = 40
	manyCaches    = 40
)

// many are a hundred databases in three layers, each of which needs all of the layer before, and a name that needs the last one.
func many() (parts []part) {
	var layers [3][]string
	add := func(kind, word string, n int) {
		for i := range n {
			p := part{id: fmt.Sprintf("%s-%02d", word, i), kind: kind}
			layer := i % len(layers)
			layers[layer] = append(layers[layer], p.id)
			parts = append(parts, p)
		}
	}
	add(instanceKind, "rds", manyInstances)
	add(globalKind, "aurora", manyGlobals)
	add(cacheKind, "cache", manyCaches)
	for i := range parts {
		for layer := 1; layer < len(layers); layer++ {
			if slices.Contains(layers[layer], parts[i].id) {
				parts[i].needs = layers[layer-1]
			}
		}
	}
	return append(parts, part{id: "www", kind: nameKind, needs: layers[2]})
}

// makeMany makes them, serving in Dublin.
func (l *lab) makeMany(parts []part) {
	l.t.Helper()
	l.furnish()
	for site := range regions {
		for _, quota := range []string{"DBInstances", "DBClusters", "ManualSnapshots"} {
			l.Quota(account, regions[site], quota, 1000)
		}
	}
	for _, p := range parts {
		switch p.kind {
		case instanceKind:
			l.makeInstance("shop-" + p.id)
		case globalKind:
			l.makeGlobal("shop-"+p.id, 1, 1)
		case cacheKind:
			l.makeCache("shop-" + p.id)
		case nameKind:
			l.makeName("shop.example", p.id+".shop.example", "entrance.dublin.shop.example")
		}
		time.Sleep(time.Second)
	}
	time.Sleep(time.Hour)
	l.compose(parts)
}

// TestAHundredDatabases moves a hundred databases away from a region that hangs, and home again, at AWS's rates and with
// transitions that are twice as long as usual. What it takes is the wait for AWS along the longest way through the plan, and at
// most a tenth more; and AWS throttles at most one call in a hundred. The way home is in the long suite.
func TestAHundredDatabases(t *testing.T) {
	t.Parallel()
	bubble(t, awstest.Options{}, func(l *lab) {
		parts := many()
		l.makeMany(parts)
		req := l.ask(model.OpProtect, "")
		for _, p := range parts {
			if p.kind == instanceKind { // the others follow without points
				req.Resources = append(req.Resources, model.ResourceID(p.id))
			}
		}
		l.run(req)
		l.Play(awstest.Script{Scale: 2})

		home := l.Inject(awstest.Fault{Region: regions[dublin], How: awstest.Hang})
		req = l.ask(model.OpFailover, model.Unplanned)
		req.AcceptUnfenced = "the region is gone"
		l.measured("unplanned failover", req, len(parts))
		home.Remove()
		if !program.Long() {
			return
		}
		l.measured("failback", l.ask(model.OpFailback, ""), len(parts))
	})
}

// measured runs an operation, and holds it to its targets.
func (l *lab) measured(what string, req api.StartRequest, resources int) {
	l.t.Helper()
	l.Forget()
	start := time.Now()
	r := l.run(req)
	took := time.Since(start)
	waits, way := critical(r, l.Transitions())
	throttled := 0
	calls := l.Calls()
	for _, c := range calls {
		if strings.HasPrefix(c.Code, "Throttl") {
			throttled++
		}
	}
	l.t.Logf("%s of %d resources: %s; the longest way of waits is %s (%.3f times); %d calls, %.1f per resource, %d throttled", what, resources, took.Round(time.Second),
		waits.Round(time.Second), took.Seconds()/waits.Seconds(), len(calls), float64(len(calls))/float64(resources), throttled)
	if took > waits+waits/10 {
		l.t.Errorf("%s took %s, and the waits for AWS along the longest way are %s: %s", what, took, waits, strings.Join(way, ", "))
	}
	if throttled*100 > len(calls) {
		l.t.Errorf("%d of %d calls were throttled", throttled, len(calls))
	}
}

// critical is the longest way through a run's plan, when each step takes only as long as AWS has work under way for its resource,
// and the steps of that way.
func critical(r *api.Report, all []awstest.Transition) (time.Duration, []string) {
	ends := map[model.StepID]time.Duration{}
	ways := map[model.StepID][]string{}
	var longest model.StepID
	for i, s := range r.Plan.Steps {
		var from model.StepID
		for _, n := range s.Needs {
			if ends[n] > ends[from] {
				from = n
			}
		}
		waits := waited(r.Run.Steps[i], s, all)
		ends[s.ID] = ends[from] + waits
		ways[s.ID] = append(slices.Clone(ways[from]), fmt.Sprintf("%s %s of %s", s.ID, waits.Round(time.Second), length(r.Run.Steps[i]).Round(time.Second)))
		if ends[s.ID] > ends[longest] {
			longest = s.ID
		}
	}
	return ends[longest], ways[longest]
}

func length(st api.StepView) time.Duration {
	if st.Started == nil || st.Ended == nil {
		return 0
	}
	return st.Ended.Sub(*st.Started)
}

// waited is how long, during a step, at least one transition of its resource was under way.
func waited(st api.StepView, s model.Step, all []awstest.Transition) (sum time.Duration) {
	if st.Started == nil || st.Ended == nil {
		return 0
	}
	at := *st.Started // the transitions are in order of their beginnings
	for _, tr := range all {
		own := strings.Contains(tr.Name, "shop-"+string(s.Resource.ID))
		if s.Kind == nameKind {
			own = tr.Action == "ChangeResourceRecordSets"
		}
		if !own {
			continue
		}
		from, to := later(tr.Began, at), *st.Ended
		if !tr.Ended.IsZero() && tr.Ended.Before(to) {
			to = tr.Ended
		}
		if to.After(from) {
			sum += to.Sub(from)
			at = to
		}
	}
	return sum
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
