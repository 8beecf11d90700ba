package aurora_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/awsmodel"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/dbstate"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestStates has a cluster that is restored, and an instance of it, be in every state that AWS documents and in one that it does not:
// what passes is waited for by its name, what does not pass is an error that names it, and where clients are served that is enough.
func TestStates(t *testing.T) {
	for action, of := range map[string]string{"Restore*": "DBCluster.Status", "CreateDBInstance": "DBInstance.DBInstanceStatus"} {
		for _, state := range append([]string{awsmodel.Tomorrow}, awsmodel.States(of)...) {
			t.Run(of+"="+state, func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) { w.restoresInto(t, action, state) })
			})
		}
	}
}

// restoresInto restores a cluster while what an action makes gets no further than a state.
func (w *world) restoresInto(t *testing.T, action, state string) {
	name := w.cluster(t)
	w.points(t, w.ask(name, "", "east", ""), 1)
	played := w.Play(awstest.Script{Action: action, Phases: []awstest.Phase{{Status: "creating", For: 2 * time.Minute}, {Status: state, For: time.Minute}}, End: awstest.Stick})
	req := w.ask(name, model.ActionRestore, "east", "")
	req.Restore = &model.RestoreSpec{Name: "half"}
	h, err := driver.Begin(t.Context(), w.driver(req), req)
	must(t, err)
	var seen driver.Observation
	for deadline := time.Now().Add(time.Hour); time.Now().Before(deadline); time.Sleep(time.Minute) {
		if seen, err = w.driver(req).Observe(t.Context(), req, h); err != nil || seen.State != driver.Pending {
			break
		}
	}
	said := seen.Phase
	if seen.Err != nil {
		said = seen.Err.Error()
	}
	if err != nil {
		seen.State, said = driver.Failed, err.Error()
	}
	want := driver.Pending
	switch means := dbstate.Of(state); {
	case means.Serves():
		want = driver.Done
	case means.Broken(), means == dbstate.Stopped && action != "CreateDBInstance":
		want = driver.Failed
	}
	if seen.State != want || want != driver.Done && !strings.Contains(said, state) || played.Times() == 0 {
		t.Errorf("it is %s: %s; want %s; %d scripted", seen.State, said, want, played.Times())
	}
}
