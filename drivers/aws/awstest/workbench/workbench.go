// Package workbench carries out the work of AWS's drivers in their tests: as an engine does, on the fake or on an emulator. It knows no
// driver and judges none. Start with an [Engine]; [Fake], or [Base] and [Emulated], say how the driver reaches AWS.
package workbench

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/emulator"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Fake is the access to an account and a region of a fake, as its administrator, whose keys are in the test's environment.
func Fake(t testing.TB, w *awstest.World, account, region string) awsbase.Access {
	t.Helper()
	c := w.Account(account)
	t.Setenv("WORKBENCH_KEY", c.AccessKey)
	t.Setenv("WORKBENCH_SECRET", c.SecretKey)
	return awsbase.Access{Account: account, Region: region, AccessKey: "env:WORKBENCH_KEY", SecretKey: "env:WORKBENCH_SECRET"}
}

// Emulated is the access to a region of an emulator, which is as slow as the machine is busy.
func Emulated(at emulator.Endpoint, region string) awsbase.Access {
	return awsbase.Access{Account: emulator.Account, Region: region, AccessKey: "exec:echo test", SecretKey: "exec:echo test", Endpoint: at.URL,
		Attempt: model.Duration(time.Minute), Deadline: model.Duration(2 * time.Minute)}
}

// Base reaches an emulator without sparing it. It ends with the test.
func Base(t testing.TB, at emulator.Endpoint) *awsbase.Base {
	rates := map[string]awsbase.Rate{}
	for _, service := range awsbase.Services() {
		rates[service] = awsbase.Rate{Max: 1000, Burst: 1000}
	}
	b := awsbase.New(awsbase.Options{HTTP: at.HTTP, Every: time.Millisecond, Rates: rates})
	t.Cleanup(b.Wait)
	return b
}

// Engine begins work and looks at it until it is over, each time as another process.
type Engine struct {
	Driver func(req driver.Request) driver.Driver
	Pause  time.Duration // between two looks
}

// within is for work that is never over, which takes no time in a bubble of testing/synctest.
const within = 48 * time.Hour

// Run carries out what must begin, and gives what its last look saw: see Await.
func (e Engine) Run(t testing.TB, req driver.Request) driver.Observation {
	t.Helper()
	h, err := driver.Begin(t.Context(), e.Driver(req), req)
	if err != nil {
		t.Fatalf("begin %s at %s: %v (hint: %s)", req.Action, req.Site, err, failure.HintOf(err))
	}
	return e.Await(t, req, h)
}

// Await looks until the work is Done or Failed. A look may fail with what is worth another one; else it ends the test.
func (e Engine) Await(t testing.TB, req driver.Request, h driver.Handle) driver.Observation {
	t.Helper()
	for end := time.Now().Add(within); ; {
		seen, err := e.Driver(req).Observe(t.Context(), req, h)
		switch {
		case err != nil && !failure.KindOf(err).Retryable():
			t.Fatalf("observe %s at %s: %v", req.Action, req.Site, err)
		case err == nil && seen.State != driver.Pending:
			return seen
		case time.Now().After(end):
			t.Fatalf("%s at %s is not over: %s %v", req.Action, req.Site, seen.Phase, err)
		}
		time.Sleep(e.Pause)
	}
}

// Done is Run for work that must succeed.
func (e Engine) Done(t testing.TB, req driver.Request) driver.Observation {
	t.Helper()
	seen := e.Run(t, req)
	if seen.State != driver.Done {
		t.Fatalf("%s at %s is %s: %v", req.Action, req.Site, seen.State, seen.Err)
	}
	return seen
}

// Word carries req out, with so many looks at most, and says how it ended: as a state, as "never: " and the phase, or as an error's kind.
func (e Engine) Word(ctx context.Context, req driver.Request, looks int) string {
	h, err := driver.Begin(ctx, e.Driver(req), req)
	for n := 0; err == nil; n++ {
		var seen driver.Observation
		seen, err = e.Driver(req).Observe(ctx, req, h)
		switch {
		case err != nil:
		case seen.State != driver.Pending:
			return string(seen.State)
		case n == looks:
			return "never: " + seen.Phase
		default:
			time.Sleep(e.Pause)
		}
	}
	return failure.KindOf(err).String()
}

// JSON is settings as configuration gives them to drivers.
func JSON(t testing.TB, settings any) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Handles holds that handles are read as they stand in journals, and written so: the text of each is given with what it means.
func Handles[H any](t *testing.T, version int, texts map[string]H) {
	t.Helper()
	for text, want := range texts {
		got, err := driver.ReadHandle[H](version, driver.Handle{Version: version, Data: json.RawMessage(text)})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s is read wrongly: %v %s", text, err, diff)
		}
		written, err := driver.NewHandle(version, want)
		if err != nil || written.Version != version || string(written.Data) != text {
			t.Errorf("it is written as %s of version %d: %v; want %s", written.Data, written.Version, err, text)
		}
	}
}
