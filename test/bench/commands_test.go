package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/all"
	"github.com/lifeboat-dr/lifeboat/internal/service"
	"github.com/lifeboat-dr/lifeboat/model"
)

// history is the number of finished runs that the commands find.
const history = 200

// shops is a configuration of two apps: one that is drilled again and again, and one whose drill never ends.
const shops = `version: 1
state: ./state
sites:
  east: {}
  west: {}
apps:
  shop:
    home: east
    recovery: [west]
    objective: {rto: 5m, rpo: 1m}
    resources:
      db:
        kind: fake.stateful
        sites: {east: {role: primary}, west: {role: standby}}
      web:
        kind: fake
        needs: [db]
        sites: {east: {role: primary}, west: {role: standby}}
  stuck:
    home: east
    recovery: [west]
    resources:
      db2:
        kind: fake.stateful
        settings: {steps: {drill: {hang: true}}}
        sites: {east: {role: primary}, west: {role: standby}}
`

// BenchmarkCommand takes the time from the start of a command that only reads to its end, in a folder that holds 200
// finished runs and one that is not over. Nobody hosts the journal: each command starts it if it needs it. The named
// peer is `lifeboat version`, which reads nothing.
func BenchmarkCommand(b *testing.B) {
	folder := b.TempDir()
	lifeboat := filepath.Join(folder, "lifeboat")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", lifeboat, "../../cmd/lifeboat").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	config := filepath.Join(folder, "lifeboat.yaml")
	if err := os.WriteFile(config, []byte(shops), 0o600); err != nil {
		b.Fatal(err)
	}
	finished, active, err := makeHistory(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name string
		args []string
	}{
		{"version", []string{"version"}},
		{"validate", []string{"validate"}},
		{"status", []string{"status", "shop"}},
		{"plan", []string{"plan", "failover", "shop", "--planned"}},
		{"run-list", []string{"run", "list", "-n", "0"}},
		{"run-show-finished", []string{"run", "show", string(finished)}},
		{"run-show-active", []string{"run", "show", string(active)}},
		{"report", []string{"report", string(finished), "-o", "json"}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				cmd := exec.CommandContext(b.Context(), lifeboat, append([]string{"-c", config}, bench.args...)...)
				out, err := cmd.CombinedOutput()
				took = append(took, time.Since(began))
				if err != nil {
					b.Fatalf("%v: %v\n%s", bench.args, err, out)
				}
			}
			slices.Sort(took)
			b.ReportMetric(ms(took[len(took)/2]), "median-ms")
			b.ReportMetric(ms(took[len(took)-1]), "slowest-ms")
		})
	}
}

// makeHistory carries out the runs that the commands shall find, and returns the last that is over and the one that is
// not.
func makeHistory(ctx context.Context, config string) (finished, active model.RunID, err error) {
	log := slog.New(slog.DiscardHandler)
	s, err := service.Open(ctx, service.Options{Config: config, Drivers: all.Registry(log), Log: log})
	if err != nil {
		return "", "", err
	}
	defer s.Close()
	drill := func(app model.AppID) (*api.RunView, error) {
		return s.Start(ctx, api.StartRequest{By: "bench", PlanRequest: api.PlanRequest{App: app, Operation: model.OpDrill}})
	}
	for n := range history {
		run, err := drill("shop")
		if err != nil {
			return "", "", fmt.Errorf("drill %d: %w", n, err)
		}
		finished = run.ID
		for run, err = range s.Watch(ctx, finished) {
			if err != nil {
				return "", "", fmt.Errorf("drill %d: %w", n, err)
			}
		}
		if run.Outcome != api.Succeeded {
			return "", "", fmt.Errorf("drill %d ended %q", n, run.Outcome)
		}
	}
	run, err := drill("stuck")
	if err != nil {
		return "", "", err
	}
	return finished, run.ID, nil
}
