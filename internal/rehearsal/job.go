package rehearsal

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awslook"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/service"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// Job is all that a rehearsal needs to run, apart from everything: it can be written down as JSON, and holds no secret.
type Job struct {
	Request api.RehearseRequest `json:"request"`
	Now     time.Time           `json:"now"`    // when AWS was looked at
	Config  *model.Config       `json:"config"` // the apps that are led to alone, with no way to anything real
	// Documents are what the StatePayload documents among the plans come to, by the plan's name.
	Documents documents     `json:"documents,omitempty"`
	Seen      *awslook.Seen `json:"seen"`
	// Behind is how far each standby was behind, by its resource and site (see at); one that is missing told nothing of it.
	Behind map[string]model.Duration       `json:"behind,omitempty"`
	Took   map[model.StepID]model.Duration `json:"took,omitempty"` // measured in earlier runs
	Runs   int                             `json:"runs"`           // how many those are
	Pace   map[model.StepID]float64        `json:"pace,omitempty"` // how many times as long as usual a step's transitions take
}

// at is a resource at a site, as a key.
func at(r model.Resource, site model.SiteID) string {
	return string(r.App) + "/" + string(r.ID) + "@" + string(site)
}

// document is what a StatePayload document comes to.
type document struct {
	Work    []model.PayloadWork   `json:"work"`
	Remarks []model.PayloadRemark `json:"remarks,omitempty"`
}

// documents are what documents come to, by the plan's name. They are the answers to who resolves documents where AWS is not to be asked.
type documents map[string]document

var _ service.Payloads = documents{}

// Resolve says what was found when AWS was looked at.
func (d documents) Resolve(_ context.Context, app model.AppID, _ *model.Payload, _ model.PayloadPlan, _ []model.Site) ([]model.PayloadWork, []model.PayloadRemark, error) {
	doc, ok := d[string(app)]
	if !ok {
		return nil, nil, failure.New(failure.Internal, "resolve", string(app), "the document was not looked at")
	}
	return doc.Work, doc.Remarks, nil
}

// Permissions are none: nobody is asked.
func (d documents) Permissions(model.AppID, *model.Payload, model.PayloadPlan, []model.Site) ([]driver.Permission, error) {
	return nil, nil
}

// resources are all that the plan may touch: the apps' and those of documents.
func (j *Job) resources() (out []model.Resource) {
	for _, app := range j.Config.Apps {
		out = append(out, app.Resources...)
	}
	for _, plan := range slices.Sorted(maps.Keys(j.Documents)) {
		for _, w := range j.Documents[plan].Work {
			out = append(out, w.Resource)
		}
	}
	return out
}

// alone makes the job's configuration and documents reach nothing but the stand-in for AWS: accounts and regions are what they are,
// credentials the stand-in's, and neither the apps' probes nor other apps are in it.
func (j *Job) alone(cfg *model.Config, apps []model.App) error {
	j.Config = &model.Config{Path: cfg.Path, Limits: cfg.Limits, Sites: slices.Clone(cfg.Sites), Vaults: cfg.Vaults, Plans: cfg.Plans}
	for i := range j.Config.Sites {
		site := &j.Config.Sites[i]
		if len(site.AWS) == 0 {
			continue
		}
		var err error
		if site.AWS, err = inside(site.AWS); err != nil {
			return failure.WrapAs(failure.Invalid, err, "read where in AWS is", string(site.ID))
		}
	}
	for _, app := range apps {
		app.Probe = nil
		app.Resources = slices.Clone(app.Resources)
		for i := range app.Resources {
			if err := apart(&app.Resources[i]); err != nil {
				return err
			}
		}
		j.Config.Apps = append(j.Config.Apps, app)
	}
	for _, doc := range j.Documents {
		for i := range doc.Work {
			if err := apart(&doc.Work[i].Resource); err != nil {
				return err
			}
		}
	}
	return nil
}

// apart leaves a resource of AWS no way to anything real.
func apart(r *model.Resource) (err error) {
	if !awslook.Known(r.Kind) {
		return nil
	}
	if r.Settings, err = scrubbed(r.Settings); err != nil {
		return failure.WrapAs(failure.Invalid, err, "read the settings of", string(r.ID))
	}
	sites := map[model.SiteID]json.RawMessage{}
	for id, settings := range r.Sites {
		var doc map[string]json.RawMessage
		err := json.Unmarshal(settings, &doc)
		if err == nil {
			doc["aws"], err = inside(doc["aws"])
		}
		if err == nil {
			settings, _ = json.Marshal(doc) // it was JSON
			sites[id], err = scrubbed(settings)
		}
		if err != nil {
			return failure.WrapAs(failure.Invalid, err, "read the settings of", string(r.ID)+" at "+string(id))
		}
	}
	r.Sites = sites
	return nil
}

// inside replaces how somebody becomes somebody at a site.
func inside(settings json.RawMessage) (json.RawMessage, error) {
	var access map[string]json.RawMessage
	if err := json.Unmarshal(settings, &access); err != nil {
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
	return json.Marshal(kept)
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
	for _, r := range j.resources() {
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
