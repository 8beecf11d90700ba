// Package awslook reads what resources there are in AWS, at all their sites, for a rehearsal. It is no driver: it knows what to list, and not
// what that is for.
//
// It cannot change anything: all it asks goes through an [awstest.Glass], which refuses what is no look. What AWS answered is kept
// as it came; [awstest.World.Learn] makes a world of it.
//
// Start with [Look].
package awslook

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// services say which of AWS's services a kind's resources live in.
var services = map[string]string{"aws.rds.": "rds", "aws.aurora.": "rds", "aws.elasticache.": "elasticache", "aws.route53.": "route53"}

// Known reports whether resources of a kind can be looked at here.
func Known(kind model.Kind) bool { return serviceOf(kind) != "" }

func serviceOf(kind model.Kind) string {
	for prefix, service := range services {
		if strings.HasPrefix(string(kind), prefix) {
			return service
		}
	}
	return ""
}

// AccessOf is where a resource's settings at a site say that the site is; false when they say nothing.
func AccessOf(settings json.RawMessage) (awsbase.Access, bool) {
	var s struct {
		AWS awsbase.Access `json:"aws"`
	}
	err := json.Unmarshal(settings, &s)
	return s.AWS, err == nil && s.AWS.Account != ""
}

// Seen is what there is.
type Seen struct {
	Answers []awstest.Answer `json:"answers"`
	// Assumed are keys and security groups that the settings name and that could not be looked at, by account and region.
	Assumed []Assumed `json:"assumed,omitempty"`
	Left    []Left    `json:"-"`
	Calls   int       `json:"-"`
}

// Assumed are names that are taken for there.
type Assumed struct {
	Account string   `json:"account"`
	Region  string   `json:"region"`
	Names   []string `json:"names"`
}

// Left is what could not be looked at.
type Left struct {
	Site model.SiteID
	What string
	// Whole says that it is everything in that region.
	Whole bool
	Err   error
}

// Look lists what resources of AWS among all can need at each of their sites, all sites side by side. Sites that do not answer
// are in Seen.Left. The error is ctx's, or failure.Invalid. HTTP reaches AWS; nil: as the SDK does.
func Look(ctx context.Context, log *slog.Logger, through awstest.HTTP, resources []model.Resource) (*Seen, error) {
	places, err := placesOf(resources)
	if err != nil {
		return nil, err
	}
	out := make([]*Seen, len(places))
	var group sync.WaitGroup
	for i, p := range places {
		group.Go(func() { out[i] = p.look(ctx, log, through) })
	}
	group.Wait()
	if ctx.Err() != nil {
		return nil, failure.Wrap(context.Cause(ctx), "look at", "AWS")
	}
	all := &Seen{}
	for _, s := range out {
		all.Answers, all.Assumed, all.Left = append(all.Answers, s.Answers...), append(all.Assumed, s.Assumed...), append(all.Left, s.Left...)
		all.Calls += s.Calls
	}
	return all, nil
}

// place is one account and region, as somebody, with what there is to look for.
type place struct {
	site     model.SiteID
	access   awsbase.Access
	services []string
	zones    []zone
	texts    []string        // all that the settings there say
	groups   []string        // security groups
	keys     []string        // that the settings name
	sealed   map[string]bool // keys of snapshots
	assumed  []string        // groups and keys that could not be asked for
}

// placesOf finds the places of resources.
func placesOf(resources []model.Resource) ([]*place, error) {
	var places []*place
	for _, r := range resources {
		service := serviceOf(r.Kind)
		if service == "" {
			continue
		}
		for _, site := range r.SiteIDs() {
			access, ok := AccessOf(r.Sites[site])
			if !ok {
				return nil, failure.New(failure.Invalid, "look at", string(r.ID)+" at "+string(site), "its settings do not say where in AWS it is")
			}
			p := find(places, access)
			if p == nil {
				p = &place{site: site, access: access, sealed: map[string]bool{}}
				places = append(places, p)
			}
			if !slices.Contains(p.services, service) {
				p.services = append(p.services, service)
			}
			if service == "route53" {
				var z zone
				if err := json.Unmarshal(r.Settings, &z); err != nil {
					return nil, failure.WrapAs(failure.Invalid, err, "look at", string(r.ID))
				}
				p.zones = append(p.zones, z)
			}
			if err := p.read(r.Sites[site]); err != nil {
				return nil, failure.WrapAs(failure.Invalid, err, "look at", string(r.ID))
			}
		}
	}
	return places, nil
}

// find finds the place of an access.
func find(places []*place, access awsbase.Access) *place {
	want, _ := json.Marshal(access)
	for _, p := range places {
		if have, _ := json.Marshal(p.access); string(have) == string(want) {
			return p
		}
	}
	return nil
}

// read finds what settings name.
func (p *place) read(settings json.RawMessage) error {
	var doc any
	if err := json.Unmarshal(settings, &doc); err != nil {
		return err
	}
	p.walk("", doc)
	return nil
}

func (p *place) walk(name string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if k != "aws" {
				p.walk(k, v[k])
			}
		}
	case []any:
		for _, inner := range v {
			p.walk(name, inner)
		}
	case string:
		p.texts = append(p.texts, v)
		switch {
		case strings.HasPrefix(v, "sg-") && !slices.Contains(p.groups, v):
			p.groups = append(p.groups, v)
		case name == "kms_key" && !slices.Contains(p.keys, v):
			p.keys = append(p.keys, v)
		}
	}
}

// Base is what drivers that are only to look reach AWS by: what would change something is refused before it leaves, with
// failure.Unsupported.
func Base(log *slog.Logger, through awstest.HTTP) *awsbase.Base {
	return awsbase.New(awsbase.Options{Log: log, HTTP: through, Around: func(c aws.HTTPClient) aws.HTTPClient { return pane{awstest.NewGlass(c, "")} }})
}

// pane is a glass whose refusals are told from a region that does not answer.
type pane struct{ glass *awstest.Glass }

// Do sends what only looks.
func (p pane) Do(req *http.Request) (*http.Response, error) {
	resp, err := p.glass.Do(req)
	if kept := (*awstest.NotSent)(nil); errors.As(err, &kept) {
		return nil, failure.WrapAs(failure.Unsupported, err, "look at", "AWS")
	}
	return resp, err
}

// look lists one place.
func (p *place) look(ctx context.Context, log *slog.Logger, through awstest.HTTP) *Seen {
	var glass *awstest.Glass
	base := awsbase.New(awsbase.Options{Log: log, HTTP: through, Around: func(c aws.HTTPClient) aws.HTTPClient {
		glass = awstest.NewGlass(c, p.access.Account)
		return glass
	}})
	seen := &Seen{}
	session, err := base.Session(ctx, p.access)
	if err != nil {
		seen.Left = []Left{{p.site, "everything in " + p.access.Region, true, err}}
		return seen
	}
	lists := p.lists(session)
	for _, l := range lists {
		err := l.do(ctx)
		switch {
		case err == nil:
			continue
		case failure.KindOf(err) == failure.Unavailable:
			seen.Left = append(seen.Left, Left{p.site, "everything in " + p.access.Region, true, err})
			seen.Answers = nil
			return seen
		}
		seen.Left = append(seen.Left, Left{p.site, l.what + " in " + p.access.Region, false, err})
		if errors.Is(err, context.Canceled) {
			break
		}
	}
	if len(seen.Left) == len(lists) { // nothing at all may be looked at, by these credentials
		seen.Left = []Left{{p.site, "everything in " + p.access.Region, true, seen.Left[0].Err}}
		return seen
	}
	if err := p.unseal(ctx, session); err != nil {
		seen.Left = append(seen.Left, Left{p.site, "the keys of snapshots in " + p.access.Region, false, err})
	}
	if len(p.assumed) > 0 {
		seen.Assumed = []Assumed{{p.access.Account, p.access.Region, p.assumed}}
	}
	seen.Answers = glass.Answers()
	seen.Calls = len(seen.Answers)
	return seen
}
