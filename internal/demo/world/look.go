package world

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// ID is the world's own name, which no other world has.
func (w *World) ID() string { return w.state.ID }

// Running reports whether the demo that made the world still runs it.
func (w *World) Running() bool { return !w.state.Kept && w.state.Owner.Alive() }

// ShopAddress is where the shop of a site listens, as host:port.
func (w *World) ShopAddress(site string) string {
	return net.JoinHostPort(Addresses[site], strconv.Itoa(w.state.Ports.Shop))
}

// Protect starts `lifeboat protect` in the background, and waits until commits wait for the other site.
func (w *World) Protect(ctx context.Context) error {
	if err := w.spawn("protect", w.path("protect.log"), w.binary, "-c", w.Config(), "protect", App); err != nil {
		return err
	}
	return w.Protected(ctx, East)
}

// Protected waits until the commits of the primary at a site wait for the other site.
func (w *World) Protected(ctx context.Context, site string) error {
	return until(ctx, "commits in "+site+" to wait for the other site", func(ctx context.Context) error {
		sync, err := w.Synchronous(ctx, site)
		if err == nil && !sync {
			err = failure.New(failure.Unavailable, "ask", "PostgreSQL in "+site, "nobody follows it synchronously")
		}
		return err
	})
}

// NameAt is the site that the shop's name leads to, as the name server says.
func (w *World) NameAt(ctx context.Context) (string, error) {
	reply, err := dns.ExchangeContext(ctx, new(dns.Msg).SetQuestion(Name, dns.TypeA), w.Resolver())
	if err != nil {
		return "", failure.WrapAs(failure.Unavailable, err, "look up", Name)
	}
	for _, rr := range reply.Answer {
		a, ok := rr.(*dns.A)
		for site, address := range Addresses {
			if ok && a.A.String() == address {
				return site, nil
			}
		}
	}
	return "", nil
}

// InRecovery reports whether the database of a site is a standby.
func (w *World) InRecovery(ctx context.Context, site string) (standby bool, err error) {
	err = w.ask(ctx, site, "select pg_is_in_recovery()", &standby)
	return standby, err
}

// Synchronous reports whether the primary at a site waits with each commit for a standby or a receiver of its log.
func (w *World) Synchronous(ctx context.Context, site string) (sync bool, err error) {
	err = w.ask(ctx, site, `select exists (select from pg_stat_replication where state = 'streaming' and sync_state in ('sync', 'quorum'))`, &sync)
	return sync, err
}

// Lag is how far those who follow the primary at a site are behind in writing its log to disk, in bytes.
func (w *World) Lag(ctx context.Context, site string) (bytes int64, err error) {
	err = w.ask(ctx, site, `select pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn)::bigint from pg_stat_replication
		where state = 'streaming' and application_name <> 'pg_basebackup' order by 1 desc limit 1`, &bytes)
	return max(bytes, 0), err // the standby may have more by the time its row is read
}

func (w *World) ask(ctx context.Context, site, question string, answer any) error {
	conn, err := w.Connect(ctx, site, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	switch err := conn.QueryRow(ctx, question).Scan(answer); {
	case errors.Is(err, pgx.ErrNoRows):
		return failure.New(failure.NotFound, "ask", "PostgreSQL in "+site, "there is no standby")
	case err != nil:
		return failure.WrapAs(failure.Unavailable, err, "ask", "PostgreSQL in "+site)
	}
	return nil
}

// DrillLeft lists what there is of isolated copies at a site: files, and processes that serve from them.
func (w *World) DrillLeft(site string) ([]string, error) {
	var left []string
	for _, folder := range []string{w.path(site, "drill"), w.path(site, "shop-drill"), w.path(site, "uploads-drill")} {
		entries, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, failure.WrapAs(failure.Denied, err, "read folder", folder)
		}
		for _, entry := range entries {
			left = append(left, filepath.Join(folder, entry.Name()))
		}
	}
	all, err := finder(w.belongs)()
	if err != nil {
		return nil, err
	}
	copyOf := net.JoinHostPort(Addresses[site], strconv.Itoa(w.state.Ports.ShopDrill))
	for _, info := range all {
		line := strings.Join(info.Args, " ")
		if w.serves(info, w.path(site, "drill")) || strings.Contains(line, copyOf) {
			left = append(left, line)
		}
	}
	return left, nil
}

// SaveLogs copies the logs of the world's servers to a folder, as far as there are any.
func (w *World) SaveLogs(to string) {
	filepath.WalkDir(w.dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil
		case entry.IsDir() && (entry.Name() == "pgdata" || entry.Name() == "state" || entry.Name() == "secrets"):
			return fs.SkipDir
		case entry.Type().IsRegular() && (strings.HasSuffix(path, "log") || path == w.Config()):
			name := strings.ReplaceAll(strings.TrimPrefix(path, w.dir+"/"), "/", "-")
			if text, err := os.ReadFile(path); err == nil && os.MkdirAll(to, 0o755) == nil {
				os.WriteFile(filepath.Join(to, name), text, 0o644) // what cannot be saved is not worth failing for
			}
		}
		return nil
	})
}
