package elasticache

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// Warm is how a cache is filled after it came up. The plan gets a step of its own for it, of kind exec: it is seen, retried and
// skipped by itself, and what needs the cache waits for it, traffic too.
type Warm struct {
	Command   []string              `json:"command" jsonschema:"required,minItems=1,description=The program and its arguments; no shell reads them. It may be run again. It finds the cache in CACHE_ENDPOINT and CACHE_READER (host:port) and ends with exit code 0 once the cache is warm enough for traffic"`
	Env       map[string]string     `json:"env,omitempty" jsonschema:"description=More environment variables\\, which may refer to other resources: ${db.endpoint}"`
	SecretEnv map[string]secret.Ref `json:"secret_env,omitempty" jsonschema:"description=Environment variables whose values are secrets: references such as env:TOKEN"`
	Dir       string                `json:"dir,omitempty" jsonschema:"description=The working directory on the host"`
	Via       []string              `json:"via,omitempty" jsonschema:"description=A prefix that leads to a host from which the cache is reached: [ssh\\, app-1]. This machine when left out"`
	Within    model.Duration        `json:"within,omitempty" jsonschema:"description=How long one attempt may take (default: 15m)"`
}

// defaultWarm is for how long a cache is warmed where nothing is said.
const defaultWarm = 15 * time.Minute

// The variables that a warm-up finds its cache in.
const (
	envEndpoint = "CACHE_ENDPOINT"
	envReader   = "CACHE_READER"
)

// variable is the name of an environment variable that a POSIX shell can set.
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (w *Warm) validate() error {
	if len(w.Command) == 0 || w.Command[0] == "" {
		return fmt.Errorf("command: is missing")
	}
	for name := range w.Env {
		if !variable.MatchString(name) || name == envEndpoint || name == envReader {
			return fmt.Errorf("env: %q cannot be set", name)
		}
	}
	for name := range w.SecretEnv {
		if _, twice := w.Env[name]; twice || !variable.MatchString(name) || name == envEndpoint || name == envReader {
			return fmt.Errorf("secret_env: %q cannot be set, or is set in env", name)
		}
	}
	return nil
}

// HooksOf is the warm-up after the group came up, in a drill too.
func (d *Group) HooksOf(r model.Resource) ([]model.Hook, error) {
	set, err := driver.Decode[GroupSettings](r.Settings)
	if err != nil || set.Warm == nil {
		return nil, err
	}
	env := map[string]string{envEndpoint: fmt.Sprintf("${%s.endpoint}", r.ID), envReader: fmt.Sprintf("${%s.reader}", r.ID)}
	maps.Copy(env, set.Warm.Env)
	within := set.Warm.Within
	if within == 0 {
		within = model.Duration(defaultWarm)
	}
	settings, err := json.Marshal(map[string]any{"command": set.Warm.Command, "env": env, "secret_env": set.Warm.SecretEnv, "dir": set.Warm.Dir, "via": set.Warm.Via, "idempotent": true})
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "write settings", string(r.ID))
	}
	step := model.CustomStep{Name: "warm " + string(r.ID), Kind: "exec", Settings: settings, Timeout: within}
	return []model.Hook{{After: model.ActionPromote, Step: step}, {After: model.ActionDrill, Step: step}}, nil
}
