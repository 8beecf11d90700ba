package command

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/internal/hostproc"
	"github.com/lifeboat-dr/lifeboat/model"
)

// program is one program at one site: resource's and site's settings put together, and in a drill the drill's.
type program struct {
	Settings
	target driver.Target
	drill  string // the token of the drill it belongs to; empty: the live one
}

// program puts the settings together and fills in ${self.…}. A non-empty drill makes it the isolated copy of that token.
func (d *Driver) program(t driver.Target, drill string) (*program, error) {
	own, at, err := driver.SettingsOf[Settings, Settings](t, t.Site)
	if err != nil {
		return nil, err
	}
	p := &program{Settings: merge(own, at), target: t, drill: drill}
	if drill != "" && p.Settings.Drill != nil {
		p.overlay(*p.Settings.Drill)
	}
	if err := p.whole(); err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "", string(t.Resource.ID)+" at "+string(t.Site))
	}
	if err := p.fillSelf(); err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "", string(t.Resource.ID)+" at "+string(t.Site))
	}
	return p, nil
}

// merge lays a site's settings over the resource's.
func merge(own, at Settings) Settings {
	p := program{Settings: own}
	p.overlay(Drill{at.Start, at.Stop, at.Probe, at.ProbeHTTP, at.ProbeTCP, at.Env, at.SecretEnv, at.Dir, at.Folder, at.Outputs})
	replace(&p.Background, at.Background, at.Background != nil)
	replace(&p.Via, at.Via, len(at.Via) > 0)
	replace(&p.Ready, at.Ready, at.Ready != 0)
	replace(&p.StopWithin, at.StopWithin, at.StopWithin != 0)
	switch {
	case own.Drill == nil:
		p.Settings.Drill = at.Drill
	case at.Drill != nil:
		d := own.Drill
		both := program{Settings: Settings{Start: d.Start, Stop: d.Stop, Probe: d.Probe, ProbeHTTP: d.ProbeHTTP,
			ProbeTCP: d.ProbeTCP, Env: d.Env, SecretEnv: d.SecretEnv, Dir: d.Dir, Folder: d.Folder, Outputs: d.Outputs}}
		both.overlay(*at.Drill)
		p.Settings.Drill = &Drill{both.Start, both.Stop, both.Probe, both.ProbeHTTP, both.ProbeTCP, both.Env,
			both.SecretEnv, both.Dir, both.Folder, both.Outputs}
	}
	return p.Settings
}

func replace[T any](to *T, by T, set bool) {
	if set {
		*to = by
	}
}

// overlay replaces what d sets.
func (p *program) overlay(d Drill) {
	replace(&p.Start, d.Start, len(d.Start) > 0)
	replace(&p.Stop, d.Stop, len(d.Stop) > 0)
	if len(d.Probe) > 0 || d.ProbeHTTP != "" || d.ProbeTCP != "" {
		p.Probe, p.ProbeHTTP, p.ProbeTCP = d.Probe, d.ProbeHTTP, d.ProbeTCP
	}
	replace(&p.Dir, d.Dir, d.Dir != "")
	replace(&p.Folder, d.Folder, d.Folder != "")
	p.Env = merged(p.Env, d.Env)
	p.SecretEnv = merged(p.SecretEnv, d.SecretEnv)
	p.Outputs = merged(p.Outputs, d.Outputs)
}

func merged[V any](under, over map[string]V) map[string]V {
	out := maps.Clone(under)
	if out == nil {
		out = map[string]V{}
	}
	maps.Copy(out, over)
	return out
}

// whole checks what must be there once everything is put together.
func (p *program) whole() error {
	switch {
	case len(p.Start) == 0:
		return fmt.Errorf("start: is missing")
	case !p.background() && !p.probed():
		return fmt.Errorf("probe: a program that lifeboat does not put into the background needs a probe, probe_http or " +
			"probe_tcp, or nobody knows whether it runs")
	}
	for n := range p.SecretEnv {
		if _, twice := p.Env[n]; twice {
			return fmt.Errorf("secret_env: %s is in env too", n)
		}
	}
	return nil
}

// fillSelf replaces ${self.…} in every string by the outputs.
func (p *program) fillSelf() error {
	var missing string
	fill := func(text string) string {
		return self.ReplaceAllStringFunc(text, func(m string) string {
			v, ok := p.Outputs[self.FindStringSubmatch(m)[1]]
			if !ok {
				missing = m
			}
			return v
		})
	}
	for _, argv := range []*[]string{&p.Start, &p.Stop, &p.Probe} {
		*argv = slices.Clone(*argv)
		for i := range *argv {
			(*argv)[i] = fill((*argv)[i])
		}
	}
	for n, v := range p.Env {
		p.Env[n] = fill(v)
	}
	for _, text := range []*string{&p.ProbeHTTP, &p.ProbeTCP, &p.Dir, &p.Folder} {
		*text = fill(*text)
	}
	if missing != "" {
		names := slices.Sorted(maps.Keys(p.Outputs))
		return fmt.Errorf("outputs: there is none for %s; there are: %s", missing, strings.Join(names, ", "))
	}
	return nil
}

func (p *program) background() bool { return p.Background != nil && *p.Background }
func (p *program) probed() bool     { return len(p.Probe) > 0 || p.ProbeHTTP != "" || p.ProbeTCP != "" }

func (p *program) ready() time.Duration {
	if p.Ready == 0 {
		return defaultReady
	}
	return p.Ready.Std()
}

func (p *program) stopWithin() time.Duration {
	if p.StopWithin == 0 {
		return defaultStop
	}
	return p.StopWithin.Std()
}

func (p *program) host() hostexec.Host { return hostexec.Host{Via: p.Via} }

// place is a folder of the program: the one in which it runs in the background, or a sub-folder for one command.
func (p *program) place(sub string) hostproc.Place {
	return hostproc.Place{Host: p.host(), Folder: p.Folder, Sub: sub,
		Name: path.Join(string(p.target.App), string(p.target.Resource.ID), string(p.target.Site))}
}

// home is where the program itself runs: a drill's copy has a folder of its own, named by its token.
func (p *program) home() hostproc.Place {
	if p.drill != "" {
		return p.place("drill-" + p.drill)
	}
	return p.place("")
}

// environment is what every command of the program gets.
func (p *program) environment(ctx context.Context) (map[string]string, error) {
	env := map[string]string{
		"LIFEBOAT_APP": string(p.target.App), "LIFEBOAT_RESOURCE": string(p.target.Resource.ID),
		"LIFEBOAT_SITE": string(p.target.Site), "LIFEBOAT_PEER": string(p.target.Peer),
	}
	if p.drill != "" {
		env["LIFEBOAT_DRILL"] = "1"
	}
	maps.Copy(env, p.Env)
	for n, ref := range p.SecretEnv {
		v, err := ref.Resolve(ctx)
		if err != nil {
			return nil, failure.Wrap(err, "read variable", n)
		}
		env[n] = v.Reveal()
	}
	return env, nil
}

// fingerprint tells whether a running program is what would be started now. Secrets count by their references.
func (p *program) fingerprint() string {
	b, err := json.Marshal([]any{p.Start, p.Env, p.SecretEnv, p.Dir})
	if err != nil {
		panic(fmt.Sprintf("command: settings cannot be marshalled: %v", err)) // all fields are plain data
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// values are the outputs with their types, which are those that OutputsOf declares.
func (p *program) values(types map[string]model.ValueType) map[string]model.Value {
	out := map[string]model.Value{}
	for n, text := range p.Outputs {
		out[n] = model.Value{Type: types[n], Text: text}
	}
	return out
}

// OutputsOf lists the outputs that the resource's settings name. A name must be there at every site, so that a plan
// for one site is as good as one for another. The type follows from the values: endpoint, url, number, or text.
func (d *Driver) OutputsOf(r model.Resource, action model.Action) (map[string]model.ValueType, error) {
	if action != model.ActionPromote && action != model.ActionDrill {
		return nil, nil
	}
	out := map[string]model.ValueType{}
	sites := r.SiteIDs()
	if len(sites) == 0 {
		sites = []model.SiteID{""}
	}
	for i, site := range sites {
		own, at, err := driver.SettingsOf[Settings, Settings](driver.Target{Resource: r}, site)
		if err != nil {
			return nil, err
		}
		s := merge(own, at)
		p := program{Settings: s}
		if action == model.ActionDrill && s.Drill != nil {
			p.overlay(*s.Drill)
		}
		if i > 0 && !slices.Equal(slices.Sorted(maps.Keys(out)), slices.Sorted(maps.Keys(p.Outputs))) {
			return nil, failure.New(failure.Invalid, "", string(r.ID), "outputs: site %s has %q, site %s has %q", sites[0],
				slices.Sorted(maps.Keys(out)), site, slices.Sorted(maps.Keys(p.Outputs))).
				WithHint("name the same outputs at every site")
		}
		for n, text := range p.Outputs {
			if t := typeOf(text); i == 0 || out[n] == t {
				out[n] = t
			} else {
				out[n] = model.TypeText
			}
		}
	}
	return out, nil
}

func typeOf(text string) model.ValueType {
	if host, port, err := net.SplitHostPort(text); err == nil && host != "" {
		if _, err := strconv.ParseUint(port, 10, 16); err == nil {
			return model.TypeEndpoint
		}
	}
	if u, err := url.Parse(text); err == nil && u.Scheme != "" && u.Host != "" {
		return model.TypeURL
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return model.TypeNumber
	}
	return model.TypeText
}
