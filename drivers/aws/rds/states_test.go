package rds

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/awsmodel"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/dbstate"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestStates has an instance be in every state that AWS documents, and in one that it does not, when it is judged, captured and
// fenced: what passes is waited for by its name, what does not pass is an error that names it, and where clients are served that is
// enough.
func TestStates(t *testing.T) {
	for _, state := range append([]string{awsmodel.Tomorrow}, awsmodel.States("DBInstance.DBInstanceStatus")...) {
		if state == "creating" {
			continue // it has no address yet
		}
		t.Run(state, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { inState(t, state) })
		})
	}
}

func inState(t *testing.T, state string) {
	w := newWorld(t)
	w.w.Play(awstest.Script{Action: "CreateDBInstance", Phases: []awstest.Phase{{Status: "creating", For: time.Minute}, {Status: state, For: time.Minute}}, End: awstest.Stick, Times: 1})
	target := w.resource(t, nil)
	_, serve := w.groups("east")
	_, err := w.api(t, "east").CreateDBInstance(t.Context(), &sdk.CreateDBInstanceInput{DBInstanceIdentifier: aws.String(string(target.App)), DBInstanceClass: aws.String("db.t3.medium"),
		Engine: aws.String("postgres"), AllocatedStorage: aws.Int32(20), MasterUsername: aws.String("app"), MasterUserPassword: aws.String("hunter2hunter2"), VpcSecurityGroupIds: []string{serve}})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Hour)
	ends := func(serving, stopped, leaving, broken driver.State) driver.State {
		switch means := dbstate.Of(state); {
		case means == dbstate.Ready:
			return serving
		case means == dbstate.Stopped:
			return stopped
		case means == dbstate.Leaving:
			return leaving
		case means.Broken():
			return broken
		}
		return driver.Pending
	}
	check := func(what string, seen driver.Observation, err error, want driver.State) {
		t.Helper()
		said := seen.Phase
		if seen.Err != nil {
			said = seen.Err.Error()
		}
		if err != nil {
			seen.State, said = driver.Failed, err.Error()
		}
		named := strings.Contains(said, state) || dbstate.Of(state) == dbstate.Leaving || dbstate.Of(state) == dbstate.Ready && said != ""
		if seen.State != want || want != driver.Done && !named {
			t.Errorf("%s: %s: %s; want %s", what, seen.State, said, want)
		}
	}
	req := w.request(target, model.ActionPromote, "east", "")
	of, err := w.driver().work(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	i, err := of.here.instance(t.Context(), string(target.App))
	if err != nil || i == nil || i.status() != state {
		t.Fatalf("the instance is %v, %v", i, err)
	}
	if want := ends(driver.Done, driver.Failed, driver.Pending, driver.Failed); dbstate.Of(state) == dbstate.Busy {
		check("judged", of.comeUp(i), nil, driver.Done)
	} else {
		check("judged", of.comeUp(i), nil, want)
	}
	seen, err := w.over(t, w.request(target, model.ActionCapture, "east", ""))
	captured := driver.Done
	if state == "storage-initialization" { // RDS API Reference, CreateDBSnapshot
		captured = driver.Pending
	}
	check("capture", seen, err, ends(captured, driver.Failed, driver.Pending, driver.Failed))
	stopped := driver.Failed
	if state == "stopping" {
		stopped = driver.Pending
	}
	seen, err = w.over(t, w.request(target, model.ActionFence, "east", "west"))
	check("fence", seen, err, ends(driver.Done, stopped, driver.Pending, driver.Failed))
}

// over carries an action out for at most half an hour.
func (w *world) over(t *testing.T, req driver.Request) (seen driver.Observation, err error) {
	h, err := driver.Begin(t.Context(), w.driver(), req)
	if err != nil {
		return seen, err
	}
	for deadline := time.Now().Add(30 * time.Minute); time.Now().Before(deadline); time.Sleep(lookAgain) {
		if seen, err = w.driver().Observe(t.Context(), req, h); err != nil || seen.State != driver.Pending {
			return seen, err
		}
	}
	return seen, nil
}
