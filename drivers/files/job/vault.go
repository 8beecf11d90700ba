package job

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Tags of points. Every point of a resource has the first three.
const (
	tagApp      = "lifeboat:app="
	tagResource = "lifeboat:resource="
	tagSite     = "lifeboat:site="
	// tagLeft is on what an old copy had when it was written over: it is kept like a point, and no recovery uses it.
	tagLeft = "lifeboat:left-behind"
)

// lockPatience is how long a job waits for somebody who has the vault to themselves: a prune, say.
const lockPatience = 30 * time.Minute

// Points lists the points of a resource, oldest first; with left also what old copies had.
func Points(ctx context.Context, v *vault.Vault, app model.AppID, resource model.ResourceID, left bool) ([]*snapshot.Snapshot, error) {
	all, err := v.Snapshots(ctx, ofResource(app, resource))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(s *snapshot.Snapshot) bool { return !left && slices.Contains(s.Tags, tagLeft) }), nil
}

// InStep is what ReplicaLag says of a replica that has all points.
const InStep = "in step"

// ReplicaLag says in words how far a replica's points of a resource are behind.
func ReplicaLag(ctx context.Context, v *vault.Vault, r vault.Replica, app model.AppID, resource model.ResourceID) string {
	dst, err := r.Open(ctx)
	if err != nil {
		return "cannot be opened: " + err.Error()
	}
	lag, err := v.Lag(ctx, dst, ofResource(app, resource))
	switch {
	case err != nil:
		return "cannot be compared: " + err.Error()
	case len(lag.Missing) == 0:
		return InStep
	case lag.Newest.IsZero():
		return fmt.Sprintf("has none of %d points", len(lag.Missing))
	}
	return fmt.Sprintf("%d points behind, %s", len(lag.Missing), units.Duration(lag.Behind.Round(time.Second)))
}

func ofResource(app model.AppID, resource model.ResourceID) snapshot.Filter {
	return snapshot.Filter{Tags: [][]string{{tagApp + string(app), tagResource + string(resource)}}}
}

// SiteOf is the site that a point was captured at.
func SiteOf(s *snapshot.Snapshot) model.SiteID {
	for _, t := range s.Tags {
		if len(t) > len(tagSite) && t[:len(tagSite)] == tagSite {
			return model.SiteID(t[len(tagSite):])
		}
	}
	return ""
}

func (w *worker) tags(more ...string) []string {
	return append([]string{tagApp + string(w.req.App), tagResource + string(w.req.Resource), tagSite + string(w.req.Site)}, more...)
}

// open opens the request's vault to write to it; the caller closes it.
func (w *worker) open(ctx context.Context) (*vault.Vault, func(), error) {
	return w.openBy(ctx, location.Open)
}

// openAny opens it to bring something back: a replica does, when the vault is gone.
func (w *worker) openAny(ctx context.Context) (*vault.Vault, func(), error) {
	return w.openBy(ctx, location.OpenAny)
}

func (w *worker) openBy(ctx context.Context, open func(context.Context, model.Vault, location.Options) (*vault.Vault, io.Closer, error)) (*vault.Vault, func(), error) {
	w.phase("opening the vault")
	v, closer, err := open(ctx, w.req.Vault, location.Options{Log: w.log, Vault: vault.Options{Log: w.log, RetryLock: lockPatience}})
	if err != nil {
		return nil, nil, err
	}
	return v, func() {
		if err := closer.Close(); err != nil {
			w.log.Warn("the vault was not closed well", "error", err)
		}
	}, nil
}

// openNewest opens the vault, or a replica of it, and finds the newest point there; the caller calls done.
func (w *worker) openNewest(ctx context.Context) (v *vault.Vault, point *snapshot.Snapshot, done func(), err error) {
	if v, done, err = w.openAny(ctx); err != nil {
		return nil, nil, nil, err
	}
	if point, err = w.newest(ctx, v); err != nil {
		done()
		return nil, nil, nil, err
	}
	return v, point, done, nil
}

// newest gives the newest point. NotFound: there is none.
func (w *worker) newest(ctx context.Context, v *vault.Vault) (*snapshot.Snapshot, error) {
	all, err := Points(ctx, v, w.req.App, w.req.Resource, false)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, failure.New(failure.NotFound, "find a recovery point of", string(w.req.Resource), "there is none in %s", v.Location()).
			WithHint("lifeboat protect %s --now", w.req.App)
	}
	return all[len(all)-1], nil
}

// logger is what a job writes to its log with.
type logger = *slog.Logger

func newLog(f *os.File) logger {
	return slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
