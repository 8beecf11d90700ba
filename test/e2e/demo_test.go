package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/test/program"
)

// document is what `lifeboat demo -o json` promises to those who read it. A field that is not there stays nil.
type document struct {
	OK         *bool       `json:"ok"`
	DB         string      `json:"db"`
	Mistake    *mistake    `json:"mistake"`
	Operations []operation `json:"operations"`
}

type mistake struct {
	Transaction string `json:"transaction"`
	Deleted     int    `json:"deleted"`
	Found       int    `json:"found"`
}

type operation struct {
	Operation    *string  `json:"operation"`
	RTO          *float64 `json:"rto_seconds"`
	RPO          *float64 `json:"rpo_seconds"`
	Acknowledged *int     `json:"acknowledged"`
	Lost         *int     `json:"lost"`
	ChecksPassed *int     `json:"checks_passed"`
	ChecksFailed *int     `json:"checks_failed"`
	OK           *bool    `json:"ok"`
	HTML         string   `json:"report_html"`
	JSON         string   `json:"report_json"`
}

// demo starts the demo with a folder for temporary files of its own, and gives what marks its processes.
func demo(t *testing.T, words ...string) (p *program.Process, dir, tmp, mark string) {
	t.Helper()
	dir, tmp = program.Folder(t), program.Folder(t)
	mark = "LIFEBOAT_E2E=" + filepath.Base(tmp)
	return program.Start(t, dir, append(os.Environ(), "TMPDIR="+tmp, mark), append([]string{"demo"}, words...)...), dir, tmp, mark
}

// gone holds that nothing is left of a demo that is over.
func gone(t *testing.T, tmp, mark string) {
	t.Helper()
	if left := processes(t, mark, tmp); len(left) > 0 {
		t.Errorf("processes are left: %s", strings.Join(left, "; "))
	}
	if left := entries(t, tmp); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
}

// TestDemo runs the demo to its end: it exits with 0, prints one document, loses nothing, and leaves its reports alone.
func TestDemo(t *testing.T) {
	for _, db := range []string{"standby", "vault"} {
		t.Run(db, func(t *testing.T) {
			t.Parallel()
			runDemo(t, db)
		})
	}
}

func runDemo(t *testing.T, db string) {
	p, dir, tmp, mark := demo(t, "--db", db, "-o", "json")
	if code := p.Wait(); code != 0 {
		t.Errorf("exit code %d; it said:\n%s", code, p.Said())
	}
	gone(t, tmp, mark)
	if left := entries(t, dir); !slices.Equal(left, []string{"lifeboat-demo-reports"}) {
		t.Errorf("left in the working folder: %v", left)
	}
	var d document
	if err := json.Unmarshal(p.Printed(), &d); err != nil {
		t.Fatalf("%v: %s", err, p.Printed())
	}
	if d.OK == nil || !*d.OK || d.DB != db {
		t.Errorf("the demo is not ok, or its database came back from %q", d.DB)
	}
	if m := d.Mistake; (m != nil) != (db == "vault") || m != nil && (m.Transaction == "" || m.Deleted == 0 || m.Found != m.Deleted) {
		t.Errorf("what was deleted by mistake: %+v", m)
	}
	var names []string
	for _, o := range d.Operations {
		if o.Operation == nil || o.RTO == nil || o.RPO == nil || o.Acknowledged == nil || o.Lost == nil || o.ChecksPassed == nil ||
			o.ChecksFailed == nil || o.OK == nil {
			t.Errorf("a field is missing or null: %s", p.Printed())
			continue
		}
		names = append(names, *o.Operation)
		if !*o.OK || *o.Lost != 0 || *o.ChecksFailed != 0 || *o.ChecksPassed == 0 || *o.Acknowledged == 0 || *o.RTO <= 0 || *o.RPO < 0 {
			t.Errorf("%s: ok %v, lost %d of %d, checks failed %d, passed %d, RTO %v, RPO %v", *o.Operation, *o.OK, *o.Lost,
				*o.Acknowledged, *o.ChecksFailed, *o.ChecksPassed, *o.RTO, *o.RPO)
		}
		report(t, dir, o)
	}
	if diff := cmp.Diff([]string{"drill", "failover", "failback"}, names); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
}

// report holds that an operation's reports are there, that the JSON one is sealed, and that the seal breaks when it is
// changed.
func report(t *testing.T, dir string, o operation) {
	t.Helper()
	html := read(t, o.HTML)
	for _, part := range []string{"<svg", *o.Operation} {
		if !bytes.Contains(html, []byte(part)) {
			t.Errorf("%s has no %q in it", o.HTML, part)
		}
	}
	var r api.Report
	text := read(t, o.JSON)
	if err := json.Unmarshal(text, &r); err != nil || string(r.Run.Operation) != *o.Operation {
		t.Fatalf("%s is of a %q, %v", o.JSON, r.Run.Operation, err)
	}
	changed := filepath.Join(program.Folder(t), "changed.json")
	forged := bytes.Replace(text, []byte(`"outcome": "succeeded"`), []byte(`"outcome": "failed"`), 1)
	if bytes.Equal(forged, text) {
		t.Fatalf("%s does not say how the run ended", o.JSON)
	}
	if err := os.WriteFile(changed, forged, 0o644); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]int{o.JSON: 0, changed: failure.Corrupt.ExitCode()} {
		p := program.Start(t, dir, os.Environ(), "report", "verify", file)
		if code := p.Wait(); code != want {
			t.Errorf("report verify %s exits with %d, want %d: %s", filepath.Base(file), code, want, p.Said())
		}
	}
}

// TestInterruptedDemo presses Ctrl-C in the middle of the demo: nothing is left of it.
func TestInterruptedDemo(t *testing.T) {
	t.Parallel()
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv("LIFEBOAT_E2E_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("LIFEBOAT_E2E_SEED=%d", n)
	moments := []string{
		"│ run ", // the drill has begun
		"DISASTER", "$ lifeboat failover shop", "a new, empty machine in east", "$ lifeboat failback shop", "started   db/reverse@east",
	}
	random := rand.New(rand.NewPCG(n, 2))
	if !program.Long() {
		i := random.IntN(len(moments))
		moments = moments[i : i+1]
	}
	for _, at := range moments {
		db := []string{"standby", "vault"}[random.IntN(2)]
		t.Run(at+", from the "+db, func(t *testing.T) {
			p, _, tmp, mark := demo(t, "--db", db)
			program.Until(t, at, func(context.Context) error {
				select {
				case <-p.Ended:
					t.Fatalf("the demo ended before it was interrupted: %s\n%s", p.Printed(), p.Said())
				default:
				}
				if !bytes.Contains(p.Printed(), []byte(at)) {
					return errors.New("not yet")
				}
				return nil
			})
			if there := processes(t, mark, tmp); len(there) < 5 {
				t.Fatalf("there is no world to be taken away: %v", there)
			}
			if err := syscall.Kill(-p.PID(), syscall.SIGINT); err != nil { // as a terminal does it
				t.Fatal(err)
			}
			if code := p.Wait(); code != failure.Canceled.ExitCode() {
				t.Errorf("exit code %d, want %d: %s", code, failure.Canceled.ExitCode(), p.Said())
			}
			gone(t, tmp, mark)
		})
	}
}
