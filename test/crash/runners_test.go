package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/test/program"
)

// within is how soon an heir has to have taken over here, where the machine may have much else to do. That it takes no longer
// than the aim otherwise is held by the engine's own tests, in a time of their own.
const (
	aim    = 5 * time.Second
	within = time.Minute
)

// rehearsal is an app of make-believe: branches, a hook, an attempt that fails and one whose answer is lost. Its world
// is a ledger in a folder, which both programs share. It begins when the file "go" is there.
const rehearsal = `version: 1
state: state
%ssites: {east: {}, west: {}}
apps:
  shop:
    home: east
    recovery: [west]
    resources:
      db:
        kind: fake.stateful
        settings: {ledger: ./ledger, steps: {fence: {takes: 300ms}, promote: {takes: 500ms, polls: 3}}}
        sites: {east: {role: primary}, west: {role: standby, sync: true}}
        hooks:
          - {before: fence, on: [failover], step: {name: gate, kind: exec, settings: {folder: ./host, dir: ., command: [sh, -c, "until [ -e go ] || [ ! -d $PWD ]; do sleep 0.05; done"]}}}
          - {after: promote, on: [failover], step: {name: warm, kind: fake, settings: {ledger: ./ledger, steps: {run: {takes: 300ms}}}}}
      cache:
        kind: fake
        settings: {ledger: ./ledger, steps: {promote: {takes: 900ms}}}
        sites: {east: {role: primary}, west: {role: standby}}
      api:
        kind: fake
        needs: [db]
        settings: {ledger: ./ledger, steps: {promote: {takes: 400ms, fail: [{attempt: 1, kind: unavailable, at: observe}]}}}
        sites: {east: {role: primary}, west: {role: standby}}
      web:
        kind: fake
        needs: [db, cache]
        settings: {ledger: ./ledger, steps: {promote: {takes: 600ms, unknown_begin: true}}}
        sites: {east: {role: primary}, west: {role: standby}}
      mail:
        kind: fake
        needs: [web, api]
        settings: {ledger: ./ledger, steps: {promote: {takes: 400ms}}}
        sites: {east: {role: primary}, west: {role: standby}}
`

// landed says how often each step of the rehearsal's failover has an effect, whoever drives it: the attempt of api that
// fails has landed, too, and so has each question for a marker, though none was ever written.
var landed = map[model.StepID]int{
	"db/fence@east": 1, "db/promote@west": 1, "db/after-promote/warm": 1, "cache/promote@west": 1, "api/promote@west": 2,
	"web/promote@west": 1, "mail/promote@west": 1,
	"db/read-marker@west": 1, "cache/read-marker@west": 1, "api/read-marker@west": 1, "web/read-marker@west": 1, "mail/read-marker@west": 1,
}

// lastKill is the last chunk at which a program is stopped: by then more are to come.
const lastKill = 14

// stop is what happens to the program that drives a run.
type stop string

const (
	killed stop = "killed"
	frozen stop = "frozen" // and woken after its heir has written
	behind stop = "frozen with a commit on its way"
)

// TestTwoRunners lets two programs compete for one run in an etcd of the user's. The one that drives is killed or frozen
// at some moment; the other has to take over, and the first, when it wakes, must not write.
func TestTwoRunners(t *testing.T) {
	t.Parallel()
	random := seed(t)
	rounds := 1
	if program.Long() {
		rounds = 6
	}
	endpoint, _ := startEtcd(t)
	for round := range rounds {
		for _, how := range []stop{killed, frozen, behind} {
			at := int64(3 + random.IntN(lastKill-3))
			wake := random.IntN(3)
			t.Run(fmt.Sprintf("%s, round %d", how, round), func(t *testing.T) {
				t.Parallel()
				newDuel(t, endpoint, fmt.Sprintf("/test/%d/%s/", round, strings.Fields(string(how))[len(strings.Fields(string(how)))-1])).fight(how, at, wake)
			})
		}
	}
}

// duel is two programs on one journal.
type duel struct {
	t       *testing.T
	dir     string
	proxies [2]*proxy
	notes   *notes
	history *history
}

func newDuel(t *testing.T, endpoint, prefix string) *duel {
	t.Helper()
	d := &duel{t: t, dir: program.Folder(t), notes: &notes{}}
	for i, name := range []string{"a.yaml", "b.yaml"} {
		d.proxies[i] = startProxy(t, endpoint, i, d.notes)
		d.write(name, fmt.Sprintf("journal: {endpoints: [%q], prefix: %q}\n", d.proxies[i].endpoint, prefix))
	}
	d.history = watchAll(t, endpoint, prefix)
	return d
}

// write writes a configuration with this journal.
func (d *duel) write(name, journal string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), fmt.Appendf(nil, rehearsal, journal), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *duel) lifeboat(config string, words ...string) *program.Process {
	d.t.Helper()
	return program.Start(d.t, d.dir, os.Environ(), append([]string{"-c", filepath.Join(d.dir, config)}, words...)...)
}

// pair starts a failover with the first program and the second one behind it, and lets it begin when that one stands by.
func (d *duel) pair(first, second string) (a, b *program.Process) {
	d.t.Helper()
	a = d.lifeboat(first, "failover", "shop", "--unplanned", "--yes", "--no-wait", "-o", "json")
	program.Until(d.t, "the run to start", func(context.Context) error {
		if said := a.Said(); !bytes.Contains(said, []byte(" started")) {
			return fmt.Errorf("it says %s", said)
		}
		return nil
	})
	b = d.lifeboat(second, "run", "resume", "last", "--no-wait", "-o", "json")
	program.Until(d.t, "the second to stand by", func(context.Context) error {
		if said := b.Said(); !bytes.Contains(said, []byte("standing by")) {
			return fmt.Errorf("it says %s", said)
		}
		return nil
	})
	if err := os.WriteFile(filepath.Join(d.dir, "go"), nil, 0o644); err != nil {
		d.t.Fatal(err)
	}
	return a, b
}

// fight stops the one that drives when the journal has reached a chunk, and judges all that follows.
func (d *duel) fight(how stop, at int64, wake int) {
	t := d.t
	var held <-chan struct{}
	release := func() {}
	if how == behind {
		held, release = d.proxies[0].holdNext(func(o op) bool { return o.Header.Chunk >= at })
		defer release()
	}
	a, b := d.pair("a.yaml", "b.yaml")
	if how == behind {
		select {
		case <-held:
		case <-time.After(program.Patience):
			t.Fatalf("no commit of chunk %d", at)
		}
	} else {
		d.history.await(t, fmt.Sprintf("chunk %d", at), func(h header) bool { return h.Chunk >= at })
	}
	stopped := time.Now()
	if how == killed {
		a.Kill()
	} else {
		a.Signal(syscall.SIGSTOP)
	}
	took, taken := d.history.await(t, "the takeover", func(h header) bool { return h.Epoch == 2 })
	took = max(took-stopped.Sub(d.history.since), 0)
	t.Logf("%s at chunk %d (asked for %d): taken over after %v", how, taken.Chunk, at, took.Round(time.Millisecond))
	if took > within {
		t.Errorf("the second program took over after %v; the aim is %v, and %v on a busy machine", took, aim, within)
	}
	if how != killed {
		switch { // when the zombie wakes
		case wake == 1:
			d.history.await(t, "the heir's first chunk", func(h header) bool { return h.Epoch == 2 && h.Chunk > taken.Chunk })
		case wake == 2:
			d.history.await(t, "the heir's last chunk", func(h header) bool { return h.Final })
		}
		release() // the commit that was on its way arrives
		a.Signal(syscall.SIGCONT)
	}
	if code := b.Wait(); code != 0 {
		t.Errorf("the second program exits with %d: %s", code, b.Said())
	}
	if code := a.Wait(); how != killed && code != 0 {
		t.Errorf("the first program exits with %d: %s", code, a.Said())
	}
	d.judge(b, 2)
	if how != killed {
		if first, second := program.Answer[api.Report](a), program.Answer[api.Report](b); first.Run.ID != second.Run.ID || len(first.Events) != len(second.Events) {
			t.Errorf("the two report differently: run %s with %d events, run %s with %d", first.Run.ID, len(first.Events),
				second.Run.ID, len(second.Events))
		}
	}
	if how == behind {
		d.refused(at)
	}
}

// refused holds that the commit that was held back had reached etcd after the takeover, and was refused there.
func (d *duel) refused(chunk int64) {
	d.t.Helper()
	for _, o := range d.notes.all() {
		if o.Client == 0 && o.Write && o.Header.Epoch == 1 && o.Header.Chunk >= chunk {
			if o.OK || o.Unknown {
				d.t.Errorf("the zombie's commit: %+v", o)
			}
			return
		}
	}
	d.t.Error("the zombie's commit never reached etcd")
}

// judge judges the history, once the run has left the journal: what each program was told, what was written, and what
// has landed in the world of make-believe.
func (d *duel) judge(last *program.Process, owners int64) {
	d.t.Helper()
	d.history.awaitGone(d.t)
	all := d.history.all()
	wrong, epochs := audit(all)
	if len(wrong) > 0 {
		d.t.Errorf("the journal:\n%s", strings.Join(wrong, "\n"))
	}
	if epochs != owners {
		d.t.Errorf("the run had %d owners, want %d", epochs, owners)
	}
	ops := d.notes.all()
	if got := judge(ops); got != porcupine.Ok {
		d.t.Errorf("the history of the header is judged %v:", got)
		for _, o := range ops {
			d.t.Logf("%+v", o)
		}
	}
	if len(ops) < lastKill {
		d.t.Errorf("only %d reads and writes of the header were seen", len(ops))
	}
	if !d.t.Failed() && owners == 2 {
		forgeries(d.t, ops, all)
	}
	effects(d.t, filepath.Join(d.dir, "ledger"))
	report := program.Answer[api.Report](last)
	if report.Run.Outcome != api.Succeeded || report.Run.Epoch != owners {
		d.t.Errorf("outcome %q in epoch %d", report.Run.Outcome, report.Run.Epoch)
	}
	for i, e := range report.Events {
		if e.Seq != int64(i)+1 {
			d.t.Errorf("event %d of the report has number %d", i+1, e.Seq)
		}
	}
}

// effects holds that each effect of the rehearsal's failover has landed once, however often it was asked for.
func effects(t *testing.T, ledger string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(ledger, "ledger.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	state := fake.NewState()
	for line := range bytes.Lines(text) {
		var e fake.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("ledger: %v: %s", err, line)
		}
		if err := state.Apply(e); err != nil { // an effect that has landed before is an error
			t.Error(err)
		}
	}
	got := map[model.StepID]int{}
	for _, e := range state.Effects {
		got[e.Step]++
		if e.Attempt != got[e.Step] {
			t.Errorf("%s: effect %d is that of attempt %d", e.Step, got[e.Step], e.Attempt)
		}
	}
	for step, n := range landed {
		if got[step] != n {
			t.Errorf("%s has landed %d times, want %d", step, got[step], n)
		}
		delete(got, step)
	}
	if len(got) > 0 {
		t.Errorf("landed, and not in the plan: %v", got)
	}
	fresh := map[string]int{}
	for _, c := range state.Calls {
		if !c.Resumed {
			fresh[c.Token]++
		}
		if fresh[c.Token] > 1 {
			t.Errorf("%s was begun anew though it had been begun: %+v", c.Step, c)
		}
	}
}

// TestSecondRunnerTakesTheFolderOver is the same with the journal in the state folder: the program that drives holds the
// journal, too, and the second one has to take over both.
func TestSecondRunnerTakesTheFolderOver(t *testing.T) {
	t.Parallel()
	random := seed(t)
	rounds := 1
	if program.Long() {
		rounds = 8
	}
	for round := range rounds {
		pause := time.Duration(random.Int64N(int64(1500 * time.Millisecond)))
		t.Run(fmt.Sprint("round ", round), func(t *testing.T) {
			var d *duel
			var b *program.Process
			for attempt := 1; ; attempt++ { // until it is killed in time: a busy machine may be late with that
				d = &duel{t: t, dir: program.Folder(t)}
				d.write("lifeboat.yaml", "")
				var a *program.Process
				if a, b = d.pair("lifeboat.yaml", "lifeboat.yaml"); a.KillAfter(pause) {
					break
				}
				if attempt == 10 {
					t.Fatalf("the first program ended before it was killed: %s", a.Said())
				}
			}
			stopped := time.Now()
			if code := b.Wait(); code != 0 {
				t.Fatalf("the second program exits with %d: %s", code, b.Said())
			}
			report := program.Answer[api.Report](b)
			var taken []api.Event
			for i, e := range report.Events {
				if e.Seq != int64(i)+1 {
					t.Errorf("event %d of the report has number %d", i+1, e.Seq)
				}
				if e.Kind == "owner-changed" {
					taken = append(taken, e)
				}
			}
			if report.Run.Outcome != api.Succeeded || report.Run.Epoch != 2 || len(taken) != 2 {
				t.Fatalf("outcome %q in epoch %d, owners: %v", report.Run.Outcome, report.Run.Epoch, taken)
			}
			took := taken[1].At.Sub(stopped)
			t.Logf("killed %v after the second stood by: taken over after %v", pause.Round(time.Millisecond), took.Round(time.Millisecond))
			if took > within {
				t.Errorf("the second program took over after %v; the aim is %v, and %v on a busy machine", took, aim, within)
			}
			effects(t, filepath.Join(d.dir, "ledger"))
			left, err := filepath.Glob(filepath.Join(d.dir, "state", "*.sock"))
			if err != nil || len(left) > 0 {
				t.Errorf("left in the state folder: %v, %v", left, err)
			}
		})
	}
}

// TestFrozenHolderOfTheFolder freezes the program that holds the journal in the state folder for longer than its lease
// lasts. While it is frozen nobody else can reach the journal, and nobody may take it away from a holder that lives;
// when it wakes, one of the two carries the run on, and each effect has still landed once.
func TestFrozenHolderOfTheFolder(t *testing.T) {
	t.Parallel()
	d := &duel{t: t, dir: program.Folder(t)}
	d.write("lifeboat.yaml", "")
	a, b := d.pair("lifeboat.yaml", "lifeboat.yaml")
	a.Signal(syscall.SIGSTOP)
	d.outlasts(a, b)
	a.Signal(syscall.SIGCONT)
	d.bothEnd(a, b)
}

// TestFrozenEtcd freezes the etcd that holds the journal for longer than leases and calls last. Nobody can write
// meanwhile; afterwards one of the two programs carries the run on.
func TestFrozenEtcd(t *testing.T) {
	t.Parallel()
	endpoint, etcd := startEtcd(t)
	d := newDuel(t, endpoint, "/test/")
	a, b := d.pair("a.yaml", "b.yaml")
	if err := etcd.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	d.outlasts(a, b)
	if err := etcd.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	d.bothEnd(a, b)
	d.history.awaitGone(t)
	if wrong, epochs := audit(d.history.all()); len(wrong) > 0 {
		t.Errorf("the journal, after %d owners:\n%s", epochs, strings.Join(wrong, "\n"))
	}
	if got := judge(d.notes.all()); got != porcupine.Ok {
		t.Errorf("the history of the header is judged %v", got)
	}
}

// outlasts lets the time go by in which all leases run out, and every call that is under way. Neither program may give
// up.
func (d *duel) outlasts(programs ...*program.Process) {
	d.t.Helper()
	<-time.After(silence)
	for _, p := range programs {
		select {
		case <-p.Ended:
			d.t.Errorf("lifeboat %s gives up: %s", p.Words, p.Said())
		default:
		}
	}
}

// silence is longer than a lease and a call to the journal last.
const silence = 8 * time.Second

// bothEnd holds that both programs see the run to its good end, and report the same.
func (d *duel) bothEnd(programs ...*program.Process) {
	d.t.Helper()
	for _, p := range programs {
		if code := p.Wait(); code != 0 {
			d.t.Errorf("lifeboat %s exits with %d: %s", p.Words, code, p.Said())
			continue
		}
		report := program.Answer[api.Report](p)
		for i, e := range report.Events {
			if e.Seq != int64(i)+1 {
				d.t.Errorf("event %d of the report has number %d", i+1, e.Seq)
			}
		}
		if report.Run.Outcome != api.Succeeded {
			d.t.Errorf("outcome %q", report.Run.Outcome)
		}
	}
	effects(d.t, filepath.Join(d.dir, "ledger"))
}

// history is every write under a prefix, as etcd's own watch tells it.
type history struct {
	since time.Time

	mu      sync.Mutex
	changes []change
	more    chan struct{} // closed and replaced with each change
}

// watchAll watches a prefix from the first revision on.
func watchAll(t *testing.T, endpoint, prefix string) *history {
	t.Helper()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: program.Patience})
	if err != nil {
		t.Fatal(err)
	}
	h := &history{since: time.Now(), more: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	watch := etcd.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(1))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for response := range watch {
			h.add(response.Events)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		etcd.Close()
	})
	return h
}

func (h *history) add(events []*clientv3.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		h.changes = append(h.changes, changeOf(e))
	}
	close(h.more)
	h.more = make(chan struct{})
}

func (h *history) all() []change {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]change(nil), h.changes...)
}

// await waits for a header that is so, and gives when it was seen, counted from since.
func (h *history) await(t *testing.T, what string, so func(header) bool) (time.Duration, header) {
	t.Helper()
	var found header
	at := h.awaitChange(t, what, func(c change) bool {
		if c.deleted || !isHeader([]byte(c.key)) {
			return false
		}
		got, err := readHeader(c.value)
		found = got
		return err == nil && so(got)
	})
	return at.Sub(h.since), found
}

// awaitGone waits until the run has left the journal.
func (h *history) awaitGone(t *testing.T) {
	t.Helper()
	h.awaitChange(t, "the run to be archived", func(c change) bool { return c.deleted && isHeader([]byte(c.key)) })
}

func (h *history) awaitChange(t *testing.T, what string, so func(change) bool) time.Time {
	t.Helper()
	deadline := time.NewTimer(program.Patience)
	defer deadline.Stop()
	for i := 0; ; {
		h.mu.Lock()
		changes, more := h.changes, h.more
		h.mu.Unlock()
		for ; i < len(changes); i++ {
			if so(changes[i]) {
				return changes[i].at
			}
		}
		select {
		case <-more:
		case <-deadline.C:
			t.Fatalf("wait for %s: %d changes were seen", what, len(changes))
		}
	}
}
