package config

import (
	"encoding/json"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/model"
)

// checker turns the bound document into a config and reports what does not hold together. It goes on after a problem,
// so that all are reported; a config made on the way is only good when there was none.
type checker struct {
	p      *problems
	b      binder
	reg    *driver.Registry
	doc    *document
	folder string // of the file, absolute

	vaultsRead []model.Vault
	owners     map[string]*where // of what resources are outside; see driver.Owner
	unsound    map[*node]bool    // what sites say for their resources, and has mistakes that were reported
}

// operations are those that move an app, or try to; runs are all that an app goes through by a plan.
var (
	operations = []string{string(model.OpDrill), string(model.OpFailover), string(model.OpFailback)}
	runs       = append(slices.Clone(operations), string(model.OpProtect))
)

func (c *checker) config(abs string) *model.Config {
	d := c.doc
	c.owners = map[string]*where{}
	cfg := &model.Config{Path: abs, State: c.beside(".lifeboat")}
	if d.State != "" {
		cfg.State = c.beside(d.State)
	}
	cfg.Journal = c.journal(d.Journal)
	for _, id := range c.ids(d.Node.get("sites"), "site") {
		site := model.Site{ID: model.SiteID(id), Description: d.Sites[id].Description}
		site.AWS = c.site(id, d.Sites[id])
		cfg.Sites = append(cfg.Sites, site)
	}
	cfg.Limits = c.limits(d.Limits)
	cfg.Vaults = c.vaults()
	c.vaultsRead = cfg.Vaults
	for _, id := range c.ids(d.Node.get("apps"), "app") {
		if app := d.Apps[id]; app.Node != nil {
			cfg.Apps = append(cfg.Apps, c.app(id, app))
		}
	}
	for _, name := range c.ids(d.Node.get("plans"), "plan") {
		if plan := d.Plans[name]; plan.Node != nil {
			cfg.Plans = append(cfg.Plans, c.plan(name, plan))
		}
	}
	c.planCycles()
	if n := d.Node.get("sites"); len(d.Sites) == 0 && n != nil && n.kind == mapping {
		c.p.add(d.Node.place("sites"), "name at least the home site and a recovery site", "there are no sites")
	}
	documents := slices.ContainsFunc(cfg.Plans, func(p model.CustomPlan) bool { return p.Payload != nil })
	if n := d.Node.get("apps"); len(d.Apps) == 0 && !documents && (n == nil || n.kind == mapping) {
		c.p.add(d.Node.place("apps"), "lifeboat init writes a commented example", "there are no apps")
	}
	return cfg
}

// site checks what a site says for all resources of a family of kinds, and gives it.
func (c *checker) site(id string, d siteDoc) json.RawMessage {
	if d.AWS == nil {
		return nil
	}
	proto := c.shared("aws")
	if proto == nil {
		c.p.add(d.Node.place("aws"), "remove it", "no kind of this build is in AWS")
		return nil
	}
	w := (&where{what: theFile}).sub("sites").sub(quote(id)).sub("aws")
	raw, ok := c.bindSettings(d.AWS, proto, w)
	if !ok {
		if c.unsound == nil {
			c.unsound = map[*node]bool{}
		}
		c.unsound[d.AWS] = true
	}
	return json.RawMessage(raw)
}

// shared is the type of a field that sites can say for a family of kinds; nil when no kind has it.
func (c *checker) shared(key string) any {
	for _, kind := range c.reg.Kinds() {
		if d, err := c.reg.Get(kind); err == nil && d.Facts().Shared[key] != nil {
			return d.Facts().Shared[key]
		}
	}
	return nil
}

// beside makes a path absolute as seen from the file's folder.
func (c *checker) beside(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(c.folder, path)
}

var identifier = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// ids gives the keys of a mapping of named things, in their order.
func (c *checker) ids(n *node, what string) []string {
	if n == nil {
		return nil
	}
	var ids []string
	for _, f := range n.fields {
		c.id(f.key, f.at, what)
		ids = append(ids, f.key)
	}
	slices.Sort(ids)
	return ids
}

func (c *checker) id(name string, at pos, what string) {
	if !identifier.MatchString(name) {
		c.p.add(at, "use a-z, 0-9 and -, at most 63 of them, not beginning with -", "%s cannot be the name of %s", quote(name), article(what))
	}
}

func article(what string) string {
	if strings.HasPrefix(what, "a") {
		return "an " + what
	}
	return "a " + what
}

// called names a thing by a name that it may lack.
func called(what, name string) string {
	if name == "" {
		return article(what)
	}
	return what + " " + quote(name)
}

// title checks a name that is free text for people.
func (c *checker) title(n *node, at *where) {
	name := n.get("name")
	if name == nil || name.kind != text || name.text == "" {
		return // reported already
	}
	if strings.ContainsAny(name.text, "\n\r\t") || len([]rune(name.text)) > 120 || strings.TrimSpace(name.text) == "" {
		c.p.add(name.at, "say in a few words what it does", "the name of %s must be one line of at most 120 characters", at)
	}
}

func (c *checker) siteNames() []string { return keys(c.doc.Sites) }

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// known reports a word that is not among those that can stand there.
func (c *checker) known(word string, at pos, what string, among []string) bool {
	if slices.Contains(among, word) {
		return true
	}
	if word != "" {
		c.p.add(at, didYouMean(word, among), "unknown %s %s", what, quote(word))
	}
	return false
}

// each calls f for the texts of the list at key, reporting what stands there twice.
func (c *checker) each(n *node, key string, f func(word string, at pos)) {
	l := n.get(key)
	if l == nil {
		return
	}
	seen := map[string]bool{}
	for _, item := range l.items {
		if item.kind != text {
			continue // reported already
		}
		if seen[item.text] {
			c.p.add(item.at, "remove one of the two", "%s stands twice in %s", quote(item.text), key)
			continue
		}
		seen[item.text] = true
		f(item.text, item.at)
	}
}

// positive reports a duration that is there and zero.
func (c *checker) positive(n *node, key string, d model.Duration) {
	if v := n.get(key); v != nil && v.kind == text && d == 0 && isZeroDuration(v.text) {
		c.p.add(v.at, "leave it out for the default", "%s must be more than 0s", key)
	}
}

func isZeroDuration(s string) bool {
	var d model.Duration
	return d.UnmarshalText([]byte(s)) == nil && d == 0
}

func (c *checker) operations(n *node, key string, among []string) []model.Operation {
	var out []model.Operation
	c.each(n, key, func(word string, at pos) {
		if c.known(word, at, "operation", among) {
			out = append(out, model.Operation(word))
		}
	})
	return out
}

func (c *checker) journal(d *journalDoc) model.JournalConfig {
	if d == nil || d.Node == nil {
		return model.JournalConfig{}
	}
	if l := d.Node.get("endpoints"); l != nil {
		for _, e := range l.items {
			if e.kind == text {
				c.endpoint(e)
			}
		}
	}
	c.pairs(d.Node, [][2]string{{"cert", "key"}, {"key", "cert"}, {"username", "password"}, {"password", "username"}})
	j := model.JournalConfig{Endpoints: d.Endpoints, Prefix: d.Prefix, Username: d.Username, Password: string(d.Password)}
	if j.Prefix == "" {
		j.Prefix = "/lifeboat/"
	}
	for _, file := range []struct {
		to   *string
		from string
	}{{&j.CA, d.CA}, {&j.Cert, d.Cert}, {&j.Key, d.Key}} {
		if file.from != "" {
			*file.to = c.beside(file.from)
		}
	}
	if d.Password != "" {
		j.Password = besideText(c.folder, j.Password)
	}
	return j
}

func (c *checker) endpoint(n *node) {
	u, err := url.Parse(n.text)
	switch {
	case err == nil && u.User != nil:
		c.p.hide(n.at)
		c.p.add(n.at, "use username and password", "an endpoint must not hold credentials")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" ||
		u.Path != "" && u.Path != "/" || u.RawQuery != "":
		c.p.add(n.at, "write it as https://etcd-1:2379", "%s is not the URL of an etcd member", quote(n.text))
	}
}

func (c *checker) limits(d limitsDoc) model.Limits {
	l := model.Limits{Steps: d.Steps}
	for key, among := range map[string][]string{"sites": c.siteNames(), "kinds": c.kinds(nil)} {
		n := d.Node.get(key)
		if n == nil {
			continue
		}
		for _, f := range n.fields {
			if f.value.kind == number && (strings.HasPrefix(f.value.text, "-") || f.value.text == "0") {
				c.p.add(f.value.at, "leave it out for no limit", "a limit must be at least 1")
			}
			c.known(f.key, f.at, key[:len(key)-1], among)
		}
	}
	if len(d.Sites) > 0 {
		l.Sites = map[model.SiteID]int{}
		for id, n := range d.Sites {
			l.Sites[model.SiteID(id)] = n
		}
	}
	if len(d.Kinds) > 0 {
		l.Kinds = map[model.Kind]int{}
		for kind, n := range d.Kinds {
			l.Kinds[model.Kind(kind)] = n
		}
	}
	return l
}

// kinds lists the registered kinds whose driver passes the test; a nil test passes all.
func (c *checker) kinds(test func(driver.Driver) bool) []string { return kindsOf(c.reg, test) }

func kindsOf(reg *driver.Registry, test func(driver.Driver) bool) []string {
	var out []string
	for _, k := range reg.Kinds() {
		if d, err := reg.Get(k); err == nil && (test == nil || test(d)) {
			out = append(out, string(k))
		}
	}
	return out
}

// The uses of a kind, by what its driver can do.
var (
	canVerify = func(d driver.Driver) bool { return driver.Can(d, model.ActionVerify) }
	canRun    = func(d driver.Driver) bool { return driver.Can(d, model.ActionRun) }
	canAsk    = func(d driver.Driver) bool { _, ok := driver.As[driver.Asker](d); return ok }
	// A resource must be something that an operation does something to.
	canRecover = func(d driver.Driver) bool {
		return slices.ContainsFunc(moves, func(a model.Action) bool { return driver.Can(d, a) })
	}
)

var moves = []model.Action{model.ActionFence, model.ActionQuiesce, model.ActionPromote, model.ActionReverse,
	model.ActionRedirect, model.ActionDrill, model.ActionCapture, model.ActionCopy, model.ActionExpire, model.ActionRestore}

// actions are all that drivers can begin, in the order in which operations have them.
var actions = append(slices.Clone(moves), model.ActionVerify, model.ActionReadMarker, model.ActionRelease, model.ActionRun)

// driver finds the driver of the kind that n names, for a use; nil after a problem.
func (c *checker) driver(n *node, use string, can func(driver.Driver) bool) driver.Driver {
	kind := n.get("kind")
	if kind == nil || kind.kind != text {
		return nil // reported already
	}
	d, err := c.reg.Get(model.Kind(kind.text))
	if err != nil {
		c.p.add(kind.at, didYouMean(kind.text, c.kinds(can)), "unknown kind %s", quote(kind.text))
		return nil
	}
	if !can(d) {
		c.p.add(kind.at, "kinds that can: "+strings.Join(c.kinds(can), ", "), "the kind %s cannot %s", quote(kind.text), use)
		return nil
	}
	return d
}
