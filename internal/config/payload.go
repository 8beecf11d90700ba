package config

import (
	"cmp"
	"strings"

	"github.com/lifeboat-dr/lifeboat/model"
)

// payloadFields are those of a plan that is a StatePayload document, beside the document itself.
var payloadFields = []string{"site", "peer", "isolated", "fence"}

// payload checks a plan that is a StatePayload document. The document itself is read when the plan is made.
func (c *checker) payload(d planDoc, w *where) *model.PayloadPlan {
	plan := &model.PayloadPlan{File: c.beside(d.StatePayload), Site: model.SiteID(d.Site), Peer: model.SiteID(d.Peer)}
	if n := d.Node.get("steps"); n != nil {
		c.p.add(d.Node.place("steps"), "remove one of them", "%s has both steps and state_payload", w)
	}
	var inAWS []string
	for _, id := range keys(c.doc.Sites) {
		if c.doc.Sites[id].AWS != nil {
			inAWS = append(inAWS, id)
		}
	}
	where := func(key, site string) {
		if c.known(site, d.Node.place(key), "site", keys(c.doc.Sites)) && c.doc.Sites[site].AWS == nil {
			c.p.add(d.Node.place(key), "add aws: {account: \"111122223333\", region: us-west-2} to it, under sites", "site %s does not say where it is in AWS", quote(site))
		}
	}
	if d.Node.get("site") == nil {
		c.p.add(d.Node.place("state_payload"), "add site, with the site where databases are brought up or made to follow again", "%s does not say where its document runs", w)
		return plan
	}
	where("site", d.Site)
	var others []string
	for _, id := range inAWS {
		if id != d.Site {
			others = append(others, id)
		}
	}
	switch {
	case d.Node.get("peer") != nil && d.Peer == d.Site:
		c.p.add(d.Node.place("peer"), "name the other site", "the peer of %s is the site that it runs at", w)
	case d.Node.get("peer") != nil:
		where("peer", d.Peer)
	case len(others) == 1:
		plan.Peer = model.SiteID(others[0])
	default:
		c.p.add(d.Node.place("state_payload"), "add peer; sites in AWS: "+cmp.Or(strings.Join(inAWS, ", "), "none"), "%s does not say which site is the other one", w)
	}
	if d.Isolated != nil {
		plan.Isolated = &model.PayloadNetwork{SubnetGroup: d.Isolated.SubnetGroup, SecurityGroups: d.Isolated.SecurityGroups}
	}
	if d.Fence != nil {
		plan.Fence = d.Fence.SecurityGroups
	}
	return plan
}
