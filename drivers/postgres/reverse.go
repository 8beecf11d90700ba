package postgres

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/job"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/model"
)

//go:embed scripts/reverse.sh
var reverseScript string

//go:embed scripts/tidy.sh
var tidyScript string

// reverseHandle is where the job is and how far the copy must get.
type reverseHandle struct {
	Job      string `json:"job,omitempty"` // empty: the copy followed already
	Way      string `json:"way"`
	Why      string `json:"why"`
	Target   lsn    `json:"target"` // the primary's position when the work began
	SystemID string `json:"system_id"`
	Total    int64  `json:"total"` // bytes of the primary's databases, for progress
	// Receives: no standby is made; the site receives the log, and a failover restores from the vault.
	Receives bool `json:"receives,omitempty"`
}

// Reverse makes the copy at req.Site follow the primary at req.Peer. The work is a job on the copy's host that goes on
// without us; its folder is named after the token.
func (d *Driver) Reverse(ctx context.Context, req driver.Request) (driver.Handle, error) {
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	p, err := newServer(req.Target, req.Peer)
	if err != nil {
		return driver.Handle{}, err
	}
	if err := checkToken(req.Token); err != nil {
		return driver.Handle{}, err
	}
	conn, err := p.connect(ctx)
	if err != nil {
		return driver.Handle{}, err
	}
	defer closeConn(conn)
	primary, err := readStatus(ctx, conn, p.subject())
	if err != nil {
		return driver.Handle{}, err
	}
	if primary.Recovery {
		return driver.Handle{}, failure.New(failure.Conflict, "reverse", s.subject(), "%s is no primary to follow", p.subject())
	}
	h := reverseHandle{Target: primary.LSN, SystemID: primary.SystemID}
	self, selfErr := s.ask(ctx)
	if selfErr == nil && !self.Recovery {
		return driver.Handle{}, failure.New(failure.Conflict, "reverse", s.subject(),
			"it is a serving primary (timeline %d); a copy that serves is never made a standby", self.Timeline).
			WithHint("fence it first: lifeboat status %s", req.App)
	}
	if selfErr == nil && self.SystemID == primary.SystemID && d.follows(ctx, s, p, self, primary) {
		h.Way, h.Why = wayFollow, "it follows already"
		return driver.NewHandle(handleVersion, h)
	}
	if s.fromVault() && !req.Prepare {
		return d.reverseToReceiver(ctx, req, h, "it is brought back from the vault")
	}
	if err := s.hostAccess(ctx); err != nil {
		if s.fromVault() {
			return d.reverseToReceiver(ctx, req, h, err.Error())
		}
		return driver.Handle{}, failure.Wrap(err, "reverse", s.subject())
	}
	h.Job = path.Join(s.at.Work, "jobs", req.Token)
	st, err := s.look(ctx)
	if err != nil {
		return driver.Handle{}, err
	}
	if st.Control.SystemID != "" && st.Control.SystemID != primary.SystemID {
		return driver.Handle{}, failure.New(failure.Conflict, "reverse", s.subject(),
			"%s holds another database (system identifier %s, the primary's is %s)", s.at.Data, st.Control.SystemID, primary.SystemID).
			WithHint("if it may go, move %s away and retry", s.at.Data)
	}
	if state, err := s.host().JobState(ctx, h.Job); err != nil {
		return driver.Handle{}, failure.Wrap(err, "reverse", s.subject())
	} else if state.Phase != hostexec.JobAbsent {
		h.Way, h.Why = state.Values["way"], "begun already"
		return driver.NewHandle(handleVersion, h)
	}
	if selfErr == nil { // running: the job stops it in order, and its log then ends where it is now
		st.Control.State = "shut down in recovery"
		st.Control.MinEnd, st.Control.MinEndTLI = max(st.Control.MinEnd, self.LSN, self.Received), self.Timeline
	}
	return d.startReverse(ctx, req, s, p, conn, h, primary, st)
}

// follows reports whether a running standby streams from the primary at p, on its timeline.
func (d *Driver) follows(ctx context.Context, s, p *server, self, primary status) bool {
	if !self.streaming() || self.Timeline != primary.Timeline {
		return false
	}
	r, err := replicationOf(ctx, p, s)
	return err == nil && r.Found && r.State == "streaming"
}

// startReverse decides the way and starts the job.
func (d *Driver) startReverse(ctx context.Context, req driver.Request, s, p *server, conn *pgx.Conn, h reverseHandle,
	primary status, st hostState) (driver.Handle, error) {
	history, err := readHistory(ctx, conn, primary.Timeline)
	if err != nil {
		d.log.Warn("the primary's history cannot be read: the copy is rewound or rebuilt", "resource", s.id, "error", err)
		history = nil
	}
	dec := decide(st.Control, primary.Timeline, history)
	if gone := logGone(ctx, conn, dec); gone != "" {
		dec.Way, dec.Why = wayRebuild, dec.Why+", but "+gone
	}
	h.Way, h.Why = dec.Way, dec.Why
	if s.fromVault() && dec.Way == wayRebuild {
		h.Job = ""
		return d.reverseToReceiver(ctx, req, h, dec.Why)
	}
	if err := conn.QueryRow(ctx, "select coalesce(sum(pg_database_size(oid)), 0)::bigint from pg_database").Scan(&h.Total); err != nil {
		return driver.Handle{}, wrap(err, "reverse", s.subject())
	}
	spaces, err := tablespaces(ctx, conn)
	if err != nil {
		return driver.Handle{}, wrap(err, "reverse", s.subject())
	}
	fresh, err := freshConf(ctx, conn, s)
	if err != nil {
		return driver.Handle{}, wrap(err, "reverse", s.subject())
	}
	secretText, err := jobSecret(ctx, s, p, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	mayRebuild := "yes"
	if len(spaces) > 0 || s.fromVault() {
		mayRebuild = ""
	}
	seed := ""
	if s.own.Seed == SeedVault {
		at, err := s.post()
		if err != nil {
			return driver.Handle{}, err
		}
		request, err := d.seedRequest(ctx, req, s, at, st)
		if err != nil {
			return driver.Handle{}, failure.Wrap(err, "reverse", s.subject())
		}
		seed, secretText, mayRebuild = hostexec.Join([]string{at.binary, job.Program}), request+"\n"+secretText, "yes"
	}
	keep := ""
	if dec.Diverged {
		keep = "yes"
	}
	script := s.script(reverseScript, "way", dec.Way, "may_rebuild", mayRebuild, "keep", keep, "why", dec.Why, "token", req.Token,
		"source_host", p.at.Host, "source_port", strconv.Itoa(p.at.Port), "source_user", p.own.User,
		"source_db", p.own.Database, "repl_user", p.own.ReplicationUser, "sslmode", p.own.SSLMode,
		"sslrootcert", p.own.SSLRootCert, "major", strconv.Itoa(primary.major()), "fresh", fresh,
		"seed", seed, "may_copy", yes(len(spaces) == 0))
	if err := s.host().StartJob(ctx, hostexec.Job{Dir: h.Job, Script: script, Secret: []byte(secretText)}); err != nil {
		return driver.Handle{}, failure.Wrap(err, "reverse", s.subject())
	}
	return driver.NewHandle(handleVersion, h)
}

// seedRequest is what the job that restores a standby's data folder is told, on one line.
func (d *Driver) seedRequest(ctx context.Context, req driver.Request, s *server, at post, st hostState) (string, error) {
	r, err := s.request(ctx, req, job.Seed, at)
	if err != nil {
		return "", err
	}
	r.Target = s.target(at, st)
	r.Target.Data = path.Join(s.at.Work, "new."+req.Token)
	text, err := json.Marshal(r)
	if err != nil {
		return "", failure.WrapAs(failure.Internal, err, "write the request of", "a seed")
	}
	return string(text), nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// jobSecret is what reverse.sh reads as its secret: two lines for a pgpass file and the standby's settings.
func jobSecret(ctx context.Context, s, p *server, site model.SiteID) (string, error) {
	var b strings.Builder
	replication, err := p.own.ReplicationPassword.Resolve(ctx)
	if err != nil {
		return "", failure.Wrap(err, "read the replication password for", p.subject())
	}
	password, err := p.own.Password.Resolve(ctx)
	if err != nil {
		return "", failure.Wrap(err, "read the password for", p.subject())
	}
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`)
	fmt.Fprintf(&b, "*:*:*:%s:%s\n", escape.Replace(p.own.ReplicationUser), escape.Replace(replication.Reveal()))
	fmt.Fprintf(&b, "*:*:*:%s:%s\n", escape.Replace(p.own.User), escape.Replace(password.Reveal()))
	info, err := p.conninfo(ctx, standbyName(site))
	if err != nil {
		return "", err
	}
	b.WriteString(confLine("primary_conninfo", info))
	b.WriteString(confLine("synchronous_standby_names", ""))
	for _, name := range slices.Sorted(maps.Keys(s.at.Options)) {
		b.WriteString(confLine(name, s.at.Options[name]))
	}
	return b.String(), nil
}

// freshConf is what a folder that came with the other site's settings must say differently: the port, and the address
// to listen on unless that is all of them.
func freshConf(ctx context.Context, conn *pgx.Conn, s *server) (string, error) {
	var listen string
	if err := conn.QueryRow(ctx, "select current_setting('listen_addresses')").Scan(&listen); err != nil {
		return "", err
	}
	conf := confLine("port", strconv.Itoa(s.at.Port))
	if !strings.Contains(listen, "*") && !strings.Contains(listen, "0.0.0.0") && !strings.Contains(listen, "::") {
		conf += confLine("listen_addresses", s.at.Host)
	}
	return conf, nil
}

// tablespaces lists the folders of tablespaces outside of the data folder.
func tablespaces(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	rows, err := conn.Query(ctx, "select pg_tablespace_location(oid) from pg_tablespace where pg_tablespace_location(oid) <> '' order by 1")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// observeReverse follows the job, then the standby, then, for a synchronous one, the primary's view of it.
func (d *Driver) observeReverse(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	v, err := driver.ReadHandle[reverseHandle](handleVersion, h)
	if err != nil {
		return driver.Observation{}, err
	}
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Observation{}, err
	}
	p, err := newServer(req.Target, req.Peer)
	if err != nil {
		return driver.Observation{}, err
	}
	evidence := []model.Fact{{Name: "way", Value: v.Way}, {Name: "because", Value: v.Why}}
	if v.Receives {
		return d.observeReceiver(ctx, req, s, v, evidence)
	}
	var state hostexec.JobState
	if v.Job != "" {
		if state, err = s.host().JobState(ctx, v.Job); err != nil {
			return driver.Observation{}, failure.Wrap(err, "reverse", s.subject())
		}
		if state.Phase == hostexec.JobEnded && state.Code == 1 && s.fromVault() {
			evidence = append(evidence, model.Fact{Name: "pg_rewind failed", Value: state.Said + "; it is restored from the vault when it is promoted"})
			return d.observeReceiver(ctx, req, s, v, evidence)
		}
		if obs, over := judgeJob(state, "reverse", s.subject(), v.Total); !over {
			return obs, nil
		}
		evidence = jobEvidence(state)
	}
	self, err := s.ask(ctx)
	if err != nil {
		if failure.KindOf(err) == failure.Unavailable && ctx.Err() == nil {
			return pending(100*time.Millisecond, "the standby does not take connections yet: "+err.Error())
		}
		return driver.Observation{}, err
	}
	if !self.Recovery {
		return failed(failure.New(failure.Conflict, "reverse", s.subject(), "it came up as a primary").
			WithHint("fence it at once: it is a second primary"))
	}
	if !self.streaming() {
		return pending(100*time.Millisecond, fmt.Sprintf("the standby has replayed up to %s and does not stream yet", self.LSN))
	}
	if self.LSN < v.Target {
		return pending(50*time.Millisecond, fmt.Sprintf("the standby has replayed up to %s of %s", self.LSN, v.Target))
	}
	r, err := d.holdSync(ctx, s, p)
	if err != nil {
		return driver.Observation{}, err
	}
	if !r.Found || r.State != "streaming" {
		return pending(100*time.Millisecond, p.subject()+" does not see the standby streaming yet")
	}
	if s.own.Synchronous && !r.isSync() {
		return pending(50*time.Millisecond, "the primary does not wait for the standby yet: "+r.SyncState)
	}
	if err := dropSlots(ctx, s); err != nil {
		d.log.Warn("slots of receivers are left on the standby", "resource", s.id, "site", s.site, "error", err)
	}
	if old := state.Values["old"]; old != "" && state.Values["keep"] == "" {
		if _, err := s.run(ctx, failure.Unavailable, "tidy up", "", tidyScript, "old", old); err != nil {
			return driver.Observation{}, err
		}
	}
	evidence = append(evidence, model.Fact{Name: "standby", Value: fmt.Sprintf("streams on timeline %d and has replayed up to %s (%s)",
		self.Timeline, self.LSN, r.SyncState)})
	out := s.outputs(self)
	delete(out, "lsn")
	delete(out, "timeline")
	return driver.Observation{State: driver.Done, Outputs: out, Evidence: evidence}, nil
}

// wayReceive is what a reverse does where recovery is from the vault.
const wayReceive = "receive"

// reverseToReceiver makes the site receive the log of the primary: a failover to it restores from the vault.
func (d *Driver) reverseToReceiver(ctx context.Context, req driver.Request, h reverseHandle, why string) (driver.Handle, error) {
	h.Way, h.Why, h.Receives = wayReceive, why, true
	if _, err := d.Stream(ctx, driver.StreamRequest{Target: req.Target, Over: req.Run}); err != nil {
		return driver.Handle{}, err
	}
	return driver.NewHandle(handleVersion, h)
}

// observeReceiver is done when the receiver has what the primary had at the beginning, and commits wait for it where that is
// wanted.
func (d *Driver) observeReceiver(ctx context.Context, req driver.Request, s *server, h reverseHandle, evidence []model.Fact) (driver.Observation, error) {
	st, err := d.Stream(ctx, driver.StreamRequest{Target: req.Target, Over: req.Run})
	if err != nil {
		return driver.Observation{}, err
	}
	at, err := s.post()
	if err != nil {
		return driver.Observation{}, err
	}
	seen, err := at.lookReceiver(ctx)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "reverse", s.subject())
	}
	switch to := lsn(seen.state.Flushed.At); {
	case st.State != model.StreamFlowing && st.State != model.StreamCatching:
		return pending(100*time.Millisecond, fmt.Sprintf("the receiver at %s: %s", s.site, st.Summary))
	case to < h.Target:
		return pending(100*time.Millisecond, fmt.Sprintf("the receiver at %s has received up to %s of %s", s.site, to, h.Target))
	case s.own.Synchronous && !st.Sync:
		for _, f := range st.Findings {
			if f.Severity == model.Block {
				return failed(failure.New(failure.Conflict, "reverse", s.subject(), "%s: %s", f.Code, f.What).WithHint("%s", f.Fix))
			}
		}
		return pending(100*time.Millisecond, "the primary does not wait for the receiver yet")
	}
	evidence = append(evidence, model.Fact{Name: "receiver", Value: fmt.Sprintf("%s; safe up to %s", st.Summary, st.Position)})
	if st.NeedsPoint != "" {
		evidence = append(evidence, model.Fact{Name: "needs a recovery point", Value: st.NeedsPoint + "; lifeboat protect makes one at once"})
	}
	out := serverOutputs(s.at.Host, s.at.Port, status{})
	delete(out, "lsn")
	delete(out, "timeline")
	return driver.Observation{State: driver.Done, Outputs: out, Evidence: evidence}, nil
}

// dropSlots removes from a standby the slots that receivers had while it was the primary: nobody uses them, and they would
// keep its log for ever.
func dropSlots(ctx context.Context, s *server) error {
	if s.vault == nil {
		return nil
	}
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	_, err = conn.Exec(ctx, `select pg_drop_replication_slot(slot_name) from pg_replication_slots
		where slot_name like $1 and slot_type = 'physical' and not active`, strings.ReplaceAll(strings.TrimSuffix(receiverName(s.app, s.id, ""), "_"), "_", `\_`)+`\_%`)
	return wrapWrite(err, "drop slots at", s.subject())
}

// judgeJob turns a job that is not over well into an observation; over is true when it ended well.
func judgeJob(job hostexec.JobState, op, subject string, total int64) (driver.Observation, bool) {
	obs := driver.Observation{State: driver.Pending, Phase: job.Doing, Again: 50 * time.Millisecond}
	if obs.Phase == "" {
		obs.Phase = "the job on the host is starting"
	}
	switch job.Phase {
	case hostexec.JobStarting, hostexec.JobRunning:
		if job.Bytes >= 0 {
			obs.Phase += ": " + progress(job.Bytes, total)
			obs.Again = 250 * time.Millisecond
		}
		return obs, false
	case hostexec.JobEnded:
		if job.Code == 0 {
			return obs, true
		}
		kind := failure.Unavailable
		switch job.Code {
		case 75: // EX_TEMPFAIL of sysexits.h: what the scripts say when the copy is not in the state for it
			kind = failure.Conflict
		case 127:
			kind = failure.NotFound
		case 143, 137:
			kind = failure.Canceled
		}
		obs = driver.Observation{State: driver.Failed, Err: failure.New(kind, op, subject, "%s (exit code %d)", job.Said, job.Code)}
	case hostexec.JobDied:
		obs = driver.Observation{State: driver.Failed, Err: failure.New(failure.Unavailable, op, subject,
			"the job was ended from outside (a restart of the host?) while: %s", job.Doing)}
	default:
		obs = driver.Observation{State: driver.Failed, Err: failure.New(failure.Unavailable, op, subject, "the job's folder is gone")}
	}
	return obs, false
}

func progress(done, total int64) string {
	mib := func(n int64) string { return strconv.FormatInt(n>>20, 10) + " MiB" }
	if total <= 0 {
		return mib(done)
	}
	return fmt.Sprintf("%s of about %s", mib(done), mib(total))
}

// jobEvidence says which way was taken in the end and what became of what was there before.
func jobEvidence(job hostexec.JobState) []model.Fact {
	evidence := []model.Fact{{Name: "way", Value: job.Values["way"]}, {Name: "because", Value: job.Values["why"]}}
	if text := job.Values["rewound"]; text != "" {
		evidence = append(evidence, model.Fact{Name: "pg_rewind", Value: text})
	}
	for _, name := range []string{"seed_point", "seed_base", "seed_reached", "seed_took"} {
		if text := job.Values[name]; text != "" {
			evidence = append(evidence, model.Fact{Name: strings.Replace(name, "seed_", "from the vault: ", 1), Value: text})
		}
	}
	if text := job.Values["not_seeded"]; text != "" {
		evidence = append(evidence, model.Fact{Name: "not from the vault", Value: text})
	}
	if text := job.Values["not_rewound"]; text != "" {
		evidence = append(evidence, model.Fact{Name: "pg_rewind failed", Value: text})
	}
	if old := job.Values["old"]; old != "" {
		what := "deleted, now that the new copy follows: it held nothing that the primary does not have"
		if job.Values["keep"] != "" {
			what = "kept at " + old + ": it may hold transactions that the primary does not have"
		}
		evidence = append(evidence, model.Fact{Name: "old copy", Value: what})
	}
	return evidence
}

// holdSync makes the primary's commits wait for the standby when that is wanted, and says how the primary sees it.
func (d *Driver) holdSync(ctx context.Context, s, p *server) (replication, error) {
	r, err := replicationOf(ctx, p, s)
	if err != nil || !s.own.Synchronous || !r.Found || r.State != "streaming" || r.isSync() {
		return r, err
	}
	conn, err := p.connect(ctx)
	if err != nil {
		return r, err
	}
	defer closeConn(conn)
	want := `FIRST 1 ("` + strings.ReplaceAll(standbyName(s.site), `"`, `""`) + `")`
	var now string
	if err := conn.QueryRow(ctx, "select current_setting('synchronous_standby_names')").Scan(&now); err != nil {
		return r, wrap(err, "ask", p.subject())
	}
	if now != want {
		if err := alterSystem(ctx, conn, "synchronous_standby_names", want); err != nil {
			return r, wrapWrite(err, "make synchronous", p.subject())
		}
	}
	return replicationOf(ctx, p, s)
}
