package pglog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgrepl"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/model"
)

// candidate is a server as it answered.
type candidate struct {
	server  Server
	login   *pgconn.Config
	system  pgrepl.System
	size    pgwal.SegmentSize
	standby bool
	err     error
}

// probe asks all servers who they are, at once.
func (c Config) probe(ctx context.Context) []candidate {
	ctx, cancel := context.WithTimeout(ctx, 2*connectTimeout)
	defer cancel()
	out := make([]candidate, len(c.Servers))
	var all sync.WaitGroup
	for i, s := range c.Servers {
		all.Go(func() { out[i] = c.ask(ctx, s) })
	}
	all.Wait()
	return out
}

func (c Config) ask(ctx context.Context, s Server) (a candidate) {
	a.server = s
	if a.login, a.err = c.login(ctx, s); a.err != nil {
		return a
	}
	quiet := a.login.Copy() // it must not pass for the receiver in pg_stat_replication
	quiet.RuntimeParams["application_name"] = c.Name + "_look"
	conn, err := pgrepl.Connect(ctx, quiet)
	if err != nil {
		a.err = err
		return a
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if a.system, a.err = conn.Identify(ctx); a.err != nil {
		return a
	}
	if a.size, a.err = conn.SegmentSize(ctx); a.err != nil {
		return a
	}
	if a.standby, a.err = conn.Standby(); errors.Is(a.err, failure.Unsupported) {
		a.standby, a.err = inRecovery(ctx, quiet)
	}
	return a
}

// inRecovery asks a server by an ordinary connection whether it is a standby, which before version 14 it does not say
// otherwise.
func inRecovery(ctx context.Context, login *pgconn.Config) (standby bool, err error) {
	cfg, err := pgx.ParseConfig("")
	if err != nil {
		return false, failure.WrapAs(failure.Internal, err, "connect", login.Host)
	}
	cfg.Config = *login.Copy()
	if cfg.Database == "" {
		cfg.Database = "postgres"
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return false, failure.WrapAs(failure.Unavailable, err, "ask whether it is a standby", login.Host).
			WithHint("before PostgreSQL 14 the login needs to connect to the database %s, too", cfg.Database)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := conn.QueryRow(ctx, "select pg_is_in_recovery()").Scan(&standby); err != nil {
		return false, failure.WrapAs(failure.Unavailable, err, "ask whether it is a standby", login.Host)
	}
	return standby, nil
}

// none says why there is no server to stream from, as a finding.
type none struct{ model.Finding }

func (n *none) Error() string { return n.What + ": " + n.Why }

// Is makes it Unavailable.
func (n *none) Is(target error) bool { return target == failure.Unavailable }

// pick decides which server is streamed from: the one that is asked for, else the primary; of the cluster that is known, if
// one is. A cluster that was made anew is only taken when no server of the known one answers and none is expected. Of two
// primaries the one on the later timeline was promoted later.
func (c Config) pick(all []candidate, known uint64) (candidate, error) {
	if c.SystemID != 0 {
		known = c.SystemID
	}
	var answers, primaries []candidate
	var errs []string
	knownAnswers := false // the known cluster does
	for _, a := range all {
		if a.err != nil {
			errs = append(errs, fmt.Sprintf("%s: %v", a.server.Site, a.err))
			continue
		}
		answers = append(answers, a)
		knownAnswers = knownAnswers || a.system.ID == known
	}
	for _, a := range answers {
		switch {
		case c.From != "" && a.server.Site != c.From, c.From == "" && a.standby:
		case known != 0 && a.system.ID != known && (knownAnswers || c.SystemID != 0):
		default:
			primaries = append(primaries, a)
		}
	}
	if len(primaries) > 0 {
		best := primaries[0]
		for _, a := range primaries[1:] {
			if a.system.Timeline > best.system.Timeline || a.system.Timeline == best.system.Timeline && a.system.At > best.system.At {
				best = a
			}
		}
		return best, nil
	}
	n := &none{model.Finding{Severity: model.Block, Code: FindUnreachable, What: "no server answers that the log could come from", Why: strings.Join(errs, "; "),
		Fix: "start the server, or mend the network; the server keeps the log in the slot meanwhile"}}
	switch {
	case len(answers) > 0 && known != 0 && !knownAnswers:
		n.Code, n.What = FindCluster, "the servers are of another cluster than the log"
		n.Why = fmt.Sprintf("they are of %d, and %d is expected", answers[0].system.ID, known)
		n.Fix = "if it was made anew on purpose, let the resource's system_id be learned anew"
	case len(answers) > 0:
		n.Code, n.What = FindNoPrimary, "none of the servers that answer is a primary"
		n.Fix = "promote one: lifeboat failover"
	}
	return candidate{}, n
}
