package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// The drivers of these tests have every sort of setting that drivers have, and do nothing. Goldens do not change when a
// real driver's wording does.
func testRegistry() *driver.Registry {
	promote := func(outputs map[string]model.ValueType) map[model.Action]map[string]model.ValueType {
		return map[model.Action]map[string]model.ValueType{model.ActionPromote: outputs, model.ActionDrill: outputs}
	}
	return driver.NewRegistry(
		fake.New(fake.NewWorld()),
		&databaseDriver{still{driver.Facts{Kind: "database", Summary: "a database", Settings: &databaseSettings{}, Site: &databaseSite{},
			Outputs: promote(map[string]model.ValueType{"endpoint": model.TypeEndpoint, "lsn": model.TypeLSN}), Stateful: true}}},
		&processDriver{still{driver.Facts{Kind: "process", Summary: "a program", Settings: &processSettings{}, Site: &processSite{}}}},
		&recordDriver{still{driver.Facts{Kind: "record", Summary: "a name", Settings: &recordSettings{}, Site: &recordSite{}}}},
		&clusterDriver{still{driver.Facts{Kind: "cluster", Summary: "takes no settings"}}},
		&askDriver{still{driver.Facts{Kind: "ask", Summary: "a question", Settings: &askSettings{}}}},
		&verifyDriver{still{driver.Facts{Kind: "look", Summary: "a question that is no probe", Settings: &askSettings{}}}},
		&folderDriver{still{driver.Facts{Kind: "folder", Summary: "kept in a vault", Site: &databaseSite{}, Vault: driver.VaultRequired}}},
		&scriptDriver{still{driver.Facts{Kind: "script", Summary: "a step", Settings: &scriptSettings{}}}},
	)
}

type databaseSettings struct {
	Name     string           `json:"name" jsonschema:"required,minLength=1,description=The database"`
	Password secret.Ref       `json:"password,omitempty"`
	Timeout  model.Duration   `json:"timeout,omitempty"`
	Lag      *model.Duration  `json:"lag,omitempty"`
	Mode     string           `json:"mode,omitempty" jsonschema:"enum=sync,enum=async"`
	Retries  int8             `json:"retries,omitempty" jsonschema:"minimum=0,maximum=10"`
	Weight   float64          `json:"weight,omitempty"`
	Enabled  *bool            `json:"enabled,omitempty"`
	Options  map[string]any   `json:"options,omitempty"`
	Users    []user           `json:"users,omitempty"`
	Raw      json.RawMessage  `json:"raw,omitempty"`
	Labels   map[string]label `json:"labels,omitempty"`
}

type user struct {
	Name     string     `json:"name" jsonschema:"required"`
	Password secret.Ref `json:"password,omitempty"`
}

type label string

func (s databaseSettings) Validate() error {
	switch {
	case strings.Contains(s.Name, " "):
		return fmt.Errorf("name: %q has a space in it", s.Name)
	case len(s.Users) > 0 && s.Users[0].Name == "root":
		return errors.New("users[0].name: root is not allowed")
	case s.Weight < 0:
		return errors.New("such a database cannot be")
	}
	return nil
}

type databaseSite struct {
	Host string `json:"host" jsonschema:"required,minLength=1"`
	Port uint16 `json:"port,omitempty"`
	Data string `json:"data,omitempty"`
}

func (s *databaseSite) Validate() error {
	if s.Port == 1 {
		return errors.Join(errors.New("port: 1 is reserved"),
			failure.New(failure.Invalid, "", "", "host: cannot be used with it").WithHint("choose another port"))
	}
	return nil
}

type processSettings struct {
	Start []string `json:"start" jsonschema:"required,minItems=1"`
}

type processSite struct {
	Outputs map[string]string `json:"outputs,omitempty"`
}

type recordSettings struct {
	Zone string          `json:"zone" jsonschema:"required"`
	TTL  *model.Duration `json:"ttl,omitempty"`
}

type recordSite struct {
	Values []string `json:"values" jsonschema:"required,minItems=1"`
}

type askSettings struct {
	URL string `json:"url" jsonschema:"required"`
}

func (s askSettings) Validate() error {
	if !strings.Contains(s.URL, "://") {
		return errors.New("url: has no scheme")
	}
	return nil
}

type scriptSettings struct {
	Command []string `json:"command" jsonschema:"required,minItems=1"`
	Folder  string   `json:"folder,omitempty"`
}

// still is a driver that was never meant to be begun.
type still struct{ facts driver.Facts }

func (d still) Facts() driver.Facts { return d.facts }

func (still) Describe(context.Context, driver.Target) (model.Description, error) {
	return model.Description{}, errStill
}

func (still) Check(context.Context, driver.Request) ([]model.Finding, error) { return nil, errStill }

func (still) Observe(context.Context, driver.Request, driver.Handle) (driver.Observation, error) {
	return driver.Observation{}, errStill
}

var errStill = failure.New(failure.Internal, "", "", "a configuration must not call a driver's actions")

type (
	databaseDriver struct{ still }
	processDriver  struct{ still }
	recordDriver   struct{ still }
	clusterDriver  struct{ still }
	askDriver      struct{ still }
	verifyDriver   struct{ still }
	scriptDriver   struct{ still }
	folderDriver   struct{ still }
)

func no() (driver.Handle, error) { return driver.Handle{}, errStill }

func (*databaseDriver) Fence(context.Context, driver.Request) (driver.Handle, error)   { return no() }
func (*databaseDriver) Promote(context.Context, driver.Request) (driver.Handle, error) { return no() }
func (*databaseDriver) Drill(context.Context, driver.Request) (driver.Handle, error)   { return no() }
func (*databaseDriver) WriteMarker(context.Context, driver.Target, model.Marker) error {
	return errStill
}
func (*processDriver) Promote(context.Context, driver.Request) (driver.Handle, error) { return no() }
func (*processDriver) Drill(context.Context, driver.Request) (driver.Handle, error)   { return no() }
func (*recordDriver) Redirect(context.Context, driver.Request) (driver.Handle, error) { return no() }
func (*clusterDriver) Promote(context.Context, driver.Request) (driver.Handle, error) { return no() }
func (*askDriver) Verify(context.Context, driver.Request) (driver.Handle, error)      { return no() }
func (*verifyDriver) Verify(context.Context, driver.Request) (driver.Handle, error)   { return no() }
func (*scriptDriver) Run(context.Context, driver.Request) (driver.Handle, error)      { return no() }
func (*folderDriver) Capture(context.Context, driver.Request) (driver.Handle, error)  { return no() }
func (*folderDriver) Promote(context.Context, driver.Request) (driver.Handle, error)  { return no() }
func (*askDriver) Ask(context.Context, json.RawMessage) (driver.Answer, error) {
	return driver.Answer{}, errStill
}

// OutputsOf is what the settings of the sites declare.
func (*processDriver) OutputsOf(r model.Resource, action model.Action) (map[string]model.ValueType, error) {
	out := map[string]model.ValueType{}
	for site := range r.Sites {
		at, err := driver.Decode[processSite](r.Sites[site])
		if err != nil {
			return nil, err
		}
		for name := range at.Outputs {
			out[name] = model.TypeText
		}
	}
	for site := range r.Sites {
		at, _ := driver.Decode[processSite](r.Sites[site])
		for name := range out {
			if _, ok := at.Outputs[name]; !ok {
				return nil, failure.New(failure.Invalid, "", "", "sites.%s.outputs: %s is declared at another site only", site, name)
			}
		}
	}
	if action != model.ActionPromote && action != model.ActionDrill {
		return nil, nil
	}
	return out, nil
}
