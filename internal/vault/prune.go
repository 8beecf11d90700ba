package vault

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// DefaultGrace is for how long a pack that the index lists no more still lies in the store: twice what a lock lives that
// nobody refreshes.
const DefaultGrace = time.Hour

// PruneOptions say what a prune may do. The zero PruneOptions are restic's defaults, with the default grace, and try
// once for a moment in which nobody else works on the vault.
type PruneOptions struct {
	// MaxUnused is how much that nobody needs may stay in packs that are needed for something else, in restic's
	// spelling: bytes ("500M"), a percentage of all that stays ("5%"), or "unlimited". Empty: 5%.
	MaxUnused string
	// MaxRepack bounds how many bytes of packs are rewritten; 0: no bound.
	MaxRepack int64
	// RepackCacheableOnly rewrites packs of directories only.
	RepackCacheableOnly bool
	// RepackSmall rewrites packs that are below 80 % of the usual size; else only those below 4 % of it.
	RepackSmall bool
	// RepackUncompressed rewrites packs that hold anything uncompressed.
	RepackUncompressed bool
	// Grace is how long packs wait between being taken out of the index and being removed; 0: DefaultGrace; negative:
	// they do not wait.
	Grace time.Duration
	// Wait is for the moment in which the index is switched.
	Wait Waiting
	// Forget counts these snapshots as gone: for the plan of a prune after a Forget. Prune refuses it.
	Forget []object.ID
	// Planned is shown the plan before anything is changed; its error ends the prune. nil: nobody asks.
	Planned func(*PrunePlan) error
	// Progress is called now and then, never twice at once; nil: nobody asks.
	Progress func(PruneProgress)
}

// PruneProgress is how far one stage has come. Of is 0 where it is not known.
type PruneProgress struct {
	Stage    PruneStage
	Done, Of int64
}

// PruneStage is a part of the work.
type PruneStage string

// The stages, in their order, and what they count.
const (
	StageTrees  PruneStage = "trees"  // directories read
	StageRepack PruneStage = "repack" // bytes of blobs copied
	StageIndex  PruneStage = "index"  // index files replaced
	StageRemove PruneStage = "remove" // packs removed
)

// Amount counts what lies in packs.
type Amount struct {
	Packs, Blobs int
	Bytes        int64
}

func (a *Amount) add(packs, blobs int, bytes int64) {
	a.Packs += packs
	a.Blobs += blobs
	a.Bytes += bytes
}

// PrunePlan is what a prune would do, and why. Bytes are those of blobs as they are stored; where whole packs are meant,
// those of the packs.
type PrunePlan struct {
	Used      Amount // blobs that a snapshot needs, one copy of each; packs that hold nothing else
	Duplicate Amount // further copies of these
	Unused    Amount // blobs that no snapshot needs
	Unlisted  Amount // packs that no index lists: left by writers that did not finish, or by earlier prunes
	Total     Amount // packs, and what they take

	Keep    Amount // packs that stay as they are
	Remove  Amount // packs of which nothing is needed
	Repack  Amount // packs that are rewritten
	Dropped Amount // what is not written again of these
	Missing int    // packs that are listed, not stored, and not needed: they are taken out of the index

	Due      Amount    // packs that wait since an earlier prune, and can go now
	Waiting  Amount    // packs that wait since an earlier prune, and still have to
	Next     time.Time // when the first of Waiting can go
	Retained Amount    // packs that could go but for a retention of the store
	Free     time.Time // when the first of Retained can go

	Packs []PackFate // those that do not simply stay
}

// Frees is how many bytes of the store are free at last, when the grace and all retentions are over.
func (p *PrunePlan) Frees() int64 {
	return p.Remove.Bytes + p.Dropped.Bytes + p.Unlisted.Bytes
}

// PackFate is what becomes of one pack.
type PackFate struct {
	ID        object.ID
	Bytes     int64
	What      Fate
	Why       string    // for people
	NotBefore time.Time // of one that waits or is retained
}

// Fate is what becomes of a pack.
type Fate string

// The fates.
const (
	FateRemove Fate = "remove" // taken out of the index, removed after the grace
	FateRepack Fate = "repack" // what is needed is copied, then as FateRemove
	FateDue    Fate = "due"    // is out of the index for as long as the grace: removed now
	FateWait   Fate = "wait"   // is out of the index, or will be, and waits for the grace
	FateKept   Fate = "kept"   // would go, and is kept by a retention
	FateForget Fate = "forget" // is not there, and is taken out of the index
)

// PruneReport is what a prune did.
type PruneReport struct {
	Plan     *PrunePlan
	Written  Amount // packs with what was copied
	Hidden   Amount // packs that were taken out of the index, or were out of it and begin to wait
	Removed  Amount // packs that are gone
	Relisted int    // packs that are listed again because a snapshot needs them
	// Waiting is what was hidden and waits for its grace, Next when the first of it can go: run a prune after that.
	// Retained is what the store still retains, Free when the first of it can go.
	Waiting, Retained Amount
	Next, Free        time.Time
}

// PlanPrune works out what Prune would do now, under a shared lock, and changes nothing. Forget counts snapshots as gone.
func (v *Vault) PlanPrune(ctx context.Context, o PruneOptions) (*PrunePlan, error) {
	p, err := v.pruner(ctx, o)
	if err != nil {
		return nil, err
	}
	p.dry = true
	err = p.look(p.s.held)
	if err == nil {
		err = p.decide(p.s.held)
	}
	return p.plan, p.end(ctx, err)
}

// Prune gives back the space of what no snapshot needs. Backups go on meanwhile: it works under a shared lock, but for
// one moment without anybody else (Wait), in which it replaces index files. What it takes out of the index is removed
// by a later Prune, after the grace. Killed at any time it leaves a whole vault, and the next one goes on from there.
// docs/decisions/0007-prune.md says why this is safe.
//
// Conflict: there was no such moment, or somebody else pruned or repaired meanwhile; the report says what was done all
// the same. NotFound, Corrupt: something that a snapshot needs cannot be read; then nothing is removed.
func (v *Vault) Prune(ctx context.Context, o PruneOptions) (*PruneReport, error) {
	if len(o.Forget) > 0 {
		return nil, failure.New(failure.Invalid, "prune", v.Location(), "snapshots are to be forgotten first")
	}
	if v.store.Facts().AppendOnly {
		return nil, failure.New(failure.Denied, "prune", v.Location(), "nothing can be removed here").
			WithHint("prune where the vault server keeps its folders, or as a user who may remove")
	}
	p, err := v.pruner(ctx, o)
	if err != nil {
		return nil, err
	}
	err = p.prepare(p.s.held)
	p.count(p.marks)
	if err = p.end(ctx, err); err != nil {
		return &p.report, err
	}
	must, may := p.worthSwitching()
	if !must && !may {
		return &p.report, nil
	}
	if !must {
		p.o.Wait = Waiting{}
	}
	switch err := p.switchIndex(ctx); {
	case err != nil && !must && failure.KindOf(err) == failure.Conflict:
		return &p.report, nil // what no index lists may be somebody's who is at work
	case err != nil:
		return &p.report, failure.Wrap(err, "prune", v.Location())
	}
	if p.grace == 0 {
		err = p.removeNow(ctx)
	}
	return &p.report, failure.Wrap(err, "prune", v.Location())
}

// pruner is one prune.
type pruner struct {
	v         *Vault
	o         PruneOptions
	dry       bool // nothing is to be changed
	grace     time.Duration
	maxUnused func(used int64) int64
	s         *Session
	lock      *Lock        // what is being worked under
	x         *index.Index // the vault's, at the beginning; others may add to it: read it under v.mu
	plan      *PrunePlan
	report    PruneReport

	files     map[object.ID]listing // index files, with the numbers of x
	snapshots map[object.ID]bool    // those that were walked, or are to be passed over
	stored    map[object.ID]int64
	unlisted  map[object.ID]int64 // stored, and in no index
	marks     map[object.ID]time.Time
	packs     []packState        // by their numbers in x
	chosen    [2]bits            // the copies that count, one of each blob that is used
	good, bad [2]bits            // copies that were read because there are others
	replaced  map[object.ID]bool // index files to be removed
	written   []object.ID        // index files that this prune wrote

	mu      sync.Mutex
	used    [2]bits // blobs that a snapshot needs, by the numbers of their first copies
	missing map[object.Handle]bool
	trees   int64
	told    time.Time
}

// pruner begins a prune, with a session.
func (v *Vault) pruner(ctx context.Context, o PruneOptions) (*pruner, error) {
	p := &pruner{v: v, o: o, snapshots: map[object.ID]bool{}, missing: map[object.Handle]bool{}, plan: &PrunePlan{}}
	p.report.Plan = p.plan
	switch {
	case o.Grace == 0:
		p.grace = DefaultGrace
	case o.Grace > 0:
		p.grace = o.Grace
	}
	var err error
	if p.maxUnused, err = parseMaxUnused(o.MaxUnused); err != nil {
		return nil, err
	}
	for _, id := range o.Forget {
		p.snapshots[id] = true
	}
	if p.s, err = v.NewSession(ctx); err != nil {
		return nil, failure.Wrap(err, "prune", v.Location())
	}
	p.lock = p.s.lock
	v.mu.RLock()
	p.x = v.index
	v.mu.RUnlock()
	return p, nil
}

// end ends the session.
func (p *pruner) end(ctx context.Context, err error) error {
	if p.s.held.Err() != nil {
		err = cause(p.s.held, err)
	}
	return failure.Wrap(errors.Join(err, p.s.Close(ctx)), "prune", p.v.Location())
}

// prepare is what can be done while others work: find out, remove what is due, copy, write the new index.
func (p *pruner) prepare(ctx context.Context) error {
	if err := p.look(ctx); err != nil {
		return err
	}
	if err := p.decide(ctx); err != nil {
		return err
	}
	if p.o.Planned != nil {
		if err := p.o.Planned(p.plan); err != nil {
			return err
		}
	}
	if err := p.removeDue(ctx); err != nil {
		return err
	}
	if err := p.repack(ctx); err != nil {
		return err
	}
	return p.relist(ctx)
}

// tell reports progress. The caller holds mu, or works alone.
func (p *pruner) tell(stage PruneStage, done, of int64) {
	if p.o.Progress == nil {
		return
	}
	if now := p.v.opts.Now(); done == of || now.Sub(p.told) >= 100*time.Millisecond {
		p.told = now
		p.o.Progress(PruneProgress{stage, done, of})
	}
}

// bits are a set of small numbers.
type bits []uint64

func (b bits) has(n int) bool { return n/64 < len(b) && b[n/64]&(1<<(n%64)) != 0 }

// set adds n, and reports whether it is new.
func (b *bits) set(n int) bool {
	for n/64 >= len(*b) {
		*b = append(*b, make([]uint64, max(1024, len(*b)/4))...)
	}
	word, bit := &(*b)[n/64], uint64(1)<<(n%64)
	fresh := *word&bit == 0
	*word |= bit
	return fresh
}

// parseMaxUnused reads restic's spelling of --max-unused: as with restic, a percentage is of what is there afterwards.
func parseMaxUnused(text string) (func(int64) int64, error) {
	bad := failure.New(failure.Invalid, "read how much may stay unused", "", "%q is neither bytes such as 500M, nor a percentage, nor \"unlimited\"", text)
	switch text = strings.TrimSpace(text); {
	case text == "":
		text = "5%"
	case text == "unlimited":
		return func(int64) int64 { return math.MaxInt64 }, nil
	}
	if number, ok := strings.CutSuffix(text, "%"); ok {
		percent, err := strconv.ParseFloat(number, 64)
		if err != nil || !(percent >= 0 && percent < 100) {
			return nil, bad
		}
		return func(used int64) int64 { return int64(percent / (100 - percent) * float64(used)) }, nil
	}
	shift := 0
	for i, unit := range []string{"k", "m", "g", "t"} {
		lower := strings.TrimSuffix(strings.ToLower(text), "b")
		if number, ok := strings.CutSuffix(lower, unit); ok {
			text, shift = number, 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64>>shift {
		return nil, bad
	}
	return func(int64) int64 { return n << shift }, nil
}
