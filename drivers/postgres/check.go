package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// checker looks at both sides of a request once, and collects findings.
type checker struct {
	d     *Driver
	req   driver.Request
	site  *server
	peer  *server // nil when the request names none
	self  answer
	other answer
	host  error // why the host cannot be used, nil when it can
	at    hostState
	out   []model.Finding
}

// Check says what stands in the way of req. It changes nothing.
func (d *Driver) Check(ctx context.Context, req driver.Request) ([]model.Finding, error) {
	c := checker{d: d, req: req}
	var err error
	if c.site, err = newServer(req.Target, req.Site); err != nil {
		return nil, err
	}
	servers := []*server{c.site}
	if req.Peer != "" {
		if c.peer, err = newServer(req.Target, req.Peer); err != nil {
			return nil, err
		}
		servers = append(servers, c.peer)
	}
	var looked sync.WaitGroup
	looked.Go(func() { c.at, c.host = c.site.look(ctx) })
	answers := askAll(ctx, servers)
	looked.Wait()
	if ctx.Err() != nil {
		return nil, failure.Wrap(ctx.Err(), "check", c.site.subject())
	}
	c.self = answers[0]
	if c.peer != nil {
		c.other = answers[1]
	} else {
		c.other.err = failure.New(failure.NotFound, "", "", "no peer is named")
	}
	c.twoPrimaries()
	switch req.Action {
	case model.ActionFence:
		c.fence()
	case model.ActionQuiesce:
		c.quiesce(ctx)
	case model.ActionPromote:
		c.promote(ctx)
	case model.ActionReverse:
		c.reverse()
	case model.ActionDrill:
		c.drill(ctx)
	case model.ActionProve:
		c.prove(ctx)
	case model.ActionCapture:
		c.capture()
	case model.ActionRestore:
		c.restore(ctx)
	}
	return c.out, nil
}

// add adds a finding about the copy at site.
func (c *checker) add(severity model.Severity, code string, site model.SiteID, what, why, fix string) {
	c.out = append(c.out, model.Finding{
		Severity: severity, Code: code, Resource: c.req.Resource.ID, Site: site, Step: c.req.Step, What: what, Why: why, Fix: fix,
	})
}

// twoPrimaries blocks everything but the fence, which mends it.
func (c *checker) twoPrimaries() {
	if c.self.err != nil || c.other.err != nil || c.self.status.Recovery || c.other.status.Recovery ||
		c.self.status.SystemID != c.other.status.SystemID || c.req.Action == model.ActionFence || c.req.Action == model.ActionReadMarker || c.req.Action == model.ActionProve {
		return
	}
	old, young := c.site, c.peer
	if c.self.status.Timeline > c.other.status.Timeline {
		old, young = c.peer, c.site
	}
	c.add(model.Block, "two-primaries", old.site,
		fmt.Sprintf("both %s and %s are primaries; that at %s is the older", c.site.subject(), c.peer.subject(), old.site),
		"whatever clients write at one is not at the other", "stop the server at "+old.endpoint()+"; clients belong at "+young.endpoint())
}

// fence says whether the fence can be proven at all, and now.
func (c *checker) fence() {
	command := c.site.at.Fence != nil
	severity := model.Warn
	if c.req.Mode == model.Planned {
		severity = model.Block
	}
	switch {
	case c.host == nil || command:
		if c.host == nil && (c.at.Folder == folderOther || c.at.Folder == folderHidden) && !command {
			c.add(severity, "fence-impossible", c.site.site, fmt.Sprintf("%s is %s", c.site.at.Data, c.at.Folder),
				"the old copy cannot be kept from coming back as a primary", "check data and via at site "+string(c.site.site))
		}
	case failure.KindOf(c.host) == failure.Unsupported:
		c.add(severity, "fence-impossible", c.site.site, "there is no way to fence: "+c.host.Error(),
			"the run will stop at the fence and ask for it to be accepted in writing",
			"set data and via, or fence.command, at site "+string(c.site.site))
	default:
		c.add(severity, "fence-unproven", c.site.site, "the host does not answer now: "+c.host.Error(),
			"the run will stop at the fence and ask for it to be accepted in writing",
			"set fence.command at site "+string(c.site.site)+", or mend the way to the host")
	}
}

// quiesce says whether the primary can be shut down in order now.
func (c *checker) quiesce(ctx context.Context) {
	if c.host != nil {
		c.add(model.Block, "quiesce-impossible", c.site.site, "the primary's host cannot be used: "+c.host.Error(),
			"only a shutdown in order proves that the standby has everything", "set data and via at site "+string(c.site.site))
	}
	if c.self.err != nil {
		if c.at.Folder == folderServer && c.at.Standby && c.at.Control.stoppedCleanly() {
			return // shut down by an earlier begin
		}
		c.add(model.Block, "primary-down", c.site.site, "the primary does not answer: "+c.self.err.Error(),
			"a planned move needs both sites", "lifeboat failover "+string(c.req.App)+" --unplanned")
		return
	}
	if c.self.status.Recovery {
		c.add(model.Block, "source-is-not-the-primary", c.site.site, "the copy is a standby", "there is nothing to quiesce", "lifeboat status "+string(c.req.App))
		return
	}
	c.rights(ctx, c.site)
	if c.mended() || c.peer == nil {
		return
	}
	switch {
	case c.other.err != nil && c.peer.fromVault():
		c.receiver(ctx, c.peer, model.Block)
	case c.other.err != nil:
		c.add(model.Block, "standby-down", c.peer.site, "the standby does not answer: "+c.other.err.Error(),
			"nobody would take over what the primary has", "start the server at "+c.peer.endpoint())
	case c.other.status.Recovery && !c.other.status.streaming():
		c.notStreaming(model.Block, c.peer)
	case c.other.status.Recovery:
		if lag := behind(c.self.status.LSN, c.other.status.LSN); lag > int64(c.site.own.MaxLag) {
			limit, _ := c.site.own.MaxLag.MarshalText() // never fails
			c.add(model.Block, "standby-lags", c.peer.site, fmt.Sprintf("the standby is %d bytes behind, more than max_lag (%s)", lag, limit),
				"clients would wait for the rest of it", "wait, or raise max_lag")
		}
	}
}

// mended reports whether an earlier step of the plan that is shown makes the target a standby: a failback begins so.
func (c *checker) mended() bool { return c.req.Preview && c.req.Operation == model.OpFailback }

func (c *checker) notStreaming(severity model.Severity, s *server) {
	c.add(severity, "standby-not-streaming", s.site, "the standby does not stream from the primary",
		"what the primary has written since is not there", "look at primary_conninfo and the log of "+s.endpoint())
}

// promote says whether the target is fit to become the primary.
func (c *checker) promote(ctx context.Context) {
	if c.self.err != nil && c.site.fromVault() {
		c.promoteFromVault(ctx)
		return
	}
	if c.mended() {
		return
	}
	if c.self.err != nil {
		if c.host != nil || c.at.Folder != folderServer || !c.at.Standby {
			c.add(model.Block, "standby-down", c.site.site, "the standby does not answer: "+c.self.err.Error(),
				"there is nothing to promote", "start the server at "+c.site.endpoint())
		} else {
			c.add(model.Warn, "standby-stopped", c.site.site, "the standby is stopped; it will be started first",
				"it has nothing of what was written since", "start the server at "+c.site.endpoint())
		}
		return
	}
	c.rights(ctx, c.site)
	st := c.self.status
	if !st.WALHints {
		c.add(model.Warn, "rewind-impossible", c.site.site, "neither wal_log_hints nor data checksums are on",
			"failback needs a full base backup: pg_rewind cannot be used", "alter system set wal_log_hints = on, and restart")
	}
	if !c.req.Preview {
		return // the primary is gone by now, as it should be
	}
	if !st.Recovery {
		c.add(model.Block, "target-is-not-a-standby", c.site.site, "the copy is a primary already", "there is nothing to promote",
			"lifeboat status "+string(c.req.App))
		return
	}
	severity := model.Warn
	if c.req.Mode == model.Planned {
		severity = model.Block
	}
	if !st.streaming() {
		c.notStreaming(severity, c.site)
	}
	if c.other.err == nil && !c.other.status.Recovery {
		if c.other.status.SystemID != st.SystemID {
			c.add(model.Block, "another-database", c.site.site, "it is not a copy of the primary: the system identifiers differ",
				"promoting it would bring another database into service", "check host and port at both sites")
		}
		c.synchronous(ctx)
	}
}

// synchronous compares what is wanted with what the primary does.
func (c *checker) synchronous(ctx context.Context) {
	if !c.site.own.Synchronous || c.site.fromVault() {
		return
	}
	r, err := replicationOf(ctx, c.peer, c.site)
	if err == nil && !r.isSync() {
		c.add(model.Warn, "not-synchronous", c.site.site, "synchronous is set, but the primary does not wait for this standby",
			"what was acknowledged last may be lost", fmt.Sprintf(`on the primary: alter system set synchronous_standby_names = 'FIRST 1 ("%s")'; `+
				`select pg_reload_conf() (the standby's application_name must be %s)`, standbyName(c.site.site), standbyName(c.site.site)))
	}
}

// reverse says whether the copy at the site can be made a standby.
func (c *checker) reverse() {
	if c.self.err == nil && !c.self.status.Recovery {
		if !c.req.Preview {
			c.add(model.Block, "copy-is-serving", c.site.site, "the copy is a serving primary",
				"a copy that serves is never made a standby", "fence it first")
		}
		return // in a preview: an earlier step stops it
	}
	if c.site.fromVault() && (!c.req.Prepare || c.host != nil) {
		c.canReceive(model.Block)
		return
	}
	if c.host != nil && (c.self.err != nil || !c.self.status.streaming()) {
		c.add(model.Block, "reverse-impossible", c.site.site, "the host cannot be used: "+c.host.Error(),
			"the copy can be neither rewound nor rebuilt", "set data and via at site "+string(c.site.site))
		return
	}
	if c.host != nil || c.self.err == nil && c.self.status.streaming() {
		return
	}
	k := c.at.Control
	if c.other.err == nil && k.SystemID != "" && k.SystemID != c.other.status.SystemID {
		c.add(model.Block, "another-database", c.site.site, c.site.at.Data+" holds another database",
			"it would be overwritten", "move it away")
	}
	if k.State != "" && !k.Rewindable {
		c.add(model.Note, "rewind-impossible", c.site.site, "neither wal_log_hints nor data checksums are on",
			"unless the copy can follow as it is, it is rebuilt by a full base backup", "")
	}
}

// drill says whether the copy can be made.
func (c *checker) drill(ctx context.Context) {
	switch {
	case c.site.at.Drill == nil:
		c.add(model.Block, "drill-folder-missing", c.site.site, "drill.folder is not set", "the copy has no place",
			"set drill: {folder: …} at site "+string(c.site.site))
		return
	case c.host != nil:
		c.add(model.Block, "drill-impossible", c.site.site, "the host cannot be used: "+c.host.Error(), "the copy is made there",
			"set data and via at site "+string(c.site.site))
		return
	case c.site.fromVault():
		c.fromVault(ctx)
		c.canRun(ctx, model.Block)
		return
	case c.self.err != nil:
		c.add(model.Block, "standby-down", c.site.site, "the standby does not answer: "+c.self.err.Error(), "there is nothing to copy",
			"start the server at "+c.site.endpoint())
		return
	case c.self.status.Recovery && !c.self.status.streaming():
		c.notStreaming(model.Warn, c.site)
	}
	c.space(ctx)
}

// space compares the room in the drill folder with the size of the database.
func (c *checker) space(ctx context.Context) {
	conn, err := c.site.connect(ctx)
	if err != nil {
		return // it answered a moment ago; the drill itself will say
	}
	defer closeConn(conn)
	var size int64
	if conn.QueryRow(ctx, "select coalesce(sum(pg_database_size(oid)), 0)::bigint from pg_database").Scan(&size) != nil {
		return // not allowed to see the size of every database
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	res, err := c.site.host().Script(ctx, `d=$1; while [ ! -d "$d" ]; do d=$(dirname "$d"); done; df -Pk "$d" | tail -n 1`, c.site.at.Drill.Folder)
	words := strings.Fields(res.Text())
	if err != nil || len(words) < 4 {
		return
	}
	if free, err := strconv.ParseInt(words[3], 10, 64); err == nil && free<<10 < size+size/10 {
		c.add(model.Block, "drill-no-space", c.site.site, fmt.Sprintf("the drill folder has room for %d MiB, the database needs %d MiB", free>>10, size>>20),
			"the copy would fill the disk", "make room in "+c.site.at.Drill.Folder)
	}
}

// rights asks whether the role may do what the driver does.
func (c *checker) rights(ctx context.Context, s *server) {
	conn, err := s.connect(ctx)
	if err != nil {
		return
	}
	defer closeConn(conn)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.own.ConnectTimeout))
	defer cancel()
	var super, promote bool
	err = conn.QueryRow(ctx, `select rolsuper, has_function_privilege('pg_promote(boolean, integer)', 'execute')
		from pg_roles where rolname = current_user`).Scan(&super, &promote)
	if err == nil && !super && !promote {
		c.add(model.Block, "missing-rights", s.site, "the role "+s.own.User+" may not promote", "the move would fail half way",
			"grant execute on function pg_promote to "+s.own.User+" (docs/drivers/postgres.md lists all rights)")
	}
}
