package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/model"
)

// promoteFromVault says whether the newest state can be restored into the site's data folder.
func (c *checker) promoteFromVault(ctx context.Context) {
	switch {
	case c.host != nil:
		c.add(model.Block, "restore-impossible", c.site.site, "the host cannot be used: "+c.host.Error(), "the database is restored there",
			"set data and via at site "+string(c.site.site))
		return
	case c.at.Folder == folderOther || c.at.Folder == folderHidden:
		c.add(model.Block, "restore-impossible", c.site.site, fmt.Sprintf("%s is %s", c.site.at.Data, c.at.Folder), "it is not written over", "move it away")
	case c.at.Postmaster != 0:
		c.add(model.Block, "restore-impossible", c.site.site, fmt.Sprintf("a server runs on %s (process %d) and does not answer", c.site.at.Data, c.at.Postmaster),
			"it is not written over", "stop it, if it is an old copy")
	case c.at.Folder == folderServer && c.req.Preview:
		c.add(model.Note, "old-copy", c.site.site, "there is an old copy in "+c.site.at.Data, "what the log has of it is written over where it differs; "+
			"a copy that may have more is moved aside first, and takes its room", "")
	}
	c.canRun(ctx, model.Block)
	c.fromVault(ctx)
	if !c.req.Preview {
		return // the primary is gone by now, and the receiver has ended
	}
	severity := model.Warn
	if c.req.Mode == model.Planned && !c.mended() {
		severity = model.Block
	}
	c.receiver(ctx, c.site, severity)
}

// fromVault says whether the vault has what a restore needs.
func (c *checker) fromVault(ctx context.Context) {
	s := c.site
	if c.lost() {
		return
	}
	k, err := c.d.inVault(ctx, s)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		c.add(model.Block, "vault", s.site, err.Error(), "nothing can be brought back", failure.HintOf(err))
		return
	case len(k.bases) == 0:
		c.add(model.Block, "no-point", s.site, "there is no recovery point in the vault", "nothing can be brought back",
			"lifeboat protect "+string(c.req.App)+" --now")
		return
	}
	usable := slices.DeleteFunc(pgpoint.Reach(k.bases, k.logs), func(r pgpoint.Range) bool { return !r.Consistent })
	if len(usable) == 0 {
		c.add(model.Warn, "no-log", s.site, "the vault has no log for any recovery point; what is in the spool here is not counted",
			"without it no point can be made consistent", "lifeboat protect "+string(c.req.App))
	}
	newest := k.bases[len(k.bases)-1]
	if p := k.proof(newest); p != nil && !p.OK {
		c.add(model.Warn, "point-is-bad", s.site, "the newest recovery point failed its proof: "+p.What, "an older one is used", "lifeboat points "+string(c.req.App))
	}
	if c.req.Preview {
		c.add(model.Note, "newest-point", s.site, fmt.Sprintf("the newest recovery point is of %s, %s ago; the log leads on from it",
			newest.Ended.UTC().Format(time.RFC3339), c.d.now().Sub(newest.Ended).Round(time.Second)), "", "")
	}
}

// lost is about a vault that fails together with the site that is lost.
func (c *checker) lost() bool {
	v := c.site.vault
	if c.req.Action != model.ActionPromote || c.req.Mode != model.Unplanned || c.req.Peer == "" || v.Site != c.req.Peer {
		return false
	}
	elsewhere := slices.ContainsFunc(v.Replicas, func(r model.Vault) bool { return r.Site != c.req.Peer })
	if !elsewhere {
		c.add(model.Block, "vault-at-lost-site", c.site.site, fmt.Sprintf("vault %s lies at %s, the site that is lost", v.Name, c.req.Peer),
			"nothing can be brought back from it", "give it a replica elsewhere")
		return true
	}
	c.add(model.Note, "from-replica", c.site.site, fmt.Sprintf("vault %s lies at %s: its replica is read", v.Name, c.req.Peer), "", "")
	return false
}

// receiver says whether all of the log arrives at s.
func (c *checker) receiver(ctx context.Context, s *server, severity model.Severity) {
	t := c.req.Target
	t.Site, t.Peer = s.site, ""
	st, err := c.d.LookAtStream(ctx, t)
	switch {
	case err != nil:
		c.add(severity, "receiver-unknown", s.site, err.Error(), "whether the log arrives there is not known", failure.HintOf(err))
		return
	case st.State == model.StreamUnknown:
		c.add(severity, "receiver-unknown", s.site, st.Summary, "whether the log arrives there is not known", "lifeboat status "+string(c.req.App))
		return
	case st.State != model.StreamFlowing:
		why := "what the primary has written since is not there"
		if c.req.Mode == model.Unplanned && st.LagTime != nil {
			why = fmt.Sprintf("what is missing there is lost with the old site: %d bytes and %s, as far as is known", *st.LagBytes, st.LagTime)
		}
		if c.other.err != nil && s == c.site { // the old site is lost: that nothing comes any more is no news
			severity = model.Note
		}
		c.add(severity, "not-receiving", s.site, fmt.Sprintf("the log is not received there (%s): %s", st.State, st.Summary), why, "lifeboat protect "+string(c.req.App))
	case st.LagBytes != nil && *st.LagBytes > int64(s.own.MaxLag):
		limit, _ := s.own.MaxLag.MarshalText() // never fails
		c.add(severity, "receiver-lags", s.site, fmt.Sprintf("the receiver is %d bytes behind, more than max_lag (%s)", *st.LagBytes, limit),
			"clients would wait for the rest of it", "wait, or raise max_lag")
	}
	for _, f := range st.Findings {
		if f.Code == "remote-apply" || f.Code == "not-synchronous" {
			f.Step, f.Severity = c.req.Step, model.Warn
			c.out = append(c.out, f)
		}
	}
	if st.NeedsPoint != "" {
		c.add(model.Warn, "needs-point", s.site, st.NeedsPoint, "what was received since cannot be restored", "lifeboat protect "+string(c.req.App)+" --now")
	}
}

// canRun says whether there is a lifeboat on the host.
func (c *checker) canRun(ctx context.Context, severity model.Severity) {
	at, err := c.site.post()
	if err == nil {
		err = at.ready(ctx)
	}
	if err != nil && ctx.Err() == nil {
		c.add(severity, "no-lifeboat", c.site.site, err.Error(), "it does the work there", failure.HintOf(err))
	}
}

// canReceive says whether a receiver can be kept at the site.
func (c *checker) canReceive(severity model.Severity) {
	if c.host != nil && c.site.at.Data != "" {
		c.add(severity, "reverse-impossible", c.site.site, "the host cannot be used: "+c.host.Error(), "the log cannot be received there",
			"mend the way to the host, or set data and via at site "+string(c.site.site))
	}
}

// capture says whether there is a primary to capture.
func (c *checker) capture() {
	switch {
	case c.self.err != nil:
		c.add(model.Block, "primary-down", c.site.site, "the primary does not answer: "+c.self.err.Error(), "there is nothing to capture",
			"lifeboat status "+string(c.req.App))
	case c.self.status.Recovery:
		c.add(model.Block, "source-is-not-the-primary", c.site.site, "the copy is a standby", "points are made of the primary", "lifeboat status "+string(c.req.App))
	}
}

// received describes a site that a failover restores to, as far as the log and the vault tell.
func (d *Driver) received(ctx context.Context, s *server, t driver.Target, out *model.Description) {
	st, err := d.LookAtStream(ctx, t)
	if err != nil || st.State == model.StreamStopped && st.Position == "" {
		if err != nil {
			out.Facts = append(out.Facts, model.Fact{Name: "received", Value: err.Error()})
		}
		return
	}
	out.Facts = append(out.Facts, model.Fact{Name: "received", Value: st.Summary})
	out.Facts = append(out.Facts, st.Facts...)
	if out.Role == model.RolePrimary || out.Role == model.RoleStandby || out.Role == model.RoleUnreachable || !s.fromVault() {
		return
	}
	k, err := d.inVault(ctx, s)
	switch {
	case err != nil:
		out.Summary += "; " + err.Error()
		return
	case len(k.bases) == 0:
		out.Summary += "; there is no recovery point in the vault"
		return
	}
	newest := k.bases[len(k.bases)-1].Ended
	if out.Role == model.RoleFenced {
		out.Facts = append(out.Facts, model.Fact{Name: "old copy", Value: out.Summary})
	}
	out.Role, out.Sync, out.LagBytes, out.LagTime = model.RoleStandby, st.Sync, st.LagBytes, st.LagTime
	out.Healthy = st.NeedsPoint == "" && (st.State == model.StreamFlowing || st.State == model.StreamCatching)
	out.Summary = fmt.Sprintf("restored from the vault on demand: point of %s, %s", newest.UTC().Format(time.RFC3339), st.Summary)
	if st.NeedsPoint != "" {
		out.Summary += "; " + st.NeedsPoint
	}
}
