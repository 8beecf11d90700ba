package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Describe looks at the copy at t.Site, and at the other sites for what it follows. All servers are asked at once.
func (d *Driver) Describe(ctx context.Context, t driver.Target) (model.Description, error) {
	s, err := newServer(t, t.Site)
	if err != nil {
		return model.Description{}, err
	}
	others, err := newServers(t, t.Site)
	if err != nil {
		return model.Description{}, err
	}
	answers := askAll(ctx, append(others, s))
	self := answers[len(answers)-1]
	answers = answers[:len(answers)-1]
	var replica replication
	if self.err == nil && self.status.Recovery && primaryOf(answers, self.status.SystemID) != nil {
		// The primary's position was read by now, the standby's is read after it: a lag that is too large if anything.
		self.status, replica, self.err = d.askWithReplicas(ctx, s, answers)
	}
	st, err := self.status, self.err
	if ctx.Err() != nil {
		return model.Description{}, failure.Wrap(ctx.Err(), "describe", s.subject())
	}
	out := model.Description{Resource: s.id, Site: s.site, At: d.now().UTC()}
	if err != nil {
		out, err := d.describeSilent(ctx, s, out, err)
		if err == nil && s.vault != nil {
			d.received(ctx, s, t, &out)
		}
		return out, err
	}
	out.Outputs = s.outputs(st)
	out.Facts = []model.Fact{
		{Name: "endpoint", Value: s.endpoint()},
		{Name: "version", Value: fmt.Sprintf("%d.%d", st.Version/10000, st.Version%10000)},
		{Name: "system identifier", Value: st.SystemID},
		{Name: "timeline", Value: fmt.Sprint(st.Timeline)},
		{Name: "lsn", Value: st.LSN.String()},
	}
	if st.Recovery {
		describeStandby(&out, s, st, answers, replica)
	} else {
		describePrimary(&out, s, st, answers)
	}
	if s.vault != nil && st.Recovery {
		d.received(ctx, s, t, &out)
	}
	return out, nil
}

// replication is how a primary sees one standby.
type replication struct {
	Found     bool
	SyncState string
	State     string
	ReplayLag time.Duration
}

// askWithReplicas asks s, and the primary among the answers how it sees s.
func (d *Driver) askWithReplicas(ctx context.Context, s *server, answers []answer) (status, replication, error) {
	st, err := s.ask(ctx)
	if err != nil || !st.Recovery {
		return st, replication{}, err
	}
	p := primaryOf(answers, st.SystemID)
	if p == nil {
		return st, replication{}, nil
	}
	r, err := replicationOf(ctx, p.server, s)
	if err != nil {
		d.log.Debug("the primary does not say how it sees the standby", "resource", s.id, "site", s.site, "error", err)
	}
	return st, r, nil
}

// primaryOf is the primary on the latest timeline, nil when none answers.
func primaryOf(answers []answer, systemID string) *answer {
	var best *answer
	for i, a := range answers {
		if a.err == nil && !a.status.Recovery && a.status.SystemID == systemID &&
			(best == nil || a.status.Timeline > best.status.Timeline) {
			best = &answers[i]
		}
	}
	return best
}

// replicationOf asks primary how it sees standby: by the name that Lifeboat gives standbys, or else by its address when
// only one standby is attached from there.
func replicationOf(ctx context.Context, primary, standby *server) (replication, error) {
	conn, err := primary.connect(ctx)
	if err != nil {
		return replication{}, err
	}
	defer closeConn(conn)
	ctx, cancel := context.WithTimeout(ctx, primary.timeout())
	defer cancel()
	const query = `select coalesce(sync_state, ''), coalesce(state, ''), coalesce(extract(epoch from replay_lag), 0)::float8,
		application_name = $1 from pg_stat_replication
		where application_name = $1 or (select count(*) from pg_stat_replication where application_name <> 'pg_basebackup') = 1
		order by application_name = $1 desc limit 1`
	rows, err := conn.Query(ctx, query, standbyName(standby.site))
	if err != nil {
		return replication{}, wrap(err, "ask", primary.subject())
	}
	defer rows.Close()
	var r replication
	for rows.Next() {
		var lag float64
		var named bool
		if err := rows.Scan(&r.SyncState, &r.State, &lag, &named); err != nil {
			return r, wrap(err, "ask", primary.subject())
		}
		r.Found, r.ReplayLag = true, time.Duration(lag*float64(time.Second))
	}
	return r, wrap(rows.Err(), "ask", primary.subject())
}

// isSync reports whether commits wait for this standby.
func (r replication) isSync() bool {
	return r.Found && r.State == "streaming" && (r.SyncState == "sync" || r.SyncState == "quorum")
}

// describeStandby fills in role and lag. The age of the last replayed transaction is not a lag: an idle primary makes
// it grow without end. It is used only when nothing better is known.
func describeStandby(out *model.Description, s *server, st status, answers []answer, r replication) {
	out.Role = model.RoleStandby
	out.Sync = r.isSync()
	out.Healthy = st.streaming()
	follows := "nobody"
	if st.streaming() {
		follows = "streams"
		if st.From != "" {
			follows = "streams from " + st.From
		}
	}
	var bytes int64
	var lag time.Duration
	var basis string
	p := primaryOf(answers, st.SystemID)
	switch {
	case p != nil:
		bytes = behind(p.status.LSN, st.LSN)
		basis = "against the primary's position"
		switch {
		case bytes == 0:
			lag = 0
		case r.Found && r.ReplayLag > 0:
			lag = r.ReplayLag
		default:
			lag = st.ReplayAge
		}
	case st.streaming():
		bytes, basis = behind(st.Received, st.LSN), "against what was received: no primary answers"
		if bytes > 0 {
			lag = st.ReplayAge
		}
	default:
		bytes, lag = behind(st.Received, st.LSN), st.ReplayAge
		basis = "unknown: no primary answers; the time since the last replayed transaction is the most it can be"
	}
	if p != nil || st.streaming() {
		out.LagBytes = &bytes
	}
	d := model.Duration(lag)
	out.LagTime = &d
	out.Summary = fmt.Sprintf("standby, %s, %d bytes and %s behind", follows, bytes, lag.Round(time.Millisecond))
	if out.Sync {
		out.Summary += ", synchronous"
	}
	out.Facts = append(out.Facts, model.Fact{Name: "follows", Value: follows}, model.Fact{Name: "lag basis", Value: basis})
	if r.Found {
		out.Facts = append(out.Facts, model.Fact{Name: "sync state", Value: r.SyncState})
	}
	if p != nil && p.status.Timeline != st.Timeline {
		out.Facts = append(out.Facts, model.Fact{Name: "other timeline",
			Value: fmt.Sprintf("%s is on timeline %d", p.server.subject(), p.status.Timeline)})
	}
}

// describePrimary fills in the role; a second primary is said as loudly as a description can.
func describePrimary(out *model.Description, s *server, st status, answers []answer) {
	out.Role, out.Healthy = model.RolePrimary, true
	out.Summary = fmt.Sprintf("primary on timeline %d", st.Timeline)
	if st.SyncNames != "" {
		out.Facts = append(out.Facts, model.Fact{Name: "synchronous_standby_names", Value: st.SyncNames})
	}
	if st.ReadOnly {
		out.Healthy = false
		out.Summary += ", but default_transaction_read_only is on"
	}
	if other := secondPrimary(st, answers); other != nil {
		out.Healthy = false
		older := "this one is the older: fence it"
		if st.Timeline > other.status.Timeline {
			older = "the other is the older: fence it"
		}
		what := fmt.Sprintf("TWO PRIMARIES: also %s (timeline %d); %s", other.server.subject(), other.status.Timeline, older)
		out.Summary += ". " + what
		out.Facts = append(out.Facts, model.Fact{Name: "split brain", Value: what})
	}
}

// secondPrimary finds another primary of the same database.
func secondPrimary(st status, answers []answer) *answer {
	if st.Recovery {
		return nil
	}
	return primaryOf(answers, st.SystemID)
}

// describeSilent is for a server that does not answer: its host may know more.
func (d *Driver) describeSilent(ctx context.Context, s *server, out model.Description, cause error) (model.Description, error) {
	if kind := failure.KindOf(cause); kind == failure.Invalid || kind == failure.NotFound && sqlState(cause) == "" {
		return out, cause // the question cannot be asked: settings, a secret that is not there
	}
	out.Facts = append(out.Facts, model.Fact{Name: "endpoint", Value: s.endpoint()}, model.Fact{Name: "error", Value: cause.Error()})
	out.Role, out.Summary = model.RoleUnreachable, "does not answer"
	switch code := sqlState(cause); {
	case code == codeStarting:
		out.Role, out.Summary = model.RoleUnknown, "starting up, shutting down or not consistent yet"
	case code != "":
		out.Role, out.Summary = model.RoleUnknown, "answers, but refuses us: "+cause.Error()
		return out, nil
	}
	st, err := s.look(ctx)
	if err != nil {
		out.Facts = append(out.Facts, model.Fact{Name: "host", Value: err.Error()})
		if out.Role == model.RoleUnreachable && failure.KindOf(err) == failure.Unsupported {
			out.Summary += ", and its host may not be used"
		}
		return out, nil
	}
	out.Facts = append(out.Facts, hostFacts(st)...)
	switch {
	case st.Folder == folderAbsent || st.Folder == folderEmpty:
		out.Role, out.Summary = model.RoleAbsent, "there is no data folder at "+s.at.Data
		if st.Folder == folderEmpty {
			out.Summary = "the data folder " + s.at.Data + " is empty"
		}
	case st.Folder != folderServer:
		out.Role, out.Summary = model.RoleUnknown, s.at.Data+" is no data folder that we can read"
	case st.Postmaster != 0:
		out.Summary = fmt.Sprintf("a server runs (process %d) and %s", st.Postmaster, out.Summary)
	case st.Standby && st.Fenced != "":
		out.Role, out.Summary = model.RoleFenced, "stopped and fenced: it can only come back as a standby ("+st.Fenced+")"
	default:
		out.Role, out.Summary = model.RoleStopped, "stopped ("+st.Control.State+")"
		if st.Standby {
			out.Summary += ", would start as a standby"
		}
	}
	return out, nil
}

func hostFacts(st hostState) []model.Fact {
	facts := []model.Fact{{Name: "data folder", Value: st.Folder}}
	if st.Control.State != "" {
		facts = append(facts,
			model.Fact{Name: "cluster state", Value: st.Control.State},
			model.Fact{Name: "system identifier", Value: st.Control.SystemID},
			model.Fact{Name: "timeline", Value: fmt.Sprint(st.Control.Timeline)},
			model.Fact{Name: "last checkpoint", Value: st.Control.Checkpoint.String()})
	}
	if st.Standby {
		facts = append(facts, model.Fact{Name: "signal", Value: "standby.signal"})
	}
	return facts
}

// livePoint gives a standby as the live recovery point that it is.
func (d *Driver) livePoint(ctx context.Context, t driver.Target) ([]model.Point, error) {
	seen, err := d.Describe(ctx, t)
	if err != nil {
		return nil, err
	}
	if seen.Role != model.RoleStandby || seen.Outputs == nil { // none, or one that would be restored first
		return nil, nil
	}
	p := model.Point{
		ID: "standby:" + string(t.Site), Resource: t.Resource.ID, Site: t.Site, At: seen.At, Live: true,
		Summary: strings.TrimPrefix(seen.Summary, "standby, "),
	}
	if seen.LagTime != nil {
		p.At = seen.At.Add(-seen.LagTime.Std())
	}
	return []model.Point{p}, nil
}
