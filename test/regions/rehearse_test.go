package regions

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/all"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awslook"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/config"
	"github.com/lifeboat-dr/lifeboat/internal/rehearsal"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/test/program"
)

// rehearser plays in the bubble's time.
func (l *lab) rehearser() *rehearsal.Rehearser {
	return rehearsal.New(rehearsal.Options{Config: l.path, Drivers: all.On, HTTP: l.Client(), Archive: l.past, Play: rehearsal.Here(all.On)})
}

// rehearse rehearses.
func (l *lab) rehearse(req api.RehearseRequest) *api.Rehearsal {
	l.t.Helper()
	out, err := l.rehearser().Rehearse(within(l.t, 30*24*time.Hour), req, func(api.RehearsedStep) {})
	if err != nil {
		l.t.Fatalf("rehearse: %v (hint: %s)", err, failure.HintOf(err))
	}
	return out
}

// looked wants that nothing but looks reached AWS since it was last asked.
func (l *lab) looked() {
	l.t.Helper()
	calls := l.Calls()
	if len(calls) == 0 {
		l.t.Error("nobody looked at anything")
	}
	onlyLooks(l.t, calls)
	l.Forget()
}

// onlyLooks wants that no call changes anything.
func onlyLooks(t testing.TB, calls []awstest.Call) {
	t.Helper()
	for _, c := range calls {
		if !slices.ContainsFunc([]string{"Describe", "List", "Get", "Simulate"}, func(p string) bool { return strings.HasPrefix(c.Action, p) }) {
			t.Errorf("the rehearsal called %s of %s", c.Action, c.Service)
		}
	}
}

// ways are how each step ended.
func ways(steps []api.StepView) map[model.StepID]api.StepStatus {
	out := map[model.StepID]api.StepStatus{}
	for _, s := range steps {
		out[s.ID] = s.Status
	}
	return out
}

// TestRehearsal rehearses the loss of a region in each way, and then loses it so: what was foretold comes to pass, and the rehearsal
// touched nothing. Only a home that is slow can still shut the old instance's door: elsewhere people are asked.
func TestRehearsal(t *testing.T) {
	ways := map[string]struct {
		fault awstest.Fault
		fence api.StepStatus // of the instance
		asked int            // fences that people are asked about
	}{
		"refusing": {awstest.Fault{How: awstest.Refuse}, api.StepWaived, 3},
		"hanging":  {awstest.Fault{How: awstest.Hang}, api.StepWaived, 3},
		"500":      {awstest.Fault{How: awstest.Error500}, api.StepWaived, 3},
		"slow":     {awstest.Fault{How: awstest.Slow, Delay: 5 * time.Second}, api.StepDone, 2},
		"half":     {awstest.Fault{How: awstest.Error500, Changes: true}, api.StepWaived, 1},
	}
	for _, how := range api.LostHow() {
		c, ok := ways[how]
		if !ok {
			t.Errorf("%s is not tested", how)
		}
		t.Run(how, func(t *testing.T) {
			bubble(t, awstest.Options{}, func(l *lab) {
				l.shop()
				l.run(l.ask(model.OpProtect, ""))
				before := l.inventory()
				l.Forget()
				told := l.rehearse(api.RehearseRequest{App: "shop", Operation: model.OpFailover, How: how})
				l.looked()
				if diff := cmp.Diff(before, l.inventory()); diff != "" {
					t.Errorf("the rehearsal changed something (-before +after):\n%s", diff)
				}
				if !told.OK || told.Outcome != api.Succeeded || told.Lost != dublin || told.How != how || len(told.Asked) != c.asked || told.RPO.Value == nil {
					t.Errorf("rehearsed: %+v", told)
				}
				for _, s := range told.Steps {
					if s.ID == "billing/fence@dublin" && s.Status != c.fence {
						t.Errorf("the fence of the old instance is %s, want %s", s.Status, c.fence)
					}
				}

				c.fault.Region = regions[dublin]
				home := l.Inject(c.fault)
				req := l.ask(model.OpFailover, model.Unplanned)
				req.AcceptUnfenced = "the region is gone"
				r := l.run(req)
				home.Remove()
				l.foretold(told, r)
			})
		})
	}
}

// foretold wants that a run went as it was rehearsed, in a time within a tenth, or the time that one call of a home that is lost may
// wait for its answer: which of those that ask at once finds out first that it is lost is chance.
func (l *lab) foretold(told *api.Rehearsal, r *api.Report) {
	l.t.Helper()
	got := map[model.StepID]api.StepStatus{}
	for _, s := range told.Steps {
		got[s.ID] = s.Status
	}
	if diff := cmp.Diff(ways(r.Run.Steps), got); diff != "" {
		l.t.Errorf("how steps ended (-in truth +rehearsed):\n%s", diff)
	}
	took, foretold := r.Run.Ended.Sub(r.Run.Started), told.Took.Std()
	l.t.Logf("%s: foretold %s, took %s", r.Run.Operation, foretold, took)
	if diff := (took - foretold).Abs(); diff > max(took/10, awsbase.DefaultDeadline) {
		l.t.Errorf("%s took %s, and was foretold to take %s", r.Run.Operation, took, foretold)
	}
	switch {
	case told.RTO.Value == nil && r.RTO.Value == nil:
		return
	case told.RTO.Value == nil || r.RTO.Value == nil:
		l.t.Fatalf("%s: the RTO is %v, and was foretold to be %v", r.Run.Operation, r.RTO, told.RTO)
	}
	if diff := (*r.RTO.Value - *told.RTO.Value).Std().Abs(); diff > max(r.RTO.Value.Std()/10, awsbase.DefaultDeadline) {
		l.t.Errorf("the RTO of %s is %s, and was foretold to be %s", r.Run.Operation, r.RTO.Value.Std(), told.RTO.Value.Std())
	}
}

// TestRehearsedInVain: what cannot go well is foretold with the step that fails, and in truth that step asks what to do: a planned
// failover of a home that is gone. A drill needs a home that can be looked at, and none that works.
func TestRehearsedInVain(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		t := l.t
		l.shop()
		l.run(l.ask(model.OpProtect, ""))
		told := l.rehearse(api.RehearseRequest{App: "shop", Operation: model.OpDrill, Lost: dublin, How: "half"})
		home := l.Inject(awstest.Fault{Region: regions[dublin], How: awstest.Error500, Changes: true})
		l.foretold(told, l.run(l.ask(model.OpDrill, "")))
		home.Remove()

		told = l.rehearse(api.RehearseRequest{App: "shop", Operation: model.OpFailover, Mode: model.Planned, Lost: dublin})
		last := told.Asked[len(told.Asked)-1]
		if told.OK || told.Outcome != api.Aborted || last.Answer != "given up" || !strings.Contains(told.Verdict, string(last.Step)+" fails: ") {
			t.Fatalf("%s: %s; asked: %+v", told.Outcome, told.Verdict, told.Asked)
		}
		l.Inject(awstest.Fault{Region: regions[dublin], How: awstest.Refuse})
		s := l.open(nil)
		req := l.ask(model.OpFailover, model.Planned)
		req.From = dublin
		began, err := s.Start(within(t, time.Hour), req)
		must(t, err)
		ctx := within(t, time.Hour)
		for v, err := range s.Watch(ctx, began.ID) {
			must(t, err)
			st := step(t, v, last.Step)
			if st.Status == api.StepAsking {
				t.Logf("%s", st.Err)
				break
			}
			for i := range v.Steps {
				if st := &v.Steps[i]; st.Status == api.StepAsking && st.Waiver == model.Unfenced {
					_, err := s.Signal(ctx, api.SignalRequest{Run: v.ID, Signal: api.Force, Step: st.ID, Reason: "the region is gone", By: "ann"})
					must(t, err)
				}
			}
		}
		if ctx.Err() != nil {
			t.Errorf("%s was foretold to fail, and does not ask", last.Step)
		}
		must(t, s.Close())
	})
}

// TestRehearsals rehearses each operation of an app's life before it is carried out. The drill is in a world that is three times as
// slow as the stand-in usually is: once that has been measured, it is foretold.
func TestRehearsals(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		t := l.t
		l.shop()
		l.run(l.ask(model.OpProtect, ""))

		slow := l.Play(awstest.Script{Scale: 3})
		drill := api.RehearseRequest{App: "shop", Operation: model.OpDrill}
		if told := l.rehearse(drill); !told.OK || told.Runs != 0 || told.Lost != "" {
			t.Errorf("rehearsed after %d runs, with %q lost: %s", told.Runs, told.Lost, told.Verdict)
		}
		l.run(l.ask(model.OpDrill, ""))
		told := l.rehearse(drill)
		for _, s := range told.Steps {
			if s.Basis != api.TimeMeasured {
				t.Errorf("the time of %s is %s", s.ID, s.Basis)
			}
		}
		l.foretold(told, l.run(l.ask(model.OpDrill, "")))
		slow.Stop()

		l.foretold(l.rehearse(api.RehearseRequest{App: "shop", Operation: model.OpFailover, Mode: model.Planned}), l.run(l.ask(model.OpFailover, model.Planned)))
		back := l.rehearse(api.RehearseRequest{App: "shop", Operation: model.OpFailback})
		if len(back.Asked) != 1 {
			t.Errorf("people are asked for %v, want the approval of what is deleted", back.Asked)
		}
		l.foretold(back, l.run(l.ask(model.OpFailback, "")))
	})
}

// TestRehearsedDocuments rehearses the example's StatePayload documents before they are run: with Dublin lost, by the plans of
// lifeboat.yaml and as a file of its own, and the way back.
func TestRehearsedDocuments(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		t := l.t
		l.payloadShop()
		before := l.inventory()
		l.Forget()
		over := api.RehearseRequest{Operation: model.OpCustom, Custom: "to-frankfurt", How: "hanging"}
		told := l.rehearse(over)
		content, err := os.ReadFile(payloads + "/failover.json")
		must(t, err)
		over.Custom, over.Payload = "failover", &api.PayloadAsk{File: "failover.json", Content: content, Site: frankfurt}
		file := l.rehearse(over)
		l.looked()
		if diff := cmp.Diff(before, l.inventory()); diff != "" {
			t.Errorf("the rehearsal changed something (-before +after):\n%s", diff)
		}
		for asked, r := range map[int]*api.Rehearsal{3: told, 1: file} { // the file names no fence: that is accepted once, beforehand
			if !r.OK || r.Lost != dublin || r.From != dublin || r.To != frankfurt || len(r.Asked) != asked || r.RTO.Value == nil {
				t.Errorf("rehearsed: %+v", r)
			}
		}
		home := l.Inject(awstest.Fault{Region: regions[dublin], How: awstest.Hang})
		req := custom("to-frankfurt")
		req.AcceptUnfenced = "Dublin does not answer"
		r := l.run(req)
		home.Remove()
		l.foretold(told, r)
		l.foretold(file, r)
		time.Sleep(time.Hour)

		for _, name := range []string{"follow-again-in-dublin", "switch-to-dublin"} {
			told := l.rehearse(api.RehearseRequest{Operation: model.OpCustom, Custom: name})
			if told.Lost != "" {
				t.Errorf("%s needs both sites, and %s is lost", name, told.Lost)
			}
			l.foretold(told, l.run(custom(name)))
		}
	})
}

// everything is a plan that moves the app, with a person and a program before it and another plan after it.
const everything = `
plans:
  everything:
    steps:
      - {name: freeze, kind: exec, settings: {command: ["false"]}}
      - {name: sign-off, approve: 2, needs: [freeze]}
      - {name: shop, app: shop, operation: failover, mode: unplanned, needs: [sign-off]}
      - {name: tell, plan: tell-people, needs: [shop]}
  tell-people:
    steps: [{name: mail, kind: exec, settings: {command: ["false"]}}]
`

// TestRehearsedPlan rehearses a plan of the user's own that moves an app: no program of it is started, and people are asked.
func TestRehearsedPlan(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		t := l.t
		l.shop()
		l.run(l.ask(model.OpProtect, ""))
		l.configure(l.exampleText() + everything)
		l.Forget()
		told := l.rehearse(api.RehearseRequest{Operation: model.OpCustom, Custom: "everything", Lost: dublin})
		l.looked()
		if !told.OK || told.Plan != "everything" || told.Lost != dublin || told.How != "refusing" || len(told.Asked) != 4 || len(told.StoodIn) != 2 {
			t.Errorf("rehearsed: %+v", told)
		}
		for _, req := range []api.RehearseRequest{{Custom: "everything", How: "slow"}, {Custom: "nothing"}, {Custom: "everything", App: "shop"}, {Custom: "everything", Lost: "mars"}} {
			req.Operation = model.OpCustom
			if _, err := l.rehearser().Rehearse(within(t, time.Hour), req, func(api.RehearsedStep) {}); err == nil || !failure.Classified(err) {
				t.Errorf("%+v: %v", req, err)
			}
		}
	})
}

// TestRehearsedInTruth: the stand-in allows everything and offers what was seen anywhere. So AWS itself is asked what the plan would
// miss, and a plan that would not start in truth is none that gets through.
func TestRehearsedInTruth(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		t := l.t
		l.shop()
		l.run(l.ask(model.OpProtect, ""))
		allow := func(actions string) {
			must(t, l.Policy("arn:aws:iam::"+account+":user/admin", `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", "Action": [`+actions+`]}]}`))
		}
		const most = `"rds:Describe*", "rds:ModifyDBInstance", "rds:RestoreDBInstanceFromDBSnapshot", "rds:AddTagsToResource", "rds:DeleteDBInstance", "rds:SwitchoverGlobalCluster",
			"rds:RemoveFromGlobalCluster", "elasticache:*", "route53:*", "ec2:*", "kms:*", "cloudwatch:*", "servicequotas:*"`
		for _, c := range []struct {
			allowed, refused string
			found            []string
		}{
			{`, "iam:*", "rds:FailoverGlobalCluster"`, "", nil},
			{`, "iam:*"`, "rds:FailoverGlobalCluster is not allowed", []string{"block aws-permission rds:FailoverGlobalCluster is not allowed on "}},
			{`, "rds:FailoverGlobalCluster"`, "", []string{"warn aws-permission iam:SimulatePrincipalPolicy is not allowed", "note aws-permission-unknown whether these are allowed is not known: elasticache:Fail",
				"note aws-permission-unknown ", "note aws-permission-unknown ", "note aws-permission-unknown whether these are allowed is not known: route53:Change"}},
			{`, "*"`, "AWS does not offer postgres ", []string{"block aws-not-offered AWS does not offer postgres "}},
		} {
			allow(most + c.allowed)
			if strings.Contains(c.refused, "offer") {
				l.Withhold(account, regions[frankfurt], "postgres", "", "")
			}
			l.Forget()
			told := l.rehearse(api.RehearseRequest{App: "shop", Operation: model.OpFailover})
			l.looked()
			in := "in truth it would not start: " + c.refused
			if told.OK != (c.refused == "") || told.Outcome != api.Succeeded || strings.Contains(told.Verdict, in) == told.OK || len(told.Examined) != len(c.found) {
				t.Errorf("with%s: %s; %+v", c.allowed, told.Verdict, told.Examined)
				continue
			}
			for i, f := range told.Examined {
				if got := fmt.Sprint(f.Severity, " ", f.Code, " ", f.What); !strings.HasPrefix(got, c.found[i]) || f.Fix == "" {
					t.Errorf("with%s: %s, want %s", c.allowed, got, c.found[i])
				}
			}
			made := api.RehearsedCall{Account: account, Region: regions[frankfurt], Call: "rds:FailoverGlobalCluster"}
			if !slices.Contains(told.Calls, made) || slices.ContainsFunc(told.Calls, func(c api.RehearsedCall) bool { return strings.HasPrefix(c.Call, "iam:") }) {
				t.Errorf("the run called %v", told.Calls)
			}
		}
	})
}

// serial is what differs in all answers, and how many records a zone holds that nobody asks for.
var serial = regexp.MustCompile(`(?i)<(RequestId|ResourceRecordSetCount)>[^<]*</[^>]*>`)

// TestRehearsedWorld: the world of a rehearsal answers as AWS does, about everything that is looked at.
func TestRehearsedWorld(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		t := l.t
		l.shop()
		l.run(l.ask(model.OpProtect, ""))
		cfg, err := config.Load(l.path, all.Registry(slog.New(slog.DiscardHandler)))
		must(t, err)
		look := func(w *awstest.World) ([]awstest.Answer, map[string]string) {
			seen, err := awslook.Look(within(t, time.Hour), slog.New(slog.DiscardHandler), w.Client(), cfg.Apps[0].Resources)
			must(t, err)
			if len(seen.Left) > 0 || len(seen.Assumed) > 0 {
				t.Errorf("left out: %v, assumed: %v", seen.Left, seen.Assumed)
			}
			said := map[string]string{}
			for _, a := range seen.Answers {
				said[fmt.Sprint(a.Region, " ", a.Action, " ", a.Params)] = serial.ReplaceAllString(string(a.Body), "")
			}
			return seen.Answers, said
		}
		answers, want := look(l.World)
		if len(want) < 30 {
			t.Errorf("only %d answers", len(want))
		}
		twin := awstest.New(awstest.Options{})
		twin.Account(account)
		must(t, twin.Learn(answers))
		if _, got := look(twin); !cmp.Equal(want, got) {
			t.Errorf("what AWS answers, and what the stand-in does (-AWS +stand-in):\n%s", cmp.Diff(want, got))
		}
	})
}

// TestRehearseProgram watches the real program rehearse what it finds at an address, in a process of its own whose time is a bubble's.
func TestRehearseProgram(t *testing.T) {
	real, now := time.Now(), time.Now
	var w *awstest.World
	var text string
	bubble(t, awstest.Options{Unlimited: true, Now: func() time.Time { return now() }}, func(l *lab) {
		time.Sleep(time.Until(real.Add(-12 * time.Hour)))
		w = l.World
		l.shop()
		time.Sleep(time.Until(real.Add(-time.Hour)))
		l.run(l.ask(model.OpProtect, ""))
		time.Sleep(time.Until(real))
		text = l.exampleText()
		now = func() time.Time { return real } // time stands still at AWS from here
	})
	server, err := w.Serve()
	must(t, err)
	defer server.Close()
	dir := program.Folder(t)
	text = strings.ReplaceAll(text, `{account: "111111111111",`, `{account: "111111111111", endpoint: "`+server.URL+`",`)
	must(t, os.WriteFile(filepath.Join(dir, "lifeboat.yaml"), []byte(text), 0o600))
	w.Forget()
	p := program.Start(t, dir, os.Environ(), "rehearse", "shop", "--with", "home=hanging")
	code := p.Wait()
	if code != 0 || p.Said() != nil && len(p.Said()) > 0 {
		t.Errorf("exit code %d, and said: %s", code, p.Said())
	}
	for _, want := range []string{"failover of shop to frankfurt gets through", "billing/promote@frankfurt", "with dublin lost (hanging)", "nothing was changed there"} {
		if !strings.Contains(string(p.Printed()), want) {
			t.Errorf("%q is not in\n%s", want, p.Printed())
		}
	}
	onlyLooks(t, w.Calls())
	p = program.Start(t, dir, os.Environ(), "rehearse", "shop", "--with", "stuck=name/redirect@frankfurt", "-o", "json")
	if code := p.Wait(); code != 1 {
		t.Errorf("with a step that is stuck: exit code %d, and said: %s", code, p.Said())
	}
	if out := program.Answer[api.Rehearsal](p); out.OK || !strings.Contains(out.Verdict, "name/redirect@frankfurt fails") {
		t.Errorf("with a step that is stuck: %s", out.Verdict)
	}
}

// TestRehearseInterrupted: a rehearsal that waits for AWS ends when it is interrupted, and leaves nothing behind. The flags of package
// testing, which the binary holds for rehearsals, are none of lifeboat's.
func TestRehearseInterrupted(t *testing.T) {
	dir, scratch := program.Folder(t), t.TempDir()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	text, err := os.ReadFile("../../examples/aws-databases/lifeboat.yaml")
	must(t, err)
	keys := `{access_key: env:REHEARSED_KEY, secret_key: env:REHEARSED_KEY, endpoint: "http://` + silent.Addr().String() + `", account: "111111111111",`
	must(t, os.WriteFile(filepath.Join(dir, "lifeboat.yaml"), []byte(strings.ReplaceAll(string(text), `{account: "111111111111",`, keys)), 0o600))
	env := append(os.Environ(), "TMPDIR="+scratch, "REHEARSED_KEY=x")
	p := program.Start(t, dir, env, "rehearse", "shop")
	conn, err := silent.Accept()
	must(t, err)
	defer conn.Close()
	p.Signal(syscall.SIGINT)
	if code := p.Wait(); code != failure.Canceled.ExitCode() {
		t.Errorf("interrupted: exit code %d, and said: %s", code, p.Said())
	}
	left, err := os.ReadDir(scratch)
	if err != nil || len(left) > 0 {
		t.Errorf("it left %v behind: %v", left, err)
	}
	p = program.Start(t, dir, env, "version", "--test.v")
	if code := p.Wait(); code != failure.Invalid.ExitCode() {
		t.Errorf("with a flag of package testing: exit code %d, and said: %s", code, p.Said())
	}
}

// others is a resource that is not in AWS, with a check and a hook, and the app's probe: none of them would go well if it were asked.
const others = `
      web:
        kind: command
        needs: [orders]
        settings: {start: ["false"], via: [%[1]s, web]}
        sites: {dublin: {outputs: {endpoint: "127.0.0.1:1"}}, frankfurt: {outputs: {endpoint: "127.0.0.1:1"}}}
        checks:
          - {name: web answers, kind: http, within: 5s, settings: {url: "http://${web.endpoint}/healthz"}}
        hooks:
          - {after: promote, step: {name: warm the cache, kind: exec, settings: {command: [%[1]s, hook]}}}
`

// TestRehearsedOthers: what is not in AWS is stood in for, and nothing of it is started or asked; references to secrets are not read.
func TestRehearsedOthers(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		t := l.t
		l.shop()
		l.run(l.ask(model.OpProtect, ""))
		dir := filepath.Dir(l.path)
		mark, program := filepath.Join(dir, "was-run"), filepath.Join(dir, "program")
		must(t, os.WriteFile(program, []byte("#!/bin/sh\necho \"$@\" >>"+mark+"\nexit 1\n"), 0o700))
		text := strings.Replace(l.exampleText(), "needs: [sessions]", "needs: [sessions, web]", 1)
		l.configure(text + fmt.Sprintf(others, program) + "    probe: {kind: http, settings: {url: \"http://127.0.0.1:1/\"}}\n")
		l.Forget()
		told := l.rehearse(api.RehearseRequest{App: "shop", Operation: model.OpFailover})
		l.looked()
		if !told.OK {
			t.Errorf("rehearsed: %s", told.Verdict)
		}
		var names []string
		for _, s := range told.StoodIn {
			names = append(names, s.Name+" "+string(s.Kind))
		}
		if diff := cmp.Diff([]string{"web command"}, names[:min(1, len(names))]); diff != "" || len(names) != 3 {
			t.Errorf("stood in for: %v", names)
		}
		for _, s := range told.Steps {
			if want := s.Resource == "web" || strings.HasPrefix(string(s.ID), "web"); s.StoodIn != want || want && s.Basis != api.TimeUnknown {
				t.Errorf("%s: stood in for: %t, its time is %s", s.ID, s.StoodIn, s.Basis)
			}
		}
		if said, err := os.ReadFile(mark); err == nil {
			t.Errorf("the rehearsal started a program: %s", said)
		}
	})
}

// TestRehearsedWithoutHome: a home that does not answer to looks either is left out, and the rehearsal says so; a site to recover at
// that does not answer is the end of it.
func TestRehearsedWithoutHome(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		t := l.t
		l.shop()
		l.run(l.ask(model.OpProtect, ""))
		home := l.Inject(awstest.Fault{Region: regions[dublin], How: awstest.Hang})
		told := l.rehearse(api.RehearseRequest{App: "shop", Operation: model.OpFailover})
		home.Remove()
		if !told.OK || len(told.Unseen) != 1 || told.Unseen[0].Site != dublin || told.Lost != dublin {
			t.Errorf("rehearsed without home: %s; unseen: %+v", told.Verdict, told.Unseen)
		}
		l.foretold(told, func() *api.Report {
			home := l.Inject(awstest.Fault{Region: regions[dublin], How: awstest.Refuse})
			defer home.Remove()
			req := l.ask(model.OpFailover, model.Unplanned)
			req.AcceptUnfenced = "the region is gone"
			return l.run(req)
		}())

		l.Inject(awstest.Fault{Region: regions[frankfurt], How: awstest.Refuse})
		_, err := l.rehearser().Rehearse(within(t, time.Hour), api.RehearseRequest{App: "shop", Operation: model.OpFailover}, func(api.RehearsedStep) {})
		if failure.KindOf(err) != failure.Unavailable {
			t.Errorf("rehearsed without the site to recover at: %v, want unavailable", err)
		}
	})
}

// TestRehearsedWithLittle: what may not be looked at is left out and said, or taken for there; nothing at all is the end of it.
func TestRehearsedWithLittle(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		t := l.t
		l.shop()
		l.run(l.ask(model.OpProtect, ""))
		deny := func(service, action string) *awstest.Injected {
			return l.Inject(awstest.Fault{Service: service, Action: action, How: awstest.Error, Code: "AccessDenied", Status: 403, Message: "not authorized"})
		}
		parts := []*awstest.Injected{deny("ec2", "DescribeSecurityGroups"), deny("kms", "DescribeKey"), deny("rds", "DescribeOptionGroups")}
		told := l.rehearse(api.RehearseRequest{App: "shop", Operation: model.OpFailover})
		for i, p := range parts {
			if p.Times() == 0 {
				t.Errorf("denial %d denied nothing", i)
			}
			p.Remove()
		}
		if !told.OK || len(told.Unseen) != 8 {
			t.Errorf("rehearsed: %s; unseen: %+v", told.Verdict, told.Unseen)
		}
		deny("*", "")
		_, err := l.rehearser().Rehearse(within(t, time.Hour), api.RehearseRequest{App: "shop", Operation: model.OpFailover}, func(api.RehearsedStep) {})
		if failure.KindOf(err) != failure.Denied {
			t.Errorf("rehearsed by somebody who may look at nothing: %v, want denied", err)
		}
	})
}

// TestRehearsedKeys: a copy whose key is disabled cannot be restored, and the rehearsal says so, though the settings name another key.
func TestRehearsedKeys(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		t := l.t
		l.shop()
		l.run(l.ask(model.OpProtect, ""))
		l.Key(account, regions[frankfurt], "next")
		l.configure(strings.ReplaceAll(l.exampleText(), "alias/shop", "alias/next"))
		l.DisableKey(l.Key(account, regions[frankfurt], "shop"))
		told := l.rehearse(api.RehearseRequest{App: "shop", Operation: model.OpFailover})
		if told.OK || !strings.Contains(told.Verdict, "billing/promote@frankfurt fails") || !strings.Contains(told.Verdict, "KMSKeyNotAccessible") {
			t.Errorf("rehearsed: %s", told.Verdict)
		}
	})
}

// TestRehearsalRefused: what cannot be rehearsed is said before AWS is asked anything.
func TestRehearsalRefused(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		l.configure(l.exampleText())
		l.Forget()
		for _, c := range []struct {
			req  api.RehearseRequest
			want failure.Kind
		}{
			{api.RehearseRequest{App: "nobody", Operation: model.OpFailover}, failure.NotFound},
			{api.RehearseRequest{App: "shop", Operation: model.OpProve}, failure.Invalid},
			{api.RehearseRequest{App: "shop", Operation: model.OpFailover, Lost: "mars"}, failure.NotFound},
			{api.RehearseRequest{App: "shop", Operation: model.OpFailover, Lost: frankfurt, To: frankfurt}, failure.Invalid},
			{api.RehearseRequest{App: "shop", Operation: model.OpFailover, How: "sulking"}, failure.Invalid},
		} {
			_, err := l.rehearser().Rehearse(within(l.t, time.Hour), c.req, func(api.RehearsedStep) {})
			if err == nil || failure.KindOf(err) != c.want || failure.HintOf(err) == "" && c.want == failure.NotFound {
				l.t.Errorf("%+v: %v, want %s", c.req, err, c.want)
			}
		}
		if n := l.Count(""); n != 0 {
			l.t.Errorf("%d calls of AWS", n)
		}
	})
}
