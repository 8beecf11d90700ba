package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/demo/world"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/test/ports"
	"github.com/lifeboat-dr/lifeboat/test/program"
)

// TestPointsAreProvedAndRestored drives what lies in a vault as a person on call would: points are listed and proved, one is
// found bad, the transaction that made data bad is found, and the state before it is brought back, while orders come in and
// metrics are served.
func TestPointsAreProvedAndRestored(t *testing.T) {
	t.Parallel()
	p := newPlace(t, world.FromVault)
	address := ports.Address(t)
	program.Start(t, p.w.Dir(), p.w.Env(), "-c", p.w.Config(), "protect", world.App, "--metrics", address)
	program.Until(t, "a point, and log that leads on from it", func(context.Context) error {
		reply := p.points()
		if len(reply.Ranges) == 0 || len(p.pointsOf(reply)) == 0 {
			return fmt.Errorf("%d points, %d ranges", len(reply.Points), len(reply.Ranges))
		}
		return nil
	})
	p.sql("create table prices (id int primary key, price int)")
	p.sql("insert into prices select n, n from generate_series(1, 10) n")
	known := len(p.pointsOf(p.points()))
	program.Until(t, "a point with good prices", func(context.Context) error {
		if n := len(p.pointsOf(p.points())); n <= known+1 { // one that was made from its beginning on since then
			return fmt.Errorf("%d points, and %d before", n, known)
		}
		return nil
	})

	// A good point is good, and said to be.
	newest := p.pointsOf(p.points())[0]
	p.operate("prove", world.App+"/db", "--point", newest.ID, "--check", "select count(*) = 10 from prices")
	if got := p.point(newest.ID); got.Proof == nil || !got.Proof.OK || got.ProvedAt == nil || got.Proof.Took <= 0 {
		t.Errorf("a good point: %+v", got)
	}

	// Bad data creeps in, in one transaction among others.
	p.orders(5)
	var bad string
	p.sql("insert into prices values (-1, -5) returning pg_current_xact_id()::xid::text", &bad)
	p.orders(5)
	found := p.start("prove", world.App+"/db", "--bisect", "--check", "select min(price) > 0 from prices")
	if code := found.Wait(); code != 0 {
		t.Fatalf("bisect exits with %d:\n%s", code, found.Said())
	}
	report := program.Answer[api.Report](found)
	good := report.Run.Steps[0].Outputs["good"].Text
	if good != "before-xid:"+bad {
		t.Errorf("the last good state is %s, and transaction %s made it bad", good, bad)
	}
	if !strings.Contains(string(found.Said()), "restore "+world.App+"/db --to "+good) {
		t.Errorf("how to have it is not said:\n%s", found.Said())
	}

	// That state is brought back.
	into := filepath.Join(p.w.Dir(), world.West, "restored")
	p.operate("restore", world.App+"/db", "--to", good, "--site", world.West, "--into", into)
	if got := p.offline(into, "select count(*) || ' ' || min(price) from prices"); got != "10 1" {
		t.Errorf("the restored copy has prices %q, want %q", got, "10 1")
	}
	again := p.start("restore", world.App+"/db", "--site", world.West, "--into", p.w.Cluster(world.East).Data)
	if code := again.Wait(); code == 0 {
		t.Error("the data folder of the other site was written over")
	}

	// A bad point is told everywhere.
	newest = p.pointsOf(p.points())[0]
	failed := p.start("prove", world.App+"/db", "--point", newest.ID, "--check", "select false")
	if code := failed.Wait(); code != 1 {
		t.Errorf("a bad point: exit code %d\n%s", code, failed.Said())
	}
	if got := p.point(newest.ID); got.Proof == nil || got.Proof.OK || !strings.Contains(got.Proof.What, "select false") {
		t.Errorf("a bad point: %+v", got)
	}
	said := false
	for _, f := range p.status().Findings {
		said = said || f.Code == "proof-failed" && f.Resource == "db"
	}
	if !said {
		t.Error("status does not tell of the bad point")
	}
	program.Until(t, "metrics of it", func(context.Context) error {
		text, err := scraped(address)
		for _, want := range []string{`lifeboat_proof_success{app="shop",resource="db"} 0`, `lifeboat_points_bad{app="shop",resource="db"} 1`,
			`lifeboat_stream_receiving{app="shop",resource="db",site="west"} 1`} {
			if err == nil && !strings.Contains(text, want) {
				err = fmt.Errorf("they lack %s", want)
			}
		}
		return err
	})
	for _, site := range []string{world.East, world.West} {
		if left, err := os.ReadDir(filepath.Join(p.w.Dir(), site, "drill")); err == nil && len(left) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("proofs left %v, %v", left, err)
		}
	}
}

func scraped(address string) (string, error) {
	res, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

// points is what lifeboat points says.
func (p *place) points() api.PointsReply {
	p.t.Helper()
	run := program.Start(p.t, p.w.Dir(), p.w.Env(), "-c", p.w.Config(), "points", world.App+"/db", "-o", "json")
	if code := run.Wait(); code != 0 {
		p.t.Fatalf("lifeboat %s exits with %d:\n%s", run.Words, code, run.Said())
	}
	return program.Answer[api.PointsReply](run)
}

// pointsOf are the base points, newest first.
func (p *place) pointsOf(r api.PointsReply) (out []model.Point) {
	for _, pt := range r.Points {
		if !pt.Live {
			out = append(out, pt)
		}
	}
	return out
}

func (p *place) point(id string) model.Point {
	p.t.Helper()
	for _, pt := range p.points().Points {
		if pt.ID == id {
			return pt
		}
	}
	p.t.Fatalf("point %s is not listed", id)
	return model.Point{}
}

// sql runs a statement at the serving database, and reads the one value that it gives into each of to.
func (p *place) sql(statement string, to ...any) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), program.Patience)
	defer cancel()
	conn, err := p.w.Connect(ctx, world.East, "shop")
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close(ctx)
	if len(to) == 0 {
		_, err = conn.Exec(ctx, statement)
	} else {
		err = conn.QueryRow(ctx, statement).Scan(to...)
	}
	if err != nil {
		p.t.Fatalf("%s: %v", statement, err)
	}
}

// answer is how a server in single-user mode prints a value.
var answer = regexp.MustCompile(`1: .* = "([^"]*)"`)

// offline asks a data folder without a server one question.
func (p *place) offline(data, question string) string {
	p.t.Helper()
	words := []string{filepath.Join(pgtest.Bin(p.t), "postgres"), "--single", "-D", data, "shop"}
	if os.Getuid() == 0 {
		words = append([]string{"runuser", "-u", "postgres", "--"}, words...)
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin, cmd.Dir = strings.NewReader(question+"\n"), "/"
	out, err := cmd.CombinedOutput()
	got := answer.FindAllSubmatch(out, -1)
	if err != nil || len(got) == 0 {
		p.t.Fatalf("ask %s: %v\n%s", data, err, out)
	}
	return string(got[len(got)-1][1])
}
