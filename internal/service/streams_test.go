package service

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/model"
)

const streamedShop = `version: 1
sites: {east: {}, west: {}}
vaults:
  main: {url: /nowhere, password: env:NOT_SET}
apps:
  shop:
    home: east
    recovery: [west]
    resources:
      db:
        kind: fake.stateful
        vault: main
        settings: {stream: true}
        sites: {east: {role: primary}, west: {role: standby, lag_time: 2s, lag_bytes: 7}}
`

// held is a fake whose streams at one site are held by a run until somebody says that it is over.
type held struct {
	*fake.Driver
	mu   sync.Mutex
	by   model.RunID
	over []model.RunID

	stopped []model.SiteID
}

func (h *held) StopStream(ctx context.Context, t driver.Target) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = append(h.stopped, t.Site)
	return h.Driver.StopStream(ctx, t)
}

func (h *held) Stream(ctx context.Context, req driver.StreamRequest) (model.Stream, error) {
	st, err := h.Driver.Stream(ctx, req)
	h.mu.Lock()
	defer h.mu.Unlock()
	if req.Over != "" {
		h.over = append(h.over, req.Over)
		h.by = ""
	}
	if h.by != "" && req.Site == "west" {
		st.State, st.Held = model.StreamHeld, h.by
	}
	return st, err
}

// TestStreamsAreKept holds that a round keeps streams alive, makes the point that one needs at once although there is no
// schedule, and once; that status tells of them; and that one which a run holds goes on when that run is over, not before.
func TestStreamsAreKept(t *testing.T) {
	l := newLab(t, "{}")
	if err := os.WriteFile(l.path, []byte(streamedShop), 0o600); err != nil {
		t.Fatal(err)
	}
	h := &held{Driver: fake.New(l.world, fake.Stateful())}
	s, err := Open(t.Context(), Options{Config: l.path, Drivers: driver.NewRegistry(h),
		Journal: func(context.Context) (journal.Store, error) { return l.db.Open(), nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })

	first := l.once(s)
	if len(first.Points) != 2 || !strings.Contains(first.Points[0].Why, "no recovery point was made yet") || first.Points[1].Outcome != api.Succeeded {
		t.Errorf("points: got %+v", first.Points)
	}
	var states []string
	for _, st := range first.Streams {
		states = append(states, string(st.Site)+" "+string(st.State))
	}
	if got := strings.Join(states, ", "); got != "east stopped, west streaming" {
		t.Errorf("streams: got %s", got)
	}
	if again := l.once(s); len(again.Points) != 0 || len(again.Errors) != 0 {
		t.Errorf("a second round: points %+v, errors %v", again.Points, again.Errors)
	}
	status, err := s.Status(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	if len(status.Streams) != 2 || status.Streams[1].LagBytes == nil || *status.Streams[1].LagBytes != 7 || status.Streams[1].NeedsPoint != "" {
		t.Errorf("status: got %+v", status.Streams)
	}

	h.by = "01ARZ3NDEKTSV4RRFFQ69G5FAV" // a run that nobody here knows
	if got := l.once(s).Streams[1]; got.State != model.StreamHeld || len(h.over) != 0 {
		t.Errorf("held by a run that is not known: %+v, told to be over: %v", got, h.over)
	}
	ended := first.Points[0].Run
	h.by = ended
	if got := l.once(s).Streams[1]; got.State != model.StreamFlowing || len(h.over) != 1 || h.over[0] != ended {
		t.Errorf("held by a run that is over: %+v, told to be over: %v", got, h.over)
	}

	for round, err := range s.Protect(t.Context(), api.ProtectRequest{App: "shop", Stop: true}) {
		if err != nil || len(round.Streams) != 2 || len(round.Errors) != 0 || len(h.stopped) != 2 {
			t.Errorf("stop: %+v, %v; stopped: %v", round, err, h.stopped)
		}
	}
}
