package aurora_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// killed tries what has the process die after the n-th change to AWS, for every n until it comes to its end before that; without
// LIFEBOAT_LONG for every fourth. try says whether the process died.
func killed(t *testing.T, least int, try func(t *testing.T, w *world, after int) (died bool)) {
	step := 4
	if os.Getenv("LIFEBOAT_LONG") == "1" {
		step = 1
	}
	for after := 0; ; after += step {
		died := false
		bubble(t, func(t *testing.T, w *world) { died = try(t, w, after) })
		if t.Failed() {
			t.Fatalf("that was when it was killed after %d changes", after)
		}
		if !died {
			if after < least {
				t.Errorf("it made only %d changes", after)
			}
			return
		}
	}
}

// reversed carries a reverse out by processes each of which begins again with the same token and looks once. The change after so
// many takes effect, its answer is lost, and whoever made it is gone. It reports whether that came to pass.
func (w *world) reversed(t *testing.T, req driver.Request, after int) bool {
	t.Helper()
	dies := w.Inject(awstest.Fault{Changes: true, How: awstest.LoseAnswer, After: after, Times: 1})
	defer dies.Remove()
	for range 3000 {
		h, err := driver.Begin(t.Context(), w.driver(req), req)
		req.Resumed = true
		var seen driver.Observation
		if err == nil {
			seen, err = w.driver(req).Observe(t.Context(), req, h)
		}
		switch {
		case err != nil && !failure.KindOf(err).Retryable():
			t.Fatal(err)
		case err == nil && seen.State == driver.Failed:
			t.Fatalf("it fails: %v", seen.Err)
		case err == nil && seen.State == driver.Done:
			return dies.Times() > 0
		}
		time.Sleep(30 * time.Second)
	}
	t.Fatal("it is never over")
	return false
}

func TestClusterFailbackIsKilled(t *testing.T) {
	killed(t, 8, func(t *testing.T, w *world, after int) (died bool) {
		name := w.cluster(t)
		must(t, w.Write(w.single("east", name), "one"))
		w.done(t, w.ask(name, model.ActionQuiesce, "east", "west"))
		w.done(t, w.ask(name, model.ActionPromote, "west", "east"))
		w.clears(t, name, func(req driver.Request) { died = w.reversed(t, req, after) })
		w.done(t, w.ask(name, model.ActionPromote, "east", "west"))
		w.holds(t, "east", name, "one")
		return died
	})
}

func TestRebuildIsKilled(t *testing.T) {
	killed(t, 12, func(t *testing.T, w *world, after int) (died bool) {
		name := w.database(t)
		must(t, w.Write(w.arn("east", name), "before"))
		time.Sleep(time.Minute)
		detached(t, w, name)
		must(t, w.Write(w.arn("west", name), "west"))
		req := w.request(name, model.ActionReverse, "east", "west")
		req.Operation, req.Prepare = model.OpFailback, true
		died = w.reversed(t, req, after)
		for action, want := range map[string]int{"CreateDBClusterSnapshot": 1, "RestoreDBClusterFromSnapshot": 1, "CreateGlobalCluster": 2, "DeleteGlobalCluster": 1, "DeleteDBCluster": 2} {
			if got := w.named(action, name); got > want {
				t.Errorf("%s took effect %d times, want at most %d", action, got, want)
			}
		}
		if desc := w.role(t, name, "east"); desc.Role != model.RoleStandby || !desc.Healthy {
			t.Errorf("east is %s (healthy %v): %s", desc.Role, desc.Healthy, desc.Summary)
		}
		left := w.inventory(t)
		if strings.Contains(left, "proof") || strings.Count(left, "east instance") != 2 || !strings.Contains(left, "east cluster "+name+"-east protected true") {
			t.Errorf("in the end there is:\n%s", left)
		}
		got, err := w.Data(w.arn("east", name))
		if diff := cmp.Diff([]string{"before", "west"}, got); err != nil || diff != "" {
			t.Errorf("data: %v (-want +got):\n%s", err, diff)
		}
		return died
	})
}
