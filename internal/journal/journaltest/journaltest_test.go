package journaltest

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/journal/memory"
)

// broken is a store with one fault: the method that is overridden by a field.
type broken struct {
	journal.Store
	get    func(context.Context, string) (journal.KV, bool, int64, error)
	list   func(context.Context, string, journal.ListOptions) ([]journal.KV, int64, error)
	commit func(context.Context, journal.Txn) (int64, bool, error)
	watch  func(context.Context, string, int64) <-chan []journal.Change
	grant  func(context.Context, time.Duration) (journal.Session, error)
	keep   func(context.Context, journal.Session) error
	revoke func(context.Context, journal.Session) error
	name   func() string
	close  func() error
}

func (b *broken) Get(ctx context.Context, key string) (journal.KV, bool, int64, error) {
	if b.get != nil {
		return b.get(ctx, key)
	}
	return b.Store.Get(ctx, key)
}

func (b *broken) List(ctx context.Context, prefix string, opt journal.ListOptions) ([]journal.KV, int64, error) {
	if b.list != nil {
		return b.list(ctx, prefix, opt)
	}
	return b.Store.List(ctx, prefix, opt)
}

func (b *broken) Commit(ctx context.Context, txn journal.Txn) (int64, bool, error) {
	if b.commit != nil {
		return b.commit(ctx, txn)
	}
	return b.Store.Commit(ctx, txn)
}

func (b *broken) Watch(ctx context.Context, prefix string, after int64) <-chan []journal.Change {
	if b.watch != nil {
		return b.watch(ctx, prefix, after)
	}
	return b.Store.Watch(ctx, prefix, after)
}

func (b *broken) Grant(ctx context.Context, ttl time.Duration) (journal.Session, error) {
	if b.grant != nil {
		return b.grant(ctx, ttl)
	}
	return b.Store.Grant(ctx, ttl)
}

func (b *broken) KeepAlive(ctx context.Context, s journal.Session) error {
	if b.keep != nil {
		return b.keep(ctx, s)
	}
	return b.Store.KeepAlive(ctx, s)
}

func (b *broken) Revoke(ctx context.Context, s journal.Session) error {
	if b.revoke != nil {
		return b.revoke(ctx, s)
	}
	return b.Store.Revoke(ctx, s)
}

func (b *broken) Incarnation() string {
	if b.name != nil {
		return b.name()
	}
	return b.Store.Incarnation()
}

func (b *broken) Close() error {
	if b.close != nil {
		return b.close()
	}
	return b.Store.Close()
}

// relay passes a watch's groups through fn, which gives the groups to send instead.
func relay(in <-chan []journal.Change, ctx context.Context, fn func([]journal.Change) [][]journal.Change) <-chan []journal.Change {
	out := make(chan []journal.Change)
	go func() {
		defer close(out)
		for group := range in {
			for _, g := range fn(group) {
				select {
				case out <- g:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out
}

// faults are the deliberately broken stores. catches names the checks of which at least one must fail.
var faults = []struct {
	name    string
	breakIt func(b *broken, good journal.Store)
	catches []string
}{
	{"commit without the compare", func(b *broken, good journal.Store) {
		b.commit = func(ctx context.Context, txn journal.Txn) (int64, bool, error) {
			return good.Commit(ctx, journal.Txn{Then: txn.Then})
		}
	}, []string{"compares", "a transaction is written whole", "concurrent use is linearizable", "connections share one store"}},
	{"compare of the first condition only", func(b *broken, good journal.Store) {
		b.commit = func(ctx context.Context, txn journal.Txn) (int64, bool, error) {
			if len(txn.If) > 1 {
				txn.If = txn.If[:1]
			}
			return good.Commit(ctx, txn)
		}
	}, []string{"compares"}},
	{"compare and write in two steps", func(b *broken, good journal.Store) {
		b.commit = func(ctx context.Context, txn journal.Txn) (int64, bool, error) {
			rev, ok, err := good.Commit(ctx, journal.Txn{If: txn.If})
			if err != nil || !ok {
				return rev, ok, err
			}
			runtime.Gosched()
			return good.Commit(ctx, journal.Txn{Then: txn.Then})
		}
	}, []string{"concurrent use is linearizable", "connections share one store"}},
	{"one revision a write", func(b *broken, good journal.Store) {
		b.commit = func(ctx context.Context, txn journal.Txn) (rev int64, ok bool, err error) {
			if err := txn.Validate(); err != nil {
				return 0, false, err
			}
			rev, ok, err = good.Commit(ctx, journal.Txn{If: txn.If})
			for _, op := range txn.Then {
				if ok && err == nil {
					rev, _, err = good.Commit(ctx, journal.Txn{Then: []journal.Op{op}})
				}
			}
			return rev, ok, err
		}
	}, []string{"a transaction is written whole", "list is of one revision", "watch sends a revision's changes together"}},
	{"writes that are not written", func(b *broken, good journal.Store) {
		b.commit = func(ctx context.Context, txn journal.Txn) (int64, bool, error) {
			if len(txn.Then) > 2 {
				txn.Then = txn.Then[:len(txn.Then)-1]
			}
			return good.Commit(ctx, txn)
		}
	}, []string{"a transaction is written whole"}},
	{"no limits", func(b *broken, good journal.Store) {
		b.commit = func(ctx context.Context, txn journal.Txn) (rev int64, ok bool, err error) {
			if len(txn.Then) > journal.MaxOps {
				_, _, _ = good.Commit(ctx, journal.Txn{Then: txn.Then[:1]})
			}
			return good.Commit(ctx, txn)
		}
	}, []string{"limits"}},
	{"list not of one revision", func(b *broken, good journal.Store) {
		b.list = func(ctx context.Context, prefix string, opt journal.ListOptions) ([]journal.KV, int64, error) {
			kvs, rev, err := good.List(ctx, prefix, opt)
			for i := range kvs {
				runtime.Gosched()
				if kv, ok, at, err := good.Get(ctx, kvs[i].Key); err == nil && ok {
					kvs[i], rev = kv, at
				}
			}
			return kvs, rev, err
		}
	}, []string{"list is of one revision"}},
	{"list without a limit", func(b *broken, good journal.Store) {
		b.list = func(ctx context.Context, prefix string, opt journal.ListOptions) ([]journal.KV, int64, error) {
			return good.List(ctx, prefix, journal.ListOptions{From: opt.From})
		}
	}, []string{"list"}},
	{"list after its first key", func(b *broken, good journal.Store) {
		b.list = func(ctx context.Context, prefix string, opt journal.ListOptions) ([]journal.KV, int64, error) {
			if opt.From != "" {
				opt.From += "\x00"
			}
			return good.List(ctx, prefix, opt)
		}
	}, []string{"list"}},
	{"stale reads", func(b *broken, good journal.Store) {
		var mu sync.Mutex
		old := map[string]journal.KV{}
		reads := 0
		b.get = func(ctx context.Context, key string) (journal.KV, bool, int64, error) {
			kv, ok, rev, err := good.Get(ctx, key)
			mu.Lock()
			defer mu.Unlock()
			was, had := old[key]
			old[key] = kv
			if reads++; had && was.Mod > 0 && reads%5 == 0 {
				return was, true, rev, err
			}
			return kv, ok, rev, err
		}
	}, []string{"concurrent use is linearizable"}},
	{"a watch that drops", func(b *broken, good journal.Store) {
		b.watch = func(ctx context.Context, prefix string, after int64) <-chan []journal.Change {
			n := 0
			return relay(good.Watch(ctx, prefix, after), ctx, func(g []journal.Change) [][]journal.Change {
				if n++; n%50 == 0 {
					return nil
				}
				return [][]journal.Change{g}
			})
		}
	}, []string{"watch sends all changes in order"}},
	{"a watch that repeats", func(b *broken, good journal.Store) {
		b.watch = func(ctx context.Context, prefix string, after int64) <-chan []journal.Change {
			return good.Watch(ctx, prefix, after-1)
		}
	}, []string{"watch goes on from a revision"}},
	{"a watch that tears revisions", func(b *broken, good journal.Store) {
		b.watch = func(ctx context.Context, prefix string, after int64) <-chan []journal.Change {
			return relay(good.Watch(ctx, prefix, after), ctx, func(g []journal.Change) (out [][]journal.Change) {
				for _, c := range g {
					out = append(out, []journal.Change{c})
				}
				return out
			})
		}
	}, []string{"watch sends a revision's changes together"}},
	{"a watch that sorts by key", func(b *broken, good journal.Store) {
		b.watch = func(ctx context.Context, prefix string, after int64) <-chan []journal.Change {
			return relay(good.Watch(ctx, prefix, after), ctx, func(g []journal.Change) [][]journal.Change {
				slices.Reverse(g)
				return [][]journal.Change{g}
			})
		}
	}, []string{"watch sends a revision's changes together"}},
	{"a watch without its prefix", func(b *broken, good journal.Store) {
		b.watch = func(ctx context.Context, _ string, after int64) <-chan []journal.Change {
			return good.Watch(ctx, "", after)
		}
	}, []string{"watch sends all changes in order"}},
	{"a watch that hides deletions", func(b *broken, good journal.Store) {
		b.watch = func(ctx context.Context, prefix string, after int64) <-chan []journal.Change {
			return relay(good.Watch(ctx, prefix, after), ctx, func(g []journal.Change) [][]journal.Change {
				for i := range g {
					g[i].Deleted = false
				}
				return [][]journal.Change{g}
			})
		}
	}, []string{"watch goes on from a revision"}},
	{"sessions half as long", func(b *broken, good journal.Store) {
		b.grant = func(ctx context.Context, ttl time.Duration) (journal.Session, error) { return good.Grant(ctx, ttl/2) }
	}, []string{"a session expires"}},
	{"keep-alives that keep nothing alive", func(b *broken, good journal.Store) {
		b.keep = func(context.Context, journal.Session) error { return nil }
	}, []string{"a session is kept alive"}},
	{"revocations that do nothing", func(b *broken, good journal.Store) {
		b.revoke = func(context.Context, journal.Session) error { return nil }
	}, []string{"a session is revoked"}},
	{"keys without their session", func(b *broken, good journal.Store) {
		b.commit = func(ctx context.Context, txn journal.Txn) (int64, bool, error) {
			for i, op := range txn.Then {
				if op.Session != "" {
					if err := good.KeepAlive(ctx, op.Session); err != nil {
						return 0, false, err
					}
				}
				txn.Then[i].Session = ""
			}
			return good.Commit(ctx, txn)
		}
	}, []string{"keys of a session"}},
	{"calls that outlive their context", func(b *broken, good journal.Store) {
		b.commit = func(_ context.Context, txn journal.Txn) (int64, bool, error) {
			return good.Commit(context.Background(), txn)
		}
	}, []string{"an ended context"}},
	{"a close that closes nothing", func(b *broken, good journal.Store) {
		b.close = func() error { return nil }
	}, []string{"use after close"}},
	{"an incarnation a connection", func(b *broken, good journal.Store) {
		b.name = func() string { return fmt.Sprintf("%p", good) }
	}, []string{"connections share one store", "records survive their connections"}},
	{"one kind for every error", func(b *broken, good journal.Store) {
		b.keep = func(ctx context.Context, s journal.Session) error {
			if err := good.KeepAlive(ctx, s); err != nil {
				return failure.WrapAs(failure.Internal, err, "keep alive", "")
			}
			return nil
		}
	}, []string{"a session expires", "an ended context"}},
}

// recorderTB stands in for a test that is expected to fail.
type recorderTB struct {
	testing.TB
	mu       sync.Mutex
	messages []string
	cleanups []func()
}

func (r *recorderTB) Helper() {}

func (r *recorderTB) Logf(string, ...any) {}

func (r *recorderTB) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, fmt.Sprintf(format, args...))
}

func (r *recorderTB) Error(args ...any) { r.Errorf("%s", fmt.Sprint(args...)) }

func (r *recorderTB) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorderTB) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

func (r *recorderTB) Cleanup(fn func()) { r.cleanups = append(r.cleanups, fn) }

// outcome runs one check and gives what it complained of.
func outcome(t *testing.T, check Check, open Opener) []string {
	r := &recorderTB{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		check.Run(r, open)
	}()
	<-done
	for _, fn := range slices.Backward(r.cleanups) {
		fn()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.messages
}

func TestMain(m *testing.M) {
	patience = 5 * time.Second
	os.Exit(m.Run())
}

// TestSuiteBites runs the checks over broken stores: each that is said to catch a fault must.
func TestSuiteBites(t *testing.T) {
	checks := map[string]Check{}
	for _, check := range Checks() {
		checks[check.Name] = check
	}
	caught := map[string]bool{}
	for _, fault := range faults {
		for _, name := range fault.catches {
			check, ok := checks[name]
			if !ok {
				t.Fatalf("there is no check %q", name)
			}
			caught[name] = true
			t.Run(fault.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				for range 20 { // a race that is there must show sooner or later
					db := memory.NewDB()
					messages := outcome(t, check, func(testing.TB) journal.Store {
						good := db.Open()
						b := &broken{Store: good}
						fault.breakIt(b, good)
						t.Cleanup(func() { _ = good.Close() })
						return b
					})
					if len(messages) > 0 {
						t.Logf("caught: %s", messages[0])
						return
					}
				}
				t.Error("the check passes a store with this fault")
			})
		}
	}
	for name := range checks {
		if !caught[name] {
			t.Logf("no fault is aimed at %q", name)
		}
	}
}

// TestRecorder holds the recorder's model against histories that no store can have shown.
func TestRecorder(t *testing.T) {
	write := func(mod, rev int64, value string) func(r *Recorder) {
		return func(r *Recorder) {
			r.note(0, r.clock.Add(1), input{key: "k", write: true, cond: mod, value: value}, output{seen: seen{mod: rev}, ok: true})
		}
	}
	refused := func(mod int64) func(r *Recorder) {
		return func(r *Recorder) {
			r.note(0, r.clock.Add(1), input{key: "k", write: true, cond: mod, value: "r"}, output{})
		}
	}
	lost := func(mod int64, value string) func(r *Recorder) {
		return func(r *Recorder) {
			r.note(0, r.clock.Add(1), input{key: "k", write: true, cond: mod, value: value}, output{unknown: true})
		}
	}
	read := func(mod int64, value string) func(r *Recorder) {
		return func(r *Recorder) { r.note(0, r.clock.Add(1), input{key: "k"}, output{seen: seen{mod, value}}) }
	}
	for _, tt := range []struct {
		name    string
		history []func(*Recorder)
		want    bool
	}{
		{"in order", []func(*Recorder){write(0, 2, "a"), read(2, "a"), write(2, 3, "b"), refused(2), read(3, "b")}, true},
		{"a stale read", []func(*Recorder){write(0, 2, "a"), write(2, 3, "b"), read(2, "a")}, false},
		{"two that replaced one", []func(*Recorder){write(0, 2, "a"), write(2, 3, "b"), write(2, 4, "c")}, false},
		{"a refusal for nothing", []func(*Recorder){write(0, 2, "a"), refused(2)}, false},
		{"another's value", []func(*Recorder){write(0, 2, "a"), read(2, "b")}, false},
		{"a revision that goes back", []func(*Recorder){write(0, 5, "a"), write(5, 4, "b")}, false},
		{"a lost answer, applied", []func(*Recorder){write(0, 2, "a"), lost(2, "b"), read(3, "b"), write(3, 4, "c")}, true},
		{"a lost answer, not applied", []func(*Recorder){write(0, 2, "a"), lost(2, "b"), read(2, "a"), write(2, 3, "c")}, true},
		{"a lost answer, applied twice", []func(*Recorder){write(0, 2, "a"), lost(2, "b"), read(3, "b"), write(3, 4, "c"), read(5, "b")}, false},
		{"a lost answer, applied late", []func(*Recorder){write(0, 2, "a"), lost(2, "b"), read(2, "a"), read(3, "b")}, true},
		{"a lost answer, undone", []func(*Recorder){write(0, 2, "a"), lost(2, "b"), read(3, "b"), read(2, "a")}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := NewRecorder(func(string) bool { return true })
			for _, op := range tt.history {
				op(r)
			}
			tb := &recorderTB{TB: t}
			r.Check(tb)
			if got := len(tb.messages) == 0; got != tt.want {
				t.Errorf("linearizable: got %v, want %v (%v)", got, tt.want, tb.messages)
			}
		})
	}
}
