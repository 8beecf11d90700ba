package pgtest

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/test/ports"
)

// Options of a pair. The zero Options make an asynchronous pair that pg_rewind can be used on.
type Options struct {
	Synchronous bool
	NoHints     bool // without wal_log_hints: pg_rewind will not do
	Settings    map[string]any
	Site        map[model.SiteID]map[string]any // more settings of a site
}

// Pair is a primary and its standby.
type Pair struct {
	*Folder
	Resource model.Resource
	Ports    map[model.SiteID]int
	Hosts    map[model.SiteID]string
	Bin      string
}

// The sites of a pair.
const (
	East model.SiteID = "east"
	West model.SiteID = "west"
)

// Start starts a pair that lives until the test ends; nothing of it is left then.
func Start(t testing.TB, opt Options) *Pair {
	t.Helper()
	p := &Pair{Folder: NewFolder(t), Bin: Bin(t), Ports: map[model.SiteID]int{}, Hosts: map[model.SiteID]string{East: "127.0.0.2", West: "127.0.0.3"}}
	for _, site := range []model.SiteID{East, West} {
		p.Ports[site] = ports.Free(t, p.Hosts[site])
		p.Sh(`mkdir -p "$1/drill"`, p.Dir(site))
	}
	p.Resource = p.resource(opt)
	p.makeBoth(opt)
	if opt.Synchronous {
		p.Exec(East, `alter system set synchronous_standby_names = 'FIRST 1 ("lifeboat_west")'`)
		p.Exec(East, `select pg_reload_conf()`)
		p.WaitFor(East, `select count(*) = 1 from pg_stat_replication where sync_state = 'sync'`)
	}
	return p
}

// Dir is a site's folder; the data folder is "data" in it.
func (p *Pair) Dir(site model.SiteID) string { return filepath.Join(p.Root, string(site)) }

// Data is a site's data folder.
func (p *Pair) Data(site model.SiteID) string { return filepath.Join(p.Dir(site), "data") }

func (p *Pair) resource(opt Options) model.Resource {
	own := map[string]any{"database": "postgres", "user": "postgres", "synchronous": opt.Synchronous, "connect_timeout": "2s", "sslmode": "disable"}
	for k, v := range opt.Settings {
		own[k] = v
	}
	r := model.Resource{ID: "db", App: "shop", Kind: "postgres", Settings: p.json(own), Sites: map[model.SiteID]json.RawMessage{}}
	for _, site := range []model.SiteID{East, West} {
		at := map[string]any{
			"host": p.Hosts[site], "port": p.Ports[site], "data": p.Data(site), "bin": p.Bin,
			"drill": map[string]any{"folder": filepath.Join(p.Dir(site), "drill")},
		}
		if len(p.Via) > 0 {
			at["via"] = p.Via
		}
		for k, v := range opt.Site[site] {
			if v == nil {
				delete(at, k)
			} else {
				at[k] = v
			}
		}
		r.Sites[site] = p.json(at)
	}
	return r
}

func (p *Pair) json(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// makeBoth makes two copies of one cluster that was never started, and a standby of the second: a base backup would be the
// same, and be synced file by file when it starts.
func (p *Pair) makeBoth(opt Options) {
	hints := "on"
	if opt.NoHints {
		hints = "off"
	}
	p.NewCluster(p.Bin, p.Data(East))
	p.conf(p.Data(East), setting("listen_addresses", p.Hosts[East]), setting("port", p.Ports[East]), setting("wal_log_hints", hints),
		setting("wal_retrieve_retry_interval", "200ms"), setting("max_wal_size", "128MB"))
	p.Sh(`cp -a "$1" "$2" && touch "$2/standby.signal"`, p.Data(East), p.Data(West))
	p.conf(p.Data(West), setting("listen_addresses", p.Hosts[West]), setting("port", p.Ports[West]),
		setting("primary_conninfo", "host="+p.Hosts[East]+" port="+strconv.Itoa(p.Ports[East])+" user=postgres application_name=lifeboat_west sslmode=disable"))
	p.Launch(East)
	p.Launch(West)
	p.WaitFor(East, `select count(*) = 1 from pg_stat_replication where state = 'streaming'`)
}

// At is a site's server.
func (p *Pair) At(site model.SiteID) *Server {
	return &Server{Folder: p.Folder, Bin: p.Bin, Host: p.Hosts[site], Port: p.Ports[site]}
}

// Launch starts the server on a site's data folder as anybody might, without Lifeboat.
func (p *Pair) Launch(site model.SiteID) {
	p.t.Helper()
	p.Sh(`"$1/pg_ctl" start -w -t 300 -s -D "$2" -l "$2.log"`, p.Bin, p.Data(site))
}

// Stop shuts a site's server down in an orderly way.
func (p *Pair) Stop(site model.SiteID) {
	p.t.Helper()
	p.At(site).Halt(filepath.Join(string(site), "data"), "fast")
}

// Kill ends a site's server with all its processes by SIGKILL.
func (p *Pair) Kill(site model.SiteID) {
	p.t.Helper()
	p.kill(p.Data(site))
}

// Freeze stops a site's server with all its processes by SIGSTOP. The function it returns waits until somebody else has
// ended them all.
func (p *Pair) Freeze(site model.SiteID) (gone func()) {
	frozen := p.processes(p.Data(site))
	for _, pid := range frozen {
		_ = syscall.Kill(pid, syscall.SIGSTOP) // it may have ended
	}
	return func() { reaped(frozen) }
}

// Connect opens a connection to a site; the caller closes it.
func (p *Pair) Connect(ctx context.Context, site model.SiteID) (*pgx.Conn, error) {
	return Dial(ctx, p.Hosts[site], p.Ports[site])
}

// Exec runs a statement at a site.
func (p *Pair) Exec(site model.SiteID, sql string, args ...any) {
	p.t.Helper()
	conn := p.At(site).Connect("postgres")
	defer conn.Close(context.Background())
	if _, err := conn.Exec(p.t.Context(), sql, args...); err != nil {
		p.t.Fatalf("%s at %s: %v", sql, site, err)
	}
}

// Text asks for one value as text.
func (p *Pair) Text(site model.SiteID, sql string) string {
	p.t.Helper()
	return p.At(site).Text(sql)
}

// WaitFor asks until the answer is true.
func (p *Pair) WaitFor(site model.SiteID, sql string) {
	p.t.Helper()
	p.At(site).WaitFor(sql)
}
