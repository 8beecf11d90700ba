package command

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/probe"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// Settings are a program's settings. They may stand at the resource, for all its sites, and at each site: what a site
// says replaces what the resource says, and maps (env, secret_env, outputs) are merged name by name.
type Settings struct {
	Start      []string              `json:"start,omitempty" jsonschema:"description=The command that starts it; no shell reads it. In the background: the program itself"`
	Stop       []string              `json:"stop,omitempty" jsonschema:"description=The command that stops it. A program in the background needs none: it gets SIGTERM and after stop_within SIGKILL"`
	Probe      []string              `json:"probe,omitempty" jsonschema:"description=A command on the host that exits with 0 when the program serves"`
	ProbeHTTP  string                `json:"probe_http,omitempty" jsonschema:"description=An address that answers with a status from 200 to 399 when the program serves\\, asked from where lifeboat runs"`
	ProbeTCP   string                `json:"probe_tcp,omitempty" jsonschema:"description=A host:port that takes connections when the program serves\\, asked from where lifeboat runs"`
	Env        map[string]string     `json:"env,omitempty" jsonschema:"description=Environment variables of all commands"`
	SecretEnv  map[string]secret.Ref `json:"secret_env,omitempty" jsonschema:"description=Environment variables whose values are secrets: references such as env:DB_PASSWORD"`
	Dir        string                `json:"dir,omitempty" jsonschema:"description=The working directory of all commands"`
	Background *bool                 `json:"background,omitempty" jsonschema:"description=Lifeboat itself puts the program into the background\\, with a log file and a process id. Otherwise start returns when something else (systemd\\, a cluster) has started it"`
	Folder     string                `json:"folder,omitempty" jsonschema:"description=Where log and process id are kept on the host; in the user's state folder when left out"`
	Via        []string              `json:"via,omitempty" jsonschema:"description=A prefix that leads to the host: [ssh\\, web-1] or [runuser\\, -u\\, shop\\, --]. This machine when left out"`
	Outputs    map[string]string     `json:"outputs,omitempty" jsonschema:"description=What later steps may use as ${resource.name}\\, and the commands here as ${self.name}"`
	Ready      model.Duration        `json:"ready_within,omitempty" jsonschema:"description=How long it may take from the start until the probe passes; 1m when left out"`
	StopWithin model.Duration        `json:"stop_within,omitempty" jsonschema:"description=How long it may take to stop before it is killed; 10s when left out"`
	Drill      *Drill                `json:"drill,omitempty" jsonschema:"description=What is different in a drill's isolated copy"`
}

// Drill replaces settings for an isolated copy, in the way in which a site's replace the resource's.
type Drill struct {
	Start     []string              `json:"start,omitempty" jsonschema:"description=The command that starts the copy"`
	Stop      []string              `json:"stop,omitempty" jsonschema:"description=The command that stops the copy"`
	Probe     []string              `json:"probe,omitempty" jsonschema:"description=The command that probes the copy"`
	ProbeHTTP string                `json:"probe_http,omitempty" jsonschema:"description=The address at which the copy is probed"`
	ProbeTCP  string                `json:"probe_tcp,omitempty" jsonschema:"description=The host:port at which the copy is probed"`
	Env       map[string]string     `json:"env,omitempty" jsonschema:"description=Environment variables of the copy"`
	SecretEnv map[string]secret.Ref `json:"secret_env,omitempty" jsonschema:"description=Secret environment variables of the copy"`
	Dir       string                `json:"dir,omitempty" jsonschema:"description=The working directory of the copy"`
	Folder    string                `json:"folder,omitempty" jsonschema:"description=Where the copy's own folder is made"`
	Outputs   map[string]string     `json:"outputs,omitempty" jsonschema:"description=The copy's outputs: its own endpoint\\, for one"`
}

// The defaults of what may be left out.
const (
	defaultReady = time.Minute
	defaultStop  = 10 * time.Second
)

// variable is the name of an environment variable that a POSIX shell can set; name is that of an output.
var (
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	name     = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	self     = regexp.MustCompile(`\$\{self\.([^}]*)\}`)
)

// Validate checks each field by itself: which ones there must be is known only when resource and site are put together.
func (s *Settings) Validate() error {
	own := Drill{s.Start, s.Stop, s.Probe, s.ProbeHTTP, s.ProbeTCP, s.Env, s.SecretEnv, s.Dir, s.Folder, s.Outputs}
	if err := own.Validate(); err != nil {
		return err
	}
	if len(s.Via) > 0 && s.Via[0] == "" {
		return fmt.Errorf("via: the first word is empty")
	}
	if s.Drill != nil {
		if err := s.Drill.Validate(); err != nil {
			return fmt.Errorf("drill.%w", err)
		}
	}
	return nil
}

// Validate checks each field by itself.
func (d *Drill) Validate() error {
	for _, c := range []struct {
		field string
		argv  []string
	}{{"start", d.Start}, {"stop", d.Stop}, {"probe", d.Probe}} {
		if len(c.argv) > 0 && c.argv[0] == "" {
			return fmt.Errorf("%s: the program's name is empty", c.field)
		}
	}
	if d.ProbeHTTP != "" {
		if err := (&probe.HTTP{URL: d.ProbeHTTP}).Validate(); err != nil {
			return fmt.Errorf("probe_http: %q is not an http:// or https:// address", d.ProbeHTTP)
		}
	}
	if err := probe.ValidateAddress("probe_tcp", d.ProbeTCP); err != nil {
		return err
	}
	if d.Folder != "" && !path.IsAbs(d.Folder) && !probe.Unknown(d.Folder) {
		return fmt.Errorf("folder: %q is not an absolute path", d.Folder)
	}
	for _, n := range slices.Concat(slices.Sorted(maps.Keys(d.Env)), slices.Sorted(maps.Keys(d.SecretEnv))) {
		if !variable.MatchString(n) {
			return fmt.Errorf("env: %q is not a variable's name", n)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(d.Outputs)) {
		if !name.MatchString(n) {
			return fmt.Errorf("outputs: %q is not a name of small letters, digits and _", n)
		}
		if self.MatchString(d.Outputs[n]) {
			return fmt.Errorf("outputs.%s: an output cannot refer to ${self.…}", n)
		}
	}
	return nil
}
