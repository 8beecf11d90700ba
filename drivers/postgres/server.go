package postgres

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/model"
)

// server is the copy at one site: its settings with defaults filled in, and the ways to reach it.
type server struct {
	app   model.AppID
	id    model.ResourceID
	site  model.SiteID
	own   Settings
	at    SiteSettings
	vault *model.Vault // nil: nothing is kept in one
}

// newServer reads the settings of t's resource at site.
func newServer(t driver.Target, site model.SiteID) (*server, error) {
	if _, ok := t.Resource.Sites[site]; !ok {
		return nil, failure.New(failure.Invalid, "", string(t.Resource.ID), "it has no settings for site %q", site).
			WithHint("add %s under the resource's sites", site)
	}
	own, at, err := driver.SettingsOf[Settings, SiteSettings](t, site)
	if err != nil {
		return nil, err
	}
	if own.Database == "" {
		own.Database = defaultDatabase
	}
	if own.ConnectTimeout == 0 {
		own.ConnectTimeout = model.Duration(defaultConnectTimeout)
	}
	if own.Recovery == "" {
		own.Recovery = FromStandby
	}
	if own.Seed == "" {
		own.Seed = SeedPrimary
	}
	if own.MaxLag == 0 {
		own.MaxLag = defaultMaxLag
	}
	if own.SSLMode == "" {
		own.SSLMode = "prefer"
	}
	if own.ReplicationUser == "" {
		own.ReplicationUser, own.ReplicationPassword = own.User, own.Password
	}
	if at.Port == 0 {
		at.Port = defaultPort
	}
	if at.Work == "" && at.Data != "" {
		at.Work = strings.TrimRight(at.Data, "/") + ".lifeboat"
	}
	s := &server{app: t.App, id: t.Resource.ID, site: site, own: own, at: at, vault: t.Resource.Vault}
	return s, validateVault(own, t.Resource)
}

// newServers reads the settings at every site of t's resource except those in not.
func newServers(t driver.Target, not ...model.SiteID) ([]*server, error) {
	var out []*server
next:
	for _, site := range t.Resource.SiteIDs() {
		for _, n := range not {
			if site == n {
				continue next
			}
		}
		s, err := newServer(t, site)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// subject names the copy in errors: "db at east".
func (s *server) subject() string { return string(s.id) + " at " + string(s.site) }

// endpoint is host:port.
func (s *server) endpoint() string { return net.JoinHostPort(s.at.Host, strconv.Itoa(s.at.Port)) }

// standbyName is the application_name under which the copy at site follows.
func standbyName(site model.SiteID) string { return "lifeboat_" + string(site) }

// timeout is how long a server may take to answer a connection.
func (s *server) timeout() time.Duration { return s.own.ConnectTimeout.Std() }

// outputs are what later steps learn of the server.
func (s *server) outputs(st status) map[string]model.Value {
	return serverOutputs(s.at.Host, s.at.Port, st)
}

func serverOutputs(host string, port int, st status) map[string]model.Value {
	p := strconv.Itoa(port)
	return map[string]model.Value{
		"endpoint": driver.Endpoint(net.JoinHostPort(host, p)),
		"host":     driver.Text(host),
		"port":     driver.Number(p),
		"lsn":      {Type: model.TypeLSN, Text: st.LSN.String()},
		"timeline": driver.Number(strconv.FormatUint(uint64(st.Timeline), 10)),
	}
}

// connect opens a connection to the copy. It takes no longer than the connect timeout; the caller closes it.
func (s *server) connect(ctx context.Context) (*pgx.Conn, error) {
	return s.connectTo(ctx, s.at.Host, s.at.Port)
}

// connectTo is connect to a server with the same roles at another place, such as a drill's copy.
func (s *server) connectTo(ctx context.Context, host string, port int) (*pgx.Conn, error) {
	subject := fmt.Sprintf("%s (%s)", s.subject(), net.JoinHostPort(host, strconv.Itoa(port)))
	password, err := s.own.Password.Resolve(ctx)
	if err != nil {
		return nil, failure.Wrap(err, "connect to", subject)
	}
	query := url.Values{"sslmode": {s.own.SSLMode}, "application_name": {"lifeboat"}}
	if s.own.SSLRootCert != "" {
		query.Set("sslrootcert", s.own.SSLRootCert)
	}
	dsn := url.URL{
		Scheme: "postgres", Host: net.JoinHostPort(host, strconv.Itoa(port)), Path: "/" + s.own.Database,
		User: url.UserPassword(s.own.User, password.Reveal()), RawQuery: query.Encode(),
	}
	cfg, err := pgx.ParseConfig(dsn.String())
	if err != nil { // its text may hold the password
		return nil, failure.New(failure.Invalid, "connect to", subject, "the settings make no connection string")
	}
	cfg.ConnectTimeout = s.timeout()
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	cfg.RuntimeParams["client_encoding"] = "UTF8"
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	return conn, wrap(err, "connect to", subject)
}

// closeConn ends a connection without waiting for a server that may hang.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := conn.Close(ctx); err != nil {
		return // it is closed on our side either way
	}
}

// status is what a server says of itself.
type status struct {
	Recovery  bool // follows, or would if it could; takes no writes
	LSN       lsn  // primary: written; standby: replayed
	Received  lsn  // standby: received and flushed
	Timeline  uint32
	SystemID  string
	Version   int    // server_version_num
	Receiver  string // standby: the state of its WAL receiver, "" when there is none
	From      string // standby: host:port that it receives from, as far as we may see it
	ReplayAge time.Duration
	SyncNames string
	ReadOnly  bool // default_transaction_read_only
	WALHints  bool // pg_rewind will work: wal_log_hints or checksums
	WALKeep   string
}

// major is the major version, such as 15.
func (st status) major() int { return st.Version / 10000 }

// streaming reports whether a standby receives WAL at this moment.
func (st status) streaming() bool { return st.Receiver == "streaming" }

const statusQuery = `
select r,
  (case when r then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end)::text,
  coalesce(pg_last_wal_receive_lsn()::text, ''),
  case when r then coalesce((select received_tli from pg_stat_wal_receiver where received_tli > 0),
      nullif((select min_recovery_end_timeline from pg_control_recovery()), 0),
      (select timeline_id from pg_control_checkpoint()))
    else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end,
  (select system_identifier::text from pg_control_system()),
  current_setting('server_version_num')::int,
  coalesce((select status from pg_stat_wal_receiver), ''),
  coalesce((select sender_host || ':' || sender_port from pg_stat_wal_receiver), ''),
  coalesce(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()), 0)::float8,
  current_setting('synchronous_standby_names'),
  current_setting('default_transaction_read_only') = 'on',
  current_setting('wal_log_hints') = 'on' or current_setting('data_checksums') = 'on',
  current_setting('wal_keep_size')
from (select pg_is_in_recovery() as r) as s`

// readStatus asks the server behind conn. A server that is promoted while it is asked answers with an error that the
// second try does not get.
func readStatus(ctx context.Context, conn *pgx.Conn, subject string) (status, error) {
	for try := 0; ; try++ {
		st, err := scanStatus(ctx, conn)
		if err == nil {
			return st, nil
		}
		if sqlState(err) != codeWrongState || try == 2 {
			return st, wrap(err, "ask", subject)
		}
	}
}

func scanStatus(ctx context.Context, conn *pgx.Conn) (status, error) {
	var st status
	var at, received string
	var timeline int64
	var age float64
	err := conn.QueryRow(ctx, statusQuery).Scan(&st.Recovery, &at, &received, &timeline, &st.SystemID, &st.Version,
		&st.Receiver, &st.From, &age, &st.SyncNames, &st.ReadOnly, &st.WALHints, &st.WALKeep)
	if err != nil {
		return st, err
	}
	st.Timeline, st.ReplayAge = uint32(timeline), time.Duration(age*float64(time.Second))
	if st.LSN, err = parseLSN(at); err != nil {
		return st, err
	}
	if received != "" {
		if st.Received, err = parseLSN(received); err != nil {
			return st, err
		}
	}
	return st, nil
}

// ask connects, reads the status and closes.
func (s *server) ask(ctx context.Context) (status, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return status{}, err
	}
	defer closeConn(conn)
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	return readStatus(ctx, conn, s.subject())
}

// answer is one server's status, or why there is none.
type answer struct {
	server *server
	status status
	err    error
}

// askAll asks all servers at once and waits for all.
func askAll(ctx context.Context, servers []*server) []answer {
	out := make([]answer, len(servers))
	done := make(chan struct{})
	for i, s := range servers {
		go func() {
			st, err := s.ask(ctx)
			out[i] = answer{s, st, err}
			done <- struct{}{}
		}()
	}
	for range servers {
		<-done
	}
	return out
}

// host is where the copy's files and processes are.
func (s *server) host() hostexec.Host { return hostexec.Host{Via: s.at.Via} }

// conninfo is the value of primary_conninfo for a standby called name that follows s. It holds the password, as what
// pg_basebackup -R writes does.
func (s *server) conninfo(ctx context.Context, name string) (string, error) {
	password, err := s.own.ReplicationPassword.Resolve(ctx)
	if err != nil {
		return "", failure.Wrap(err, "read the replication password for", s.subject())
	}
	words := []string{
		"host=" + connWord(s.at.Host), "port=" + strconv.Itoa(s.at.Port), "user=" + connWord(s.own.ReplicationUser),
		"application_name=" + connWord(name), "sslmode=" + s.own.SSLMode,
		fmt.Sprintf("connect_timeout=%d", max(2, int(s.timeout().Round(time.Second)/time.Second))),
	}
	if !password.Empty() {
		words = append(words, "password="+connWord(password.Reveal()))
	}
	if s.own.SSLRootCert != "" {
		words = append(words, "sslrootcert="+connWord(s.own.SSLRootCert))
	}
	return strings.Join(words, " "), nil
}

// connWord quotes a value of a libpq connection string (documentation, 34.1.1.1).
func connWord(v string) string {
	if v != "" && strings.IndexFunc(v, func(r rune) bool { return strings.ContainsRune(" '\\=\t", r) }) < 0 {
		return v
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'"
}

// confLine is a line of a configuration file (documentation, 20.1.2); quotes and backslashes are doubled.
func confLine(name, value string) string {
	return name + " = '" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(value) + "'\n"
}

// literal quotes an SQL string for statements that take no parameters, such as ALTER SYSTEM. It holds for
// standard_conforming_strings on, the default since 9.1, and fails safely otherwise: backslashes make it E”.
func literal(v string) string {
	quoted := "'" + strings.ReplaceAll(v, "'", "''") + "'"
	if strings.Contains(v, `\`) {
		return "E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
