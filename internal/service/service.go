// Package service answers [api.Service] in this process: it joins the configuration, the drivers, the plan, the engine,
// the journal and the archive.
//
// It opens the journal when a call first needs it, looks at the world with a deadline on every question, and drives in
// the background the runs that it was asked to. What it measures (markers, probes) it keeps in the journal, beside the
// runs that need it.
//
// Start with [Open]; planning is in plan.go, runs in runs.go, measuring in protect.go, probe.go and measure.go.
package service

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/config"
	"github.com/lifeboat-dr/lifeboat/internal/engine"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/journal/archive"
	"github.com/lifeboat-dr/lifeboat/internal/journal/etcd"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// Options say which Lifeboat to open.
type Options struct {
	Config string // path of lifeboat.yaml
	// Loaded is a configuration that was read already, and changed perhaps. Config is not read then.
	Loaded  *model.Config
	State   string // a state folder in place of the configured one
	Drivers *driver.Registry
	// Payloads resolves StatePayload documents; nil where this build has no drivers of AWS.
	Payloads Payloads
	Log      *slog.Logger
	// Journal replaces the configured journal. For tests and rehearsals.
	Journal func(ctx context.Context) (journal.Store, error)
	// Archive replaces the one in the state folder. For tests and rehearsals.
	Archive journal.Archive
	// Failpoint is the engine's. For tests.
	Failpoint func(ctx context.Context, point string) error
}

// Service implements [api.Service]. It is safe for concurrent use.
type Service struct {
	opts    Options
	cfg     *model.Config
	log     *slog.Logger
	archive journal.Archive

	mu     sync.Mutex // guards what is opened on demand
	store  journal.Store
	engine *engine.Engine
	closed bool

	shown   *api.PlanReply // the last plan that was made
	shownAt time.Time

	driving context.Context // ends with Close
	stop    context.CancelFunc
	group   sync.WaitGroup
	driven  map[model.RunID]bool  // runs that this process drives
	given   map[model.RunID]error // why it no longer drives a run that it was asked to drive
}

var _ api.Service = (*Service)(nil)

// Open reads the configuration and makes the service. Nothing is created or asked yet.
func Open(ctx context.Context, opts Options) (*Service, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	cfg, err := opts.Loaded, error(nil)
	if cfg == nil {
		if cfg, err = config.Load(opts.Config, opts.Drivers); err != nil {
			return nil, err
		}
	}
	if opts.State != "" {
		if cfg.State, err = filepath.Abs(opts.State); err != nil {
			return nil, failure.WrapAs(failure.Invalid, err, "find state folder", opts.State)
		}
	}
	s := &Service{opts: opts, cfg: cfg, log: opts.Log, driven: map[model.RunID]bool{}, given: map[model.RunID]error{}}
	if s.archive = opts.Archive; s.archive == nil {
		s.archive = archive.New(filepath.Join(cfg.State, "runs"))
	}
	s.driving, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	return s, nil
}

// Close stops driving and gives the journal up. Runs stay as they are.
func (s *Service) Close() error {
	s.stop()
	s.group.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.store == nil {
		return nil
	}
	err := s.store.Close()
	s.store, s.engine = nil, nil
	return err
}

// open gives the journal and the engine, opening them the first time.
func (s *Service) open(ctx context.Context) (*engine.Engine, journal.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, failure.New(failure.Unavailable, "open journal", s.cfg.State, "the service is closed")
	}
	if s.store == nil {
		store, err := s.openJournal(ctx)
		if err != nil {
			return nil, nil, err
		}
		s.store = store
		s.engine = engine.New(engine.Options{
			Store: store, Drivers: s.opts.Drivers, Log: s.log, Archive: s.retire, Companion: s.probeRun, Failpoint: s.opts.Failpoint,
		})
	}
	return s.engine, s.store, nil
}

func (s *Service) openJournal(ctx context.Context) (journal.Store, error) {
	if s.opts.Journal != nil {
		return s.opts.Journal(ctx)
	}
	if err := os.MkdirAll(s.cfg.State, 0o700); err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "make state folder", s.cfg.State).
			WithHint("choose another with `state:` in lifeboat.yaml, or --state")
	}
	j := s.cfg.Journal
	if len(j.Endpoints) == 0 {
		return etcd.OpenFolder(ctx, s.cfg.State, etcd.FolderOptions{Logger: s.log})
	}
	password, err := secret.Ref(j.Password).Resolve(ctx)
	if err != nil {
		return nil, failure.Wrap(err, "open journal", "password")
	}
	return etcd.Open(ctx, etcd.Config{
		Endpoints: j.Endpoints, Prefix: j.Prefix, CA: j.CA, Cert: j.Cert, Key: j.Key,
		Username: j.Username, Password: password, Logger: s.log,
	})
}

// hasJournal says whether there is anything in the journal to read: a command that only reads does not make one.
func (s *Service) hasJournal() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store != nil || s.opts.Journal != nil || len(s.cfg.Journal.Endpoints) > 0 || etcd.Exists(s.cfg.State)
}

// app finds an app by its id.
func (s *Service) app(id model.AppID) (model.App, error) {
	if id == "" && len(s.cfg.Apps) == 1 {
		return s.cfg.Apps[0], nil
	}
	app, ok := s.cfg.App(id)
	if !ok {
		names := make([]string, len(s.cfg.Apps))
		for i, a := range s.cfg.Apps {
			names[i] = string(a.ID)
		}
		return app, failure.New(failure.NotFound, "find app", string(id), "lifeboat.yaml has no app of this name").WithHint("apps: %v", names)
	}
	return app, nil
}

// drive drives a run in the background until it is over or the service closes.
func (s *Service) drive(e *engine.Engine, run model.RunID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.driven[run] {
		return
	}
	s.driven[run] = true
	delete(s.given, run)
	s.group.Go(func() {
		err := e.Drive(s.driving, run)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.driven, run)
		if err != nil && s.driving.Err() == nil {
			s.log.Error("run left undriven", "run", run, "err", err)
			s.given[run] = err
		}
	})
}

// drives says whether this process drives a run or stands by for it.
func (s *Service) drives(run model.RunID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.driven[run]
}

// gaveUp says why this process no longer drives a run that it was asked to drive.
func (s *Service) gaveUp(run model.RunID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.given[run]
}
