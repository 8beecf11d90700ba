package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Bounds of a receiver's state.
const (
	frozenAfter  = 30 * time.Second // a living receiver writes its state every few seconds
	quietAfter   = 5 * time.Second  // from then on its last word is no word of now
	resealAfter  = time.Minute      // while it does not get through: a password may be a new one
	catchingFrom = 16 << 20         // bytes behind
)

// Streams reports whether the log of a resource is received: where it has a vault.
func (d *Driver) Streams(r model.Resource) bool { return r.Vault != nil }

// Stream keeps the receiver at req.Site alive.
func (d *Driver) Stream(ctx context.Context, req driver.StreamRequest) (model.Stream, error) {
	l, err := d.lookAtStream(ctx, req.Target)
	if err != nil {
		return model.Stream{}, err
	}
	defer l.close()
	switch {
	case l.blind != nil:
		return l.stream(ctx), nil // the primary keeps the log for it, or that is said
	case l.primary != nil && l.primary.site == l.s.site:
		if l.seen.running() {
			if _, err := l.at.stopReceiver(ctx); err != nil {
				return model.Stream{}, failure.Wrap(err, "stop what receives", l.s.subject())
			}
			l.seen.proc.Running = nil
		}
		return l.stream(ctx), nil
	case l.conflict != nil:
		return l.stream(ctx), nil // which one is right is for people to say
	case l.seen.held != nil && !l.released(req.Over):
		return l.stream(ctx), nil
	case l.seen.held != nil:
		if err := l.at.dropHold(ctx); err != nil {
			return model.Stream{}, failure.Wrap(err, "receive", l.s.subject())
		}
		l.seen.held = nil
	}
	if err := l.keepAlive(ctx); err != nil {
		return model.Stream{}, failure.Wrap(err, "receive", l.s.subject())
	}
	l.sync(ctx)
	return l.stream(ctx), nil
}

// LookAtStream says how the receiver at t.Site does.
func (d *Driver) LookAtStream(ctx context.Context, t driver.Target) (model.Stream, error) {
	l, err := d.lookAtStream(ctx, t)
	if err != nil {
		return model.Stream{}, err
	}
	defer l.close()
	return l.stream(ctx), nil
}

// StopStream ends the receiver at t.Site and drops its slot at the primary: also when the site does not answer, so that no log
// is kept for one that is given up; that error is returned all the same.
func (d *Driver) StopStream(ctx context.Context, t driver.Target) error {
	l, err := d.lookAtStream(ctx, t)
	if err != nil {
		return err
	}
	defer l.close()
	stopped := l.blind
	if stopped == nil {
		_, stopped = l.at.stopReceiver(ctx)
	}
	if l.conn != nil {
		if err := dropName(ctx, l.conn, l.s.receiver()); err != nil {
			return errors.Join(wrapWrite(err, "forget the receiver in", l.primary.subject()), failure.Wrap(stopped, "stop what receives", l.s.subject()))
		}
	}
	return failure.Wrap(stopped, "stop what receives", l.s.subject())
}

// without is what syncNames wrote without one of its names; ok is false when the name is not there, or somebody else wrote it.
func without(names, name string) (left string, ok bool) {
	var word string
	var quorum int
	if _, err := fmt.Sscanf(names, "%s %d (", &word, &quorum); err != nil {
		return "", false
	}
	var all, rest []string
	for _, quoted := range syncName.FindAllString(names, -1) {
		if !strings.HasPrefix(quoted, `"`) {
			continue
		}
		n := strings.ReplaceAll(quoted[1:len(quoted)-1], `""`, `"`)
		all = append(all, n)
		if n != name {
			rest = append(rest, n)
		}
	}
	switch {
	case len(all) == 0 || syncNames(quorum, all...) != names || len(rest) == len(all):
		return "", false
	case len(rest) == 0:
		return "", true
	}
	return syncNames(quorum, rest...), true
}

// looked is a receiver and its primary, as they are now.
type looked struct {
	d        *Driver
	s        *server
	others   []*server // at the other sites
	at       post
	seen     seenReceiver
	blind    error     // why the receiver cannot be seen, although the primary is
	primary  *server   // nil: none answers
	conn     *pgx.Conn // to it
	why      error     // why none answers
	conflict error     // two of them do
	view     view
	begun    bool // the receiver was started just now
	findings []model.Finding
}

func (l *looked) close() {
	if l.conn != nil {
		closeConn(l.conn)
	}
}

// lookAtStream looks at the receiver at t.Site, and finds the primary.
func (d *Driver) lookAtStream(ctx context.Context, t driver.Target) (*looked, error) {
	s, err := newServer(t, t.Site)
	if err != nil {
		return nil, err
	}
	if s.vault == nil {
		return nil, failure.New(failure.Unsupported, "receive", s.subject(), "it names no vault").WithHint("name one, as in vault: main")
	}
	l := &looked{d: d, s: s}
	if l.others, err = newServers(t, t.Site); err != nil {
		return nil, err
	}
	if l.at, err = s.post(); err != nil {
		return nil, err
	}
	if l.at.onHost {
		l.blind = s.hostAccess(ctx)
	}
	if l.blind == nil {
		l.seen, l.blind = l.at.lookReceiver(ctx)
	}
	l.conn, l.primary, err = findPrimary(ctx, append([]*server{s}, l.others...), string(s.id))
	switch {
	case ctx.Err() != nil:
		return nil, failure.Wrap(ctx.Err(), "look at what receives", s.subject())
	case err != nil && failure.KindOf(err) == failure.Conflict:
		l.conflict = err
	case err != nil:
		l.why = err
	default:
		if l.view, err = readView(ctx, l.conn, s.receiver()); err != nil {
			l.close()
			return nil, wrap(err, "ask", l.primary.subject())
		}
	}
	if l.blind != nil && (l.primary == nil || l.primary.site == s.site) {
		l.close()
		return nil, failure.Wrap(l.blind, "look at what receives", s.subject())
	}
	return l, nil
}

// view is how a primary sees a receiver.
type view struct {
	SyncNames   string
	RemoteApply bool   // somewhere on the server synchronous_commit is remote_apply
	Bound       string // max_slot_wal_keep_size
	LSN         lsn
	Timeline    uint32
	State       string // of the receiver's connection
	SyncState   string
	Kept        int64  // bytes kept by its slot; -1: it has none
	KeptState   string // wal_status of its slot
	Streaming   []string
}

const viewQuery = `select current_setting('synchronous_standby_names'),
  current_setting('synchronous_commit') = 'remote_apply' or exists (select from pg_db_role_setting where 'synchronous_commit=remote_apply' = any(setconfig)),
  current_setting('max_slot_wal_keep_size'),
  pg_current_wal_lsn()::text, ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint,
  coalesce((select state from pg_stat_replication where application_name = $1 limit 1), ''),
  coalesce((select sync_state from pg_stat_replication where application_name = $1 and state = 'streaming' limit 1), ''),
  coalesce((select pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint from pg_replication_slots where slot_name = $1), -1),
  coalesce((select wal_status from pg_replication_slots where slot_name = $1), ''),
  array(select application_name from pg_stat_replication where state = 'streaming')`

func readView(ctx context.Context, conn *pgx.Conn, name string) (view, error) {
	var v view
	var at string
	var timeline int64
	err := conn.QueryRow(ctx, viewQuery, name).Scan(&v.SyncNames, &v.RemoteApply, &v.Bound, &at, &timeline, &v.State, &v.SyncState, &v.Kept, &v.KeptState, &v.Streaming)
	if err != nil {
		return v, err
	}
	v.Timeline = uint32(timeline)
	v.LSN, err = parseLSN(at)
	return v, err
}

// released reports whether what holds the receiver is past: the move is over, or a primary serves that is at least as young
// as the one it brought up, at another site.
func (l *looked) released(over model.RunID) bool {
	h := l.seen.held
	return over != "" && over == h.Run && l.primary != nil || l.primary != nil && h.Timeline != 0 && l.view.Timeline > h.Timeline
}

// keepAlive configures the receiver and starts it, if need be.
func (l *looked) keepAlive(ctx context.Context) error {
	c := l.s.receiverConfig(l.at, append(slices.Clone(l.others), l.s))
	sum, err := fingerprint(c)
	if err != nil {
		return err
	}
	if l.seen.running() && l.seen.silentFor() > frozenAfter {
		l.add(model.Warn, "receiver-frozen", fmt.Sprintf("the receiver has said nothing for %s and was killed", l.seen.silentFor().Round(time.Second)),
			"it received nothing meanwhile", "")
		if _, err := l.at.place().Signal(ctx, "KILL", ""); err != nil {
			return err
		}
		l.seen.proc.Running = nil
	}
	stuck := l.seen.known && !l.seen.state.ErrorTime.IsZero() && l.seen.now.Sub(l.seen.state.ErrorTime) < resealAfter && l.seen.now.Sub(l.seen.saved) > resealAfter
	if !l.seen.running() || l.seen.sum != sum || stuck {
		if err := l.at.configure(ctx, c, sum); err != nil {
			return err
		}
	}
	if l.seen.running() {
		return nil
	}
	if err := l.at.ready(ctx); err != nil {
		return err
	}
	if err := l.at.startReceiver(ctx, sum); err != nil {
		return err
	}
	l.begun = true
	return nil
}

// syncNames is the value of synchronous_standby_names with which commits wait for so many of these.
func syncNames(quorum int, names ...string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	word := "ANY"
	if len(names) == 1 {
		word = "FIRST"
	}
	return fmt.Sprintf("%s %d (%s)", word, max(1, min(quorum, len(names))), strings.Join(quoted, ", "))
}

// sync makes the primary's commits wait for receivers where that is wanted: once as many of them are connected as commits
// will wait for, and never with remote_apply, for which they would wait without end.
func (l *looked) sync(ctx context.Context) {
	if !l.s.own.Synchronous || !l.s.fromVault() || l.primary == nil || l.view.RemoteApply {
		return
	}
	var names []string
	attached := 0
	for _, s := range append(slices.Clone(l.others), l.s) {
		if s.site == l.primary.site {
			continue
		}
		names = append(names, s.receiver())
		if slices.Contains(l.view.Streaming, s.receiver()) {
			attached++
		}
	}
	slices.Sort(names)
	quorum := max(1, l.s.own.Quorum)
	want := syncNames(quorum, names...)
	if l.view.SyncNames == want || attached < min(quorum, len(names)) {
		return
	}
	err := alterSystem(ctx, l.conn, "synchronous_standby_names", want)
	if err == nil {
		l.view, err = readView(ctx, l.conn, l.s.receiver())
	}
	if err != nil {
		l.add(model.Warn, "not-synchronous", fmt.Sprintf("%s cannot be made to wait for the receiver: %v", l.primary.subject(), err),
			"what was acknowledged last may be lost with it", "the rights that user needs are listed in docs/drivers/postgres.md")
	}
}

func (l *looked) add(severity model.Severity, code, what, why, fix string) {
	l.findings = append(l.findings, model.Finding{Severity: severity, Code: code, Resource: l.s.id, Site: l.s.site, What: what, Why: why, Fix: fix})
}

// stream says how it does.
func (l *looked) stream(ctx context.Context) model.Stream {
	st := l.seen.state
	out := model.Stream{Resource: l.s.id, Site: l.s.site, At: l.d.now().UTC(), From: st.From, Unstored: st.Unfolded, Spool: st.SpoolBytes}
	if l.seen.known && st.Flushed.Timeline != 0 {
		out.Position = position(st.Flushed)
		out.Stored = &st.FoldedTime
		l.lag(&out)
	}
	if l.primary != nil {
		out.From = l.primary.site
		out.Sync = l.view.SyncState == "sync" || l.view.SyncState == "quorum"
		if l.view.Kept >= 0 {
			out.Kept = &l.view.Kept
		}
	}
	switch {
	case l.blind != nil:
		out.State, out.Summary = model.StreamUnknown, "the receiver cannot be seen: "+l.blind.Error()
	case l.primary != nil && l.primary.site == l.s.site && !l.seen.running():
		out.State, out.Summary = model.StreamStopped, "nothing is received here: this site serves"
	case l.seen.held != nil:
		out.State, out.Held = model.StreamHeld, l.seen.held.Run
		out.Summary = fmt.Sprintf("stopped by run %s, which makes this site serve", l.seen.held.Run)
	case l.begun:
		out.State, out.Summary = model.StreamWaiting, "the receiver was started"
	case !l.seen.running():
		out.State, out.Summary = model.StreamStopped, "no receiver runs"
	case st.Streaming && (out.LagBytes == nil || *out.LagBytes < catchingFrom):
		out.State, out.Summary = model.StreamFlowing, "receives from "+string(out.From)+l.behind(&out)
	case st.Streaming:
		out.State, out.Summary = model.StreamCatching, "receives from "+string(out.From)+l.behind(&out)
	default:
		out.State, out.Summary = model.StreamWaiting, "receives nothing now"
		if st.LastError != "" {
			out.Summary += ": " + st.LastError
		}
	}
	if l.away() && l.view.Kept >= 0 {
		out.Summary += fmt.Sprintf("; %s keeps %s of log for it", l.primary.site, units.Bytes(l.view.Kept))
	}
	out.NeedsPoint = l.needsPoint(ctx)
	l.judge(&out)
	out.Findings = l.findings
	for _, f := range st.Findings { // of one that does not run they are of the past
		if l.seen.running() && (f.Code != needsBaseFinding || out.NeedsPoint != "") {
			out.Findings = append(out.Findings, f)
		}
	}
	for i := range out.Findings {
		out.Findings[i].Resource, out.Findings[i].Site = l.s.id, l.s.site
	}
	out.Facts = l.facts()
	return out
}

// needsBaseFinding is how a receiver says what needsPoint knows better.
const needsBaseFinding = "log-needs-base"

// lag fills in how far the receiver is behind. With a primary that does not answer it is as of its last word.
func (l *looked) lag(out *model.Stream) {
	st := l.seen.state
	bytes := st.LagBytes
	at := st.Updated
	switch {
	case l.primary == nil && !st.Heard.IsZero():
		at = st.Heard
	case l.primary != nil && pgwal.Timeline(l.view.Timeline) == st.Flushed.Timeline:
		bytes = behind(l.view.LSN, lsn(st.Flushed.At))
		if !st.Streaming || l.seen.silentFor() > quietAfter {
			at = l.seen.now
		}
	case l.primary != nil:
		at = l.seen.now
	}
	lag := model.Duration(0)
	if bytes > 0 {
		lag = model.Duration(st.Lag(at).Round(time.Millisecond))
	}
	out.LagBytes, out.LagTime = &bytes, &lag
}

func (l *looked) behind(out *model.Stream) string {
	var text string
	if out.LagBytes != nil {
		text = fmt.Sprintf(", %s and %s behind", units.Bytes(*out.LagBytes), units.Duration(out.LagTime.Std()))
	}
	if out.Sync {
		text += ", synchronous"
	}
	return text
}

// needsPoint says why a base point is needed; one that was made since the receiver looked is enough.
func (l *looked) needsPoint(ctx context.Context) string {
	st := l.seen.state
	if !l.seen.running() || !l.seen.known || !st.NeedsBase {
		return ""
	}
	k, err := l.d.inVault(ctx, l.s)
	if err == nil && len(k.bases) > 0 && k.bases[len(k.bases)-1].Ended.After(st.BasesSeen) {
		return ""
	}
	why := "no recovery point is connected with the log that is received now"
	if n := len(st.Spans); n > 0 && st.Spans[n-1].Why != "" {
		why += ": " + st.Spans[n-1].Why
	}
	return why
}

// judge adds findings about what only the primary shows.
func (l *looked) judge(out *model.Stream) {
	switch {
	case l.conflict != nil:
		l.add(model.Block, "two-primaries", l.conflict.Error(), "what is received may be of the wrong one", failure.HintOf(l.conflict))
		return
	case out.State == model.StreamStopped && l.primary != nil && l.primary.site != l.s.site:
		l.add(model.Warn, "not-receiving", "no receiver runs at "+string(l.s.site), "what is written now is not in the log there",
			"lifeboat protect "+string(l.s.app))
	case out.State == model.StreamHeld && l.primary != nil && l.primary.site != l.s.site:
		l.add(model.Warn, "receiving-is-held", out.Summary+", and "+l.primary.subject()+" serves", "what is written now is not in the log here",
			"finish or abort it: lifeboat run show "+string(out.Held))
	}
	if l.primary == nil || l.primary.site == l.s.site {
		return
	}
	named := namedIn(l.view.SyncNames, l.s.receiver())
	switch {
	case l.view.RemoteApply && (named || l.s.own.Synchronous && l.s.fromVault()):
		l.add(model.Block, "remote-apply", "synchronous_commit is remote_apply at "+l.primary.subject(),
			"a receiver applies nothing: commits that wait for it never end, so it is not made synchronous", "set synchronous_commit to on")
	case l.s.own.Synchronous && l.s.fromVault() && !out.Sync:
		l.add(model.Warn, "not-synchronous", "synchronous is set, and "+l.primary.subject()+" does not wait for the receiver", "what was acknowledged last may be lost",
			"it is set by itself once the receiver is connected: lifeboat protect "+string(l.s.app))
	}
	if l.blind != nil {
		l.add(model.Warn, "receiver-unknown", l.blind.Error(), "whether the log arrives there is not known", failure.HintOf(l.blind))
	}
	l.judgeSlot(out.State)
}

// away reports whether a primary serves elsewhere, and nobody streams from it for this site.
func (l *looked) away() bool {
	return l.primary != nil && l.primary.site != l.s.site && l.view.State == ""
}

// judgeSlot adds findings about the log that the primary keeps for the receiver.
func (l *looked) judgeSlot(state model.StreamState) {
	const cured = "a gap is cured by a new recovery point"
	at := l.primary.subject()
	switch {
	case l.view.KeptState == "lost" || l.view.KeptState == "unreserved":
		l.add(model.Warn, "slot-overrun", fmt.Sprintf("%s keeps log for the receiver up to max_slot_wal_keep_size (%s), and that is passed", at, l.view.Bound),
			"what the receiver has not got yet is removed: a gap", "bring the receiver back, or raise the bound; "+cured)
	case l.view.Kept < 0 && !l.begun && l.away() && state != model.StreamStopped: // of which not-receiving tells
		l.add(model.Warn, "log-not-kept", at+" keeps no log for the receiver", "what is written until it is back is a gap",
			"with max_slot_wal_keep_size set: "+keepByHand(l.s.receiver())+"; "+cured)
	case l.view.Kept >= 0 && l.view.Bound == unbounded:
		l.add(model.Note, "slot-without-bound", "max_slot_wal_keep_size is not set at "+at,
			"while the receiver is away the log that it needs can fill the disk", "alter system set max_slot_wal_keep_size = '…GB'; "+cured)
	}
}

// facts are for people and for metrics.
func (l *looked) facts() []model.Fact {
	st := l.seen.state
	if !l.seen.known {
		return nil
	}
	facts := []model.Fact{{Name: "spool", Value: fmt.Sprintf("%s, %s of it not in the vault yet", units.Bytes(st.SpoolBytes), units.Bytes(st.Unfolded))}}
	if !st.FoldedTime.IsZero() {
		facts = append(facts, model.Fact{Name: "in the vault", Value: position(st.Folded) + ", " + st.FoldedTime.UTC().Format(time.RFC3339)})
	}
	if n := len(st.Spans); n > 1 {
		facts = append(facts, model.Fact{Name: "gaps", Value: fmt.Sprintf("%d, the newest before %s: %s", n-1, position(st.Spans[n-1].From), st.Spans[n-1].Why)})
	}
	return facts
}
