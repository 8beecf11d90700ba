package vaultjob

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Tags that every snapshot of a resource has.
const (
	tagApp      = "lifeboat:app="
	tagResource = "lifeboat:resource="
	tagSite     = "lifeboat:site="
)

// Whose are the points of a resource.
type Whose struct {
	App      model.AppID      `json:"app"`
	Resource model.ResourceID `json:"resource"`
}

// Tags are those of a snapshot of the resource that was made at a site, and more.
func (w Whose) Tags(site model.SiteID, more ...string) []string {
	return append([]string{tagApp + string(w.App), tagResource + string(w.Resource), tagSite + string(site)}, more...)
}

// Filter finds all snapshots of the resource.
func (w Whose) Filter() snapshot.Filter {
	return snapshot.Filter{Tags: [][]string{{tagApp + string(w.App), tagResource + string(w.Resource)}}}
}

// SiteOf is the site that a snapshot was made at; "": it says none.
func SiteOf(s *snapshot.Snapshot) model.SiteID {
	i := slices.IndexFunc(s.Tags, func(t string) bool { return strings.HasPrefix(t, tagSite) })
	if i < 0 {
		return ""
	}
	return model.SiteID(strings.TrimPrefix(s.Tags[i], tagSite))
}

// InStep is what ReplicaLag says of a replica that has all points.
const InStep = "in step"

// ReplicaLag says in words how far a replica's snapshots of a resource are behind.
func ReplicaLag(ctx context.Context, v *vault.Vault, r vault.Replica, w Whose) string {
	dst, err := r.Open(ctx)
	if err != nil {
		return "cannot be opened: " + err.Error()
	}
	lag, err := v.Lag(ctx, dst, w.Filter())
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

// NameOf is a vault's name, or its URL when it has none.
func NameOf(v model.Vault) string {
	if v.Name != "" {
		return v.Name
	}
	return location.Redact(v.URL)
}

// LockPatience is how long a job waits for somebody who has the vault to themselves: a prune, say.
const LockPatience = 30 * time.Minute

// Open opens a vault to write to it; the caller calls done.
func (j *Job) Open(ctx context.Context, m model.Vault) (v *vault.Vault, done func(), err error) {
	return j.open(ctx, m, location.Open)
}

// OpenAny opens it to bring something back: a replica does, when the vault is gone.
func (j *Job) OpenAny(ctx context.Context, m model.Vault) (v *vault.Vault, done func(), err error) {
	return j.open(ctx, m, location.OpenAny)
}

func (j *Job) open(ctx context.Context, m model.Vault,
	open func(context.Context, model.Vault, location.Options) (*vault.Vault, io.Closer, error)) (*vault.Vault, func(), error) {
	j.Phase("opening the vault")
	v, closer, err := open(ctx, m, location.Options{Log: j.Log, Vault: vault.Options{Log: j.Log, RetryLock: LockPatience}})
	if err != nil {
		return nil, nil, err
	}
	return v, func() {
		if err := closer.Close(); err != nil {
			j.Log.Warn("the vault was not closed well", "error", err)
		}
	}, nil
}

// NoPoint is the error of a resource that has nothing in a vault to bring back.
func NoPoint(v *vault.Vault, w Whose) error {
	return failure.New(failure.NotFound, "find a recovery point of", string(w.Resource), "there is none in %s", v.Location()).
		WithHint("lifeboat protect %s --now", w.App)
}
