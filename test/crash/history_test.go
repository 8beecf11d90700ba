package crash

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/lifeboat-dr/lifeboat/test/program"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// header is of a run's header what fencing rests on: who may write, and how far the run's journal goes.
type header struct {
	Epoch int64  `json:"epoch"`
	Owner string `json:"owner"`
	Chunk int64  `json:"chunk"`
	Seq   int64  `json:"seq"`
	Final bool   `json:"final"`
}

func readHeader(value []byte) (h header, err error) { return h, json.Unmarshal(value, &h) }

// The keys of a run: PREFIX/run/ID/h is the header, PREFIX/run/ID/j/N the chunks of events.
func isHeader(key []byte) bool {
	rest, ok := strings.CutSuffix(string(key), "/h")
	return ok && isRunPrefix(rest+"/")
}

func isRunPrefix(key string) bool {
	_, rest, ok := strings.Cut(key, "/run/")
	return ok && strings.Count(rest, "/") == 1 && strings.HasSuffix(rest, "/")
}

// op is one read or write of a header, as its client saw it. Mod is the revision that wrote what was read, or that the
// write got.
type op struct {
	Client     int
	Begin, End int64
	Key        string
	Write      bool
	Delete     bool  // a write that takes the run out of the journal
	Cond       int64 // the revision that the write asks for; anyMod: it asks for none
	More       bool  // it asks for more than that, so that a refusal says nothing of the header
	Header     header
	OK         bool
	Unknown    bool // no answer came: it may have been applied or not
	Mod        int64
}

const anyMod = -1

// register is the state of one header. Mod zero: it is absent; unknown: a write that nobody was answered for wrote it
// after the revision in above.
type register struct {
	header
	mod, above int64
}

// legal says whether next may replace the header that stands there: the same owner goes on in the same epoch by at most
// one chunk; another one takes over, in the next epoch, and writes nothing with it; a new run has no owner.
func (r register) legal(next header) bool {
	switch {
	case r.mod == 0 && r.above == 0:
		return next.Epoch == 0 && next.Owner == ""
	case next.Epoch == r.Epoch:
		return next.Owner == r.Owner && next.Owner != "" && (next.Chunk == r.Chunk+1 && next.Seq > r.Seq || next.Chunk == r.Chunk && next.Seq == r.Seq)
	}
	return next.Epoch == r.Epoch+1 && next.Owner != r.Owner && next.Chunk == r.Chunk && next.Seq == r.Seq
}

// step gives the states in which the header can be after an operation; none when it cannot have been as it was seen.
func (r register) step(o op) []any {
	if !o.Write {
		if r.above > 0 && o.Mod > r.above && o.Header == r.header {
			return []any{register{r.header, o.Mod, 0}}
		}
		if r.above == 0 && r.mod == o.Mod && r.header == o.Header {
			return []any{r}
		}
		return nil
	}
	holds := o.Cond == anyMod || r.above == 0 && r.mod == o.Cond || r.above > 0 && o.Cond > r.above
	next := register{header: o.Header, mod: o.Mod}
	switch {
	case o.Delete:
		next = register{}
	case o.Unknown:
		next.mod, next.above = 0, max(r.mod, r.above, 1)
	}
	allowed := o.Delete && r.Final || !o.Delete && r.legal(o.Header)
	switch {
	case o.Unknown && holds && allowed:
		return []any{r, next}
	case o.Unknown:
		return []any{r}
	case o.OK && holds && allowed && o.Mod > max(r.mod, r.above):
		return []any{next}
	case !o.OK && (o.More || !holds || r.above > 0):
		return []any{r}
	}
	return nil
}

// fencing is the model that a history of headers is judged by.
var fencing = porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(op).Key
			byKey[key] = append(byKey[key], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init:              func() []any { return []any{register{}} },
	Step:              func(state, input, _ any) []any { return state.(register).step(input.(op)) },
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
}

// judge asks porcupine whether one header at a time, changed by its owners alone, could have shown what was seen.
func judge(ops []op) porcupine.CheckResult {
	history := make([]porcupine.Operation, len(ops))
	for i, o := range ops {
		history[i] = porcupine.Operation{ClientId: o.Client, Input: o, Call: o.Begin, Output: nil, Return: o.End}
	}
	return porcupine.CheckOperationsTimeout(fencing.ToModel(), history, program.Patience)
}

// change is one write that the watch of the whole journal saw.
type change struct {
	rev     int64
	key     string
	value   []byte
	deleted bool
	created bool
	at      time.Time // when it was seen here
}

func changeOf(e *clientv3.Event) change {
	return change{rev: e.Kv.ModRevision, key: string(e.Kv.Key), value: e.Kv.Value, deleted: e.Type == clientv3.EventTypeDelete,
		created: e.IsCreate(), at: time.Now()}
}

// event is of a journalled event what its order rests on.
type event struct {
	Seq   int64  `json:"seq"`
	Kind  string `json:"kind"`
	By    string `json:"by"`
	Epoch int64  `json:"epoch"`
}

// audit reads a journal's whole history, write by write, and lists what must not be in it: a chunk that is written
// twice, missing, or not by the one who owned the run, epochs that do not grow, events out of order.
func audit(all []change) (wrong []string, epochs int64) {
	var h header
	var seq, chunks int64
	for i := 0; i < len(all); {
		var batch []change // one revision is one transaction
		for rev := all[i].rev; i < len(all) && all[i].rev == rev; i++ {
			batch = append(batch, all[i])
		}
		bad := func(format string, args ...any) {
			wrong = append(wrong, fmt.Sprintf("revision %d: ", batch[0].rev)+fmt.Sprintf(format, args...))
		}
		found := slices.IndexFunc(batch, func(c change) bool { return isHeader([]byte(c.key)) && !c.deleted })
		before := h
		if found >= 0 {
			next, err := readHeader(batch[found].value)
			if err != nil {
				bad("%v", err)
				continue
			}
			if now := (register{header: h, mod: batch[0].rev - 1}); !batch[found].created && !now.legal(next) {
				bad("%+v follows %+v", next, h)
			}
			h = next
			epochs = max(epochs, h.Epoch)
		}
		for _, c := range batch {
			_, chunk, ok := strings.Cut(c.key, "/j/")
			if !ok || c.deleted {
				continue
			}
			if chunks++; chunk != fmt.Sprintf("%09d", chunks) || !c.created {
				bad("chunk %s is written as number %d, new %v", chunk, chunks, c.created)
			}
			if found < 0 || h.Chunk != chunks || h.Owner != before.Owner && chunks > 1 {
				bad("chunk %s is written without the owner's header", chunk)
			}
			var events []event
			if err := json.Unmarshal(c.value, &events); err != nil || len(events) == 0 {
				bad("chunk %s: %d events, %v", chunk, len(events), err)
			}
			for _, e := range events {
				if seq++; e.Seq != seq {
					bad("event %d is written as number %d", e.Seq, seq)
				}
				if e.Kind == "owner-changed" && (e.Epoch != h.Epoch || e.By != h.Owner) {
					bad("%s says that it took over in epoch %d, in the time of %s, %d", e.By, e.Epoch, h.Owner, h.Epoch)
				}
			}
			if seq != h.Seq {
				bad("the header is at event %d, the chunk at %d", h.Seq, seq)
			}
		}
	}
	if !h.Final || chunks == 0 {
		wrong = append(wrong, fmt.Sprintf("the journal ends after %d chunks with %+v", chunks, h))
	}
	return wrong, epochs
}

// forgeries holds that the judges above bite: each forged history, made from one that passed, has to fail.
func forgeries(t *testing.T, ops []op, all []change) {
	t.Helper()
	taken := slices.IndexFunc(ops, func(o op) bool { return o.Write && o.OK && o.Header.Epoch == 2 })
	old := -1 // the last write of the first owner
	for i, o := range ops {
		if o.Write && o.OK && o.Header.Epoch == 1 && !o.Delete {
			old = i
		}
	}
	heir := slices.IndexFunc(ops, func(o op) bool {
		return o.Write && o.OK && o.Header.Epoch == 2 && taken >= 0 && o.Header.Chunk > ops[taken].Header.Chunk
	})
	if taken < 0 || old < 0 || heir < 0 {
		t.Fatalf("no takeover in the history: %d, %d, %d", taken, old, heir)
	}
	last := ops[len(ops)-1].End
	zombie := op{Client: ops[old].Client, Begin: last + 1, End: last + 2, Key: ops[old].Key, Write: true, OK: true,
		Header: ops[old].Header, Cond: ops[old].Mod, Mod: ops[len(ops)-1].Mod + 1000}
	zombie.Header.Chunk++
	zombie.Header.Seq++
	for name, forge := range map[string]func([]op) []op{
		"the old owner's commit is accepted after the takeover": func(ops []op) []op { // just after the heir's first commit
			z := zombie
			z.Begin, z.End, z.Mod = ops[heir].End, ops[heir].End, ops[heir].Mod
			return slices.Insert(ops, heir+1, z)
		},
		"the old owner commits without asking": func(ops []op) []op {
			z := zombie
			z.Begin, z.End, z.Cond, z.Mod = ops[taken].End, ops[taken].End, anyMod, ops[taken].Mod+1
			return slices.Insert(ops, taken+1, z)
		},
		"a takeover does not raise the epoch": func(ops []op) []op { ops[taken].Header.Epoch = 1; return ops },
		"a takeover's write is not there when its heir commits": func(ops []op) []op {
			return slices.Delete(ops, taken, taken+1)
		},
		"a refused commit of the right owner": func(ops []op) []op { ops[heir].OK = false; return ops },
		"a chunk is left out":                 func(ops []op) []op { ops[heir].Header.Chunk++; return ops },
	} {
		if got := judge(forge(slices.Clone(ops))); got != porcupine.Illegal {
			t.Errorf("%s: the history is judged %v", name, got)
		}
	}
	chunk := slices.IndexFunc(all, func(c change) bool { return strings.HasSuffix(c.key, "/j/000000003") })
	again := all[chunk]
	again.rev, again.created = all[len(all)-1].rev+1, false
	takeover := slices.IndexFunc(all, func(c change) bool {
		h, err := readHeader(c.value)
		return isHeader([]byte(c.key)) && err == nil && h.Epoch == 2
	})
	for name, forge := range map[string]func([]change) []change{
		"a chunk is written twice": func(all []change) []change { return append(all, again) },
		"a chunk is missing":       func(all []change) []change { return slices.Delete(all, chunk, chunk+1) },
		"the epoch is not raised": func(all []change) []change {
			all[takeover].value = []byte(strings.Replace(string(all[takeover].value), `"epoch":2`, `"epoch":1`, 1))
			return all
		},
		"the journal stops": func(all []change) []change { return all[:chunk] },
	} {
		if wrong, _ := audit(forge(slices.Clone(all))); len(wrong) == 0 {
			t.Errorf("%s: the audit finds nothing", name)
		}
	}
}
