package fake

import (
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/model"
)

// World is what fake drivers act on. Several drivers may share one: each stands for another process or another kind.
// The zero World is not ready; use [NewWorld] or [OpenWorld]. Methods are safe for concurrent use.
//
// The query methods panic when a ledger on disk cannot be read: they are for tests.
type World struct {
	// Hook, when set, is called at each [Point] that a driver passes; what it returns, the call returns. Returning an
	// error at a "before" point stops the call before it did anything, at an "after" point it hides the answer of a
	// call whose effect has landed. It may block or end the goroutine, which is how a test kills a runner. Set it
	// before the world is used.
	Hook func(Point) error
	// Now is the world's clock. Nil: time.Now, which also follows the clock of a testing/synctest bubble.
	Now func() time.Time

	ledger Ledger
	mu     sync.Mutex
	files  map[string]Ledger // open ledgers of resources that name a folder
}

// Point is where a driver's call stands.
type Point struct {
	Phase   string // one of the phases below
	Step    model.StepID
	Action  model.Action
	Attempt int
	Token   string
}

// The phases of a Point.
const (
	BeforeCheck   = "check:before"
	AfterCheck    = "check:after"
	BeforeBegin   = "begin:before"
	AfterBegin    = "begin:after"
	BeforeObserve = "observe:before"
	AfterObserve  = "observe:after"
	BeforeCancel  = "cancel:before"
	AfterCancel   = "cancel:after"
)

// NewWorld makes a world in memory.
func NewWorld() *World { return NewWorldOn(&memory{state: NewState()}) }

// NewWorldOn makes a world on a ledger of the caller's own.
func NewWorldOn(l Ledger) *World { return &World{ledger: l, files: map[string]Ledger{}} }

// OpenWorld opens the world that a folder holds, as the setting "ledger" names it, or begins one there.
func OpenWorld(folder string) (*World, error) {
	l, err := openFile(folder)
	if err != nil {
		return nil, err
	}
	return NewWorldOn(l), nil
}

func (w *World) now() time.Time {
	if w.Now != nil {
		return w.Now()
	}
	return time.Now()
}

// ledgerOf finds the ledger of a resource: the folder that it names, or the world's own.
func (w *World) ledgerOf(s Settings) (Ledger, error) {
	if s.Ledger == "" {
		return w.ledger, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if l, ok := w.files[s.Ledger]; ok {
		return l, nil
	}
	l, err := openFile(s.Ledger)
	if err != nil {
		return nil, err
	}
	w.files[s.Ledger] = l
	return l, nil
}

// view calls f with the world's own ledger.
func (w *World) view(f func(*State)) {
	err := w.ledger.Do(func(s *State) ([]Entry, error) { f(s); return nil, nil })
	if err != nil {
		panic("fake: " + err.Error())
	}
}

func (w *World) write(e Entry) {
	e.At = w.now()
	if err := w.ledger.Do(func(*State) ([]Entry, error) { return []Entry{e}, nil }); err != nil {
		panic("fake: " + err.Error())
	}
}

// Calls lists every call of a begin, in order.
func (w *World) Calls() (calls []Call) {
	w.view(func(s *State) { calls = append(calls, s.Calls...) })
	return calls
}

// Effects lists what landed, in order: at most one for each token.
func (w *World) Effects() []Effect { return w.effects(func(*Effect) bool { return true }) }

// EffectsOf lists what the attempts of one step made land, in order.
func (w *World) EffectsOf(step model.StepID) []Effect {
	return w.effects(func(e *Effect) bool { return e.Step == step })
}

// Effect finds what landed under one token.
func (w *World) Effect(token string) (Effect, bool) {
	found := w.effects(func(e *Effect) bool { return e.Token == token })
	if len(found) == 0 {
		return Effect{}, false
	}
	return found[0], true
}

// Left lists what drills and proofs made and nothing has released.
func (w *World) Left() []Effect {
	return w.effects(func(e *Effect) bool {
		return (e.Action == model.ActionDrill || e.Action == model.ActionProve) && e.Released.IsZero()
	})
}

func (w *World) effects(want func(*Effect) bool) (found []Effect) {
	w.view(func(s *State) {
		for _, e := range s.Effects {
			if want(e) {
				found = append(found, *e)
			}
		}
	})
	return found
}

// Role is what the steps that are over by now, or [World.SetRole], made of a resource at a site; "" when nothing did.
func (w *World) Role(app model.AppID, resource model.ResourceID, site model.SiteID) (role model.Role) {
	now := w.now()
	w.view(func(s *State) { role = s.role(place{app, resource, site}, now) })
	return role
}

// SetRole makes a resource something else at a site, as if somebody had done it by hand.
func (w *World) SetRole(app model.AppID, resource model.ResourceID, site model.SiteID, role model.Role) {
	w.write(Entry{Site: &SiteEntry{Site: site, App: app, Resource: resource, Role: role}})
}

// Down makes a site unreachable: its resources are described as such, and nothing can be begun or observed there.
func (w *World) Down(site model.SiteID) { w.write(Entry{Site: &SiteEntry{Site: site, Down: true}}) }

// Up brings a site back.
func (w *World) Up(site model.SiteID) { w.write(Entry{Site: &SiteEntry{Site: site}}) }

// becomes is the role that an action leads to.
var becomes = map[model.Action]model.Role{
	model.ActionFence:   model.RoleFenced,
	model.ActionQuiesce: model.RoleStopped,
	model.ActionPromote: model.RolePrimary,
	model.ActionReverse: model.RoleStandby,
	model.ActionRestore: model.RoleStopped,
}

// role folds what is over by now into the role of a place; "" when nothing happened there.
func (s *State) role(p place, now time.Time) model.Role {
	role, since := s.roles[p].role, s.roles[p].at
	for _, e := range s.at[p] {
		next, changes := becomes[e.Action]
		if changes && !e.Apart && e.succeeded(now) && !e.EndsAt.Before(since) {
			role, since = next, e.EndsAt
		}
	}
	return role
}

func (e *Effect) over(now time.Time) bool {
	return !e.Canceled.IsZero() || !e.EndsAt.IsZero() && !now.Before(e.EndsAt)
}

func (e *Effect) succeeded(now time.Time) bool {
	return e.over(now) && e.Canceled.IsZero() && e.Err == nil
}
