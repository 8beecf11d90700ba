package pglog_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/pglog"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestResticChecksWhileTheLogStreams lets restic read everything in the vault while orders are placed and folded.
func TestResticChecksWhileTheLogStreams(t *testing.T) {
	if !long() {
		t.Log("it takes half a minute: set LIFEBOAT_LONG=1")
		return
	}
	if _, err := exec.LookPath("restic"); err != nil {
		t.Fatal("restic is not installed: ./test/servers/install.sh restic")
	}
	r := newRig(t)
	r.c.FoldEvery = model.Duration(time.Second)
	r.start()
	r.streaming()
	r.base(pgtest.East)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	orders := 0
	var placed sync.WaitGroup
	placed.Go(func() {
		for ctx.Err() == nil {
			r.order(pgtest.East, orders+1, orders+20)
			orders += 20
		}
	})
	before := r.state().Folds
	// Restic wants the vault for itself and does not wait: it is asked again until nobody is at work for a moment.
	for end := time.Now().Add(patience); ; {
		cmd := exec.Command("restic", "-r", r.c.Vault.URL, "--no-cache", "check", "--read-data")
		cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+password)
		out, err := cmd.CombinedOutput()
		if err == nil {
			if !strings.Contains(string(out), "no errors were found") {
				t.Errorf("restic says:\n%s", out)
			}
			break
		}
		if !strings.Contains(string(out), "locked") || time.Now().After(end) {
			t.Fatalf("restic: %v\n%s", err, out)
		}
	}
	r.await("folding on", func(s pglog.State) bool { return s.Folds > before })
	cancel()
	placed.Wait()
	r.folded(pgtest.East)
	r.whole(orders)
}
