package report

import (
	"crypto/ed25519"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// testKey is a key that everybody knows.
var testKey = ed25519.NewKeyFromSeed([]byte("lifeboat test key, known to all!"))

// testZone is not UTC and has no round offset.
var testZone = time.FixedZone("test", 5400)

func at(seconds float64) time.Time {
	return time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

func atp(seconds float64) *time.Time { t := at(seconds); return &t }

func ptr[T any](v T) *T { return &v }

func dur(d time.Duration) *model.Duration { return ptr(model.Duration(d)) }

// sampleReport is an unplanned failover with a fence that was set aside, an approval, a retry and text that tries to
// break out of every format.
func sampleReport() *api.Report {
	steps := []api.StepView{
		{ID: "fence-db", Title: "Fence db at east", Resource: "db", Action: model.ActionFence, Site: "east", Status: api.StepWaived, Attempt: 1,
			Started: atp(0.2), Ended: atp(1.4), Outage: true, Reason: `power is cut, "seen" by Ben <b>`, By: "ana@ops",
			Err: failure.New(failure.Unavailable, "fence", "db", "fence-unproven: no answer from 10.0.0.2").WithHint("check the power switch")},
		{ID: "approve", Title: "Approve the failover", Action: model.ActionApprove, Needs: []model.StepID{"fence-db"}, Status: api.StepDone,
			Started: atp(1.4), Ended: atp(3.1), Needed: 2, Approvals: []api.Approval{{By: "ana@ops", At: at(2.2)}, {By: "ben@ops", At: at(3.1), Reason: "agreed on the call"}}},
		{ID: "promote-db", Title: "Promote db at west", Resource: "db", Action: model.ActionPromote, Site: "west", Needs: []model.StepID{"approve"},
			Status: api.StepDone, Attempt: 2, Started: atp(3.1), Ended: atp(6.0), Outage: true,
			Outputs:  map[string]model.Value{"endpoint": {Type: model.TypeEndpoint, Text: "127.0.0.3:5432"}},
			Evidence: []model.Fact{{Name: "role", Value: "primary, was standby"}, {Name: "timeline", Value: "2, was 1"}, {Name: "lsn", Value: "0/3000148"}}},
		{ID: "start-web", Title: "Start web at west <script>alert(1)</script>", Resource: "web", Action: model.ActionPromote, Site: "west",
			Needs: []model.StepID{"promote-db"}, Status: api.StepDone, Attempt: 1, Started: atp(6.0), Ended: atp(6.4), Outage: true},
		{ID: "read-marker", Title: "Read the marker in db at west", Resource: "db", Action: model.ActionReadMarker, Site: "west",
			Needs: []model.StepID{"promote-db"}, Status: api.StepDone, Attempt: 1, Started: atp(6.0), Ended: atp(6.1)},
		{ID: "redirect-name", Title: "Point shop.demo.test. to west", Resource: "name", Action: model.ActionRedirect, Site: "west",
			Needs: []model.StepID{"start-web"}, Status: api.StepDone, Attempt: 1, Started: atp(6.4), Ended: atp(6.6), Outage: true},
		{ID: "check-orders", Title: "Check: orders | are readable", Action: model.ActionVerify, Site: "west", Needs: []model.StepID{"promote-db"},
			Status: api.StepFailed, Attempt: 1, Started: atp(6.1), Ended: atp(7.2), Err: failure.New(failure.Corrupt, "check", "orders", "got \x1b[31m3\x00, want 4 ]]>")},
		{ID: "warm", Title: "Warm the cache", Action: model.ActionRun, Needs: []model.StepID{"check-orders"}, Status: api.StepSkipped},
	}
	events := []api.Event{
		{Seq: 1, At: at(0), Kind: "run-started", By: "ana@ops", Text: "failover of shop"},
		{Seq: 2, At: at(0.2), Kind: "step-intent", Step: "fence-db", Text: "attempt 1"},
		{Seq: 3, At: at(1.4), Kind: "step-waived", Step: "fence-db", By: "ana@ops", Text: `power is cut, "seen" by Ben <b>`},
		{Seq: 4, At: at(1.4), Kind: "approval-asked", Step: "approve", Text: "2 people"},
		{Seq: 5, At: at(3.1), Kind: "step-intent", Step: "promote-db", Text: "attempt 1"},
		{Seq: 6, At: at(4.0), Kind: "step-failed", Step: "promote-db", Text: "unavailable: connection refused"},
		{Seq: 7, At: at(4.5), Kind: "step-intent", Step: "promote-db", Text: "attempt 2"},
		{Seq: 8, At: at(5.0), Kind: "owner-changed", Text: "host-b/4242 drives from epoch 2"},
		{Seq: 9, At: at(6.0), Kind: "step-done", Step: "promote-db", Text: "role primary"},
		{Seq: 10, At: at(7.2), Kind: "finished", Text: "failed"},
	}
	return &api.Report{
		Format: Format,
		Run: api.RunView{
			RunSummary: api.RunSummary{ID: "01JQ0000000000000000000000", Name: "failover shop", App: "shop", Operation: model.OpFailover,
				Mode: model.Unplanned, From: "east", To: "west", Status: "failed", Outcome: api.Failed, By: "ana@ops", Started: at(0), Ended: atp(7.2), Done: 5, Total: 8},
			At: at(7.2), PlanHash: "00112233445566778899aabbccddeeff", Objective: model.Objective{RTO: dur(8 * time.Second), RPO: dur(0)},
			Epoch: 2, Steps: steps, Final: true,
			Notes: []api.RunNote{{At: at(2.5), By: "ben@ops", What: "paused the run"}, {At: at(2.7), By: "ben@ops", What: "resumed the run"}},
		},
		Plan: &model.Plan{Format: model.PlanFormat, Name: "failover shop", App: "shop", Operation: model.OpFailover, Steps: []model.Step{
			{ID: "promote-db", Title: "Promote db at west", Effect: "ends recovery: db at west takes writes", Action: model.ActionPromote}}},
		RTO: api.Measure{Value: dur(7800 * time.Millisecond), Seconds: ptr(7.8), Objective: dur(8 * time.Second), Met: ptr(true),
			Basis: "clients' last good answer before to their first good answer after", From: atp(-1.2), To: atp(6.6)},
		RPO:    api.Measure{Objective: dur(0), Basis: "no marker was found & none is assumed"},
		Checks: []api.CheckResult{{Name: "orders | are <readable>", Step: "check-orders", Detail: "got 3, want 4", Took: model.Duration(1100 * time.Millisecond)}, {Name: "web answers", Step: "check-web", Passed: true, Detail: "200 OK", Took: model.Duration(80 * time.Millisecond)}},
		Waived: []api.StepView{steps[0]},
		Events: events,
	}
}

// signedSample is sampleReport, signed with testKey.
func signedSample() *api.Report {
	r := sampleReport()
	if err := Sign(r, testKey); err != nil {
		panic(err)
	}
	return r
}
