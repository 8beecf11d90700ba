// Package vaultservice answers the vault's part of the api in this process: it opens the vault that a request names,
// calls the engine in internal/vault, and turns what it gives into the api's plain data.
//
// It decides nothing about how a vault works, and talks to nobody: what is shown and asked is the command line's. Start
// with [New].
package vaultservice

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Options are what the service needs from outside.
type Options struct {
	Log *slog.Logger // nil: silent
	// Named gives the vault that lifeboat.yaml calls so; nil: there is no configuration.
	Named func(ctx context.Context, name string) (*model.Vault, error)
	Now   func() time.Time // nil: time.Now
	// Program is what points say that they were written by; empty: lifeboat.
	Program string
	// Stderr is told what programs say there whose output is backed up; nil: nobody is.
	Stderr io.Writer
	// Engine is how vaults are used, where a request does not say it; for tests, which make cheap passwords.
	Engine vault.Options
}

// Service answers [api.Vaults]. It holds nothing between two calls.
type Service struct{ opts Options }

var _ api.Vaults = (*Service)(nil)

// New makes the service.
func New(o Options) *Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{o}
}

// Named gives the vault that lifeboat.yaml calls so.
func (s *Service) Named(ctx context.Context, name string) (*model.Vault, error) {
	if s.opts.Named == nil {
		return nil, failure.New(failure.NotFound, "find the vault", name, "there is no configuration that names vaults")
	}
	return s.opts.Named(ctx, name)
}

// with opens the vault, calls f, and gives the vault up. An error of giving it up does not hide one of f.
func (s *Service) with(ctx context.Context, a api.VaultAccess, f func(v *vault.Vault) error) error {
	v, done, err := s.open(ctx, a)
	if err != nil {
		return err
	}
	return s.leave(ctx, v, done, f(v))
}

// reading is with for what only reads: when the vault is gone, a replica stands for it.
func (s *Service) reading(ctx context.Context, a api.VaultAccess, f func(v *vault.Vault) error) error {
	v, done, err := s.openRead(ctx, a)
	if err != nil {
		return err
	}
	return s.leave(ctx, v, done, f(v))
}

// leave gives the vault up after work that ended with err.
func (s *Service) leave(ctx context.Context, v *vault.Vault, done func() error, err error) error {
	if closeErr := done(); closeErr != nil {
		if err == nil {
			return failure.Wrap(closeErr, "leave the vault", v.Location())
		}
		s.opts.Log.WarnContext(ctx, "the vault's store was not left tidily", "vault", v.Location(), "error", closeErr)
	}
	return err
}

// locked is reading, under a shared lock: so that nobody deletes what is being read. NoLock leaves it out.
func (s *Service) locked(ctx context.Context, a api.VaultAccess, f func(ctx context.Context, v *vault.Vault) error) error {
	return s.reading(ctx, a, func(v *vault.Vault) error {
		if a.NoLock {
			return f(ctx, v)
		}
		held, lock, err := v.Lock(ctx, false)
		if err != nil {
			if kind := failure.KindOf(err); kind == failure.Denied || kind == failure.Unsupported {
				return failure.WrapAs(kind, err, "", "").
					WithHint("where nothing can be written, read with --no-lock while nobody prunes the vault")
			}
			return err
		}
		err = f(held, v)
		if held.Err() != nil && ctx.Err() == nil {
			err = errors.Join(context.Cause(held), err)
		}
		if lockErr := lock.Release(ctx); lockErr != nil {
			s.opts.Log.WarnContext(ctx, "a lock is left behind", "vault", v.Location(), "error", lockErr)
		}
		return err
	})
}

// filterOf is the api's filter as the engine has it.
func filterOf(f api.VaultPointFilter) snapshot.Filter {
	return snapshot.Filter{Hosts: f.Hosts, Paths: f.Paths, Tags: f.Tags}
}

// points gives the snapshots that are meant: those that are named, without repeats, or all that f matches, oldest first.
// With the second kind those that can be read are given also beside an error.
func points(ctx context.Context, v *vault.Vault, f api.VaultPointFilter, names []string) ([]*snapshot.Snapshot, error) {
	if len(names) == 0 {
		return v.Snapshots(ctx, filterOf(f))
	}
	var found []*snapshot.Snapshot
	for _, name := range names {
		sn, err := findPoint(ctx, v, name, f)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(found, func(o *snapshot.Snapshot) bool { return o.ID == sn.ID }) {
			found = append(found, sn)
		}
	}
	slices.SortStableFunc(found, func(a, b *snapshot.Snapshot) int { return a.Time.Compare(b.Time) })
	return found, nil
}

// findPoint is the vault's FindSnapshot, in the words of the command line.
func findPoint(ctx context.Context, v *vault.Vault, name string, f api.VaultPointFilter) (*snapshot.Snapshot, error) {
	sn, err := v.FindSnapshot(ctx, name, filterOf(f))
	if err == nil || failure.HintOf(err) != "" {
		return sn, err
	}
	switch failure.KindOf(err) {
	case failure.NotFound:
		what := "no point's id begins so"
		if name == "latest" {
			what = "no point matches"
		}
		return nil, failure.New(failure.NotFound, "find the point", name, "%s", what).WithHint("list them: lifeboat vault points")
	case failure.Invalid:
		return nil, failure.WrapAs(failure.Invalid, err, "find the point", name).WithHint("list them: lifeboat vault points")
	}
	return nil, err
}

// findRoot resolves "ID:folder" to the point and the tree of that folder, with the folder's path in the point.
func findRoot(ctx context.Context, v *vault.Vault, name string, f api.VaultPointFilter) (*snapshot.Snapshot, object.ID, string, error) {
	id, folder, _ := strings.Cut(name, ":")
	sn, err := findPoint(ctx, v, id, f)
	if err != nil {
		return nil, object.ID{}, "", err
	}
	folder = cleanPath(folder)
	if folder == "/" {
		return sn, *sn.Tree, folder, nil
	}
	n, err := v.Find(ctx, *sn.Tree, folder)
	if err != nil {
		return nil, object.ID{}, "", inPoint(err, sn)
	}
	if n.Subtree == nil {
		return nil, object.ID{}, "", failure.New(failure.Invalid, "find", folder, "it is no folder in point %s", sn.ID.Short()).
			WithHint("look what there is: lifeboat vault ls %s", sn.ID.Short())
	}
	return sn, *n.Subtree, folder, nil
}

// inPoint adds to a path that was not found where to look.
func inPoint(err error, sn *snapshot.Snapshot) error {
	if err == nil || failure.KindOf(err) != failure.NotFound || failure.HintOf(err) != "" {
		return err
	}
	return failure.WrapAs(failure.NotFound, err, "look into point", sn.ID.Short()).
		WithHint("look what there is: lifeboat vault ls %s", sn.ID.Short())
}

// pointOf is a snapshot as the api has it.
func pointOf(sn *snapshot.Snapshot) api.VaultPoint {
	p := api.VaultPoint{
		ID: sn.ID.String(), ShortID: sn.ID.Short(), Time: sn.Time, Paths: sn.Paths, Hostname: sn.Hostname, Username: sn.Username,
		UID: sn.UID, GID: sn.GID, Tags: sn.Tags, Excludes: sn.Excludes, ProgramVersion: sn.ProgramVersion, Summary: sn.Summary,
	}
	if sn.Tree != nil {
		p.Tree = sn.Tree.String()
	}
	if sn.Parent != nil {
		p.Parent = sn.Parent.String()
	}
	if sn.Original != nil {
		p.Original = sn.Original.String()
	}
	if p.Paths == nil {
		p.Paths = []string{}
	}
	return p
}
