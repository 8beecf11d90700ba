package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/demo/clients"
	"github.com/lifeboat-dr/lifeboat/internal/demo/process"
	"github.com/lifeboat-dr/lifeboat/internal/demo/world"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/test/program"
)

// seedEnv repeats the moments of an earlier test.
const seedEnv = "LIFEBOAT_CRASH_SEED"

func seed(t *testing.T) *rand.Rand {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedEnv, err)
		}
	}
	t.Logf("%s=%d", seedEnv, n)
	return rand.New(rand.NewPCG(n, 1))
}

// disaster is what happens to east before a failover.
type disaster string

const (
	destroyed disaster = "destroyed" // its processes are killed, its folder is taken away
	crashed   disaster = "crashed"   // its processes are killed, its disk is left as it was then
	alive     disaster = "alive"     // nothing: the failover itself has to shut it out
)

// TestKilledAtAnyMoment kills the program that carries an operation out, at moments that cover the operation's whole
// life, has others carry it on, of which some are killed too, and looks at what came of it while clients go on ordering.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	failovers, failbacks, drills := 3, 1, 1
	if program.Long() {
		failovers, failbacks, drills = 20, 12, 10
	}
	r := newRig(t, world.FromStandby)
	r.begin(crashed)
	for _, name := range []string{"failover", "failback", "drill"} {
		r.operate(name, nil)
		r.look(map[string]string{"failover": world.West, "failback": world.East, "drill": world.East}[name], name != "failover")
	}
	t.Logf("undisturbed: %v", r.life)
	failover, failback, drill := r.moments(failovers), r.moments(failbacks), r.moments(drills)
	kinds := []disaster{crashed, destroyed, alive}
	for i := 0; len(failover)+len(failback)+len(drill) > 0 && !t.Failed(); i++ {
		if i == 4*failovers {
			t.Fatalf("programs end before their moments come; killed so far: %v", r.killed)
		}
		r.protect(i%2 == 1)
		if len(drill) > 0 {
			drill = r.operate("drill", drill)
			r.look(world.East, true)
		}
		r.begin(kinds[i%len(kinds)])
		failover = r.operate("failover", failover)
		r.look(world.West, false)
		r.rack()
		failback = r.operate("failback", failback)
		r.look(world.East, true)
	}
	t.Logf("killed: %v; %d orders acknowledged, none lost", r.killed, r.acknowledged)
}

// moments cuts an operation's life, which is 1 long, into n parts, and gives a moment in each, in any order.
func (r *rig) moments(n int) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = (float64(i) + r.random.Float64()) / float64(n)
	}
	r.random.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// rig is a world with clients in it, and what was seen of it so far.
type rig struct {
	t      *testing.T
	w      *world.World
	dir    string // of the programs' output
	random *rand.Rand
	ledger *clients.Ledger
	fleet  *clients.Fleet

	serves       string // the site that a disaster happens to
	happened     disaster
	lost         string // where that site's folder is, when it was taken away
	guard        *program.Process
	acknowledged int
	killed       map[string]int
	life         map[string]time.Duration // of the last program that was not killed, by operation
}

func newRig(t *testing.T, db world.Recovery) *rig {
	t.Helper()
	r := &rig{t: t, serves: world.East, dir: program.Folder(t), random: seed(t), ledger: clients.NewLedger(), killed: map[string]int{},
		life: map[string]time.Duration{}}
	w, err := world.Create(t.Context(), world.Options{DB: db, Dir: filepath.Join(program.Folder(t), "world"), Binary: program.Path()})
	if err != nil {
		t.Fatal(err)
	}
	r.w = w
	t.Cleanup(func() {
		if t.Failed() {
			logs := t.ArtifactDir()
			w.SaveLogs(logs)
			t.Logf("the logs of the world are in %s (kept with go test -artifacts)", logs)
		}
		if err := w.Down(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if n, err := w.Processes(); n != 0 || err != nil {
			t.Errorf("%d processes are left, %v", n, err)
		}
	})
	r.fleet = clients.Start(t.Context(), clients.Config{URL: w.ShopURL(), Resolver: w.Resolver(), Clients: 4,
		Pace: 40 * time.Millisecond, Prefix: w.ID()}, r.ledger)
	t.Cleanup(r.fleet.Stop)
	r.orders(4)
	return r
}

// orders waits until the clients have n more orders acknowledged: none from before can be among them.
func (r *rig) orders(n int) {
	r.t.Helper()
	since := time.Now()
	program.Until(r.t, "orders", func(context.Context) error {
		if got := r.ledger.Acknowledged(since, time.Now()); got < n {
			return fmt.Errorf("%d are acknowledged", got)
		}
		return nil
	})
}

// lifeboat starts the program on the world.
func (r *rig) lifeboat(words ...string) *program.Process {
	r.t.Helper()
	return program.Start(r.t, r.dir, r.w.Env(), append([]string{"-c", r.w.Config()}, words...)...)
}

// operation starts one, or takes the last one up.
func (r *rig) operation(name string) *program.Process {
	r.t.Helper()
	words := map[string][]string{
		"failover": {"failover", world.App, "--unplanned", "--yes"}, "failback": {"failback", world.App, "--yes"},
		"drill": {"drill", world.App},
	}[name]
	if name == "failover" && r.serves != world.East {
		words = append(words, "--from", r.serves, "--to", other(r.serves))
	}
	if name == "resume" { // by its id: it may have ended just before its program was killed
		words = []string{"run", "resume", string(r.newest().ID)}
	}
	return r.lifeboat(append(words, "--no-wait", "-o", "json")...)
}

// protect has lifeboat protect run in the background, or not. While it runs it holds the journal; otherwise each
// killed program takes the journal down with it.
func (r *rig) protect(on bool) {
	r.t.Helper()
	if r.guard != nil {
		r.guard.Kill()
		r.guard.Wait()
		r.guard = nil
	}
	if on {
		r.guard = r.lifeboat("protect", world.App)
	}
}

// other is the site that is not this one.
func other(site string) string {
	if site == world.East {
		return world.West
	}
	return world.East
}

// begin lets a disaster happen to the site that serves.
func (r *rig) begin(d disaster) {
	r.t.Helper()
	r.happened, r.lost = d, ""
	if d == alive {
		return
	}
	lost, n, err := r.w.Destroy(r.t.Context(), r.serves)
	if err != nil || n < 6 { // the shop, the postmaster, and at least four of its processes
		r.t.Fatalf("destroy %s: %d processes, %v", r.serves, n, err)
	}
	r.lost = lost
	if d == crashed {
		if err := os.Rename(lost, filepath.Join(r.w.Dir(), r.serves)); err != nil {
			r.t.Fatal(err)
		}
		r.lost = ""
	}
}

// rack gives the site of the disaster a new machine when it needs one.
func (r *rig) rack() {
	r.t.Helper()
	if r.lost == "" {
		return
	}
	if err := os.RemoveAll(r.lost); err != nil {
		r.t.Fatal(err)
	}
	if err := r.w.Rack(r.t.Context(), r.serves); err != nil {
		r.t.Fatal(err)
	}
	r.lost = ""
}

// runs lists the latest runs, newest first.
func (r *rig) runs(words ...string) []api.RunSummary {
	r.t.Helper()
	p := r.lifeboat(append([]string{"run", "list", "-o", "json"}, words...)...)
	if code := p.Wait(); code != 0 {
		r.t.Fatalf("run list exits with %d: %s", code, p.Said())
	}
	return program.Answer[[]api.RunSummary](p)
}

// newest is the run that started last.
func (r *rig) newest() api.RunSummary {
	r.t.Helper()
	for _, run := range r.runs("--limit", "20") {
		if run.By != "schedule" { // protect begins others all the time
			return run
		}
	}
	return api.RunSummary{}
}

// operate carries an operation out with a program that is killed at the first of the moments of its life, and then with
// as many more as it takes, the next ones of which are killed too, sometimes. It gives the moments that are left: all of
// them when the program ended before its moment came. Without moments it is not killed.
func (r *rig) operate(name string, moments []float64) []float64 {
	r.t.Helper()
	before := r.newest().ID
	began := time.Now()
	p := r.operation(name)
	at, how, dead := time.Duration(0), "", false
	if len(moments) > 0 {
		at = time.Duration(moments[0] * float64(r.life[name]))
		how, dead = r.kill(p, at)
	}
	if !dead {
		p.Wait()
		r.life[name] = time.Since(began) // the machine may be busier than it was, or less
		r.ended(name, p)
		return moments
	}
	r.killed[name]++
	story := fmt.Sprintf("%s (%s %s, protect %v) killed%s after %v", name, r.serves, r.happened, r.guard != nil, how, at.Round(time.Millisecond))
	for again := 0; ; again++ {
		verb := name
		if now := r.newest(); now.ID != before {
			verb = "resume"
			story += fmt.Sprintf(" with %d of %d steps done", now.Done, now.Total)
		} else {
			story += " before the run was recorded"
		}
		began := time.Now()
		p := r.operation(verb)
		if again < 2 && r.random.IntN(3) == 0 {
			at := time.Duration(r.random.Int64N(int64(5 * time.Second)))
			if how, dead := r.kill(p, at); dead {
				r.killed["resume"]++
				story += fmt.Sprintf("; %s killed%s after %v", verb, how, at.Round(time.Millisecond))
				continue
			}
		}
		if verb == name && p.Wait() == failure.Conflict.ExitCode() && r.newest().ID != before {
			// The killed program's last word was on its way to whoever holds the journal. The error says what to do.
			story += ", so it seemed"
			continue
		}
		r.ended(name, p)
		r.t.Logf("%s; %s ended it after %v", story, verb, time.Since(began).Round(time.Millisecond))
		return moments[1:]
	}
}

// kill kills a program when it has run for d: sometimes it alone, sometimes with all that it has under way, as when its
// host dies. The servers of the app live on either way. dead is false when it ended before.
func (r *rig) kill(p *program.Process, d time.Duration) (how string, dead bool) {
	r.t.Helper()
	with := r.random.IntN(2) == 0
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.Ended:
		return "", false
	case <-timer.C:
	}
	var below []process.Info
	if self, ok := process.Find(p.PID()); ok && with {
		p.Signal(syscall.SIGSTOP) // so that it starts nothing more
		table, err := process.Table()
		if err != nil {
			r.t.Fatal(err)
		}
		below = slices.DeleteFunc(process.Descendants(table, self), func(i process.Info) bool {
			return i.ID == self || len(i.Args) == 0 || r.what(i) != strings.Join(i.Args, " ")
		})
	}
	p.Kill()
	for _, info := range below {
		if _, err := info.Signal(os.Kill); err != nil {
			r.t.Fatal(err)
		}
	}
	if len(below) > 0 {
		how = fmt.Sprintf(" with %d of its programs", len(below))
	}
	return how, p.Wait() == -1
}

// ended waits for a program that carries an operation to its end, and judges its report.
func (r *rig) ended(name string, p *program.Process) {
	r.t.Helper()
	if code := p.Wait(); code != 0 {
		r.t.Fatalf("lifeboat %s exits with %d:\n%s", p.Words, code, p.Said())
	}
	report := program.Answer[api.Report](p)
	if string(report.Run.Operation) != name {
		r.t.Fatalf("the report is of a %s, not of the %s", report.Run.Operation, name)
	}
	passed := 0
	for _, c := range report.Checks {
		if !c.Passed {
			r.t.Errorf("%s: check %q: %s", name, c.Name, c.Detail)
			continue
		}
		passed++
	}
	if !report.OK || report.Run.Outcome != api.Succeeded || passed == 0 {
		r.t.Errorf("%s: outcome %q, ok %v, %d checks passed", name, report.Run.Outcome, report.OK, passed)
	}
	for i, e := range report.Events {
		if e.Seq != int64(i)+1 {
			r.t.Errorf("%s: event %d has number %d", name, i+1, e.Seq)
		}
	}
}

// look looks at the world after an operation: who is primary, where the name leads, that no order is lost, and that
// nothing is left behind. With standby set the other site has to follow synchronously.
func (r *rig) look(serves string, standby bool) {
	r.t.Helper()
	r.orders(8)
	ctx := r.t.Context()
	if at, err := r.w.NameAt(ctx); at != serves || err != nil {
		r.t.Errorf("the name leads to %q, %v; want %s", at, err, serves)
	}
	var primaries []string
	servers := r.servers()
	for site := range world.Addresses {
		if servers["postgres "+site] == 0 {
			continue
		}
		if inRecovery, err := r.w.InRecovery(ctx, site); err != nil {
			r.t.Errorf("PostgreSQL in %s: %v", site, err)
		} else if !inRecovery {
			primaries = append(primaries, site)
		}
	}
	if !slices.Equal(primaries, []string{serves}) {
		r.t.Errorf("primaries: %v, want %s", primaries, serves)
	}
	if standby {
		if sync, err := r.w.Synchronous(ctx, serves); !sync || err != nil {
			r.t.Errorf("nobody follows %s synchronously (%v)", serves, err)
		}
	}
	r.compare(serves)
	r.nothingLeft(serves, servers)
}

// compare compares the clients' ledger with the database that serves, one by one.
func (r *rig) compare(serves string) {
	r.t.Helper()
	ctx := r.t.Context()
	conn, err := r.w.Connect(ctx, serves, world.Database)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close(ctx)
	c, err := r.ledger.Compare(ctx, conn)
	if err != nil {
		r.t.Fatal(err)
	}
	if !c.Clean() || c.Acknowledged < r.acknowledged+8 {
		r.t.Errorf("of %d orders (%d at the last look), lost: %v, never sent: %v, twice: %v", c.Acknowledged, r.acknowledged,
			c.Lost, c.Phantom, c.Repeated)
	}
	r.acknowledged = c.Acknowledged
}

// servers counts what runs in the world, by what it is.
func (r *rig) servers() map[string]int {
	r.t.Helper()
	table, err := process.Table()
	if err != nil {
		r.t.Fatal(err)
	}
	tag := r.w.Env()[len(r.w.Env())-1]
	found := map[string]int{}
	for _, info := range table {
		if len(info.Args) == 0 || !process.HasEnv(info.PID, tag) && !strings.Contains(strings.Join(info.Args, " "), r.w.Dir()+"/") {
			continue
		}
		if r.guard != nil && info.PID == r.guard.PID() {
			continue
		}
		found[r.what(info)]++
	}
	return found
}

// what names a process of the world: a server that belongs there, or its command line.
func (r *rig) what(info process.Info) string {
	line := strings.Join(info.Args, " ")
	for site := range world.Addresses {
		switch {
		case filepath.Base(info.Args[0]) == "postgres" && slices.Contains(info.Args, filepath.Join(r.w.Dir(), site, "pgdata")):
			return "postgres " + site
		case len(info.Args) > 2 && info.Args[1] == "pg-receiver" && strings.HasPrefix(info.Args[2], filepath.Join(r.w.Dir(), site)+"/"):
			return "receiver " + site
		case len(info.Args) > 1 && info.Args[1] == "demo-shop" && strings.Contains(line, "--listen "+r.w.ShopAddress(site)):
			return "shop " + site
		case strings.HasPrefix(info.Args[0], "postgres: "+site+":"):
			return "backends"
		}
	}
	if len(info.Args) > 1 && info.Args[1] == "demo-dns" {
		return "name server"
	}
	if len(info.Args) > 2 && info.Args[1] == "vault" && info.Args[2] == "serve" {
		return "vault server"
	}
	return line
}

// nothingLeft holds that the world has the servers and files that belong to it, and no others. What a killed program
// had started may need a moment to end.
func (r *rig) nothingLeft(serves string, servers map[string]int) {
	r.t.Helper()
	want := map[string]int{"name server": 1, "vault server": 1, "postgres " + serves: 1, "shop " + serves: 1}
	other := other(serves)
	program.Until(r.t, "what was started to end", func(context.Context) error {
		servers = r.servers()
		for what, n := range servers {
			switch {
			case what == "backends", n == want[what], n == 1 && (what == "postgres "+other || what == "receiver "+other):
			case n == 1 && what == "shop "+other && other == world.East && r.happened == alive:
			default:
				return fmt.Errorf("%d × %s", n, what)
			}
		}
		return nil
	})
	for what, n := range want {
		if servers[what] != n {
			r.t.Errorf("%d × %s, want %d", servers[what], what, n)
		}
	}
	if left, err := r.w.DrillLeft(world.West); err != nil || len(left) > 0 {
		r.t.Errorf("drills have left %v, %v", left, err)
	}
	active := slices.DeleteFunc(r.runs("--active"), func(run api.RunSummary) bool { return run.Operation == model.OpProtect }) // by schedule
	if len(active) > 0 {
		r.t.Errorf("runs are active: %+v", active)
	}
	for _, place := range []string{"", world.East, world.West} {
		entries, err := os.ReadDir(filepath.Join(r.w.Dir(), place))
		if err != nil && (place == "" || place != other) {
			r.t.Error(err)
		}
		for _, entry := range entries {
			if !slices.Contains(belongs[place == ""], entry.Name()) && filepath.Join(r.w.Dir(), entry.Name()) != r.lost {
				r.t.Errorf("%s is left in the world's folder %q", entry.Name(), place)
			}
		}
	}
}

// belongs lists what is in the world's folder, and in each site's.
var belongs = map[bool][]string{
	true: {"dns", "east", "west", "lifeboat", "lifeboat.yaml", "secrets", "state", "vault", "world.json"},
	false: {"drill", "pgdata", "pgdata.lifeboat", "postgres.log", "spool", "shop", "shop.log", "shop-drill",
		"uploads", "uploads.lifeboat-fenced", "uploads.lifeboat-standby", "uploads-drill", ".lifeboat"},
}
