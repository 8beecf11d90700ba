package workbench_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/workbench"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// look is what one look sees.
type look struct {
	seen driver.Observation
	err  error
}

// scripted is a driver that captures as its looks say; the last one is seen from then on.
type scripted struct {
	refused error
	looks   []look
	looked  int
}

func (d *scripted) Facts() driver.Facts { return driver.Facts{Kind: "aws.test"} }
func (d *scripted) Describe(context.Context, driver.Target) (model.Description, error) {
	return model.Description{}, nil
}
func (d *scripted) Check(context.Context, driver.Request) ([]model.Finding, error) { return nil, nil }
func (d *scripted) Capture(context.Context, driver.Request) (driver.Handle, error) {
	return driver.Handle{Version: 1, Data: json.RawMessage(`{}`)}, d.refused
}
func (d *scripted) Observe(context.Context, driver.Request, driver.Handle) (driver.Observation, error) {
	l := d.looks[min(d.looked, len(d.looks)-1)]
	d.looked++
	return l.seen, l.err
}

func engine(d *scripted) workbench.Engine {
	return workbench.Engine{Driver: func(driver.Request) driver.Driver { return d }, Pause: time.Minute}
}

var request = driver.Request{Target: driver.Target{Resource: model.Resource{ID: "db"}, Site: "west"}, Action: model.ActionCapture}

func TestWord(t *testing.T) {
	waiting := look{seen: driver.Waiting("it is made")}
	for want, d := range map[string]*scripted{
		"done":              {looks: []look{waiting, {seen: driver.Succeeded()}}},
		"failed":            {looks: []look{{seen: driver.FailedWith(failure.Corrupt)}}},
		"never: it is made": {looks: []look{waiting}},
		"denied":            {refused: failure.Denied},
		"unavailable":       {looks: []look{waiting, {err: failure.Unavailable}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			if got := engine(d).Word(t.Context(), request, 3); got != want {
				t.Errorf("it ends as %q, want %q", got, want)
			}
			if took := time.Since(began); took != time.Duration(max(d.looked, 1)-1)*time.Minute {
				t.Errorf("%s: %d looks took %s, want a minute between two", want, d.looked, took)
			}
		})
	}
}

// TestDone: what is worth another look is looked at again, each time by another driver value.
func TestDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &scripted{looks: []look{{err: failure.Unavailable}, {seen: driver.Waiting("soon")}, {seen: driver.Succeeded(driver.Fact("at", "west"))}}}
		asked := 0
		e := workbench.Engine{Driver: func(driver.Request) driver.Driver { asked++; return d }, Pause: time.Minute}
		if seen := e.Done(t, request); len(seen.Evidence) != 1 || asked != 4 || d.looked != 3 {
			t.Errorf("%+v after %d looks by %d drivers, want 3 looks, and a driver for each and for the begin", seen, d.looked, asked)
		}
	})
}
