package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// player rehearses nothing, and remembers what it was asked for.
type player struct {
	asked api.RehearseRequest
	out   api.Rehearsal
	err   error
}

func (p *player) Rehearse(_ context.Context, req api.RehearseRequest, tell func(api.RehearsedStep)) (*api.Rehearsal, error) {
	p.asked = req
	if p.err != nil {
		return nil, p.err
	}
	for _, s := range p.out.Steps {
		tell(s)
	}
	return &p.out, nil
}

// rehearse runs one command line with a player.
func (p *player) rehearse(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, configName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code = Main(t.Context(), append([]string{"rehearse"}, args...), Deps{
		Documents: fakeDocuments{}, Version: "1.2.3", In: strings.NewReader(""), Out: &stdout, Err: &stderr,
		Getenv: func(string) string { return "" }, Getwd: func() (string, error) { return dir, nil }, Now: func() time.Time { return time.Unix(1e9, 0) },
		IsTerminal: func(any) bool { return false },
		Rehearsals: func(OpenOptions) api.Rehearsals { return p },
	})
	return code, stdout.String(), stderr.String()
}

func TestRehearseFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "over.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		want api.RehearseRequest
	}{
		{"shop", api.RehearseRequest{App: "shop", Operation: model.OpFailover}},
		{"shop --planned --to west", api.RehearseRequest{App: "shop", Operation: model.OpFailover, Mode: model.Planned, To: "west"}},
		{"shop --with home=half --with stuck=db/promote@west --with stuck=name/redirect@west", api.RehearseRequest{App: "shop", Operation: model.OpFailover, How: "half",
			Stuck: []model.StepID{"db/promote@west", "name/redirect@west"}}},
		{"shop --operation drill --lost east --with home=hanging", api.RehearseRequest{App: "shop", Operation: model.OpDrill, Lost: "east", How: "hanging"}},
		{"shop --operation failback", api.RehearseRequest{App: "shop", Operation: model.OpFailback}},
		{"--plan move-everything --lost east", api.RehearseRequest{Operation: model.OpCustom, Custom: "move-everything", Lost: "east"}},
		{"--plan " + file + " --site west --with home=slow", api.RehearseRequest{Operation: model.OpCustom, Custom: "over", How: "slow",
			Payload: &api.PayloadAsk{File: file, Content: []byte("{}"), Site: "west"}}},
		{"--plan " + file + " --site west --from east", api.RehearseRequest{Operation: model.OpCustom, Custom: "over",
			Payload: &api.PayloadAsk{File: file, Content: []byte("{}"), Site: "west", Peer: "east"}}},
	} {
		p := &player{out: api.Rehearsal{OK: true}}
		if code, _, errs := p.rehearse(t, strings.Fields(c.args)...); code != 0 {
			t.Errorf("%s: exit code %d: %s", c.args, code, errs)
		}
		if diff := cmp.Diff(c.want, p.asked); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.args, diff)
		}
	}
	for args, want := range map[string]string{
		"":                                       "APP is missing",
		"shop --operation prove":                 "cannot be rehearsed",
		"shop --operation drill --planned":       "--planned is for a failover",
		"shop --with home":                       "is not understood",
		"shop --with away=slow":                  "is not understood",
		"shop --with home=sulking":               "no way to fail",
		"shop --planned --with home=500":         "no site is lost",
		"shop --operation drill --with home=500": "no site is lost",
		"shop --plan over":                       "leave shop out",
		"--plan over --operation drill":          "exclude each other",
		"--plan over --planned":                  "exclude each other",
		"--plan over.json":                       "nothing says where it is to run",
		"shop --from east":                       "needs --site",
		"shop --site west":                       "--site belongs to --plan",
	} {
		p := &player{}
		code, _, errs := p.rehearse(t, strings.Fields(args)...)
		if code != failure.Invalid.ExitCode() || !strings.Contains(errs, want) || p.asked.App != "" {
			t.Errorf("%s: exit code %d, asked for %+v, and said %q; want %q", args, code, p.asked, errs, want)
		}
	}
}

func TestRehearseShows(t *testing.T) {
	rto, objective, no := model.Duration(20*time.Minute), model.Duration(15*time.Minute), false
	p := &player{out: api.Rehearsal{
		App: "shop", Operation: model.OpFailover, Mode: model.Unplanned, From: "east", To: "west", Lost: "east", How: "hanging", Outcome: api.Succeeded,
		Verdict: "failover of shop to west gets through; the RTO would be 20m0s, and the objective is 15m0s",
		RTO:     api.Measure{Value: &rto, Objective: &objective, Met: &no, Basis: "measured"}, RPO: api.Measure{Basis: "nobody knows"},
		Steps: []api.RehearsedStep{
			{ID: "db/promote@west", Title: "promote db", Status: api.StepDone, At: model.Duration(time.Minute), Took: model.Duration(19 * time.Minute), Basis: api.TimeUsual, Critical: true},
			{ID: "web/promote@west", Title: "start web", Status: api.StepDone, Basis: api.TimeUnknown, StoodIn: true},
		},
		Path:     []model.StepID{"db/promote@west"},
		Asked:    []api.RehearsalAsk{{Step: "db/fence@east", What: "the fence is not proved", Answer: "accepted"}},
		StoodIn:  []api.StandIn{{Name: "web", Kind: "command"}},
		Unseen:   []api.Unseen{{Site: "east", What: "everything in eu-west-1", Err: &failure.Error{Kind: failure.Unavailable, Message: "no answer"}}},
		Findings: []model.Finding{{Severity: model.Warn, Code: "old", What: "the newest copy is old"}}, Looks: 40, Runs: 2,
		Calls:    []api.RehearsedCall{{Account: "111111111111", Region: "eu-central-1", Call: "rds:PromoteReadReplica"}},
		Examined: []model.Finding{{Severity: model.Block, Code: "aws-permission", What: "rds:PromoteReadReplica is not allowed", Fix: "lifeboat aws policy shop"}},
	}}
	code, out, errs := p.rehearse(t, "shop", "--no-color")
	if code != ExitUnsuccessful || errs != "" {
		t.Errorf("exit code %d, and said %q", code, errs)
	}
	for _, want := range []string{
		"+20m", "done", "db/promote@west", "east → west, unplanned, with east lost (hanging)", "gets through; the RTO would be 20m0s", "20m00s (over)", "objective 15m00s",
		"RPO if lost now  unknown", "nobody knows", "usual", "stood in for", "the fence is not proved", "web (command)", "everything in eu-west-1 at east", "no answer", "the newest copy is old",
		"AWS itself was asked", "rds:PromoteReadReplica is not allowed", "lifeboat aws policy shop", "40 calls", "nothing was changed there", "2 earlier runs",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	code, out, errs = p.rehearse(t, "shop", "-o", "json")
	var got api.Rehearsal
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != ExitUnsuccessful {
		t.Errorf("exit code %d, %v: %s", code, err, out)
	}
	if diff := cmp.Diff(p.out, got); diff != "" {
		t.Errorf("with -o json (-want +got):\n%s", diff)
	}
	if !strings.Contains(errs, "db/promote@west") {
		t.Errorf("progress is not on standard error: %q", errs)
	}
	p.err = failure.New(failure.Unavailable, "look at", "west", "no answer")
	if code, _, errs = p.rehearse(t, "shop"); code != failure.Unavailable.ExitCode() || !strings.Contains(errs, "no answer") {
		t.Errorf("exit code %d, and said %q", code, errs)
	}
}
