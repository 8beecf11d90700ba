package world

import (
	"context"
	"os"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/demo/cluster"
)

// Mistake deletes every price at a site. It gives the transaction that did, and how many there were.
func (w *World) Mistake(ctx context.Context, site string) (xid string, rows int, err error) {
	conn, err := w.Connect(ctx, site, Database)
	if err != nil {
		return "", 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	const oops = `with gone as (delete from prices returning 1) select pg_current_xact_id()::text, (select count(*) from gone)`
	if err := conn.QueryRow(ctx, oops).Scan(&xid, &rows); err != nil {
		return "", 0, failure.WrapAs(failure.Unavailable, err, "delete", "prices")
	}
	return xid, rows, nil
}

// Prices counts the prices in the database at an address.
func (w *World) Prices(ctx context.Context, address string) (rows int, err error) {
	conn, err := w.dial(ctx, address, Database)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := conn.QueryRow(ctx, "select count(*) from prices").Scan(&rows); err != nil {
		return 0, failure.WrapAs(failure.Unavailable, err, "count", "prices")
	}
	return rows, nil
}

// StopCopy stops a database that was restored into a folder, and removes it.
func (w *World) StopCopy(ctx context.Context, folder string) error {
	c := &cluster.Cluster{Installation: w.inst, Data: folder}
	if err := c.Stop(ctx, "immediate"); err != nil {
		return err
	}
	if err := os.RemoveAll(folder); err != nil {
		return failure.WrapAs(failure.Denied, err, "remove", folder)
	}
	return nil
}
