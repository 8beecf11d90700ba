package demo

import (
	"context"
	"path/filepath"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/demo/world"
	"github.com/lifeboat-dr/lifeboat/model"
)

// mistake has somebody delete every price of the shop by mistake, and finds them all in a copy of the database as it was
// just before that transaction, at the other site. What goes wrong with it is in its problems.
func (d *demo) mistake(ctx context.Context) error {
	m := &Mistake{}
	d.result.Mistake = m
	xid, rows, err := d.world.Mistake(ctx, world.East)
	if err != nil {
		return err
	}
	m.Transaction, m.Deleted = xid, rows
	d.say("a MISTAKE: delete from prices, without a where: %d rows, in transaction %s", rows, xid)
	began := time.Now()
	folder := filepath.Join(d.world.Dir(), world.West, "before")
	report, err := d.product(ctx, []string{"restore", world.App + "/db", "--to", "before-xid:" + xid, "--site", world.West, "--into", folder, "--start", "--yes"})
	if err != nil {
		return err
	}
	m.Seconds = time.Since(began).Seconds()
	if !report.OK || len(report.Run.Steps) != 1 || report.Run.Steps[0].Outputs["endpoint"].Type != model.TypeEndpoint {
		return failure.New(failure.Corrupt, "restore", "the prices", "run %s is not well, or tells no endpoint", report.Run.ID)
	}
	m.Found, err = d.world.Prices(ctx, report.Run.Steps[0].Outputs["endpoint"].Text)
	if err != nil {
		return err
	}
	if err := d.world.StopCopy(ctx, folder); err != nil {
		return err
	}
	d.say("%d of the %d prices are in the copy of the moment before, %.1f s after it was asked for", m.Found, m.Deleted, m.Seconds)
	if m.Found != m.Deleted || m.Deleted == 0 {
		return failure.New(failure.Corrupt, "restore", "the prices", "of %d prices %d are in the copy", m.Deleted, m.Found)
	}
	return nil
}
