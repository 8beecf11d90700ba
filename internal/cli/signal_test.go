package cli

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"iter"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

func roundOf(at time.Time, ok bool, errs ...*failure.Error) *api.ProtectRound {
	return &api.ProtectRound{
		At: at, ProbeOK: &ok, Errors: errs, Markers: map[model.ResourceID]model.Marker{"db": {Seq: 1, At: at}},
	}
}

// process is one command line that runs while the test does something else.
type process struct {
	signals chan os.Signal
	in      *io.PipeWriter
	out     syncBuffer
	err     *bufio.Reader
	errAll  bytes.Buffer
	code    chan int
}

// syncBuffer is read by the test while the command writes.
type syncBuffer struct {
	mu    sync.Mutex
	b     bytes.Buffer
	wrote chan struct{} // closed by the next write
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wrote != nil {
		close(s.wrote)
		s.wrote = nil
	}
	return s.b.Write(p)
}

// await blocks until text was written.
func (s *syncBuffer) await(t *testing.T, text string) {
	t.Helper()
	for {
		s.mu.Lock()
		if strings.Contains(s.b.String(), text) {
			s.mu.Unlock()
			return
		}
		if s.wrote == nil {
			s.wrote = make(chan struct{})
		}
		wrote := s.wrote
		s.mu.Unlock()
		select {
		case <-wrote:
		case <-t.Context().Done():
			t.Fatalf("never wrote %q", text)
		}
	}
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start runs a command line in the background, at a terminal. Standard error must be read with expect.
func (b *bench) start(t *testing.T, args ...string) *process {
	t.Helper()
	b.tty = true
	inR, inW := io.Pipe()
	errR, errW := io.Pipe()
	p := &process{signals: make(chan os.Signal, 2), in: inW, code: make(chan int, 1)}
	p.err = bufio.NewReader(io.TeeReader(errR, &p.errAll))
	deps := b.deps(folder(t), inR, &p.out, errW, func(string) string { return "" })
	deps.Signals = p.signals
	go func() {
		code := Main(context.Background(), args, deps)
		errW.Close()
		p.code <- code
	}()
	t.Cleanup(func() { inW.Close(); errR.Close() })
	return p
}

// expect reads standard error until text has come.
func (p *process) expect(t *testing.T, text string) {
	t.Helper()
	var got strings.Builder
	for !strings.HasSuffix(got.String(), text) {
		c, err := p.err.ReadByte()
		if err != nil {
			t.Fatalf("standard error ended before %q: %q", text, got.String())
		}
		got.WriteByte(c)
	}
}

// end reads the rest and gives the exit code.
func (p *process) end(t *testing.T) int {
	t.Helper()
	io.Copy(io.Discard, p.err)
	return <-p.code
}

func (p *process) types(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// TestInterrupt: the first Ctrl-C leaves a run that anybody can take up.
func TestInterrupt(t *testing.T) {
	b := &bench{world: newWorld()}
	b.world.script["promote-db"] = []string{"hold"}
	p := b.start(t, "failover", "shop", "--yes")
	run, err := b.world.await(t.Context(), "promote-db", api.StepRunning)
	if err != nil {
		t.Fatal(err)
	}
	p.signals <- os.Interrupt
	if got, want := p.end(t), 130; got != want {
		t.Errorf("exit code %d, want %d", got, want)
	}
	want := "error: interrupted: run " + string(run) + " stays as it is\n  hint: go on with: lifeboat run resume " + string(run) + "\n"
	if got := p.errAll.String(); !strings.HasSuffix(got, want) {
		t.Errorf("standard error %q, want at its end %q", got, want)
	}
	view, err := b.world.open("test").Run(t.Context(), run)
	if err != nil || view.Owner != "" || view.Final {
		t.Fatalf("the run is %s, driven by %q (%v)", view.Status, view.Owner, err)
	}
	b.world.release("promote-db")
	if code, out, errs := b.run(t, folder(t), "run", "resume", "last"); code != 0 || !strings.Contains(out, "OK") {
		t.Errorf("resume: exit code %d: %s%s", code, out, errs)
	}
}

// TestInterruptAtConfirmation: nothing has started, and that is what is said.
func TestInterruptAtConfirmation(t *testing.T) {
	b := &bench{world: newWorld()}
	p := b.start(t, "failover", "shop")
	p.expect(t, "Type shop to go on: ")
	p.signals <- os.Interrupt
	if got := p.end(t); got != 130 {
		t.Errorf("exit code %d, want 130", got)
	}
	if !strings.Contains(p.errAll.String(), "interrupted; nothing was started") || len(b.world.runs) != 0 {
		t.Errorf("%d runs: %s", len(b.world.runs), p.errAll.String())
	}
}

// stuck is a service that does not let go.
type stuck struct {
	*fakeService
	entered, free chan struct{}
}

func (s *stuck) Close() error {
	close(s.entered)
	<-s.free
	return s.fakeService.Close()
}

// TestSecondInterrupt: the second Ctrl-C does not wait for anything.
func TestSecondInterrupt(t *testing.T) {
	b := &bench{world: newWorld()}
	svc := &stuck{b.world.open("me"), make(chan struct{}), make(chan struct{})}
	signals := make(chan os.Signal, 2)
	closed := make(chan struct{})
	var out, errs syncBuffer
	deps := b.deps(folder(t), strings.NewReader(""), &out, &errs, func(string) string { return "" })
	deps.Open = func(context.Context, OpenOptions) (api.Service, error) { return svc, nil }
	deps.Signals = signals
	code := make(chan int)
	go func() { code <- Main(context.Background(), []string{"points", "shop"}, deps); close(closed) }()
	<-svc.entered
	signals <- os.Interrupt
	signals <- os.Interrupt
	if got := <-code; got != 130 {
		t.Errorf("exit code %d, want 130", got)
	}
	<-closed
	close(svc.free)
}

// TestProtectEndsWell: a service manager's SIGTERM is how protection ends, not a failure.
func TestProtectEndsWell(t *testing.T) {
	b := &bench{world: newWorld()}
	at := b.world.now
	down := failure.New(failure.Unavailable, "write marker", "db", "no answer")
	b.world.rounds = []*api.ProtectRound{
		roundOf(at, true), roundOf(at.Add(time.Second), true), roundOf(at.Add(2*time.Second), false, down), roundOf(at.Add(3*time.Second), true),
	}
	for _, tc := range []struct {
		args  []string
		lines int // with "marker" in them, or JSON
	}{
		{[]string{"protect", "shop"}, 3},
		{[]string{"protect", "shop", "-o", "json"}, 4},
		{[]string{"protect", "shop", "-v"}, 4},
	} {
		signals := make(chan os.Signal, 1)
		var out, errs syncBuffer
		deps := b.deps(folder(t), strings.NewReader(""), &out, &errs, func(string) string { return "" })
		deps.Open = func(context.Context, OpenOptions) (api.Service, error) {
			return &ending{b.world.open("me"), signals}, nil
		}
		deps.Signals = signals
		if got := Main(context.Background(), tc.args, deps); got != 0 {
			t.Errorf("%q: exit code %d: %s", tc.args, got, errs.String())
		}
		lines := 0
		for line := range strings.Lines(out.String()) {
			if !strings.HasPrefix(line, " ") {
				lines++
			}
		}
		if lines != tc.lines {
			t.Errorf("%q: %d lines, want %d:\n%s", tc.args, lines, tc.lines, out.String())
		}
	}
}

// ending interrupts the command once all rounds have been shown.
type ending struct {
	*fakeService
	signals chan os.Signal
}

func (e *ending) Protect(ctx context.Context, req api.ProtectRequest) iter.Seq2[*api.ProtectRound, error] {
	return func(yield func(*api.ProtectRound, error) bool) {
		for _, r := range e.w.rounds {
			if !yield(r, nil) {
				return
			}
		}
		e.signals <- os.Interrupt
		<-ctx.Done()
		yield(nil, failure.Wrap(ctx.Err(), "protect", string(req.App)))
	}
}

// TestAnsweredElsewhere: a question goes away when another terminal answers it, and what is typed afterwards is for
// the next one.
func TestAnsweredElsewhere(t *testing.T) {
	b := &bench{world: newWorld()}
	b.world.script["fence-db"] = []string{"fail east does not answer"}
	b.world.script["promote-db"] = []string{"fail no quorum"}
	p := b.start(t, "failover", "shop", "--yes")
	p.expect(t, "exit code 3)\n? ")
	if code, _, errs := b.run(t, folder(t), "run", "retry", "last"); code != 0 {
		t.Fatalf("retry: exit code %d: %s", code, errs)
	}
	p.expect(t, "fence-db waits no more: answered elsewhere\n")
	p.expect(t, "promote-db failed and asks what to do")
	p.expect(t, "exit code 3)\n? ")
	p.types(t, "s")
	p.expect(t, "choose again): ")
	p.types(t, "done by hand")
	if got := p.end(t); got != 0 {
		t.Errorf("exit code %d: %s", got, p.errAll.String())
	}
	var got []api.Signal
	for _, s := range b.world.sent {
		got = append(got, s.Signal)
	}
	if len(got) != 2 || got[0] != api.Retry || got[1] != api.Skip {
		t.Errorf("sent %v, want retry and skip", got)
	}
}

// TestStandBy: resume waits behind the one who drives, and takes over when that one goes.
func TestStandBy(t *testing.T) {
	b := &bench{world: newWorld()}
	b.world.script["promote-db"] = []string{"hold"}
	first := b.start(t, "failover", "shop", "--yes")
	if _, err := b.world.await(t.Context(), "promote-db", api.StepRunning); err != nil {
		t.Fatal(err)
	}
	second := b.start(t, "run", "resume", "last")
	second.out.await(t, "standing by to take over if it dies")
	first.signals <- os.Interrupt
	if got := first.end(t); got != 130 {
		t.Errorf("first: exit code %d, want 130", got)
	}
	b.world.release("promote-db")
	if got := second.end(t); got != 0 {
		t.Errorf("second: exit code %d: %s", got, second.errAll.String())
	}
	view, err := b.world.open("test").Run(t.Context(), "last")
	if err != nil || view.Epoch != 2 {
		t.Errorf("epoch %d, want 2 (%v)", view.Epoch, err)
	}
}

// TestUnreadAnswersAreAwaited: a step is no question while an answer may lie unread.
func TestUnreadAnswersAreAwaited(t *testing.T) {
	view := &api.RunView{Owner: "host/2", Unread: 1, Steps: []api.StepView{{ID: "approve", Status: api.StepApproval, Needed: 1}}}
	f := &follower{seen: map[question]bool{}}
	if got := f.newQuestion(view); got != nil {
		t.Errorf("asked about %s, and an answer is unread", got.ID)
	}
	if view.Unread = 0; f.newQuestion(view) == nil {
		t.Error("nobody is asked, and nothing was answered")
	}
}
