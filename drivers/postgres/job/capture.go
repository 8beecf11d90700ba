package job

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgbase"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
)

// capture makes a base point of the primary.
func (w *worker) capture(ctx context.Context) error {
	if w.req.Source == nil {
		return failure.New(failure.Internal, "capture", string(w.req.Resource), "the request names no server")
	}
	ordinary, err := w.req.Source.ordinary(ctx)
	if err != nil {
		return err
	}
	replication, err := w.req.Source.replication(ctx)
	if err != nil {
		return err
	}
	v, done, err := w.Open(ctx, w.req.Vault)
	if err != nil {
		return err
	}
	defer done()
	w.Phase("counting rows")
	rows, marker, err := w.look(ctx, ordinary)
	if err != nil {
		return err
	}
	o := pgbase.Options{
		Whose: w.req.Whose, Site: w.req.Site, Server: &ordinary.Config, Replication: &replication.Config, Folder: w.req.Folder,
		Label: "lifeboat " + w.req.Token, Fast: true, MaxRate: w.req.MaxRate, Rows: rows, Marker: marker, Log: w.Log,
		Progress: func(p pgbase.Progress) { w.Phase("%s", captureText(p)) },
	}
	way := "by reading the data folder on its host"
	res, err := pgbase.Capture(ctx, v, o)
	if err != nil && o.Folder != "" && (errors.Is(err, failure.Denied) || errors.Is(err, failure.Unsupported)) {
		w.Log.Warn("the data folder cannot be read: capturing by protocol", "folder", o.Folder, "error", err)
		way, o.Folder = "by the replication protocol, because the data folder cannot be read: "+err.Error(), ""
		res, err = pgbase.Capture(ctx, v, o)
	} else if o.Folder == "" {
		way = "by the replication protocol"
	}
	if err != nil {
		return err
	}
	base := res.Base
	w.Set("point", res.Snapshot.ID.String())
	w.Set("at", res.Snapshot.Time.UTC().Format(time.RFC3339Nano))
	w.Set("lsn", base.Start.String()+" to "+base.Stop.String()+" on timeline "+strconv.FormatUint(uint64(base.Timeline), 10))
	w.Set("files", strconv.FormatInt(res.Stats.Files, 10))
	w.Set("bytes", units.Bytes(res.Stats.Bytes))
	w.Set("unchanged", units.Bytes(res.Stats.Reused))
	if base.Checksums {
		w.Set("verified", fmt.Sprintf("%d pages, %d damaged", res.Stats.Verified, base.DamagedPages))
	}
	w.Set("way", way)
	if len(res.Warnings) > 0 {
		w.Set("warnings", strings.Join(res.Warnings, "; "))
	}
	if err := w.Renew(ctx, v, w.keeping()); err != nil {
		return err
	}
	if base.DamagedPages > 0 {
		return failure.New(failure.Corrupt, "capture", string(w.req.Resource), "the point is made, and %d pages of the primary are damaged: %s",
			base.DamagedPages, strings.Join(base.Damaged[:min(len(base.Damaged), 3)], ", ")).
			WithHint("the database itself is damaged: find out since when (lifeboat points, lifeboat prove --bisect) before old points expire")
	}
	return nil
}

// captureText is how far a capture is, for people.
func captureText(p pgbase.Progress) string {
	switch p.Phase {
	case pgbase.Starting:
		return "the server makes a checkpoint"
	case pgbase.Ending:
		return "the server ends the backup"
	}
	text := "capturing " + units.Bytes(p.Bytes)
	if p.Total > 0 {
		text += " of about " + units.Bytes(p.Total)
	}
	text += fmt.Sprintf(", %d files, %s new", p.Files, units.Bytes(p.Stored))
	if rate := p.Rate(); rate > 0 {
		text += ", " + units.Bytes(int64(rate)) + "/s"
		if left := float64(p.Total-p.Bytes) / rate; left > 0 {
			text += ", " + units.Duration(time.Duration(left*float64(time.Second)).Round(time.Second)) + " left"
		}
	}
	return text
}

// Bounds of counting rows: what takes longer is not counted. Counts are for comparing a restored copy with.
const (
	countTables = 200
	countPages  = 16 << 10 // of one table: 128 MiB
	countTime   = 5 * time.Second
)

// The newest marker, and the tables whose rows are counted, the smallest first.
const (
	markerQuery = `select seq, at_ns from lifeboat.marker where app = $1 and resource = $2`
	tablesQuery = `select quote_ident(n.nspname) || '.' || quote_ident(c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname not in ('pg_catalog', 'information_schema', 'lifeboat') and c.relpages <= $1
order by c.relpages, 1 limit $2`
)

// look reads what a restored copy will be compared with. What the login may not see is left out.
func (w *worker) look(ctx context.Context, cfg *pgx.ConnConfig) (map[string]int64, *pgpoint.Marker, error) {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, nil, failure.WrapAs(failure.Unavailable, err, "connect to", w.req.Source.address())
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var marker *pgpoint.Marker
	var seq, ns int64
	switch err := conn.QueryRow(ctx, markerQuery, string(w.req.App), string(w.req.Resource)).Scan(&seq, &ns); {
	case err == nil:
		marker = &pgpoint.Marker{Seq: seq, At: time.Unix(0, ns).UTC()}
	case !errors.Is(err, pgx.ErrNoRows) && !refused(err):
		return nil, nil, failure.WrapAs(failure.Unavailable, err, "read the marker in", w.req.Source.address())
	}
	rows, err := w.count(ctx, conn)
	return rows, marker, err
}

// refused reports whether the server answered, and said no.
func refused(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg)
}

// count counts rows for as long as countTime.
func (w *worker) count(ctx context.Context, conn *pgx.Conn) (map[string]int64, error) {
	found, err := conn.Query(ctx, tablesQuery, countPages, countTables)
	if err != nil {
		return nil, failure.WrapAs(failure.Unavailable, err, "list the tables of", w.req.Source.address())
	}
	tables, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		return nil, failure.WrapAs(failure.Unavailable, err, "list the tables of", w.req.Source.address())
	}
	end := time.Now().Add(countTime)
	out := map[string]int64{}
	for _, table := range tables {
		left := time.Until(end)
		if left < 10*time.Millisecond {
			break
		}
		if _, err := conn.Exec(ctx, fmt.Sprintf("set statement_timeout = %d", left.Milliseconds())); err != nil {
			return nil, failure.WrapAs(failure.Unavailable, err, "count rows in", w.req.Source.address())
		}
		var n int64
		switch err := conn.QueryRow(ctx, "select count(*) from only "+table).Scan(&n); {
		case err == nil:
			out[w.req.Source.Database+"."+table] = n
		case !refused(err): // dropped in between, not allowed, or it takes too long: not counted
			return nil, failure.WrapAs(failure.Unavailable, err, "count rows in", w.req.Source.address())
		}
	}
	return out, nil
}
