package journaltest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

// Recorder notes what the users of a store saw of some of its keys, and judges whether one store that does one thing
// after the other could have shown them that. It orders by what happened before what, not by a clock, so it works where
// time stands still.
type Recorder struct {
	keys    func(key string) bool
	clock   atomic.Int64
	clients atomic.Int64
	mu      sync.Mutex
	ops     []porcupine.Operation
}

// NewRecorder makes one for the keys for which keys is true. Of a commit with conditions on several keys only the
// success is judged, because its refusal does not say which of them failed.
func NewRecorder(keys func(key string) bool) *Recorder { return &Recorder{keys: keys} }

// Wrap gives a connection whose calls are recorded, as those of one more client.
func (r *Recorder) Wrap(s journal.Store) journal.Store {
	return &recorded{Store: s, r: r, client: int(r.clients.Add(1)) - 1}
}

// Len is the number of operations recorded so far.
func (r *Recorder) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ops)
}

// Check fails tb unless the history is linearizable. Nothing may be in flight.
func (r *Recorder) Check(tb testing.TB) {
	tb.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	model := register.ToModel()
	result, info := porcupine.CheckOperationsVerbose(model, r.ops, patience)
	switch result {
	case porcupine.Ok:
		return
	case porcupine.Unknown:
		tb.Errorf("whether the history of %d operations is linearizable was not found out in %s", len(r.ops), patience)
		return
	}
	tb.Errorf("the history of %d operations is not linearizable", len(r.ops))
	if file := visualization(tb, model, info); file != "" {
		tb.Logf("shown in %s", file)
	}
}

// visualization writes the history where the test's artifacts go, when they are kept.
func visualization(tb testing.TB, model porcupine.Model, info porcupine.LinearizationInfo) string {
	file := tb.ArtifactDir() + "/history.html"
	if err := porcupine.VisualizePath(model, info, file); err != nil {
		tb.Logf("drawing the history: %v", err)
		return ""
	}
	return file
}

// recorded is a connection that tells the recorder.
type recorded struct {
	journal.Store
	r      *Recorder
	client int
}

// seen is what a read saw of a key: mod zero is absence.
type seen struct {
	mod   int64
	value string
}

// input of an operation on one key.
type input struct {
	key   string
	write bool
	cond  int64 // the mod that a write asks for; anyMod: none
	value string
	del   bool
}

const anyMod = -1

// output of an operation. A write whose outcome is unknown may have been applied at any time since its call, or never.
type output struct {
	seen
	ok, unknown bool
}

func (r *Recorder) note(client int, call int64, in input, out output) {
	end := r.clock.Add(1)
	if out.unknown {
		end = math.MaxInt64
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: end})
}

// Get implements journal.Store.
func (s *recorded) Get(ctx context.Context, key string) (journal.KV, bool, int64, error) {
	call := s.r.clock.Add(1)
	kv, ok, rev, err := s.Store.Get(ctx, key)
	if err == nil && s.r.keys(key) {
		s.r.note(s.client, call, input{key: key}, output{seen: seen{kv.Mod, string(kv.Value)}})
	}
	return kv, ok, rev, err
}

// List implements journal.Store.
func (s *recorded) List(ctx context.Context, prefix string, opt journal.ListOptions) ([]journal.KV, int64, error) {
	call := s.r.clock.Add(1)
	kvs, rev, err := s.Store.List(ctx, prefix, opt)
	for _, kv := range kvs {
		if s.r.keys(kv.Key) {
			s.r.note(s.client, call, input{key: kv.Key}, output{seen: seen{kv.Mod, string(kv.Value)}})
		}
	}
	return kvs, rev, err
}

// Commit implements journal.Store.
func (s *recorded) Commit(ctx context.Context, txn journal.Txn) (int64, bool, error) {
	call := s.r.clock.Add(1)
	rev, ok, err := s.Store.Commit(ctx, txn)
	unknown := err != nil && (failure.KindOf(err) == failure.Indeterminate || !failure.Classified(err))
	if err != nil && !unknown || err == nil && !ok && len(txn.If) > 1 {
		return rev, ok, err
	}
	conds := map[string]int64{}
	for _, cond := range txn.If {
		conds[cond.Key] = cond.Mod
	}
	out := output{ok: ok, unknown: unknown, seen: seen{mod: rev}}
	for _, op := range txn.Then {
		if op.Prefix || !s.r.keys(op.Key) {
			continue
		}
		in := input{key: op.Key, write: true, cond: anyMod, value: string(op.Value), del: op.Delete}
		if mod, has := conds[op.Key]; has {
			in.cond = mod
		}
		delete(conds, op.Key)
		if err != nil || ok || in.cond != anyMod { // a refusal without a condition on this key says nothing of it
			s.r.note(s.client, call, in, out)
		}
	}
	return rev, ok, err
}

// state of one key. A write of unknown outcome leaves a mod that is not known before somebody reads it; it is above.
type state struct {
	seen
	above int64 // when positive, mod is unknown and greater than this
}

// register is the model of one key under compare-and-set by mod.
var register = porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(input).key
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() []any { return []any{state{}} },
	Step: func(st, in, out any) []any { return step(st.(state), in.(input), out.(output)) },
	DescribeOperation: func(in, out any) string {
		return fmt.Sprintf("%+v -> %+v", in, out)
	},
}

func step(st state, in input, out output) []any {
	if !in.write {
		if st.above > 0 && out.value == st.value && out.mod > st.above {
			return []any{state{seen: out.seen}}
		}
		if st.above == 0 && st.seen == out.seen {
			return []any{st}
		}
		return nil
	}
	holds := in.cond == anyMod || st.above == 0 && st.mod == in.cond || st.above > 0 && in.cond > st.above
	differs := in.cond != anyMod && (st.above > 0 || st.mod != in.cond)
	low := max(st.mod, st.above)
	next := state{seen: seen{out.mod, in.value}}
	switch {
	case in.del:
		next = state{}
	case out.unknown:
		next = state{seen: seen{value: in.value}, above: max(low, 1)}
	}
	switch {
	case out.unknown && holds:
		return []any{st, next}
	case out.unknown:
		return []any{st}
	case out.ok && holds && out.mod > low:
		return []any{next}
	case !out.ok && differs:
		return []any{st}
	}
	return nil
}

// checkLinearizable lets clients on two connections read and compare-and-set a few keys at once.
func checkLinearizable(tb testing.TB, open Opener) {
	b, other := newBench(tb, open), newBench(tb, open)
	r := NewRecorder(func(string) bool { return true })
	var clients sync.WaitGroup
	for client := range 6 {
		s := r.Wrap([]journal.Store{b.Store, other.Store}[client%2])
		random := rand.New(rand.NewPCG(uint64(client), 1))
		clients.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			for i := range 60 {
				key := fmt.Sprintf("register/%d", random.IntN(2))
				kv, _, _, err := s.Get(ctx, key)
				if err != nil {
					tb.Errorf("Get: %v", err)
					return
				}
				op := put(key, fmt.Sprintf("%d.%d", client, i))
				if random.IntN(8) == 0 {
					op = del(key)
				}
				if op.Delete && kv.Mod == 0 {
					continue // deletes nothing, and so has no revision of its own
				}
				if random.IntN(4) == 0 {
					<-time.After(time.Duration(random.IntN(1000)) * time.Microsecond)
				}
				if _, _, err := s.Commit(ctx, journal.Txn{If: []journal.Cond{{Key: key, Mod: kv.Mod}}, Then: []journal.Op{op}}); err != nil {
					tb.Errorf("Commit: %v", err)
					return
				}
			}
		})
	}
	clients.Wait()
	if r.Len() < 300 {
		tb.Errorf("only %d operations were recorded", r.Len())
	}
	r.Check(tb)
}
