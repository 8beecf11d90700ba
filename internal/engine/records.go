package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/model"
)

// The journal's keys. A run is header + plan pages + chunks of events; everything of it lies under runPrefix.
const root = "/lb/v1/"

func runPrefix(run model.RunID) string         { return root + "run/" + string(run) + "/" }
func headerKey(run model.RunID) string         { return runPrefix(run) + "h" }
func ownKey(run model.RunID) string            { return runPrefix(run) + "own" }
func planPrefix(run model.RunID) string        { return runPrefix(run) + "plan/" }
func chunkPrefix(run model.RunID) string       { return runPrefix(run) + "j/" }
func chunkKey(run model.RunID, n int64) string { return fmt.Sprintf("%s%09d", chunkPrefix(run), n) }
func inboxPrefix(run model.RunID) string       { return runPrefix(run) + "in/" }
func activeKey(run model.RunID) string         { return root + "idx/active/" + string(run) }
func lockKey(name string) string               { return root + "lock/" + name }
func requestKey(key string) string             { return root + "idem/" + key }

// pageBytes bounds one record; a chunk of events or a page of a plan.
const pageBytes = 512 << 10

// chunkEvents bounds the events of one chunk.
const chunkEvents = 500

// damaged is what an operator does about a run whose records cannot be read.
const damaged = "this run cannot go on by itself: see how its app is with lifeboat status, finish by hand, and keep the state folder for whoever looks into it"

// header is the one record that every commit compares and replaces.
type header struct {
	Epoch    int64          `json:"epoch"`
	Owner    string         `json:"owner,omitempty"`
	Chunk    int64          `json:"chunk"` // the last chunk written
	Seq      int64          `json:"seq"`   // the last event written
	PlanHash string         `json:"plan_hash"`
	Pages    int            `json:"pages"`
	Locks    []string       `json:"locks,omitempty"`
	Final    bool           `json:"final,omitempty"`
	Summary  api.RunSummary `json:"summary"`
}

// sameWriter says whether both headers were written by the same owner as the same commit.
func (h *header) sameWrite(o *header) bool {
	return h.Epoch == o.Epoch && h.Owner == o.Owner && h.Chunk == o.Chunk
}

// owner is what stands under ownKey: who is alive. It gives no authority.
type owner struct {
	Owner string    `json:"owner"`
	Since time.Time `json:"since"`
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("engine: %T cannot be marshalled: %v", v, err)) // plain data throughout
	}
	return b
}

func decode[T any](kv journal.KV) (T, error) {
	var v T
	if err := json.Unmarshal(kv.Value, &v); err != nil {
		return v, failure.WrapAs(failure.Corrupt, err, "read journal", kv.Key).WithHint(damaged)
	}
	return v, nil
}

// readHeader reads a run's header. An absent one is failure.NotFound.
func readHeader(ctx context.Context, store journal.Store, run model.RunID) (*header, journal.KV, error) {
	kv, ok, _, err := store.Get(ctx, headerKey(run))
	if err != nil {
		return nil, kv, failure.Wrap(err, "read run", string(run))
	}
	if !ok {
		return nil, kv, failure.New(failure.NotFound, "read run", string(run), "the journal has no such run").
			WithHint("lifeboat run list shows the runs there are")
	}
	h, err := decode[header](kv)
	return &h, kv, err
}

// readPlan reads the plan that a run is frozen to.
func readPlan(ctx context.Context, store journal.Store, run model.RunID, h *header) (*model.Plan, error) {
	kvs, _, err := store.List(ctx, planPrefix(run), journal.ListOptions{})
	if err != nil {
		return nil, failure.Wrap(err, "read plan of", string(run))
	}
	if len(kvs) != h.Pages {
		return nil, failure.New(failure.Corrupt, "read plan of", string(run), "%d of %d pages are there", len(kvs), h.Pages).WithHint(damaged)
	}
	var packed []byte
	for _, kv := range kvs {
		packed = append(packed, kv.Value...)
	}
	p, err := decodePlan(packed, string(run))
	if err != nil {
		return nil, err
	}
	if hash := p.Hash(); hash != h.PlanHash {
		return nil, failure.New(failure.Corrupt, "read plan of", string(run), "its content is %s, not %s", hash, h.PlanHash).WithHint(damaged)
	}
	return p, nil
}

// readEvents reads the events of chunks from on; upTo is the chunk that has to be the last, or zero for "any".
// A missing chunk, and one that was written twice, is failure.Corrupt.
func readEvents(ctx context.Context, store journal.Store, run model.RunID, from, upTo int64) ([]Event, int64, error) {
	kvs, _, err := store.List(ctx, chunkPrefix(run), journal.ListOptions{From: chunkKey(run, from)})
	if err != nil {
		return nil, 0, failure.Wrap(err, "read events of", string(run))
	}
	var events []Event
	next := from
	for _, kv := range kvs {
		if kv.Key != chunkKey(run, next) || kv.Mod != kv.Create {
			return nil, 0, failure.New(failure.Corrupt, "read events of", string(run), "chunk %d is missing or was written twice (found %s)", next, kv.Key).WithHint(damaged)
		}
		chunk, err := decode[[]Event](kv)
		if err != nil {
			return nil, 0, err
		}
		events = append(events, chunk...)
		next++
	}
	if upTo > 0 && next-1 < upTo {
		return nil, 0, failure.New(failure.Corrupt, "read events of", string(run), "chunk %d of %d is missing", next, upTo).WithHint(damaged)
	}
	return events, next - 1, nil
}
