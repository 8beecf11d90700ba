package rehearsal

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awslook"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// Job is all that a rehearsal needs to run, apart from everything: it can be written down as JSON, and holds no secret.
type Job struct {
	Request api.RehearseRequest `json:"request"`
	Now     time.Time           `json:"now"`    // when AWS was looked at
	Config  *model.Config       `json:"config"` // the app alone, with no way to anything real
	Seen    *awslook.Seen       `json:"seen"`
	// Behind is how far each standby was behind, by its resource and site (see at); one that is missing told nothing of it.
	Behind map[string]model.Duration       `json:"behind,omitempty"`
	Took   map[model.StepID]model.Duration `json:"took,omitempty"` // measured in earlier runs
	Runs   int                             `json:"runs"`           // how many those are
	Pace   map[model.StepID]float64        `json:"pace,omitempty"` // how many times as long as usual a step's transitions take
}

// at is a resource at a site, as a key.
func at(r model.ResourceID, site model.SiteID) string { return string(r) + "@" + string(site) }

// alone is the configuration of one app whose resources reach nothing but the stand-in for AWS: accounts and regions are what they
// are, credentials the stand-in's, and neither the app's probe nor other apps' plans are in it.
func alone(cfg *model.Config, app model.App) (*model.Config, error) {
	app.Probe = nil
	app.Resources = slices.Clone(app.Resources)
	for i := range app.Resources {
		r := &app.Resources[i]
		if !awslook.Known(r.Kind) {
			continue
		}
		var err error
		if r.Settings, err = scrubbed(r.Settings); err != nil {
			return nil, failure.WrapAs(failure.Invalid, err, "read the settings of", string(r.ID))
		}
		sites := map[model.SiteID]json.RawMessage{}
		for id, settings := range r.Sites {
			inner, err := inside(settings)
			if err == nil {
				inner, err = scrubbed(inner)
			}
			if err != nil {
				return nil, failure.WrapAs(failure.Invalid, err, "read the settings of", string(r.ID)+" at "+string(id))
			}
			sites[id] = inner
		}
		r.Sites = sites
	}
	sites := slices.Clone(cfg.Sites)
	for i := range sites {
		sites[i].AWS = nil
	}
	return &model.Config{Path: cfg.Path, Limits: cfg.Limits, Sites: sites, Vaults: cfg.Vaults, Apps: []model.App{app}}, nil
}

// inside replaces how somebody becomes somebody at a site.
func inside(settings json.RawMessage) (json.RawMessage, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(settings, &doc); err != nil {
		return nil, err
	}
	var access map[string]json.RawMessage
	if err := json.Unmarshal(doc["aws"], &access); err != nil {
		return nil, err
	}
	var account string
	if err := json.Unmarshal(access["account"], &account); err != nil {
		return nil, err
	}
	kept := map[string]json.RawMessage{}
	for _, name := range []string{"account", "region", "attempt", "deadline"} {
		if v, ok := access[name]; ok {
			kept[name] = v
		}
	}
	for name, variable := range map[string]string{"access_key": keyVariable(account), "secret_key": secretVariable(account)} {
		kept[name], _ = json.Marshal("env:" + variable) // a string
	}
	doc["aws"], _ = json.Marshal(kept)
	return json.Marshal(doc)
}

// scrubbed replaces all references to secrets: in a rehearsal no secret is read, be it a file or a program's output.
func scrubbed(settings json.RawMessage) (json.RawMessage, error) {
	if len(settings) == 0 {
		return settings, nil
	}
	var doc any
	dec := json.NewDecoder(bytes.NewReader(settings))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	return json.Marshal(scrub(doc))
}

func scrub(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			v[k] = scrub(inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = scrub(inner)
		}
	case string:
		if ref, err := secret.Parse(v); err == nil && ref != "" && !strings.HasPrefix(v, "env:"+variables) {
			return "env:" + anySecret
		}
	}
	return v
}

// variables is how the names of all variables of a rehearsal begin; anySecret stands for every secret that the settings name.
const (
	variables = "LIFEBOAT_REHEARSAL_"
	anySecret = variables + "SECRET"
)

// The variables in which the stand-in's credentials for an account are. They are no secrets.
func keyVariable(account string) string    { return variables + "KEY_" + account }
func secretVariable(account string) string { return variables + "SECRET_" + account }

// admit sets the credentials of all accounts of the job, in this process.
func (j *Job) admit(w *awstest.World) error {
	if err := os.Setenv(anySecret, "a-secret-of-the-rehearsal"); err != nil {
		return failure.WrapAs(failure.Internal, err, "set", anySecret)
	}
	for _, r := range j.Config.Apps[0].Resources {
		for _, settings := range r.Sites {
			access, ok := awslook.AccessOf(settings)
			if !ok {
				continue
			}
			c := w.Account(access.Account)
			for name, value := range map[string]string{keyVariable(access.Account): c.AccessKey, secretVariable(access.Account): c.SecretKey} {
				if err := os.Setenv(name, value); err != nil {
					return failure.WrapAs(failure.Internal, err, "set", name)
				}
			}
		}
	}
	return nil
}
