package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/internal/engine"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/journal/etcd"
	"github.com/lifeboat-dr/lifeboat/model"
)

// BenchmarkEngine drives 10,000 instant steps through the journal of a state folder, which syncs each commit to the
// disk, and then writes one fenced transaction for each of the run's events, one after the other, into the same
// journal: what the engine would cost at least if it did not commit in groups.
func BenchmarkEngine(b *testing.B) {
	for _, bench := range []struct{ name, role string }{
		{"joined-layers", "steps-join"}, {"all-to-all", "steps-all"}, {"fake-driver", "steps-fake"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var all []figures
			for b.Loop() {
				all = append(all, apart(b, bench.role))
			}
			show(b, all)
		})
	}
}

// BenchmarkWaiting has 1,000 steps under way that are not done, and takes the processor time of the process over
// [idleFor].
func BenchmarkWaiting(b *testing.B) {
	var all []figures
	for b.Loop() {
		all = append(all, apart(b, "waiting"))
	}
	show(b, all)
}

func measureSteps(folder string, how layout) (figures, error) {
	return measure(folder, driver.NewRegistry(instant{}), layered(how, instantKind, json.RawMessage(`{"cluster":"main"}`)))
}

// measureFake has the scriptable driver of the project do the work, whose ledger costs what it costs.
func measureFake(folder string) (figures, error) {
	settings, err := json.Marshal(fake.Settings{})
	if err != nil {
		return nil, err
	}
	return measure(folder, driver.NewRegistry(fake.New(fake.NewWorld())), layered(joined, fake.Kind, settings))
}

// measure drives a run of plan, and compares it with bare transactions.
func measure(folder string, drivers *driver.Registry, plan *model.Plan) (figures, error) {
	ctx := context.Background()
	store, err := etcd.OpenFolder(ctx, folder, etcd.FolderOptions{})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	counted := &counting{Store: store}
	e := engine.New(engine.Options{Store: counted, Drivers: drivers, Owner: "bench"})
	run, err := e.Create(ctx, engine.CreateRequest{Plan: plan, By: "bench"})
	if err != nil {
		return nil, err
	}
	used, err := processorTime()
	if err != nil {
		return nil, err
	}
	counted.commits, counted.bytes = 0, 0
	began := time.Now()
	if err := e.Drive(ctx, run); err != nil {
		return nil, err
	}
	took := time.Since(began)
	usedAfter, err := processorTime()
	if err != nil {
		return nil, err
	}
	peak, err := peakMemory()
	if err != nil {
		return nil, err
	}
	size, err := folderMB(folder)
	if err != nil {
		return nil, err
	}
	state, _, err := e.Load(ctx, run)
	if err != nil {
		return nil, err
	}
	if state.Outcome != api.Succeeded {
		return nil, fmt.Errorf("the run ended %s", state.Outcome)
	}
	got := figures{
		"ms/step":     ms(took) / steps,
		"cpu-ms/step": ms(usedAfter-used) / steps,
		"steps/s":     steps / took.Seconds(),
		"events":      float64(state.Seq),
		"commits":     float64(counted.commits),
		"written-MB":  float64(counted.bytes) / 1e6,
		"peak-MB":     peak,
		"folder-MB":   size,
	}
	bare, err := bareCommits(ctx, store, int(state.Seq))
	if err != nil {
		return nil, err
	}
	got["bare-ms/event"] = ms(bare) / float64(state.Seq)
	got["bare/engine"] = bare.Seconds() / took.Seconds()
	return got, nil
}

// bareCommits writes n events of an ordinary size the plain way: each in a transaction that compares and replaces the
// run's header.
func bareCommits(ctx context.Context, store journal.Store, n int) (time.Duration, error) {
	header, event := make([]byte, 500), make([]byte, 250)
	began, mod := time.Now(), int64(0)
	for i := range n {
		rev, ok, err := store.Commit(ctx, journal.Txn{
			If: []journal.Cond{{Key: "/bare/h", Mod: mod}},
			Then: []journal.Op{
				{Key: "/bare/h", Value: header},
				{Key: fmt.Sprintf("/bare/j/%09d", i), Value: event},
			},
		})
		if err != nil {
			return 0, err
		}
		if !ok {
			return 0, errors.New("a bare transaction was refused")
		}
		mod = rev
	}
	return time.Since(began), nil
}

// counting counts what the engine commits while it drives one run, which it does from one goroutine.
type counting struct {
	journal.Store
	commits, bytes int
}

func (c *counting) Commit(ctx context.Context, txn journal.Txn) (int64, bool, error) {
	c.commits++
	for _, op := range txn.Then {
		c.bytes += len(op.Value)
	}
	return c.Store.Commit(ctx, txn)
}

// Of the measurement of steps that wait.
const (
	waiting  = 1000
	settleIn = 30 * time.Second // until each step is looked at as rarely as it will be
	idleFor  = 30 * time.Second
)

func measureWaiting(folder string) (figures, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	store, err := etcd.OpenFolder(ctx, filepath.Join(folder, "state"), etcd.FolderOptions{})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	e := engine.New(engine.Options{Store: store, Drivers: driver.NewRegistry(instant{never: true}), Owner: "bench"})
	plan := planOf("waiting")
	for n := range waiting {
		plan.Steps = append(plan.Steps, step(fmt.Sprintf("step-%04d", n), instantKind, nil))
	}
	alone, err := share(idleFor / 3) // the journal's own
	if err != nil {
		return nil, err
	}
	run, err := e.Create(ctx, engine.CreateRequest{Plan: plan, By: "bench"})
	if err != nil {
		return nil, err
	}
	driven := make(chan error, 1)
	go func() { driven <- e.Drive(ctx, run) }()
	select {
	case err := <-driven:
		return nil, fmt.Errorf("the run is over: %w", err)
	case <-time.After(settleIn):
	}
	state, _, err := e.Load(ctx, run)
	if err != nil {
		return nil, err
	}
	for i := range state.Steps {
		if state.Steps[i].Status != api.StepRunning {
			return nil, fmt.Errorf("step %d is %s", i, state.Steps[i].Status)
		}
	}
	state = nil
	busy, err := share(idleFor)
	if err != nil {
		return nil, err
	}
	peak, err := peakMemory()
	if err != nil {
		return nil, err
	}
	cancel()
	if err := <-driven; !errors.Is(err, context.Canceled) {
		return nil, err
	}
	return figures{"percent-of-a-core": busy, "percent-journal-alone": alone, "peak-MB": peak}, nil
}

// share is the part of a core, in percent, that this process takes for a while.
func share(over time.Duration) (float64, error) {
	began := time.Now()
	before, err := processorTime()
	if err != nil {
		return 0, err
	}
	time.Sleep(over)
	after, err := processorTime()
	return 100 * (after - before).Seconds() / time.Since(began).Seconds(), err
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
