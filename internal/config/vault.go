package config

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/schedule"
	"github.com/lifeboat-dr/lifeboat/internal/vault/retention"
	"github.com/lifeboat-dr/lifeboat/model"
)

// vaults checks the vaults, and gives each with its replicas.
func (c *checker) vaults() []model.Vault {
	var out []model.Vault
	names := c.ids(c.doc.Node.get("vaults"), "vault")
	for _, name := range names {
		if d := c.doc.Vaults[name]; d.Node != nil {
			out = append(out, c.vault(name, d))
		}
	}
	for i, v := range out {
		d := c.doc.Vaults[v.Name]
		c.each(d.Node, "replicas", func(replica string, at pos) {
			if replica == v.Name {
				c.p.add(at, "name a vault at another place", "a vault is no replica of itself")
				return
			}
			if !c.known(replica, at, "vault", names) {
				return
			}
			if n := slices.IndexFunc(out, func(o model.Vault) bool { return o.Name == replica }); n >= 0 {
				copied := out[n]
				copied.Replicas = nil // a replica's own replicas are its own affair
				out[i].Replicas = append(out[i].Replicas, copied)
			}
		})
	}
	return out
}

func (c *checker) vault(name string, d vaultDoc) model.Vault {
	v := model.Vault{
		Name: name, URL: d.URL, Password: besideText(c.folder, string(d.Password)), User: d.User,
		UserPassword: besideText(c.folder, string(d.UserPassword)), Site: model.SiteID(d.Site), Connections: d.Connections,
		Upload: d.Upload << 10, Download: d.Download << 10, Cache: d.Cache, Retain: d.Retain,
	}
	if path, isPath := folderOf(d.URL); isPath {
		v.URL = c.beside(path)
	} else if hasCredentials(d.URL) {
		n := d.Node.get("url")
		c.p.hide(n.at)
		c.p.add(n.at, "write user and user_password beside it", "a URL must not hold credentials")
	}
	if d.Cache != "" && d.Cache != "none" {
		v.Cache = c.beside(d.Cache)
	}
	if d.Site != "" {
		c.known(d.Site, d.Node.place("site"), "site", c.siteNames())
	}
	c.positive(d.Node, "retain", d.Retain)
	c.pairs(d.Node, [][2]string{{"cert", "key"}, {"key", "cert"}, {"user", "user_password"}, {"user_password", "user"}})
	for to, from := range map[*string]string{&v.CA: d.CA, &v.Cert: d.Cert, &v.Key: d.Key} {
		if from != "" {
			*to = c.beside(from)
		}
	}
	if d.S3 != nil && d.S3.Node != nil {
		c.pairs(d.S3.Node, [][2]string{{"access_key", "secret_key"}, {"secret_key", "access_key"}, {"session_token", "access_key"}, {"external_id", "role"}})
		if !strings.HasPrefix(d.URL, "s3:") {
			c.p.add(d.Node.place("s3"), "remove it, or write the URL as s3:https://host/bucket", "the vault %s is no bucket", quote(name))
		}
		v.S3 = &model.S3{Region: d.S3.Region, Profile: d.S3.Profile, Role: d.S3.Role, ExternalID: d.S3.ExternalID,
			AccessKey: besideText(c.folder, string(d.S3.AccessKey)), SecretKey: besideText(c.folder, string(d.S3.SecretKey)),
			SessionToken: besideText(c.folder, string(d.S3.SessionToken)), Style: d.S3.Style, StorageClass: d.S3.StorageClass}
	}
	return v
}

// pairs reports what is set without what belongs to it.
func (c *checker) pairs(n *node, pairs [][2]string) {
	for _, pair := range pairs {
		if n.get(pair[0]) != nil && n.get(pair[1]) == nil {
			c.p.add(n.place(pair[0]), "add "+pair[1]+", or remove "+pair[0], "%s is set without %s", pair[0], pair[1])
		}
	}
}

// folderOf gives the folder that a URL names, when it does: restic reads what has no scheme as a path.
func folderOf(url string) (string, bool) {
	if path, ok := strings.CutPrefix(url, "local:"); ok {
		return path, true
	}
	if filepath.IsAbs(url) || strings.HasPrefix(url, ".") {
		return url, true
	}
	scheme, _, found := strings.Cut(url, ":")
	return url, !found || strings.Contains(scheme, "/")
}

// hasCredentials reports whether a URL names a user before its host.
func hasCredentials(url string) bool {
	_, rest, ok := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return ok && strings.Contains(host, "@")
}

// ownPoints tells whether a kind keeps recovery points without a vault.
func ownPoints(facts driver.Facts, d driver.Driver) bool {
	return facts.Vault == driver.NoVault && driver.Can(d, model.ActionCapture)
}

// points checks the vault of a resource and when its points are made.
func (a *appChecker) points(d resourceDoc, r *model.Resource, dr driver.Driver, w *where) {
	facts := dr.Facts()
	if d.Vault != "" {
		at := d.Node.place("vault")
		switch n := slices.IndexFunc(a.vaultsRead, func(v model.Vault) bool { return v.Name == d.Vault }); {
		case facts.Vault == driver.NoVault:
			a.p.add(at, "remove it", "the kind %s keeps nothing in a vault", quote(string(facts.Kind)))
		case n >= 0:
			v := a.vaultsRead[n]
			r.Vault = &v
		default:
			a.known(d.Vault, at, "vault", keys(a.checker.doc.Vaults))
		}
	} else if facts.Vault == driver.VaultRequired && d.Node.get("vault") == nil {
		a.p.add(d.Node.head, "name one of the file's vaults, as in vault: main", "%s has no vault to keep its recovery points in", w)
	}
	own := d.Node.get("protect")
	keeps := ownPoints(facts, dr) || r.Vault != nil
	if own != nil && !keeps && (facts.Vault == driver.NoVault || d.Vault == "") {
		a.p.add(own.head, "remove it", "%s keeps no recovery points in a vault", w)
		return
	}
	if !keeps {
		return
	}
	policy := model.PointPolicy{Schedule: a.doc.Protect.Schedule, Keep: (*model.Retention)(a.doc.Protect.Keep)}
	if d.Protect.Schedule != "" {
		policy.Schedule = d.Protect.Schedule
	}
	if d.Protect.Keep != nil {
		policy.Keep = (*model.Retention)(d.Protect.Keep)
	}
	a.policy(own, d.Protect)
	policy.Prove = a.proving(d.Protect.Prove, own.get("prove"), r.Kind)
	if policy != (model.PointPolicy{}) {
		r.Points = &policy
	}
}

// proving is how a resource's points are proved: as it says itself, else as the app says if its kind can.
func (a *appChecker) proving(own *proveDoc, n *node, kind model.Kind) *model.ProvePolicy {
	d, err := a.reg.Get(kind)
	if err != nil {
		return nil // reported already
	}
	can := driver.Can(d, model.ActionProve)
	a.proves = a.proves || can
	switch {
	case own != nil && !can:
		a.p.add(n.head, "remove it: drills bring points of this kind back", "the kind %s cannot prove single points", quote(string(kind)))
		return nil
	case own == nil && can:
		own = a.doc.Protect.Prove
	}
	if own == nil || !can {
		return nil
	}
	return (*model.ProvePolicy)(own)
}

// provers reports a policy for proofs that no resource can follow.
func (a *appChecker) provers() {
	n := a.doc.Node.get("protect").get("prove")
	if n == nil || a.proves {
		return
	}
	for _, r := range a.built {
		if r.driver == nil {
			return
		}
	}
	a.p.add(n.head, "remove it", "no resource of %s keeps points in a vault that can be proved one by one", a.where)
}

// provePolicy checks how points are proved, where that was written.
func (a *appChecker) provePolicy(n *node, d *proveDoc) {
	if d == nil {
		return
	}
	if _, err := model.ParseEvery(d.Every, 1); err != nil {
		a.p.add(n.place("every"), "", "every: %v", err)
	}
	if d.Schedule != "" {
		if _, err := schedule.Parse(d.Schedule); err != nil {
			a.p.add(n.place("schedule"), failure.HintOf(err), "%v", err)
		}
	}
	for i, check := range d.Checks {
		if strings.TrimSpace(check) == "" {
			a.p.add(n.place("checks"), "", "check %d is empty", i+1)
		}
	}
	if (model.ProvePolicy)(*d).Empty() {
		a.p.add(n.head, `say when, as in {schedule: "@daily"}`, "prove says nothing")
	}
}

// policy checks a schedule and a retention where they were written.
func (a *appChecker) policy(n *node, d pointsDoc) {
	if n == nil {
		return
	}
	if d.Schedule != "" {
		if _, err := schedule.Parse(d.Schedule); err != nil {
			a.p.add(n.place("schedule"), failure.HintOf(err), "%v", err)
		}
	}
	a.provePolicy(n.get("prove"), d.Prove)
	if d.Keep == nil {
		return
	}
	if p, err := retention.Parse(model.Retention(*d.Keep)); err != nil {
		a.p.add(n.place("keep"), failure.HintOf(err), "keep: %v", err)
	} else if p.Empty() {
		a.p.add(n.place("keep"), "say what stays, as in {daily: 7, monthly: 12}; without keep all stay", "keep says nothing about what stays")
	}
}
