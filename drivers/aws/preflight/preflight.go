// Package preflight asks an account and a region of AWS for what drivers of AWS will need there, before a recovery needs it:
// permissions, networks, keys, room under quotas, machines and engines that are offered.
//
// It changes nothing. Of a permission it asks IAM's policy simulator; where that is not allowed or not there, calls tell: those that
// look for real, those that change something with the name of a thing that cannot exist, so that "access denied" and "not found"
// tell them apart. A call that could have an effect is never made.
//
// Start with [NewBook], where drivers write down which calls their work makes, and [Examine], which examines a site. It knows no
// resource and no operation; and it is no judge of what organizations or keys' own policies deny.
package preflight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Book is where a driver writes down the calls of its work.
type Book struct {
	app  model.AppID
	list []driver.Permission
}

// NewBook makes an empty one for an app's work.
func NewBook(app model.AppID) *Book { return &Book{app: app} }

// Page is the part of a book for the calls that one site's access makes.
type Page struct {
	b      *Book
	site   model.SiteID
	access awsbase.Access
}

// Page turns to a site's page.
func (b *Book) Page(site model.SiteID, a awsbase.Access) *Page { return &Page{b, site, a} }

// Permissions are all that was written, each once.
func (b *Book) Permissions() []driver.Permission { return merged(b.list) }

// merged are permissions without repetition: one for each call of somebody's, under the same conditions.
func merged(list []driver.Permission) []driver.Permission {
	type same struct {
		site                        model.SiteID
		holder, call, within, given string
	}
	at := map[same]int{}
	var out []driver.Permission
	for _, p := range list {
		key := same{p.Site, p.Holder, p.Call, p.Within, conditions(p.If).text()}
		i, seen := at[key]
		if !seen {
			i, at[key] = len(out), len(out)
			out = append(out, p)
			out[i].On = nil
		}
		out[i].On = append(out[i].On, p.On...)
	}
	for i := range out {
		out[i].On = clean(out[i].On)
	}
	return out
}

func clean(on []string) []string {
	out := slices.Clone(on)
	slices.Sort(out)
	return slices.Compact(out)
}

// ARN names a thing of the page's account and region; resource may hold a *.
func (p *Page) ARN(service, resource string) string {
	return awsbase.ARN(awsbase.PartitionOf(p.access.Region), service, p.access.Region, p.access.Account, resource)
}

// Global names a thing of the account that is in no region.
func (p *Page) Global(service, resource string) string {
	return awsbase.ARN(awsbase.PartitionOf(p.access.Region), service, "", p.access.Account, resource)
}

// KeyARN is a KMS key's, from its ARN or id. An alias stands for a key that its name does not tell: for all of the region.
func (p *Page) KeyARN(key string) string {
	switch {
	case strings.HasPrefix(key, "arn:"):
		return key
	case strings.HasPrefix(key, "alias/"):
		key = "*"
	}
	return p.ARN("kms", "key/"+key)
}

// Look writes down calls that change nothing.
func (p *Page) Look(why string, on []string, calls ...string) {
	for _, call := range calls {
		p.add(driver.Permission{Call: call, On: on, Looks: true, Why: why})
	}
}

// Change writes down calls that change something.
func (p *Page) Change(why string, on []string, calls ...string) {
	for _, call := range calls {
		p.add(driver.Permission{Call: call, On: on, Why: why})
	}
}

// ChangeOurs is Change of what carries the app's tags: what others made is not touched.
func (p *Page) ChangeOurs(why string, on []string, calls ...string) {
	for _, call := range calls {
		p.add(driver.Permission{Call: call, On: on, Why: why, If: Tagged(p.b.app)})
	}
}

// Tags writes down that a call tags what it makes, with the app's tags, for which AWS asks the service's own permission.
func (p *Page) Tags(call string, made []string) {
	service, _, _ := strings.Cut(call, ":")
	p.add(driver.Permission{Call: service + ":AddTagsToResource", On: made, Within: call, Why: "to tag what is made",
		If: map[string]map[string]string{"StringEquals": {"aws:RequestTag/" + awsbase.TagApp: string(p.b.app)}}})
}

// Encrypts writes down that the service that is called asks for a key on the caller's behalf; none named is none asked for.
func (p *Page) Encrypts(call, key string) {
	if key == "" {
		return
	}
	on := []string{p.KeyARN(key)}
	p.add(driver.Permission{Call: "kms:DescribeKey", On: on, Within: call, Why: "to encrypt what is made"})
	p.add(driver.Permission{Call: "kms:CreateGrant", On: on, Within: call, Why: "to encrypt what is made",
		If: map[string]map[string]string{"Bool": {"kms:GrantIsForAWSResource": "true"}}})
}

// Secret writes down that RDS makes the secret of a master password on the caller's behalf, with AWS's own key (RDS User Guide, "Password
// management with Amazon RDS and AWS Secrets Manager", permissions).
func (p *Page) Secret(call string) {
	const why = "to keep the master password in Secrets Manager"
	secret := []string{p.ARN("secretsmanager", "secret:rds!*")}
	p.add(driver.Permission{Call: "secretsmanager:CreateSecret", On: secret, Within: call, Why: why})
	p.add(driver.Permission{Call: "secretsmanager:TagResource", On: secret, Within: call, Why: why})
	p.add(driver.Permission{Call: "kms:DescribeKey", On: []string{p.ARN("kms", "key/*")}, Within: call, Why: why})
}

func (p *Page) add(one driver.Permission) {
	one.Site, one.Holder, one.Account, one.Partition = p.site, p.access.Holder(), p.access.Account, awsbase.PartitionOf(p.access.Region)
	p.b.list = append(p.b.list, one)
}

// Tagged is the condition that a thing carries the app's tag.
func Tagged(app model.AppID) map[string]map[string]string {
	return map[string]map[string]string{"StringEquals": {"aws:ResourceTag/" + awsbase.TagApp: string(app)}}
}

// Common writes down what every examination asks, and how the site's identity is come by.
func (p *Page) Common() {
	for _, step := range p.access.Chain() {
		account := ""
		if _, _, _, of, _, ok := awsbase.SplitARN(step[0]); ok {
			account = of
		}
		p.b.list = append(p.b.list, driver.Permission{Site: p.site, Holder: step[0], Account: account, Partition: awsbase.PartitionOf(p.access.Region),
			Call: "sts:AssumeRole", On: []string{step[1]}, Looks: true, Why: "to become who works at the site"})
	}
	self := []string{p.Global("iam", "role/*"), p.Global("iam", "user/${aws:username}")}
	if n := len(p.access.Roles); n > 0 {
		self = []string{p.access.Roles[n-1].ARN}
	}
	p.Look("to ask IAM which calls are allowed, before they are needed", self, simulate)
}

// Any is the resource of calls that know none.
var Any = []string{"*"}

// findings collects what an examination finds.
type findings struct {
	site model.SiteID
	list []model.Finding
}

func (f *findings) add(one model.Finding) {
	one.Site = f.site
	same := func(o model.Finding) bool {
		return o.Code == one.Code && o.Resource == one.Resource && o.What == one.What
	}
	if !slices.ContainsFunc(f.list, same) {
		f.list = append(f.list, one)
	}
}

// Site is one that is examined, as somebody.
type Site struct {
	s      *awsbase.Session
	access awsbase.Access
	app    model.AppID
	id     model.SiteID
	shared *driver.Shared
	who    awsbase.Identity
	found  findings
	dark   bool
	need   map[string]int // by the names of RDS's quotas
	nodes  int            // of ElastiCache
	draws  []driver.Draw

	permissions []driver.Permission // of all its work
	work        [][]driver.Request  // by resource
}

// at begins the examination of a site: it says who works there.
func at(ctx context.Context, base *awsbase.Base, x driver.Examination, a awsbase.Access) *Site {
	s, err := base.Session(ctx, a)
	if err != nil {
		site := &Site{access: a, found: findings{site: x.Site}, dark: true}
		site.nobody(err)
		return site
	}
	site := &Site{s: s, access: a, app: x.App, id: x.Site, shared: x.Shared, found: findings{site: x.Site}, need: map[string]int{}}
	site.who, err = Once(ctx, site, "who works there", s.Identity)
	switch {
	case err == nil:
		site.found.add(model.Finding{Severity: model.Note, Code: "aws-identity", What: fmt.Sprintf("%s works as %s", x.Site, site.who.ARN), Why: "in " + s.Name()})
		site.clock(site.who)
	case slices.Contains(passing, failure.KindOf(err)) || ctx.Err() != nil:
		site.dark = true
		site.unasked(err)
	default:
		site.dark = true
		site.nobody(err)
	}
	return site
}

// passing are the kinds of errors that may be over the next time.
var passing = []failure.Kind{failure.Unavailable, failure.Throttled, failure.Canceled, failure.Indeterminate}

// nobody says that nobody can work at the site.
func (s *Site) nobody(err error) {
	s.found.add(model.Finding{Severity: model.Block, Code: "aws-identity", What: awsbase.OneLine(err.Error()), Why: "nothing can be done there, and nothing was examined", Fix: failure.HintOf(err)})
}

// Once asks something of a site that other examinations may ask as well: see driver.Once. What tells it apart from all else that is
// asked as the same identity, and is for people.
func Once[T any](ctx context.Context, s *Site, what string, ask func(context.Context) (T, error)) (T, error) {
	return driver.Once(ctx, s.shared, driver.Question{Site: s.id, Of: s.access.Holder() + " in " + s.s.Name(), What: what}, ask)
}

// resourcesAtOnce is how many resources are looked at side by side.
const resourcesAtOnce = 32

// Examine is a driver's Examine: it asks who works at a site, lets look ask for what the steps of the work on each resource need there,
// side by side, and then asks which calls are allowed, both those that only look and those of the work. The site settings have the field
// aws that all kinds share; where resources have one of their own, each identity is examined by itself.
func Examine(ctx context.Context, base *awsbase.Base, x driver.Examination, d driver.Permitter,
	look func(ctx context.Context, s *Site, work []driver.Request) error) (out driver.Examined, err error) {
	if x.Shared == nil {
		x.Shared = &driver.Shared{}
	}
	all, err := bySite(ctx, base, x, d)
	if err != nil {
		return out, err
	}
	for _, site := range all {
		if look != nil {
			if err := site.each(ctx, look); err != nil {
				return out, err
			}
		}
		site.room(ctx)
		site.roomForNodes(ctx)
		site.permitted(ctx, merged(site.permissions))
		out.Findings = append(out.Findings, site.found.list...)
		out.Draws = append(out.Draws, site.draws...)
	}
	return out, nil
}

// bySite are the identities that work at the site, each with the work that it does, by resource.
func bySite(ctx context.Context, base *awsbase.Base, x driver.Examination, d driver.Permitter) (all []*Site, err error) {
	for _, req := range x.Work {
		raw, ok := req.Resource.Sites[x.Site]
		if !ok {
			continue
		}
		var set struct {
			AWS awsbase.Access `json:"aws"`
		}
		if err := json.Unmarshal(raw, &set); err != nil {
			return nil, failure.WrapAs(failure.Invalid, err, "read the settings of", string(req.Resource.ID))
		}
		i := slices.IndexFunc(all, func(s *Site) bool { return reflect.DeepEqual(s.access, set.AWS) })
		if i < 0 {
			all, i = append(all, at(ctx, base, x, set.AWS)), len(all)
		}
		site := all[i]
		needed, err := driver.Needed(d, req, x.Site)
		if err != nil {
			return nil, err
		}
		site.permissions = append(site.permissions, needed...)
		n := slices.IndexFunc(site.work, func(work []driver.Request) bool {
			return work[0].App == req.App && work[0].Resource.ID == req.Resource.ID
		})
		if n < 0 {
			site.work = append(site.work, []driver.Request{req})
			continue
		}
		site.work[n] = append(site.work[n], req)
	}
	return all, nil
}

// each lets look ask about each resource, and adds up what it found.
func (s *Site) each(ctx context.Context, look func(ctx context.Context, s *Site, work []driver.Request) error) error {
	if s.s == nil {
		return nil // there is nobody to ask as
	}
	parts, errs := make([]*Site, len(s.work)), make([]error, len(s.work))
	var all sync.WaitGroup
	places := make(chan struct{}, resourcesAtOnce)
	for i, work := range s.work {
		parts[i] = &Site{s: s.s, access: s.access, app: s.app, id: s.id, shared: s.shared, who: s.who, dark: s.dark, found: findings{site: s.id}, need: map[string]int{}}
		places <- struct{}{}
		all.Go(func() { defer func() { <-places }(); errs[i] = look(ctx, parts[i], work) })
	}
	all.Wait()
	for _, part := range parts {
		for _, f := range part.found.list {
			s.found.add(f)
		}
		for quota, n := range part.need {
			s.need[quota] += n
		}
		s.nodes += part.nodes
		s.dark = s.dark || part.dark
	}
	return errors.Join(errs...)
}

// Find adds a finding of the site, or of a resource there.
func (s *Site) Find(f model.Finding) { s.found.add(f) }

// Ask asks one thing of a site that answers. What could not be asked is a finding; a site that does not answer is asked no more.
func (s *Site) Ask(ctx context.Context, ask func(context.Context) error) {
	if s.dark {
		return
	}
	err := ask(ctx)
	if err == nil {
		return
	}
	switch kind := failure.KindOf(err); {
	case ctx.Err() != nil, kind == failure.Unavailable, kind == failure.Canceled:
		s.dark = true
	}
	s.unasked(err)
}

// unasked says that something is not known.
func (s *Site) unasked(err error) {
	s.found.add(model.Finding{Severity: model.Warn, Code: "aws-not-examined", What: "could not be examined: " + awsbase.OneLine(err.Error()),
		Why: "whether the work will miss something there is not known", Fix: failure.HintOf(err)})
}
