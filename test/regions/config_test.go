package regions

import (
	"fmt"
	"strings"

	"github.com/lifeboat-dr/lifeboat/model"
)

// part is one resource of a configuration that a test makes.
type part struct {
	id    string
	kind  string
	needs []string
}

// The kinds that parts are of.
const (
	instanceKind = "aws.rds.instance"
	globalKind   = "aws.aurora.global"
	cacheKind    = "aws.elasticache.global"
	nameKind     = "aws.route53.record"
)

// compose writes lifeboat.yaml for an app of parts. What is called ID in the file is called shop-ID in the world, and a name is
// ID.shop.example.
func (l *lab) compose(parts []part) {
	l.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nsites:\n")
	for _, site := range sites {
		fmt.Fprintf(&b, "  %s: {aws: {account: %q, region: %s}}\n", site, account, regions[site])
	}
	fmt.Fprintf(&b, "apps:\n  shop:\n    home: dublin\n    recovery: [frankfurt]\n    resources:\n")
	for _, p := range parts {
		fmt.Fprintf(&b, "      %s:\n        kind: %s\n", p.id, p.kind)
		if len(p.needs) > 0 {
			fmt.Fprintf(&b, "        needs: [%s]\n", strings.Join(p.needs, ", "))
		}
		settings, more, site := l.wording(p)
		fmt.Fprintf(&b, "%s        settings: %s\n        sites:\n", more, settings)
		for _, s := range sites {
			fmt.Fprintf(&b, "          %s: %s\n", s, site(s))
		}
	}
	l.configure(b.String())
}

// wording is what the file says of a part.
func (l *lab) wording(p part) (settings, more string, site func(model.SiteID) string) {
	name := "shop-" + p.id
	switch p.kind {
	case instanceKind:
		return "{}", "        protect: {schedule: \"@hourly\", keep: {last: 2}}\n", func(s model.SiteID) string {
			serve, shut := l.groups(s)
			return fmt.Sprintf("{instance: %s, class: db.t3.medium, subnet_group: shop, security_groups: [%s], kms_key: alias/shop, deletion_protection: true, "+
				"drill: {subnet_group: shop-apart, security_groups: [%s]}, fence: {security_groups: [%s]}}", name, serve, shut, shut)
		}
	case globalKind:
		return fmt.Sprintf("{global: %s}", name), "", func(s model.SiteID) string {
			return fmt.Sprintf("{cluster: %s-%s, subnet_group: shop, kms_key: alias/shop, instances: {number: 1, class: db.r6g.large}, drill: {subnet_group: shop-apart}}", name, s)
		}
	case cacheKind:
		return fmt.Sprintf("{datastore: ldgnf-%s}", name), "", func(s model.SiteID) string { return fmt.Sprintf("{group: %s-%s}", name, s) }
	case nameKind:
		return fmt.Sprintf("{zone: shop.example, names: [%s.shop.example], type: CNAME, ttl: 30s}", p.id), "", func(s model.SiteID) string {
			return fmt.Sprintf("{values: [entrance.%s.shop.example]}", s)
		}
	}
	l.t.Fatalf("no wording for %s", p.kind)
	return "", "", nil
}
