// Package postgres makes a PostgreSQL database recoverable: a primary at one site, a streaming standby at another.
//
// The driver describes both copies, fences the old primary, quiesces and switches over without losing a row, promotes
// the standby, brings the old copy back as a standby (by following, by pg_rewind, else by a new base backup), runs
// drills on an isolated copy, and writes and reads markers. It speaks SQL to the servers and reaches their hosts through
// internal/hostexec. It does not set up the first standby, does not decide when to fail over, and keeps no state: all it
// knows it asks of the servers and of the folders on their hosts.
//
// What it relies on in PostgreSQL 13 to 18 is written next to where it is used; what users must know is in
// docs/drivers/postgres.md. Start with [New].
package postgres

import (
	"context"
	"log/slog"
	"maps"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Kind is what resources of this driver are called in lifeboat.yaml.
const Kind model.Kind = "postgres"

// handleVersion is the version of the handles that this build writes.
const handleVersion = 1

// Driver is the postgres driver. It holds no state between calls but vaults that were opened a moment ago, and is safe for concurrent use.
type Driver struct {
	log    *slog.Logger
	now    func() time.Time
	open   location.Options
	vaults vaultjob.Vaults // opened a moment ago
}

// New makes the driver. A nil log discards.
func New(log *slog.Logger) *Driver {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Driver{log: log, now: time.Now, open: location.Options{Log: log}}
}

// Facts describes the driver.
func (d *Driver) Facts() driver.Facts {
	server := map[string]model.ValueType{
		"endpoint": model.TypeEndpoint, "host": model.TypeText, "port": model.TypeNumber,
		"lsn": model.TypeLSN, "timeline": model.TypeNumber,
	}
	drilled := maps.Clone(server)
	drilled["point"] = model.TypeText
	return driver.Facts{
		Kind:     Kind,
		Summary:  "a PostgreSQL primary with a streaming standby at another site, with points and log in a vault, or both",
		Settings: &Settings{},
		Site:     &SiteSettings{},
		Stateful: true,
		Vault:    driver.VaultOptional,
		Outputs: map[model.Action]map[string]model.ValueType{
			model.ActionPromote:    server,
			model.ActionDrill:      drilled,
			model.ActionReverse:    {"endpoint": model.TypeEndpoint, "host": model.TypeText, "port": model.TypeNumber},
			model.ActionQuiesce:    {"lsn": model.TypeLSN},
			model.ActionReadMarker: {"marker_at": model.TypeTime, "marker_seq": model.TypeNumber},
			model.ActionCapture:    {"point": model.TypeText, "at": model.TypeTime},
			model.ActionRestore:    {"path": model.TypeText, "lsn": model.TypeLSN, "timeline": model.TypeNumber},
		},
		Verbs: map[model.Action]string{
			model.ActionReverse: "make a standby of",
			model.ActionQuiesce: "shut down in order",
			model.ActionCopy:    "copy to the replicas:",
			model.ActionExpire:  "remove what need not be kept of",
		},
		Effects: map[model.Action]string{
			model.ActionFence:   "stops the old server and writes standby.signal, so that it cannot come back as a primary",
			model.ActionQuiesce: "shuts the primary down in order once its standby has everything, and leaves it as a standby",
			model.ActionPromote: "promotes the standby to a primary on a new timeline",
			model.ActionReverse: "makes the copy follow the other site's primary: as it is, by pg_rewind, or by a new base " +
				"backup; what it had that the primary does not have is discarded (rewind) or moved aside (base backup)",
			model.ActionDrill:   "copies the standby into the drill folder and starts the copy, cut off from replication",
			model.ActionRelease: "stops the drill's server and deletes its folder",
			model.ActionCapture: "reads the data folder and adds a recovery point to the vault",
			model.ActionCopy:    "brings the vault's replicas in step",
			model.ActionRestore: "writes a recovery point and its log into a folder",
			model.ActionProve:   "restores the point into the drill folder, checks it there, and writes the outcome into the vault",
			model.ActionExpire:  "removes recovery points that the policy does not keep, and the data that only they need",
		},
		Destructive: []model.Action{model.ActionReverse},
		Timeouts: map[model.Action]time.Duration{
			model.ActionFence:      2 * time.Minute,
			model.ActionQuiesce:    5 * time.Minute,
			model.ActionPromote:    5 * time.Minute,
			model.ActionReverse:    12 * time.Hour,
			model.ActionDrill:      4 * time.Hour,
			model.ActionRelease:    30 * time.Minute,
			model.ActionReadMarker: 30 * time.Second,
			model.ActionCapture:    24 * time.Hour,
			model.ActionCopy:       24 * time.Hour,
			model.ActionExpire:     6 * time.Hour,
			model.ActionRestore:    24 * time.Hour,
			model.ActionProve:      24 * time.Hour,
		},
	}
}

// Observe watches what a begin of req.Action has begun.
func (d *Driver) Observe(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	if h.Version != handleVersion {
		return driver.Observation{}, failure.New(failure.Unsupported, "observe", string(req.Resource.ID),
			"a handle of version %d is not known to this build", h.Version).WithHint("use the release that began the run")
	}
	switch req.Action {
	case model.ActionFence:
		return d.observeFence(ctx, req, h)
	case model.ActionQuiesce:
		return d.observeQuiesce(ctx, req, h)
	case model.ActionPromote:
		return d.observePromote(ctx, req, h)
	case model.ActionReverse:
		return d.observeReverse(ctx, req, h)
	case model.ActionDrill:
		return d.observeDrill(ctx, req, h)
	case model.ActionRelease:
		return d.observeRelease(ctx, req, h)
	case model.ActionReadMarker:
		return d.observeMarker(ctx, req, h)
	case model.ActionCapture, model.ActionCopy, model.ActionExpire, model.ActionRestore:
		return d.observeJob(ctx, req, h)
	case model.ActionProve:
		return d.observeProof(ctx, req, h)
	}
	return driver.Observation{}, failure.New(failure.Unsupported, "observe", string(req.Resource.ID),
		"%s is nothing that this driver begins", req.Action)
}

// Cancel stops a rebuild or the making of a drill copy that still goes on. The other actions are over within moments,
// or cannot be taken back half way; cancelling them does nothing.
func (d *Driver) Cancel(ctx context.Context, req driver.Request, h driver.Handle) error {
	var dir string
	switch req.Action {
	case model.ActionCapture, model.ActionCopy, model.ActionExpire, model.ActionRestore, model.ActionProve:
		v, err := driver.ReadHandle[jobHandle](handleVersion, h)
		if err != nil {
			return err
		}
		return failure.Wrap(v.Host.StopJob(ctx, v.Job), "cancel", string(req.Resource.ID))
	case model.ActionReverse:
		v, err := driver.ReadHandle[reverseHandle](handleVersion, h)
		if err != nil {
			return err
		}
		dir = v.Job
	case model.ActionDrill:
		v, err := driver.ReadHandle[drillHandle](handleVersion, h)
		if err != nil {
			return err
		}
		dir = v.Job
	}
	if dir == "" {
		return nil
	}
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return err
	}
	return s.host().StopJob(ctx, dir)
}

// failed is an observation of work that will not come to its end.
func failed(err error) (driver.Observation, error) {
	return driver.Observation{State: driver.Failed, Err: failure.From(err)}, nil
}

// pending is an observation of work that goes on; phase is for people.
func pending(again time.Duration, phase string) (driver.Observation, error) {
	return driver.Observation{State: driver.Pending, Again: again, Phase: phase}, nil
}

var (
	_ driver.Driver       = (*Driver)(nil)
	_ driver.Fencer       = (*Driver)(nil)
	_ driver.Quiescer     = (*Driver)(nil)
	_ driver.Promoter     = (*Driver)(nil)
	_ driver.Reverser     = (*Driver)(nil)
	_ driver.Driller      = (*Driver)(nil)
	_ driver.Releaser     = (*Driver)(nil)
	_ driver.MarkerReader = (*Driver)(nil)
	_ driver.MarkerWriter = (*Driver)(nil)
	_ driver.Lister       = (*Driver)(nil)
	_ driver.Canceler     = (*Driver)(nil)

	_ driver.Capturer          = (*Driver)(nil)
	_ driver.Copier            = (*Driver)(nil)
	_ driver.Expirer           = (*Driver)(nil)
	_ driver.Ranger            = (*Driver)(nil)
	_ driver.Restorer          = (*Driver)(nil)
	_ driver.Streamer          = (*Driver)(nil)
	_ driver.Prover            = (*Driver)(nil)
	_ driver.ResourceValidator = (*Driver)(nil)
	_ driver.ActionDescriber   = (*Driver)(nil)
)
